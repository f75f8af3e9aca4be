"""From an address to a stack of layers: the visible tables of what can be connected to and accepted on.

scheme      connect                                     accept
--------------------------------------------------------------------------------------------------
tcp, unix   socket                                      socket
ssl, tls    socket, TLS                                 socket, TLS
ws          socket, WebSocket, span                     socket, front (Host, path, Upgrade), WebSocket, span
wss         socket, TLS, WebSocket, span                socket, TLS, front, WebSocket, span
http        -                                           socket, front, HTTP
https       -                                           socket, TLS, front, HTTP
stdio       this process's standard input and output    the same, once

Span is there where both sides speak it (`span.mode`).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING

from isthmus.config.model import ConnectOptions
from isthmus.errors import ConnectError
from isthmus.transports import stdio
from isthmus.transports.base import Connector, Dial, Receiver
from isthmus.transports.dial import SocketDial
from isthmus.transports.span.connect import SpanConnector
from isthmus.transports.span.limits import Budgets
from isthmus.transports.stream_socket import PlainStreamSocket
from isthmus.transports.tcp import TcpTransport
from isthmus.transports.ws_connect import WebSocketConnector
from isthmus.uri import Address

if TYPE_CHECKING:
    from isthmus.transports.tls import Kind

Failed = Callable[[ConnectError], None]
ClientContext = Callable[[ConnectOptions], ssl.SSLContext]


class SocketConnector:
    """Connects tcp and unix addresses."""

    def __init__(self, address: Address, options: ConnectOptions) -> None:
        self.address = address
        self._timeout = options.connect_timeout
        self._local = options.tcp_bind
        self._loop = asyncio.get_running_loop()

    def connect(self, receiver: Receiver, failed: Failed, *, origin: str = "", early: bool = False) -> Dial:
        loop = self._loop
        dial = SocketDial(
            loop,
            self.address,
            self._timeout,
            lambda connected: TcpTransport(loop, connected).start(receiver),
            failed,
            self._local,
        )
        dial.start()
        return dial

    def close(self) -> None:
        """Nothing is kept."""


class _Stages:
    """A connect of several stages, one after the other; cancelling cancels the one that is under way."""

    __slots__ = ("stage",)

    def __init__(self) -> None:
        self.stage: Dial | None = None

    def cancel(self) -> None:
        if self.stage is not None:
            self.stage.cancel()
            self.stage = None


class TlsConnector:
    """Connects ssl addresses, and what lies below wss."""

    def __init__(
        self, address: Address, options: ConnectOptions, client_context: ClientContext, kind: Kind
    ) -> None:
        from isthmus.transports.tls import connect_tls  # with its libraries: only TLS pays

        self.address = address
        self._timeout = options.connect_timeout
        self._local = options.tcp_bind
        self._connect_tls = connect_tls
        client_context(options)  # what is wrong with it is to be known before the first connect
        self._options = options
        self._client_context = client_context
        self._kind = kind
        self._loop = asyncio.get_running_loop()

    def connect(self, receiver: Receiver, failed: Failed, *, origin: str = "", early: bool = False) -> Dial:
        stages = _Stages()
        deadline = self._loop.time() + self._timeout

        def secure(connected: PlainStreamSocket) -> None:
            stages.stage = self._connect_tls(
                connected.detach(),
                self._client_context(self._options),
                self.address,
                receiver,
                failed,
                handshake_timeout=max(0.1, deadline - self._loop.time()),
                kind=self._kind,
            )

        dial = SocketDial(self._loop, self.address, self._timeout, secure, failed, self._local)
        stages.stage = dial
        dial.start()
        return stages

    def close(self) -> None:
        """Nothing is kept."""


class StdioConnector:
    """Connects to this process's standard input and output."""

    def __init__(self, address: Address) -> None:
        self.address = address

    def connect(self, receiver: Receiver, failed: Failed, *, origin: str = "", early: bool = False) -> Dial:
        loop = asyncio.get_running_loop()

        def begin() -> None:
            try:
                standard = stdio.open_socket()
            except ConnectError as error:
                failed(error)
            else:
                TcpTransport(loop, standard).start(receiver)

        return loop.call_soon(begin)

    def close(self) -> None:
        """Nothing is kept."""


def connector(
    address: Address,
    options: ConnectOptions,
    client_context: ClientContext,
    tls_kind: Kind,
    budgets: Budgets,
) -> Connector:
    """Return what connects to `address`.

    `client_context` is asked for the TLS settings of each secure connection, and once at once; `budgets` are
    what the streams of all connectors share. Must be called on the running loop. Raises what `client_context`
    raises.
    """
    match address.scheme:
        case "tcp" | "unix":
            return SocketConnector(address, options)
        case "ssl" | "tls":
            # A stream needs half-close, which only the layer has.
            return TlsConnector(address, options, client_context, "layer")
        case "ws":
            return _websocket(SocketConnector(address, options), options, budgets)
        case "wss":
            return _websocket(TlsConnector(address, options, client_context, tls_kind), options, budgets)
        case "stdio":
            return StdioConnector(address)
        case _:
            raise AssertionError(f"the configuration let {address} through as a connect")


def _websocket(below: Connector, options: ConnectOptions, budgets: Budgets) -> Connector:
    if options.span_mode == "never":
        return WebSocketConnector(below, options)
    return SpanConnector(below, options, budgets)
