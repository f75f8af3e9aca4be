"""Small proxies in this process, that do what a test wants of them."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ipaddress
import ssl
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from tests.transports.loops import turns

from isthmus.config.model import GatewayOptions
from isthmus.transports.span.limits import Budgets

BUDGETS = Budgets.of(GatewayOptions())
BEGINNING = 5
"""Turns of the loop after which who was accepted has begun: a task that has not cannot end what it has."""
Speak = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable["tuple[str, int] | None"]]


class ProxyServer:
    """A proxy on loopback. `speak` answers one connection and returns where it leads, or None: it ends.

    `asked` are the destinations that were asked for.
    """

    def __init__(self, speak: Speak, context: ssl.SSLContext | None = None) -> None:
        self.asked: list[tuple[str, int]] = []
        self.connections = 0
        self._speak = speak
        self._context = context
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0, ssl=self._context)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        await turns(BEGINNING)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def drop(self) -> None:
        """End all connections."""
        for writer in self._writers:
            writer.transport.abort()

    @property
    def port(self) -> int:
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        self.connections += 1
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._serve(reader, writer)
        finally:
            self._tasks.discard(task)
            self._writers.discard(writer)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = await self._speak(reader, writer)
        if target is None:
            writer.close()
            await writer.wait_closed()
            return
        self.asked.append(target)
        there, back = await asyncio.open_connection("127.0.0.1", target[1])
        try:
            await asyncio.gather(_pass_on(reader, back), _pass_on(there, writer))
        finally:
            back.transport.abort()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
    else:
        writer.close()


def head_of(text: bytes) -> dict[str, str]:
    """Return the fields of a request head, and its target as `""`."""
    first, *lines = text.decode("latin-1").rstrip("\r\n").split("\r\n")
    fields = dict(line.split(": ", 1) for line in lines)
    return {"": first.split()[1], **{name.lower(): value for name, value in fields.items()}}


class HttpProxy:
    """Speaks CONNECT. `challenges` returns, for a Proxy-Authorization, what to ask in a 407; nothing: let in.

    `keeps` says whether the connection is kept after a 407.
    """

    def __init__(
        self, challenges: Callable[[str], list[str]] = lambda authorization: [], *, keeps: bool = True
    ) -> None:
        self.challenges = challenges
        self.keeps = keeps
        self.authorizations: list[str] = []
        self.targets: list[str] = []

    async def __call__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[str, int] | None:
        while True:
            fields = head_of(await reader.readuntil(b"\r\n\r\n"))
            authorization = fields.get("proxy-authorization", "")
            self.authorizations.append(authorization)
            self.targets.append(fields[""])
            wanted = self.challenges(authorization)
            if not wanted:
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                host, _, port = fields[""].rpartition(":")
                return host, int(port)
            lines = ["HTTP/1.1 407 Proxy Authentication Required", "Content-Length: 6"]
            lines += [f"Proxy-Authenticate: {each}" for each in wanted]
            lines += [] if self.keeps else ["Connection: close"]
            writer.write("\r\n".join([*lines, "", "<html>"]).encode())
            if not self.keeps:
                return None


def basic(user: str, password: str) -> Callable[[str], list[str]]:
    """Return challenges that let this user in."""
    right = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    return lambda authorization: [] if authorization == right else ['Basic realm="x"']


async def socks5(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[str, int] | None:
    """Speak SOCKS 5 without a login."""
    count = (await reader.readexactly(2))[1]
    await reader.readexactly(count)
    writer.write(b"\5\0")
    kind = (await reader.readexactly(4))[3]
    size = {1: 4, 4: 16}.get(kind) or (await reader.readexactly(1))[0]
    host = await reader.readexactly(size)
    port = int.from_bytes(await reader.readexactly(2), "big")
    writer.write(b"\5\0\0\1\0\0\0\0\0\0")
    return (host.decode() if kind == 3 else str(ipaddress.ip_address(host))), port


async def socks4a(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[str, int] | None:
    """Speak SOCKS 4A."""
    head = await reader.readexactly(8)
    await reader.readuntil(b"\0")
    host = str(ipaddress.ip_address(head[4:]))
    if head[4:7] == b"\0\0\0":
        host = (await reader.readuntil(b"\0"))[:-1].decode()
    writer.write(b"\0\x5a" + bytes(6))
    return host, int.from_bytes(head[2:4], "big")


async def serve(banner: bytes, context: ssl.SSLContext | None = None) -> asyncio.Server:
    """Start a server that says `banner` first, then sends back what it gets."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError):
                writer.write(banner)
                while data := await reader.read(1 << 16):
                    writer.write(data)
        finally:
            writer.close()

    return await asyncio.start_server(talk, "127.0.0.1", 0, ssl=context)


def port_of(server: asyncio.Server) -> int:
    port: int = server.sockets[0].getsockname()[1]
    return port
