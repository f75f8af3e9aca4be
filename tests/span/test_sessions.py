"""sessions.py: founding, joining, resuming, and every way to be refused."""

from __future__ import annotations

from typing import Any

import pytest
from tests.span.dialogue import NONCE, PLACE, Line, Server

from isthmus.span import Code, Limits, Phase
from isthmus.span import frames as f
from isthmus.span.frames import Settings, Type


def refusal(line: Line) -> int:
    [(kind, _, payload)] = line.hear()
    assert kind == Type.REFUSED
    assert line.wire.closed == 1000
    assert line.carrier.phase is Phase.CLOSED
    return f.parse_refused(payload)[0]


def test_a_session_is_founded() -> None:
    server = Server()
    line = server.found()
    assert line.wire.told[-2:] == [("output",), ("established",)] or ("established",) in line.wire.told
    assert len(server.welcome.session) == 16
    assert server.welcome.place == PLACE
    assert len(server.table) == 1
    assert server.table.counters.sessions_opened == 1


def test_a_carrier_joins_and_resumes() -> None:
    server = Server()
    first = server.found()
    second = server.join(1)
    assert [kind for kind, *_ in second.hear()] == [Type.WELCOME]
    assert sorted(server.session.carriers) == [0, 1]
    third = server.join(0, b"\0")
    assert [kind for kind, *_ in third.hear()] == [Type.WELCOME, Type.STATE]
    assert first.wire.closed == 1000
    assert second.wire.closed == 0
    third.say(*f.state(2, 1, []))
    assert third.carrier.phase is Phase.LIVE
    assert (server.session.counters.joins, server.session.counters.resumes) == (1, 1)
    assert server.session.counters.carriers_fenced == 1


def test_a_fenced_carrier_is_not_read_any_more() -> None:
    server = Server()
    first = server.found()
    server.join(1, b"\0").hear()
    first.say(f.open_stream(1, 65536))
    assert server.log.take() == []
    assert first.hear() == []


@pytest.mark.parametrize(
    "spoiled",
    [
        {"session": bytes(16)},
        {"proof": bytes(32)},
        {"secret": bytes(32)},
        {"accept": "wss://gate.example.com/other"},
        {"identity": "realm:joe"},
        {"epoch": 0},
        {"epoch": 1, "slot": 0},
    ],
    ids=str,
)
@pytest.mark.parametrize("fences", [b"", b"\0\1"])
def test_whoever_proves_nothing_is_unknown(spoiled: dict[str, Any], fences: bytes) -> None:
    server = Server()
    first = server.found()
    slot = spoiled.get("slot", 1)
    changes = {name: value for name, value in spoiled.items() if name != "slot"}
    assert refusal(server.join(slot, fences, **changes)) == Code.UNKNOWN
    assert server.table.counters.refused_unknown == 1
    assert first.carrier.phase is Phase.LIVE


def test_a_proof_cannot_be_played_again() -> None:
    server = Server()
    server.found()
    heard = server.carrier()
    [(_, _, payload)] = heard.hear()
    request = f.Join(server.welcome.session, PLACE, 1, 2, NONCE, bytes(32))
    proof = server_side_proof(server, request, f.parse_hello(payload).nonce)
    said = f.join(request._replace(proof=proof))
    heard.say(said)
    assert [kind for kind, *_ in heard.hear()] == [Type.WELCOME]
    again = server.carrier()
    again.hear()
    again.say(said)
    assert refusal(again) == Code.UNKNOWN


def server_side_proof(server: Server, request: f.Join, nonce: bytes) -> bytes:
    from isthmus.span.proofs import client_proof

    return client_proof(server.welcome.secret, request, nonce)


def test_the_list_of_fences_is_proven() -> None:
    server = Server()
    server.found()
    line = server.carrier()
    [(_, _, payload)] = line.hear()
    request = f.Join(server.welcome.session, PLACE, 1, 2, NONCE, bytes(32))
    proof = server_side_proof(server, request, f.parse_hello(payload).nonce)
    line.say(f.resume(request._replace(proof=proof, fences=b"\0")))
    assert refusal(line) == Code.UNKNOWN


def test_another_node_says_elsewhere_and_another_process_unknown() -> None:
    server = Server()
    server.found()
    assert refusal(server.join(1, place=b"node-two" + b"boot-one")) == Code.ELSEWHERE
    assert server.table.counters.refused_elsewhere == 1
    restarted = Server()
    restarted.welcome = server.welcome._replace(session=bytes(16))
    assert refusal(restarted.join(0, b"\0", place=b"node-one" + b"boot-two")) == Code.UNKNOWN


def test_a_slot_that_is_not_free_and_too_many_are_told_later() -> None:
    server = Server()
    server.found()
    assert refusal(server.join(0)) == Code.LATER
    for slot in range(1, 16):
        assert server.join(slot).kinds() == [(Type.WELCOME, 0)]
    assert refusal(server.join(16)) == Code.LATER
    assert server.table.counters.refused_later == 2


def test_resumes_are_paced() -> None:
    server = Server()
    server.found()
    for _ in range(20):
        assert server.join(0, b"\0").kinds()[0] == (Type.WELCOME, 0)
    assert refusal(server.join(0, b"\0")) == Code.LATER
    assert server.table.counters.resumes_deferred == 1
    server.now = 1.0
    assert server.join(0, b"\0").kinds()[0] == (Type.WELCOME, 0)


def test_sessions_are_bounded_and_idle_ones_give_way() -> None:
    server = Server(maximum=2)
    first = server.found()
    server.found().say(f.open_stream(1, 65536))
    line = server.carrier()
    line.hear()
    line.say(f.new(NONCE, Settings()))
    assert refusal(line) == Code.LATER
    first.carrier.lost(0.0)
    server.found()
    assert len(server.table) == 2


def test_handshakes_are_bounded_in_number_and_time() -> None:
    server = Server(maximum_handshakes=2)
    lines = [server.carrier(), server.carrier()]
    assert refusal(server.carrier()) == Code.LATER
    assert server.table.next_deadline() == 10.0
    server.table.timeout(9.9)
    assert [line.wire.closed for line in lines] == [0, 0]
    server.table.timeout(10.0)
    assert [line.wire.closed for line in lines] == [1002, 1002]
    assert server.table.counters.handshakes_failed == 2
    server.found()


@pytest.mark.parametrize(
    "said",
    [
        f.hello(NONCE, Settings()),
        f.refused(0),
        f.ping(bytes(8)),
        f.open_stream(1, 0),
        f.header(0x30, 0, 0),
        f.frame(Type.NEW, 0, NONCE + b"\x20\0\0"),
        f.frame(0x80, 0, bytes(5000)),
    ],
    ids=lambda said: said[:1].hex(),
)
def test_a_wrong_first_frame_closes_its_carrier_only(said: bytes) -> None:
    server = Server()
    first = server.found()
    line = server.carrier()
    line.hear()
    line.say(said)
    assert line.wire.closed == 1002
    assert first.carrier.phase is Phase.LIVE
    assert len(server.table) == 1


def test_a_session_expires_after_its_grace() -> None:
    server = Server(Limits(grace=60))
    line = server.found(Settings(grace=30_000))
    line.say(f.open_stream(1, 65536))
    line.carrier.lost(5.0)
    assert server.session.next_deadline() == 35.0
    server.session.timeout(34.9)
    assert len(server.table) == 1
    server.session.timeout(35.0)
    assert server.log.take()[-2:] == [("reset", 1, Code.EXPIRED), ("ended", Code.EXPIRED)]
    assert len(server.table) == 0
    assert refusal(server.join(0, b"\0")) == Code.UNKNOWN
