"""A WebSocket whose messages are datagrams, without a network: what is below and the clock are in memory."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.services.datagram_fakes import on
from tests.services.fakes import Connection as StreamConnection
from tests.services.fakes import Connector as StreamConnector
from tests.services.fakes import Incoming as StreamIncoming
from tests.transports.memory import Watcher, Wire
from tests.websocket.recorder import KEY, cut, cuts, frame
from tests.websocket.recorder import Recorder as Frames

from isthmus.errors import ConnectError
from isthmus.transports.datagrams import MAXIMUM_DATAGRAM, DatagramCounters, Freshness
from isthmus.transports.ws import WebSocketTransport
from isthmus.transports.ws_datagrams import (
    GIVE_UP_MILLISECONDS,
    UNSENT_IN_KERNEL,
    WebSocketDatagrams,
    WebSocketFlowConnector,
    WebSocketFlowIncoming,
    _prepare,
)
from isthmus.websocket.connection import Connection
from isthmus.websocket.frames import Role, close_payload

TEXT, BINARY, CLOSE, PING = 1, 2, 8, 9
CLIENT_KEY = {Role.SERVER: KEY, Role.CLIENT: None}
OTHER = {Role.SERVER: Role.CLIENT, Role.CLIENT: Role.SERVER}
ROLES = pytest.mark.parametrize("role", [Role.SERVER, Role.CLIENT])


class Above:
    """A `DatagramReceiver` that writes down."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.came: list[bytes] = []
        self.batches = 0
        self.lost: list[Exception | None] = []

    def datagrams_made(self, transport: Any) -> None:
        assert self.transport is None
        self.transport = transport

    def datagrams_received(self, datagrams: list[bytes]) -> None:
        assert datagrams
        assert not self.lost
        assert all(type(each) is bytes for each in datagrams)
        self.came += datagrams
        self.batches += 1

    def datagrams_lost(self, error: Exception | None) -> None:
        self.lost.append(error)


class Raw(Watcher):
    def data_received(self, data: memoryview) -> None:
        self.data += data


class Web:
    """The transport under test in `role`, and its peer, who writes frames by hand."""

    def __init__(
        self, role: Role, *, maximum: int = 128 * 1024, delay: float = 0.05, pending: int = 65536
    ) -> None:
        self.role = role
        self.wire = Wire()
        self.peer = Raw()
        self.above = Above()
        self.counters = DatagramCounters()
        self.wire.right.start(self.peer)
        self.wire.left.start(Raw())
        with self.clock():
            self.datagrams = WebSocketDatagrams(self.above, Freshness(delay, pending), self.counters)
            WebSocketTransport(self.wire.left, role, maximum, 30.0).start(self.datagrams)

    def clock(self) -> Any:
        return on(self.wire.clock)

    def frame(self, opcode: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
        return frame(opcode, payload, fin=fin, key=CLIENT_KEY[self.role])

    def raw(self, data: bytes) -> None:
        self.wire.right.write(data)
        self.settle()

    def send(self, *datagrams: bytes) -> None:
        with self.clock():
            self.datagrams.send(list(datagrams))

    def settle(self) -> None:
        with self.clock():
            self.wire.settle()

    def advance(self, seconds: float) -> None:
        with self.clock():
            self.wire.clock.advance(seconds)

    @property
    def received(self) -> list[tuple[Any, ...]]:
        """What the peer received, as frames."""
        frames = Frames()
        Connection(OTHER[self.role], frames, maximum_message_size=1 << 30).receive(bytearray(self.peer.data))
        return frames.events


# --- boundaries


@ROLES
@pytest.mark.parametrize("size", [0, 1, 125, 126, 1200, 16_384, 65_507, 65_527])
def test_a_datagram_is_one_message_both_ways(role: Role, size: int) -> None:
    web = Web(role)
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    web.send(data, b"next")
    web.settle()
    assert web.received == [("data", data, True), ("data", b"next", True)]
    web.raw(web.frame(BINARY, data) + web.frame(BINARY, b"next"))
    assert web.above.came == [data, b"next"]


@ROLES
@settings(deadline=None, max_examples=60)
@given(messages=st.lists(st.lists(st.binary(max_size=300), min_size=1, max_size=4), max_size=8), places=cuts)
def test_a_message_in_pieces_is_one_datagram(
    role: Role, messages: list[list[bytes]], places: list[int]
) -> None:
    web = Web(role)
    data = b""
    for parts in messages:
        for number, part in enumerate(parts):
            data += web.frame(BINARY if number == 0 else 0, part, fin=number == len(parts) - 1)
            data += web.frame(PING, b"between")
    for piece in cut(data, places):
        web.raw(bytes(piece))
    assert web.above.came == [b"".join(parts) for parts in messages]
    assert web.counters.dropped == 0


@ROLES
def test_all_messages_of_one_read_are_one_batch(role: Role) -> None:
    web = Web(role)
    web.raw(b"".join(web.frame(BINARY, bytes([number])) for number in range(50)))
    assert web.above.batches == 1
    assert web.above.came == [bytes([number]) for number in range(50)]


def test_a_batch_is_one_write() -> None:
    web = Web(Role.CLIENT)
    with mock.patch.object(web.wire.left, "write", wraps=web.wire.left.write) as write:
        web.send(*[bytes(100)] * 64)
    assert write.call_count == 1


@ROLES
@pytest.mark.parametrize("pieces", [1, 3])
def test_a_message_that_is_no_datagram_is_dropped_and_counted(role: Role, pieces: int) -> None:
    web = Web(role)
    data = bytes(MAXIMUM_DATAGRAM + 1)
    step = -(-len(data) // pieces)
    parts = [data[start : start + step] for start in range(0, len(data), step)]
    web.raw(web.frame(BINARY, b"before"))
    for number, part in enumerate(parts):
        web.raw(web.frame(BINARY if number == 0 else 0, part, fin=number == len(parts) - 1))
    web.raw(web.frame(BINARY, b"after"))
    assert web.above.came == [b"before", b"after"]
    assert web.counters.dropped_oversized == 1


@ROLES
def test_a_message_that_does_not_end_is_bounded(role: Role) -> None:
    web = Web(role, maximum=1 << 30)
    web.raw(web.frame(BINARY, bytes(60_000), fin=False))
    for _ in range(20):
        web.raw(web.frame(0, bytes(60_000), fin=False))
    web.raw(web.frame(0, b"", fin=True))
    assert web.above.came == []
    assert web.counters.dropped_oversized == 1


@ROLES
def test_text_is_a_datagram_too(role: Role) -> None:
    web = Web(role)
    web.raw(web.frame(TEXT, "é".encode()))
    assert web.above.came == ["é".encode()]


# --- fresh, not late


class Blocked(Web):
    """Its peer reads nothing until told to, and what was written once is all that may be unsent."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(Role.CLIENT, **settings)
        self.send(b"unsent")
        assert self.wire.left.unsent()


def test_nothing_is_written_behind_what_is_unsent() -> None:
    web = Blocked()
    unsent = web.wire.left.unsent()
    web.send(b"a")
    web.send(b"b", b"c")
    assert web.wire.left.unsent() == unsent
    web.settle()
    assert [each[1] for each in web.received] == [b"unsent", b"a", b"b", b"c"]
    assert web.counters.dropped == 0


def test_what_waited_too_long_is_dropped_the_oldest_first() -> None:
    web = Blocked(delay=0.05)
    for number in range(10):
        web.send(bytes([number]))
        web.advance(0.02)
    web.settle()
    fresh = [each[1] for each in web.received][1:]
    assert fresh == [bytes([8]), bytes([9])]
    assert web.counters.dropped_late == 8


def test_what_waits_is_bounded() -> None:
    web = Blocked(pending=1000)
    web.send(*[bytes([number]) * 100 for number in range(50)])
    web.settle()
    assert [each[1] for each in web.received][1:] == [bytes([number]) * 100 for number in range(44, 50)]
    assert web.counters.dropped_late == 44


def test_the_newest_waits_in_any_case() -> None:
    web = Blocked(pending=10)
    web.send(bytes(1000))
    web.settle()
    assert [len(each[1]) for each in web.received] == [6, 1000]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(["send", "take", "wait"]), st.integers(1, 2000)), max_size=80))
def test_each_datagram_comes_in_order_or_is_counted(steps: list[tuple[str, int]]) -> None:
    web = Web(Role.CLIENT, pending=5000)
    sent: list[bytes] = []
    for step, size in steps:
        if step == "send":
            data = len(sent).to_bytes(4, "big") + bytes(size)
            sent.append(data)
            web.send(data)
        elif step == "take":
            with web.clock():
                web.wire.left.deliver(size)
                web.wire.clock.run()
        else:
            web.advance(size / 20_000)
    web.settle()
    came = [each[1] for each in web.received]
    assert len(came) + web.counters.dropped_late == len(sent)
    places = [int.from_bytes(each[:4], "big") for each in came]
    assert places == sorted(set(places))
    assert all(each == sent[place] for each, place in zip(came, places, strict=True))


# --- ends


@ROLES
def test_a_close_in_order_is_answered_and_told(role: Role) -> None:
    web = Web(role)
    web.raw(web.frame(BINARY, b"last") + web.frame(CLOSE, close_payload(1000, "")))
    assert web.above.came == [b"last"]
    assert web.above.lost == [None]
    assert web.received[-1] == ("close", 1000, "")
    web.send(b"too late")


@ROLES
@pytest.mark.parametrize("code", [1002, 1011])
def test_another_close_is_a_loss(role: Role, code: int) -> None:
    web = Web(role)
    web.raw(web.frame(CLOSE, close_payload(code, "")))
    (error,) = web.above.lost
    assert isinstance(error, Exception)


@ROLES
def test_a_lost_connection_is_told_once(role: Role) -> None:
    web = Web(role)
    web.wire.left.lose()
    web.settle()
    assert len(web.above.lost) == 1
    web.send(b"too late")


@ROLES
def test_a_broken_protocol_is_a_loss_after_what_was_right(role: Role) -> None:
    web = Web(role)
    web.raw(web.frame(BINARY, b"right") + b"\xff\xff\xff\xff")
    assert web.above.came == [b"right"] or web.above.lost
    assert len(web.above.lost) == 1


@ROLES
def test_our_close_says_so_and_tells_nothing(role: Role) -> None:
    web = Web(role)
    with web.clock():
        web.datagrams.close()
        web.datagrams.close()
    web.settle()
    assert web.received == [("close", 1000, "")]
    assert web.above.lost == []
    web.raw(web.frame(CLOSE, close_payload(1000, "")))
    assert web.above.lost == []
    assert web.datagrams.info("peername") is None


def test_what_waits_at_the_end_is_counted() -> None:
    web = Blocked()
    web.send(b"a", b"b")
    with web.clock():
        web.datagrams.close()
    assert web.counters.dropped_late == 2


# --- offers and connects


def scene() -> tuple[Freshness, DatagramCounters]:
    return Freshness(0.05, 65536), DatagramCounters()


def test_an_incoming_websocket_is_an_incoming_flow() -> None:
    incoming = StreamIncoming(StreamConnection(lambda *_: None))
    flow = WebSocketFlowIncoming(incoming, *scene())
    assert flow.peer == "a test"
    assert flow.address is incoming.address
    assert not flow.early
    flow.refuse(ConnectError("no", status=504))
    assert incoming.refusal is not None
    assert incoming.refusal.status == 504


async def test_a_flow_connects_a_websocket() -> None:
    below = StreamConnector()
    connector = WebSocketFlowConnector(below, *scene())
    assert connector.address is below.address
    failures: list[ConnectError] = []
    connector.connect(Above(), failures.append, origin="192.0.2.1:1").cancel()
    assert below.dials[0].canceled
    connector.connect(Above(), failures.append)
    below.dials[1].fail()
    assert len(failures) == 1
    connector.close()


def test_the_kernel_is_told_to_hold_little() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as sock,
    ):
        _prepare(sock)
        limits: dict[str, Callable[[], int]] = {
            "TCP_NOTSENT_LOWAT": lambda: UNSENT_IN_KERNEL,
            "TCP_USER_TIMEOUT": lambda: GIVE_UP_MILLISECONDS,
        }
        for name, value in limits.items():
            if hasattr(socket, name):
                assert sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) == value()
    _prepare(None)
    with socket.socket(socket.AF_UNIX) as local:
        _prepare(local)
