"""What is bound, what is shared, and what a new connection becomes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.flow.gateways import HOST, Application, authority, server_security, service
from tests.system.process import free_port
from tests.transports.loops import event_loop_policy, nothing_left_open, on_each_loop, until
from tests.transports.memory import Watcher

from isthmus.accepts import Accepts
from isthmus.config.model import AcceptOptions, ConnectOptions, GatewayOptions, Security
from isthmus.errors import BindError, ConnectError, KeystoreError
from isthmus.security import Certificates, ServerTls, Stores
from isthmus.services.echo import EchoService
from isthmus.transports import stack
from isthmus.transports.base import Incoming
from isthmus.transports.span.limits import Budgets
from isthmus.uri import Address

__all__ = ["event_loop_policy"]
pytestmark = on_each_loop

BUDGETS = Budgets.of(GatewayOptions())


def server_tls(address: Address, options: AcceptOptions) -> Callable[[], Certificates]:
    stored = server_security().keystore
    assert stored is not None
    return ServerTls(Stores(Security(keystore=stored), Path()), options).current


class Scene:
    """The accepts of a gateway, all of whose services are echoes."""

    def __init__(self) -> None:
        self.accepts = Accepts(GatewayOptions(), server_tls)
        self.services: list[EchoService] = []

    def add(self, *accepts: str, **options: str) -> EchoService:
        values = {name.replace("_", "."): value for name, value in options.items()}
        config = service("echo", list(accepts), accept_options=values)
        echo = EchoService(config)
        self.services.append(echo)
        self.accepts.add(config, echo)
        return echo


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    authority()
    with nothing_left_open():
        scene = Scene()
        yield scene
        scene.accepts.stop_listening()
        await until(lambda: scene.accepts.quota.used == 0, "every connection is closed")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a path short enough for a unix socket."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def listens(port: int, host: str = HOST) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0


def may_bind(port: int, host: str = HOST) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


async def says(application: Application, text: bytes) -> bool:
    await application.send(text)
    return await application.exactly(len(text)) == text


# --- lines


async def test_a_line_for_each_accept(scene: Scene) -> None:
    ports = [free_port() for _ in range(3)]
    scene.add(f"tcp://{HOST}:{ports[0]}")
    scene.add("ws://www.example.com:80/echo", f"ws://{HOST}:{ports[1]}/", ws_bind=f"{HOST}:{ports[2]}")
    assert scene.accepts.lines == [
        f"tcp://{HOST}:{ports[0]}/",
        f"ws://www.example.com:80/echo @ {HOST}:{ports[2]}",
        f"ws://{HOST}:{ports[1]}/ @ {HOST}:{ports[2]}",
    ]


async def test_a_bind_is_for_its_own_scheme_only(scene: Scene) -> None:
    port, web_port, bound = free_port(), free_port(), free_port()
    scene.add(f"tcp://{HOST}:{port}", f"ws://{HOST}:{web_port}/", ws_bind=f"{HOST}:{bound}")
    scene.accepts.listen()
    assert listens(port)
    assert not listens(web_port)
    assert listens(bound)


# --- order


async def test_add_binds_and_listen_listens(scene: Scene) -> None:
    port = free_port()
    scene.add(f"tcp://{HOST}:{port}")
    assert not may_bind(port) or not listens(port)
    assert not listens(port)
    scene.accepts.listen()
    assert listens(port)
    scene.accepts.stop_listening()
    assert not listens(port)


async def test_a_failure_leaves_nothing_bound(scene: Scene) -> None:
    port = free_port()
    with (
        socket.create_server((HOST, 0)) as taken,
        pytest.raises(BindError, match=r"^Unable to bind to resource: .* cause: Address already in use$"),
    ):
        scene.add(f"tcp://{HOST}:{port}", f"tcp://{HOST}:{taken.getsockname()[1]}")
    scene.accepts.stop_listening()
    with socket.create_server((HOST, port), reuse_port=False):
        pass


async def test_two_that_are_bound_to_one_port_cannot_both_listen(scene: Scene) -> None:
    """The kernel lets both bind; which is found out when they listen."""
    port = free_port()
    scene.add(f"tcp://0.0.0.0:{port}")
    scene.add(f"tcp://{HOST}:{port}")
    with pytest.raises(BindError, match=f"tcp://{HOST}:{port}/ cause: Address already in use") as caught:
        scene.accepts.listen()
    assert caught.value.hint
    scene.accepts.stop_listening()
    assert not listens(port)


async def test_stopping_twice_changes_nothing(scene: Scene) -> None:
    port = free_port()
    scene.add(f"tcp://{HOST}:{port}")
    scene.accepts.listen()
    scene.accepts.stop_listening()
    scene.accepts.stop_listening()
    assert not listens(port)


@pytest.mark.parametrize("listening", [False, True])
async def test_the_file_of_a_unix_socket_goes_with_it(scene: Scene, folder: Path, listening: bool) -> None:
    path = folder / "socket"
    scene.add(f"unix://{path}")
    assert path.is_socket()
    if listening:
        scene.accepts.listen()
    scene.accepts.stop_listening()
    assert not path.exists()


async def test_a_secure_accept_without_a_certificate_is_refused() -> None:
    def none(address: Address, options: AcceptOptions) -> Any:
        raise KeystoreError("no keystore")

    config = service("echo", f"wss://{HOST}:{free_port()}/")
    accepts = Accepts(GatewayOptions(), none)
    with nothing_left_open(), pytest.raises(KeystoreError):
        accepts.add(config, EchoService(config))


# --- what a connection becomes


async def test_a_stream_is_offered_at_once(scene: Scene) -> None:
    port = free_port()
    echo = scene.add(f"tcp://{HOST}:{port}")
    scene.accepts.listen()
    with await Application.connect(port) as client:
        await until(lambda: echo.connections() == 1)
        assert await says(client, b"hello")
    await until(lambda: echo.connections() == 0)


async def test_what_was_accepted_goes_on_after_the_end_of_listening(scene: Scene) -> None:
    port = free_port()
    scene.add(f"tcp://{HOST}:{port}")
    scene.accepts.listen()
    with await Application.connect(port) as client:
        assert await says(client, b"before")
        scene.accepts.stop_listening()
        assert await says(client, b"after")


UPGRADE = (
    "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


async def status(port: int, host: str, path: str) -> int:
    with await Application.connect(port) as client:
        await client.send(UPGRADE.format(host=host, path=path).encode())
        return int((await client.exactly(12)).split()[1])


async def test_web_accepts_share_a_port_by_host_and_path(scene: Scene) -> None:
    port = free_port()
    first = scene.add("ws://one.example/a", "ws://two.example/a", ws_bind=f"{HOST}:{port}")
    second = scene.add("ws://one.example/b", ws_bind=f"{HOST}:{port}")
    scene.accepts.listen()
    assert await status(port, "one.example", "/a") == 101
    assert await status(port, "two.example:80", "/a") == 101
    assert await status(port, "one.example", "/b") == 101
    assert await status(port, "two.example", "/b") == 404
    assert await status(port, "three.example", "/a") == 404
    await until(lambda: first.connections() == second.connections() == 0)


async def created(port: int, path: str) -> int:
    request = (
        f"POST {path}/;e/cbm HTTP/1.1\r\nHost: one.example\r\nX-WebSocket-Version: wseb-1.0\r\n"
        "X-Sequence-No: 0\r\nContent-Length: 0\r\n\r\n"
    )
    with await Application.connect(port) as client:
        await client.send(request.encode())
        return int((await client.exactly(12)).split()[1])


async def test_each_ws_accept_serves_emulated_websockets_unless_told_otherwise(scene: Scene) -> None:
    port = free_port()
    scene.add("ws://one.example/a", ws_bind=f"{HOST}:{port}")
    scene.add("ws://one.example/b", ws_bind=f"{HOST}:{port}", ws_emulation="disabled")
    scene.accepts.listen()
    assert await created(port, "/a") == 201
    assert await created(port, "/b") == 404
    assert [len(each.streams) for each in scene.accepts.emulations] == [1]
    scene.accepts.stop()
    assert [len(each.streams) for each in scene.accepts.emulations] == [0]


# --- span


async def test_each_ws_accept_has_its_sessions_and_all_have_one_place(scene: Scene) -> None:
    port = free_port()
    scene.add("ws://one.example/a", "ws://two.example/b", ws_bind=f"{HOST}:{port}")
    scene.add(f"tcp://{HOST}:{free_port()}", f"http://{HOST}:{free_port()}/")
    scene.add("ws://one.example/c", ws_bind=f"{HOST}:{port}", span_mode="never")
    scene.add("ws://one.example/d", ws_bind=f"{HOST}:{port}", span_mode="required")
    addresses = [str(span.address) for span in scene.accepts.spans]
    assert addresses == ["ws://one.example:80/a", "ws://two.example:80/b", "ws://one.example:80/d"]
    scene.accepts.listen()
    places = {span.sessions.place for span in scene.accepts.spans}
    assert len(places) == 1
    assert places != {bytes(16)}
    assert all(span.quota is scene.accepts.quota for span in scene.accepts.spans)


async def test_the_node_has_the_name_that_it_is_given() -> None:
    places = []
    for node in ("one", "one", "two"):
        accepts = Accepts(GatewayOptions.model_validate({"span.node": node}), server_tls)
        config = service("echo", f"ws://{HOST}:{free_port()}/")
        accepts.add(config, EchoService(config))
        accepts.listen()
        accepts.stop_listening()
        places.append(accepts.spans[0].sessions.place)
    first, again, other = places
    assert first[:8] == again[:8] != other[:8]
    assert first[8:] != again[8:]


async def test_span_counts_its_carriers_and_streams_and_stop_ends_both() -> None:
    port = free_port()
    config = service("echo", f"ws://{HOST}:{port}/")
    with nothing_left_open():
        accepts = Accepts(GatewayOptions.model_validate({"maximum.connections": 3}), server_tls)
        echo = EchoService(config)
        accepts.add(config, echo)
        accepts.listen()
        connector = stack.connector(
            config.accepts[0], ConnectOptions(), lambda _: ssl.create_default_context(), "layer", BUDGETS
        )
        clients = [Watcher() for _ in range(3)]
        failures: list[ConnectError] = []
        for client in clients:
            connector.connect(client, failures.append)
        await until(lambda: failures and sum("made" in client.events for client in clients) == 2)
        assert failures[0].status == 503
        assert accepts.quota.used == 1 + 2
        assert echo.connections() == 2
        clients[0].call("write", b"hello")
        await until(lambda: clients[0].data == b"hello")
        accepts.stop_listening()
        clients[0].call("write", b" again")
        await until(lambda: clients[0].data == b"hello again")
        accepts.stop()
        await until(lambda: accepts.quota.used == 0, "every place is given back")
        await until(lambda: sum("lost" in client.events for client in clients) == 2, "every client is told")
        connector.close()
        await until(lambda: echo.connections() == 0)


class Patient(EchoService):
    """Answers only when the test says so."""

    offered: Incoming | None = None

    def incoming(self, incoming: Incoming) -> None:
        self.offered = incoming


@pytest.mark.parametrize("kind", ["aiofastnet", "layer"])
@pytest.mark.parametrize("answer", ["accept", "refuse"])
async def test_a_client_that_goes_before_its_answer_leaves_nothing(kind: str, answer: str) -> None:
    """Handshake and end come in one segment, so that TLS has the end in hands when it is paused."""
    port = free_port()
    config = service("echo", f"wss://{HOST}:{port}/")
    accepts = Accepts(GatewayOptions.model_validate({"tls.transport": kind}), server_tls)
    patient = Patient(config)
    with nothing_left_open():
        accepts.add(config, patient)
        accepts.listen()
        await shake_hands_ask_and_end(port)
        await until(lambda: patient.offered is not None)
        await asyncio.sleep(0.02)
        assert patient.offered is not None
        if answer == "accept":
            watcher = Watcher()
            patient.offered.accept(watcher)
            assert watcher.events == ["made"]
            await until(lambda: watcher.events[-1] == "lost", "who accepts is told that the client is gone")
            assert watcher.error is not None
        else:
            patient.offered.refuse(ConnectError("too late"))
        await until(lambda: accepts.quota.used == 0)
        accepts.stop_listening()


async def shake_hands_ask_and_end(port: int) -> None:
    """Agree on TLS, then send a WebSocket handshake and close_notify at once, and go."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = authority().client_context().wrap_bio(incoming, outgoing, server_hostname=HOST)
    with await Application.connect(port) as client:
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await client.send(outgoing.read())
                incoming.write(await client.receive())
        tls.write(UPGRADE.format(host=f"{HOST}:{port}", path="/").encode())
        with contextlib.suppress(ssl.SSLWantReadError):
            tls.unwrap()
        await client.send(outgoing.read())
