"""outgoing.py: what goes into a message, in which order and of which size."""

from __future__ import annotations

import pytest
from tests.span.dialogue import Line, Server

from isthmus.span import frames as f
from isthmus.span.frames import Type
from isthmus.span.limits import LEAST_DATA


def serving(streams: int, size: int) -> tuple[Server, Line]:
    server = Server()
    line = server.found()
    for stream_id in range(1, 2 * streams, 2):
        line.say(f.open_stream(stream_id, 1 << 20))
    line.hear()
    for stream in server.session.streams.values():
        server.session.write(stream, bytes(size))
    return server, line


@pytest.mark.parametrize("budget", [0, 1, 5_000, 20_000, 1 << 20])
def test_a_message_is_about_as_large_as_the_budget(budget: int) -> None:
    _, line = serving(1, 200_000)
    line.carrier.pacing.frame_size = 65_536
    line.carrier.pacing.cap = 1 << 20
    total = 0
    while buffers := line.carrier.data_to_send(budget, 0.0):
        size = sum(map(len, buffers))
        assert size <= min(max(budget, LEAST_DATA + 16), 65_552)
        total += size
    assert 200_000 < total < 202_000


def test_a_carrier_says_whether_there_is_more() -> None:
    _, line = serving(1, 10_000)
    said = []
    for _ in range(3):
        size = line.carrier.message_to_send(4_112, 0.0).size
        said.append((size, line.carrier.drained))
    assert said == [(4_112, False), (4_112, False), (10_000 - 2 * 4_096 + 16, True)]
    assert line.carrier.data_to_send(4_112, 0.0) == []


def test_a_message_within_another_is_one_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is told that a stream has ended may end a session, whose carriers then send their last."""
    server, line = serving(2, 3)
    _, other = serving(1, 100)
    server.session.write_eof(server.session.streams[1])
    line.hear()
    line.say(f.fin(1, 0), f.ack(1, 4, 1 << 20))
    server.session.write(server.session.streams[3], b"behind")
    within: list[bytes] = []
    monkeypatch.setattr(
        server.log, "closed", lambda _: within.extend(map(bytes, other.carrier.data_to_send(1 << 20, 0.0)))
    )
    assert [frame[:2] for frame in line.hear()] == [(Type.ACK, 1), (Type.DATA, 3)]
    assert within == [f.data_header(1, 0, 100) + bytes(100)]


def test_state_goes_before_data_and_answers_before_state() -> None:
    _, line = serving(1, 100)
    line.say(f.open_stream(3, 9), f.open_stream(5, 9), f.reset(5, 0), f.ping(bytes(8)))
    assert [kind for kind, _ in line.kinds()] == [Type.PONG, Type.CLOSED, Type.OPENED, Type.DATA]


def test_a_frame_is_what_the_carrier_moves_in_50_ms() -> None:
    _, line = serving(2, 20_000)
    line.carrier.pacing.frame_size = 4_096
    order = []
    while buffers := line.carrier.data_to_send(4_112, 0.0):
        order.append(int.from_bytes(bytes(buffers[0])[4:8], "big"))
    assert order[:6] == [1, 3, 1, 3, 1, 3]


def test_a_keystroke_does_not_wait_behind_copies() -> None:
    server, line = serving(9, 500_000)
    stream = server.session.streams[17]
    server.session.reset(stream)
    for _ in range(20):
        line.carrier.data_to_send(16_400, 0.0)
    line.say(f.open_stream(19, 1 << 20))
    line.carrier.data_to_send(100, 0.0)
    server.session.write(server.session.streams[19], b"k")
    [first, *_] = line.carrier.data_to_send(16_400, 0.0)
    assert bytes(first)[4:8] == (19).to_bytes(4, "big")


def test_a_stalled_stream_stops_only_itself() -> None:
    server = Server()
    line = server.found()
    line.say(f.open_stream(1, 10), f.open_stream(3, 1_000))
    line.hear()
    for stream in server.session.streams.values():
        server.session.write(stream, bytes(500))
    sent = {frame[1]: len(frame[3]) for frame in line.hear()}
    assert sent == {1: 10, 3: 500}


def test_data_that_goes_again_is_counted() -> None:
    server, line = serving(1, 1_000)
    line.hear()
    line.carrier.lost(0.0)
    server.resumed(3, [f.Entry(1, 1, 400, 1 << 20)])
    counters = server.session.counters
    again = next(iter(server.session.carriers.values()))
    assert again.data_to_send(1 << 20, 0.0)
    assert (counters.bytes_sent, counters.bytes_sent_again) == (1_600, 600)


def test_what_is_in_flight_is_bounded_and_goes_on_when_it_is_acknowledged() -> None:
    server, line = serving(2, 200_000)
    line.hear()
    pacing = line.carrier.pacing
    assert pacing.cap <= pacing.in_flight < pacing.cap + pacing.frame_size
    assert server.session.counters.carriers_full == 1
    before = len(line.wire.told)
    line.say(f.ack(1, 50_000, 1 << 20))
    assert line.wire.told[before:] == [("output",)]
    line.hear()
    assert pacing.cap <= pacing.in_flight < pacing.cap + pacing.frame_size


def test_a_full_carrier_holds_back_neither_little_of_an_idle_stream_nor_an_end() -> None:
    server, line = serving(2, 200_000)
    line.hear()
    line.say(f.open_stream(5, 1 << 20), f.open_stream(7, 1 << 20), f.open_stream(9, 1 << 20))
    line.hear()
    for stream_id, size in ((7, 5_000), (5, 64)):
        server.session.write(server.session.streams[stream_id], bytes(size))
    server.session.write_eof(server.session.streams[9])
    assert [frame[:2] for frame in line.hear()] == [(Type.DATA, 5), (Type.FIN, 9)]


def test_a_reset_stream_is_in_flight_no_more() -> None:
    server, line = serving(1, 50_000)
    line.hear()
    assert line.carrier.pacing.in_flight == 50_000
    server.session.reset(server.session.streams[1])
    assert line.carrier.pacing.in_flight == 0


def test_what_goes_again_is_not_held() -> None:
    server, line = serving(1, 200_000)
    line.hear()
    other = server.join(1)
    assert sum(len(frame[3]) for frame in other.hear() if frame[0] == Type.DATA) > 0
    assert other.carrier.pacing.full() or not server.session.streams[1].send.available(1 << 20)
    line.carrier.lost(0.0)
    [first, *_] = [frame for frame in other.hear() if frame[0] == Type.DATA]
    assert first[2] == 0
