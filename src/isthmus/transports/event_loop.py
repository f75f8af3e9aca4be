"""An event loop around our poller: asyncio's, which waits in the one epoll that tells the sockets.

A wake-up is one `epoll_wait`; what it says of our sockets is told at once, by a direct call. All else is
asyncio's own (timers, `call_soon`, `add_reader`, signals, subprocesses): replaced are its selector, and its
innermost method by one that is compiled, goes round until the loop is stopped, and does not look at what has
not changed. Only where there is epoll.
"""

from __future__ import annotations

import asyncio
import contextlib
import selectors
from collections import deque
from collections.abc import Iterator, Mapping
from heapq import heappop
from typing import Any

from isthmus.layer import Layer
from isthmus.transports.poller import READ, WRITE, EpollPoller
from isthmus.transports.spinning import Spinning

_LONGEST_WAIT = 24 * 3600.0
"""Seconds; what is further away is waited for again."""
_CANCELLED_TIMERS = 100
"""So many of them may wait for their time to be forgotten, or as many as there are others."""


class EventLoop(asyncio.SelectorEventLoop):
    """asyncio's event loop, waiting in `poller`, which polls before it sleeps as `spinning` says."""

    def __init__(self, spinning: Spinning | None = None) -> None:
        self.poller = EpollPoller(self, by_loop=True, spinning=spinning)
        super().__init__(_Shared(self, self.poller))
        self._rounds = _Rounds(self, self.poller)

    def _run_once(self) -> None:
        if self.get_debug():
            # asyncio's own knows how to complain of slow callbacks.
            super()._run_once()  # type: ignore[misc]
            self.poller.end_round()
        else:
            self._rounds.run()

    def stop(self) -> None:
        super().stop()
        self._rounds.stop()

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        super()._timer_handle_cancelled(handle)  # type: ignore[misc]
        self._rounds.timer_cancelled(handle)


class _Rounds:
    """The rounds of an event loop: wait, tell, call what is due, end the round."""

    __slots__ = (
        "_first",
        "_first_due",
        "_loop",
        "_poller",
        "_ready",
        "_resolution",
        "_scheduled",
        "_stopping",
    )

    def __init__(self, loop: Any, poller: EpollPoller) -> None:
        self._loop = loop
        self._poller = poller
        self._ready: deque[asyncio.Handle] = loop._ready
        self._scheduled: list[asyncio.TimerHandle] = loop._scheduled
        self._resolution: float = loop._clock_resolution
        self._first: asyncio.TimerHandle | None = None  # of the timers; None: look which it is
        self._first_due = 0.0  # its time
        self._stopping = False

    def run(self) -> None:
        """Go round until `stop` is called, or debug mode begins; once at least."""
        ready = self._ready
        self._scheduled = self._loop._scheduled  # in debug mode it may have become another one
        while True:
            wait = -1.0
            if self._scheduled:
                wait = self._until_first_timer()
            self._poller.poll(0.0 if ready or self._stopping else wait)
            if wait == 0.0:
                self._take_due_timers()
            if ready:
                self._run_ready()
                if self._loop._debug:  # what else runs does not change it
                    self._stopping = True
            self._poller.end_round()
            if self._stopping:
                self._stopping = False
                return

    def stop(self) -> None:
        """Have `run` return when this round is over, or the next, which does not wait."""
        self._stopping = True

    def timer_cancelled(self, timer: asyncio.TimerHandle) -> None:
        """A timer is about to be marked as cancelled."""
        if timer is self._first or self._loop._timer_cancelled_count > _CANCELLED_TIMERS:
            self._first = None

    def _run_ready(self) -> None:
        """Call what is ready; what that adds is for the next round."""
        for _ in range(len(self._ready)):
            handle = self._ready.popleft()
            if not handle._cancelled:
                handle._run()

    def _until_first_timer(self) -> float:
        """Return in how many seconds the first timer is due, 0 if it is, -1 if there is none."""
        if self._scheduled[0] is not self._first and not self._look_at_timers():
            return -1.0
        left = self._first_due - self._poller.now()
        if left < self._resolution:
            return 0.0
        return left if left < _LONGEST_WAIT else _LONGEST_WAIT

    def _look_at_timers(self) -> bool:
        """Note the first timer and forget the cancelled ones before it; return False if none is left."""
        scheduled = self._scheduled
        if self._loop._timer_cancelled_count > _CANCELLED_TIMERS:
            self._drop_cancelled()
        while scheduled and scheduled[0]._cancelled:
            self._loop._timer_cancelled_count -= 1
            heappop(scheduled)._scheduled = False  # type: ignore[attr-defined]
        if not scheduled:
            return False
        self._first = scheduled[0]
        self._first_due = self._first.when()
        return True

    def _take_due_timers(self) -> None:
        self._first = None
        due = self._poller.now() + self._resolution
        while self._scheduled and self._scheduled[0].when() < due:
            timer = heappop(self._scheduled)
            timer._scheduled = False  # type: ignore[attr-defined]
            self._ready.append(timer)

    def _drop_cancelled(self) -> None:
        """Forget cancelled timers, if they are the most."""
        scheduled = self._scheduled
        if self._loop._timer_cancelled_count * 2 < len(scheduled):
            return
        kept = []
        for timer in scheduled:
            if timer.cancelled():
                timer._scheduled = False  # type: ignore[attr-defined]
            else:
                kept.append(timer)
        kept.sort()
        scheduled[:] = kept
        self._loop._timer_cancelled_count = 0


class _Shared(selectors.BaseSelector):
    """The epoll of a poller as asyncio wants it: a selector for what is not told directly.

    asyncio takes back what it registered one turn late, when the descriptor may be closed and its number be
    that of another file, maybe of a transport's socket. So each change looks whether it still holds.
    """

    def __init__(self, loop: EventLoop, poller: EpollPoller) -> None:
        self._registered: dict[int, _Registered] = {}
        self._map = _Map(self._registered)
        self._loop = loop
        self._poller = poller

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        key = selectors.SelectorKey(fileobj, _descriptor(fileobj), events, data)
        if key.fd in self._registered:
            raise KeyError(f"{fileobj!r} is already registered")
        registered = _Registered(self._loop, key)
        self._poller.add(key.fd, registered, _wanted(events))
        self._registered[key.fd] = registered
        return key

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        key = self._map[fileobj]
        registered = self._registered[key.fd]
        if self._poller.watcher(key.fd) is registered:
            try:
                self._poller.change(key.fd, _wanted(events))
            except FileNotFoundError:
                self._poller.add(key.fd, registered, _wanted(events))
        registered.key = key._replace(events=events, data=data)
        return registered.key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        key = self._map[fileobj]
        if self._poller.watcher(key.fd) is self._registered.pop(key.fd):
            with contextlib.suppress(OSError):
                self._poller.forget(key.fd)
        return key

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._poller.poll(-1.0 if timeout is None else max(timeout, 0.0))
        return []  # `_Registered.ready` has told it

    def close(self) -> None:
        self._registered.clear()
        self._poller.close()

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._map


class _Map(Mapping[Any, selectors.SelectorKey]):
    """What is registered, by descriptor or by the object that has it."""

    def __init__(self, registered: dict[int, _Registered]) -> None:
        self._registered = registered

    def __getitem__(self, fileobj: Any) -> selectors.SelectorKey:
        return self._registered[_descriptor(fileobj)].key

    def __iter__(self) -> Iterator[Any]:
        return iter(self._registered)

    def __len__(self) -> int:
        return len(self._registered)


class _Registered(Layer):
    """The watcher of a descriptor that asyncio watches: has the loop call its reader or writer, or both.

    Both are told of an error or a hang-up.
    """

    __slots__ = ("_loop", "_ready", "key")

    def __init__(self, loop: Any, key: selectors.SelectorKey) -> None:
        self._loop = loop
        self._ready: deque[asyncio.Handle] = loop._ready
        self.key = key

    def ready(self, events: int) -> None:
        reader, writer = self.key.data
        # asyncio has a handle for each direction that it wants, and only for these.
        if reader is not None and events & ~WRITE:
            if reader.cancelled():
                self._loop._remove_reader(self.key.fileobj)
            else:
                self._ready.append(reader)
        if writer is not None and events & ~READ:
            if writer.cancelled():
                self._loop._remove_writer(self.key.fileobj)
            else:
                self._ready.append(writer)


def _descriptor(fileobj: Any) -> int:
    return fileobj if isinstance(fileobj, int) else int(fileobj.fileno())


def _wanted(events: int) -> int:
    return (READ if events & selectors.EVENT_READ else 0) | (WRITE if events & selectors.EVENT_WRITE else 0)
