"""One connect over span: it waits for a carrier and, unless it is early, for the far side's answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from isthmus.errors import ConnectError, SpanError
from isthmus.layer import Layer
from isthmus.transports.base import Dial, Receiver, Transport
from isthmus.transports.span.stream import SpanStream
from isthmus.transports.ws_connect import start_plain

if TYPE_CHECKING:
    from isthmus.transports.span.client import ClientSession
    from isthmus.transports.span.connect import SpanConnector

Failed = Callable[[ConnectError], None]


class Request(Layer):
    """One connect under way."""

    __slots__ = (
        "_begins",
        "_connector",
        "_timer",
        "dial",
        "early",
        "failed",
        "origin",
        "over",
        "receiver",
        "transport",
    )

    def __init__(
        self, connector: SpanConnector, receiver: Receiver, failed: Failed, origin: str, early: bool
    ) -> None:
        self._connector = connector
        self.receiver = receiver
        self.failed = failed
        self.origin = origin
        self.early = early
        self.over = False
        self._begins = False  # soon
        self.dial: Dial | None = None  # of a WebSocket of its own
        self.transport: SpanStream | None = None  # which waits for its answer
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Have the connector start it soon, unless it is cancelled before that."""
        self._begins = True
        self._connector.poller.tell_after_round(self)

    def round_over(self) -> None:
        """See `begin`."""
        if self._begins:
            self._begins = False
            self._connector.start(self)

    def limit(self, seconds: float) -> None:
        """Fail after that time."""
        if self._timer is None:
            self._timer = self._connector.loop.call_later(seconds, self._timed_out)

    def unlimited(self) -> None:
        """What comes next has a limit of its own."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def end(self) -> None:
        """Nothing is called any more."""
        self.over = True
        self.unlimited()
        self._connector.forget(self)
        self._begins = False
        dial, self.dial = self.dial, None
        if dial is not None:
            dial.cancel()

    def cancel(self) -> None:
        self.end()
        transport, self.transport = self.transport, None
        if transport is not None:
            transport.abort()

    def fail(self, error: ConnectError) -> None:
        """Tell why not."""
        if not self.over:
            self.end()
            self.failed(error)

    def open(self, session: ClientSession) -> None:
        """Open a stream on `session`."""
        if self.over:
            return
        try:
            transport: SpanStream = session.open(self.origin)
        except SpanError as error:
            self.refused(error)
            return
        if self.early:
            self.end()
            transport.begin(self.receiver)
        else:
            self.transport = transport
            transport.request = self
            self.limit(self._connector.options.connect_timeout)
            transport.begin(_Unanswered(self))

    def refused(self, error: SpanError) -> None:
        """The session takes no more."""
        self.fail(ConnectError(f"Unable to connect to {self._connector.address}: {error}", status=503))

    def use_plain(self, below: Transport, rest: bytearray) -> None:
        """Use a WebSocket without span, which was opened for it alone."""
        self.end()
        start_plain(below, self._connector.options, self.receiver, rest, self._connector.idle)

    def answered(self) -> None:
        """The far side has accepted the stream that waits."""
        transport, self.transport = self.transport, None
        if transport is not None and not self.over:
            self.end()
            transport.begin(self.receiver)

    def _timed_out(self) -> None:
        self._timer = None
        transport, self.transport = self.transport, None
        if transport is not None:
            transport.abort()
        self.fail(
            ConnectError(
                f"Unable to connect to {self._connector.address}: no answer within "
                f"{self._connector.options.connect_timeout:g} s",
                status=504,
                hint="check that the other gateway runs and reaches its destination",
            )
        )


class _Unanswered:
    """The receiver of a stream whose far side has not answered."""

    def __init__(self, request: Request) -> None:
        self._request = request

    def connection_made(self, transport: Transport) -> None:
        transport.pause_reading()

    def data_received(self, data: memoryview) -> None:
        raise AssertionError("a paused stream delivered data")

    def eof_received(self) -> None:
        raise AssertionError("a paused stream delivered an end of input")

    def pause_writing(self) -> None:
        """Nothing is written before the answer."""

    def resume_writing(self) -> None:
        """See `pause_writing`."""

    def connection_lost(self, error: Exception | None) -> None:
        request = self._request
        request.transport = None
        if not isinstance(error, ConnectError):
            error = ConnectError(f"Unable to connect to {request._connector.address}: {error or 'it ended'}")
        request.fail(error)
