"""Listening: the quota, the backlog, what is said when a bind fails, and what is left behind."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.transports.loops import event_loop_policy, nothing_left_open, on_each_loop, turns, until

from isthmus.config.model import Bind
from isthmus.errors import BindError
from isthmus.transports import listen, stream_socket
from isthmus.transports.listen import Listening, Quota, bind
from isthmus.transports.stream_socket import PlainStreamSocket
from isthmus.uri import parse

__all__ = ["event_loop_policy"]
pytestmark = on_each_loop


class Accepting:
    """A listening socket at a free port, and what it accepted."""

    def __init__(
        self, maximum: int | Quota = 100, *, at: str = "tcp://127.0.0.1:0", backlog: int = 100
    ) -> None:
        self.accepted: list[PlainStreamSocket] = []
        self.clients: list[socket.socket] = []
        self.quota = Quota(maximum) if isinstance(maximum, int) else maximum
        (self.bound,) = bind(parse(at), None)
        self.where = self.bound.getsockname()
        self.listening = Listening(self.bound, self.quota, self.accepted.append)
        self.listening.start(backlog)

    def connect(self, count: int = 1) -> None:
        for _ in range(count):
            client = socket.socket(self.bound.family)
            client.settimeout(10)
            client.connect(self.where)
            self.clients.append(client)

    def end(self) -> None:
        self.listening.stop()
        for accepted in self.accepted:
            accepted.close()
        for client in self.clients:
            client.close()


@pytest.fixture
def folder() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as made:
        yield made


async def test_accepted_sockets_are_prepared_and_counted() -> None:
    with nothing_left_open():
        accepting = Accepting()
        accepting.connect(3)
        await until(lambda: len(accepting.accepted) == 3)
        assert accepting.quota.used == 3
        for number, each in enumerate(accepting.accepted):
            assert each.name(peer=True) == accepting.clients[number].getsockname()
            made = each.object()
            assert made is not None
            assert not os.get_blocking(each.fileno())
            assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert not made.get_inheritable()
        for each in accepting.accepted:
            each.close()
            each.close()
        assert accepting.quota.used == 0
        accepting.end()


async def test_who_comes_above_the_quota_waits_and_comes_in_when_one_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with nothing_left_open():
        accepting = Accepting(2)
        accepting.connect(5)
        await until(lambda: accepting.quota.times_reached)
        await turns(5)
        assert len(accepting.accepted) == 2
        assert "2 connections are open, the most allowed (maximum.connections); more wait" in caplog.messages
        for ended in range(3):
            accepting.accepted[ended].close()
            await until(lambda e=ended: len(accepting.accepted) == 3 + e, "the next one")
            await turns(5)
            assert accepting.quota.used == 2
        assert len(accepting.accepted) == 5
        accepting.end()
        assert accepting.quota.used == 0


async def test_a_quota_is_shared_by_all_listeners() -> None:
    quota = Quota(1)
    here, there = Accepting(quota), Accepting(quota)
    here.connect()
    await until(lambda: here.accepted)
    there.connect()
    await until(lambda: quota.times_reached)
    assert not there.accepted
    here.accepted[0].close()
    await until(lambda: there.accepted)
    for each in (here, there):
        each.end()


async def test_who_waits_in_the_backlog_is_accepted_before_the_port_is_closed() -> None:
    with nothing_left_open():
        accepting = Accepting()
        accepting.connect(70)
        accepting.listening.stop()
        assert len(accepting.accepted) == 70
        accepting.end()


async def test_stopping_while_waiting_for_room() -> None:
    with nothing_left_open():
        accepting = Accepting(1)
        accepting.connect(3)
        await until(lambda: accepting.quota.times_reached)
        accepting.listening.stop()
        accepting.listening.stop()
        accepting.accepted[0].close()
        await turns(5)
        assert len(accepting.accepted) == 1
        accepting.end()


async def test_a_burst_comes_in_over_several_turns() -> None:
    accepting = Accepting(1000, backlog=1000)
    accepting.connect(150)
    await until(lambda: len(accepting.accepted) == 150)
    accepting.end()


async def test_stopping_from_inside_accepted() -> None:
    accepting = Accepting()
    taken = []

    def accepted(each: PlainStreamSocket) -> None:
        taken.append(each)
        accepting.listening.stop()

    accepting.listening._accepted = accepted
    accepting.connect(3)
    await until(lambda: taken)
    assert len(taken) == 3
    assert accepting.bound.fileno() == -1
    for each in taken:
        each.close()
    accepting.end()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ENETDOWN])
async def test_what_cannot_be_accepted_now_is_tried_again(
    number: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(listen, "_PAUSE_SECONDS", 0.05)
    failures = 0

    really_accept = stream_socket.accept

    def accept(*arguments: Any) -> PlainStreamSocket | None:
        nonlocal failures
        if failures < 2:
            failures += 1
            raise OSError(number, os.strerror(number))
        return really_accept(*arguments)

    monkeypatch.setattr(stream_socket, "accept", accept)
    with nothing_left_open():
        accepting = Accepting()
        accepting.connect()
        await until(lambda: failures == 1)
        await turns(10)
        assert failures == 1, "tried again at once, which keeps the machine busy"
        assert accepting.quota.used == 0
        await until(lambda: accepting.accepted, "the second try")
        assert f"cannot accept a connection: {os.strerror(number)}; trying again in 0.05 s" in caplog.messages
        accepting.end()


async def test_stopping_while_a_retry_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listen, "_PAUSE_SECONDS", 0.01)
    accepting = Accepting()

    def none_left(*_: Any) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(stream_socket, "accept", none_left)
    accepting.connect()
    await until(lambda: accepting.listening._retry is not None)
    accepting.listening.stop()
    await asyncio.sleep(0.03)
    accepting.end()


# --- unix


async def test_a_unix_socket_is_removed_at_the_end(folder: str) -> None:
    with nothing_left_open():
        accepting = Accepting(at=f"unix://{folder}/s")
        accepting.connect()
        await until(lambda: accepting.accepted)
        assert os.listdir(folder) == ["s"]
        accepting.end()
        assert os.listdir(folder) == []


async def test_a_unix_socket_of_a_dead_process_is_taken_over(folder: str) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(f"{folder}/s")
        dead.listen()
    accepting = Accepting(at=f"unix://{folder}/s")
    accepting.connect()
    await until(lambda: accepting.accepted)
    accepting.end()


def test_a_unix_socket_of_a_living_process_is_not(folder: str) -> None:
    with socket.socket(socket.AF_UNIX) as living:
        living.bind(f"{folder}/s")
        living.listen()
        with pytest.raises(BindError) as raised:
            bind(parse(f"unix://{folder}/s"), None)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(f"{folder}/s")
    assert str(raised.value) == f"Unable to bind to resource: unix://{folder}/s cause: Address already in use"
    assert raised.value.hint == f"another process listens on {folder}/s; stop it or choose another path"


def test_a_file_that_is_no_socket_is_left_alone(folder: str) -> None:
    Path(folder, "s").write_text("precious")
    with pytest.raises(BindError) as raised:
        bind(parse(f"unix://{folder}/s"), None)
    assert raised.value.hint == f"{folder}/s is there and is not a socket; remove it or choose another path"
    assert Path(folder, "s").read_text() == "precious"


def test_a_folder_that_is_not_there() -> None:
    with pytest.raises(BindError) as raised:
        bind(parse("unix:///nowhere/s"), None)
    assert str(raised.value) == (
        "Unable to bind to resource: unix:///nowhere/s cause: No such file or directory"
    )
    assert raised.value.hint == "check the address of the accept unix:///nowhere/s"


# --- what is said


def test_a_port_in_use_names_who_holds_it() -> None:
    script = (
        "import socket,sys; s=socket.create_server(('127.0.0.1',0)); "
        "print(s.getsockname()[1],flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        port = int(holder.stdout.readline())
        name = psutil.Process(holder.pid).name()
        assert listen._holder(port) == f"{name} (pid {holder.pid})"
        with pytest.raises(BindError) as raised:
            bind(parse(f"tcp://127.0.0.1:{port}"), None)
        holder.communicate()
    assert str(raised.value) == (
        f"Unable to bind to resource: tcp://127.0.0.1:{port}/ cause: Address already in use"
    )
    assert raised.value.hint == (
        f"port {port} is in use by {name} (pid {holder.pid}); "
        "stop that process or choose another port with <tcp.bind> in accept-options"
    )
    assert isinstance(raised.value.__cause__, OSError)


@pytest.mark.parametrize("error", [psutil.AccessDenied(1), psutil.NoSuchProcess(1), OSError("no /proc")])
def test_who_holds_a_port_may_stay_unknown(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: str) -> None:
        raise error

    monkeypatch.setattr(psutil, "net_connections", refuse)
    assert listen._holder(1) == ""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(BindError) as raised:
            bind(parse(f"ws://127.0.0.1:{port}/"), None)
    assert raised.value.hint == (
        f"port {port} is in use; stop that process or choose another port with <ws.bind> in accept-options"
    )


def failing(number: int) -> Callable[..., socket.socket]:
    def fails(*_: object) -> socket.socket:
        raise OSError(number, os.strerror(number))

    return fails


def test_an_address_of_another_machine_in_the_words_of_the_whitepaper(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listen, "_bind_one", failing(errno.EADDRNOTAVAIL))
    with pytest.raises(BindError) as raised:
        bind(parse("wss://192.0.2.1:443/"), None)
    assert str(raised.value) == (
        "Unable to bind to resource: wss://192.0.2.1:443/ cause: Cannot assign requested address"
    )
    assert raised.value.hint == (
        "192.0.2.1 is not an address of this machine; map the accept to one that is with "
        "<wss.bind>443</wss.bind> in accept-options"
    )


def test_a_bind_without_the_privilege_in_the_words_of_the_whitepaper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listen, "_bind_one", failing(errno.EACCES))
    with pytest.raises(BindError) as raised:
        bind(parse("wss://gw.example.com:443/"), Bind("192.0.2.11", 443))
    assert str(raised.value) == (
        "Unable to bind to resource: wss://gw.example.com:443/ @ wss://192.0.2.11:443/ "
        "cause: Permission denied"
    )
    assert raised.value.hint == (
        "port 443 needs a privilege: start as root, allow it with "
        "setcap cap_net_bind_service=+ep on the interpreter, or choose a port above 1023"
    )


def test_a_unix_path_without_the_privilege() -> None:
    error = listen.bind_error(parse("unix:///run/s"), None, OSError(errno.EACCES, "Permission denied"))
    assert error.hint == ("this user may not create /run/s; choose another folder or change its permissions")


def test_a_name_that_cannot_be_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(BindError) as raised:
        bind(parse("tcp://gw.example.com:1"), None)
    assert str(raised.value) == (
        "Unable to bind to resource: tcp://gw.example.com:1/ "
        "cause: the name gw.example.com cannot be resolved"
    )
    with pytest.raises(BindError) as raised:
        bind(parse("tcp://gw.example.com:1"), Bind("inner.example.com", 2))
    assert str(raised.value) == (
        "Unable to bind to resource: tcp://gw.example.com:1/ @ tcp://inner.example.com:2/ "
        "cause: the name inner.example.com cannot be resolved"
    )


# --- which addresses


def test_a_bind_is_what_is_listened_on() -> None:
    (bound,) = bind(parse("tcp://192.0.2.1:443"), Bind("127.0.0.1", 0))
    with bound:
        assert bound.getsockname()[0] == "127.0.0.1"


def resolved(monkeypatch: pytest.MonkeyPatch, *hosts: str) -> None:
    infos = [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (host, 0, 0, 0))
        if ":" in host
        else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 0))
        for host in hosts
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: infos)


def test_a_name_is_bound_on_each_of_its_addresses_once(monkeypatch: pytest.MonkeyPatch) -> None:
    resolved(monkeypatch, "::1", "127.0.0.1", "::1")
    sockets = bind(parse("tcp://localhost:1"), None)
    assert [bound.family for bound in sockets] == [socket.AF_INET6, socket.AF_INET]
    for bound in sockets:
        bound.close()


def test_one_address_that_cannot_be_bound_undoes_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    with nothing_left_open(), socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        infos = [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 0, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: infos)
        with pytest.raises(BindError):
            bind(parse(f"tcp://localhost:{port}"), None)


@pytest.mark.parametrize("number", [errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT])
def test_localhost_on_a_machine_without_ipv6(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    real = listen._bind_one

    def without(family: int, *rest: Any) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(number, os.strerror(number))
        return real(family, *rest)

    monkeypatch.setattr(listen, "_bind_one", without)
    resolved(monkeypatch, "::1", "127.0.0.1")
    (bound,) = bind(parse("tcp://localhost:1"), None)
    assert bound.family == socket.AF_INET
    bound.close()
    # Any other address that is missing is an error, else half of a name would not be served in silence.
    for hosts in (["::1"], ["2001:db8::1", "127.0.0.1"]):
        resolved(monkeypatch, *hosts)
        with pytest.raises(BindError):
            bind(parse("tcp://localhost:1"), None)


def test_ipv6_does_not_take_the_port_of_ipv4() -> None:
    (six,) = bind(parse("tcp://[::]:0"), None)
    with six:
        (four,) = bind(parse("tcp://0.0.0.0:1"), Bind("0.0.0.0", six.getsockname()[1]))
        four.close()
