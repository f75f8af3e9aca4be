"""Tells sockets when they are ready: one epoll of our own for all of them.

Our own event loop (`transports.event_loop`) waits in it. Another loop watches it, as one more descriptor: why
not `loop.add_reader`? uvloop spends six system calls and a handle on each socket that it begins and ends to
watch, tells neither an error nor a hang-up from something to read, and goes deaf for a socket after the
first error. Where there is no epoll the loop's own methods serve, with the same interface.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol
from weakref import WeakKeyDictionary

from isthmus.layer import Layer
from isthmus.transports import epoll
from isthmus.transports.spinning import Spinning

READ = 1
WRITE = 4
ERROR = 8
HANG_UP = 16
"""Bits of what is wanted (READ, WRITE) and of what happened (all); the values are epoll's."""

_PASSES_AT_A_TIME = 16
"""How often what is called after a round may ask for more of that round, before the loop goes on."""


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

    def forget_closing(self, descriptor: int) -> None:
        """The same for one that its only owner closes next, which takes it out of an epoll by itself."""

    def after_round(self, callback: Callable[[], None]) -> None:
        """Call `callback` once, when what is ready now has been handled.

        It is for those who gather what a round of events makes them write, to send it at once. What is asked
        for by such a callback follows the same round, up to 16 times in a row, then the next one. What a
        callback raises goes to the loop's exception handler.
        """

    def tell_after_round(self, layer: Layer) -> None:
        """The same for what happens with every message: call `layer.round_over`."""

    def now(self) -> float:
        """Return what `time.monotonic` does."""

    def large_read(self) -> int:
        """Count a large read of this round; return how many there were in the last, at least 1.

        So each can be smaller where there are many: what is small and comes behind them waits less.
        """


class BasePoller:
    """The part of `Poller` that both have: what is called when a round of events is over. Derive from it."""

    __slots__ = ("_after", "_ending", "_in_round", "_large", "_large_before", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._after: list[Callable[[], None] | Layer] = []
        self._in_round = False  # `end_round` will be called without being asked for
        self._ending = False  # `end_round` runs, or the loop will call it
        self._large = 0  # large reads in this round
        self._large_before = 1  # and in the last

    def add(self, descriptor: int, watcher: Watcher, wanted: int) -> None:
        raise NotImplementedError

    def change(self, descriptor: int, wanted: int) -> None:
        raise NotImplementedError

    def forget(self, descriptor: int) -> None:
        raise NotImplementedError

    def forget_closing(self, descriptor: int) -> None:
        self.forget(descriptor)

    def after_round(self, callback: Callable[[], None]) -> None:
        self._after.append(callback)
        if not self._in_round and not self._ending:
            self._ask_for_end()

    def tell_after_round(self, layer: Layer) -> None:
        self._after.append(layer)
        if not self._in_round and not self._ending:
            self._ask_for_end()

    def _ask_for_end(self) -> None:
        self._ending = True
        self._loop.call_soon(self.end_round)

    def now(self) -> float:
        return time.monotonic()

    def large_read(self) -> int:
        self._large += 1
        return self._large_before

    def end_round(self) -> None:
        """What was ready has been handled: call those who wait for that."""
        self._in_round = False
        if self._large:
            self._large_before = self._large
            self._large = 0
        if not self._after:
            return
        self._ending = True
        for _ in range(_PASSES_AT_A_TIME):
            asked = self._after
            self._after = []
            for each in asked:
                try:
                    if isinstance(each, Layer):
                        layer: Layer = each
                        layer.round_over()
                    else:
                        each()
                except Exception as error:
                    self._failed(error)
            if not self._after:
                self._ending = False
                return
        self._loop.call_soon(self.end_round)

    def _failed(self, error: Exception) -> None:
        self._loop.call_exception_handler({"message": "handling a socket failed", "exception": error})


class EpollPoller(BasePoller):
    """The poller where there is epoll.

    With `by_loop` the loop itself calls `poll` and, when what that and its other callbacks started is done,
    `end_round`; else the loop has to watch the epoll as a descriptor, and is told to. `spinning` says when
    `poll` may keep a processor awake.
    """

    __slots__ = ("_epoll", "_fail", "_fresh", "_watchers")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, *, by_loop: bool = False, spinning: Spinning | None = None
    ) -> None:
        super().__init__(loop)
        self._epoll: epoll.PlainEpoll = epoll.Epoll(spinning)
        self._fail = self._failed
        self._watchers: list[Watcher | None] = []  # by descriptor: far smaller than a dict
        self._fresh: set[int] = set()  # added in this round: see `Epoll.tell`
        if not by_loop:
            loop.add_reader(self._epoll.fileno(), self._ready)

    def add(self, descriptor: int, watcher: Watcher, wanted: int) -> None:
        self._epoll.register(descriptor, wanted)
        missing = descriptor + 1 - len(self._watchers)
        if missing > 0:
            self._watchers.extend([None] * missing)
        self._watchers[descriptor] = watcher
        if self._in_round:
            self._fresh.add(descriptor)

    def change(self, descriptor: int, wanted: int) -> None:
        self._epoll.modify(descriptor, wanted)

    def forget(self, descriptor: int) -> None:
        if self.watcher(descriptor) is not None:
            self._watchers[descriptor] = None
            self._epoll.unregister(descriptor)

    def forget_closing(self, descriptor: int) -> None:
        self._watchers[descriptor] = None

    def watcher(self, descriptor: int) -> Watcher | None:
        """Return who watches a descriptor, or None."""
        return self._watchers[descriptor] if 0 <= descriptor < len(self._watchers) else None

    def poll(self, seconds: float) -> None:
        """Begin a round: wait for something to happen, at most so long (-1: for ever), and tell it."""
        if self._after:
            seconds = 0.0
        self._in_round = True
        if self._fresh:
            self._fresh.clear()
        self._epoll.tell(seconds, self._watchers, self._fresh, self._fail)

    def now(self) -> float:
        return self._epoll.now()

    def close(self) -> None:
        """Watch nothing any more."""
        self._epoll.close()
        self._watchers = []

    def _ready(self) -> None:
        try:
            self.poll(0.0)
        finally:
            self.end_round()


class LoopPoller(BasePoller):
    """The poller where there is no epoll. Errors are told as something to read."""

    __slots__ = ("_wanted", "_watchers")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
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


_pollers: WeakKeyDictionary[asyncio.AbstractEventLoop, BasePoller] = WeakKeyDictionary()


def poller_of(loop: asyncio.AbstractEventLoop) -> BasePoller:
    """Return the one poller of a loop: its own (an attribute `poller`), or one that it watches."""
    poller: BasePoller | None = getattr(loop, "poller", None)
    if poller is None:
        poller = _pollers.get(loop)
    if poller is None:
        poller = EpollPoller(loop) if epoll.available else LoopPoller(loop)
        _pollers[loop] = poller
    return poller
