"""Connections that begin with a header of the PROXY protocol: it tells a server who they are made for."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from isthmus.errors import ConnectError
from isthmus.transports.base import Connector, Dial, Origin, Receiver, Transport, peer_of
from isthmus.transports.proxy_protocol import Version, header
from isthmus.uri import Address


class AnnouncingConnector:
    """Reaches what `below` reaches, and sends first whose connection it is, in the form of `version`.

    `accept` is where clients are received, which is told as well.
    """

    def __init__(self, below: Connector, version: Version, accept: Address | None = None) -> None:
        self.address = below.address
        self._below = below
        self._version: Version = version
        self._accept = accept

    def connect(
        self,
        receiver: Receiver,
        failed: Callable[[ConnectError], None],
        *,
        origin: str = "",
        early: bool = False,
    ) -> Dial:
        first = header(self._origin(origin), self._version)
        return self._below.connect(_Announcing(receiver, first), failed)

    def close(self) -> None:
        self._below.close()

    def _origin(self, client: str) -> Origin | None:
        source = peer_of(client)
        if source is None:
            return None
        ipv6 = ipaddress.ip_address(source[0]).version == 6
        accept = self._accept
        if accept is None:
            return Origin(source, ("::" if ipv6 else "0.0.0.0", 0))
        host = accept.host if accept.ip is not None else "::" if ipv6 else "0.0.0.0"
        return Origin(source, (host, accept.port))


class _Announcing:
    """The receiver of a connection for the one moment in which it is made."""

    __slots__ = ("_header", "_receiver")

    def __init__(self, receiver: Receiver, first: bytes) -> None:
        self._receiver = receiver
        self._header = first

    def connection_made(self, transport: Transport) -> None:
        transport.write(self._header)
        transport.set_receiver(self._receiver)
        self._receiver.connection_made(transport)

    # What a tunnel had in hands when it told that the connection stands; all else goes to the receiver.

    def data_received(self, data: memoryview) -> None:
        self._receiver.data_received(data)

    def eof_received(self) -> None:
        self._receiver.eof_received()

    def pause_writing(self) -> None:
        self._receiver.pause_writing()

    def resume_writing(self) -> None:
        self._receiver.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        self._receiver.connection_lost(error)
