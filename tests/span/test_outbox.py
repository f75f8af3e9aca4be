"""outbox.py: where things go."""

from __future__ import annotations

import math

from tests.span.dialogue import Line, Server

from isthmus.span import frames as f
from isthmus.span.frames import Type

OPEN = f.open_stream(1, 65536)


def two_carriers() -> tuple[Server, Line, Line]:
    server = Server()
    lines = server.found(), server.join(1)
    lines[1].hear()
    return server, *lines


def test_an_answer_goes_where_the_question_came_from() -> None:
    _, first, second = two_carriers()
    second.say(OPEN)
    assert first.hear() == []
    assert second.kinds() == [(Type.OPENED, 1)]
    first.say(f.fin(1, 0))
    assert second.hear() == []
    assert first.kinds() == [(Type.ACK, 1)]
    second.say(f.reset(1, 0))
    assert first.hear() == []
    assert second.kinds() == [(Type.CLOSED, 1)]


def test_an_answer_whose_carrier_is_lost_goes_elsewhere() -> None:
    _, first, second = two_carriers()
    second.say(OPEN)
    second.carrier.lost(0.0)
    assert (Type.OPENED, 1) in first.kinds()


def test_a_stream_stays_behind_its_open_until_opened() -> None:
    server, first, second = two_carriers()
    stream = server.session.open()
    assert second.kinds() == [(Type.OPEN, 2)]
    server.session.write(stream, b"early")
    assert first.hear() == []
    assert second.kinds() == [(Type.DATA, 2)]
    second.say(f.opened(2, 65536))
    server.session.write(stream, b"late")
    assert first.kinds() == [(Type.DATA, 2)]


def test_one_acknowledgement_stands_for_many() -> None:
    server = Server()
    line = server.found()
    line.say(OPEN)
    line.hear()
    for offset in range(100):
        line.say(f.data_header(1, offset, 1) + b"x")
    outbox = server.session.outbox
    assert outbox.acknowledge_at == 0.025
    outbox.flush(0.0249)
    assert outbox.acknowledge_at == 0.025
    outbox.flush(0.025)
    assert outbox.acknowledge_at == math.inf
    assert (Type.ACK, 1, 100, 262_144) in line.hear()


def test_32_kib_of_any_streams_are_acknowledged_at_once() -> None:
    server = Server()
    line = server.found()
    line.say(OPEN, f.open_stream(3, 65536))
    line.hear()
    line.say(f.data_header(1, 0, 20_000) + bytes(20_000))
    line.say(f.data_header(3, 0, 12_767) + bytes(12_767))
    assert line.hear() == []
    line.say(f.data_header(3, 12_767, 1) + b"x")
    assert [each[:3] for each in line.hear()] == [(Type.ACK, 1, 20_000), (Type.ACK, 3, 12_768)]
    line.say(f.data_header(3, 12_768, 20_000) + bytes(20_000))
    assert line.hear() == []


def test_nothing_stays_of_a_stream_that_is_over() -> None:
    server = Server()
    line = server.found()
    line.say(OPEN)
    stream = server.session.streams[1]
    server.session.write(stream, b"x")
    server.session.reset(stream)
    assert line.kinds() == [(Type.RESET, 1)]
    assert len(server.session.outbox.scheduler) == 0
