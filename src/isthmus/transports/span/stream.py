"""A stream of a span session as a transport.

    session             what is above is told
    ------------------------------------------------------------------------------------------------------
    data                data_received; while it has paused, what comes is held: at most the stream's window
    eof                 eof_received, after everything that is held
    writable            resume_writing
    reset               connection_lost(StreamReset), or a ConnectError if the far side never answered
    closed              connection_lost(None), after everything that is held

`consumed` is said when bytes were handed up, so that a receiver that pauses holds its own stream back only.
The write limit of a stream is its window: the store of a session bounds what is unsent (docs/span.md 8).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from isthmus import layer
from isthmus.errors import ConnectError, StreamReset
from isthmus.layer import Layer
from isthmus.span.frames import Code
from isthmus.span.session import Session
from isthmus.span.stream import Stream
from isthmus.transports.base import Receiver
from isthmus.websocket.octets import Octets

if TYPE_CHECKING:
    from isthmus.transports.span.incoming import SpanIncoming
    from isthmus.transports.span.session import SessionDriver

LINGER_SECONDS = 2.0
"""How long a stream that was closed, and whose peer has had everything, drops what the peer still sends."""

_REASONS = {
    int(Code.CANCEL): "the other side reset the stream",
    int(Code.REFUSED): "the destination behind the other gateway refused the connection",
    int(Code.UNREACHABLE): "the destination behind the other gateway cannot be reached",
    int(Code.TIMEOUT): "the destination behind the other gateway did not answer in time",
    int(Code.OVERLOAD): "the other gateway has as many streams as it may have",
    int(Code.EXPIRED): "the session was lost",
    int(Code.GOING): "the other gateway is stopping",
}


class SpanStream(Layer):
    """One stream over its session. `begin` gives it a receiver; until then it holds what comes."""

    __slots__ = (
        "_closing",
        "_driver",
        "_eof_waits",
        "_flush_asked",
        "_held",
        "_lost",
        "_pause_told",
        "_paused",
        "_receiver",
        "_session",
        "_stream",
        "_whole",
        "incoming",
        "request",
    )

    keeps = True

    def __init__(self, driver: SessionDriver, session: Session, stream: Stream) -> None:
        self._driver = driver
        self._session = session
        self._stream = stream
        stream.owner = self
        self._receiver: Receiver | None = None
        self._held: list[bytes] | None = None
        self._paused = True
        self._eof_waits = False
        self._flush_asked = False
        self._pause_told = False
        self._closing = False  # close was called: what still comes is dropped
        self._whole = False  # both directions are complete, and what is held is still to be told
        self._lost = False
        self.incoming: SpanIncoming | None = None  # until its service has answered
        self.request: Any = None  # the connect that waits for OPENED

    def begin(self, receiver: Receiver) -> None:
        """Tell `receiver` `connection_made`, then all that comes."""
        self._receiver = receiver
        self._paused = False
        layer.made(receiver, self)
        if self._held is not None or self._eof_waits:
            self._ask_flush()

    # --- from the session

    def deliver(self, data: Octets) -> None:
        """Bytes came."""
        if self._closing:
            self._session.consumed(self._stream, len(data))
        elif self._paused or self._held is not None:
            if self._held is None:
                self._held = []
            self._held.append(bytes(data))
        else:
            size = len(data)
            if self._receiver is not None:
                layer.deliver(self._receiver, data)  # type: ignore[arg-type]  # as its contract says
            self._session.consumed(self._stream, size)

    def end_input(self) -> None:
        """The peer's data has ended."""
        if self._paused or self._held is not None:
            self._eof_waits = True
        elif self._receiver is not None and not self._closing:
            layer.ended(self._receiver)

    def may_write(self) -> None:
        """There is room again."""
        if self._pause_told:
            self._pause_told = False
            if self._receiver is not None:
                self._receiver.resume_writing()

    def was_reset(self, code: int, text: str) -> None:
        """The stream is over, and bytes may be missing."""
        reason = _REASONS.get(code, f"the stream was reset with {code}")
        if text and code == Code.EXPIRED:
            reason = f"{reason}: {text}"
        incoming, self.incoming = self.incoming, None
        if incoming is not None:
            incoming.left()
        error: Exception = StreamReset(reason)
        if self._stream.ours and not self._stream.opened:
            status = 504 if code == Code.TIMEOUT else 503 if code in (Code.GOING, Code.OVERLOAD) else 502
            error = ConnectError(f"Unable to connect to {self._driver.address}: {reason}", status=status)
        self._lose(error)

    def was_closed(self) -> None:
        """The stream is over, and whole."""
        if (self._held is not None or self._eof_waits) and not self._closing:
            self._whole = True
        else:
            self._lose(None)

    # --- from above

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._lost:
            return
        if self._closing:
            raise RuntimeError("write after close")
        if self._session.write(self._stream, data) <= 0 and not self._stream.over and not self._pause_told:
            self._pause_told = True
            if self._receiver is not None:
                self._receiver.pause_writing()

    def writelines(self, parts: Sequence[bytes | bytearray | memoryview]) -> None:
        for part in parts:
            self.write(part)

    def write_eof(self) -> None:
        if not self._lost:
            self._session.write_eof(self._stream)

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        if self._held is not None or self._eof_waits:
            self._ask_flush()

    def set_write_limit(self, high: int) -> None:
        """The window is the limit: less would hold back a stream over a long way."""

    def unsent(self) -> int:
        return self._stream.send.stored

    def set_receiver(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def close(self) -> None:
        if self._closing or self._lost:
            return
        self._closing = True
        held, self._held = self._held, None
        if held is not None:
            self._session.consumed(self._stream, sum(map(len, held)))
        self._session.write_eof(self._stream)
        if self._whole:
            self._driver.loop.call_soon(self._lose, None)
        else:
            self._linger()

    def abort(self) -> None:
        if self._lost:
            return
        self._session.reset(self._stream, Code.CANCEL)
        self._held = None
        self._eof_waits = False
        error = StreamReset("the connection was aborted by this gateway")
        self._driver.loop.call_soon(self._lose, error)

    def info(self, name: str) -> Any:
        return self._driver.info(name)

    # --- until the service has answered (SpanIncoming)

    def accept(self, receiver: Receiver) -> None:
        """Accept the stream, and let `receiver` have it."""
        self._session.accept(self._stream)
        self.begin(receiver)

    def refuse(self, code: Code) -> None:
        """Reset the stream, which nobody has received yet."""
        self._session.reset(self._stream, code)
        self._lose(None)

    @property
    def origin(self) -> str:
        """The address of whoever is at the other end, as the peer says, or else the peer's own."""
        return self._stream.origin or self._driver.peer

    # --- the end

    def _linger(self) -> None:
        if not self._stream.eof_told:
            self._driver.loop.call_later(LINGER_SECONDS, self._end_lingering)

    def _end_lingering(self) -> None:
        """The peer has had all of ours and does not end: as TCP does, reset it."""
        if self._lost:
            return
        if not self._stream.send.fin_acked:
            self._linger()  # a reset would destroy what is still to be read
        elif not self._stream.eof_told:
            self._session.reset(self._stream, Code.CANCEL)
            self._lose(None)

    def _ask_flush(self) -> None:
        if not self._flush_asked:
            self._flush_asked = True
            self._driver.poller.tell_after_round(self)

    def round_over(self) -> None:
        """Hand up what was held, as long as the receiver wants it."""
        self._flush_asked = False
        held = self._held
        taken = 0
        while held is not None and taken < len(held):
            if self._paused or self._lost or self._held is not held:
                break
            piece = held[taken]
            held[taken] = b""
            taken += 1
            if self._receiver is not None:
                layer.deliver(self._receiver, piece)  # type: ignore[arg-type]  # the same
            self._session.consumed(self._stream, len(piece))
        if held is not None:
            del held[:taken]
        if self._lost or self._paused or self._closing or held:
            return
        self._held = None
        if self._eof_waits:
            self._eof_waits = False
            if self._receiver is not None:
                layer.ended(self._receiver)
        if self._whole and not self._closing:
            self._lose(None)

    def _lose(self, error: Exception | None) -> None:
        if self._lost:
            return
        self._lost = True
        self._held = None
        receiver = self._receiver
        self._receiver = None
        self._stream.owner = None  # of which nobody hears any more: see `Relay.finish_if_over`
        self._driver.stream_over(self)
        if receiver is not None:
            layer.lost(receiver, error)
