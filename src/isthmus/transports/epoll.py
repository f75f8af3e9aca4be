"""epoll(7), and telling those who watch: the innermost loop of a gateway.

`Epoll` is compiled (`_epoll.pyx`) where the extension was built and is the plain class below elsewhere; both
do the same. ISTHMUS_PURE=1 in the environment forces the plain one. On systems without epoll the module can
be imported, and `available` is false.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from typing import Any

from isthmus.transports.spinning import Spinning

available = hasattr(select, "epoll")
_EVENTS_AT_A_TIME = 256


class PlainEpoll:
    """One epoll, which polls before it sleeps as `spinning` says. `OSError` is what the kernel refuses."""

    __slots__ = ("_epoll", "_spinning")

    def __init__(self, spinning: Spinning | None = None) -> None:
        self._epoll = select.epoll()
        self._spinning = Spinning(0.0) if spinning is None else spinning

    def fileno(self) -> int:
        """Return its descriptor, which an event loop may watch."""
        return self._epoll.fileno()

    def close(self) -> None:
        """End it; what it watched stays as it is."""
        self._epoll.close()

    def register(self, descriptor: int, wanted: int) -> None:
        """Begin to watch, level-triggered; `wanted` has epoll's bits."""
        self._epoll.register(descriptor, wanted)

    def modify(self, descriptor: int, wanted: int) -> None:
        """Want something else from now on."""
        self._epoll.modify(descriptor, wanted)

    def unregister(self, descriptor: int) -> None:
        """Watch no more."""
        self._epoll.unregister(descriptor)

    def now(self) -> float:
        """Return what `time.monotonic` does."""
        return time.monotonic()

    def tell(
        self,
        seconds: float,
        watchers: list[Any],
        fresh: set[int],
        failed: Callable[[Exception], None],
    ) -> None:
        """Wait once, at most so long (-1: for ever), and tell each watcher what happened to its descriptor.

        `watchers` has at each descriptor's place an object with `ready(events)`, or None, and may change
        meanwhile: one that is gone is not told, nor one whose descriptor stands in `fresh`, as what happened
        may have happened to another file that had this number before. An exception of a watcher goes to
        `failed`.
        """
        for descriptor, events in self._wait(seconds) if seconds else self._epoll.poll(0, _EVENTS_AT_A_TIME):
            watcher = watchers[descriptor]
            if watcher is None or descriptor in fresh:
                continue
            try:
                watcher.ready(events)
            except Exception as error:
                failed(error)

    def _wait(self, seconds: float) -> list[tuple[int, int]]:
        began = self.now()
        spin = self._spinning.begin(began)
        found: list[tuple[int, int]] = []
        while not found and self.now() - began < spin:
            found = self._epoll.poll(0, _EVENTS_AT_A_TIME)
            if not found:
                os.sched_yield()
        if not found:
            found = self._epoll.poll(seconds if seconds >= 0 else None, _EVENTS_AT_A_TIME)
        self._spinning.end(self.now())
        return found


Epoll: type[PlainEpoll] = PlainEpoll
if os.environ.get("ISTHMUS_PURE") != "1":
    try:
        from isthmus.transports import _epoll
    except ImportError:
        pass  # not built: the plain one serves
    else:
        Epoll = _epoll.Epoll
