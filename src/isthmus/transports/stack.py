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

Span is there where both sides speak it (`span.mode`). Where the way to a destination leads through proxies
(`outgoing`), a tunnel stands in the place of the socket.
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
from isthmus.transports.door import Door, Elsewhere
from isthmus.transports.outgoing import Outgoing, through
from isthmus.transports.socket_connect import SocketConnector
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
    outgoing: Outgoing | None = None,
) -> Connector:
    """Return what connects to `address`.

    `client_context` is asked for the TLS settings of each secure connection, and once at once; `budgets` are
    what the streams of all connectors share; `outgoing` says how to leave this network (None: directly).
    Must be called on the running loop. Raises what `client_context` raises.
    """
    below = _Below(address, options, client_context, outgoing or Outgoing())
    match address.scheme:
        case "tcp" | "unix":
            return below.plain()
        case "ssl" | "tls":
            # A stream needs half-close, which only the layer has.
            return below.secure("layer")
        case "ws":
            return _websocket(Door(below.plain(), options, below.elsewhere(tls_kind)), options, budgets)
        case "wss":
            door = Door(below.secure(tls_kind), options, below.elsewhere(tls_kind))
            return _websocket(door, options, budgets)
        case "stdio":
            return StdioConnector(address)
        case _:
            raise AssertionError(f"the configuration let {address} through as a connect")


def _websocket(below: Connector, options: ConnectOptions, budgets: Budgets) -> Connector:
    # Who is to be told of each client can be told by each client's own WebSocket only.
    if options.span_mode == "never" or options.tells_origin:
        return WebSocketConnector(below, options)
    return SpanConnector(below, options, budgets)


class _Below:
    """What lies below the WebSocket of an address, or below its stream."""

    def __init__(
        self, address: Address, options: ConnectOptions, client_context: ClientContext, outgoing: Outgoing
    ) -> None:
        self._address = address
        self._options = options
        self._client_context = client_context
        self._outgoing = outgoing

    def plain(self) -> Connector:
        """Return what reaches the address as bytes."""
        return self._tunnel() or SocketConnector(self._address, self._options)

    def secure(self, kind: Kind) -> Connector:
        """Return what speaks TLS to the address: on its socket, or within what leads there."""
        below = self._tunnel()
        if below is None and self._options.server_name is not None:
            below = SocketConnector(self._address, self._options)
        if below is None:
            return TlsConnector(self._address, self._options, self._client_context, kind)
        from isthmus.transports.tls_over import TlsOverConnector

        self._context()  # what is wrong with it is to be known before the first connect
        name = self._options.server_name or self._address.host.rstrip(".")
        return TlsOverConnector(below, self._address, name, self._context, self._options.connect_timeout)

    def elsewhere(self, kind: Kind) -> Elsewhere:
        """Return what makes the connector to a server that a redirect leads to."""
        options = self._options.model_copy(update={"server_name": None, "proxy_protocol": "none"})
        outgoing = self._outgoing

        def make(address: Address) -> Connector:
            below = _Below(address, options, outgoing.anonymous or self._client_context, outgoing)
            return below.secure(kind) if address.kind.secure else below.plain()

        return make

    def _tunnel(self) -> Connector | None:
        """Return what reaches the address where that is more than a socket; else None."""
        way, version = self._outgoing.way(self._address), self._options.proxy_protocol
        if not way.proxies and way.instead is None and version == "none":
            return None
        if any(proxy.secure for proxy in way.proxies):
            self._context()
        reached = through(
            way, self._address, self._options, self._socket, self._context, self._outgoing.credentials
        )
        if version == "none":
            return reached
        from isthmus.transports.announce import AnnouncingConnector

        return AnnouncingConnector(reached, version, self._outgoing.accept)

    def _socket(self, address: Address, at: Address) -> Connector:
        return SocketConnector(address, self._options, at)

    def _context(self) -> ssl.SSLContext:
        return self._client_context(self._options)
