"""One emulated WebSocket of an accept: its upstream requests, and the answers that bring it frames.

    an answer downstream   when it ends
    ------------------------------------------------------------------------------------------------
    streaming              after CLOSE, after `.kb` kilobytes, or when another request downstream comes
    short (`.ki=p`)        as soon as there is a frame, or at the next heartbeat; its length is told

Frames wait here while there is no answer to put them in, until the high-water mark pauses what is above. An
answer that breaks off may have lost frames on the way: that is a reset, and so is a client that asks for no
answer for too long.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from isthmus.errors import StreamReset
from isthmus.transports.base import Transport
from isthmus.transports.wse.exchange import Exchange
from isthmus.transports.wse.stream import EmulatedStream
from isthmus.websocket.frames import Role
from isthmus.websocket.handshake import HandshakeError
from isthmus.websocket.mask import Buffer
from isthmus.wse import EmulationError
from isthmus.wse.encodings import Decode, as_sent
from isthmus.wse.frames import NOP, RECONNECT
from isthmus.wse.requests import (
    MAXIMUM_PADDING,
    Creation,
    downstream_head,
    number_of,
    parameters_of,
    sequence_of,
    upstream_answer,
)

if TYPE_CHECKING:
    from isthmus.transports.wse.accept import EmulationAccept

log = logging.getLogger(__name__)

SHORT_ANSWER = 256 * 1024
"""Bytes that may wait for the next short answer before what is above is paused."""
_MOST_KILOBYTES = 1 << 20


class AcceptedStream(EmulatedStream):
    """One emulated WebSocket, named `name`."""

    def __init__(self, accept: EmulationAccept, creation: Creation, name: str, known: dict[str, Any]) -> None:
        super().__init__(Role.SERVER, creation.place.encoding, creation.pings, known)
        self.name = name
        self.encoding = creation.place.encoding
        self._accept = accept
        self._next_up = self._next_down = creation.sequence + 1
        self._queue: list[bytes] = []  # encoded frames that no answer has taken
        self._queued = 0
        self._upstream: Upstream | None = None
        self._streaming: Streaming | None = None
        self._short: Exchange | None = None  # waits for frames
        self._short_asked = False  # it is about to be answered
        self._heartbeat = accept.options.emulation_heartbeat
        self._heart: asyncio.TimerHandle | None = None
        self._claim: asyncio.TimerHandle | None = None  # until there must be a request downstream
        self._ended = False  # no frame follows those that wait
        self._finished = False  # the last answer has ended in order
        self._await_claim()

    # --- requests

    def upstream(self, exchange: Exchange) -> None:
        """Take an upstream request."""
        request = exchange.request
        if request.method != "POST":
            self._refuse(exchange, f"upstream is POST, not {request.method}")
        elif self._upstream is not None:
            self._refuse(exchange, "an upstream request beside another")
        elif self._in_order(exchange, self._next_up):
            self._next_up += 1
            self._inward.begin_body()
            decode = self.encoding.decoder(request.get("content-type"))
            self._upstream = Upstream(self, exchange, decode)
            if self._reading_paused:
                exchange.reading(False)
            exchange.read(self._upstream)

    def downstream(self, exchange: Exchange) -> None:
        """Take a request for an answer of frames. Its body, if any, was read over."""
        request = exchange.request
        if request.method not in ("GET", "POST"):
            self._refuse(exchange, f"downstream is GET, not {request.method}")
            return
        if not self._in_order(exchange, self._next_down):
            return
        self._next_down += 1
        parameters = parameters_of(request.query)
        asked = number_of(parameters, ".kkt", 3600)
        if asked:
            self._heartbeat = min(self._accept.options.emulation_heartbeat, float(asked))
        self._end_answer()
        if self.over:  # the one before was the last
            exchange.refuse(HandshakeError(404, ""))
            return
        self._stop_claim()
        if parameters.get(".ki") == "p":
            self._short = exchange
            exchange.gone = self._short_gone
            if self._queue or self._ended:
                self._answer_soon()
        else:
            self._stream(exchange, parameters)
        self._restart_heart()
        self._pressure()

    def _in_order(self, exchange: Exchange, expected: int) -> bool:
        try:
            found = sequence_of(exchange.request, parameters_of(exchange.request.query))
        except HandshakeError as error:
            self._refuse(exchange, error.reason)
            return False
        if found != expected:
            self._refuse(exchange, f"X-Sequence-No is {found}, and {expected} is next")
        return found == expected

    def _refuse(self, exchange: Exchange, reason: str) -> None:
        exchange.refuse(HandshakeError(400, reason))
        self.broke(EmulationError(reason))

    # --- downstream

    def _stream(self, exchange: Exchange, parameters: dict[str, str]) -> None:
        head = downstream_head(self.encoding, self._heartbeat, None, self._accept.fields(exchange.request))
        kilobytes = number_of(parameters, ".kb", _MOST_KILOBYTES)
        streaming = Streaming(self, exchange.transport, None if kilobytes is None else kilobytes * 1024)
        self._streaming = streaming
        exchange.transport.set_receiver(streaming)
        exchange.transport.set_write_limit(self._high)
        exchange.transport.resume_reading()
        padding = number_of(parameters, ".kp", MAXIMUM_PADDING) or 0
        exchange.transport.write(head + NOP * (padding // len(NOP) + 1))
        self._flush()

    def _flush(self) -> None:
        """Put what waits into the answer that streams."""
        streaming = self._streaming
        if streaming is None or streaming.full:
            return
        queue, self._queue, self._queued = self._queue, [], 0
        if queue:
            streaming.write(list(queue))
        if self._ended and self._streaming is streaming:
            self._end_answer()
        elif not streaming.paused:
            self.resume_above()

    def _send(self, buffers: list[Buffer]) -> None:
        buffers = as_sent(self.encoding, buffers)
        streaming = self._streaming
        if streaming is not None and not streaming.full:
            streaming.write(buffers)
            return
        for buffer in buffers:
            self._queue.append(bytes(buffer))
            self._queued += len(buffer)
        self._answer_soon()
        self._pressure()

    def _answer_soon(self) -> None:
        if self._short is not None and not self._short_asked:
            self._short_asked = True
            self.loop.call_soon(self._answer_short)

    def _answer_short(self) -> None:
        self._short_asked = False
        if self._short is not None:
            self._end_answer()

    def _end_answer(self) -> None:
        """End the answer that there is: the client asks for the next, or knows that it was the last."""
        last = self._ended
        if self._streaming is not None:
            streaming, self._streaming = self._streaming, None
            streaming.finish(b"" if self._outward.broken else RECONNECT, last=last)
        elif self._short is not None:
            exchange, self._short = self._short, None
            queue, self._queue, self._queued = self._queue, [], 0
            body = b"".join(queue) or (b"" if last else NOP)
            body += b"" if self._outward.broken else RECONNECT
            head = downstream_head(
                self.encoding, self._heartbeat, len(body), self._accept.fields(exchange.request)
            )
            exchange.answer(head + body)
            if last:
                self.finished()
        else:
            return
        if not last:
            self._await_claim()
        self._pressure()

    def finished(self) -> None:
        """The last answer was sent."""
        self._finished = True
        self._stop_claim()
        self._stop_heart()
        if self._closing:
            self.lose(None)
        elif self._inward.closed and self._receiver is not None:
            self._receiver.eof_received()

    def _end_output(self, *, in_order: bool) -> None:
        self._ended = True
        if self._streaming is not None:
            self._end_answer()
        else:
            self._answer_soon()

    def answer_full(self) -> None:
        """The streaming answer has as much as its client wants at a time."""
        self.loop.call_soon(self._end_full)

    def _end_full(self) -> None:
        if self._streaming is not None and self._streaming.full:
            self._end_answer()

    def _short_gone(self) -> None:
        """The client of a short answer has left before it got any frame: it may come again."""
        self._short = None
        self._await_claim()

    def answer_lost(self, reason: str) -> None:
        """An answer broke off, and whatever was in it."""
        self._streaming = self._short = None
        self.lose(StreamReset(reason))

    # --- upstream

    def body(self, piece: memoryview) -> None:
        """Take the next bytes of an upstream body. Raises HandshakeError."""
        try:
            self._take(piece)
        except EmulationError as error:
            raise HandshakeError(400, str(error)) from error
        if self.broken or self._outward.broken:
            raise HandshakeError(400, "the emulated WebSocket is lost")

    def body_ended(self, upstream: Upstream) -> None:
        """An upstream body is complete."""
        if self._upstream is not upstream:
            return
        self._upstream = None
        decoder = self._inward.decoder
        if not decoder.reconnect or not decoder.whole:
            self._refuse(upstream.exchange, "an upstream body does not end in RECONNECT")
            return
        upstream.exchange.answer(upstream_answer(self._accept.fields(upstream.exchange.request)))

    def body_lost(self, upstream: Upstream, reason: str) -> None:
        """An upstream body broke off."""
        if self._upstream is upstream:
            self._upstream = None
            log.info("%s: upstream: %s; the emulated WebSocket is lost", self.peer, reason)
            self.lose(StreamReset(f"the WebSocket emulation upstream: {reason}"))

    def _reading(self, on: bool) -> None:
        if self._upstream is not None:
            self._upstream.exchange.reading(on)

    # --- timers

    def _await_claim(self) -> None:
        self._stop_claim()
        timeout = self._accept.options.emulation_timeout
        self._claim = self.loop.call_later(timeout, self._not_claimed)

    def _not_claimed(self) -> None:
        self._claim = None
        seconds = self._accept.options.emulation_timeout
        log.info("%s: no request downstream for %g s (ws.emulation.timeout)", self.peer, seconds)
        self.lose(StreamReset(f"the client asked for nothing for {seconds:g} s"))

    def _stop_claim(self) -> None:
        if self._claim is not None:
            self._claim.cancel()
            self._claim = None

    def _restart_heart(self) -> None:
        self._stop_heart()
        wait = self._heartbeat if self._streaming is None else self._heartbeat / 2
        self._heart = self.loop.call_later(wait, self._beat)

    def _beat(self) -> None:
        self._heart = None
        if self._streaming is not None and self._streaming.quiet():
            self._streaming.write(as_sent(self.encoding, [NOP]))
        elif self._short is not None:
            self._end_answer()
        if not self.over and not self._finished:
            self._restart_heart()

    def _stop_heart(self) -> None:
        if self._heart is not None:
            self._heart.cancel()
            self._heart = None

    # --- Transport

    def unsent(self) -> int:
        streaming = self._streaming
        return self._queued if streaming is None else self._queued + streaming.transport.unsent()

    def _pressure(self) -> None:
        if self._streaming is not None:
            return  # its connection tells
        high, self._high = self._high, max(self._high, SHORT_ANSWER)
        super()._pressure()
        self._high = high

    def set_write_limit(self, high: int) -> None:
        super().set_write_limit(high)
        if self._streaming is not None:
            self._streaming.transport.set_write_limit(high)

    def pause_above(self) -> None:
        """The connection of the streaming answer has enough."""
        if not self._writing_paused and self._receiver is not None:
            self._writing_paused = True
            self._receiver.pause_writing()

    def resume_above(self) -> None:
        """See `pause_above`."""
        if self._writing_paused and self._receiver is not None:
            self._writing_paused = False
            self._receiver.resume_writing()

    def close(self) -> None:
        if self.over or self._closing:
            return
        self._closing = True
        if not self._ended:
            self._outward.broken = True
            self._end_output(in_order=False)
        if self._finished or self._outward.broken:
            self.lose(None)

    def _let_go(self) -> None:
        self._stop_claim()
        self._stop_heart()
        self._accept.forget(self)
        streaming, self._streaming = self._streaming, None
        if streaming is not None:
            streaming.abort()
        short, self._short = self._short, None
        if short is not None:
            short.transport.abort()
        if self.broken and self._upstream is not None:  # else its answer is still to come
            upstream, self._upstream = self._upstream, None
            upstream.exchange.refuse(HandshakeError(400, "the emulated WebSocket is lost"))
        self._queue, self._queued = [], 0


class Upstream:
    """The body of one upstream request, on its way to the stream."""

    def __init__(self, stream: AcceptedStream, exchange: Exchange, decode: Decode) -> None:
        self.exchange = exchange
        self._stream = stream
        self._decode = decode

    def body_received(self, piece: memoryview) -> None:
        try:
            decoded = self._decode(piece)
        except EmulationError as error:
            raise HandshakeError(400, str(error)) from error
        self._stream.body(decoded)

    def body_ended(self) -> None:
        self._stream.body_ended(self)

    def body_lost(self, reason: str) -> None:
        self._stream.body_lost(self, reason)


class Streaming:
    """The connection of a long answer. `most` is how many bytes its client wants in it."""

    def __init__(self, stream: AcceptedStream, transport: Transport, most: int | None) -> None:
        self.transport = transport
        self.full = False
        """Whether its client wants no more in it."""
        self._stream: AcceptedStream | None = stream
        self._finished: AcceptedStream | None = None
        self._most = most
        self._written = 0
        self._last_look = 0
        self._last = False
        self.paused = False

    def write(self, buffers: list[Buffer]) -> None:
        """Send frames."""
        size = sum(map(len, buffers))
        self._written += size
        if len(buffers) == 1:
            self.transport.write(buffers[0])
        else:
            self.transport.writelines(buffers)
        if self._most is not None and self._written >= self._most and not self.full:
            self.full = True
            if self._stream is not None:
                self._stream.answer_full()

    def quiet(self) -> bool:
        """Whether nothing was sent since this was asked last."""
        quiet, self._last_look = self._last_look == self._written, self._written
        return quiet

    def finish(self, end: bytes, *, last: bool) -> None:
        """End it with these bytes; `last` says that no answer follows."""
        self._finished, self._stream = self._stream, None
        self._last = last
        if end:
            self.transport.write(end)
        self.transport.close()

    def abort(self) -> None:
        """Break it off."""
        self._stream = self._finished = None
        self.transport.close()

    # --- from below

    def connection_made(self, transport: Transport) -> None:
        """Not called: the connection is there."""

    def data_received(self, data: memoryview) -> None:
        """A client that asks on before the end of the answer is not heard: the connection ends with it."""

    def eof_received(self) -> None:
        if self._stream is not None:
            self.transport.abort()

    def pause_writing(self) -> None:
        self.paused = True
        if self._stream is not None:
            self._stream.pause_above()

    def resume_writing(self) -> None:
        self.paused = False
        if self._stream is not None:
            self._stream.resume_above()

    def connection_lost(self, error: Exception | None) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.answer_lost("the connection of the emulated WebSocket was lost")
        finished, self._finished = self._finished, None
        if finished is not None and error is not None:
            finished.answer_lost(str(error))
        elif finished is not None and self._last:
            finished.finished()
