"""A box between a Web client and a Web server that does to HTTP what some on the way do."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from types import TracebackType
from typing import Self

from tests.system.process import PATIENCE

_LIMIT = 1 << 20


class Middlebox:
    """Listens on `port` and hands requests on to `target`, both on this machine.

    `websocket` is what becomes of a WebSocket handshake: `pass`, `strip` (Upgrade is taken out), `drop` (the
    connection ends), `swallow` (nothing is answered), or the status that it is refused with. With `holds`,
    an answer is handed on when it is complete, as every request is.
    """

    def __init__(self, target: int, *, websocket: str = "pass", holds: bool = False) -> None:
        self.target = target
        self.websocket = websocket
        self.holds = holds
        self.websockets = 0
        """How many handshakes came."""
        self.requests = 0
        self.port = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(PATIENCE)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            asyncio.start_server(self._serve, "127.0.0.1", 0, limit=_LIMIT)
        )
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        self._loop.run_until_complete(self._end())
        self._loop.close()

    async def _end(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        if tasks:
            await asyncio.wait(tasks, timeout=PATIENCE)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, OSError):
            while await self._request(reader, writer):
                pass
        await self._close(writer)

    async def _close(self, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, OSError):
            writer.close()
            await writer.wait_closed()
        self._writers.discard(writer)

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Hand one request on, and its answer; return whether another may follow."""
        head = await reader.readuntil(b"\r\n\r\n")
        self.requests += 1
        upgrade = b"upgrade: websocket" in head.lower()
        if upgrade:
            self.websockets += 1
            if self.websocket == "drop":
                return False
            if self.websocket == "swallow":
                await reader.read()
                return False
            if self.websocket.isdigit():
                writer.write(f"HTTP/1.1 {self.websocket} No\r\nContent-Length: 0\r\n\r\n".encode())
                return False
            if self.websocket == "strip":
                lines = head.split(b"\r\n")
                hop = (b"upgrade:", b"connection:")
                head = b"\r\n".join(line for line in lines if not line.lower().startswith(hop))
                upgrade = False
        far_reader, far = await asyncio.open_connection("127.0.0.1", self.target, limit=_LIMIT)
        self._writers.add(far)
        try:
            if upgrade:
                far.write(head)
                await asyncio.gather(_copy(reader, far), _copy(far_reader, writer))
                return False
            far.write(head + await _body(reader, head, until_end=False))
            return await self._answer(reader, far_reader, writer)
        finally:
            await self._close(far)

    async def _answer(
        self, reader: asyncio.StreamReader, far: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        gone = asyncio.ensure_future(_wait_for_end(reader, far))
        try:
            head = await far.readuntil(b"\r\n\r\n")
            last = b"connection: close" in head.lower()
            if self.holds or _length(head) is not None:
                writer.write(head + await _body(far, head, until_end=True))
            else:
                writer.write(head)
                await _copy(far, writer)
            await writer.drain()
            return not last
        finally:
            gone.cancel()


async def _wait_for_end(reader: asyncio.StreamReader, far: asyncio.StreamReader) -> None:
    """Stop waiting for an answer that nobody wants any more. Nothing may wait for `reader` meanwhile."""
    loop = asyncio.get_running_loop()
    while not reader.at_eof():
        later: asyncio.Future[None] = loop.create_future()
        loop.call_later(0.05, _wake, later)
        await later
    if far.exception() is None:
        far.set_exception(ConnectionResetError())


def _wake(later: asyncio.Future[None]) -> None:
    if not later.done():
        later.set_result(None)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError, OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


def _length(head: bytes) -> int | None:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return None


async def _body(reader: asyncio.StreamReader, head: bytes, *, until_end: bool) -> bytes:
    length = _length(head)
    if length is not None:
        return await reader.readexactly(length)
    return await reader.read(-1) if until_end else b""
