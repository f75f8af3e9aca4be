"""carrier.py: life, speed, and what is said to its transport."""

from __future__ import annotations

import pytest
from tests.span.dialogue import Server

from isthmus.span import frames as f
from isthmus.span.frames import Type


def test_output_is_announced_once() -> None:
    server = Server()
    line = server.found()
    line.say(f.open_stream(1, 1000))
    line.hear()
    before = len(line.wire.told)
    for _ in range(3):
        server.session.write(server.session.streams[1], b"x")
    assert line.wire.told[before:] == [("output",)]
    line.hear()
    server.session.write(server.session.streams[1], b"x")
    assert line.wire.told[before:] == [("output",), ("output",)]


def test_the_round_trip_is_measured_while_data_comes() -> None:
    server = Server()
    line = server.found()
    line.say(f.open_stream(1, 1000))
    line.hear()
    line.now = 20.0
    line.say(f.data_header(1, 0, 1) + b"x")
    [ping] = [frame for frame in line.hear() if frame[0] == Type.PING]
    line.now = 20.08
    line.say(f.pong(ping[2]))
    assert line.carrier.round_trip == pytest.approx(0.08)
    line.say(f.pong(b"whatever"))
    assert line.carrier.round_trip == pytest.approx(0.08)


def test_the_kernel_queue_counts_as_life() -> None:
    server = Server()
    line = server.found()
    server.session.timeout(5.0)
    line.carrier.alive(9.0)
    server.session.timeout(12.0)
    assert server.session.counters.carriers_silent == 0
    server.session.timeout(19.0)
    assert line.wire.closed == 1001


def test_a_text_message_breaks_the_protocol() -> None:
    server = Server()
    line = server.found()
    line.carrier.text_received(0.0)
    assert line.wire.closed == 1002
    line.carrier.text_received(0.0)
    assert server.session.counters.protocol_errors == 1


def test_a_closed_carrier_says_and_hears_nothing() -> None:
    server = Server()
    line = server.found()
    line.carrier.lost(0.0)
    line.say(f.open_stream(1, 9))
    assert line.hear() == []
    assert server.log.take() == []
    assert line.wire.closed == 0


def test_one_carrier_alone_need_not_say_what_arrived() -> None:
    server = Server()
    line = server.found()
    line.say(f.open_stream(1, 1000))
    line.say(f.data_header(1, 0, 40_000) + bytes(40_000))
    kinds = [kind for kind, _ in line.kinds()]
    assert Type.ACK in kinds
    assert Type.ARRIVED not in kinds


def test_each_of_several_says_what_it_brought_once() -> None:
    server = Server()
    line = server.found()
    other = server.join(1)
    other.hear()
    line.say(f.open_stream(1, 1000))
    line.hear()
    # What is before comes on the other, later: nothing of it can be acknowledged.
    line.say(f.data_header(1, 10_000, 40_000) + bytes(40_000))
    assert (Type.ARRIVED, 0, (40_000).to_bytes(8, "big")) in line.hear()
    assert Type.ARRIVED not in [kind for kind, _ in other.kinds()]
    other.say(f.data_header(1, 0, 10_000) + bytes(10_000))
    server.session.timeout(0.025)
    assert (Type.ARRIVED, 0, (10_000).to_bytes(8, "big")) in other.hear()
    assert Type.ARRIVED not in [kind for kind, _ in line.kinds()]


@pytest.mark.parametrize("total", [999, 1_001, 1 << 63, (1 << 64) - 1])
def test_a_peer_is_not_believed_that_more_arrived_than_was_sent(total: int) -> None:
    server = Server()
    line = server.found()
    line.say(f.open_stream(1, 1 << 20))
    line.hear()
    server.session.write(server.session.streams[1], bytes(1_000))
    line.hear()
    line.say(f.arrived(1_000))
    assert line.carrier.pacing.in_flight == 0
    line.say(f.arrived(total))
    assert server.session.counters.protocol_errors == 1
