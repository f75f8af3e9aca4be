"""Which of many things is the idlest, without a timer or a move in a list for each use.

A use only sets `last_active`. The queue has each thing once, at the time it knew last, and corrects that when
the thing comes to its head: each is looked at once in each timeout at most, whatever is done with it.
"""

from __future__ import annotations

import heapq
from typing import Generic, Protocol, TypeVar


class Idling(Protocol):
    """What may be idle. `last_active` never falls; its unit is the caller's."""

    last_active: float
    ended: bool
    """Forgotten by the queue, at the latest when it comes to its head."""


Thing = TypeVar("Thing", bound=Idling)


class IdleQueue(Generic[Thing]):
    """Finds the idlest of the things that were added and have not ended."""

    __slots__ = ("_added", "_heap", "_left")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Thing]] = []
        self._added = 0  # breaks ties: things themselves have no order
        self._left = 0  # things that have not ended

    def __len__(self) -> int:
        return self._left

    def add(self, thing: Thing) -> None:
        """Add a thing that is not there."""
        self._added += 1
        self._left += 1
        heapq.heappush(self._heap, (thing.last_active, self._added, thing))

    def ended(self, thing: Thing) -> None:
        """Note that a thing, whose `ended` is set, is over."""
        self._left -= 1
        if len(self._heap) > 2 * self._left + 64:
            self._heap = [entry for entry in self._heap if not entry[2].ended]
            heapq.heapify(self._heap)

    def idlest(self) -> Thing | None:
        """Return the thing that was active the longest ago, or None where there is none."""
        heap = self._heap
        while heap:
            known, place, thing = heap[0]
            if thing.ended:
                heapq.heappop(heap)
            elif thing.last_active > known:
                heapq.heapreplace(heap, (thing.last_active, place, thing))
            else:
                return thing
        return None
