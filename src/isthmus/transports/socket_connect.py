"""Connecting a socket: tcp and unix addresses, and what lies below others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from isthmus.config.model import ConnectOptions
from isthmus.errors import ConnectError
from isthmus.transports.base import Dial, Receiver
from isthmus.transports.dial import SocketDial, direct
from isthmus.transports.stream_socket import PlainStreamSocket
from isthmus.transports.tcp import TcpTransport
from isthmus.uri import Address

Failed = Callable[[ConnectError], None]


class SocketConnector:
    """Connects tcp and unix addresses, or what lies below others; at the place `at`, if that is another."""

    def __init__(self, address: Address, options: ConnectOptions, at: Address | None = None) -> None:
        self.address = address
        self._at = at or address
        self._place = direct(self._at)
        self._timeout = options.connect_timeout
        self._local = options.tcp_bind
        self._loop = asyncio.get_running_loop()

    def connect(self, receiver: Receiver, failed: Failed, *, origin: str = "", early: bool = False) -> Dial:
        dial = TransportDial(self._loop, self._at, self._timeout, None, failed, self._local, self._place)
        dial.receiver = receiver
        dial.start()
        return dial

    def close(self) -> None:
        """Nothing is kept."""


class TransportDial(SocketDial):
    """A dial whose socket becomes the transport of `receiver`."""

    __slots__ = ("receiver",)
    receiver: Receiver
    """To be set before it starts."""

    def made(self, connected: PlainStreamSocket) -> None:
        TcpTransport(self._loop, connected).start(self.receiver)
