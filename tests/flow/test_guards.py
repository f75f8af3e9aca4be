"""What strangers try at an open port: other destinations, other paths, requests in requests, floods, waiting.

Each guard and its limit is in docs/security.md; here they are reached over real sockets.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.flow.gateways import (
    HOST,
    Application,
    Backend,
    configuration,
    echo,
    running,
    server_security,
    service,
)
from tests.flow.loops import event_loop_policy
from tests.system.process import free_port
from tests.transports.loops import nothing_left_open, on_each_loop, until

from isthmus.gateway import Gateway

__all__ = ["event_loop_policy"]
pytestmark = on_each_loop

UPGRADE = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"


async def ask(port: int, data: bytes, *, first: bytes = b"") -> bytes:
    """Send `data`, and return what comes until the end, however it ends; `first` is asked and answered
    before that, and left out.
    """
    answer = b""
    with await Application.connect(port) as client:
        if first:
            await client.send(first)
            while not answer.endswith(b"the file of open\n"):
                answer += await client.receive()
            answer = b""
        with contextlib.suppress(ConnectionError):
            await client.send(data)
            client.end()
            while piece := await client.receive():
                answer += piece
    return answer


def before(port: int, first: bool) -> bytes:
    """Return a request that goes before, unless what is tried is the `first` one of its connection."""
    return b"" if first else f"GET /open/file HTTP/1.1\r\nHost: {HOST}:{port}\r\n\r\n".encode()


def statuses(answer: bytes) -> list[int]:
    """Return the status of each answer in what came."""
    return [int(each) for each in re.findall(rb"HTTP/1\.[01] ([0-9]{3}) ", answer)]


@contextlib.asynccontextmanager
async def web(home: Path, **options: object) -> AsyncIterator[tuple[Gateway, int]]:
    """Run a gateway with two folders, each a service of its own, and a WebSocket beside them."""
    for name in ("open", "closed"):
        folder = home / "web" / name
        folder.mkdir(parents=True)
        (folder / "file").write_text(f"the file of {name}\n")
    port = free_port()
    services = [
        service("directory", f"http://{HOST}:{port}/{name}", directory=f"/{name}", name=name)
        for name in ("open", "closed")
    ]
    services.append(service("echo", f"ws://{HOST}:{port}/echo"))
    with nothing_left_open():
        async with running(configuration(*services, options=dict(options)), home=home) as gateway:
            yield gateway, port


# --- destinations


@pytest.mark.parametrize(
    "request_line",
    [
        "GET /echo HTTP/1.1",
        "GET /echo?connect=tcp://{secret} HTTP/1.1",
        "GET /tcp://{secret} HTTP/1.1",
        "GET /{secret} HTTP/1.1",
        "GET http://{secret}/echo HTTP/1.1",
        "GET http://{secret}/ HTTP/1.1",
        "CONNECT {secret} HTTP/1.1",
    ],
)
async def test_no_request_names_a_destination(request_line: str) -> None:
    """Nor does any field that others read as one."""
    with nothing_left_open():
        async with Backend(echo) as backend, Backend(echo) as secret:
            port = free_port()
            proxy = service("proxy", f"ws://{HOST}:{port}/echo", f"tcp://{HOST}:{backend.port}")
            async with running(configuration(proxy)):
                other = f"{HOST}:{secret.port}"
                for host in (f"{HOST}:{port}", other):
                    head = (
                        f"{request_line.format(secret=other)}\r\nHost: {host}\r\n{UPGRADE}{KEY}"
                        f"X-Forwarded-Host: {other}\r\nForwarded: host={other}\r\n"
                        f"X-Original-URL: /{other}\r\n"
                        f"Origin: http://{host}\r\n\r\n"
                    )
                    answer = await ask(port, head.encode())
                    right = request_line.startswith("GET /echo") and host != other
                    assert statuses(answer)[:1] in ([101], []) if right else statuses(answer)[0] >= 400
                assert secret.accepted == 0


# --- Host and path


@pytest.mark.parametrize(
    "path",
    [
        "/open/../closed/file",
        "/open/%2e%2e/closed/file",
        "/open/..%2fclosed/file",
        "/open/%2e%2e%2fclosed%2ffile",
        "/open//../closed/file",
        "/open/./../closed/file",
        "/open/..;/closed/file",
        "/open/..\\closed\\file",
        "/open/%252e%252e/closed/file",
        "/open/..%c0%afclosed/file",
        "/open/%00/../../closed/file",
        "/open/../../../../../../etc/passwd",
        "//closed/../open/../closed/file",
    ],
)
@pytest.mark.parametrize("first", [True, False])
async def test_a_path_leads_into_no_other_service(tmp_path: Path, path: str, first: bool) -> None:
    """A service may have a realm, and the other none: what is asked for decides, however it is written."""
    async with web(tmp_path) as (_, port):
        asked = f"GET {path} HTTP/1.1\r\nHost: {HOST}:{port}\r\n\r\n"
        answer = await ask(port, asked.encode(), first=before(port, first))
        assert b"the file of closed" not in answer
        assert b"root:" not in answer
        assert statuses(answer)[-1] in (400, 404)


@pytest.mark.parametrize(
    "host", ["other", f"{HOST}", "", f"{HOST}:1", f"x@{HOST}", f"{HOST}:{{port}}.x", "[::1]"]
)
async def test_another_host_is_nobody_here(tmp_path: Path, host: str) -> None:
    async with web(tmp_path) as (_, port):
        head = f"GET /open/file HTTP/1.1\r\nHost: {host.format(port=port)}\r\n\r\n"
        assert statuses(await ask(port, head.encode()))[0] in (400, 404)


async def test_two_hosts_are_refused(tmp_path: Path) -> None:
    async with web(tmp_path) as (_, port):
        good = f"Host: {HOST}:{port}\r\n"
        for second in (good, "Host: other\r\n", "host: other\r\n"):
            answer = await ask(port, f"GET /open/file HTTP/1.1\r\n{good}{second}\r\n".encode())
            assert statuses(answer) == [400]


# --- requests in requests

PIPELINED = 64 << 20
"""More than kernels hold."""
SMUGGLED = "GET /closed/file HTTP/1.1\r\nHost: {host}\r\n\r\n"
AMBIGUOUS = [
    "Content-Length: 0\r\nContent-Length: {size}",
    "Content-Length: {size}\r\nContent-Length: {size}",
    "Content-Length: 0, {size}",
    "Content-Length: +{size}",
    "Content-Length: 0x0",
    "Content-Length: {size} 0",
    "Content-Length: -1",
    "Content-Length : 0",
    "Content-Length\t: 0",
    " Content-Length: 0",
    "X: y\r\n Content-Length: 0",
    "Content-Length: 0\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nContent-Length: {size}",
    "Transfer-Encoding : chunked",
    "Transfer-Encoding: \x0bchunked",
    "Transfer-Encoding: chunked, identity",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\nContent-Length: 3",
    "X: y\nTransfer-Encoding: chunked",
    "X: y\rTransfer-Encoding: chunked",
    "X\x00: y",
    "X: \x00y",
]


@pytest.mark.parametrize("field", AMBIGUOUS)
@pytest.mark.parametrize("first", [True, False])
async def test_what_can_be_read_in_two_ways_hides_no_request(tmp_path: Path, field: str, first: bool) -> None:
    async with web(tmp_path) as (_, port):
        host = f"{HOST}:{port}"
        hidden = SMUGGLED.format(host=host)
        head = f"GET /open/file HTTP/1.1\r\nHost: {host}\r\n{field.format(size=len(hidden))}\r\n\r\n"
        answer = await ask(port, (head + hidden).encode("latin-1"), first=before(port, first))
        assert b"the file of closed" not in answer
        assert statuses(answer) == [400], answer


@pytest.mark.parametrize(
    "chunks",
    [
        "0\r\nX: y\n\r\n",
        "0;\n\r\n",
        "+0\r\n\r\n",
        "0x0\r\n\r\n",
        "-1\r\n\r\n",
        "1\r\nab\r\n0\r\n\r\n",
        "1 \r\na\r\nz\r\n\r\n",
        "ffffffffffffffff1\r\na",
        "g\r\n\r\n",
    ],
)
async def test_chunks_that_are_none_hide_no_request(tmp_path: Path, chunks: str) -> None:
    async with web(tmp_path) as (_, port):
        host = f"{HOST}:{port}"
        head = f"GET /open/file HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n"
        answer = await ask(port, (head + chunks + SMUGGLED.format(host=host)).encode("latin-1"))
        assert b"the file of closed" not in answer


@pytest.mark.parametrize(
    "field",
    [
        "Transfer-Encoding: chunked",
        "Content-Length: 5",
        "Content-Length: 0\r\nContent-Length: 0",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Transfer-Encoding : chunked",
    ],
)
@pytest.mark.parametrize("first", [True, False])
async def test_an_upgrade_has_no_body(tmp_path: Path, field: str, first: bool) -> None:
    """Nor does what follows it become a request, or the beginning of a WebSocket."""
    async with web(tmp_path) as (_, port):
        host = f"{HOST}:{port}"
        head = f"GET /echo HTTP/1.1\r\nHost: {host}\r\n{UPGRADE}{KEY}{field}\r\n\r\n"
        body = "5\r\nhello\r\n0\r\n\r\n" + SMUGGLED.format(host=host)
        answer = await ask(port, (head + body).encode(), first=before(port, first))
        assert b"the file of closed" not in answer
        assert 101 not in statuses(answer)
        assert statuses(answer)[-1] >= 400


async def test_bytes_behind_a_handshake_are_no_request(tmp_path: Path) -> None:
    async with web(tmp_path) as (_, port):
        host = f"{HOST}:{port}"
        head = f"GET /echo HTTP/1.1\r\nHost: {host}\r\n{UPGRADE}{KEY}\r\n"
        assert statuses(await ask(port, (head + SMUGGLED.format(host=host)).encode())) == [400]


# --- floods and waiting


@pytest.mark.parametrize("first", [True, False])
async def test_heads_that_are_too_much(tmp_path: Path, first: bool) -> None:
    async with web(tmp_path) as (_, port):
        host = f"{HOST}:{port}"
        head = f"GET /open/file HTTP/1.1\r\nHost: {host}\r\n"
        many = "".join(f"X-{number}: y\r\n" for number in range(101))
        for flood in (many, f"X: {'y' * 20_000}\r\n", "X: y\r\n" * 4_000):
            answer = await ask(port, f"{head}{flood}\r\n".encode(), first=before(port, first))
            assert statuses(answer) in ([400], [431]), answer


@pytest.mark.parametrize("first", [True, False])
async def test_a_head_that_drips_has_an_end(tmp_path: Path, first: bool) -> None:
    """However often another byte comes."""
    async with web(tmp_path, **{"http.head.timeout": "500 ms"}) as (gateway, port):
        for bridge in gateway.accepts.bridges:
            bridge._keepalive_timeout = 0.5
        host = f"{HOST}:{port}"
        with await Application.connect(port) as client:
            if not first:
                await client.send(f"GET /open/file HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
                while b"the file of open" not in await client.receive():
                    pass
            began = time.monotonic()
            with contextlib.suppress(ConnectionError):
                for byte in f"GET /open/file HTTP/1.1\r\nHost: {host}\r\nX: {'y' * 1000}".encode():
                    await client.send(bytes([byte]))
                    await asyncio.sleep(0.02)
                    if gateway.connections() == 0:
                        break
            assert gateway.connections() == 0
            assert time.monotonic() - began < 15, "long before the head would have been complete"


@pytest.mark.parametrize("scheme", ["ws", "wss", "http", "https", "ssl"])
async def test_those_who_say_nothing_keep_nobody_out(tmp_path: Path, scheme: str) -> None:
    """They take all places there are, for the time that a head may take."""
    secure = scheme in ("wss", "https", "ssl")
    port = free_port()
    (tmp_path / "web").mkdir()
    options = {"maximum.connections": "8", "http.head.timeout": "500 ms"}
    if scheme in ("http", "https"):
        made = service("directory", f"{scheme}://{HOST}:{port}/", directory="/")
    else:
        made = service("echo", f"{scheme}://{HOST}:{port}/")
    config = configuration(made, options=options, security=server_security() if secure else None)
    with nothing_left_open():
        async with running(config, home=tmp_path) as gateway:
            silent = [await Application.connect(port) for _ in range(24)]
            most = 0
            async with asyncio.timeout(30):
                for client in silent:
                    with contextlib.suppress(ConnectionResetError):
                        while await client.receive():
                            most = max(most, gateway.connections())
            assert most <= 8
            await until(lambda: gateway.connections() == 0, "their places are free")
            for client in silent:
                client.close()


async def test_a_client_that_asks_on_and_reads_nothing_is_not_read(tmp_path: Path) -> None:
    """Pipelined requests are answered one by one, so that answers do not pile up here."""
    async with web(tmp_path) as (gateway, port):
        (tmp_path / "web" / "open" / "large").write_bytes(bytes(8 << 20))
        request = f"GET /open/large HTTP/1.1\r\nHost: {HOST}:{port}\r\n\r\n".encode()
        with await Application.connect(port, receive_buffer=1 << 14) as client:
            sent = 0
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(3):
                    while sent < PIPELINED:
                        await client.send(request * 100)
                        sent += len(request) * 100
            assert sent < PIPELINED, "the kernel has the rest: they are not read"
            assert gateway.connections() == 1
        await until(lambda: gateway.connections() == 0)
