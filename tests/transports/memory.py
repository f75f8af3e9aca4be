"""A connection in memory, its clock, and a receiver that watches the rules: for layers without sockets."""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, cast

from isthmus.errors import StreamReset
from isthmus.transports.base import Receiver, Transport


class _Timer:
    def __init__(self, when: float, callback: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        self.callback = callback
        self.arguments = arguments
        self.canceled = False
        self._when = when

    def cancel(self) -> None:
        self.canceled = True

    def when(self) -> float:
        return self._when

    def run(self) -> None:
        if not self.canceled:
            self.callback(*self.arguments)


class Clock:
    """What a layer uses of an event loop; nothing runs but in `run`, no time passes but in `advance`."""

    def __init__(self) -> None:
        self.now = 0.0
        self.failures: list[dict[str, Any]] = []
        self._soon: deque[_Timer] = deque()
        self._later: list[tuple[float, int, _Timer]] = []
        self._order = count()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return cast("asyncio.AbstractEventLoop", self)

    def time(self) -> float:
        return self.now

    def call_soon(self, callback: Callable[..., object], *arguments: Any) -> _Timer:
        handle = _Timer(self.now, callback, arguments)
        self._soon.append(handle)
        return handle

    def call_later(self, delay: float, callback: Callable[..., object], *arguments: Any) -> _Timer:
        timer = _Timer(self.now + delay, callback, arguments)
        heapq.heappush(self._later, (timer.when(), next(self._order), timer))
        return timer

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.failures.append(context)

    def run(self) -> None:
        while self._soon:
            self._soon.popleft().run()

    def due(self) -> float | None:
        """Return when the next timer rings."""
        while self._later and self._later[0][2].canceled:
            heapq.heappop(self._later)
        return self._later[0][0] if self._later else None

    def ring(self) -> None:
        """Let time pass until the next timer, and ring that one."""
        when, _, timer = heapq.heappop(self._later)
        self.now = max(self.now, when)
        timer.run()

    def advance(self, seconds: float) -> None:
        self.now += seconds
        while self._later and self._later[0][0] <= self.now:
            self.ring()
        self.run()


class Wire:
    """Two connected transports, `left` and `right`. What is written moves only when `deliver` says so."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.left = WireEnd(self.clock)
        self.right = WireEnd(self.clock)
        self.left.peer, self.right.peer = self.right, self.left

    def settle(self) -> None:
        """Let everything that can happen happen."""
        self.clock.run()
        while self.left.deliver() | self.right.deliver():
            self.clock.run()


class WireEnd:
    """One end: a `Transport` in memory that behaves as TCP does."""

    peer: WireEnd

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._receiver: Receiver | None = None
        self._sent = bytearray()  # written, not yet delivered to the peer
        self._high = 64 * 1024
        self._pause_told = False
        self._paused = False
        self._eof_sent = False
        self._eof_delivered = False
        self._closing = False
        self.over = False

    def start(self, receiver: Receiver) -> None:
        self._receiver = receiver
        receiver.connection_made(self)

    def deliver(self, most: int = 1 << 30) -> bool:
        """Hand at most so many bytes to the peer, or the end after them; tell whether anything moved."""
        peer = self.peer
        if self.over or (peer._paused and not peer._closing and not peer.over):
            return False
        if peer.over:
            if self._sent:
                self._lose(StreamReset("the connection was lost: Connection reset by peer"))
            elif self._closing:
                self._lose(None)
            return self.over
        if self._sent:
            piece = self._sent[:most]
            del self._sent[:most]
            if peer._receiver is not None and not peer._closing:
                view = memoryview(piece)
                peer._receiver.data_received(view)
                view[:] = b"\xee" * len(view)  # whoever kept it instead of copying will be found out
            if self._pause_told and len(self._sent) * 2 <= self._high and self._receiver is not None:
                self._pause_told = False
                self._receiver.resume_writing()
        elif self._eof_sent and not self._eof_delivered:
            self._eof_delivered = True
            if peer._receiver is not None and not peer._closing:
                peer._receiver.eof_received()
        else:
            return False
        if self._closing and self._eof_delivered:
            self._lose(None)
        return True

    def lose(self) -> None:
        """The connection breaks: both ends see a reset."""
        for end in (self, self.peer):
            end._lose(StreamReset("the connection was lost: Connection reset by peer"))

    def _lose(self, error: Exception | None) -> None:
        if not self.over:
            self.over = True
            if self._receiver is not None:
                self._clock.call_soon(self._receiver.connection_lost, error)

    # --- Transport

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.over:
            return
        if self._eof_sent or self._closing:
            raise RuntimeError("write after write_eof or close")
        self._sent += data
        if len(self._sent) > self._high and not self._pause_told and self._receiver is not None:
            self._pause_told = True
            self._receiver.pause_writing()

    def writelines(self, parts: Sequence[bytes | bytearray | memoryview]) -> None:
        self.write(b"".join(parts))

    def write_eof(self) -> None:
        self._eof_sent = True

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False

    def set_write_limit(self, high: int) -> None:
        self._high = high

    def unsent(self) -> int:
        return len(self._sent)

    def set_receiver(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def close(self) -> None:
        if not self._closing and not self.over:
            self._closing = self._eof_sent = True
            if not self._sent and (self._eof_delivered or self.peer.over):
                self._lose(None)

    def abort(self) -> None:
        if not self.over:
            self._sent.clear()
            self._lose(StreamReset("the connection was aborted by this gateway"))
            self.peer._lose(StreamReset("the connection was lost: Connection reset by peer"))

    def info(self, name: str) -> Any:
        return {"peername": ("192.0.2.7", 50000), "sockname": ("192.0.2.1", 443)}.get(name)


class Watcher:
    """A receiver that writes down what it is told and insists on the rules of `transports.base`."""

    def __init__(self) -> None:
        self.transport: Transport | None = None
        self.data = bytearray()
        self.events: list[str] = []
        self.error: Exception | None = None
        self.paused = False
        self.pause_at_start = False
        self.pause_each_time = False
        """Pause in every `data_received`: what is left of that read has to wait."""
        self.busy = False
        """Inside a call of the transport, from which `connection_lost` must not come."""

    def connection_made(self, transport: Transport) -> None:
        assert self.events == []
        self.transport = transport
        self.events.append("made")
        if self.pause_at_start:
            self.pause()

    def data_received(self, data: memoryview) -> None:
        assert self.open
        assert not self.paused
        assert "eof" not in self.events
        assert isinstance(data, bytes) or not data.readonly
        self.data += data
        if not isinstance(data, bytes):  # as what was held back is
            data[:] = b"\xdd" * len(data)
        if self.pause_each_time:
            self.pause()

    def eof_received(self) -> None:
        assert self.open
        assert not self.paused
        assert "eof" not in self.events
        self.events.append("eof")

    def pause_writing(self) -> None:
        assert self.open
        self.events.append("pause")

    def resume_writing(self) -> None:
        assert self.open
        self.events.append("resume")

    def connection_lost(self, error: Exception | None) -> None:
        assert self.open
        assert not self.busy
        self.events.append("lost")
        self.error = error

    @property
    def open(self) -> bool:
        return bool(self.events) and self.events[-1] != "lost"

    @property
    def write_paused(self) -> bool:
        return self.events.count("pause") > self.events.count("resume")

    def call(self, name: str, *arguments: Any) -> None:
        """Call a method of the transport and see that nothing ends meanwhile."""
        self.busy = True
        try:
            getattr(self.transport, name)(*arguments)
        finally:
            self.busy = False

    def pause(self) -> None:
        self.paused = True
        self.call("pause_reading")

    def resume(self) -> None:
        self.paused = False
        self.call("resume_reading")
