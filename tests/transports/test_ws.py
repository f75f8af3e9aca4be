"""A WebSocket as a transport, without a network: what is below is in memory, and so is the clock."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.transports.conformance import MIXED, Recorder
from tests.transports.memory import Watcher, Wire
from tests.websocket.recorder import KEY, cut, cuts, frame
from tests.websocket.recorder import Recorder as Frames

from isthmus.config.model import ConnectOptions
from isthmus.errors import ConnectError, StreamCut, StreamReset
from isthmus.transports.base import Transport
from isthmus.transports.keep_alive import IdleLimit
from isthmus.transports.ws import WebSocketTransport
from isthmus.transports.ws_connect import start_plain
from isthmus.transports.ws_dial import WebSocketOpening
from isthmus.uri import parse
from isthmus.websocket.connection import Connection
from isthmus.websocket.frames import FrameReader, Role, close_payload
from isthmus.websocket.handshake import accept_value

SECONDS = 30.0
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
CLIENT_KEY = {Role.SERVER: KEY, Role.CLIENT: None}
OTHER = {Role.SERVER: Role.CLIENT, Role.CLIENT: Role.SERVER}
ROLES = pytest.mark.parametrize("role", [Role.SERVER, Role.CLIENT])


class Raw(Watcher):
    """The plain end of the wire."""

    def data_received(self, data: memoryview) -> None:
        self.data += data


class Web:
    """A WebSocket transport of `role` under a recorder, and its peer, who writes frames by hand."""

    def __init__(
        self, role: Role, *, maximum: int = 1 << 20, seconds: float = SECONDS, inactivity: float = 0.0
    ) -> None:
        self.role = role
        self.wire = Wire()
        self.peer = Raw()
        self.above = Recorder()
        self.wire.right.start(self.peer)
        self.wire.left.start(Raw())
        self.transport = WebSocketTransport(self.wire.left, role, maximum, seconds, inactivity)
        with self.clock():
            self.transport.start(self.above)

    def clock(self) -> OnClock:
        return OnClock(self.wire)

    def send(self, opcode: int, payload: bytes = b"", *, fin: bool = True) -> None:
        self.raw(frame(opcode, payload, fin=fin, key=CLIENT_KEY[self.role]))

    def raw(self, data: bytes) -> None:
        self.wire.right.write(data)
        self.settle()

    def close(self, code: int | None = None, reason: str = "") -> None:
        self.send(CLOSE, close_payload(code, reason))

    def call(self, name: str, *arguments: Any) -> None:
        with self.clock():
            self.above.call(name, *arguments)

    def settle(self) -> None:
        with self.clock():
            self.wire.settle()

    def advance(self, seconds: float) -> None:
        with self.clock():
            self.wire.clock.advance(seconds)

    @property
    def received(self) -> list[tuple[Any, ...]]:
        """What the peer received, as frames."""
        self.settle()
        frames = Frames()
        Connection(OTHER[self.role], frames, maximum_message_size=1 << 30).receive(bytearray(self.peer.data))
        return frames.events


class OnClock:
    """Let the code under test see the wire's clock as the running loop."""

    def __init__(self, wire: Wire) -> None:
        self._patch = pytest.MonkeyPatch()
        self._loop = wire.clock.loop

    def __enter__(self) -> None:
        self._patch.setattr(asyncio, "get_running_loop", lambda: self._loop)

    def __exit__(self, *_: object) -> None:
        self._patch.undo()


# --- messages


@ROLES
def test_a_message_is_bytes_whatever_it_is(role: Role) -> None:
    web = Web(role)
    web.send(BINARY, b"binary,")
    web.send(TEXT, "text é,".encode())
    web.send(BINARY, b"")
    web.send(BINARY, b"in ", fin=False)
    web.send(PING, b"between")
    web.send(0, b"parts", fin=True)
    assert web.above.data == "binary,text é,in parts".encode()
    assert web.received == [("pong", b"between")]


@ROLES
def test_each_chunk_is_a_binary_message(role: Role) -> None:
    web = Web(role)
    web.call("write", b"one")
    web.call("writelines", [b"two", bytearray(b"three")])
    assert web.received == [("data", b"one", True), ("data", b"two", True), ("data", b"three", True)]


@ROLES
def test_a_chunk_above_64_kib_is_cut(role: Role) -> None:
    web = Web(role)
    for buffer in (MIXED[:150_000], bytearray(MIXED[:150_000]), memoryview(bytearray(MIXED[:150_000]))):
        web.peer.data.clear()
        with web.clock():
            web.above.write(buffer)  # and overwrites it
        messages = [event[1] for event in web.received]
        assert [len(message) for message in messages] == [65536, 65536, 150_000 - 2 * 65536]
        assert b"".join(messages) == MIXED[:150_000]


@given(st.lists(st.binary(max_size=300), max_size=10), cuts, st.sampled_from([Role.SERVER, Role.CLIENT]))
@settings(max_examples=60, deadline=None)
def test_messages_in_any_cuts(messages: list[bytes], places: list[int], role: Role) -> None:
    web = Web(role)
    stream = b"".join(frame(BINARY, message, key=CLIENT_KEY[role]) for message in messages)
    stream += frame(CLOSE, b"", key=CLIENT_KEY[role])
    for piece in cut(stream, places):
        web.raw(bytes(piece))
    assert web.above.data == b"".join(messages)
    assert web.above.events == ["made", "eof"]


# --- the table


@pytest.mark.parametrize(
    ("role", "code"),
    [(role, code) for role in (Role.SERVER, Role.CLIENT) for code in (None, 1000)] + [(Role.SERVER, 1001)],
)
def test_a_close_in_order_is_an_end_of_input(role: Role, code: int | None) -> None:
    web = Web(role)
    web.send(BINARY, b"last")
    web.close(code)
    assert web.above.data == b"last"
    assert web.above.events == ["made", "eof"]
    # Ours goes on, and the peer's Close is not answered before it ends.
    web.call("write", b"still")
    assert web.received == [("data", b"still", True)]
    web.call("write_eof")
    assert web.received == [("data", b"still", True), ("close", 1000, "")]


@pytest.mark.parametrize(
    ("role", "code"),
    [(role, code) for role in (Role.SERVER, Role.CLIENT) for code in (1002, 1009, 1011, 1012, 3000, 4999)]
    + [(Role.CLIENT, 1001)],
)
def test_any_other_close_is_a_reset(role: Role, code: int) -> None:
    web = Web(role)
    web.send(BINARY, b"last")
    web.close(code, "why")
    assert web.above.events == ["made", "lost"]
    assert web.above.reset
    assert str(web.above.error) == f"the WebSocket peer closed with {code} (why)"
    assert web.received == [("close", code, "")]
    assert web.wire.left.over


@ROLES
def test_any_other_close_behind_our_own_is_a_reset(role: Role) -> None:
    web = Web(role)
    web.call("write_eof")
    web.close(1011)
    assert web.above.reset
    assert web.received == [("close", 1000, "")]


@ROLES
def test_an_end_without_close_is_a_reset(role: Role) -> None:
    web = Web(role)
    web.send(BINARY, b"last")
    web.wire.right.write_eof()
    web.settle()
    assert web.above.reset
    assert str(web.above.error) == "the WebSocket connection ended without Close"
    assert web.wire.left.over


@ROLES
def test_a_loss_without_close_is_a_reset(role: Role) -> None:
    web = Web(role)
    web.wire.left.lose()
    web.settle()
    assert web.above.reset
    assert str(web.above.error) == "the connection was lost: Connection reset by peer"


@ROLES
def test_a_loss_in_order_without_close_is_a_reset(role: Role) -> None:
    web = Web(role)
    with web.clock():
        web.transport.connection_lost(None)
    assert web.above.reset
    assert str(web.above.error) == "the WebSocket connection ended without Close"


@ROLES
@pytest.mark.parametrize("peer_first", [True, False])
def test_both_directions_end_in_order(role: Role, peer_first: bool) -> None:
    web = Web(role)
    if peer_first:
        web.close(1000)
        web.call("write_eof")
    else:
        web.call("write_eof")
        assert "lost" not in web.above.events
        web.send(BINARY, b"what the peer had still to say")
        web.close(1000)
        assert web.above.data == b"what the peer had still to say"
    assert web.above.events[:2] == ["made", "eof"]
    web.settle()
    if role is Role.CLIENT:  # the server closes first (RFC 6455 7.1.1)
        assert not web.wire.left.over
        web.wire.right.close()
        web.settle()
    else:
        assert web.peer.events[:2] == ["made", "eof"]
        web.wire.right.close()
        web.settle()
    assert web.above.in_order, web.above.error
    assert web.above.events == ["made", "eof", "lost"]


def test_a_client_does_not_wait_long_for_a_server_to_close() -> None:
    web = Web(Role.CLIENT)
    web.close(1000)
    web.call("write_eof")
    web.settle()
    web.advance(1.9)
    web.settle()
    assert "eof" not in web.peer.events
    web.advance(0.2)
    web.settle()
    assert "eof" in web.peer.events
    assert web.above.in_order


@ROLES
def test_an_end_of_the_connection_behind_the_peers_close_leaves_our_direction(role: Role) -> None:
    web = Web(role)
    web.close()
    web.wire.right.write_eof()
    web.settle()
    assert not web.above.lost
    web.call("write", b"still")
    web.call("write_eof")
    web.settle()
    assert web.received[-2:] == [("data", b"still", True), ("close", 1000, "")]
    assert web.above.in_order


@ROLES
@pytest.mark.parametrize(
    ("peer_first", "error", "in_order"),
    [
        (True, None, True),
        (True, StreamReset("reset"), False),  # what we sent behind the peer's Close may never have come
        (True, StreamCut("cut"), True),  # TLS without close_notify: the Close frames said it
        (False, None, True),
        (False, StreamReset("reset"), True),  # the peer's Close answered ours, so it had everything
        (False, StreamCut("cut"), True),
    ],
)
def test_how_a_connection_is_lost_behind_both_closes(
    role: Role, peer_first: bool, error: Exception | None, in_order: bool
) -> None:
    web = Web(role)
    steps: list[Callable[[], None]] = [lambda: web.close(1000), lambda: web.call("write_eof")]
    for step in steps if peer_first else reversed(steps):
        step()
    with web.clock():
        web.transport.connection_lost(error)
    assert web.above.lost
    assert web.above.error is (None if in_order else error)


@ROLES
def test_a_loss_between_the_closes_is_a_reset(role: Role) -> None:
    for ours in (True, False):
        web = Web(role)
        web.call("write_eof") if ours else web.close(1000)
        web.wire.left.lose()
        web.settle()
        assert web.above.reset


# --- the close timeout


@ROLES
@pytest.mark.parametrize("ours", [True, False])
def test_a_half_closed_websocket_that_is_idle_is_reset(role: Role, ours: bool) -> None:
    web = Web(role)
    web.call("write_eof") if ours else web.close(1000)
    web.advance(SECONDS - 1)
    assert not web.above.lost
    web.advance(2)
    web.settle()
    assert web.above.reset
    assert web.wire.left.over or web.received[-1][1] == 1011


@ROLES
@pytest.mark.parametrize("ours", [True, False])
def test_a_half_closed_websocket_lives_as_long_as_something_moves(role: Role, ours: bool) -> None:
    web = Web(role)
    web.call("write_eof") if ours else web.close(1000)
    for _ in range(10):
        web.advance(SECONDS - 1)
        web.send(BINARY, b"x") if ours else web.call("write", b"x")
        web.settle()
    assert not web.above.lost
    web.close(1000) if ours else web.call("write_eof")
    web.settle()
    web.wire.right.close()
    web.settle()
    assert web.above.in_order
    web.advance(10 * SECONDS)
    assert web.above.events.count("lost") == 1


@ROLES
def test_what_is_unsent_keeps_a_half_closed_websocket_only_while_it_moves(role: Role) -> None:
    web = Web(role)
    web.peer.pause()
    web.call("write", MIXED[:100_000])
    web.call("write_eof")
    web.peer.paused = False
    web.wire.right.resume_reading()
    for _ in range(5):
        web.advance(SECONDS - 1)
        with web.clock():
            web.wire.left.deliver(1000)
    web.advance(SECONDS)
    assert not web.above.lost
    web.advance(2 * SECONDS)
    web.settle()
    assert web.above.reset


@ROLES
def test_a_second_end_changes_nothing(role: Role) -> None:
    web = Web(role)
    web.call("write_eof")
    web.call("write_eof")
    web.call("close")
    web.call("close")
    web.call("write_eof")
    assert web.received == [("close", 1000, "")]


# --- close


@ROLES
def test_after_close_nothing_is_delivered_and_the_peers_close_is_awaited(role: Role) -> None:
    web = Web(role)
    with web.clock():
        web.above.pause()
    web.call("close")
    web.call("pause_reading")  # as a relay may do whose other side is full
    web.send(BINARY, b"too late")
    web.close(1000)
    web.wire.right.close()
    web.settle()
    assert web.above.events == ["made", "lost"]
    assert web.above.in_order
    assert not web.above.data


# --- reset


@ROLES
def test_abort_tells_the_peer_with_1011(role: Role) -> None:
    web = Web(role)
    web.call("write", b"complete")
    web.settle()
    web.call("abort")
    assert not web.above.lost
    web.settle()
    assert web.above.reset
    assert web.received == [
        ("data", b"complete", True),
        ("close", 1011, "the connection behind the gateway was reset"),
    ]
    assert "eof" in web.peer.events


@ROLES
def test_who_may_not_go_on_is_told_with_1008(role: Role) -> None:
    web = Web(role)
    web.call("write", b"complete")
    assert not web.transport.over
    with web.clock():
        web.transport.dismiss("the login has ended")
    assert web.above.reset
    assert web.transport.over
    assert web.received == [("data", b"complete", True), ("close", 1008, "the login has ended")]
    with web.clock():
        web.transport.dismiss("again")
    web.advance(10.0)
    web.settle()
    assert web.above.events.count("lost") <= 1


def test_who_may_not_go_on_and_does_not_read_is_dropped_soon() -> None:
    web = Web(Role.SERVER)
    web.call("write", MIXED * 100)
    with web.clock():
        web.transport.dismiss("the login has ended")
    assert web.above.reset
    assert not web.wire.left.over
    web.advance(10.0)
    assert web.wire.left.over


def test_who_has_closed_already_is_dropped_at_once() -> None:
    web = Web(Role.SERVER)
    web.call("write_eof")
    web.settle()
    with web.clock():
        web.transport.dismiss("the login has ended")
    web.settle()
    assert web.above.reset
    assert web.received == [("close", 1000, "")]


@ROLES
def test_abort_says_1011_only_between_frames(role: Role) -> None:
    web = Web(role)
    web.call("write", MIXED[:1000])
    with web.clock():
        web.wire.left.deliver(500)
    web.call("abort")
    web.settle()
    assert web.above.reset
    assert len(web.peer.data) == 500
    assert isinstance(web.peer.error, StreamReset)


@ROLES
def test_abort_behind_our_close_is_a_plain_reset(role: Role) -> None:
    web = Web(role)
    web.call("write_eof")
    web.settle()
    web.call("abort")
    web.settle()
    assert web.received == [("close", 1000, "")]
    assert isinstance(web.peer.error, StreamReset)


@ROLES
def test_nothing_is_delivered_after_abort_inside_a_read(role: Role) -> None:
    class Aborts(Recorder):
        def data_received(self, data: memoryview) -> None:
            super().data_received(data)
            self.call("abort")

    web = Web(role)
    web.above.__class__ = Aborts
    web.raw(frame(BINARY, b"one", key=CLIENT_KEY[role]) + frame(BINARY, b"two", key=CLIENT_KEY[role]))
    web.settle()
    assert web.above.data == b"one"
    assert web.above.reset


# --- peers that break the protocol


@pytest.mark.parametrize(
    ("role", "wrong", "code"),
    [
        (Role.SERVER, frame(BINARY, b"unmasked"), 1002),
        (Role.CLIENT, frame(BINARY, b"masked", key=KEY), 1002),
        (Role.SERVER, b"\xf2\x80\0\0\0\0", 1002),
        (Role.CLIENT, b"\x83\x00", 1002),
        (Role.CLIENT, frame(0, b"stray"), 1002),
        (Role.CLIENT, frame(CLOSE, b"\x03"), 1002),
        (Role.CLIENT, frame(CLOSE, b"\x03\xed"), 1002),
        (Role.CLIENT, frame(TEXT, b"\xff"), 1007),
        (Role.CLIENT, b"\x82\x7e\x04\x00", 1009),
        (Role.SERVER, b"\x82\xff\x00\x00\x00\x01\x00\x00\x00\x00\0\0\0\0", 1009),
    ],
)
def test_a_broken_protocol_is_told_and_is_a_reset(role: Role, wrong: bytes, code: int) -> None:
    web = Web(role, maximum=1000)
    web.send(BINARY, b"good")
    web.raw(wrong + frame(BINARY, b"more", key=CLIENT_KEY[role]))
    assert web.above.data == b"good"
    assert web.above.reset
    assert str(web.above.error).startswith("the WebSocket peer broke the protocol: ")
    assert [event[:2] for event in web.received] == [("close", code)]
    assert "eof" in web.peer.events


@ROLES
def test_a_broken_protocol_behind_our_close_is_a_reset(role: Role) -> None:
    web = Web(role)
    web.call("write_eof")
    web.raw(b"\xff\xff\xff\xff")
    assert web.above.reset
    assert web.received == [("close", 1000, "")]


# --- pings


@ROLES
def test_a_flood_of_pings_is_not_queued_for_a_peer_that_does_not_read(role: Role) -> None:
    web = Web(role)
    web.peer.pause()
    with web.clock():
        web.above.below.set_write_limit(1000)
        web.above.write(MIXED[:2000])
    assert web.above.write_paused
    full = web.transport.unsent()
    for number in range(10_000):
        web.send(PING, f"{number}".encode())
    assert web.transport.unsent() == full
    web.peer.paused = False
    web.wire.right.resume_reading()
    assert web.received == [("data", MIXED[:2000], True), ("pong", b"9999")]


@ROLES
def test_pings_are_answered_while_half_closed_by_the_peer_only_until_its_close(role: Role) -> None:
    web = Web(role)
    web.send(PING, b"1")
    web.call("write_eof")
    web.send(PING, b"2")
    assert web.received == [("pong", b"1"), ("close", 1000, "")]
    web.send(PONG, b"unasked")
    assert not web.above.data


# --- what is passed through


@ROLES
def test_what_is_below_does_the_rest(role: Role) -> None:
    web = Web(role)
    assert web.transport.info("peername") == ("192.0.2.7", 50000)
    web.above.pause_each_time = False
    with web.clock():
        web.above.pause()
    web.send(BINARY, b"held back")
    assert not web.above.data
    with web.clock():
        web.above.resume()
    web.settle()
    assert web.above.data == b"held back"


# --- the client's handshake


class Opening:
    """A client's handshake; the server's side is written by hand."""

    def __init__(self, url: str = "ws://gw.example.com:8000/path?q=1") -> None:
        self.wire = Wire()
        self.server = Raw()
        self.above = Recorder()
        self.failures: list[ConnectError] = []
        self.opened = 0
        self.opening = WebSocketOpening(parse(url), self._open, self.failures.append)
        self.wire.right.start(self.server)
        with OnClock(self.wire):
            self.wire.left.start(self.opening)
        self.settle()

    def _open(self, below: Transport, subprotocol: str | None, rest: bytearray) -> None:
        self.opened += 1
        assert subprotocol is None
        start_plain(below, ConnectOptions(), self.above, rest, IdleLimit("gw", 0.0))

    def settle(self) -> None:
        with OnClock(self.wire):
            self.wire.settle()

    @property
    def key(self) -> str:
        match = re.search(rb"Sec-WebSocket-Key: (\S+)", self.server.data)
        assert match is not None
        return match[1].decode()

    def right(self, **changes: str) -> bytes:
        fields = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Accept": accept_value(self.key),
        }
        fields |= {name.replace("_", "-"): value for name, value in changes.items()}
        lines = [f"{name}: {value}" for name, value in fields.items() if value]
        return ("HTTP/1.1 101 Switching Protocols\r\n" + "\r\n".join(lines) + "\r\n\r\n").encode()

    def answer(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.wire.right.write(piece)
            self.settle()


def test_the_request() -> None:
    opening = Opening()
    lines = bytes(opening.server.data).decode().split("\r\n")
    assert lines[0] == "GET /path?q=1 HTTP/1.1"
    assert "Host: gw.example.com:8000" in lines
    assert bytes(opening.server.data).endswith(b"\r\n\r\n")


def test_the_right_answer_opens() -> None:
    opening = Opening()
    assert opening.opening.asked
    opening.answer(opening.right())
    assert opening.above.events == ["made"]
    assert not opening.failures
    opening.opening.cancel()  # too late
    opening.settle()
    assert opening.above.events == ["made"]
    opening.answer(frame(BINARY, b"data"))
    assert opening.above.data == b"data"


@given(cuts, st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_the_answer_in_any_cuts_with_data_behind_it(places: list[int], interims: int) -> None:
    opening = Opening()
    stream = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * interims + opening.right()
    stream += frame(BINARY, b"right behind") + frame(CLOSE)
    opening.answer(*(bytes(piece) for piece in cut(stream, places)))
    assert not opening.failures
    assert opening.opened == 1
    assert opening.above.data == b"right behind"
    assert opening.above.events == ["made", "eof"]


@pytest.mark.parametrize(
    ("answer", "reason", "status"),
    [
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "answered 404 Not Found", 502),
        (b"HTTP/1.1 401\r\n\r\n", "answered 401 Unauthorized", 502),
        (b"HTTP/1.1 504 Gateway Timeout\r\n\r\n", "answered 504 Gateway Timeout", 504),
        (
            b"HTTP/1.1 302 Found\r\nLocation: https://login.example.com/\r\n\r\n",
            "answered 302 Found, a redirect to https://login.example.com/, which is not followed",
            502,
        ),
        (b"HTTP/1.1 200 OK\r\n\r\n<html>", "answered 200 OK", 502),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "the status line of the answer is malformed", 502),
        (b"HTTP/2.0 101 x\r\n\r\n", "HTTP/2.0 is not spoken here, only HTTP/1.1", 502),
    ],
)
def test_refusals(answer: bytes, reason: str, status: int) -> None:
    opening = Opening()
    opening.answer(answer)
    (error,) = opening.failures
    assert str(error) == f"Unable to connect to ws://gw.example.com:8000/path?...: {reason}"
    assert error.status == status
    assert error.__cause__ is not None
    assert not opening.opened
    assert opening.wire.left.over
    opening.answer(b"more")
    assert len(opening.failures) == 1


WRONG = "the WebSocket handshake was answered wrongly: "


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"Upgrade": ""}, WRONG + "Upgrade is not websocket"),
        ({"Connection": "close"}, WRONG + "Connection does not name Upgrade"),
        (
            {"Sec_WebSocket_Accept": "x"},
            WRONG + "Sec-WebSocket-Accept does not fit the key; is there a cache on the way?",
        ),
        ({"Sec_WebSocket_Extensions": "x"}, WRONG + "it chose an extension that was not offered"),
        ({"Sec_WebSocket_Protocol": "x"}, WRONG + "it chose a subprotocol that was not offered"),
    ],
)
def test_wrong_answers(changes: dict[str, str], reason: str) -> None:
    opening = Opening()
    opening.answer(opening.right(**changes))
    (error,) = opening.failures
    assert str(error).endswith(f": {reason}")
    assert error.status == 502
    assert not opening.opened


def test_an_answer_that_is_too_long() -> None:
    opening = Opening()
    opening.answer(b"HTTP/1.1 200 OK\r\n", b"X: " + b"y" * 20_000)
    (error,) = opening.failures
    assert "the head is larger than 16384 bytes" in str(error)
    assert error.status == 502


@pytest.mark.parametrize("part", [b"", b"HTTP/1.1 101 Swit"])
def test_a_server_that_ends_without_an_answer(part: bytes) -> None:
    opening = Opening()
    opening.wire.right.write(part)
    opening.wire.right.write_eof()
    opening.settle()
    (error,) = opening.failures
    assert str(error).endswith(": it ended the connection without an answer to the WebSocket handshake")
    assert error.status == 502
    assert opening.wire.left.over


def test_a_server_that_drops_the_connection_without_an_answer() -> None:
    opening = Opening()
    opening.wire.left.lose()
    opening.settle()
    (error,) = opening.failures
    assert str(error).endswith(": it dropped the connection without an answer to the WebSocket handshake")
    assert isinstance(error.__cause__, StreamReset)


def test_cancel_while_waiting_for_the_answer() -> None:
    opening = Opening()
    opening.opening.cancel()
    opening.opening.cancel()
    opening.settle()
    assert opening.wire.left.over
    assert isinstance(opening.server.error, StreamReset)
    assert not opening.failures
    assert not opening.opened


def test_cancel_before_the_connection_stands() -> None:
    opening = Opening.__new__(Opening)
    opening.failures = []
    cancelled = WebSocketOpening(parse("ws://gw.example.com/"), lambda *_: None, opening.failures.append)
    assert not cancelled.asked
    cancelled.cancel()
    wire = Wire()
    wire.right.start(Raw())
    wire.left.start(cancelled)
    wire.settle()
    assert wire.left.over
    assert not opening.failures


# --- inactivity


def kinds(web: Web) -> list[str]:
    """Return what kinds of frames the peer received."""
    web.settle()
    frames = Frames()
    reader = FrameReader(OTHER[web.role], frames, frames, maximum_message_size=1 << 30)
    reader.receive(bytearray(web.peer.data))
    return [event[0] for event in frames.events]


@ROLES
def test_a_silent_peer_is_pinged_and_then_reset(role: Role) -> None:
    web = Web(role, inactivity=8.0)
    times: dict[str, float] = {}
    for _ in range(12):
        web.advance(1.0)
        for kind in kinds(web):
            times.setdefault(kind, web.wire.clock.now)
    assert 4.0 <= times["ping"] <= 6.0
    assert 8.0 <= times["close"] <= 10.0
    assert kinds(web) == ["ping", "close"]
    assert isinstance(web.above.error, StreamReset)
    assert "silent for 8 s" in str(web.above.error)


@ROLES
@pytest.mark.parametrize("sign", [(BINARY, b"data"), (PONG, b""), (PING, b"")])
def test_any_frame_is_a_sign_of_life(role: Role, sign: tuple[int, bytes]) -> None:
    web = Web(role, inactivity=8.0)
    for _ in range(30):
        web.advance(3.0)
        web.send(*sign)
    assert web.above.events == ["made"]
    assert "ping" not in kinds(web)


@ROLES
def test_a_peer_that_answers_pings_stays(role: Role) -> None:
    web = Web(role, inactivity=8.0)
    for _ in range(50):
        before = kinds(web).count("ping")
        web.advance(1.0)
        if kinds(web).count("ping") > before:
            web.send(PONG)
    assert web.above.events == ["made"]
    assert kinds(web).count("ping") >= 6


@ROLES
def test_what_we_do_not_read_is_not_silent(role: Role) -> None:
    web = Web(role, inactivity=8.0)
    web.call("pause_reading")
    for _ in range(20):
        web.advance(2.0)
    assert web.above.events == ["made"]
    web.call("resume_reading")
    for _ in range(6):
        web.advance(2.0)
    assert web.above.events == ["made", "lost"]


@ROLES
def test_a_silent_peer_that_takes_nothing_is_reset_without_farewell(role: Role) -> None:
    web = Web(role, inactivity=8.0)
    web.wire.right.pause_reading()
    web.call("write", b"never taken")
    for _ in range(12):
        web.advance(1.0)
    assert isinstance(web.above.error, StreamReset)
    assert web.wire.left.over


@ROLES
def test_after_one_direction_has_ended_progress_is_watched_instead(role: Role) -> None:
    web = Web(role, inactivity=8.0, seconds=100.0)
    web.call("write_eof")
    for _ in range(20):
        web.advance(2.0)
    assert web.above.events == ["made"]
    assert "ping" not in kinds(web)


def test_without_a_timeout_there_is_no_timer() -> None:
    web = Web(Role.SERVER)
    assert not web.wire.clock._later


@ROLES
def test_a_message_costs_no_timer(role: Role) -> None:
    web = Web(role, inactivity=8.0)
    for _ in range(100):
        web.send(BINARY, b"data")
    assert len(web.wire.clock._later) == 1
