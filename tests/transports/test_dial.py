"""Dialling: what is told, when, and that nothing is left open whatever happens."""

from __future__ import annotations

import asyncio
import errno
import gc
import socket
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.transports.conformance import refused_port
from tests.transports.loops import event_loop_policy, nothing_left_open, on_each_loop, turns, until

from isthmus.config.model import Bind
from isthmus.errors import ConnectError
from isthmus.transports import dial, stream_socket
from isthmus.transports.dial import SocketDial
from isthmus.transports.stream_socket import PlainStreamSocket
from isthmus.uri import Address, parse

__all__ = ["event_loop_policy"]
pytestmark = on_each_loop

NAME = "server.example"


def running_loop() -> Any:
    """Return the loop to dial on, which `names` replaces."""
    return asyncio.get_running_loop()


class Attempt:
    """One dial and what it told."""

    def __init__(self, address: Address | str, seconds: float = 10.0, local: Bind | None = None) -> None:
        self.connected: list[socket.socket] = []
        self.failed: list[ConnectError] = []
        self.started = False
        self.address = parse(address) if isinstance(address, str) else address
        self.dial = SocketDial(running_loop(), self.address, seconds, self._connected, self._failed, local)
        self.dial.start()
        self.started = True

    def _connected(self, connected: PlainStreamSocket) -> None:
        assert self.started, "told before `start` returned"
        self.connected.append(connected.detach())

    def _failed(self, error: ConnectError) -> None:
        assert self.started, "told before `start` returned"
        self.failed.append(error)

    @property
    def told(self) -> int:
        return len(self.connected) + len(self.failed)

    async def outcome(self) -> ConnectError | socket.socket:
        await until(lambda: self.told, "an outcome")
        await turns(3)
        assert self.told == 1
        for each in self.connected:
            each.close()
        return self.failed[0] if self.failed else self.connected[0]

    async def failure(self) -> ConnectError:
        outcome = await self.outcome()
        assert isinstance(outcome, ConnectError)
        return outcome


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let the name resolve to these addresses, or fail."""

    def resolve(*targets: tuple[str, int], error: OSError | None = None, wait: bool = False) -> None:
        async def getaddrinfo(*_: Any, **__: Any) -> list[Any]:
            if wait:
                await asyncio.sleep(1000)
            if error is not None:
                raise error
            return [
                (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (host, port, 0, 0))
                if ":" in host
                else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))
                for host, port in targets
            ]

        class Loop:
            """The running loop, but for its resolver."""

            def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
                self._loop = loop
                self.getaddrinfo = getaddrinfo

            def __getattr__(self, name: str) -> Any:
                return getattr(self._loop, name)

        monkeypatch.setitem(globals(), "running_loop", lambda: Loop(asyncio.get_running_loop()))

    return resolve


def port_of(listening: socket.socket) -> int:
    port: int = listening.getsockname()[1]
    return port


async def test_a_numeric_address(server: socket.socket) -> None:
    with nothing_left_open():
        outcome = await Attempt(f"tcp://127.0.0.1:{port_of(server)}").outcome()
        assert isinstance(outcome, socket.socket)
        server.accept()[0].close()


async def test_a_connected_socket_is_prepared(server: socket.socket, names: Callable[..., None]) -> None:
    names(("127.0.0.1", port_of(server)))
    for host in ("127.0.0.1", NAME):
        attempt = Attempt(f"tcp://{host}:{port_of(server)}")
        await until(lambda a=attempt: a.connected)
        (connected,) = attempt.connected
        assert not connected.getblocking()
        assert connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert connected.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        connected.close()
        server.accept()[0].close()


async def test_ipv6() -> None:
    with nothing_left_open(), socket.create_server(("::1", 0), family=socket.AF_INET6) as listening:
        outcome = await Attempt(f"tcp://[::1]:{port_of(listening)}").outcome()
        assert isinstance(outcome, socket.socket)
        listening.accept()[0].close()


async def test_refused() -> None:
    holder, port = refused_port()
    with holder, nothing_left_open():
        error = await Attempt(f"tcp://127.0.0.1:{port}").failure()
    assert str(error) == f"Unable to connect to tcp://127.0.0.1:{port}/: Connection refused"
    assert error.status == 502
    assert error.hint == "check that the server runs and listens on this address and port"
    assert isinstance(error.__cause__, OSError)
    assert error.__cause__.errno == errno.ECONNREFUSED


# --- a local address


@pytest.mark.parametrize("named", [False, True])
async def test_a_connection_comes_from_the_local_address(
    server: socket.socket, names: Callable[..., None], named: bool
) -> None:
    names(("127.0.0.1", port_of(server)))
    attempt = Attempt(
        f"tcp://{NAME if named else '127.0.0.1'}:{port_of(server)}", local=Bind.parse_local("127.0.0.2")
    )
    await until(lambda: attempt.told, "an outcome")
    accepted, peer = server.accept()
    accepted.close()
    assert peer[0] == "127.0.0.2"
    await attempt.outcome()


@pytest.mark.parametrize("local", ["203.0.113.9", "::1"])
async def test_a_local_address_that_cannot_be(server: socket.socket, local: str) -> None:
    with nothing_left_open():
        error = await Attempt(f"tcp://127.0.0.1:{port_of(server)}", local=Bind.parse_local(local)).failure()
    assert "(tcp.bind)" in str(error)
    assert "address of this machine" in error.hint


async def test_a_name_without_an_address_of_the_local_family(
    server: socket.socket, names: Callable[..., None]
) -> None:
    names(("127.0.0.1", port_of(server)))
    error = await Attempt(f"tcp://{NAME}:{port_of(server)}", local=Bind.parse_local("::1")).failure()
    assert "Unable to connect" in str(error)


def fill(listening: socket.socket) -> list[socket.socket]:
    """Connect until nobody more comes in."""
    waiting: list[socket.socket] = []
    while True:
        each = socket.socket(listening.family)
        waiting.append(each)
        each.settimeout(0.1)
        try:
            each.connect(listening.getsockname())
        except OSError:
            return waiting


async def test_no_answer_within_the_time() -> None:
    """A server whose queue is full does not answer, as a firewall that drops."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listening:
        waiting = fill(listening)
        with nothing_left_open():
            address = f"tcp://127.0.0.1:{port_of(listening)}"
            error = await Attempt(address, 0.05).failure()
        assert str(error) == f"Unable to connect to {address}/: no answer within 0.05 s"
        assert error.status == 504
        assert error.hint == "check that the server runs and that no firewall drops the connection"
        for each in waiting:
            each.close()


@pytest.mark.parametrize("makes_room", [True, False])
async def test_a_unix_server_whose_queue_is_full(makes_room: bool) -> None:
    """The kernel refuses at once then: a connect must neither fail for it nor believe that it stands."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listening:
        path = f"{folder}/s"
        listening.bind(path)
        listening.listen(0)
        waiting = fill(listening)
        with nothing_left_open():
            attempt = Attempt(f"unix://{path}", 20.0 if makes_room else 0.2)
            await asyncio.sleep(0.1)
            assert not attempt.told
            if makes_room:
                for _ in range(len(waiting) - 1):
                    listening.accept()[0].close()
                await until(lambda: attempt.told)
                attempt.connected[0].getpeername()
            outcome = await attempt.outcome()
        assert isinstance(outcome, socket.socket) == makes_room
        if isinstance(outcome, ConnectError):
            assert outcome.status == 504
        for each in waiting:
            each.close()


async def test_a_unix_socket_that_is_not_there() -> None:
    error = await Attempt("unix:///nowhere/to/be/found").failure()
    assert str(error) == "Unable to connect to unix:///nowhere/to/be/found: No such file or directory"
    assert error.status == 502
    assert error.hint == "check that the server has made the unix socket"


async def test_a_name_that_cannot_be_resolved(names: Callable[..., None]) -> None:
    names(error=socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
    with nothing_left_open():
        error = await Attempt(f"tcp://{NAME}:1").failure()
    assert str(error) == f"Unable to connect to tcp://{NAME}:1/: the name {NAME} cannot be resolved"
    assert error.status == 502
    assert error.hint == "check the name and this machine's DNS"
    assert isinstance(error.__cause__, socket.gaierror)


async def test_a_resolver_that_does_not_answer(names: Callable[..., None]) -> None:
    names(wait=True)
    error = await Attempt(f"tcp://{NAME}:1", 0.05).failure()
    assert error.status == 504
    assert str(error) == f"Unable to connect to tcp://{NAME}:1/: no answer within 0.05 s"


@pytest.mark.parametrize("dead_first", [True, False])
async def test_a_dead_address_beside_a_living_one(
    names: Callable[..., None], server: socket.socket, dead_first: bool
) -> None:
    holder = socket.socket(socket.AF_INET6)
    holder.bind(("::1", 0))
    targets = [("::1", holder.getsockname()[1]), ("127.0.0.1", port_of(server))]
    names(*(targets if dead_first else reversed(targets)))
    with holder, nothing_left_open():
        assert isinstance(await Attempt(f"tcp://{NAME}:1").outcome(), socket.socket)
        server.accept()[0].close()


async def test_an_address_that_does_not_answer_beside_a_living_one(
    names: Callable[..., None], server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dial, "ATTEMPT_DELAY", 0.02)
    with socket.create_server(("::1", 0), family=socket.AF_INET6, backlog=0) as silent:
        waiting = fill(silent)
        names(("::1", port_of(silent)), ("127.0.0.1", port_of(server)))
        with nothing_left_open():
            assert isinstance(await Attempt(f"tcp://{NAME}:1").outcome(), socket.socket)
            await until(lambda: not _tasks(), "the end of the other attempt")
            server.accept()[0].close()
        for each in waiting:
            each.close()


async def test_all_addresses_refuse(names: Callable[..., None]) -> None:
    holder, port = refused_port()
    other, other_port = refused_port()
    names(("127.0.0.1", port), ("127.0.0.1", other_port))
    with holder, other, nothing_left_open():
        error = await Attempt(f"tcp://{NAME}:1").failure()
    assert error.status == 502
    assert str(error) == f"Unable to connect to tcp://{NAME}:1/: Connection refused"


def _tasks() -> set[asyncio.Task[Any]]:
    return asyncio.all_tasks() - {asyncio.current_task()}


@pytest.mark.parametrize("kind", ["numeric", "unix", "name", "two addresses"])
async def test_cancel_at_every_stage_leaves_nothing_open(
    kind: str, names: Callable[..., None], server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dial, "ATTEMPT_DELAY", 0.0)
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as local:
        local.bind(f"{folder}/s")
        local.listen(100)
        server.listen(1000)
        here = ("127.0.0.1", port_of(server))
        names(here, here) if kind == "two addresses" else names(here)
        address = {"numeric": f"tcp://127.0.0.1:{here[1]}", "unix": f"unix://{folder}/s"}.get(
            kind, f"tcp://{NAME}:1"
        )
        told = 0
        gc.collect()
        for stage in range(25):
            with nothing_left_open(collect=False):
                attempt = Attempt(address)
                await turns(stage)
                if stage == 24:  # behind the last
                    await until(lambda a=attempt: a.told)
                before = attempt.told
                attempt.dial.cancel()
                attempt.dial.cancel()
                await asyncio.sleep(0.005)
                await until(lambda: not _tasks(), "the end of every task")
                assert attempt.told == before, "told after `cancel`"
                for each in attempt.connected:
                    each.close()
                told += before
        assert 0 < told < 25


async def test_no_descriptor_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*_: Any) -> socket.socket:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(stream_socket, "open_stream", none_left)
    attempt = Attempt("tcp://127.0.0.1:1")
    await until(lambda: attempt.told)
    monkeypatch.undo()
    assert str(attempt.failed[0]).endswith(": Too many open files")
    assert attempt.failed[0].hint == "raise the limit of open files (ulimit -n)"


@pytest.mark.parametrize(
    ("number", "status", "hint"),
    [
        (errno.ECONNREFUSED, 502, "check that the server runs and listens on this address and port"),
        (errno.ETIMEDOUT, 504, "check that the server runs and that no firewall drops the connection"),
        (errno.EHOSTUNREACH, 502, "check the routes of this machine"),
        (errno.ENETUNREACH, 502, "check the routes of this machine"),
        (errno.EADDRNOTAVAIL, 502, "this machine has no free local port left for this destination"),
        (errno.EAGAIN, 502, "this machine has no free local port left for this destination"),
        (errno.EPIPE, 502, ""),
    ],
)
def test_what_a_refusal_means(number: int, status: int, hint: str) -> None:
    cause = OSError(number, "whatever")
    error = dial.failure(parse("tcp://10.0.0.1:1"), cause)
    assert (error.status, error.hint) == (status, hint)
    assert error.__cause__ is cause
