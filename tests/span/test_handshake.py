"""handshake.py: the client's side against a server that is spoken by hand."""

from __future__ import annotations

import pytest
from tests.span.dialogue import NONCE, client, dialled
from tests.span.test_session import HELLO, WELCOME, established

from isthmus.span import Code, Limits, Phase
from isthmus.span import frames as f
from isthmus.span.frames import Settings, Type
from isthmus.span.handshake import settings_of


def test_limits_are_said_as_settings() -> None:
    assert settings_of(Limits(maximum_message=65_552)) == Settings()
    assert settings_of(Limits(grace=1.5, maximum_streams=7)) == Settings(Limits().maximum_message, 7, 1_500)


def test_nothing_is_said_before_hello() -> None:
    session, _ = client()
    line = dialled(session)
    session.open()
    assert line.hear() == []
    line.say(HELLO)
    assert [kind for kind, _ in line.kinds()] == [Type.NEW]


@pytest.mark.parametrize(
    "said",
    [
        WELCOME,
        f.refused(Code.LATER),
        f.new(NONCE, Settings()),
        HELLO + HELLO,
        HELLO + f.welcome_back(bytes(32)),
        f.ping(bytes(8)),
        b"HTTP/1.1 200 OK\r\n\r\n",
    ],
    ids=range(7),
)
def test_a_server_that_does_not_speak_span_loses_the_carrier_only(said: bytes) -> None:
    session, log = client()
    session.open()
    line = dialled(session)
    line.say(said)
    assert line.wire.closed == 1002
    assert log.take() == []
    assert session.counters.handshakes_failed == 1
    again = dialled(session)
    again.say(HELLO)
    again.hear()
    again.say(WELCOME)
    assert again.carrier.phase is Phase.LIVE


def test_a_server_that_proves_nothing_loses_the_carrier_only() -> None:
    session, line = established()
    line.carrier.lost(0.0)
    again = dialled(session)
    again.say(HELLO)
    again.hear()
    again.say(f.welcome_back(bytes(32)))
    assert again.wire.closed == 1002
    assert not session.over
    assert session.given_up == {0}


def test_a_second_carrier_waits_for_the_first() -> None:
    session, _ = client()
    first, second = dialled(session), dialled(session)
    first.say(HELLO)
    second.say(HELLO)
    assert [kind for kind, _ in first.kinds()] == [Type.NEW]
    assert second.hear() == []
    first.say(WELCOME)
    [(kind, _, payload)] = second.hear()
    assert kind == Type.JOIN
    assert f.parse_join(payload).slot == 1


def test_the_next_founds_when_the_first_is_lost() -> None:
    session, _ = client()
    first, second = dialled(session), dialled(session)
    first.say(HELLO)
    second.say(HELLO)
    first.carrier.lost(0.0)
    assert [kind for kind, _ in second.kinds()] == [Type.NEW]


def test_one_resumes_and_the_others_join() -> None:
    session, line = established()
    line.carrier.lost(0.0)
    first, second = dialled(session), dialled(session)
    first.say(HELLO)
    second.say(HELLO)
    assert [kind for kind, _ in first.kinds()] == [Type.RESUME]
    assert [kind for kind, _ in second.kinds()] == [Type.JOIN]
    second.carrier.lost(0.0)
    assert session.given_up == {0, 1}
    first.carrier.lost(0.0)
    third = dialled(session)
    third.say(HELLO)
    [(_, _, payload)] = third.hear()
    request = f.parse_join(payload)
    assert request.fences == b"\0\1"
    assert request.epoch == 4


@pytest.mark.parametrize(
    ("code", "ends"), [(Code.UNKNOWN, True), (Code.ELSEWHERE, False), (Code.LATER, False)]
)
def test_a_refusal_is_passed_on_and_only_unknown_ends(code: Code, ends: bool) -> None:
    session, line = established()
    stream = session.open()
    line.carrier.lost(0.0)
    again = dialled(session)
    again.say(HELLO)
    again.hear()
    again.say(f.refused(code, 1500, "why"))
    assert ("refused", code, 1.5) in again.wire.told
    assert again.wire.closed == 1000
    assert session.over is ends
    told = session.handler.told  # type: ignore[attr-defined]
    assert told == ([("reset", stream.id, Code.EXPIRED), ("ended", Code.EXPIRED)] if ends else [])


def test_a_server_has_to_answer_in_time() -> None:
    session, _ = client()
    line = dialled(session)
    assert session.next_deadline() == 10.0
    session.timeout(10.0)
    assert line.wire.closed == 1002
    assert session.handshakes == []
