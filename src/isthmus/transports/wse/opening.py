"""Creating an emulated WebSocket at a server: the receiver of a new connection until it is open."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from isthmus.errors import ConnectError, StreamReset
from isthmus.transports.base import Connector, Transport
from isthmus.transports.ways import Way
from isthmus.transports.wse.connected import ConnectedStream
from isthmus.transports.wse.request import Requester
from isthmus.uri import Address
from isthmus.websocket.handshake import HandshakeError, ResponseHead
from isthmus.wse.requests import Asking

MAXIMUM_BODY = 16 * 1024
"""Bytes of the answer to a creation."""
LEAST_PROBE = 1.0
LONGEST_PROBE = 4.0
PROBE_ROUNDS = 4.0
"""How long a long answer may take to bring something: so often what the creation took, within limits."""
_KNOWN = ("peername", "sockname", "scheme")

Opened = Callable[[Transport, str | None, bytearray], None]
Failed = Callable[[ConnectError], None]


class EmulationOpening:
    """Asks the server of `address`, over connections of `below`; like `ws_dial.WebSocketOpening`.

    `asking` makes what requests have in common: for the first one and, as the server may have set cookies,
    again for the others. `way` is how; None: that is found out, and `open_way` says it then.
    """

    def __init__(
        self,
        address: Address,
        below: Connector,
        origin: str,
        opened: Opened,
        failed: Failed,
        asking: Callable[[], Asking],
        subprotocols: Sequence[str],
        heard: Callable[[ResponseHead], None],
        way: Way | None,
    ) -> None:
        self.open_way = way
        self._address = address
        self._below = below
        self._origin = origin
        self._opened = opened
        self._failed = failed
        self._make_asking = asking
        self._asking = asking()
        self._subprotocols = subprotocols
        self._heard = heard
        self._loop = asyncio.get_running_loop()
        self._requester = Requester(below, origin)
        self._transport: Transport | None = None
        self._began = 0.0
        self._head: ResponseHead | None = None
        self._body = bytearray()
        self._stream: ConnectedStream | None = None
        self._subprotocol: str | None = None
        self._done = False

    @property
    def asked(self) -> bool:
        """Whether the connection stood, so that the server was asked."""
        return self._transport is not None

    def cancel(self) -> None:
        """Give up: nothing is called any more."""
        self._done = True
        self._requester.close()
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.abort()

    # --- from the connection: the requester is its receiver as soon as it is there

    def connection_made(self, transport: Transport) -> None:
        if self._done:
            transport.abort()
            return
        self._transport = transport
        self._began = self._loop.time()
        self._requester.adopt(transport)
        self._requester.send([self._asking.create(0, self._subprotocols)], self)

    def data_received(self, data: memoryview) -> None: ...

    def eof_received(self) -> None: ...

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...

    def connection_lost(self, error: Exception | None) -> None: ...

    # --- from the requester (AnswerOwner)

    def answer_begun(self, head: ResponseHead) -> None:
        self._heard(head)
        self._head = head
        if head.status != 201:
            self._asking.verify(head, b"", self._subprotocols)

    def answer_piece(self, piece: memoryview) -> None:
        self._body += piece
        if len(self._body) > MAXIMUM_BODY:
            raise HandshakeError(502, f"what it answers is larger than {MAXIMUM_BODY} bytes")

    def answer_ended(self) -> None:
        assert self._head is not None
        try:
            up, down, self._subprotocol = self._asking.verify(
                self._head, bytes(self._body), self._subprotocols
            )
        except HandshakeError as error:
            self.answer_failed(error)
            return
        assert self._transport is not None
        known = {name: self._transport.info(name) for name in _KNOWN}
        requester, self._requester = self._requester, Requester(self._below, self._origin)
        self._stream = ConnectedStream(
            self._below, self._origin, requester, self._make_asking(), (up, down), known
        )
        seconds = min(LONGEST_PROBE, max(LEAST_PROBE, PROBE_ROUNDS * (self._loop.time() - self._began)))
        self._stream.start(self.open_way, seconds, self._proven, self.answer_failed)

    def answer_failed(self, error: Exception) -> None:
        if self._done:
            return
        self.cancel()
        if isinstance(error, ConnectError):
            self._failed(error)
            return
        if isinstance(error, HandshakeError):
            reason = error.reason
        elif isinstance(error, StreamReset):
            reason = f"the WebSocket emulation failed: {error}"
        else:
            reason = "it dropped the connection without an answer to the WebSocket emulation"
        failure = ConnectError(f"Unable to connect to {self._address}: {reason}")
        failure.asked = True
        failure.__cause__ = error
        self._failed(failure)

    # --- from the stream

    def _proven(self, way: Way, early: bytearray) -> None:
        stream, self._stream = self._stream, None
        if stream is None:
            return
        self._done = True
        self.open_way = way
        self._opened(stream, self._subprotocol, early)
