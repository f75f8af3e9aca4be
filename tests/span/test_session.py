"""session.py: what the application asks for, timers, and carriers that come and go."""

from __future__ import annotations

import math

import pytest
from tests.span.dialogue import NONCE, Line, Server, client, dialled
from tests.span.vectors import HANDSHAKE

from isthmus.span import Code, Limits, Phase, Session, SpanError
from isthmus.span import frames as f
from isthmus.span.frames import Settings, Type, Welcome
from isthmus.websocket.frames import Role

HELLO = f.hello(NONCE, Settings())
WELCOME = f.welcome(Welcome(bytes(16), bytes(32), bytes(16)))


def established(limits: Limits | None = None) -> tuple[Session, Line]:
    session, _ = client(limits)
    line = dialled(session)
    line.say(HELLO)
    line.hear()
    line.say(WELCOME)
    return session, line


def test_a_stream_is_opened_without_waiting() -> None:
    session, line = established()
    stream = session.open("203.0.113.9:1")
    assert session.write(stream, b"hello") > 0
    session.write_eof(stream)
    [(_, _, opening), sent, (_, _, final)] = line.hear()
    assert f.parse_open(opening) == (262_144, "203.0.113.9:1")
    assert sent == (Type.DATA, 1, 0, b"hello")
    assert final == (5).to_bytes(8, "big")


def test_before_opened_16_kib_go_out_and_then_the_rest() -> None:
    session, line = established()
    stream = session.open()
    room = session.write(stream, bytes(100_000))
    assert room < 0
    assert sum(len(frame[3]) for frame in line.hear() if frame[0] == Type.DATA) == 16_384
    line.say(f.opened(1, 262_144))
    assert sum(len(frame[3]) for frame in line.hear() if frame[0] == Type.DATA) == 100_000 - 16_384
    assert session.handler.told[0] == ("opened", 1)  # type: ignore[attr-defined]


def test_writing_waits_and_goes_on() -> None:
    session, line = established()
    stream = session.open()
    line.hear()
    line.say(f.opened(1, 100_000))
    total = 0
    while session.write(stream, bytes(10_000)) > 0:
        total += 10_000
    assert total == 90_000
    line.hear()
    line.say(f.ack(1, 40_000, 100_000))
    assert ("writable", 1) not in session.handler.told  # type: ignore[attr-defined]
    line.say(f.ack(1, 80_000, 180_000))
    assert session.handler.told[-1] == ("writable", 1)  # type: ignore[attr-defined]


def test_what_comes_after_the_end_of_a_stream_is_nothing_or_a_bug() -> None:
    session, line = established()
    stream = session.open()
    session.write_eof(stream)
    session.write_eof(stream)
    with pytest.raises(RuntimeError):
        session.write(stream, b"x")
    session.reset(stream)
    session.reset(stream)
    assert session.write(stream, b"x") == 0
    session.write_eof(stream)
    session.consumed(stream, 5)
    session.accept(stream)
    assert line.kinds() == [(Type.RESET, 1)]


def test_no_id_is_left_out() -> None:
    session, line = established()
    first = session.open()
    session.reset(first, Code.CANCEL)
    session.open()
    assert line.kinds() == [(Type.RESET, 1), (Type.OPEN, 3)]


def test_the_peer_says_how_many_streams() -> None:
    server = Server()
    server.found(Settings(maximum_streams=2))
    server.session.open()
    server.session.open()
    with pytest.raises(SpanError) as caught:
        server.session.open()
    assert caught.value.code == Code.OVERLOAD


def test_acknowledgements_wait_for_one_deadline() -> None:
    server = Server()
    line = server.found()
    line.say(f.open_stream(1, 9), f.open_stream(3, 9))
    line.hear()
    line.say(f.data_header(1, 0, 1) + b"x")
    line.now = 0.01
    line.say(f.data_header(3, 0, 1) + b"y", f.data_header(1, 1, 1) + b"z")
    assert [kind for kind, _ in line.kinds() if kind == Type.ACK] == []
    assert server.session.next_deadline() == 0.025
    line.now = 0.025
    server.session.timeout(0.025)
    assert [frame[:3] for frame in line.hear() if frame[0] == Type.ACK] == [
        (Type.ACK, 1, 2),
        (Type.ACK, 3, 1),
    ]
    assert server.session.outbox.acknowledge_at == math.inf


def test_a_consumed_quarter_is_told_at_once() -> None:
    server = Server()
    line = server.found()
    line.say(f.open_stream(1, 9))
    line.hear()
    line.say(f.data_header(1, 0, 65_535) + bytes(65_535))
    assert (Type.ACK, 1, 65_535, 262_144) in line.hear()
    server.session.consumed(server.session.streams[1], 65_535)
    assert [frame for frame in line.hear() if frame[0] == Type.ACK] == []
    line.say(f.data_header(1, 65_535, 1) + b"x")
    server.session.consumed(server.session.streams[1], 1)
    assert (Type.ACK, 1, 65_536, 327_680) in line.hear()


def test_silence_is_noticed() -> None:
    server = Server()
    line = server.found()
    session = server.session
    assert session.next_deadline() == 5.0
    session.timeout(5.0)
    line.now = 5.0
    assert [kind for kind, _ in line.kinds()] == [Type.PING]
    line.now = 6.0
    line.say(f.pong(bytes(8)))
    assert session.next_deadline() == 11.0
    session.timeout(11.0)
    assert session.next_deadline() == 16.0
    session.timeout(15.9)
    assert line.carrier.phase is Phase.LIVE
    session.timeout(16.0)
    assert line.wire.closed == 1001
    assert session.counters.carriers_silent == 1
    assert not session.over


def test_a_lost_carrier_gives_back_what_it_had() -> None:
    server = Server()
    first = server.found()
    second = server.join(1)
    second.hear()
    first.say(f.open_stream(1, 100_000))
    stream = server.session.streams[1]
    first.hear()
    server.session.write(stream, b"abc")
    server.session.write_eof(stream)
    assert first.kinds() == [(Type.DATA, 1), (Type.FIN, 1)]
    assert second.hear() == []
    first.carrier.lost(0.0)
    first.carrier.lost(0.0)
    kinds = second.kinds()
    assert sorted(kinds) == sorted([(Type.OPENED, 1), (Type.ACK, 1), (Type.DATA, 1), (Type.FIN, 1)])
    assert server.session.counters.carriers_lost == 1


def test_a_client_waits_for_hello_and_resumes_what_it_lost() -> None:
    session, line = established()
    session.open()
    line.hear()
    line.carrier.lost(1.0)
    assert session.given_up == {0}
    again = dialled(session, 1.0)
    assert again.hear() == []
    again.say(HELLO)
    [(kind, _, payload)] = again.hear()
    assert kind == Type.RESUME
    request = f.parse_join(payload)
    assert (request.slot, request.epoch, request.fences) == (0, 2, b"\0")


def test_the_vectors_found_and_resume_a_session() -> None:
    """The client of this engine says what the vectors say, byte by byte."""
    log = client()[1]
    nonces = [bytes.fromhex(nonce) for nonce in HANDSHAKE["client_nonces"]]
    session = Session(
        Role.CLIENT, log, 0.0, Limits(maximum_message=65_552), random_bytes=lambda size: nonces.pop(0)
    )
    log.session = session
    for exchange in ("founding", "resuming"):
        line = dialled(session)
        for message in HANDSHAKE[exchange]:
            data = bytes.fromhex(message["bytes"])
            if message["from"] == "server":
                line.say(data)
            else:
                buffers = line.carrier.data_to_send(1, 0.0)
                said = b"".join(map(bytes, buffers))
                assert said.startswith(data), message["name"]
                assert said == data, message["name"]
        assert line.carrier.phase is Phase.LIVE
        line.carrier.lost(0.0)
    assert session.secret.hex() == HANDSHAKE["secret"]


def test_going_away_ends_after_the_last_stream() -> None:
    server = Server()
    line = server.found()
    line.say(f.open_stream(1, 9))
    line.hear()
    server.log.take()
    server.session.go_away()
    with pytest.raises(SpanError):
        server.session.open()
    assert line.kinds() == [(Type.GOAWAY, 0)]
    line.say(f.open_stream(3, 9))
    assert line.kinds() == [(Type.RESET, 3)]
    line.say(f.reset(1, 0))
    assert server.log.take() == [("reset", 1, 0), ("ended", Code.GOING)]
    assert line.wire.closed == 1001
    assert len(server.table) == 0


def test_an_ended_session_says_so() -> None:
    session, line = established()
    session.open()
    session.end(Code.EXPIRED, "enough")
    session.end(Code.EXPIRED)
    assert session.handler.told[-2:] == [("reset", 1, 5), ("ended", 5)]  # type: ignore[attr-defined]
    assert line.kinds() == [(Type.GOAWAY, 0)]
    with pytest.raises(SpanError):
        session.open()
    assert session.next_deadline() == math.inf
