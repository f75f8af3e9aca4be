"""The `websockets` library as an independent peer: as a client of a gateway, and as a server behind one."""

from __future__ import annotations

import contextlib
import http
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.system import configuration, peers
from tests.system.certificates import Authority
from tests.system.pair import Processes
from tests.system.process import PATIENCE, free_port
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus
from websockets.http11 import Request, Response
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as websockets_connect
from websockets.sync.server import ServerConnection, serve
from websockets.typing import Origin

LARGE = os.urandom(3_000_000)


def connect(port: int, path: str = "/", context: ssl.SSLContext | None = None) -> ClientConnection:
    scheme = "wss" if context else "ws"
    return websockets_connect(
        f"{scheme}://127.0.0.1:{port}{path}", ssl=context, proxy=None, max_size=None, open_timeout=PATIENCE
    )


def receive_bytes(connection: ClientConnection, size: int) -> bytes:
    """Read messages until they hold `size` bytes; every one must be binary."""
    data = b""
    while len(data) < size:
        message = connection.recv(timeout=PATIENCE)
        assert isinstance(message, bytes), "text must come out as binary"
        data += message
    return data


def closed_with(connection: ClientConnection) -> int | None:
    """Read on and return the code that the gateway closes with."""
    try:
        while True:
            connection.recv(timeout=PATIENCE)
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else None


@dataclass(frozen=True)
class Echoing:
    """Something that echoes. Call it to connect."""

    port: int
    context: ssl.SSLContext | None

    def __call__(self) -> ClientConnection:
        return connect(self.port, "/app", self.context)

    @property
    def uri(self) -> str:
        return f"{'wss' if self.context else 'ws'}://127.0.0.1:{self.port}/app"


@pytest.fixture(scope="module", params=["echo", "proxy", "secure proxy"])
def echoing(
    request: pytest.FixtureRequest,
    lasting: Processes,
    tmp_path_factory: pytest.TempPathFactory,
    authority: Authority,
) -> Iterator[Echoing]:
    """An echo service, or a proxy to a TCP server that echoes."""
    folder = tmp_path_factory.mktemp("echoing")
    port = free_port()
    limit = {"ws.maximum.message.size": "64k"}
    with contextlib.ExitStack() as stack:
        context = authority.client_context() if request.param == "secure proxy" else None
        made = Echoing(port, context)
        if request.param == "echo":
            part = configuration.service(made.uri, kind="echo", accept_options=limit)
        else:
            backend = stack.enter_context(peers.Backend(peers.echo))
            part = configuration.service(made.uri, f"tcp://127.0.0.1:{backend.port}", accept_options=limit)
        security = configuration.security(keystore=authority.server("127.0.0.1")) if context else ""
        lasting.gateway(configuration.write(folder / "gateway.xml", part, security)).started()
        yield made


def test_binary(echoing: Echoing) -> None:
    with echoing() as connection:
        connection.send(b"\x00\xff hello")
        assert receive_bytes(connection, 8) == b"\x00\xff hello"


def test_text_comes_out_as_binary(echoing: Echoing) -> None:
    with echoing() as connection:
        connection.send("grüß Gott")
        assert receive_bytes(connection, 11) == "grüß Gott".encode()


def test_an_empty_message_changes_nothing(echoing: Echoing) -> None:
    with echoing() as connection:
        connection.send(b"")
        connection.send(b"after")
        assert receive_bytes(connection, 5) == b"after"


def test_fragments_with_a_ping_between(echoing: Echoing) -> None:
    def fragments() -> Iterator[bytes]:
        yield b"one "
        pongs.append(connection.ping(b"between"))
        yield b"two "
        yield b""
        yield b"three"

    pongs: list[threading.Event] = []
    with echoing() as connection:
        connection.send(fragments())
        assert receive_bytes(connection, 13) == b"one two three"
        assert pongs[0].wait(PATIENCE)


def test_pings_are_answered(echoing: Echoing) -> None:
    with echoing() as connection:
        for payload in (b"", b"x", bytes(125)):
            assert connection.ping(payload).wait(PATIENCE)


def test_many_messages_of_all_sizes(echoing: Echoing) -> None:
    sizes = [1, 125, 126, 127, 1000, 16_383, 65_535, 65_536]
    with echoing() as connection:
        for size in sizes:
            connection.send(LARGE[:size])
            assert receive_bytes(connection, size) == LARGE[:size]


async def test_a_stream_of_messages(echoing: Echoing) -> None:
    assert await peers.exchange_websocket(echoing.uri, echoing.context, LARGE) == LARGE


def test_a_message_that_is_too_large_closes_with_1009(echoing: Echoing) -> None:
    with echoing() as connection:
        with contextlib.suppress(ConnectionClosedError):
            connection.send(bytes(64 * 1024 + 1))
        assert closed_with(connection) == 1009


def test_fragments_that_are_too_large_together_close_with_1009(echoing: Echoing) -> None:
    with echoing() as connection:
        with contextlib.suppress(ConnectionClosedError):
            connection.send(bytes(1024) for _ in range(65))
        assert closed_with(connection) == 1009


def test_close_is_answered_in_order(echoing: Echoing) -> None:
    with echoing() as connection:
        connection.send(b"last")
        assert receive_bytes(connection, 4) == b"last"
        connection.close()
        assert connection.close_code == 1000


def test_unknown_paths_and_origins_are_refused(processes: Processes, tmp_path: Path) -> None:
    port = free_port()
    part = configuration.service(f"ws://127.0.0.1:{port}/app", kind="echo")
    processes.gateway(configuration.write(tmp_path / "gateway.xml", part)).started()
    with pytest.raises(InvalidStatus) as unknown:
        connect(port, "/elsewhere")
    assert unknown.value.response.status_code == http.HTTPStatus.NOT_FOUND
    with pytest.raises(InvalidStatus) as foreign:
        websockets_connect(f"ws://127.0.0.1:{port}/app", proxy=None, origin=Origin("http://evil.example"))
    assert foreign.value.response.status_code == http.HTTPStatus.FORBIDDEN


# --- websockets as the server: tcp -> ws


Serve = Callable[..., int]


@pytest.fixture
def behind(processes: Processes, tmp_path: Path) -> Iterator[Serve]:
    """Start a server of the library with a handler, and a gateway before it; returns that one's TCP port."""
    with contextlib.ExitStack() as stack:

        def start(
            handler: Callable[[ServerConnection], None],
            process_request: Callable[[ServerConnection, Request], Response | None] | None = None,
        ) -> int:
            server = serve(handler, "127.0.0.1", 0, process_request=process_request, max_size=64 * 1024)
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            stack.callback(thread.join, PATIENCE)
            stack.callback(server.shutdown)
            far, port = server.socket.getsockname()[1], free_port()
            part = configuration.service(f"tcp://127.0.0.1:{port}", f"ws://127.0.0.1:{far}/app?room=1")
            processes.gateway(configuration.write(tmp_path / "gateway.xml", part)).started()
            return port

        yield start


def test_a_server_gets_binary_messages_within_its_limit(behind: Serve) -> None:
    messages: list[str | bytes] = []
    paths: list[str] = []

    def collect(connection: ServerConnection) -> None:
        assert connection.request is not None
        paths.append(connection.request.path)
        messages.extend(connection)
        complete.set()

    complete = threading.Event()
    port = behind(collect)
    with peers.connect(port) as client:
        client.sendall(LARGE)
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
    assert complete.wait(PATIENCE)
    assert paths == ["/app?room=1"]
    assert all(isinstance(message, bytes) and len(message) <= 64 * 1024 for message in messages)
    assert b"".join(message for message in messages if isinstance(message, bytes)) == LARGE


def test_whatever_a_server_sends_arrives_in_order(behind: Serve) -> None:
    def send(connection: ServerConnection) -> None:
        connection.send("text: grüß Gott ")
        connection.send(b"binary ")
        connection.send(["frag", "ments"])
        assert connection.ping(b"alive?").wait(PATIENCE)
        connection.send(LARGE[:100_000])

    port = behind(send)
    with peers.connect(port) as client:
        assert peers.read_all(client) == "text: grüß Gott binary fragments".encode() + LARGE[:100_000]


def test_a_servers_close_code_decides_between_end_and_reset(behind: Serve) -> None:
    def close(connection: ServerConnection) -> None:
        code = connection.recv(timeout=PATIENCE)
        connection.close(int(code), "as asked")

    port = behind(close)
    for code, expected in ((b"1000", False), (b"1011", True), (b"1001", True), (b"4000", True)):
        with peers.connect(port) as client:
            client.sendall(code)
            assert peers.is_reset(client) is expected, code


def test_a_handshake_that_is_refused_resets_the_client(behind: Serve) -> None:
    def refuse(connection: ServerConnection, request: Request) -> Response:
        return connection.respond(http.HTTPStatus.FORBIDDEN, "no\n")

    port = behind(lambda connection: None, process_request=refuse)
    assert peers.is_reset_at(port)


def test_a_server_that_vanishes_resets_the_client(behind: Serve) -> None:
    def vanish(connection: ServerConnection) -> None:
        connection.recv(timeout=PATIENCE)
        connection.socket.shutdown(socket.SHUT_RDWR)

    port = behind(vanish)
    with peers.connect(port) as client:
        client.sendall(b"go")
        assert peers.is_reset(client)
