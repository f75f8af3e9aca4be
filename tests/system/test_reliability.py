"""Bytes are sacred: what is known to go wrong with gateways of this kind does not go wrong here.

Each case goes through two real gateways, over ws and over wss, twenty times.
"""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.system import configuration, peers
from tests.system.certificates import Authority
from tests.system.pair import Pair, Processes, start_pair
from tests.system.peers import Backend
from tests.system.process import PATIENCE, free_port

TIMES = 20
HUNDRED = bytes(range(100))
FIVE_MEGABYTES = os.urandom(5_000_000)


class Scene:
    """A pair of gateways whose backend does what the test at hand wants."""

    def __init__(self, processes: Processes, folder: Path, scheme: str, authority: Authority) -> None:
        self.backend = Backend(peers.echo)
        try:
            self.pair: Pair = start_pair(
                processes, folder, f"tcp://127.0.0.1:{self.backend.port}", scheme=scheme, authority=authority
            )
        except BaseException:
            self.backend.close()
            raise

    def connect(self) -> socket.socket:
        return peers.connect(self.pair.port)


@pytest.fixture(scope="module", params=["ws", "wss"])
def scene(
    request: pytest.FixtureRequest,
    lasting: Processes,
    tmp_path_factory: pytest.TempPathFactory,
    authority: Authority,
) -> Iterator[Scene]:
    made = Scene(lasting, tmp_path_factory.mktemp("pair"), request.param, authority)
    with made.backend:
        yield made


def test_half_close_at_once(scene: Scene) -> None:
    scene.backend.play(peers.read_all)
    for _ in range(TIMES):
        with scene.connect() as client:
            client.sendall(HUNDRED)
            client.shutdown(socket.SHUT_WR)
            assert scene.backend.outcome() == HUNDRED
            assert client.recv(1) == b""


def test_close_at_once(scene: Scene) -> None:
    scene.backend.play(peers.read_all)
    for _ in range(TIMES):
        with scene.connect() as client:
            client.sendall(HUNDRED)
        assert scene.backend.outcome() == HUNDRED


def test_the_reply_comes_after_a_half_close(scene: Scene) -> None:
    def reply(connection: socket.socket) -> bytes:
        received = peers.read_all(connection)
        connection.sendall(b"the answer to " + received)
        return received

    scene.backend.play(reply)
    for _ in range(TIMES):
        with scene.connect() as client:
            client.sendall(HUNDRED[:50])
            client.settimeout(0.05)
            with pytest.raises(TimeoutError):
                client.recv(1)
            client.settimeout(PATIENCE)
            client.sendall(HUNDRED[50:])
            client.shutdown(socket.SHUT_WR)
            assert peers.read_all(client) == b"the answer to " + HUNDRED
        assert scene.backend.outcome() == HUNDRED


def test_a_long_reply_comes_after_a_half_close(scene: Scene) -> None:
    def reply(connection: socket.socket) -> int:
        size = len(peers.read_all(connection))
        connection.sendall(FIVE_MEGABYTES)
        return size

    scene.backend.play(reply)
    with scene.connect() as client:
        client.sendall(FIVE_MEGABYTES)
        client.shutdown(socket.SHUT_WR)
        assert digest(peers.read_all(client)) == digest(FIVE_MEGABYTES)
    assert scene.backend.outcome() == len(FIVE_MEGABYTES)


def test_five_megabytes_then_close(scene: Scene) -> None:
    scene.backend.play(lambda connection: digest(peers.read_all(connection)))
    for _ in range(TIMES):
        with scene.connect() as client:
            client.sendall(FIVE_MEGABYTES)
        assert scene.backend.outcome() == digest(FIVE_MEGABYTES)


def test_five_megabytes_from_the_backend_then_close(scene: Scene) -> None:
    scene.backend.play(lambda connection: connection.sendall(FIVE_MEGABYTES))
    for _ in range(TIMES):
        with scene.connect() as client:
            assert digest(peers.read_all(client)) == digest(FIVE_MEGABYTES)


def test_the_backend_half_closes_and_the_client_goes_on(scene: Scene) -> None:
    def greet(connection: socket.socket) -> bytes:
        connection.sendall(b"welcome")
        connection.shutdown(socket.SHUT_WR)
        return peers.read_all(connection)

    scene.backend.play(greet)
    for _ in range(TIMES):
        with scene.connect() as client:
            assert peers.read_all(client) == b"welcome"
            client.sendall(HUNDRED)
            client.sendall(HUNDRED)
        assert scene.backend.outcome() == HUNDRED + HUNDRED


def test_a_client_that_resets_resets_the_backend(scene: Scene) -> None:
    def until_reset(connection: socket.socket) -> bytes:
        connection.sendall(peers.read_exactly(connection, 100))
        return connection.recv(1)

    scene.backend.play(until_reset)
    for _ in range(TIMES):
        client = scene.connect()
        with client:
            client.sendall(HUNDRED)
            assert peers.read_exactly(client, 100) == HUNDRED
            peers.reset(client)
        assert isinstance(scene.backend.outcome(), ConnectionResetError)


def test_a_backend_that_resets_resets_the_client(scene: Scene) -> None:
    def reset(connection: socket.socket) -> None:
        peers.read_exactly(connection, 100)
        peers.reset(connection)

    scene.backend.play(reset)
    for _ in range(TIMES):
        with scene.connect() as client:
            client.sendall(HUNDRED)
            assert peers.is_reset(client)
        assert scene.backend.outcome() is None


def test_many_at_once(scene: Scene) -> None:
    scene.backend.play(peers.echo)
    clients = [scene.connect() for _ in range(100)]
    try:
        for number, client in enumerate(clients):
            client.sendall(b"%d" % number * 100)
            client.shutdown(socket.SHUT_WR)
        for number, client in reversed(list(enumerate(clients))):
            assert peers.read_all(client) == b"%d" % number * 100
    finally:
        for client in clients:
            client.close()


@pytest.fixture(params=["refusing", "silent"])
def dead_backend(request: pytest.FixtureRequest) -> Iterator[tuple[int, int]]:
    """A port where nobody answers and the HTTP status that tells so: 502 or 504."""
    if request.param == "refusing":
        yield free_port(), 502
        return
    # Linux drops a SYN while the queue of a listening socket is full.
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(8)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        try:
            yield listener.getsockname()[1], 504
        finally:
            for filler in fillers:
                filler.close()


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_a_dead_backend_is_told_at_once(
    scheme: str,
    dead_backend: tuple[int, int],
    processes: Processes,
    tmp_path: Path,
    authority: Authority,
) -> None:
    port, expected = dead_backend
    times = TIMES if expected == 502 else 3
    pair = start_pair(
        processes,
        tmp_path,
        f"tcp://127.0.0.1:{port}",
        scheme=scheme,
        authority=authority,
        backend_options={"connect.timeout": "1 s"} if expected == 504 else None,
    )
    for _ in range(times):
        assert peers.is_reset_at(pair.port), "the TCP client must see a reset"
        with (
            peers.connect_tls(pair.web_port, authority.client_context())
            if scheme == "wss"
            else peers.connect(pair.web_port)
        ) as client:
            status = peers.http_status(client, peers.upgrade_request(f"127.0.0.1:{pair.web_port}"))
            assert status == expected
    # The reason is told to the operator, and the far side's answer at the near side.
    pair.server.wait_for(f"tcp://127.0.0.1:{port}")
    pair.client.wait_for("refused the connection" if expected == 502 else "did not answer in time")


def test_a_dead_backend_is_told_without_a_second_gateway(
    dead_backend: tuple[int, int], processes: Processes, tmp_path: Path
) -> None:
    port, _ = dead_backend
    accept = free_port()
    config = configuration.write(
        tmp_path / "gateway-config.xml",
        configuration.service(
            f"tcp://127.0.0.1:{accept}", f"tcp://127.0.0.1:{port}", connect_options={"connect.timeout": "1 s"}
        ),
    )
    processes.gateway(config).started()
    assert peers.is_reset_at(accept)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
