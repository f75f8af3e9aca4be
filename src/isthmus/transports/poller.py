"""Tells sockets when they are ready: one epoll of our own for all of them, which the event loop watches.

Why not `loop.add_reader`: uvloop spends six system calls and a handle on each socket that it begins and ends
to watch, tells neither an error nor a hang-up from something to read, and goes deaf for a socket after the
first error. Where there is no epoll the loop's own methods serve, with the same interface.
"""

from __future__ import annotations

import asyncio
import select
from typing import Protocol
from weakref import WeakKeyDictionary

READ = 1
WRITE = 4
ERROR = 8
HANG_UP = 16
"""Bits of what is wanted (READ, WRITE) and of what happened (all); the values are epoll's."""

_EVENTS_AT_A_TIME = 256


class Watcher(Protocol):
    """Who is told about one descriptor."""

    def ready(self, events: int) -> None:
        """Something happened: bits of READ, WRITE, ERROR, HANG_UP; the last two come unasked, and again."""


class Poller(Protocol):
    """Watches descriptors. A descriptor is added once, changed at will, and forgotten before it is closed."""

    def add(self, descriptor: int, watcher: Watcher, wanted: int) -> None:
        """Begin to watch; `wanted` has bits of READ and WRITE."""

    def change(self, descriptor: int, wanted: int) -> None:
        """Want something else from now on; with 0, ERROR and HANG_UP are still told."""

    def forget(self, descriptor: int) -> None:
        """Tell nothing any more."""


class EpollPoller:
    """The poller where there is epoll."""

    __slots__ = ("_epoll", "_watchers")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._epoll = select.epoll()
        self._watchers: dict[int, Watcher] = {}
        loop.add_reader(self._epoll.fileno(), self._ready)

    def add(self, descriptor: int, watcher: Watcher, wanted: int) -> None:
        self._watchers[descriptor] = watcher
        self._epoll.register(descriptor, wanted)

    def change(self, descriptor: int, wanted: int) -> None:
        self._epoll.modify(descriptor, wanted)

    def forget(self, descriptor: int) -> None:
        if self._watchers.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def _ready(self) -> None:
        watchers = self._watchers
        for descriptor, events in self._epoll.poll(0, _EVENTS_AT_A_TIME):
            # One that was forgotten for an earlier event of this round has nobody to be told.
            watcher = watchers.get(descriptor)
            if watcher is not None:
                watcher.ready(events)


class LoopPoller:
    """The poller where there is no epoll. Errors are told as something to read."""

    __slots__ = ("_loop", "_wanted", "_watchers")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._watchers: dict[int, Watcher] = {}
        self._wanted: dict[int, int] = {}

    def add(self, descriptor: int, watcher: Watcher, wanted: int) -> None:
        self._watchers[descriptor] = watcher
        self._wanted[descriptor] = 0
        self.change(descriptor, wanted)

    def change(self, descriptor: int, wanted: int) -> None:
        watcher, before = self._watchers[descriptor], self._wanted[descriptor]
        self._wanted[descriptor] = wanted
        if wanted & READ and not before & READ:
            self._loop.add_reader(descriptor, watcher.ready, READ)
        elif before & READ and not wanted & READ:
            self._loop.remove_reader(descriptor)
        if wanted & WRITE and not before & WRITE:
            self._loop.add_writer(descriptor, watcher.ready, WRITE)
        elif before & WRITE and not wanted & WRITE:
            self._loop.remove_writer(descriptor)

    def forget(self, descriptor: int) -> None:
        if descriptor in self._watchers:
            self.change(descriptor, 0)
            del self._watchers[descriptor], self._wanted[descriptor]


_pollers: WeakKeyDictionary[asyncio.AbstractEventLoop, Poller] = WeakKeyDictionary()


def poller_of(loop: asyncio.AbstractEventLoop) -> Poller:
    """Return the one poller of a loop."""
    poller = _pollers.get(loop)
    if poller is None:
        poller = EpollPoller(loop) if hasattr(select, "epoll") else LoopPoller(loop)
        _pollers[loop] = poller
    return poller
