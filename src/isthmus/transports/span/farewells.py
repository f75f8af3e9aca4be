"""Carriers that have said their last: a gateway that stops waits for them, for a moment.

What is on its way to the peer (that its streams are over, that the session is) saves it the wait for a
return that never comes; a process that ends too early would take it back.
"""

from __future__ import annotations

import asyncio
from typing import Protocol
from weakref import WeakKeyDictionary


class Leaving(Protocol):
    """What closes in order, and can be cut."""

    def abort(self) -> None:
        """Cut it at once. The connection is over soon after."""


class Farewells:
    """Who is leaving, on one event loop. Each is bounded by a time of its own."""

    __slots__ = ("_leaving", "_none_left")

    def __init__(self) -> None:
        self._leaving: set[Leaving] = set()
        self._none_left = asyncio.Event()
        self._none_left.set()

    def __len__(self) -> int:
        return len(self._leaving)

    def begin(self, leaving: Leaving) -> None:
        """It has said its last, and its connection is still there."""
        self._leaving.add(leaving)
        self._none_left.clear()

    def end(self, leaving: Leaving) -> None:
        """Its connection is over, whether it was leaving or not."""
        self._leaving.discard(leaving)
        if not self._leaving:
            self._none_left.set()

    async def finish(self, seconds: float) -> None:
        """Wait until all have left, so long at most; then cut who has not, and wait for that."""
        for last_time in (False, True):
            try:
                await asyncio.wait_for(self._none_left.wait(), seconds)
            except TimeoutError:
                if last_time:
                    return
                for leaving in list(self._leaving):
                    leaving.abort()


_farewells: WeakKeyDictionary[asyncio.AbstractEventLoop, Farewells] = WeakKeyDictionary()


def farewells_of(loop: asyncio.AbstractEventLoop) -> Farewells:
    """Return the farewells of a loop."""
    made = _farewells.get(loop)
    if made is None:
        made = _farewells[loop] = Farewells()
    return made
