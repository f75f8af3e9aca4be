"""incoming.py: what each frame does, and the defined answer to each hostile one."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from tests.span.dialogue import Line, Server

from isthmus.span import Code, Limits, Phase
from isthmus.span import frames as f
from isthmus.span.carrier import SPARE_ANSWERS
from isthmus.span.frames import Entry, Goaway, Scope, Type

KIB = 1024
OPEN = f.open_stream(1, 65536)


def data(stream: int, offset: int, payload: bytes) -> bytes:
    return f.data_header(stream, offset, len(payload)) + payload


# Each breaks the protocol: what was said before, and what it is.
PROTOCOL: dict[str, Sequence[bytes]] = {
    "OPEN of our parity": [f.open_stream(2, 0)],
    "OPEN too far ahead": [f.open_stream(131_075, 0)],
    "DATA of a stream that was never opened": [data(1, 0, b"x")],
    "DATA of a stream of ours that was never opened": [data(2, 0, b"x")],
    "FIN of a stream that was never opened": [f.fin(1, 0)],
    "ACK of a stream that was never opened": [f.ack(1, 0, 0)],
    "CLOSED of a stream that was never opened": [f.closed(1)],
    "OPENED of a stream that was never opened": [f.opened(1, 0)],
    "RESET of a stream of ours that was never opened": [f.reset(2, 0)],
    "OPENED of the peer's own stream": [OPEN, f.opened(1, 0)],
    "DATA above the limit": [OPEN, data(1, 262_144, b"x")],
    "DATA across the limit": [OPEN, data(1, 262_143, b"xx")],
    "DATA at an offset of 64 bits": [OPEN, data(1, 2**64 - 1, b"xx")],
    "DATA behind the end": [OPEN, f.fin(1, 3), data(1, 3, b"x")],
    "FIN below data": [OPEN, data(1, 0, b"abc"), f.fin(1, 2)],
    "FIN above the limit": [OPEN, f.fin(1, 262_145)],
    "a second FIN elsewhere": [OPEN, f.fin(1, 3), f.fin(1, 4)],
    "ACK of what was never sent": [OPEN, f.ack(1, 1, 0)],
    "ACK of an end that was never sent": [OPEN, f.ack(1, 1, 0)],
    "STATE without RESUME": [*f.state(2, 1, [])],
    "HELLO after the handshake": [f.hello(bytes(16), f.Settings())],
    "NEW after the handshake": [f.new(bytes(16), f.Settings())],
    "JOIN after the handshake": [f.frame(Type.JOIN, 0, bytes(85))],
    "WELCOME after the handshake": [f.welcome_back(bytes(32))],
    "an unknown type": [f.header(0x40, 0, 0)],
}


def check_protocol_error(server: Server, line: Line) -> None:
    assert line.wire.closed == 1002
    assert line.carrier.phase is Phase.CLOSED
    told = server.log.take()
    assert told[-1] == ("ended", Code.PROTOCOL)
    assert [event for event in told if event[0] == "ended"] == told[-1:]
    [goaway] = [payload for kind, _, payload in line.hear() if kind == Type.GOAWAY]
    assert f.parse_goaway(goaway)[::2] == (Scope.SESSION, Code.PROTOCOL)
    assert server.session.counters.protocol_errors == 1
    assert len(server.table) == 0
    assert not server.session.streams
    line.say(OPEN)
    assert server.log.take() == []


@pytest.mark.parametrize("name", PROTOCOL)
def test_whatever_breaks_the_protocol_ends_the_session(name: str) -> None:
    server = Server()
    line = server.found()
    *before, last = PROTOCOL[name]
    for said in before:
        line.say(said)
    assert line.wire.closed == 0
    line.hear()
    line.say(last)
    check_protocol_error(server, line)


def test_every_stream_is_reset_once_when_the_session_ends() -> None:
    server = Server()
    line = server.found()
    line.say(*(f.open_stream(stream, 65536) for stream in (1, 3, 5)), f.fin(3, 0))
    server.log.take()
    line.carrier.text_received(0.0)
    assert server.log.take() == [
        ("reset", 1, Code.PROTOCOL),
        ("reset", 3, Code.PROTOCOL),
        ("reset", 5, Code.PROTOCOL),
        ("ended", Code.PROTOCOL),
    ]


EXCHANGE: dict[str, Sequence[bytes]] = {
    "OPEN before STATE": [OPEN],
    "DATA before STATE": [data(1, 0, b"x")],
    "ACK before STATE": [f.ack(1, 0, 0)],
    "an entry that was never opened": f.state(2, 3, [Entry(5, 1, 0, 0)]),
    "an entry of ours that was never opened": f.state(2, 3, [Entry(4, 1, 0, 0)]),
    "opened below of the wrong parity": f.state(1, 3, []),
    "opened below what was never opened": f.state(4, 3, []),
    "next of the wrong parity": f.state(2, 2, []),
    "no next": f.state(2, 0, []),
    "forgotten of its own parity": f.state(2, 3, [Entry(1, 2, 0, 0)]),
    "received what was never sent": f.state(2, 3, [Entry(1, 1, 7, 0)]),
}


@pytest.mark.parametrize("name", EXCHANGE)
def test_whatever_is_wrong_in_an_exchange_ends_the_session(name: str) -> None:
    server = Server()
    server.found().say(OPEN)
    line = server.join(0, b"\0")
    line.hear()
    line.say(*EXCHANGE[name])
    check_protocol_error(server, line)


def test_a_state_without_end_is_an_error() -> None:
    server = Server(Limits(maximum_streams=10))
    server.found(f.Settings(maximum_streams=10))
    line = server.join(0, b"\0")
    line.hear()
    entries = b"".join(stream.to_bytes(4, "big") + bytes(17) for stream in range(1, 6001, 2))
    part = b"\0" + (2).to_bytes(4, "big") + (1).to_bytes(4, "big") + (3000).to_bytes(2, "big") + entries
    said = 0
    while line.wire.closed == 0:
        line.say(f.frame(Type.STATE, 0, part))
        said += 3000
        assert len(line.carrier.state) <= 21 * (65_556 + 3000)
    assert 65_556 < said <= 65_556 + 3000
    check_protocol_error(server, line)


# --- frames that come late ----------------------------------------------------------------------------------


def forgotten(server: Server) -> Line:
    """Return the line of a session whose stream 1 ended whole."""
    line = server.found()
    line.say(OPEN, f.fin(1, 0))
    server.session.write_eof(server.session.streams[1])
    line.hear()
    line.say(f.ack(1, 1, 65536))
    assert server.log.take()[-1] == ("closed", 1)
    assert not server.session.streams
    assert line.hear() == []
    return line


@pytest.mark.parametrize(
    ("frame", "answered"),
    [
        (OPEN, True),
        (data(1, 0, b"late"), True),
        (f.fin(1, 0), True),
        (f.reset(1, 0), True),
        (f.ack(1, 0, 0), False),
        (f.closed(1), False),
    ],
    ids=lambda value: value[:1].hex() if isinstance(value, bytes) else str(value),
)
def test_a_frame_of_a_forgotten_stream_is_counted_and_answered(frame: bytes, answered: bool) -> None:
    server = Server()
    line = forgotten(server)
    line.say(frame, frame)
    assert line.kinds() == ([(Type.CLOSED, 1)] if answered else [])
    assert server.log.take() == []
    assert server.session.counters.frames_forgotten == 2


def test_a_reset_overtakes_its_open() -> None:
    server = Server()
    line = server.found()
    line.say(f.reset(1, 0), OPEN)
    assert line.kinds() == [(Type.CLOSED, 1)]
    assert server.log.take() == []


def test_streams_are_opened_in_any_order() -> None:
    server = Server()
    line = server.found()
    line.say(f.open_stream(5, 0), f.open_stream(1, 0), f.open_stream(5, 0), f.open_stream(3, 0))
    assert [event[:2] for event in server.log.take()] == [("stream_opened", each) for each in (5, 1, 3)]
    assert server.session.opened.below == 7


def test_an_open_that_comes_again_is_answered_again() -> None:
    server = Server()
    line = server.found()
    line.say(OPEN)
    assert line.kinds() == [(Type.OPENED, 1)]
    line.say(OPEN)
    assert line.kinds() == [(Type.OPENED, 1)]
    assert len(server.log.take()) == 1


def test_data_comes_in_order_and_once() -> None:
    server = Server()
    line = server.found()
    line.say(
        OPEN, data(1, 3, b"def"), data(1, 3, b"de"), data(1, 0, b"abcd"), data(1, 0, b"abc"), f.fin(1, 6)
    )
    told = server.log.take()[1:]
    assert b"".join(event[2] for event in told if event[0] == "data") == b"abcdef"
    assert [event[0] for event in told if event[0] != "data"] == ["eof"]
    line.say(f.fin(1, 6), data(1, 0, b"abcdef"))
    assert server.log.take() == []
    assert server.session.counters.bytes_twice >= 6


def test_early_data_has_a_limit_until_the_stream_is_accepted() -> None:
    server = Server(accepts=False)
    line = server.found()
    line.say(OPEN, data(1, 0, bytes(16 * KIB)))
    assert line.wire.closed == 0
    line.say(data(1, 16 * KIB, b"x"))
    check_protocol_error(server, line)


def test_a_reset_is_answered_closed_and_told_once() -> None:
    server = Server()
    line = server.found()
    line.say(OPEN, data(1, 5, b"held"))
    server.session.write(server.session.streams[1], b"unsent")
    line.say(f.reset(1, Code.TIMEOUT, "too late"), f.reset(1, Code.TIMEOUT))
    assert server.log.take()[1:] == [("reset", 1, Code.TIMEOUT)]
    assert line.kinds() == [(Type.CLOSED, 1)]
    assert server.session.send_budget.used == server.session.receive_budget.used == 0


def test_our_reset_waits_for_closed_and_drops_what_comes() -> None:
    server = Server()
    line = server.found()
    line.say(OPEN)
    line.hear()
    stream = server.session.streams[1]
    server.session.reset(stream, Code.UNREACHABLE, "no route")
    assert line.hear() == [(Type.RESET, 1, f.reset(1, Code.UNREACHABLE, "no route")[8:])]
    server.log.take()
    line.say(data(1, 0, b"late"), f.fin(1, 4), f.ack(1, 0, 99), OPEN)
    assert 1 in server.session.streams
    assert server.log.take() == []
    line.say(f.closed(1))
    assert not server.session.streams
    assert line.hear() == []


def test_resets_may_cross() -> None:
    server = Server()
    line = server.found()
    line.say(OPEN)
    line.hear()
    server.session.reset(server.session.streams[1])
    server.log.take()
    line.say(f.reset(1, 0))
    assert (Type.CLOSED, 1) in line.kinds()
    assert not server.session.streams
    assert server.log.take() == []


# --- floods -------------------------------------------------------------------------------------------------


def test_a_flood_of_open_is_answered_overload_without_memory() -> None:
    server = Server(Limits(maximum_streams=10))
    line = server.found()
    for stream in range(1, 1001, 2):
        line.say(f.open_stream(stream, 65536))
    assert len(server.session.streams) == 10
    assert server.session.counters.overloaded == 490
    kinds = line.hear()
    resets = [frame for frame in kinds if frame[0] == Type.RESET]
    assert [f.parse_reset(frame[2])[0] for frame in resets] == [Code.OVERLOAD] * 490
    assert len(server.session.opened) == 0


def test_a_peer_that_asks_and_does_not_read_loses_its_carrier() -> None:
    server = Server(Limits(maximum_streams=10))
    line = server.found()
    stream = 1
    while line.wire.closed == 0:
        line.say(f.open_stream(stream, 0), f.reset(stream, 0))
        stream += 2
        assert stream < 4 * SPARE_ANSWERS
    assert line.wire.closed == 1008
    assert server.session.counters.carriers_flooded == 1
    assert not server.session.over
    assert not server.session.streams


def test_a_flood_of_pings_owes_one_pong() -> None:
    server = Server()
    line = server.found()
    for number in range(1000):
        line.say(f.ping(number.to_bytes(8, "big")))
    assert line.hear() == [(Type.PONG, 0, (999).to_bytes(8, "big"))]
    assert server.session.counters.pings_received == 1000


def test_rapid_resets_leave_nothing() -> None:
    server = Server()
    line = server.found()
    for stream in range(1, 2001, 2):
        line.say(f.open_stream(stream, 65536), f.reset(stream, 0))
    assert server.session.counters.resets_received == 1000
    assert not server.session.streams
    assert len(server.session.outbox.pending) == len(server.session.outbox.scheduler) == 0
    assert len(line.carrier.pending) == 0
    assert server.session.receive_budget.used == 0


def test_data_in_a_thousand_pieces_is_bounded() -> None:
    server = Server()
    line = server.found()
    line.say(OPEN)
    for offset in range(1, 2 * 4097, 2):
        assert line.wire.closed == 0
        line.say(data(1, offset, b"x"))
    assert line.wire.closed == 1002


# --- going away ---------------------------------------------------------------------------------------------


def test_goaway_of_the_carrier_moves_data_to_another() -> None:
    server = Server()
    line = server.found()
    other = server.join(1)
    line.say(OPEN)
    line.hear()
    other.hear()
    line.say(f.goaway(Goaway(Scope.CARRIER, 0, Code.GOING, 5000)))
    assert server.log.take()[-1] == ("carrier_going", Code.GOING, 5.0)
    server.session.write(server.session.streams[1], b"x")
    assert line.hear() == []
    assert other.kinds() == [(Type.DATA, 1)]


def test_goaway_of_the_session_resets_what_was_not_taken() -> None:
    server = Server()
    line = server.found()
    taken, lost = server.session.open(), server.session.open()
    line.hear()
    line.say(f.opened(taken.id, 65536), f.goaway(Goaway(Scope.SESSION, taken.id, Code.GOING, 0)))
    assert server.log.take() == [("opened", 2), ("reset", lost.id, Code.GOING), ("going", Code.GOING)]
    line.say(OPEN)
    assert f.parse_reset(line.hear()[0][2])[0] == Code.GOING
    line.say(f.reset(taken.id, 0))
    assert server.log.take() == [("reset", taken.id, 0), ("ended", Code.GOING)]
    assert (Type.CLOSED, taken.id) in line.kinds()


def test_goaway_with_protocol_ends_at_once() -> None:
    server = Server()
    line = server.found()
    line.say(OPEN)
    line.say(f.goaway(Goaway(Scope.SESSION, 0, Code.PROTOCOL, 0)))
    assert server.log.take()[-1] == ("ended", Code.PROTOCOL)
    assert line.wire.closed == 1002
    assert server.session.counters.protocol_errors == 0
