"""connection.py: states, half-close, messages and pings, as a dialogue without sockets."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.websocket.recorder import KEY, Recorder, cut, cuts, feed, frame
from websockets.client import ClientProtocol
from websockets.frames import Frame
from websockets.frames import Opcode as PeerOpcode
from websockets.protocol import OPEN
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from isthmus.websocket.connection import TRANSITIONS, UNMASKED, Connection, Event, MaskKeys, State
from isthmus.websocket.frames import CloseCode, LocalError, ProtocolError, Role
from isthmus.websocket.mask import Buffer

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def joined(buffers: Iterable[Buffer]) -> bytes:
    return b"".join(bytes(buffer) for buffer in buffers)


def pair(**settings: int) -> tuple[Connection, Recorder, Connection, Recorder]:
    client_side, server_side = Recorder(), Recorder()
    client = Connection(Role.CLIENT, client_side, **settings)
    server = Connection(Role.SERVER, server_side, **settings)
    return client, client_side, server, server_side


# --- states -----------------------------------------------------------------------------------------------

SEND_CLOSE: Callable[[Connection], Any] = lambda connection: connection.send_close(1000)  # noqa: E731
RECEIVE_CLOSE: Callable[[Connection], Any] = lambda connection: connection.receive(frame(CLOSE))  # noqa: E731
FAIL: Callable[[Connection], Any] = lambda connection: connection.fail(ProtocolError(1002, "why"))  # noqa: E731
LOSE: Callable[[Connection], Any] = lambda connection: connection.transport_lost()  # noqa: E731

PATHS: dict[State, list[Callable[[Connection], Any]]] = {
    State.OPEN: [],
    State.CLOSE_SENT: [SEND_CLOSE],
    State.CLOSE_RECEIVED: [RECEIVE_CLOSE],
    State.CLOSED: [RECEIVE_CLOSE, SEND_CLOSE],
    State.FAILED: [FAIL],
    State.LOST: [LOSE],
}
CALLS: dict[Event, list[Callable[[Connection], Any]]] = {
    Event.SEND: [
        lambda connection: connection.send_data(b"x"),
        lambda connection: connection.send_message([b"x"]),
        lambda connection: connection.send_gathered(bytearray(b"x"), 1),
        lambda connection: connection.send_text("x"),
        lambda connection: connection.send_ping(),
    ],
    Event.SEND_CLOSE: [SEND_CLOSE],
    Event.FAIL: [FAIL],
    Event.LOSE: [LOSE],
}


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("event", list(CALLS))
def test_every_call_in_every_state_follows_the_table(state: State, event: Event) -> None:
    for call in CALLS[event]:
        connection = Connection(Role.CLIENT, Recorder())
        for step in PATHS[state]:
            step(connection)
        assert connection.state is state
        expected = TRANSITIONS[state].get(event)
        if expected is None:
            with pytest.raises(LocalError, match=f"cannot {event.value} a WebSocket that is {state.value}"):
                call(connection)
            expected = state
        else:
            call(connection)
        assert connection.state is expected
        assert connection.may_send == (Event.SEND in TRANSITIONS[expected])


def test_close_in_the_other_order_is_closed_too() -> None:
    connection = Connection(Role.CLIENT, Recorder())
    SEND_CLOSE(connection)
    RECEIVE_CLOSE(connection)
    assert connection.state is State.CLOSED


@pytest.mark.parametrize(
    ("state", "clean"), [(s, s in (State.CLOSE_RECEIVED, State.CLOSED)) for s in State if s is not State.LOST]
)
def test_a_loss_is_clean_only_after_the_peers_close(state: State, clean: bool) -> None:
    connection = Connection(Role.CLIENT, Recorder())
    for step in PATHS[state]:
        step(connection)
    assert connection.transport_lost() is clean
    connection.receive(frame(BINARY, b"late"))  # discarded


# --- half-close -------------------------------------------------------------------------------------------


def test_data_goes_on_after_the_peers_close() -> None:
    client, client_side, server, server_side = pair()
    client.receive(server.send_close(CloseCode.NORMAL, "no more"))
    assert client_side.events == [("close", 1000, "no more")]
    assert client_side.written == b"", "Close is not answered before our own data has ended"

    server.receive(bytearray(joined(client.send_data(b"still"))))
    assert server_side.events == [("data", b"still", True)]

    server.receive(bytearray(client.send_close(CloseCode.NORMAL)))
    assert server_side.events[1:] == [("close", 1000, "")]
    assert client.state is server.state is State.CLOSED


def test_data_after_the_peers_close_is_discarded() -> None:
    client, client_side, *_ = pair()
    client.receive(frame(CLOSE) + frame(BINARY, b"late") + b"\xff")
    client.receive(frame(PING))
    assert client_side.events == [("close", None, "")]
    assert client_side.written == b""


def test_nothing_is_sent_after_our_close_not_even_a_pong() -> None:
    client, client_side, *_ = pair()
    client.send_close(1000)
    client.receive(frame(PING, b"?") + frame(BINARY, b"still"))
    assert client_side.written == b""
    assert client_side.events == [("data", b"still", True)]


# --- failing ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("wire", "code"), [(b"\xff\xff", 1002), (frame(TEXT, b"\xff"), 1007)])
def test_a_failure_is_told_once(wire: bytes, code: int) -> None:
    client, client_side, server, server_side = pair()
    with pytest.raises(ProtocolError) as caught:
        client.receive(wire)
    server.receive(bytearray(client.fail(caught.value)))
    assert server_side.events == [("close", code, str(caught.value))]
    assert client.fail(caught.value) == b""
    client.receive(frame(BINARY, b"late"))
    assert client_side.events == []


def test_an_oversized_message_is_not_delivered() -> None:
    client, client_side, *_ = pair(maximum_message_size=10)
    with pytest.raises(ProtocolError) as caught:
        client.receive(frame(BINARY, bytes(11)) + frame(BINARY, b"next"))
    assert caught.value.code == 1009
    assert client_side.events == []


def test_a_failure_after_our_close_says_nothing() -> None:
    client, *_ = pair()
    client.send_close(1000)
    assert client.fail(ProtocolError(1002, "why")) == b""


def test_a_long_reason_is_cut_between_characters() -> None:
    client, _, server, server_side = pair()
    server.receive(bytearray(client.fail(ProtocolError(1002, "é" * 100))))
    assert server_side.events == [("close", 1002, "é" * 61)]


# --- pings ------------------------------------------------------------------------------------------------


def test_pings_are_answered_and_pongs_passed_on() -> None:
    client, client_side, server, server_side = pair()
    server.receive(bytearray(client.send_ping(b"one") + client.send_ping(b"two")))
    client.receive(bytes(server_side.written))
    assert client_side.events == [("pong", b"one"), ("pong", b"two")]


def test_only_the_latest_pong_is_kept_while_paused() -> None:
    """RFC 6455 5.5.3."""
    _, _, server, server_side = pair()
    server.pause_control()
    for number in range(10_000):
        server.receive(bytearray(frame(PING, str(number).encode(), key=KEY)))
    assert server_side.written == b""
    server.resume_control()
    assert server_side.written == frame(PONG, b"9999")
    server.resume_control()
    assert len(server_side.written) == len(frame(PONG, b"9999")), "a pong is owed once"


def test_a_pause_inside_a_call_holds_at_once() -> None:
    class Full(Recorder):
        def control(self, buffer: bytes) -> None:
            super().control(buffer)
            server.pause_control()

    full = Full()
    server = Connection(Role.SERVER, full)
    server.receive(bytearray(frame(PING, b"x", key=KEY) * 1000))
    assert full.written == frame(PONG, b"x")


def test_a_pong_owed_is_forgotten_with_our_close() -> None:
    _, _, server, server_side = pair()
    server.pause_control()
    server.receive(bytearray(frame(PING, b"x", key=KEY)))
    server.send_close(1000)
    server.resume_control()
    assert server_side.written == b""


def test_a_ping_of_126_bytes_is_refused() -> None:
    client, *_ = pair()
    with pytest.raises(LocalError, match="125"):
        client.send_ping(bytes(126))


# --- sending ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 125, 126, 16383, 16384, 65535, 65536, 65537, 200_000])
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("role", list(Role))
def test_data_arrives_as_it_was(size: int, kind: Any, role: Role) -> None:
    client, client_side, server, server_side = pair()
    sender, receiver, arrived = (
        (client, server, server_side) if role is Role.CLIENT else (server, client, client_side)
    )
    data = os.urandom(size)
    given_data = kind(data)
    buffers = sender.send_data(given_data)
    receiver.receive(bytearray(joined(buffers)))
    assert b"".join(event[1] for event in arrived.events) == data
    assert all(event[0] == "data" and event[2] for event in arrived.events)
    assert len(arrived.events) == max(1, -(-size // 65536)), "split into messages of at most 64 KiB"
    assert bytes(given_data) == data, "nothing but a writable view is given away"
    if size < 16384:
        assert len(buffers) == 1, "small messages are one write"


@pytest.mark.parametrize("size", [1, 16384, 200_000])
def test_a_writable_view_is_given_away_to_the_mask(size: int) -> None:
    client, _, server, server_side = pair()
    data = os.urandom(size)
    slab = bytearray(data)
    buffers = client.send_data(memoryview(slab))
    if size >= 16384:
        assert all(isinstance(buffer, memoryview) and buffer.obj is slab for buffer in buffers[1::2]), (
            "no copy"
        )
    server.receive(bytearray(joined(buffers)))
    assert b"".join(event[1] for event in server_side.events) == data


def test_a_server_does_not_copy_or_change_a_large_chunk() -> None:
    _, _, server, _ = pair()
    slab = bytearray(os.urandom(65536))
    before = bytes(slab)
    buffers = server.send_data(memoryview(slab))
    assert isinstance(buffers[1], memoryview)
    assert buffers[1].obj is slab
    assert slab == before


MESSAGES: list[list[bytes]] = [
    [b""],
    [b"one"],
    [b"one", b"", b"two", b"three"],
    [b"x" * 20_000, b"y"],
    [b"y", b"x" * 70_000],
    [b"z"] * 300,
]


@pytest.mark.parametrize("parts", MESSAGES, ids=lambda parts: f"{len(parts)}-{sum(map(len, parts))}")
@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("key", [None, b"\1\2\3\4", UNMASKED])
def test_parts_arrive_as_one_message_in_one_frame(parts: list[bytes], role: Role, key: bytes | None) -> None:
    client, client_side, server, server_side = pair(maximum_message_size=1 << 20)
    sender, receiver, arrived = (
        (client, server, server_side) if role is Role.CLIENT else (server, client, client_side)
    )
    mixed: list[Buffer] = [(bytes, bytearray, memoryview)[n % 3](part) for n, part in enumerate(parts)]
    wire = bytearray(joined(sender.send_message(mixed, key)))
    assert [bytes(part) for part in mixed] == parts, "nothing is given away"
    size = sum(map(len, parts))
    start = 2 + (0 if size < 126 else 2 if size < 65_536 else 8) + (4 if role is Role.CLIENT else 0)
    assert len(wire) == start + size
    if role is Role.CLIENT:
        sent = bytes(wire[start - 4 : start])
        assert wire[1] & 0x80
        assert key in (None, sent)
        assert (b"".join(parts) == wire[start:]) == (key == UNMASKED or size == 0)
    receiver.receive(wire)
    assert b"".join(event[1] for event in arrived.events) == b"".join(parts)
    assert [event[2] for event in arrived.events][-1:] == [True]
    assert len(arrived.events) == 1


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("key", [None, b"abcd", UNMASKED])
@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
def test_what_is_gathered_is_the_message_of_its_parts(role: Role, key: bytes | None, size: int) -> None:
    sender = Connection(role, Recorder())
    buffer = bytearray(os.urandom(size + 10))
    before = bytes(buffer)
    frame = sender.send_gathered(buffer, size, key)
    assert buffer == before
    if role is Role.CLIENT and key is None:
        start = len(frame) - size
        key = frame[start - 4 : start]
    assert frame == bytes(joined(sender.send_message([before[:size]], key)))


def test_a_message_of_parts_has_a_fresh_key_each_time() -> None:
    client, *_ = pair()
    keys = {bytes(joined(client.send_message([b"x"]))[2:6]) for _ in range(2000)}
    assert len(keys) > 1990


def test_large_parts_are_not_copied_where_nothing_is_masked() -> None:
    client, _, server, _ = pair()
    large = bytes(20_000)
    assert server.send_message([large, large])[1:] == [large, large]
    assert all(part is large for part in server.send_message([large, large])[1:])
    assert all(part is large for part in client.send_message([large, large], UNMASKED)[1:])
    assert len(server.send_message([b"small", large])) == 2, "a small first part joins the header"
    assert len(client.send_message([b"small", large])) == 1, "a masked copy is one buffer"


def test_no_message_after_our_close() -> None:
    client, _, server, _ = pair()
    for each in (client, server):
        each.send_close(1000)
        with pytest.raises(LocalError):
            each.send_message([b"late"])


def test_every_frame_of_a_client_has_a_fresh_key() -> None:
    """RFC 6455 5.3."""
    client, *_ = pair()
    keys = {bytes(joined(client.send_data(b""))[2:6]) for _ in range(2000)}
    assert len(keys) > 1990


def test_a_forked_process_draws_its_own_keys() -> None:
    keys = MaskKeys()
    first = keys.take()
    keys.discard()
    assert keys.take() != first
    reading, writing = os.pipe()
    client, *_ = pair()
    client.send_data(b"")  # there are keys in stock
    child = os.fork()
    if child == 0:
        os.write(writing, joined(client.send_data(b""))[2:6])
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 4) != joined(client.send_data(b""))[2:6]
    os.close(reading)
    os.close(writing)


def test_text_keeps_its_kind() -> None:
    client, _, server, server_side = pair()
    server.receive(bytearray(joined(client.send_text("grüße"))))
    assert server_side.events == [("data", "grüße".encode(), True)]
    assert server.text
    server.receive(bytearray(joined(client.send_data(b"\xff"))))
    assert not server.text


@pytest.mark.parametrize("settings", [{"maximum_message_size": 0}, {"maximum_frame_size": 0}])
def test_sizes_must_be_positive(settings: dict[str, int]) -> None:
    with pytest.raises(LocalError, match="at least 1"):
        Connection(Role.CLIENT, Recorder(), **settings)


# --- any order, any cuts ----------------------------------------------------------------------------------

actions = st.lists(
    st.one_of(
        st.tuples(st.just("data"), st.binary(max_size=300)),
        st.tuples(st.just("text"), st.text(max_size=30).map(lambda t: t.encode("utf-8", "ignore"))),
        st.tuples(st.just("ping"), st.binary(max_size=125)),
    ),
    max_size=12,
)


@given(sent=actions, places=cuts, limit=st.sampled_from([1, 7, 100, 65536]), role=st.sampled_from(list(Role)))
def test_round_trip_in_any_cuts(
    sent: list[tuple[str, bytes]], places: list[int], limit: int, role: Role
) -> None:
    client, client_side, server, server_side = pair(maximum_frame_size=limit)
    sender, heard, receiver, arrived = (client, client_side, server, server_side)
    if role is Role.SERVER:
        sender, heard, receiver, arrived = (server, server_side, client, client_side)
    wire = bytearray()
    messages: list[bytes] = []
    for kind, payload in sent:
        if kind == "data":
            wire += joined(sender.send_data(payload))
            messages += [payload[i : i + limit] for i in range(0, len(payload), limit)] or [b""]
        elif kind == "text":
            wire += joined(sender.send_text(payload.decode()))
            messages.append(payload)
        else:
            wire += sender.send_ping(payload)
    wire += sender.send_close(1000, "end")
    assert feed(receiver, cut(bytes(wire), places)) is None
    assert [event[1] for event in arrived.events if event[0] == "data"] == messages
    assert all(event[2] for event in arrived.events if event[0] == "data")
    assert arrived.events[-1] == ("close", 1000, "end")
    # The pongs come back although the sender has ended its data.
    assert feed(sender, cut(bytes(arrived.written), places)) is None
    assert heard.events == [("pong", payload) for kind, payload in sent if kind == "ping"]


# --- an independent peer ----------------------------------------------------------------------------------


def peer(role: Role) -> ClientProtocol | ServerProtocol:
    """The `websockets` library's own sans-IO side, opposite to `role`, in the state after a handshake."""
    if role is Role.CLIENT:
        return ServerProtocol(state=OPEN, max_size=None)
    return ClientProtocol(parse_uri("ws://localhost/"), state=OPEN, max_size=None)


@pytest.mark.parametrize("role", list(Role))
def test_an_independent_peer_agrees(role: Role) -> None:
    other = peer(role)
    recorder = Recorder()
    ours = Connection(role, recorder)
    data = os.urandom(100_000)
    wire = joined(ours.send_data(data)) + joined(ours.send_text("grüße")) + ours.send_ping(b"p")
    other.receive_data(wire + ours.send_close(1001, "away"))
    received = [event for event in other.events_received() if isinstance(event, Frame)]
    assert [event.opcode for event in received] == [
        PeerOpcode.BINARY, PeerOpcode.BINARY, PeerOpcode.TEXT, PeerOpcode.PING, PeerOpcode.CLOSE
    ]  # fmt: skip
    assert b"".join(bytes(event.data) for event in received[:2]) == data
    ours.receive(bytearray(b"".join(other.data_to_send())))
    assert recorder.events == [("pong", b"p"), ("close", 1001, "away")]
    assert ours.state is State.CLOSED


@pytest.mark.parametrize("role", list(Role))
def test_an_independent_peer_is_understood(role: Role) -> None:
    other = peer(role)
    recorder = Recorder()
    ours = Connection(role, recorder)
    other.send_text("grü".encode(), fin=False)
    other.send_ping(b"p")
    other.send_continuation("ße".encode(), fin=True)
    other.send_binary(bytes(70_000))
    other.send_close(1000, "end")
    ours.receive(bytearray(b"".join(other.data_to_send())))
    assert recorder.events == [
        ("data", "grüße".encode(), True),
        ("data", bytes(70_000), True),
        ("close", 1000, "end"),
    ]
    other.receive_data(bytes(recorder.written))
    assert [event.data for event in other.events_received() if isinstance(event, Frame)] == [b"p"]
