"""Boxes that stand between a client and a gateway and do what they should not, each in this process."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import re
import ssl
from collections.abc import Callable
from email.utils import format_datetime
from types import TracebackType
from typing import Self

from tests.transports.loops import turns
from tests.transports.proxy_servers import BEGINNING

Head = bytes
Change = Callable[[Head], Head | None]
"""Takes a request head and returns what goes on in its place; None: `Box.refusal` is the answer."""


class Box:
    """Listens on loopback and passes each connection on to a port there, in plain text.

    `request` and `response` change heads of HTTP. `buffers`: an answer that is no 101 is held until it is
    whole. `idle`: seconds of silence after which it cuts. `deaf_after`: seconds after which it drops what
    comes and says nothing. `delay`: seconds that it holds back what goes each way. `waits`: nothing of a
    WebSocket goes down before the client has spoken. `tls`: it ends TLS.
    """

    def __init__(
        self,
        port: int,
        *,
        request: Change = lambda head: head,
        response: Callable[[Head], Head] = lambda head: head,
        refusal: bytes = b"",
        buffers: bool = False,
        idle: float = 0.0,
        deaf_after: float = 0.0,
        delay: float = 0.0,
        waits: bool = False,
        tls: ssl.SSLContext | None = None,
        to_tls: ssl.SSLContext | None = None,
    ) -> None:
        self.to = port
        self.request, self.response, self.refusal = request, response, refusal
        self.buffers, self.idle, self.deaf_after, self.delay = buffers, idle, deaf_after, delay
        self.waits = waits
        self.tls, self.to_tls = tls, to_tls
        self.heads: list[bytes] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0, ssl=self.tls)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        await turns(BEGINNING)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._serve(reader, writer)
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        changed = self.request(head)
        if changed is None:
            writer.write(self.refusal)
            await writer.drain()
            writer.close()
            return
        there, back = await asyncio.open_connection("127.0.0.1", self.to, ssl=self.to_tls)
        try:
            back.write(changed)
            answer = self.response(await there.readuntil(b"\r\n\r\n"))
            opened = answer.startswith(b"HTTP/1.1 101")
            if self.buffers and not opened:
                writer.write(answer + await there.read())
                await writer.drain()
                return
            writer.write(answer)
            if self.waits and opened:
                back.write(await reader.read(1 << 16))
            self._last = asyncio.get_running_loop().time()
            began = self._last
            passing = [
                asyncio.ensure_future(self._pass_on(reader, back, began)),
                asyncio.ensure_future(self._pass_on(there, writer, began)),
            ]
            try:
                await asyncio.gather(*passing)
            finally:
                for each in passing:
                    each.cancel()
        finally:
            back.transport.abort()

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, began: float
    ) -> None:
        while data := await asyncio.wait_for(reader.read(1 << 16), self.idle or None):
            if self.deaf_after and asyncio.get_running_loop().time() - began > self.deaf_after:
                continue
            if self.delay:
                await asyncio.sleep(self.delay)
            writer.write(data)
            await writer.drain()
        writer.close()


def without(*names: str) -> Change:
    """Return what takes header fields out of a request."""
    pattern = re.compile(rb"\r\n(?:" + "|".join(names).encode() + rb"):[^\r]*", re.IGNORECASE)
    return lambda head: pattern.sub(b"", head)


def refuses_upgrades(head: Head) -> Head | None:
    """Let ordinary requests through, and no WebSocket."""
    return None if b"upgrade: websocket" in head.lower() else head


def refusal(status: str, *fields: str, body: str = "<html>no</html>") -> bytes:
    lines = [f"HTTP/1.1 {status}", "Content-Type: text/html", *fields, f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "Connection: close", "", body]).encode()


def dated(ahead: float) -> bytes:
    """Return an answer whose Date is so many seconds ahead."""
    date = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=ahead)
    return refusal("404 Not Found", f"Date: {format_datetime(date, usegmt=True)}", "Server: old")
