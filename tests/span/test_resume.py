"""resume.py: what STATE says, and each row of what follows from it."""

from __future__ import annotations

from typing import Any

from tests.span.dialogue import Line, Server

from isthmus.span import frames as f
from isthmus.span.frames import Entry, Type


def told(line: Line) -> tuple[int, int, list[tuple[int, ...]]]:
    """Return what the STATE says that comes behind WELCOME."""
    frames = [frame for frame in line.hear() if frame[0] == Type.STATE]
    parts = [f.parse_state(frame[2]) for frame in frames]
    return parts[0][1], parts[0][2], [tuple(each) for part in parts for each in f.state_entries(part[3])]


def test_state_has_every_stream_in_order() -> None:
    server = Server()
    line = server.found()
    line.say(f.open_stream(1, 9), f.open_stream(5, 9), f.data_header(1, 0, 3) + b"abc", f.open_stream(7, 9))
    line.say(f.reset(7, 0), f.fin(5, 0))
    server.session.open()
    assert told(server.join(0, b"\0")) == (
        3,
        4,
        [(1, 1, 3, 262_144), (2, 0, 0, 262_144), (5, 1, 1, 262_144), (7, 2, 0, 0)],
    )


def test_a_large_state_takes_several_frames() -> None:
    server = Server()
    line = server.found()
    for stream in range(1, 9001, 2):
        line.say(f.open_stream(stream, 9))
    line.hear()
    assert len(told(server.join(0, b"\0"))[2]) == 4500


def after(entries: list[Entry], *, next_stream: int = 3, below: int = 4) -> tuple[Server, list[Any], Line]:
    """Resume a session with stream 1 of the peer and 2 of ours, each with 3 bytes of 5 acknowledged.

    Return what is told after that, and the new carrier.
    """
    server = Server()
    line = server.found()
    ours = server.session.open()
    line.say(f.open_stream(1, 100))
    line.hear()
    line.say(f.opened(2, 100))
    for stream in (server.session.streams[1], ours):
        server.session.write(stream, b"abcde")
        server.session.write_eof(stream)
    line.hear()
    line.say(f.ack(1, 3, 100), f.ack(2, 3, 100))
    line.carrier.lost(0.0)
    server.log.take()
    again = server.resumed(next_stream, entries, below)
    return server, server.log.take(), again


def test_an_entry_acknowledges() -> None:
    server, events, line = after([Entry(1, 1, 4, 100), Entry(2, 1, 5, 100)])
    assert events == []
    frames = line.hear()
    assert (Type.DATA, 1, 4, b"e") in frames
    assert not any(frame[:2] == (Type.DATA, 2) for frame in frames)
    assert {frame[1] for frame in frames if frame[0] == Type.FIN} == {1, 2}
    assert server.session.send_budget.used == 0


def test_a_missing_or_forgotten_entry_resets_what_was_not_complete() -> None:
    server, events, _ = after([Entry(2, 2, 0, 0)], below=2)
    assert sorted(events) == [("reset", 1, 5), ("reset", 2, 5)]
    assert not server.session.streams


def test_ours_below_opened_below_is_forgotten() -> None:
    _, events, _ = after([Entry(1, 1, 3, 100)], below=4)
    assert events == [("reset", 2, 5)]


def test_a_stream_of_the_peer_from_its_next_on_came_later() -> None:
    server, events, _ = after([Entry(2, 1, 3, 100)], next_stream=1)
    assert events == []
    assert 1 in server.session.streams


def test_ours_that_was_never_opened_is_opened_again() -> None:
    server = Server()
    line = server.found()
    stream = server.session.open()
    server.session.write(stream, b"early")
    line.hear()
    line.carrier.lost(0.0)
    again = server.join(0, b"\0")
    assert (Type.OPEN, 2) in again.kinds()
    again.say(*f.state(2, 1, []))
    assert again.kinds() == [(Type.DATA, 2)]


def test_what_was_complete_ends_whole() -> None:
    server = Server()
    line = server.found()
    line.say(f.open_stream(1, 100), f.fin(1, 0))
    server.session.write_eof(server.session.streams[1])
    line.hear()
    line.carrier.lost(0.0)
    server.log.take()
    server.resumed(3, [], 2)
    assert server.log.take() == [("closed", 1)]


def test_state_frames_follow_at_once_and_data_waits() -> None:
    server = Server()
    line = server.found()
    line.say(f.open_stream(1, 100), f.open_stream(3, 100))
    line.hear()
    line.carrier.lost(0.0)
    server.session.write(server.session.streams[1], b"abc")
    server.session.reset(server.session.streams[3])
    again = server.join(0, b"\0")
    kinds = again.kinds()
    assert [kind for kind, _ in kinds[:2]] == [Type.WELCOME, Type.STATE]
    assert (Type.RESET, 3) in kinds
    assert (Type.DATA, 1) not in kinds
    again.say(*f.state(2, 5, [Entry(1, 1, 0, 100), Entry(3, 1, 0, 100)]))
    assert again.kinds() == [(Type.DATA, 1)]
