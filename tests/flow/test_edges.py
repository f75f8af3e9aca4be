"""HTTP and WebSocket at the edges, against a running gateway: each odd request has one defined answer.

The port has a WebSocket accept and an HTTP accept, so that both readers are met: the front's own, which reads
the first head of a connection, and the HTTP bridge's, which reads those that follow.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.flow.gateways import HOST, Application, configuration, running, service
from tests.system.process import free_port
from tests.transports.loops import until
from tests.websocket.recorder import KEY, frame

KEYS = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
UPGRADE = f"Upgrade: websocket\r\nConnection: Upgrade\r\n{KEYS}"
FIRST = "GET /files/a.txt HTTP/1.1\r\nHost: HOST\r\n\r\n"


class Port:
    """A gateway's port and what asks there."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.host = f"{HOST}:{number}"

    def text(self, request: str) -> bytes:
        return request.replace("HOST", self.host).encode("latin-1")

    async def ask(self, request: str) -> list[int]:
        """Send a request and the end of input; return the status of each answer until the connection ends."""
        with await Application.connect(self.number) as client:
            await client.send(self.text(request))
            try:
                client.end()
                answer = await client.rest()
            except ConnectionResetError:
                return []
        return statuses(answer)

    async def open(self, path: str = "/echo", more: str = "") -> Application:
        """Open a WebSocket."""
        client = await Application.connect(self.number)
        await client.send(self.text(f"GET {path} HTTP/1.1\r\nHost: HOST\r\n{UPGRADE}{more}\r\n"))
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += await client.exactly(1)
        assert statuses(head) == [101], head
        return client


def statuses(answer: bytes) -> list[int]:
    """Return the status of each answer; one may begin right behind the body of the one before."""
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] ([0-9]{3}) ", answer)]


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[Port]:
    files = tmp_path / "web"
    files.mkdir()
    (files / "a.txt").write_text("a")
    number = free_port()
    options = {"http.head.timeout": "500 ms", "http.maximum.head.size": "2k"}
    config = configuration(
        service("echo", f"ws://{HOST}:{number}/echo", accept_options={"ws.maximum.message.size": 100}),
        service("directory", f"http://{HOST}:{number}/files", directory="/"),
        options=options,
    )
    async with running(config, home=tmp_path):
        yield Port(number)


# --- the reference's wire table


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        (f"GET /nothing HTTP/1.1\r\nHost: HOST\r\n{UPGRADE}\r\n", 404),
        ("GET /nothing HTTP/1.1\r\nHost: HOST\r\n\r\n", 404),
        (f"GET /echo HTTP/1.1\r\nHost: other.example\r\n{UPGRADE}\r\n", 404),
        (f"GET /echo HTTP/1.1\r\nHost: HOST\r\n{UPGRADE.replace(': 13', ': 8')}\r\n", 400),
        (f"GET /echo HTTP/1.1\r\nHost: HOST\r\nOrigin: http://evil.example\r\n{UPGRADE}\r\n", 403),
    ],
)
async def test_refused_as_by_kaazing(port: Port, request_text: str, status: int) -> None:
    assert await port.ask(request_text) == [status]


async def test_another_version_is_told_the_right_one(port: Port) -> None:
    with await Application.connect(port.number) as client:
        await client.send(
            port.text(f"GET /echo HTTP/1.1\r\nHost: HOST\r\n{UPGRADE.replace(': 13', ': 8')}\r\n")
        )
        assert b"\r\nSec-WebSocket-Version: 13\r\n" in await client.rest()


async def test_unknown_subprotocols_and_extensions_are_ignored(port: Port) -> None:
    more = "Sec-WebSocket-Protocol: chat, x-kaazing-handshake\r\n"
    more += "Sec-WebSocket-Extensions: permessage-deflate, x-kaazing-ping-pong\r\n"
    with await port.open(more=more) as client:
        await client.send(frame(2, b"hello", key=KEY))
        assert await client.exactly(7) == frame(2, b"hello")
        await client.send(frame(8, b"\x03\xe8", key=KEY))
        await client.rest()


async def test_a_message_above_the_limit_is_1009(port: Port) -> None:
    with await port.open() as client:
        await client.send(frame(2, bytes(101), key=KEY))
        received = await client.rest()
    assert received[:1] == b"\x88"
    assert int.from_bytes(received[2:4], "big") == 1009


async def test_text_comes_back_as_binary(port: Port) -> None:
    with await port.open() as client:
        await client.send(frame(1, b"text", key=KEY))
        assert await client.exactly(6) == frame(2, b"text")
        await client.send(frame(8, b"\x03\xe8", key=KEY))
        await client.rest()


# --- heads that can be read in two ways

SHAPES = {
    "length and chunked": "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
    "two lengths": "Content-Length: 4\r\nContent-Length: 5\r\n",
    "two equal lengths": "Content-Length: 4\r\nContent-Length: 4\r\n",
    "a list of lengths": "Content-Length: 4, 4\r\n",
    "a signed length": "Content-Length: +4\r\n",
    "space before the colon": "Content-Length : 4\r\n",
    "a folded line": "X-One: a\r\n b\r\n",
    "a bare LF": "X-One: a\nX-Two: b\r\n",
    "a bare CR": "X-One: a\rX-Two: b\r\n",
    "a NUL": "X-One: a\x00b\r\n",
    "no colon": "X-One\r\n",
    "two hosts": "Host: other.example\r\n",
    "an empty name": ": a\r\n",
}
SMUGGLED = "GET /smuggled HTTP/1.1\r\nHost: HOST\r\n\r\n"


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("path", ["/echo", "/files/a.txt"])
async def test_an_ambiguous_head_is_400_and_the_end(port: Port, path: str, shape: str) -> None:
    upgrade = UPGRADE if path == "/echo" else ""
    request = f"GET {path} HTTP/1.1\r\nHost: HOST\r\n{upgrade}{shape}\r\n{SMUGGLED}"
    assert await port.ask(request) == [400]


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("pipelined", [True, False])
async def test_so_it_is_behind_a_request_that_was_right(port: Port, shape: str, pipelined: bool) -> None:
    """What is smuggled is never answered. (Pipelined, the one before it is not either.)"""
    second = f"GET /files/a.txt HTTP/1.1\r\nHost: HOST\r\n{shape}\r\n{SMUGGLED}"
    if pipelined:
        assert await port.ask(FIRST + second) == [400]
        return
    with await Application.connect(port.number) as client:
        await client.send(port.text(FIRST))
        received = b""
        while not received.endswith(b"\r\n\r\na"):
            received += await client.receive()
        await client.send(port.text(second))
        assert statuses(received + await client.rest()) == [200, 400]


@pytest.mark.parametrize("body", ["Transfer-Encoding: chunked\r\n", "Content-Length: 5\r\n"])
async def test_an_upgrade_has_no_body(port: Port, body: str) -> None:
    assert await port.ask(f"GET /echo HTTP/1.1\r\nHost: HOST\r\n{UPGRADE}{body}\r\n0\r\n\r\n{SMUGGLED}") == [
        400
    ]


async def test_data_before_the_answer_to_an_upgrade_is_400(port: Port) -> None:
    request = f"GET /echo HTTP/1.1\r\nHost: HOST\r\n{UPGRADE}\r\n{SMUGGLED}"
    assert await port.ask(request) == [400]


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("GET /files/a.txt HTTP/2.0", 505),
        ("GET  /files/a.txt HTTP/1.1", 400),
        ("GET /files/a.txt  HTTP/1.1", 400),
        ("GET /files/a.txt HTTP/1.1 ", 400),
        ("GET files/a.txt HTTP/1.1", 400),
        ("GET /files/\x7f HTTP/1.1", 400),
        ("G\xe9T /files/a.txt HTTP/1.1", 400),
        ("GET /files/a.txt", 400),
        ("\x16\x03\x01\x02\x00", 400),
    ],
)
async def test_a_wrong_request_line(port: Port, line: str, status: int) -> None:
    assert await port.ask(f"{line}\r\nHost: HOST\r\n\r\n") == [status]


# --- too large, too many, too slow


async def test_a_head_above_the_limit(port: Port) -> None:
    assert await port.ask(f"GET /echo HTTP/1.1\r\nHost: HOST\r\nX: {'x' * 4000}\r\n\r\n") in ([431], [])
    assert await port.ask(f"GET /{'x' * 4000} HTTP/1.1\r\nHost: HOST\r\n\r\n") in ([414], [])


async def test_too_many_fields(port: Port) -> None:
    fields = "".join(f"X{number}: a\r\n" for number in range(101))
    assert await port.ask(f"GET /echo HTTP/1.1\r\nHost: HOST\r\n{fields}\r\n") == [431]


@pytest.mark.parametrize("sent", ["", "G", "GET /echo HTTP/1.1\r\nHost: HOST\r\nX:"])
async def test_a_slow_head_is_408(port: Port, sent: str) -> None:
    with await Application.connect(port.number) as client:
        await client.send(port.text(sent))
        assert statuses(await client.rest()) == [408]


async def test_a_byte_now_and_then_does_not_help(port: Port) -> None:
    with await Application.connect(port.number) as client:
        drip = asyncio.ensure_future(_drip(client, port.text(f"GET /echo HTTP/1.1\r\nX: {'x' * 1000}")))
        try:
            assert statuses(await client.rest()) == [408]
        except ConnectionResetError:
            pass  # a byte came behind the answer
        finally:
            drip.cancel()
            await asyncio.wait([drip])


async def _drip(client: Application, data: bytes) -> None:
    for byte in data:
        await client.send(bytes((byte,)))
        await asyncio.sleep(0.01)


# --- pipelines


async def test_pipelined_requests_are_answered_in_order(port: Port) -> None:
    missing = FIRST.replace("a.txt", "b.txt")
    assert await port.ask(FIRST + missing + FIRST) == [200, 404, 200]


async def test_an_upgrade_behind_a_request(port: Port) -> None:
    with await Application.connect(port.number) as client:
        await client.send(port.text(f"{FIRST}GET /echo HTTP/1.1\r\nHost: HOST\r\n{UPGRADE}\r\n"))
        received = b""
        while b"101" not in received or not received.endswith(b"\r\n\r\n"):
            received += await client.receive()
        assert statuses(received) == [200, 101]
        await client.send(frame(2, b"hello", key=KEY))
        assert await client.exactly(7) == frame(2, b"hello")
        await client.send(frame(8, b"\x03\xe8", key=KEY))
        await client.rest()


async def test_a_client_that_reads_no_answers_gets_no_more(port: Port) -> None:
    """Answers that nobody takes must not pile up: requests are left in the kernel."""
    requests = port.text(FIRST) * 200_000
    client = await Application.connect(port.number, receive_buffer=4096)
    with client:
        sending = asyncio.ensure_future(client.send(requests))
        done, _ = await asyncio.wait([sending], timeout=2.0)
        assert not done, "all requests were taken, though no answer was read"
        sending.cancel()
        await asyncio.wait([sending])
    await until(sending.done)
