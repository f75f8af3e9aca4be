"""Both kinds of stream socket do the same."""

from __future__ import annotations

import errno
import logging
import os
import random
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from tests.transports.loops import nothing_left_open

from isthmus.transports import stream_socket
from isthmus.transports.base import peer_name
from isthmus.transports.stream_socket import PlainStreamSocket


@dataclass(frozen=True)
class Kind:
    """One of the two: compiled, or plain."""

    made_of: Callable[[socket.socket], PlainStreamSocket]
    open_stream: Callable[[int], PlainStreamSocket]
    accept: Callable[..., PlainStreamSocket | None]


KINDS = {
    "plain": Kind(PlainStreamSocket, stream_socket.plain_open_stream, stream_socket.plain_accept),
    "chosen": Kind(stream_socket.StreamSocket, stream_socket.open_stream, stream_socket.accept),
}


class Count:
    """A quota."""

    def __init__(self) -> None:
        self.released = 0

    def release(self) -> None:
        self.released += 1


@pytest.fixture(params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


@pytest.fixture
def ends(kind: Kind) -> Iterator[tuple[PlainStreamSocket, socket.socket]]:
    ours, theirs = socket.socketpair()
    stream_socket.prepare(ours)
    theirs.settimeout(5)
    made = kind.made_of(ours)
    with theirs:
        yield made, theirs
    made.close()


Ends = tuple[PlainStreamSocket, socket.socket]


def test_reading(ends: Ends) -> None:
    ours, theirs = ends
    assert ours.take(keep=False) is None
    assert ours.take(keep=True) is None
    assert ours.receive_bytes(8) is None
    theirs.send(b"abcdef")
    assert ours.receive_bytes(4) == b"abcd"
    assert ours.receive_bytes(100) == b"ef"
    theirs.send(b"four")
    assert ours.receive_bytes(4) == b"four"
    theirs.shutdown(socket.SHUT_WR)
    assert ours.take(keep=False) == b""
    assert ours.take(keep=True) == b""
    assert ours.receive_bytes(8) == b""


@pytest.mark.parametrize("size", [1, 100, 2048, 2049, 100_000])
def test_what_is_taken_is_a_writable_view_or_bytes(ends: Ends, size: int) -> None:
    ours, theirs = ends
    sent = random.Random(size).randbytes(size)
    for _ in range(3):
        theirs.sendall(sent)
        got = bytearray()
        while len(got) < size:
            view = ours.take(keep=False)
            assert isinstance(view, memoryview)
            assert not view.readonly
            got += view
            view[:] = bytes(len(view))
        assert got == sent
    theirs.sendall(sent)
    got.clear()
    while len(got) < size:
        kept = ours.take(keep=True)
        assert isinstance(kept, bytes)
        got += kept
    assert got == sent


def test_writing(ends: Ends) -> None:
    ours, theirs = ends
    for data in (b"one ", bytearray(b"two "), memoryview(b"three ")):
        assert ours.send(data) == len(data)
    assert ours.send_parts([b"four ", memoryview(bytearray(b"five ")), b"", bytearray(b"six")]) == 13
    assert theirs.recv(100) == b"one two three four five six"
    ours.shut_down()
    assert theirs.recv(1) == b""


def test_what_the_kernel_does_not_take_is_told(ends: Ends) -> None:
    ours, _ = ends
    data = bytes(100_000)
    taken = 0
    while (sent := ours.send(data)) == len(data):
        taken += sent
    assert 0 <= sent < len(data)
    while ours.send(data):
        pass
    assert ours.send_parts([data, data]) == 0
    assert ours.in_flight() > 0


@pytest.mark.skipif(not hasattr(socket, "TCP_NOTSENT_LOWAT"), reason="this system does not bound it")
@pytest.mark.parametrize("dialled", [False, True])
def test_the_kernel_keeps_little_for_one_that_does_not_read(kind: Kind, dialled: bool) -> None:
    with nothing_left_open(), socket.socket() as listening:
        stream_socket.prepare(listening)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        connecting = kind.open_stream(socket.AF_INET)
        assert connecting.connect(listening.getsockname()) in (0, errno.EINPROGRESS)
        accepted = kind.accept(listening, listening.family, None)
        assert accepted is not None
        ours, theirs = (connecting, accepted) if dialled else (accepted, connecting)
        other = theirs.object()
        assert other is not None
        other.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        piece = bytes(64 * 1024)
        while ours.send(piece):
            pass
        assert ours.in_flight() <= stream_socket.UNSENT_IN_KERNEL + 2 * len(piece)
        theirs.close()
        ours.close()


def test_a_part_that_is_no_buffer_and_too_many_parts(ends: Ends) -> None:
    ours, theirs = ends
    with pytest.raises(TypeError):
        ours.send_parts([b"x", 5])  # type: ignore[list-item]
    with pytest.raises((ValueError, OSError)):
        ours.send_parts([b"x"] * 5000)
    assert ours.send_parts([b"y"] * stream_socket.MAXIMUM_PARTS) == stream_socket.MAXIMUM_PARTS
    assert theirs.recv(1000) == b"y" * stream_socket.MAXIMUM_PARTS


def test_errors_of_the_connection(kind: Kind) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, nothing_left_open():
        client = socket.create_connection(listening.getsockname())
        accepted, _ = listening.accept()
        stream_socket.prepare(accepted)
        ours = kind.made_of(accepted)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        with pytest.raises(ConnectionResetError):
            ours.take(keep=False)
        with pytest.raises(BrokenPipeError):
            ours.send(b"x")
        with pytest.raises(BrokenPipeError):
            ours.send_parts([b"x", b"y"])
        assert not ours.is_connected()
        ours.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.10.203.99", "::1"])
def test_connect_and_accept(kind: Kind, host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with nothing_left_open(), socket.socket(family) as listening:
        stream_socket.prepare(listening)
        listening.bind((host, 0))
        listening.listen()
        quota = Count()
        assert kind.accept(listening, listening.family, quota) is None
        dialled = kind.open_stream(family)
        assert not dialled.is_connected()
        assert dialled.connect(listening.getsockname()[:2]) in (0, errno.EINPROGRESS)
        assert dialled.is_connected()
        assert dialled.error() == 0
        accepted = kind.accept(listening, listening.family, quota)
        assert accepted is not None
        for each in (dialled, accepted):
            made = each.object()
            assert made is not None
            assert made is each.object()
            assert each.family == made.family == family
            assert not os.get_blocking(each.fileno())
            assert not os.get_inheritable(each.fileno())
            assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert accepted.name(peer=True) == dialled.name(peer=False)
        assert accepted.name(peer=False) == dialled.name(peer=True) == listening.getsockname()
        assert accepted.peer_name() == peer_name(dialled.name(peer=False))
        assert dialled.peer_name() == peer_name(listening.getsockname())
        dialled.send(b"x")
        assert accepted.receive_bytes(9) == b"x"
        dialled.close()
        assert quota.released == 0
        accepted.close()
        accepted.close()
        assert quota.released == 1
        assert accepted.fileno() == -1
        assert accepted.object() is None
        with pytest.raises(OSError, match="Bad file descriptor"):
            accepted.peer_name()


def test_a_refused_connect_says_so(kind: Kind) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        dialled = kind.open_stream(socket.AF_INET)
        outcome = dialled.connect(holder.getsockname()) or dialled.error()
        if outcome == errno.EINPROGRESS:
            outcome = dialled.error()
        assert outcome == errno.ECONNREFUSED
        dialled.close()


def test_a_unix_socket(kind: Kind, tmp_path: Any) -> None:
    with nothing_left_open(), socket.socket(socket.AF_UNIX) as listening:
        dialled = kind.open_stream(socket.AF_UNIX)
        path = str(tmp_path / "s")
        assert dialled.connect(path) == errno.ENOENT
        listening.bind(path)
        listening.listen()
        listening.setblocking(False)
        assert dialled.connect(path) == 0
        accepted = kind.accept(listening, listening.family, None)
        assert accepted is not None
        assert accepted.name(peer=False) == path
        assert dialled.peer_name() == accepted.peer_name() == "unix"
        dialled.close()
        accepted.close()


def test_a_reset_that_was_asked_for(kind: Kind) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        accepted, _ = listening.accept()
        stream_socket.prepare(accepted)
        ours = kind.made_of(accepted)
        ours.reset_on_close()
        ours.close()
        with client, pytest.raises(ConnectionResetError):
            client.recv(1)


@pytest.mark.parametrize("asked_before", [False, True])
def test_detaching_hands_the_place_over(kind: Kind, asked_before: bool) -> None:
    with nothing_left_open(), socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        quota = Count()
        client = socket.create_connection(listening.getsockname())
        accepted = kind.accept(listening, listening.family, quota)
        assert accepted is not None
        if asked_before:
            accepted.object()
        made = accepted.detach()
        assert accepted.fileno() == -1
        accepted.close()
        assert quota.released == 0
        client.send(b"x")
        assert made.recv(1) == b"x"
        assert made.gettimeout() == 0.0
        with client, made:
            pass
        made.close()
        assert quota.released == 1


def test_one_that_is_forgotten_is_closed() -> None:
    """Only the compiled one: an object is closed by Python, with a warning."""
    if stream_socket.StreamSocket is PlainStreamSocket:
        pytest.skip("not compiled")
    with socket.create_server(("127.0.0.1", 0)) as listening, nothing_left_open():
        listening.setblocking(False)
        with socket.create_connection(listening.getsockname()) as client:
            quota = Count()
            accepted = stream_socket.accept(listening, listening.family, quota)
            assert accepted is not None
            del accepted
            assert quota.released == 1
            assert client.recv(1) == b""


def test_what_is_in_flight_of_nothing() -> None:
    assert stream_socket.in_flight(None) == 0


SHORT = 128 * 1024


def test_the_kernels_queue_is_kept_short(caplog: pytest.LogCaptureFixture) -> None:
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    if option is None:
        pytest.skip("this system has no TCP_NOTSENT_LOWAT")
    with nothing_left_open(), socket.socket() as sock, caplog.at_level(logging.DEBUG):
        stream_socket.keep_queue_short(sock, SHORT)
        assert sock.getsockopt(socket.IPPROTO_TCP, option) == SHORT
        sock.close()
        stream_socket.keep_queue_short(sock, SHORT)
    assert "cannot be kept short" in caplog.text


def test_where_there_is_no_such_queue_nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    stream_socket.keep_queue_short(None, SHORT)
    left, right = socket.socketpair()
    with left, right:
        stream_socket.keep_queue_short(left, SHORT)  # a unix socket
    monkeypatch.delattr(socket, "TCP_NOTSENT_LOWAT", raising=False)
    with socket.socket() as sock:
        stream_socket.keep_queue_short(sock, SHORT)
