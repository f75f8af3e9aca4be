"""Streams of span end honestly: half-close and reset pass, and what is lost is told to both applications."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.system import peers
from tests.system.pair import Processes
from tests.system.peers import Backend
from tests.system.process import PATIENCE, Gateway, eventually, free_port
from tests.system.span_scene import DEADLINE, Faults, SpanPair, start_faults, start_span_pair

REQUIRED = {"span.mode": "required"}
DATA = os.urandom(300_000)


class Scene:
    """A pair of gateways with a relay between them, and a backend that does what the test wants."""

    def __init__(self, processes: Processes, folder: Path) -> None:
        web_port = free_port()
        self.backend = Backend(peers.echo)
        self.faults: Faults = start_faults(processes, web_port)
        self.pair: SpanPair = start_span_pair(
            processes, folder, self.backend.port, web_port=web_port, through=self.faults.port, both=REQUIRED
        )

    def connect(self) -> socket.socket:
        return peers.connect(self.pair.port)


@pytest.fixture(scope="module")
def scene(lasting: Processes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    made = Scene(lasting, tmp_path_factory.mktemp("pair"))
    with made.backend:
        yield made


@pytest.fixture(params=["at once", "without a carrier"])
def away(request: pytest.FixtureRequest, scene: Scene) -> contextlib.AbstractContextManager[None]:
    """Whether what is done inside is done while no carrier lives: it is told when one is back."""
    return without_carrier(scene) if request.param == "without a carrier" else contextlib.nullcontext()


@contextlib.contextmanager
def without_carrier(scene: Scene) -> Iterator[None]:
    scene.faults.tell("refuse")
    before = scene.pair.client.text.count("connecting again")
    scene.faults.cut("rst")
    eventually(lambda: scene.pair.client.text.count("connecting again") > before, "the carrier is lost")
    try:
        yield
    finally:
        scene.faults.tell("accept")


def test_half_close_of_the_client(scene: Scene, away: contextlib.AbstractContextManager[None]) -> None:
    def answer(connection: socket.socket) -> bytes:
        connection.sendall(b"begin")
        received = peers.read_all(connection)
        connection.sendall(received)
        return received

    scene.backend.play(answer)
    with scene.connect() as client:
        assert peers.read_exactly(client, 5) == b"begin"
        with away:
            client.sendall(DATA)
            client.shutdown(socket.SHUT_WR)
        assert peers.read_all(client) == DATA
    assert scene.backend.outcome() == DATA


def test_half_close_of_the_backend(scene: Scene, away: contextlib.AbstractContextManager[None]) -> None:
    def end_first(connection: socket.socket) -> bytes:
        assert peers.read_exactly(connection, 5) == b"begin"
        connection.sendall(DATA)
        connection.shutdown(socket.SHUT_WR)
        return peers.read_all(connection)

    scene.backend.play(end_first)
    with scene.connect() as client:
        client.sendall(b"begin")
        assert peers.read_exactly(client, 1) == DATA[:1]
        with away:
            pass
        assert peers.read_all(client) == DATA[1:]
        client.sendall(DATA)
        client.shutdown(socket.SHUT_WR)
        assert scene.backend.outcome() == DATA


def test_a_client_that_resets(scene: Scene, away: contextlib.AbstractContextManager[None]) -> None:
    def until_reset(connection: socket.socket) -> bytes:
        connection.sendall(peers.read_exactly(connection, 5))
        return connection.recv(1)

    scene.backend.play(until_reset)
    client = scene.connect()
    client.sendall(b"begin")
    assert peers.read_exactly(client, 5) == b"begin"
    with away:
        peers.reset(client)
    assert isinstance(scene.backend.outcome(), ConnectionResetError)


def test_a_backend_that_resets(scene: Scene, away: contextlib.AbstractContextManager[None]) -> None:
    def reset(connection: socket.socket) -> None:
        connection.sendall(b"begin")
        assert peers.read_exactly(connection, 5) == b"reset"
        peers.reset(connection)

    scene.backend.play(reset)
    with scene.connect() as client:
        assert peers.read_exactly(client, 5) == b"begin"
        client.sendall(b"reset")
        with away:
            pass
        assert peers.is_reset(client)
    assert scene.backend.outcome() is None


def test_a_client_that_leaves_in_the_middle_does_not_end_others(scene: Scene) -> None:
    scene.backend.play(peers.echo)
    with scene.connect() as staying:
        for number in range(20):
            leaving = scene.connect()
            leaving.sendall(DATA[: number * 5000])
            peers.reset(leaving)
            staying.sendall(DATA[:1000])
            assert peers.read_exactly(staying, 1000) == DATA[:1000]


# --- backends that are not there


@pytest.fixture(params=["refuses", "cannot be reached", "does not answer"])
def dead_backend(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """The URI of a backend that is not there, and what the log of the client gateway calls it."""
    reason = {"refuses": "refused", "cannot be reached": "cannot be reached", "does not answer": "in time"}
    if request.param == "refuses":
        yield f"tcp://127.0.0.1:{free_port()}", reason[request.param]
    elif request.param == "cannot be reached":
        yield "tcp://does-not-exist.invalid:7", reason[request.param]
    else:
        # Linux drops a SYN while the queue of a listening socket is full.
        with socket.socket() as listener, contextlib.ExitStack() as fillers:
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            for _ in range(8):
                filler = fillers.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex(listener.getsockname())
            yield f"tcp://127.0.0.1:{listener.getsockname()[1]}", reason[request.param]


def test_a_dead_backend_is_a_reset(
    dead_backend: tuple[str, str], processes: Processes, tmp_path: Path
) -> None:
    uri, reason = dead_backend
    pair = start_span_pair(
        processes,
        tmp_path,
        uri,
        web_port=free_port(),
        both=REQUIRED,
        backend_options={"connect.timeout": "1 s"},
    )
    for _ in range(3):
        assert peers.is_reset_at(pair.port)
    pair.client.wait_for(reason)
    pair.server.wait_for(uri.partition("://")[2])
    # Where the backend is stays behind the gateway.
    assert uri.partition("://")[2] not in pair.client.text, pair.client.text


# --- sessions that are lost


def test_a_gateway_that_was_killed_and_started_again(processes: Processes, tmp_path: Path) -> None:
    """It does not know the session: its streams are reset at once, not after the grace of five minutes."""
    with Backend(peers.echo) as backend:
        pair = start_span_pair(processes, tmp_path, backend.port, web_port=free_port(), both=REQUIRED)
        clients = [peers.connect(pair.port) for _ in range(10)]
        for client in clients:
            client.sendall(b"before")
            assert peers.read_exactly(client, 6) == b"before"
        pair.server.kill()
        pair.client.wait_for("connecting again")
        processes.keep(Gateway(pair.files["server"])).started()
        back = time.monotonic()
        for client in clients:
            with client:
                assert peers.is_reset(client)
        # New connections are not held up by what the old session waits for.
        with peers.connect(pair.port) as client:
            client.sendall(b"after")
            assert peers.read_exactly(client, 5) == b"after"
        took = time.monotonic() - back
        assert took < 5, f"{took:.1f} s is as long as the longest pause between attempts"
        pair.client.wait_for("the session ended")


def test_a_new_connection_does_not_wait_for_the_back_off(processes: Processes, tmp_path: Path) -> None:
    """The gateway was away for long; who connects after its return is served at once."""
    with Backend(peers.echo) as backend:
        pair = start_span_pair(processes, tmp_path, backend.port, web_port=free_port(), both=REQUIRED)
        with peers.connect(pair.port) as old:
            old.sendall(b"before")
            assert peers.read_exactly(old, 6) == b"before"
            pair.server.kill()
            pair.client.wait_for("connecting again")
            time.sleep(3)  # the bound of the back-off is some seconds by now
            assert peers.is_reset_at(pair.port), "nobody is there"
            processes.keep(Gateway(pair.files["server"])).started()
            back = time.monotonic()
            with peers.connect(pair.port) as client:
                client.sendall(b"after")
                assert peers.read_exactly(client, 5) == b"after"
            took = time.monotonic() - back
            assert took < 2.5, f"{took:.1f} s is more than half the longest pause"
            assert peers.is_reset(old)


def test_a_session_past_its_grace(processes: Processes, tmp_path: Path) -> None:
    """Both applications are reset, and both logs say why."""
    web_port = free_port()
    outcome: list[object] = []
    with Backend(peers.echo) as backend:
        faults = start_faults(processes, web_port)
        pair = start_span_pair(
            processes,
            tmp_path,
            backend.port,
            web_port=web_port,
            through=faults.port,
            both={**REQUIRED, "span.grace": f"{DEADLINE} s"},
        )
        with peers.connect(pair.port) as client:
            client.sendall(b"before")
            assert peers.read_exactly(client, 6) == b"before"
            faults.tell("refuse")
            cut = time.monotonic()
            faults.cut("rst")
            assert peers.is_reset(client)
            outcome.append(backend.outcome())
            assert time.monotonic() - cut > DEADLINE * 0.9, "it was given up before its time"
        assert isinstance(outcome[0], ConnectionResetError)
        for gateway in (pair.client, pair.server):
            assert "grace" in gateway.wait_for("the session ended", PATIENCE)
        faults.tell("accept")
        with peers.connect(pair.port) as client:
            client.sendall(b"after")
            assert peers.read_exactly(client, 5) == b"after"
