"""Accepts whose stream is there as soon as the connection is: tcp, unix, ssl and stdio.

What a Web client is offered has to be read from its first request: see `transports.front`.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from isthmus.errors import ConnectError
from isthmus.identity import ANONYMOUS, Identity
from isthmus.transports.base import Origin, Receiver, Transport, peer_name
from isthmus.transports.rate import RateLimit, limited
from isthmus.transports.stream_socket import PlainStreamSocket, StreamSocket
from isthmus.transports.tcp import TcpTransport
from isthmus.uri import Address

Offer = Callable[["SocketIncoming | StreamIncoming"], None]


class SocketIncoming:
    """An accepted socket, offered to a service. Its transport is only made when the service answers.

    `rate` is the most that is sent to the client, in bytes a second; None: as much as goes. `origin` is who a
    balancer says it is from; None: the one it comes from.
    """

    __slots__ = ("_loop", "_origin", "_rate", "_socket", "address", "gone")

    early = True
    identity = ANONYMOUS

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        address: Address,
        accepted: socket.socket | PlainStreamSocket,
        rate: int | None = None,
        origin: Origin | None = None,
    ) -> None:
        self.address = address
        self._origin = origin
        self.gone: Callable[[], None] | None = None  # nothing is read yet, so it is not found out
        self._rate = rate
        self._loop = loop
        self._socket: PlainStreamSocket = (
            accepted if isinstance(accepted, PlainStreamSocket) else StreamSocket(accepted)
        )

    @property
    def peer(self) -> str:
        if self._origin is not None:
            return peer_name(self._origin.source)
        try:
            return self._socket.peer_name()
        except OSError:
            return "unknown"

    def accept(self, receiver: Receiver) -> None:
        transport = TcpTransport(self._loop, self._socket)
        if self._rate is None:
            transport.start(receiver)
        else:
            limit = RateLimit(self._loop, transport, self._rate)
            limit.set_receiver(receiver)
            transport.start(limit)

    def refuse(self, error: ConnectError) -> None:
        TcpTransport(self._loop, self._socket).abort()


class StreamIncoming:
    """A transport that stands (TLS is agreed), offered to a service; until that is answered, it is the
    receiver.
    """

    __slots__ = ("_gone", "_lost", "_offer", "_origin", "_rate", "_transport", "address", "gone", "identity")

    early = True

    def __init__(
        self,
        address: Address,
        offer: Offer,
        rate: int | None = None,
        origin: Origin | None = None,
        identity: Identity = ANONYMOUS,
    ) -> None:
        self.address = address
        self.identity = identity
        self._origin = origin
        self.gone: Callable[[], None] | None = None
        self._rate = rate
        self._offer = offer
        self._transport: Transport | None = None
        self._gone = False
        self._lost: Exception | None = None

    @property
    def peer(self) -> str:
        if self._origin is not None:
            return peer_name(self._origin.source)
        return peer_name(None if self._transport is None else self._transport.info("peername"))

    def connection_made(self, transport: Transport) -> None:
        transport.pause_reading()
        self._transport = transport
        self._offer(self)

    def data_received(self, data: memoryview) -> None:
        raise AssertionError("a paused transport delivered data")

    def eof_received(self) -> None:
        raise AssertionError("a paused transport delivered an end of input")

    def pause_writing(self) -> None:
        """Nothing is written before the answer."""

    def resume_writing(self) -> None:
        """See `pause_writing`."""

    def connection_lost(self, error: Exception | None) -> None:
        self._gone = True
        self._lost = error
        gone, self.gone = self.gone, None
        if gone is not None:
            gone()

    def accept(self, receiver: Receiver) -> None:
        transport = self._transport
        assert transport is not None
        transport = limited(transport, self._rate)
        transport.set_receiver(receiver)
        if not self._gone:
            transport.resume_reading()  # before the receiver is told, which may want to pause
        receiver.connection_made(transport)
        if self._gone:
            asyncio.get_running_loop().call_soon(receiver.connection_lost, self._lost)

    def refuse(self, error: ConnectError) -> None:
        if self._transport is not None:
            self._transport.abort()
