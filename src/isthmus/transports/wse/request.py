"""HTTP requests to a server, one after the other, on a connection that is kept where it can be."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from isthmus.errors import ConnectError, StreamReset
from isthmus.transports.base import Connector, Dial, Transport
from isthmus.websocket.handshake import HandshakeError, HeadReader, ResponseHead, parse_response_head
from isthmus.websocket.mask import Buffer
from isthmus.wse.bodies import BodyReader


class AnswerOwner(Protocol):
    """Who gets the answer to a request. Each may raise HandshakeError: `answer_failed` follows."""

    def answer_begun(self, head: ResponseHead) -> None:
        """The answer's head came."""

    def answer_piece(self, piece: memoryview) -> None:
        """The next piece of its body; a view that is valid during the call and may be overwritten."""

    def answer_ended(self) -> None:
        """The whole answer came."""

    def answer_failed(self, error: Exception) -> None:
        """There is no answer, or its rest does not come."""


class Requester:
    """Sends requests to the server that `below` connects to, one at a time.

    A connection that was kept may end just when it is used again: then the request is sent once more, on a
    new one. It must not matter that it comes twice: here its sequence number tells.
    """

    def __init__(self, below: Connector, origin: str = "") -> None:
        self._below = below
        self._origin = origin
        self._loop = asyncio.get_running_loop()
        self._transport: Transport | None = None
        self._dial: Dial | None = None
        self._owner: AnswerOwner | None = None
        self._parts: Sequence[Buffer] = ()  # of the request, until something of its answer came
        self._used = False  # the connection has answered before
        self._again = False  # the request was sent on such a one
        self._heads = HeadReader()
        self._head: ResponseHead | None = None
        self._body: BodyReader | None = None
        self._held = bytearray()  # of an answer, while nobody may have it
        self._ended = False  # the connection, as far as the answer is concerned
        self._reading = True
        self._closed = False

    @property
    def busy(self) -> bool:
        """Whether an answer is still to come."""
        return self._owner is not None

    def adopt(self, transport: Transport) -> None:
        """Use a connection that stands."""
        transport.set_receiver(self)
        self._transport = transport

    def send(self, parts: Sequence[Buffer], owner: AnswerOwner) -> None:
        """Send a request: `parts` must stay as they are until it is answered."""
        assert self._owner is None
        self._owner = owner
        self._parts = parts
        self._head = self._body = None
        self._again = self._transport is not None and self._used
        self._write()

    def reading(self, on: bool) -> None:
        """Go on with the answer, or not for now."""
        if on == self._reading:
            return
        self._reading = on
        if not on and self._transport is not None:
            self._transport.pause_reading()
        elif on:
            self._loop.call_soon(self._release)

    def close(self) -> None:
        """Let go of the connection; nothing is told any more."""
        self._closed = True
        self._owner = None
        self._drop()

    def _drop(self) -> None:
        dial, self._dial = self._dial, None
        if dial is not None:
            dial.cancel()
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()
        self._heads = HeadReader()
        self._held.clear()
        self._ended = self._used = False

    def _write(self) -> None:
        if self._transport is None:
            self._dial = self._below.connect(self, self._not_connected, origin=self._origin)
        elif len(self._parts) == 1:
            self._transport.write(self._parts[0])
        else:
            self._transport.writelines(self._parts)

    def _not_connected(self, error: ConnectError) -> None:
        self._dial = None
        self._fail(error)

    def _fail(self, error: Exception) -> None:
        owner, self._owner = self._owner, None
        self._drop()
        if owner is not None:
            owner.answer_failed(error)

    def _release(self) -> None:
        if not self._reading or self._closed:
            return
        if self._transport is not None:
            self._transport.resume_reading()
        held, self._held = self._held, bytearray()
        if held:
            self._take(memoryview(held))
        if self._ended and not self._held and self._owner is not None:
            self._input_ended(None)

    # --- from below

    def connection_made(self, transport: Transport) -> None:
        self._dial = None
        if self._owner is None:
            transport.abort()
            return
        self._transport = transport
        if not self._reading:
            transport.pause_reading()
        self._write()

    def data_received(self, data: memoryview) -> None:
        if self._owner is None:
            self._drop()  # nothing was asked
        elif self._reading and not self._held:
            self._take(data)
        else:
            self._held += data

    def _take(self, data: memoryview) -> None:
        try:
            while data and self._owner is not None:
                if not self._reading:
                    self._held += data
                    return
                data = self._read_head(data) if self._head is None else self._read_body(data)
        except HandshakeError as error:
            self._fail(error)

    def _read_head(self, data: memoryview) -> memoryview:
        self._again = False
        found = self._heads.feed(data)
        if found is None:
            return data[:0]
        rest = memoryview(self._heads.rest)
        head = parse_response_head(found)
        if head.interim:
            return rest
        self._parts = ()
        self._head = head
        self._body = BodyReader(head)
        if head.status in (204, 304):
            raise HandshakeError(502, f"it answered {head.status}, where something should come")
        owner = self._owner
        assert owner is not None
        owner.answer_begun(head)
        if self._body is not None and self._body.ended and self._owner is owner:
            return self._complete(rest)
        return rest

    def _read_body(self, data: memoryview) -> memoryview:
        owner, body = self._owner, self._body
        assert owner is not None
        assert body is not None
        piece, rest = body.read(data)
        if piece:
            owner.answer_piece(piece)
        if body.ended and self._owner is owner and self._body is body:
            return self._complete(rest)
        return rest

    def _complete(self, rest: memoryview) -> memoryview:
        """The answer is complete; `rest` is what came behind it, which answers nothing."""
        head, owner, self._owner = self._head, self._owner, None
        assert head is not None
        if head.version < (1, 1) or head.has_token("connection", "close") or self._ended or rest:
            self._drop()
        self._used = True
        if owner is not None:
            owner.answer_ended()
        return rest[:0]

    def eof_received(self) -> None:
        self._input_ended(None)

    def _input_ended(self, error: Exception | None) -> None:
        if self._held:  # first what came before
            self._ended = True
            return
        if self._owner is None:
            self._drop()
        elif self._again and not self._closed:
            self._again = False
            self._drop()
            self._write()
        elif self._body is not None and self._body.until_end and error is None:
            self._ended = True
            self._complete(memoryview(b""))
        else:
            self._fail(error or StreamReset("the connection ended before the answer was complete"))

    def pause_writing(self) -> None:
        """What a request holds is bounded by whoever sends it."""

    def resume_writing(self) -> None:
        """See `pause_writing`."""

    def connection_lost(self, error: Exception | None) -> None:
        if self._transport is None:
            return
        self._transport = None
        self._input_ended(error)
