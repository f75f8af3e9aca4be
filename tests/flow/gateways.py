"""Gateways in this process, on the running loop, and applications with real sockets on the same loop."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import errno
import functools
import gc
import shutil
import socket
import struct
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from tests.system.certificates import Authority
from tests.system.process import free_port
from tests.transports.loops import PATIENCE, open_descriptors, until

from isthmus.config.model import (
    AcceptOptions,
    ConnectOptions,
    DirectoryProperties,
    EchoProperties,
    GatewayConfig,
    GatewayOptions,
    Keystore,
    ProxyProperties,
    Section,
    Security,
    Service,
)
from isthmus.gateway import Gateway
from isthmus.security.seal import make_key, pin_of_file
from isthmus.uri import parse

HOST = "127.0.0.1"
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


# --- gateways


def service(
    kind: str,
    accepts: str | list[str],
    connect: str = "",
    *,
    name: str = "",
    accept_options: dict[str, Any] | None = None,
    connect_options: dict[str, Any] | None = None,
    **properties: Any,
) -> Service:
    """Return one service; options are by their file names, underscores stand for the dots of properties."""
    classes: dict[str, type[Section]] = {
        "proxy": ProxyProperties,
        "echo": EchoProperties,
        "directory": DirectoryProperties,
    }
    values = {key if kind == "directory" else key.replace("_", "."): each for key, each in properties.items()}
    return Service(
        name=name or f"{kind}-1",
        type=kind,
        accepts=tuple(map(parse, [accepts] if isinstance(accepts, str) else accepts)),
        connects=(parse(connect),) if connect else (),
        properties=classes[kind].model_validate(values),
        accept_options=AcceptOptions.model_validate(accept_options or {}),
        connect_options=ConnectOptions.model_validate(connect_options or {}),
    )


def configuration(
    *services: Service, options: dict[str, Any] | None = None, security: Security | None = None
) -> GatewayConfig:
    """Return a whole configuration; options are by their file names."""
    return GatewayConfig(
        services=services,
        options=GatewayOptions.model_validate(options or {}),
        security=security or Security(),
    )


@functools.cache
def authority() -> Authority:
    """Return the certificate authority of these tests."""
    folder = tempfile.mkdtemp(prefix="isthmus-flow-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Authority(Path(folder))


@functools.cache
def seal_key() -> Path:
    """Return a key that carriers are sealed by."""
    folder = tempfile.mkdtemp(prefix="isthmus-seal-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    make_key(Path(folder) / "seal.pem")
    return Path(folder) / "seal.pem"


def server_security() -> Security:
    return Security(keystore=Keystore(file=authority().server(HOST)))


def client_security() -> Security:
    return Security(truststore=Keystore(file=authority().truststore))


@contextlib.asynccontextmanager
async def running(config: GatewayConfig, *, home: Path = Path()) -> AsyncIterator[Gateway]:
    """Run a gateway; at the end everything that went through it must be over."""
    gateway = Gateway(config, directory=Path(), home=home)
    await gateway.start()
    try:
        yield gateway
        await until(lambda: gateway.connections() == 0, "every accepted connection is closed")
        await until(lambda: in_service(gateway) == 0, "every service is idle")
    finally:
        await gateway.stop(0.0)


def in_service(gateway: Gateway) -> int:
    """Return how many connections the services of a gateway know."""
    return sum(running.connections() for running in gateway._running if hasattr(running, "connections"))


class Pair:
    """A client gateway that takes TCP on `port`, and a server gateway that it reaches over the Web."""

    def __init__(self, client: Gateway, server: Gateway, port: int, web_port: int) -> None:
        self.client = client
        self.server = server
        self.port = port
        self.web_port = web_port


@contextlib.asynccontextmanager
async def pair(
    scheme: str,
    backend_port: int,
    *,
    through: int = 0,
    web_port: int = 0,
    options: dict[str, Any] | None = None,
    web_options: dict[str, Any] | None = None,
    **properties: Any,
) -> AsyncIterator[Pair]:
    """Run two gateways joined by `scheme`; the client's dials `through` that port, not the server's own.

    The scheme `ws plain` is ws without span, `ws sealed` with sealed carriers. `options` are the server's;
    `properties` and `web_options` (of the Web side) are for both.
    """
    scheme, _, kind = scheme.partition(" ")
    of_one: tuple[dict[str, Any], dict[str, Any]] = ({}, {})  # options of the server's and of the client's
    if kind == "plain":
        web_options = {"span.mode": "never", **(web_options or {})}
        of_one = {}, {"ws.fallback": "never"}  # one connection for each, whatever becomes of it
    elif kind == "sealed":
        of_one = {"span.seal.key": seal_key()}, {"span.seal.pin": pin_of_file(seal_key())}
    port, web_port = free_port(), web_port or free_port()
    public = f"{scheme}://{HOST}:{through or web_port}/tunnel"
    bind = {f"{scheme}.bind": f"{HOST}:{web_port}"} if through else {}
    far = service(
        "proxy",
        public,
        f"tcp://{HOST}:{backend_port}",
        accept_options={**bind, **of_one[0], **(web_options or {})},
        **properties,
    )
    to_far = {**of_one[1], **(web_options or {})}
    near = service("proxy", f"tcp://{HOST}:{port}", public, connect_options=to_far, **properties)
    secure = scheme == "wss"
    server_config = configuration(far, options=options, security=server_security() if secure else None)
    client_config = configuration(near, security=client_security() if secure else None)
    gc.collect()
    before = len(open_descriptors())
    async with running(server_config) as server, running(client_config) as client:
        yield Pair(client, server, port, web_port)
    await until(lambda: len(open_descriptors()) <= before, "every socket is closed")


# --- applications


class Application:
    """One end of a conversation on a socket of its own."""

    def __init__(self, connected: socket.socket) -> None:
        connected.setblocking(False)
        self._socket = connected
        self._loop = asyncio.get_running_loop()

    @classmethod
    async def connect(cls, port: int, *, receive_buffer: int = 0) -> Application:
        connecting = socket.socket()
        connecting.setblocking(False)
        if receive_buffer:
            connecting.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            await asyncio.get_running_loop().sock_connect(connecting, (HOST, port))
        except OSError:
            connecting.close()
            raise
        return cls(connecting)

    async def send(self, data: bytes | memoryview) -> None:
        async with asyncio.timeout(PATIENCE):
            await self._loop.sock_sendall(self._socket, data)

    async def receive(self, most: int = 1 << 16) -> bytes:
        """Return what comes next; nothing is the end of input. Raises `ConnectionResetError`."""
        async with asyncio.timeout(PATIENCE):
            return await self._loop.sock_recv(self._socket, most)

    async def exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = await self.receive(size - len(data))
            assert piece, f"the input ended after {len(data)} of {size} bytes"
            data += piece
        return data

    async def rest(self) -> bytes:
        """Read until the end of input."""
        pieces = []
        while piece := await self.receive():
            pieces.append(piece)
        return b"".join(pieces)

    def end(self) -> None:
        """Half-close. Raises `ConnectionResetError`."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            if error.errno != errno.ENOTCONN:
                raise
            raise ConnectionResetError(error.errno, "reset before its end") from error

    def close(self) -> None:
        self._socket.close()

    def reset(self) -> None:
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._socket.close()

    async def is_reset(self) -> bool:
        """Read on: whether it ends in a reset rather than in order."""
        try:
            await self.rest()
        except ConnectionResetError:
            return True
        return False

    def __enter__(self) -> Application:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()


Handler = Callable[[Application], Awaitable[object]]


class Backend:
    """A TCP server on the running loop; what its handler returns or raises for a connection is an outcome."""

    def __init__(self, handler: Handler, port: int = 0) -> None:
        self.outcomes: asyncio.Queue[object] = asyncio.Queue()
        self.accepted = 0
        self._handler = handler
        self._listener = socket.create_server((HOST, port), backlog=256)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._tasks: set[asyncio.Task[None]] = set()

    async def outcome(self) -> Any:
        """Return the outcome of the next connection that is over."""
        async with asyncio.timeout(PATIENCE):
            return await self.outcomes.get()

    async def __aenter__(self) -> Backend:
        self._keep(self._accept())
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._listener.close()

    def _keep(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self) -> None:
        while True:
            connected, _ = await asyncio.get_running_loop().sock_accept(self._listener)
            self.accepted += 1
            self._keep(self._handle(Application(connected)))

    async def _handle(self, application: Application) -> None:
        outcome: object
        with application:
            try:
                outcome = await self._handler(application)
            except (OSError, AssertionError, TimeoutError) as error:
                outcome = error
        self.outcomes.put_nowait(outcome)


async def echo(application: Application) -> int:
    """Send back what comes until it ends. Returns how much that was."""
    total = 0
    while data := await application.receive():
        await application.send(data)
        total += len(data)
    application.end()
    return total


async def read_all(application: Application) -> bytes:
    """Read until the end of input, then end."""
    data = await application.rest()
    application.end()
    return data
