"""One HTTP request on a connection that was accepted, its body and its answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Protocol

from isthmus.transports.base import Transport, peer_name
from isthmus.websocket.handshake import HandshakeError, RequestHead, refusal
from isthmus.wse.bodies import BodyReader

log = logging.getLogger(__name__)

MAXIMUM_IGNORED = 64 * 1024
"""Bytes of a body that nobody wants; a larger one is refused."""

Again = Callable[[Transport, bytearray], None]
"""Takes a connection back for its next request, with what has come of it."""


class BodyOwner(Protocol):
    """Who gets the body of a request."""

    def body_received(self, piece: memoryview) -> None:
        """The next piece. Raises HandshakeError: it is refused, and `body_lost` follows."""

    def body_ended(self) -> None:
        """The whole body was received."""

    def body_lost(self, reason: str) -> None:
        """The rest of the body does not come."""


class Exchange:
    """A request whose head was read, on `transport`; `rest` is what came behind the head.

    It is answered once, with `answer` or `refuse`; a connection that may go on is then given to `again`. The
    answer must say how long it is, unless `last` says that the connection ends with it.
    """

    def __init__(self, transport: Transport, request: RequestHead, rest: bytearray, again: Again) -> None:
        self.transport = transport
        self.request = request
        self._rest = rest
        self._again = again
        self._reader = BodyReader(request)
        self._owner: BodyOwner | None = None
        self._held = bytearray()  # of the body, while nobody may have it
        self._reading = True
        self._timer: asyncio.TimerHandle | None = None
        self.gone: Callable[[], None] | None = None
        """Set it to be told that the client has left before it was answered, its body having been read."""
        transport.set_receiver(self)

    @property
    def peer(self) -> str:
        return peer_name(self.transport.info("peername"))

    @property
    def keeps(self) -> bool:
        """Whether the connection may go on behind the answer."""
        request = self.request
        return (
            request.version >= (1, 1) and not request.has_token("connection", "close") and self._reader.ended
        )

    # --- the body

    def read(self, owner: BodyOwner, timeout: float = 0.0) -> None:
        """Have `owner` get the body, from now on; within `timeout` seconds if that is not 0."""
        self._owner = owner
        if timeout:
            self._timer = asyncio.get_running_loop().call_later(timeout, self._too_slow)
        if (
            not self._reader.ended
            and (self.request.get("expect") or "").lower() == "100-continue"
            and not self._rest
        ):
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        held, self._rest = self._rest, bytearray()
        self.data_received(memoryview(held))

    def reading(self, on: bool) -> None:
        """Go on with the body, or not for now."""
        self._reading = on
        if not on:
            self.transport.pause_reading()
        elif self._held:
            asyncio.get_running_loop().call_soon(self._release)
        else:
            self.transport.resume_reading()

    def _release(self) -> None:
        if self._reading and self._owner is not None:
            held, self._held = self._held, bytearray()
            self.transport.resume_reading()
            self.data_received(memoryview(held))

    def _too_slow(self) -> None:
        self._timer = None
        self._lose("it took too long")
        self.refuse(HandshakeError(408, "the request body took too long"))

    def _lose(self, reason: str) -> None:
        owner, self._owner = self._owner, None
        self._stop_timer()
        if owner is not None:
            owner.body_lost(reason)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # --- the answer

    def answer(self, data: bytes) -> None:
        """Answer with a whole response, and go on with the connection if that can be."""
        keeps = self.keeps
        self._owner = self.gone = None
        self._stop_timer()
        self.transport.set_receiver(self)  # whoever it was that decided on the answer
        self.transport.write(data)
        if keeps:
            self._go_on()
        else:
            self.transport.close()

    def _go_on(self) -> None:
        self.transport.resume_reading()
        self._again(self.transport, self._rest)

    def refuse(self, error: HandshakeError) -> None:
        """Refuse it, and end the connection."""
        self._owner = self.gone = None
        self._stop_timer()
        log.info("%s: refused with %d: %s", self.peer, error.status, error.reason or "no such path")
        self.transport.write(refusal(error.status, error.reason, error.headers))
        self.transport.close()

    # --- from below

    def connection_made(self, transport: Transport) -> None:
        """Not called: the connection is there."""

    def data_received(self, data: memoryview) -> None:
        if self._owner is None:
            self._rest += data
            if len(self._rest) > MAXIMUM_IGNORED:
                self.transport.pause_reading()
            return
        try:
            while True:
                if not self._reading and not self._reader.ended:
                    self._held += data
                    return
                piece, data = self._reader.read(data)
                if piece:
                    self._owner.body_received(piece)
                    if self._owner is None:
                        return
                elif self._reader.ended or not data:
                    break
        except HandshakeError as error:
            self._lose(error.reason)
            self.refuse(error)
            return
        if self._reader.ended:
            self._rest += data
            self._stop_timer()
            owner, self._owner = self._owner, None
            owner.body_ended()

    def eof_received(self) -> None:
        self._leave("the client ended its request in the middle of the body")
        self.transport.close()

    def pause_writing(self) -> None:
        """Answers here are small."""

    def resume_writing(self) -> None:
        """See `pause_writing`."""

    def connection_lost(self, error: Exception | None) -> None:
        self._leave("the connection was lost in the middle of the body")

    def _leave(self, reason: str) -> None:
        self._lose(reason)
        gone, self.gone = self.gone, None
        if gone is not None:
            gone()


class Ignored:
    """The owner of a body that nobody wants: `then` is called when it was read over."""

    def __init__(self, then: Callable[[], Any]) -> None:
        self._then = then
        self._size = 0

    def body_received(self, piece: memoryview) -> None:
        self._size += len(piece)
        if self._size > MAXIMUM_IGNORED:
            raise HandshakeError(413, "a body is not wanted here")

    def body_ended(self) -> None:
        self._then()

    def body_lost(self, reason: str) -> None:
        """The client has left: nothing was begun."""
