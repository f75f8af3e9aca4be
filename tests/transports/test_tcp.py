"""The transport of a connected socket, over real sockets whose other end is a plain one."""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.transports.conformance import MIXED, Recorder
from tests.transports.loops import event_loop_policy, nothing_left_open, on_each_loop, turns, until

from isthmus.errors import StreamReset
from isthmus.transports import tcp
from isthmus.transports.tcp import KEPT_READ_SIZE, READ_SIZE, TcpTransport

__all__ = ["event_loop_policy"]
pytestmark = on_each_loop


class Joined:
    """A transport under a recorder, and the plain blocking socket at its other end."""

    def __init__(self, family: socket.AddressFamily = socket.AF_INET, *, small: bool = False) -> None:
        if family == socket.AF_UNIX:
            ours, self.peer = socket.socketpair()
        else:
            with socket.create_server(("127.0.0.1", 0)) as server:
                self.peer = socket.create_connection(server.getsockname())
                ours, _ = server.accept()
        tcp.prepare(ours)
        if small:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            self.peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.peer.settimeout(10)
        self.socket = ours
        self.recorder = Recorder()
        self.transport: Any = None

    def begin(self) -> None:
        self.transport = TcpTransport(asyncio.get_running_loop(), self.socket)
        self.transport.start(self.recorder)

    def reset_by_peer(self) -> None:
        self.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.peer.close()

    async def read_all(self) -> bytes:
        return await asyncio.to_thread(_read_all, self.peer)


def _read_all(peer: socket.socket) -> bytes:
    found = bytearray()
    while piece := peer.recv(1 << 20):
        found += piece
    return bytes(found)


@pytest.fixture
def joined() -> Iterator[Joined]:
    made = Joined()
    yield made
    made.peer.close()
    made.socket.close()


async def test_the_receiver_is_told_before_start_returns(joined: Joined) -> None:
    joined.begin()
    assert joined.recorder.events == ["made"]
    joined.transport.abort()
    await until(lambda: joined.recorder.lost)


class Keeper(Recorder):
    """Keeps what it gets as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[Any] = []

    def data_received(self, data: Any) -> None:
        self.kept.append(data)
        super().data_received(memoryview(bytearray(data)))


@pytest.mark.parametrize("size", [1, 10_000, 20_000, 5_000_000])
async def test_what_is_read_may_be_kept(joined: Joined, size: int) -> None:
    """Through the slab or not, in reads that grow with what comes."""
    sent = MIXED * (size // len(MIXED) + 1)
    keeper = joined.recorder = Keeper()
    joined.begin()
    joined.transport.read_for_keeping(True)

    def send() -> None:
        joined.peer.sendall(sent[:size])
        joined.peer.sendall(b"the end")
        joined.peer.shutdown(socket.SHUT_WR)

    await asyncio.to_thread(send)
    await until(lambda: "eof" in keeper.events)
    assert {type(each) for each in keeper.kept} == {bytes}
    assert b"".join(keeper.kept) == sent[:size] + b"the end"
    if size > 1_000_000:
        assert READ_SIZE < max(map(len, keeper.kept)) <= KEPT_READ_SIZE
    joined.transport.close()
    await until(lambda: keeper.lost)


async def test_a_receiver_that_pauses_in_a_read_gets_no_larger_ones(joined: Joined) -> None:
    """Whoever keeps what is read says so when it has enough: it is not given a MiB on top."""

    class Pausing(Keeper):
        def data_received(self, data: memoryview) -> None:
            super().data_received(data)
            joined.transport.pause_reading()

    keeper = joined.recorder = Pausing()
    joined.begin()
    joined.transport.read_for_keeping(True)
    sending = asyncio.create_task(asyncio.to_thread(joined.peer.sendall, MIXED[: 12 * READ_SIZE]))
    size = min(len(MIXED), 12 * READ_SIZE)
    while sum(map(len, keeper.kept)) < size:
        count = len(keeper.kept)
        joined.transport.resume_reading()
        await until(lambda c=count: len(keeper.kept) > c)
    await sending
    assert max(map(len, keeper.kept)) <= READ_SIZE
    joined.transport.abort()
    await until(lambda: keeper.lost)


async def test_views_again_after_reads_that_were_kept(joined: Joined) -> None:
    keeper = joined.recorder = Keeper()
    joined.begin()
    for keep, data in ((True, b"first"), (False, b"second"), (True, b"third")):
        joined.transport.read_for_keeping(keep)
        joined.peer.sendall(data)
        await until(lambda d=data: b"".join(map(bytes, keeper.kept)).endswith(d))
    assert [type(each) for each in keeper.kept] == [bytes, memoryview, bytes]
    joined.transport.abort()
    await until(lambda: keeper.lost)


async def test_a_reset_by_the_peer_is_a_stream_reset_with_its_cause(joined: Joined) -> None:
    joined.begin()
    joined.reset_by_peer()
    await until(lambda: joined.recorder.lost, "the reset")
    error = joined.recorder.error
    assert isinstance(error, StreamReset)
    assert str(error) == "the connection was lost: Connection reset by peer"
    assert isinstance(error.__cause__, OSError)
    assert error.__cause__.errno == errno.ECONNRESET
    assert joined.socket.fileno() == -1


@pytest.mark.parametrize("size", [1, 1000, READ_SIZE, 3 * READ_SIZE + 1])
async def test_what_came_before_a_reset_is_delivered_and_then_the_reset(joined: Joined, size: int) -> None:
    joined.begin()
    joined.peer.sendall(MIXED[:size])
    joined.reset_by_peer()
    await until(lambda: joined.recorder.lost, "the reset")
    assert joined.recorder.reset
    arrived = len(joined.recorder.data)
    assert joined.recorder.data == MIXED[:arrived]
    assert arrived >= min(size, 50_000)  # of more than that some may never have left the peer


async def test_a_reset_is_told_also_to_one_who_does_not_read(joined: Joined) -> None:
    joined.begin()
    joined.recorder.pause()
    joined.peer.sendall(MIXED[:1000])
    joined.reset_by_peer()
    await until(lambda: joined.recorder.lost, "the reset")
    assert joined.recorder.reset


async def test_a_reset_is_found_out_by_one_who_pauses_in_every_read(joined: Joined) -> None:
    joined.peer.sendall(MIXED[:50_000])
    joined.reset_by_peer()
    joined.begin()
    joined.recorder.pause_each_time = True
    for _ in range(1000):
        if joined.recorder.lost:
            break
        joined.recorder.resume()
        await asyncio.sleep(0.001)
    assert joined.recorder.reset
    assert joined.recorder.data == MIXED[:50_000]


@pytest.mark.parametrize("paused", [False, True])
async def test_a_peer_that_takes_nothing_more_is_found_out(paused: bool) -> None:
    """Both directions shut and bytes unsent: a unix socket only hangs up then."""
    joined = Joined(socket.AF_UNIX)
    joined.begin()
    if paused:
        joined.recorder.pause()
    joined.transport.write(MIXED)
    assert joined.transport.unsent()
    joined.peer.shutdown(socket.SHUT_RDWR)
    await until(lambda: joined.recorder.lost, "the reset")
    assert joined.recorder.reset
    joined.peer.close()


async def test_abort_is_a_reset_at_the_raw_socket(joined: Joined) -> None:
    joined.begin()
    joined.recorder.call("abort")
    await until(lambda: joined.recorder.lost)
    with pytest.raises(ConnectionResetError):
        joined.peer.recv(1)
    assert str(joined.recorder.error) == "the connection was aborted by this gateway"


async def test_a_write_that_finds_the_connection_dead_tells_so_later(joined: Joined) -> None:
    joined.begin()
    joined.reset_by_peer()
    joined.recorder.call("write", b"x")
    joined.recorder.call("writelines", [b"x"])
    assert not joined.recorder.lost
    await until(lambda: joined.recorder.lost)
    assert joined.recorder.reset


async def test_nothing_can_be_written_after_the_end(joined: Joined) -> None:
    joined.begin()
    joined.transport.write_eof()
    with pytest.raises(RuntimeError, match="write after write_eof or close"):
        joined.transport.write(b"x")
    with pytest.raises(RuntimeError, match="write after write_eof or close"):
        joined.transport.writelines([b"x"])
    joined.transport.abort()
    await until(lambda: joined.recorder.lost)


async def test_a_view_is_only_good_during_the_call() -> None:
    """All connections read into one slab: whoever keeps a view instead of its bytes sees what comes next."""
    first, second = Joined(), Joined()
    kept: list[memoryview] = []

    class Keeper(Recorder):
        def data_received(self, data: memoryview) -> None:
            kept.append(data)
            assert not data.readonly
            self.data += data

    first.recorder = Keeper()
    second.recorder = Keeper()
    first.begin()
    second.begin()
    first.peer.sendall(b"first")
    await until(lambda: len(kept) == 1)
    assert bytes(kept[0]) == b"first"
    second.peer.sendall(b"other")
    await until(lambda: len(kept) == 2)
    assert bytes(kept[0]) == b"other"
    for each in (first, second):
        each.transport.abort()
        await until(lambda e=each: e.recorder.lost)
        each.peer.close()


async def test_more_parts_than_one_system_call_takes(joined: Joined) -> None:
    joined.begin()
    parts = [bytes([n % 256]) * (n % 7) for n in range(3000)]
    joined.transport.writelines(parts)
    joined.transport.write_eof()
    assert await joined.read_all() == b"".join(parts)
    joined.transport.abort()
    await until(lambda: joined.recorder.lost)


async def test_writing_nothing_behind_something_that_is_unsent(joined: Joined) -> None:
    joined.begin()
    joined.transport.write(MIXED)
    before = joined.transport.unsent()
    assert before > 0
    for _ in range(10):
        joined.transport.write(b"")
        joined.transport.writelines([b"", b""])
    assert joined.transport.unsent() == before
    joined.transport.close()
    assert await joined.read_all() == MIXED
    joined.peer.close()
    await until(lambda: joined.recorder.lost, "the end")
    assert joined.recorder.in_order


async def test_the_loop_rests_when_all_is_sent(joined: Joined, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is watched for writability that has nothing to write."""
    joined.begin()
    joined.transport.write(MIXED)
    joined.transport.write(b"")
    reading = asyncio.create_task(joined.read_all())
    await until(lambda: joined.transport.unsent() == 0, "all sent")
    assert asyncio.get_running_loop().remove_writer(joined.socket.fileno()) in (
        False,
        None,
    )  # uvloop says None
    joined.transport.write_eof()
    assert await reading == MIXED
    joined.transport.abort()
    await until(lambda: joined.recorder.lost)


@pytest.mark.parametrize("ending", ["close", "write_eof", "abort"])
async def test_ending_from_inside_resume_writing(joined: Joined, ending: str) -> None:
    ends: list[int] = []

    class Ends(Recorder):
        def resume_writing(self) -> None:
            super().resume_writing()
            ends.append(self.below.unsent())
            self.call(ending)

    joined.recorder = Ends()
    joined.begin()
    joined.transport.set_write_limit(1)  # resumed only when nothing is left
    joined.transport.write(MIXED)
    reading = asyncio.create_task(joined.read_all())
    await until(lambda: ends)
    assert ends == [0]
    if ending == "abort":
        await until(lambda: joined.recorder.reset)
        await asyncio.gather(reading, return_exceptions=True)
        return
    assert await reading == MIXED
    joined.peer.close()
    if ending == "write_eof":
        await until(lambda: joined.recorder.ended)
        joined.recorder.call("close")
    await until(lambda: joined.recorder.lost)
    assert joined.recorder.in_order


async def test_a_peer_that_never_ends_is_not_waited_for_long(
    joined: Joined, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp, "LINGER_SECONDS", 0.05)
    joined.begin()
    joined.transport.close()
    assert joined.peer.recv(1) == b""
    await until(lambda: joined.recorder.lost, "the end")
    assert joined.recorder.in_order
    assert not joined.recorder.ended


async def test_what_a_peer_sends_after_close_is_dropped_and_does_not_reset_the_answer(joined: Joined) -> None:
    joined.begin()
    joined.recorder.pause()
    joined.peer.sendall(b"unread" * 1000)
    joined.transport.write(b"the answer")
    joined.transport.close()
    await turns(5)
    joined.peer.sendall(b"too late" * 1000)
    await asyncio.sleep(0.02)
    assert await joined.read_all() == b"the answer"
    joined.peer.close()
    await until(lambda: joined.recorder.lost, "the end")
    assert joined.recorder.in_order
    assert not joined.recorder.data


async def test_a_reset_while_the_rest_is_sent_is_told(joined: Joined) -> None:
    joined.begin()
    joined.transport.write(MIXED)
    assert joined.transport.unsent()
    joined.transport.close()
    joined.reset_by_peer()
    await until(lambda: joined.recorder.lost, "the reset")
    assert joined.recorder.reset


async def test_end_of_input_then_close_does_not_wait(joined: Joined) -> None:
    joined.begin()
    joined.peer.shutdown(socket.SHUT_WR)
    await until(lambda: joined.recorder.ended)
    joined.transport.write(b"answer")
    joined.recorder.call("close")
    await turns(2)
    assert joined.recorder.in_order
    assert joined.peer.recv(10) == b"answer"


async def test_info_of_a_connection_that_is_over(joined: Joined) -> None:
    joined.begin()
    assert joined.transport.info("peername") == joined.peer.getsockname()
    assert joined.transport.info("socket") is joined.socket
    joined.transport.abort()
    for name in ("peername", "sockname", "socket", "ssl_object", "scheme"):
        assert joined.transport.info(name) is None
    await until(lambda: joined.recorder.lost)


async def test_a_slow_reader_lets_writing_resume_at_half_the_limit_and_no_sooner() -> None:
    joined = Joined(socket.AF_UNIX, small=True)
    joined.begin()
    joined.transport.set_write_limit(100_000)
    while not joined.recorder.write_paused:
        joined.recorder.write(bytes(1000))
    assert joined.recorder.unsent_at[0][1] in range(100_001, 101_001)
    while joined.recorder.write_paused:
        joined.peer.recv(1000)
        await turns(2)
    # One send takes no more than the small buffer of the socket.
    assert joined.recorder.unsent_at[1][1] in range(30_000, 50_001)
    joined.transport.abort()
    await until(lambda: joined.recorder.lost)
    joined.peer.close()


async def test_a_limit_of_one_byte(joined: Joined) -> None:
    joined.begin()
    joined.transport.set_write_limit(1)
    joined.transport.write(b"sent at once")
    assert joined.recorder.events == ["made"]
    joined.transport.abort()
    await until(lambda: joined.recorder.lost)


def test_every_socket_is_prepared() -> None:
    with socket.socket() as network, socket.socket(socket.AF_UNIX) as local:
        for each in (network, local):
            tcp.prepare(each)
            assert not each.getblocking()
        assert network.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert network.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_what_is_under_way_is_known(joined: Joined) -> None:
    joined.socket.setblocking(False)
    assert tcp.in_flight(joined.socket) == 0
    while True:
        try:
            joined.socket.send(MIXED[:100_000])
        except BlockingIOError:
            break
    assert tcp.in_flight(joined.socket) > 0
    assert tcp.in_flight(None) == 0
    closed = socket.socket()
    closed.close()
    assert tcp.in_flight(closed) == 0


pieces = st.binary(max_size=20_000)
writes = st.one_of(
    pieces,
    pieces.map(bytearray),
    pieces.map(lambda piece: memoryview(bytearray(piece))),
    st.lists(pieces, max_size=5),
    st.just("turn"),
)


@given(st.lists(writes, max_size=30), st.integers(1, 50_000))
@settings(max_examples=40, deadline=None)
def test_whatever_is_written_however_arrives(operations: list[Any], limit: int) -> None:
    async def run() -> None:
        joined = Joined(socket.AF_UNIX, small=True)
        joined.begin()
        joined.transport.set_write_limit(limit)
        expected = bytearray()
        highest = 0
        for operation in operations:
            if operation == "turn":
                await turns(1)
            elif isinstance(operation, list):
                expected += b"".join(operation)
                joined.recorder.writelines(operation)
            else:
                expected += operation
                joined.recorder.write(operation)
            highest = max(highest, joined.transport.unsent())
            assert joined.recorder.write_paused or joined.transport.unsent() <= limit
        assert highest <= len(expected)
        joined.transport.write_eof()
        assert await joined.read_all() == expected
        assert joined.transport.unsent() == 0
        assert not joined.recorder.write_paused
        joined.peer.close()
        await until(lambda: joined.recorder.ended)
        joined.transport.close()
        await until(lambda: joined.recorder.in_order)

    asyncio.run(run())


async def test_nothing_is_left_open() -> None:
    with nothing_left_open():
        for ending in ("close", "abort"):
            joined = Joined()
            joined.begin()
            joined.transport.write(b"x")
            joined.recorder.call(ending)
            joined.peer.close()
            await until(lambda j=joined: j.recorder.lost)


async def test_a_peer_that_shuts_both_ways_ends_also_one_who_waits_to_write_and_does_not_read() -> None:
    """A unix socket whose queue is full tells a hang-up, but never again that it can be written."""
    ours, peer = socket.socketpair()
    ours.setblocking(False)
    recorder = Recorder()
    transport = TcpTransport(asyncio.get_running_loop(), ours)
    transport.start(recorder)
    recorder.pause()
    while not transport.unsent():
        transport.write(bytes(READ_SIZE))
    with peer.dup() as held:  # what is unread stays unread
        peer.shutdown(socket.SHUT_RDWR)
        await until(lambda: recorder.lost, "the reset")
        assert recorder.reset
        assert held.fileno() >= 0
    peer.close()
