"""The bridge to aiohttp, over real sockets and over a transport in memory."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import subprocess
import sys
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import web

from isthmus.transports.base import Receiver, Transport
from isthmus.transports.http import HttpBridge, Upgrade


class SocketTransport(asyncio.Protocol):
    """A `base.Transport` over an asyncio socket, as `transports.front` would hand it over."""

    def __init__(self, take: Callable[[Transport, bytes], Receiver]) -> None:
        self.take = take
        self.receiver: Receiver | None = None
        self.pauses = 0
        self.aborted = False
        self.most_unsent = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.below = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self.receiver is None:
            self.receiver = self.take(self, data)
        else:
            self.receiver.data_received(memoryview(bytearray(data)))

    def eof_received(self) -> bool:
        if self.receiver is not None:
            self.receiver.eof_received()
        return True

    def pause_writing(self) -> None:
        self.pauses += 1
        if self.receiver is not None:
            self.receiver.pause_writing()

    def resume_writing(self) -> None:
        if self.receiver is not None:
            self.receiver.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.receiver is not None:
            self.receiver.connection_lost(exc)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.below.write(data)
        self.most_unsent = max(self.most_unsent, self.unsent())

    def writelines(self, parts: Sequence[bytes | bytearray | memoryview]) -> None:
        self.write(b"".join(parts))

    def set_receiver(self, receiver: Receiver) -> None:
        self.receiver = receiver

    def write_eof(self) -> None:
        self.below.write_eof()

    def pause_reading(self) -> None:
        self.below.pause_reading()

    def resume_reading(self) -> None:
        self.below.resume_reading()

    def set_write_limit(self, high: int) -> None:
        self.below.set_write_buffer_limits(high)

    def unsent(self) -> int:
        return self.below.get_write_buffer_size()

    def close(self) -> None:
        self.below.close()

    def abort(self) -> None:
        self.aborted = True
        self.below.abort()

    def info(self, name: str) -> Any:
        return self.below.get_extra_info(name)


class MemoryTransport:
    """A `base.Transport` that only notes what is asked of it."""

    def __init__(self) -> None:
        self.sent = bytearray()
        self.reading = True
        self.closed = False
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += data

    def writelines(self, parts: Sequence[bytes | bytearray | memoryview]) -> None:
        self.sent += b"".join(parts)

    def set_receiver(self, receiver: Receiver) -> None: ...

    def write_eof(self) -> None: ...

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def set_write_limit(self, high: int) -> None: ...

    def unsent(self) -> int:
        return 0

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True

    def info(self, name: str) -> Any:
        return None


Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Service:
    """An `HttpService` that answers by a function."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        return await self._handle(request)

    async def start(self) -> None: ...

    async def stop(self, deadline: float) -> None: ...


class Server:
    """An `HttpBridge` behind a listening socket."""

    def __init__(self, bridge: HttpBridge) -> None:
        self.bridge = bridge
        self.transports: list[SocketTransport] = []
        self.port = 0

    def accept(self) -> SocketTransport:
        self.transports.append(SocketTransport(self.bridge.take))
        return self.transports[-1]

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def ask(self, data: bytes, *, end: bool = False) -> bytes:
        """Send bytes and return all that comes until the server ends."""
        reader, writer = await self.connect()
        writer.write(data)
        if end:
            writer.write_eof()
        try:
            return await asyncio.wait_for(reader.read(), 20)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


@contextlib.asynccontextmanager
async def serving(handle: Handle | None, **options: Any) -> AsyncIterator[Server]:
    service = Service(handle) if handle is not None else None
    server = Server(HttpBridge(lambda request: service, **options))
    listener = await asyncio.get_running_loop().create_server(server.accept, "127.0.0.1", 0)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        async with asyncio.timeout(30):
            yield server
    finally:
        listener.close()
        await server.bridge.stop(0.2)
        for _ in range(100):
            if not server.bridge.connections():
                break
            await asyncio.sleep(0.01)
        assert server.bridge.connections() == 0


async def echo(request: web.BaseRequest) -> web.StreamResponse:
    body = await request.read()
    return web.Response(text=f"{request.method} {request.raw_path} {body.decode()}|")


GET = b"GET %s HTTP/1.1\r\nHost: h\r\n\r\n"
LAST = b"GET %s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"


async def test_keeps_connections_alive_until_the_client_asks_for_their_end() -> None:
    async with serving(echo) as server:
        reader, writer = await server.connect()
        for number in range(3):
            writer.write(GET % b"/%d" % number)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK")
            assert await reader.readuntil(b"|") == b"GET /%d |" % number
        writer.write(LAST % b"/end")
        rest = await reader.read()
        assert b"Connection: close" in rest
        assert rest.endswith(b"GET /end |")
        assert len(server.transports) == 1
        writer.close()


async def test_answers_pipelined_requests_in_order_in_any_cuts() -> None:
    stream = b"".join(GET % b"/%d" % number for number in range(40)) + LAST % b"/40"
    async with serving(echo) as server:
        for step in (len(stream), 1000, 7):
            reader, writer = await server.connect()
            for start in range(0, len(stream), step):
                writer.write(stream[start : start + step])
                if step < 1000:
                    await asyncio.sleep(0)
            answers = await asyncio.wait_for(reader.read(), 20)
            writer.close()
            places = [answers.find(b"GET /%d |" % number) for number in range(41)]
            assert -1 not in places
            assert places == sorted(places)


async def test_pipelined_bytes_wait_in_the_kernel_while_a_request_is_answered() -> None:
    go_on = asyncio.Event()

    async def slow(request: web.BaseRequest) -> web.StreamResponse:
        await go_on.wait()
        return await echo(request)

    service = Service(slow)
    bridge = HttpBridge(lambda request: service)
    transport = MemoryTransport()
    receiver = bridge.take(transport, GET % b"/1")
    await asyncio.sleep(0.01)
    receiver.data_received(memoryview(bytearray(GET % b"/2")))
    assert not transport.reading
    receiver.data_received(memoryview(bytearray(GET % b"/3")))  # in hands from the same read
    await asyncio.sleep(0.01)
    assert b"200 OK" not in transport.sent
    go_on.set()
    await asyncio.sleep(0.05)
    assert transport.reading
    assert [transport.sent.count(b"GET /%d |" % number) for number in (1, 2, 3)] == [1, 1, 1]
    receiver.connection_lost(None)
    await asyncio.sleep(0)
    assert bridge.connections() == 0


async def test_head_has_the_length_and_no_body() -> None:
    async with serving(echo) as server:
        answer = await server.ask(b"HEAD /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        assert b"\r\nContent-Length: 9\r\n" in answer
        assert answer.endswith(b"\r\n\r\n")


async def test_bodies_chunked_slow_and_large_arrive_whole() -> None:
    async def count(request: web.BaseRequest) -> web.StreamResponse:
        size = 0
        async for piece in request.content.iter_any():
            size += len(piece)
        return web.Response(text=str(size))

    async with serving(count) as server:
        reader, writer = await server.connect()
        writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(50):
            writer.write(b"5\r\nhel")
            await asyncio.sleep(0.001)
            writer.write(b"lo\r\n")
        writer.write(b"0\r\n\r\n")
        assert (await reader.read()).endswith(b"\r\n\r\n250")
        writer.close()
        large = 8 << 20
        head = b"POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % large
        assert (await server.ask(head + bytes(large))).endswith(b"\r\n\r\n%d" % large)


async def test_answers_are_chunked_when_their_length_is_unknown() -> None:
    async def pieces(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for piece in (b"one", b"two"):
            await response.write(piece)
        return response

    async with serving(pieces) as server:
        answer = await server.ask(LAST % b"/")
        assert b"Transfer-Encoding: chunked" in answer
        assert answer.endswith(b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")
        old = await server.ask(b"GET / HTTP/1.0\r\n\r\n")
        assert old.endswith(b"\r\n\r\nonetwo")


async def test_a_slow_reader_slows_the_service() -> None:
    total, piece = 16 << 20, bytes(1 << 16)

    async def much(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = total
        await response.prepare(request)
        for _ in range(total // len(piece)):
            await response.write(piece)
        return response

    async with serving(much) as server:
        reader, writer = await server.connect()
        writer.write(LAST % b"/")
        await asyncio.sleep(0.1)
        await reader.readuntil(b"\r\n\r\n")
        size = 0
        while data := await reader.read(1 << 18):
            size += len(data)
        assert size == total
        assert server.transports[0].pauses > 0
        assert server.transports[0].most_unsent < total // 16
        writer.close()


async def test_a_client_that_ends_its_side_gets_every_answer() -> None:
    async def late(request: web.BaseRequest) -> web.StreamResponse:
        await asyncio.sleep(0.02)
        return await echo(request)

    async with serving(late) as server:
        answer = await server.ask(GET % b"/1" + GET % b"/2" + GET % b"/3", end=True)
        assert [answer.count(b"GET /%d |" % number) for number in (1, 2, 3)] == [1, 1, 1]
        assert await server.ask(b"GET / HTT", end=True) == b""


async def test_a_body_that_breaks_off_does_not_keep_the_service_waiting() -> None:
    broken: list[BaseException] = []

    async def read(request: web.BaseRequest) -> web.StreamResponse:
        try:
            await request.read()
        except Exception as error:
            broken.append(error)
            raise
        return web.Response()

    async with serving(read) as server:
        head = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf"
        assert await server.ask(head, end=True) == b""
        assert len(broken) == 1


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: h\r\nbroken\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n", 400),
        (
            b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (b"CONNECT other:443 HTTP/1.1\r\nHost: other:443\r\n\r\n", 405),
        (b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", 405),
        (b"POST / HTTP/1.1\r\nHost: h\r\nExpect: tea\r\nContent-Length: 0\r\n\r\n", 417),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 20000 + b"\r\n\r\n", 431),
        (
            b"GET / HTTP/1.1\r\nHost: h\r\n" + b"X: abcdefgh\r\n" * 40 + b"Y: " + b"y" * 16000 + b"\r\n\r\n",
            431,
        ),
    ],
)
async def test_refuses_what_it_cannot_serve_and_closes(request_head: bytes, status: int) -> None:
    async with serving(echo) as server:
        answer = await server.ask(request_head)
        assert answer.split(b" ")[1] == str(status).encode()
        assert b"Traceback" not in answer
        assert b"X-Content-Type-Options: nosniff" in answer


@pytest.mark.parametrize("begun", [b"", GET % b"/"])
async def test_a_head_that_never_ends_is_refused(begun: bytes) -> None:
    service = Service(echo)
    bridge = HttpBridge(lambda request: service, maximum_head_size=8192)
    transport = MemoryTransport()
    receiver = bridge.take(transport, begun + b"GET / HTTP/1.1\r\n")
    await asyncio.sleep(0.01)
    line = b"X: " + b"x" * 995 + b"\r\n"
    sent = 0
    while not transport.closed and sent < 100_000:
        receiver.data_received(memoryview(bytearray(line)))
        sent += len(line)
    assert 8192 - len(line) <= sent <= 8192 + len(line)
    assert b"HTTP/1.1 431 " in transport.sent
    receiver.connection_lost(None)
    await asyncio.sleep(0)


async def test_an_unknown_resource_is_not_found_and_the_connection_goes_on() -> None:
    async with serving(None) as server:
        answer = await server.ask(GET % b"/1" + LAST % b"/2")
        assert answer.count(b"HTTP/1.1 404 Not Found") == 2


async def test_absolute_targets_name_the_host_themselves() -> None:
    async def where(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text=f"{request.host} {request.rel_url.raw_path} {request.query_string}")

    async with serving(where) as server:
        text = b"GET http://a.example:81/p%20q?x=1 HTTP/1.1\r\nHost: b.example\r\nConnection: close\r\n\r\n"
        assert (await server.ask(text)).endswith(b"\r\n\r\na.example:81 /p%20q x=1")
        assert (await server.ask(b"GET / HTTP/1.0\r\n\r\n")).endswith(b"\r\n\r\n / ")


async def test_continue_is_sent_when_the_service_asks_for_the_body() -> None:
    async with serving(echo) as server:
        reader, writer = await server.connect()
        writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"ok")
        assert (await reader.readuntil(b"|")).endswith(b"POST / ok|")
        writer.close()


async def test_no_continue_when_the_service_does_not_want_the_body() -> None:
    async def refuse(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=405)

    async with serving(refuse) as server:
        reader, writer = await server.connect()
        writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 405")
        assert b"Connection: close" in head
        writer.close()


async def test_a_service_that_fails_is_told_apart_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/late":
            response = web.StreamResponse()
            response.content_length = 10
            await response.prepare(request)
        raise ValueError("secret")

    async with serving(fail) as server:
        answer = await server.ask(GET % b"/")
        assert answer.startswith(b"HTTP/1.1 500")
        assert b"secret" not in answer
        assert "secret" in caplog.text
        with contextlib.suppress(ConnectionError):
            assert b"500" not in await server.ask(GET % b"/late")
        assert server.transports[-1].aborted


HANDSHAKE = (
    b"GET /echo?a=b HTTP/1.1\r\nHost: h:1\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Taker:
    """An upgrade hook that answers 101 and sends back in capitals what comes."""

    def __init__(self, *, take: bool = True) -> None:
        self.take = take
        self.received: list[bytes] = []
        self.transport: Transport | None = None

    def __call__(self, transport: Transport, received: bytes) -> bool:
        self.received.append(received)
        if self.take:
            self.transport = transport
            transport.set_receiver(cast(Receiver, self))
            transport.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
            self.data_received(memoryview(received.partition(b"\r\n\r\n")[2]))
        return self.take

    def data_received(self, data: memoryview) -> None:
        assert self.transport is not None
        self.transport.write(bytes(data).upper())

    def eof_received(self) -> None:
        assert self.transport is not None
        self.transport.close()

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...

    def connection_lost(self, error: Exception | None) -> None: ...


@pytest.mark.parametrize("together", [True, False])
async def test_a_later_request_may_become_a_websocket(together: bool) -> None:
    taker = Taker()
    async with serving(echo, upgrade=cast(Upgrade, taker)) as server:
        reader, writer = await server.connect()
        if together:
            writer.write(GET % b"/1" + HANDSHAKE + b"abc")
            await reader.readuntil(b"|")
        else:
            writer.write(GET % b"/1")
            await reader.readuntil(b"|")
            for start in range(0, len(HANDSHAKE), 50):
                writer.write(HANDSHAKE[start : start + 50])
                await asyncio.sleep(0.001)
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
        if not together:
            writer.write(b"abc")
        assert await reader.readexactly(3) == b"ABC"
        assert server.bridge.connections() == 0
        writer.write(b"more")
        assert await reader.readexactly(4) == b"MORE"
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
        expected = HANDSHAKE + (b"abc" if together else b"")
        assert taker.received == [expected]


@pytest.mark.parametrize("take", [True, False])
async def test_a_later_request_may_be_one_of_websocket_emulation(take: bool) -> None:
    taker = Taker(take=take)
    emulated = b"POST /echo/;e/cbm HTTP/1.1\r\nHost: h:1\r\nContent-Length: 3\r\n\r\nabc"
    async with serving(echo, upgrade=cast(Upgrade, taker)) as server:
        reader, writer = await server.connect()
        writer.write(GET % b"/1")
        await reader.readuntil(b"|")
        writer.write(emulated)
        if take:
            assert (await reader.readuntil(b"ABC")).startswith(b"HTTP/1.1 101 ")
            assert server.bridge.connections() == 0
        else:
            assert (await reader.readuntil(b"|")).endswith(b"POST /echo/;e/cbm abc|")
        assert taker.received == [emulated]
        writer.close()


async def test_an_upgrade_that_is_not_taken_is_answered_as_http() -> None:
    taker = Taker(take=False)
    async with serving(echo, upgrade=cast(Upgrade, taker)) as server:
        answer = await server.ask(GET % b"/" + HANDSHAKE)
        assert b"Connection: close" in answer
        assert answer.endswith(b"GET /echo?a=b |")
        assert len(taker.received) == 1


async def test_the_first_request_is_not_offered_again() -> None:
    """Whoever hands the connection over has decided that already: else the two would hand it on forever."""
    taker = Taker()
    async with serving(echo, upgrade=cast(Upgrade, taker)) as server:
        reader, writer = await server.connect()
        writer.write(HANDSHAKE)
        assert (await reader.readuntil(b"|")).endswith(b"GET /echo?a=b |")
        writer.write(GET % b"/2")
        assert (await reader.readuntil(b"|")).endswith(b"GET /2 |")
        assert taker.received == []
        writer.close()


async def test_stop_closes_idle_connections_and_lets_answers_end() -> None:
    begun = asyncio.Event()

    async def slow(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/slow":
            begun.set()
            await asyncio.sleep(0.1)
        return await echo(request)

    async with serving(slow) as server:
        idle, idle_writer = await server.connect()
        idle_writer.write(GET % b"/")
        await idle.readuntil(b"|")
        busy, busy_writer = await server.connect()
        busy_writer.write(GET % b"/slow")
        await begun.wait()
        stopping = asyncio.create_task(server.bridge.stop(10))
        assert await idle.read() == b""
        assert (await busy.read()).endswith(b"GET /slow |")
        await stopping
        assert not any(transport.aborted for transport in server.transports)
        idle_writer.close()
        busy_writer.close()


async def test_stop_aborts_what_the_deadline_leaves() -> None:
    begun = asyncio.Event()
    never = asyncio.Event()

    async def stuck(request: web.BaseRequest) -> web.StreamResponse:
        begun.set()
        await never.wait()
        return web.Response()

    async with serving(stuck) as server:
        reader, writer = await server.connect()
        writer.write(GET % b"/")
        await begun.wait()
        await server.bridge.stop(0.05)
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        assert server.transports[0].aborted
        never.set()
        writer.close()


async def test_idle_connections_are_closed_and_zero_means_one_request() -> None:
    async with serving(echo, keepalive_timeout=0.05) as server:
        assert (await server.ask(GET % b"/")).endswith(b"GET / |")
    async with serving(echo, keepalive_timeout=0) as server:
        assert b"Connection: close" in await server.ask(GET % b"/" + GET % b"/2")


@pytest.mark.parametrize("header", ["isthmus", ""])
async def test_the_server_field_is_as_configured(header: str) -> None:
    async with serving(echo, server_header=header) as server:
        answer = await server.ask(LAST % b"/")
        assert (b"\r\nServer: isthmus\r\n" in answer) == bool(header)
        assert (b"\r\nServer:" in answer) == bool(header)


async def test_an_independent_client_is_served() -> None:
    async with serving(echo) as server, aiohttp.ClientSession() as session:
        for number in range(20):
            async with session.post(f"http://127.0.0.1:{server.port}/", data=b"x" * number) as response:
                assert await response.text() == f"POST / {'x' * number}|"
        assert len(server.transports) == 1


async def test_an_idle_connection_is_small() -> None:
    service = Service(echo)
    bridge = HttpBridge(lambda request: service)

    async def open_many(count: int) -> list[Receiver]:
        receivers = [bridge.take(MemoryTransport(), GET % b"/") for _ in range(count)]
        for _ in range(8):
            await asyncio.sleep(0)
        return receivers

    for receiver in await open_many(5):
        receiver.connection_lost(None)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        receivers = await open_many(200)
        gc.collect()
        each = (tracemalloc.get_traced_memory()[0] - before) / len(receivers)
    finally:
        tracemalloc.stop()
    for receiver in receivers:
        receiver.connection_lost(None)
    await asyncio.sleep(0)
    print(f"an idle HTTP connection takes {each / 1024:.1f} KiB")
    assert each < 20 * 1024


def test_nothing_else_imports_aiohttp() -> None:
    code = (
        "import isthmus.services.base, isthmus.services.directory, isthmus.home, sys;"
        "sys.exit('aiohttp' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
