"""The peers under test: isthmus and the `websockets` library, each as a server and as a client that echoes.

All take messages of at most `LIMIT` bytes, offer and accept neither extensions nor subprotocols, and know one
path. A server refuses pages of other sites.
"""

from __future__ import annotations

import asyncio
import contextlib
import http
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from tests.flow.gateways import HOST, Application, Backend, configuration, echo, running, service
from tests.rfc6455.wire import PATIENCE, Wire
from tests.system.process import free_port
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as websockets_connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.http11 import Request, Response

Role = Literal["server", "client"]
LIMIT = 128 * 1024
PATH = "/echo"


@dataclass(frozen=True)
class Server:
    """A server under test."""

    port: int

    @property
    def host(self) -> str:
        return f"{HOST}:{self.port}"

    async def connect(self) -> Wire:
        """Return a new connection, on which nothing was said."""
        connecting = socket.socket()
        connecting.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(connecting, (HOST, self.port))
        except OSError:
            connecting.close()
            raise
        return Wire(connecting, masks=True)


class Client:
    """A client under test, which dials the suite's `listener` when told to."""

    def __init__(self, listener: socket.socket, use: Callable[[asyncio.Event], Awaitable[object]]) -> None:
        self._listener = listener
        self._use = use
        self._done = asyncio.Event()
        self.tasks: list[asyncio.Task[object]] = []

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def host(self) -> str:
        return f"{HOST}:{self.port}"

    async def dial(self) -> Wire:
        """Make the client open a connection and return the suite's end of it."""
        self.start()
        async with asyncio.timeout(PATIENCE):
            return await self.accept()

    def start(self) -> None:
        self.tasks.append(asyncio.ensure_future(self._use(self._done)))

    async def accept(self) -> Wire:
        connected, _ = await asyncio.get_running_loop().sock_accept(self._listener)
        return Wire(connected, masks=False)

    def finish(self) -> None:
        """Make the client start the closing handshake."""
        self._done.set()

    async def over(self) -> None:
        """Wait until nothing of the client is left."""
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*self.tasks)

    async def cancel(self) -> None:
        """Take away what a case that went wrong has left."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def isthmus_server() -> AsyncIterator[Server]:
    port = free_port()
    options = {"ws.maximum.message.size": LIMIT}
    config = configuration(service("echo", f"ws://{HOST}:{port}{PATH}", accept_options=options))
    async with running(config):
        yield Server(port)


@contextlib.asynccontextmanager
async def isthmus_client() -> AsyncIterator[Client]:
    """A proxy from TCP to WebSocket, with an application on the TCP side that echoes."""
    port = free_port()

    async def use(done: asyncio.Event) -> None:
        with contextlib.suppress(ConnectionError), await Application.connect(port) as application:
            echoing = asyncio.ensure_future(echo(application))
            waiting = asyncio.ensure_future(done.wait())
            await asyncio.wait([echoing, waiting], return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            if not echoing.done():
                application.end()
            await echoing

    with _listener() as listener:
        client = Client(listener, use)
        near, far = f"tcp://{HOST}:{port}", f"ws://{client.host}{PATH}"
        options = {"ws.maximum.message.size": LIMIT, "span.mode": "never"}
        async with running(configuration(service("proxy", near, far, connect_options=options))):
            try:
                yield client
                await client.over()
            finally:
                await client.cancel()


@contextlib.asynccontextmanager
async def websockets_server() -> AsyncIterator[Server]:
    def only_path(connection: ServerConnection, request: Request) -> Response | None:
        if urlsplit(request.path).path == PATH:
            return None
        return connection.respond(http.HTTPStatus.NOT_FOUND, "no such path\n")

    async def handle(connection: ServerConnection) -> None:
        await _echo_messages(connection)

    port = free_port()
    listening = serve(
        handle,
        HOST,
        port,
        origins=[None],
        compression=None,
        process_request=only_path,
        max_size=LIMIT,
        ping_interval=None,
        close_timeout=PATIENCE,
    )
    async with listening:
        yield Server(port)


@contextlib.asynccontextmanager
async def websockets_client() -> AsyncIterator[Client]:
    async def use(done: asyncio.Event) -> None:
        connecting = websockets_connect(
            f"ws://{client.host}{PATH}",
            compression=None,
            proxy=None,
            max_size=LIMIT,
            ping_interval=None,
            close_timeout=PATIENCE,
        )
        with contextlib.suppress(WebSocketException, OSError, EOFError):
            async with connecting as connection:
                echoing = asyncio.ensure_future(_echo_messages(connection))
                waiting = asyncio.ensure_future(done.wait())
                await asyncio.wait([echoing, waiting], return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
                await connection.close()
                await echoing

    with _listener() as listener:
        client = Client(listener, use)
        try:
            yield client
            await client.over()
        finally:
            await client.cancel()


@contextlib.asynccontextmanager
async def careless_server() -> AsyncIterator[Server]:
    """Opens a WebSocket whatever it is asked, and has one answer to whatever comes then."""

    async def handle(application: Application) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            request += await application.exactly(1)
        await application.send(_ALWAYS_101)
        await application.receive()
        await application.send(b"\x82\x05wrong")

    async with Backend(handle) as backend:
        yield Server(backend.port)


@contextlib.asynccontextmanager
async def careless_client() -> AsyncIterator[Client]:
    """Always asks the same, then sends without waiting, without masking and without end to its message."""

    async def use(done: asyncio.Event) -> None:
        with contextlib.suppress(ConnectionError), await Application.connect(client.port) as application:
            await application.send(_ALWAYS_ASKED + b"\x02\x05wrong")
            await application.receive()

    with _listener() as listener:
        client = Client(listener, use)
        try:
            yield client
        finally:
            await client.cancel()


_ALWAYS_101 = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)
_ALWAYS_ASKED = (
    b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


async def _echo_messages(connection: ServerConnection | ClientConnection) -> None:
    with contextlib.suppress(ConnectionClosed):
        async for message in connection:
            await connection.send(message)


def _listener() -> socket.socket:
    listener = socket.create_server((HOST, 0))
    listener.setblocking(False)
    return listener


@dataclass(frozen=True)
class Subject:
    """One peer under test; `running` is an asynchronous context of a `Server` or a `Client`."""

    name: str
    role: Role
    running: Callable[[], Any]


SUBJECTS = (
    Subject("isthmus", "server", isthmus_server),
    Subject("isthmus", "client", isthmus_client),
    Subject("websockets", "server", websockets_server),
    Subject("websockets", "client", websockets_client),
)

CARELESS = (
    Subject("careless", "server", careless_server),
    Subject("careless", "client", careless_client),
)
"""Peers that do everything wrong, to show that each case can fail."""
