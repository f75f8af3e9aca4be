"""From an address to a stack of layers: the visible tables of what can be connected to and accepted on.

scheme      connect                                     accept
--------------------------------------------------------------------------------------------------
tcp, unix   socket                                      socket
ssl, tls    socket, TLS                                 socket, TLS
ws          socket, WebSocket                           socket, front (Host, path, Upgrade), WebSocket
wss         socket, TLS, WebSocket                      socket, TLS, front, WebSocket
http        -                                           socket, front, HTTP
https       -                                           socket, TLS, front, HTTP
stdio       this process's standard input and output    the same, once
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING

from isthmus.config.model import ConnectOptions
from isthmus.errors import ConnectError
from isthmus.transports import stdio
from isthmus.transports.base import Connector, Dial, Receiver
from isthmus.transports.dial import SocketDial, no_answer
from isthmus.transports.tcp import TcpTransport
from isthmus.transports.ws import WebSocketOpening
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

    def connect(self, receiver: Receiver, failed: Failed) -> Dial:
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

    def connect(self, receiver: Receiver, failed: Failed) -> Dial:
        stages = _Stages()
        deadline = self._loop.time() + self._timeout

        def secure(connected: socket.socket) -> None:
            stages.stage = self._connect_tls(
                connected,
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


class WebSocketConnector:
    """Connects ws and wss addresses over a connector for what lies below."""

    def __init__(self, below: Connector, options: ConnectOptions) -> None:
        self.address = below.address
        self._below = below
        self._options = options
        self._loop = asyncio.get_running_loop()

    def connect(self, receiver: Receiver, failed: Failed) -> Dial:
        dial = _WebSocketDial(self._loop, self.address, self._options, receiver, failed)
        dial.start(self._below)
        return dial


class _WebSocketDial:
    """One connect of a WebSocket: what lies below, then the handshake, all within `connect.timeout`."""

    __slots__ = ("_address", "_below", "_failed", "_opening", "_receiver", "_timeout", "_timer")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        address: Address,
        options: ConnectOptions,
        receiver: Receiver,
        failed: Failed,
    ) -> None:
        self._address = address
        self._failed = failed
        self._receiver = receiver
        self._timeout = options.connect_timeout
        self._opening = WebSocketOpening(
            address,
            options,
            opened=self._opened,
            failed=self._failed_once,
        )
        self._below: Dial | None = None
        self._timer = loop.call_later(self._timeout, self._timed_out)

    def start(self, below: Connector) -> None:
        self._below = below.connect(self._opening, self._failed_once)

    def cancel(self) -> None:
        self._timer.cancel()
        self._opening.cancel()
        if self._below is not None:
            self._below.cancel()
            self._below = None

    def _opened(self) -> Receiver:
        self._timer.cancel()
        self._below = None
        return self._receiver

    def _failed_once(self, error: ConnectError) -> None:
        self.cancel()
        self._failed(error)

    def _timed_out(self) -> None:
        if not self._opening.asked:
            self._failed_once(no_answer(self._address, self._timeout))
            return
        self._failed_once(
            ConnectError(
                f"Unable to connect to {self._address}: "
                f"no answer to the WebSocket handshake within {self._timeout:g} s",
                status=504,
                hint="check that a WebSocket server listens there",
            )
        )


class StdioConnector:
    """Connects to this process's standard input and output."""

    def __init__(self, address: Address) -> None:
        self.address = address

    def connect(self, receiver: Receiver, failed: Failed) -> Dial:
        loop = asyncio.get_running_loop()

        def begin() -> None:
            try:
                standard = stdio.open_socket()
            except ConnectError as error:
                failed(error)
            else:
                TcpTransport(loop, standard).start(receiver)

        return loop.call_soon(begin)


def connector(
    address: Address,
    options: ConnectOptions,
    client_context: ClientContext,
    tls_kind: Kind,
) -> Connector:
    """Return what connects to `address`. `client_context` is asked for the TLS settings of each secure
    connection, and once at once.

    Must be called on the running loop. Raises what `client_context` raises.
    """
    match address.scheme:
        case "tcp" | "unix":
            return SocketConnector(address, options)
        case "ssl" | "tls":
            # A stream needs half-close, which only the layer has.
            return TlsConnector(address, options, client_context, "layer")
        case "ws":
            return WebSocketConnector(SocketConnector(address, options), options)
        case "wss":
            below = TlsConnector(address, options, client_context, tls_kind)
            return WebSocketConnector(below, options)
        case "stdio":
            return StdioConnector(address)
        case _:
            raise AssertionError(f"the configuration let {address} through as a connect")
