"""A layer that sends no faster than a rate (`tcp.maximum.outbound.rate`): a token bucket over any transport.

A token is a byte. Tokens come at the rate, and the bucket holds what comes in `BURST_SECONDS`; what is
written beyond that waits here and is sent in portions, one every `PORTION_SECONDS` at most, however small the
pieces were that it was written in. Reading is not touched: what comes in is handed straight up.

The layer is only there where a rate is configured.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any

from isthmus.errors import StreamReset
from isthmus.transports.base import Receiver, Transport
from isthmus.transports.tcp import DEFAULT_WRITE_LIMIT

BURST_SECONDS = 0.25
"""What a connection that was idle may send at once, in seconds of its rate."""
PORTION_SECONDS = 0.05
_ROUNDING = 1e-6


class Bucket:
    """Tokens that come at `rate` a second. Time is whatever the caller says, in seconds."""

    __slots__ = ("_capacity", "_tokens", "_when", "rate")

    def __init__(self, rate: int, now: float) -> None:
        self.rate = rate
        self._capacity = max(1.0, rate * BURST_SECONDS)
        self._tokens = self._capacity
        self._when = now

    def take(self, most: int, now: float) -> int:
        """Take as many whole tokens as there are, at most `most`, and return how many."""
        if now > self._when:
            self._tokens = min(self._capacity, self._tokens + (now - self._when) * self.rate)
            self._when = now
        taken = min(most, int(self._tokens + _ROUNDING))
        self._tokens -= taken
        return taken

    def wait(self, wanted: int) -> float:
        """Return how many seconds after the last `take` there is a portion, or `wanted` if that is less."""
        portion = min(float(wanted), max(1.0, self.rate * PORTION_SECONDS))
        return max(0.0, portion - self._tokens) / self.rate


class RateLimit:
    """Sends what is written at `rate` bytes a second at most. It is the receiver of `below` and the transport
    of what is above.

    Made by `limited`, or given to a transport that starts as its receiver, after `set_receiver`.
    """

    __slots__ = (
        "_below",
        "_blocked",
        "_bucket",
        "_closing",
        "_eof_sent",
        "_high",
        "_loop",
        "_lost",
        "_pause_told",
        "_receiver",
        "_timer",
        "_waiting",
        "_waiting_size",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, below: Transport, rate: int) -> None:
        self._loop = loop
        self._below = below
        self._bucket = Bucket(rate, loop.time())
        self._receiver: Receiver | None = None
        self._waiting: deque[bytes | memoryview] = deque()
        self._waiting_size = 0
        self._timer: asyncio.TimerHandle | None = None
        self._blocked = False  # what is below has more unsent than it should
        self._pause_told = False
        self._eof_sent = False
        self._closing = False
        self._lost = False  # what is written goes nowhere any more
        self.set_write_limit(DEFAULT_WRITE_LIMIT)

    # --- from below

    def connection_made(self, transport: Transport) -> None:
        if self._receiver is not None:
            self._receiver.connection_made(self)

    def data_received(self, data: memoryview) -> None:
        if self._receiver is not None and not self._closing:
            self._receiver.data_received(data)

    def eof_received(self) -> None:
        if self._receiver is not None and not self._closing:
            self._receiver.eof_received()

    def pause_writing(self) -> None:
        self._blocked = True
        self._watch_level()

    def resume_writing(self) -> None:
        self._blocked = False
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if error is None and self._waiting:
            error = StreamReset("the connection ended before all was sent")
        self._drop()
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.connection_lost(error)

    # --- from above

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._lost:
            return
        if self._eof_sent or self._closing:
            raise RuntimeError("write after write_eof or close")
        size = len(data)
        if not self._waiting and not self._blocked:
            taken = self._bucket.take(size, self._loop.time())
            if taken == size:
                if size:
                    self._below.write(data)
                return
            view = memoryview(data)
            if taken:
                self._below.write(view[:taken])
            data = view[taken:]
        if len(data):
            self._waiting.append(data if isinstance(data, bytes) else bytes(data))
            self._waiting_size += len(data)
            self._wait()
            self._watch_level()

    def writelines(self, parts: Sequence[bytes | bytearray | memoryview]) -> None:
        for part in parts:
            self.write(part)

    def write_eof(self) -> None:
        if not self._eof_sent and not self._closing and not self._lost:
            self._eof_sent = True
            self._end_if_sent()

    def pause_reading(self) -> None:
        self._below.pause_reading()

    def resume_reading(self) -> None:
        self._below.resume_reading()

    def set_write_limit(self, high: int) -> None:
        self._high = high
        # Half of it: what is below tells of its own level only where that falls from above to half.
        self._below.set_write_limit(high // 2)

    def unsent(self) -> int:
        return self._waiting_size + self._below.unsent()

    def set_receiver(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def close(self) -> None:
        if not self._closing and not self._lost:
            self._closing = True
            self._end_if_sent()

    def abort(self) -> None:
        self._drop()
        self._below.abort()

    def info(self, name: str) -> Any:
        return self._below.info(name)

    # --- sending later

    def _wait(self) -> None:
        if self._timer is None and not self._blocked:
            self._timer = self._loop.call_later(self._bucket.wait(self._waiting_size), self._portion)

    def _portion(self) -> None:
        self._timer = None
        self._send()

    def _send(self) -> None:
        """Send what the bucket allows; wait for the next portion if there is more."""
        waiting = self._waiting
        allowed = self._bucket.take(self._waiting_size, self._loop.time()) if not self._blocked else 0
        self._waiting_size -= allowed
        parts: list[bytes | memoryview] = []
        while allowed:
            part = waiting.popleft()
            if len(part) > allowed:
                view = memoryview(part)
                waiting.appendleft(view[allowed:])
                part = view[:allowed]
            allowed -= len(part)
            parts.append(part)
        if parts:
            self._below.writelines(parts)
        if waiting:
            self._wait()
        else:
            self._end_if_sent()
        self._watch_level()

    def _watch_level(self) -> None:
        """Tell what is above when it should pause and when it may go on."""
        receiver = self._receiver
        if receiver is None:
            return
        level = self.unsent()
        if not self._pause_told and level > self._high:
            self._pause_told = True
            receiver.pause_writing()
        elif self._pause_told and level * 2 <= self._high:
            self._pause_told = False
            receiver.resume_writing()

    def _end_if_sent(self) -> None:
        if self._waiting:
            return
        if self._closing:
            self._below.close()
        elif self._eof_sent:
            self._below.write_eof()

    def _drop(self) -> None:
        self._lost = True
        self._waiting.clear()
        self._waiting_size = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def limited(below: Transport, rate: int | None) -> Transport:
    """Return `below` with a limit of `rate` bytes a second over it, whose receiver the caller sets; `below`
    itself where `rate` is None.

    Must be called on the running loop.
    """
    if rate is None:
        return below
    limit = RateLimit(asyncio.get_running_loop(), below, rate)
    below.set_receiver(limit)
    return limit
