"""One session with a server: its carriers, and getting them back when they are lost."""

from __future__ import annotations

import logging
import random
from itertools import pairwise

import pytest
from tests.transports.span.world import Scene, Script, Server, World, switching

from isthmus.errors import StreamReset
from isthmus.span import Code, Phase, Stream
from isthmus.span.frames import SUBPROTOCOL
from isthmus.span.session import Handler
from isthmus.transports.span import client as module
from isthmus.transports.span.client import (
    DIALS_APART,
    LONGEST_PAUSE,
    LONGEST_PAUSE_WITHOUT_STREAMS,
    OFTEN_ELSEWHERE,
)


def pauses(scene: Scene) -> list[float]:
    """Return the seconds between the attempts so far."""
    return [round(later - earlier, 6) for earlier, later in pairwise(scene.network.times)]


# --- a carrier is lost


def test_streams_go_on_when_a_carrier_comes_back(world: World) -> None:
    scene = Scene(world)
    pairs = [scene.pair() for _ in range(3)]
    for client, accepted in pairs:
        client.call("write", b"on its way ")
        accepted.call("write", b"and back ")
    scene.network.cut()
    for client, accepted in pairs:
        client.call("write", b"meanwhile")
        accepted.call("write_eof")
    world.advance(1.0)
    for client, accepted in pairs:
        assert accepted.data == b"on its way meanwhile"
        assert client.data == b"and back "
        assert client.events == ["made", "eof"]
    assert len(scene.network.times) == 2


def test_a_loss_in_the_middle_of_much_data_loses_nothing(world: World) -> None:
    scene = Scene(world)
    client, accepted = scene.pair()
    data = bytes(range(256)) * 4_000
    client.call("write", data)
    for _ in range(6):
        world.clock.run()
        for wire in scene.network.open:
            wire.left.deliver(50_000)
            wire.right.deliver(5)
        scene.network.cut()
        world.advance(0.5)
    world.advance(1.0)
    assert accepted.data == data


def test_streams_wait_longer_and_longer_and_at_most_5_s(world: World) -> None:
    scene = Scene(world)
    scene.pair()
    scene.refuse()
    scene.network.cut()
    world.advance(60.0)
    # With full jitter each is the most it can be here.
    assert pauses(scene)[1:7] == [0.4, 0.8, 1.6, 3.2, LONGEST_PAUSE, LONGEST_PAUSE]
    assert max(pauses(scene)) == LONGEST_PAUSE
    scene.serve()
    world.advance(LONGEST_PAUSE)
    scene.network.cut()
    before = len(scene.network.times)
    world.advance(0.21)
    assert len(scene.network.times) == before + 1  # it begins anew


def test_without_streams_it_waits_up_to_30_s(world: World) -> None:
    scene = Scene(world)
    client, accepted = scene.pair()
    client.call("close")
    accepted.call("close")
    world.settle()
    scene.refuse()
    scene.network.cut()
    world.advance(200.0)
    assert max(pauses(scene)[1:]) == LONGEST_PAUSE_WITHOUT_STREAMS


def test_when_the_grace_is_over_streams_are_reset_and_attempts_end(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene(world, span_grace="20s")
    client, accepted = scene.pair()
    scene.refuse()
    scene.network.cut()
    world.advance(19.0)
    assert client.events == accepted.events == ["made"]
    with caplog.at_level(logging.WARNING):
        world.advance(2.0)
    for each in (client, accepted):
        assert isinstance(each.error, StreamReset)
        assert "the session was lost: no carrier came back within the grace" in str(each.error)
    assert "the session ended: no carrier came back" in caplog.text
    attempts = len(scene.network.times)
    world.advance(100.0)
    assert len(scene.network.times) == attempts
    scene.serve()
    scene.pair()


# --- a new connect while there is none


def test_a_new_connect_has_a_carrier_opened_at_once(world: World) -> None:
    scene = Scene(world)
    client, accepted = scene.pair()
    scene.refuse()
    scene.network.cut()
    world.advance(12.0)  # the next attempt is seconds away
    scene.serve()
    before = len(scene.network.times)
    scene.pair()
    assert len(scene.network.times) == before + 1
    client.call("write", b"this one goes on too")
    world.settle()
    assert accepted.data == b"this one goes on too"


def test_new_connects_are_told_that_nobody_listens_and_streams_wait(world: World) -> None:
    scene = Scene(world)
    client, _ = scene.pair()
    scene.refuse()
    scene.network.cut()
    world.advance(0.6)
    other = scene.connect()
    world.advance(0.6)
    (failure,) = other.failures
    assert isinstance(failure.__cause__, ConnectionRefusedError)
    assert client.events == ["made"]


def test_however_many_connect_there_are_two_attempts_a_second(world: World) -> None:
    scene = Scene(world)
    scene.pair()
    scene.refuse()
    scene.network.cut()
    world.advance(30.0)
    begun = world.now
    before = len(scene.network.times)
    for _ in range(100):
        scene.connect()
        world.advance(0.1)
    made = scene.network.times[before:]
    assert 15 <= len(made) <= 2 * (world.now - begun) + 1
    assert min(later - earlier for earlier, later in pairwise(made)) >= DIALS_APART - 1e-6


def test_who_waits_for_the_attempt_under_way_makes_no_other(world: World) -> None:
    scene = Scene(world)
    scene.network.silent = True
    for _ in range(10):
        scene.connect()
        world.advance(0.5)
    assert len(scene.network.times) == 1


def test_who_waits_for_hello_makes_no_other_attempt(world: World) -> None:
    scene = Scene(world)
    met = scene.script(switching(SUBPROTOCOL))
    for _ in range(5):
        scene.connect()
        world.advance(0.6)
    assert len(met) == 1


# --- refused


def test_a_server_that_has_lost_the_session(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """It was started again: what is lost is reset at once, and the next connect founds a new session."""
    scene = Scene(world)
    client, _ = scene.pair()
    scene.serve(Server(world))
    with caplog.at_level(logging.INFO):
        scene.network.cut()
        world.advance(1.0)
    assert isinstance(client.error, StreamReset)
    assert "the session was lost" in str(client.error)
    assert "there is no such session" in caplog.text
    before = len(scene.network.times)
    scene.pair()
    assert len(scene.network.times) == before + 1


def test_a_node_that_has_not_the_session_is_asked_until_the_right_one_answers(world: World) -> None:
    scene = Scene(world)
    client, accepted = scene.pair()
    right = scene.server
    other = Server(world, node="two")
    scene.serve(other)
    scene.network.cut()
    client.call("write", b"patience")
    world.advance(30.0)
    # The first attempts are near each other, as the balancer may choose another node the next time; not all.
    assert max(pauses(scene)[1:OFTEN_ELSEWHERE]) <= 0.2
    assert OFTEN_ELSEWHERE < other.accept.sessions.counters.refused_elsewhere < 50
    assert client.events == ["made"]
    scene.serve(right)
    world.advance(LONGEST_PAUSE)
    assert accepted.data == b"patience"


def test_who_newly_connects_does_not_wait_for_a_node_that_is_gone(world: World) -> None:
    """A balancer has chosen another: it gets a session of its own, and the old one is still tried for."""
    scene = Scene(world)
    client, accepted = scene.pair()
    right = scene.server
    other = Server(world, node="two")
    scene.serve(other)
    scene.network.cut()
    client.call("write", b"patience")
    new = scene.connect()
    world.advance(3.0)
    assert new.events == ["made"]
    assert other.accept.sessions.counters.sessions_opened == 1
    assert client.events == ["made"]
    scene.serve(right)
    world.advance(LONGEST_PAUSE)
    assert accepted.data == b"patience"


def test_a_server_that_says_later_is_asked_then(world: World) -> None:
    scene = Scene(world)
    client, accepted = scene.pair()
    session = scene.server.session.session
    session.resumes_left, session.resumes_since = 0.0, world.now + 100  # none is earned meanwhile
    scene.network.cut()
    client.call("write", b"patience")
    world.advance(0.3)
    assert scene.server.accept.sessions.counters.resumes_deferred == 1
    assert len(scene.network.times) == 2
    world.advance(0.8)  # the jitter alone would have been 0.4
    assert len(scene.network.times) == 2
    session.resumes_left = 1.0
    world.advance(0.2)
    assert len(scene.network.times) == 3
    assert accepted.data == b"patience"


def test_a_server_that_takes_no_session_is_told_to_whoever_waits(world: World) -> None:
    scene = Scene(world)
    scene.server.accept.sessions.maximum = 0
    client = scene.connect()
    world.settle()
    (failure,) = client.failures
    assert failure.status == 503
    assert "too many sessions" in str(failure)
    assert scene.connector._session is None
    attempts = len(scene.network.times)
    world.advance(60.0)
    assert len(scene.network.times) == attempts
    scene.server.accept.sessions.maximum = 1
    scene.pair()


def test_a_proof_that_is_wrong_costs_the_carrier_only(world: World) -> None:
    """Somebody else sits at the address: the session waits for the right one."""
    scene = Scene(world)
    client, accepted = scene.pair()
    secret = scene.server.session.session.secret
    scene.server.session.session.secret = bytes(32)
    scene.network.cut()
    client.call("write", b"for the right one")
    world.settle()
    scene.server.session.session.secret = secret
    world.advance(1.0)
    assert accepted.data == b"for the right one"


# --- servers that do not mean it


def test_a_server_that_chooses_span_and_says_nothing(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Some choose whatever is offered. It is asked again, without the offer, within the same time."""
    scene = Scene(world, connect_timeout=8.0)
    met: list[Script] = []

    def meets() -> Script:
        met.append(Script(lambda head: switching(SUBPROTOCOL if SUBPROTOCOL in head else "")(head)))
        return met[-1]

    scene.network.meets = meets
    first, second = scene.connect(), scene.connect()
    world.advance(3.9)
    assert not first.made
    assert len(met) == 1
    assert not met[0].data  # nothing is sent before HELLO
    with caplog.at_level(logging.INFO):
        world.advance(0.2)
    assert first.events == second.events == ["made"]
    assert "does not speak it" in caplog.text
    third = scene.connect()
    world.settle()
    assert third.events == ["made"]
    assert [SUBPROTOCOL in each.head for each in met] == [True, False, False, False]


@pytest.mark.parametrize("first", [b"\x81\x02hi", b"\x82\x02hi", b"\x82\x00", b"\x82\x08" + bytes(8)])
def test_a_server_that_chooses_span_and_says_something_else(world: World, first: bytes) -> None:
    scene = Scene(world)
    met: list[Script] = []

    def answer(head: str) -> bytes:
        offered = SUBPROTOCOL in head
        return switching(SUBPROTOCOL if offered else "")(head) + (first if offered else b"")

    def meets() -> Script:
        met.append(Script(answer))
        return met[-1]

    scene.network.meets = meets
    client = scene.connect()
    world.settle()
    assert client.events == ["made"]
    assert [SUBPROTOCOL in each.head for each in met] == [True, False]


def test_nobody_waits_any_more_when_a_server_turns_out_not_to_speak_it(world: World) -> None:
    scene = Scene(world, connect_timeout=8.0)
    met = scene.script(switching(SUBPROTOCOL))
    client = scene.connect()
    world.advance(1.0)
    scene.dial.cancel()
    world.advance(60.0)
    assert len(met) == 1
    assert not client.failures
    assert scene.connector._session is None


def test_a_server_that_chooses_span_and_hangs_up_fails_the_connect(world: World) -> None:
    scene = Scene(world)
    met = scene.script(switching(SUBPROTOCOL))
    client = scene.connect()
    world.settle()
    met[0].call("close")
    world.settle()
    (failure,) = client.failures
    assert failure.status == 502
    assert "ended without Close" in str(failure)


def offers(met: list[Script]) -> list[bool]:
    return [SUBPROTOCOL in each.head for each in met]


def test_one_that_does_so_again_is_not_offered_span_for_a_while(world: World) -> None:
    """Once may have been the network's fault."""
    scene = Scene(world)
    met = scene.script(switching(SUBPROTOCOL))
    scene.connect()
    world.settle()
    met[0].call("close")
    world.settle()
    client = scene.connect()
    world.advance(1.0)
    scene.network.meets = lambda: plain_one(met)
    met[1].call("close")
    world.settle()
    assert client.events == ["made"]
    assert offers(met) == [True, True, False]
    scene.connect()
    world.settle()
    assert offers(met)[3:] == [False]


def plain_one(met: list[Script]) -> Script:
    met.append(Script(switching()))
    return met[-1]


def test_one_that_closes_in_order_says_that_it_only_echoes(world: World) -> None:
    scene = Scene(world)
    met = scene.script(switching(SUBPROTOCOL))
    client, other = scene.connect(), scene.connect()
    world.settle()
    scene.network.meets = lambda: plain_one(met)
    met[0].call("write", b"\x88\x02\x03\xe8")
    world.settle()
    assert client.events == other.events == ["made"]
    assert offers(met) == [True, False, False]


def test_one_that_speaks_span_may_hang_up_as_often_as_it_likes(world: World) -> None:
    scene = Scene(world)
    scene.pair()
    scene.session.stop()
    for _ in range(3):
        met = scene.script(switching(SUBPROTOCOL))
        client = scene.connect()
        world.settle()
        met[0].call("write", b"\x88\x02\x03\xe8")
        world.advance(1.0)
        assert client.failures
    scene.serve()
    scene.pair()
    assert scene.session.session.carriers


# --- several carriers


def test_as_many_carriers_as_are_asked_for(world: World) -> None:
    scene = Scene(world, span_carriers=3)
    client, accepted = scene.pair()
    assert len(scene.network.open) == 3
    assert len(scene.session.session.carriers) == 3
    scene.network.open[1].left.lose()
    client.call("write", b"nobody notices")
    world.settle()
    assert accepted.data == b"nobody notices"
    world.advance(1.0)
    assert len(scene.network.open) == 3
    scene.refuse()
    scene.network.open[0].left.lose()
    world.advance(60.0)
    assert len(scene.network.open) == 2
    client.call("write", b" again")
    world.settle()
    assert accepted.data == b"nobody notices again"


def crawl(world: World, scene: Scene, seconds: float) -> None:
    """Let time pass on a Web that moves 10,000 bytes in a tenth of a second on each carrier."""
    for _ in range(round(seconds * 10)):
        world.clock.advance(0.1)
        for wire in scene.network.open:
            wire.left.deliver(10_000)
            wire.right.deliver(10_000)
        world.clock.run()


def test_more_carriers_are_opened_where_they_are_the_limit_up_to_four(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FAR_AWAY", 0.0)
    monkeypatch.setattr(module, "WORTH_IT", 0.0)  # whatever another brings is enough here
    scene = Scene(world)
    client, accepted = scene.pair()
    written = 0
    counts = []
    for _ in range(80):
        while not client.write_paused:
            client.call("write", bytes(50_000))
            written += 50_000
        crawl(world, scene, 1.0)
        counts.append(len(scene.session.session.carriers))
    assert counts == sorted(counts)
    assert set(counts) == {1, 2, 3, 4}
    world.advance(5.0)
    assert len(accepted.data) == written


def test_another_carrier_that_brings_nothing_is_given_up_for_good(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FAR_AWAY", 0.0)
    monkeypatch.setattr(module, "WORTH_IT", 1e9)
    scene = Scene(world)
    client, accepted = scene.pair()
    written = 0
    counts = []
    for _ in range(40):
        while not client.write_paused:
            client.call("write", bytes(50_000))
            written += 50_000
        crawl(world, scene, 1.0)
        counts.append(len(scene.session.session.carriers))
    assert max(counts) == 2
    assert counts[-20:] == [1] * 20
    world.advance(5.0)
    assert len(accepted.data) == written
    assert accepted.open


@pytest.mark.parametrize(("far", "carriers"), [(1e9, "auto"), (0.0, "1")])
def test_no_more_carriers_where_the_peer_is_near_or_their_number_is_set(
    world: World, monkeypatch: pytest.MonkeyPatch, far: float, carriers: str
) -> None:
    monkeypatch.setattr(module, "_FAR_AWAY", far)
    scene = Scene(world, span_carriers=carriers)
    client, _ = scene.pair()
    for _ in range(20):
        while not client.write_paused:
            client.call("write", bytes(50_000))
        crawl(world, scene, 1.0)
    assert len(scene.network.times) == 1


def test_one_that_is_asked_to_go_is_replaced_at_once(world: World) -> None:
    scene = Scene(world)
    client, accepted = scene.pair()
    server = scene.server.session.session
    (carrier,) = server.carriers.values()
    server.replace_carrier(carrier)
    world.settle()
    assert len(scene.network.times) == 2
    assert [each.phase for each in scene.session.session.carriers.values()] == [Phase.LIVE] * 2
    scene.network.wires[0].left.lose()
    client.call("write", b"unharmed")
    world.advance(5.0)
    assert accepted.data == b"unharmed"
    assert len(scene.network.times) == 2


# --- going and stopping


def test_a_session_that_is_going_keeps_its_streams_and_the_next_connect_founds_another(world: World) -> None:
    scene = Scene(world)
    client, accepted = scene.pair()
    old = scene.session
    scene.server.accept.go_away()
    world.settle()
    assert scene.connector._session is None
    client.call("write", b"still here")
    world.settle()
    assert accepted.data == b"still here"
    scene.serve(Server(world))
    scene.pair()
    assert scene.session is not old
    for each in (client, accepted):
        each.call("close")
    world.settle()
    assert client.error is None
    assert client.lost
    assert old.session.over


@pytest.mark.parametrize("last", ["client", "server"])
def test_a_session_that_ends_with_its_last_stream_acknowledges_that_first(world: World, last: str) -> None:
    """The end of the session comes while the message with the last acknowledgement is being filled."""
    scene = Scene(world)
    client, accepted = scene.pair()
    scene.server.accept.go_away()
    first, second = (accepted, client) if last == "client" else (client, accepted)
    first.call("write_eof")
    world.advance(1.0)
    second.call("write_eof")
    world.settle()
    world.advance(1.0)
    for each in (client, accepted):
        assert each.events == ["made", "eof", "lost"]
        assert each.error is None
    assert not scene.server.accept.drivers
    assert not scene.network.open


def test_a_session_that_is_going_gets_its_carrier_back_for_its_own_streams_only(world: World) -> None:
    """Who waits for the new session must not be given to the old one, which takes nothing."""
    scene = Scene(world)
    client, accepted = scene.pair()
    old_server = scene.server
    old_server.accept.go_away()
    world.settle()
    scene.network.silent = True
    waiting = scene.connect()
    world.settle()
    scene.network.silent = False
    scene.network.cut()
    world.advance(0.3)
    assert not waiting.failures
    client.call("write", b"still here")
    world.settle()
    assert accepted.data == b"still here"


def test_a_failure_of_a_session_that_is_going_is_not_told_to_who_waits_for_another(world: World) -> None:
    scene = Scene(world)
    scene.pair()
    scene.server.accept.go_away()
    world.settle()
    scene.network.silent = True
    waiting = scene.connect()
    world.settle()
    scene.network.silent = False
    scene.refuse()
    scene.network.cut()
    world.advance(0.3)
    assert not waiting.failures


def test_stop_ends_it_and_leaves_nothing(world: World) -> None:
    scene = Scene(world)
    client, _ = scene.pair()
    scene.connector.close()
    scene.connector.close()
    world.settle()
    assert isinstance(client.error, StreamReset)
    assert "is stopping" in str(client.error)
    assert scene.network.closed == 2
    attempts = len(scene.network.times)
    scene.network.cut()
    world.advance(60.0)
    assert len(scene.network.times) == attempts
    assert not scene.network.open


def test_stop_is_told_also_while_a_ping_is_not_answered_yet(world: World) -> None:
    """A ping may be under way at any time; only who has not answered for long is given no farewell."""
    scene = Scene(world)
    client, accepted = scene.pair()
    (carrier,) = scene.session.session.carriers.values()
    carrier.ping()
    world.clock.run()
    scene.connector.close()
    world.settle()
    assert client.lost
    assert isinstance(accepted.error, StreamReset)
    assert scene.server.quota.used == 0


@pytest.mark.parametrize("stage", ["dialling", "waiting"])
def test_stop_gives_up_getting_a_carrier(world: World, stage: str) -> None:
    scene = Scene(world)
    client, _ = scene.pair()
    if stage == "dialling":
        scene.network.silent = True
    else:
        scene.refuse()
    scene.network.cut()
    world.advance(3.0)
    attempts = len(scene.network.times)
    waiting = scene.connect()
    world.clock.run()
    scene.connector.close()
    world.settle()
    assert client.lost
    assert [failure.status for failure in waiting.failures] == [503]
    attempts = len(scene.network.times)
    world.advance(60.0)
    assert len(scene.network.times) == attempts
    assert scene.network.cancelled == (stage == "dialling")


def test_stop_ends_a_session_that_is_going_too(world: World) -> None:
    scene = Scene(world)
    client, _ = scene.pair()
    scene.server.accept.go_away()
    world.settle()
    scene.refuse()
    scene.network.cut()
    scene.connector.close()
    world.settle()
    assert client.lost
    attempts = len(scene.network.times)
    world.advance(100.0)
    assert len(scene.network.times) == attempts


def test_a_server_may_not_open_streams(world: World) -> None:
    scene = Scene(world)
    scene.pair()
    told: list[int] = []

    class Told(Handler):
        def reset(self, stream: Stream, code: int, text: str) -> None:
            told.append(code)

    session = scene.server.session.session
    session.handler = Told()
    session.open()
    world.settle()
    assert told == [Code.REFUSED]


def test_a_broken_protocol_ends_the_session_and_is_said_loudly(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene(world)
    client, accepted = scene.pair()
    (carrier,) = scene.server.session.session.carriers.values()
    carrier.send(b"\x13" + bytes(7))
    with caplog.at_level(logging.WARNING):
        world.settle()
    assert client.lost
    assert accepted.lost
    levels = {record.levelname for record in caplog.records if "the session ended" in record.getMessage()}
    assert levels == {"ERROR", "WARNING"}
    scene.pair()


def test_no_secret_is_in_any_log_line(world: World, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        scene = Scene(world)
        client, _ = scene.pair()
        session = scene.session.session
        secrets = [session.secret, session.id]
        scene.network.cut()
        world.advance(1.0)
        scene.serve(Server(world, node="two"))
        scene.network.cut()
        world.advance(1.0)
        scene.serve(Server(world))
        scene.network.cut()
        world.advance(1.0)
        assert client.lost
        scene.connector.close()
        world.settle()
    assert len(caplog.records) > 5
    for record in caplog.records:
        line = record.getMessage()
        for secret in secrets:
            for part in (secret[:8], secret[-8:]):
                assert part.hex() not in line.lower()
                assert repr(part)[2:-1] not in line


def test_a_loss_names_the_peer(world: World, caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(world)
    scene.pair()
    with caplog.at_level(logging.INFO):
        scene.network.cut()
        world.settle()
    lines = [record.getMessage() for record in caplog.records]
    assert any("lost the carrier of 1 streams: the connection was lost" in line for line in lines)
    assert any(line.startswith("ws://gate.example.com:80/service: 192.0.2.7:50000: ") for line in lines)


def test_the_jitter_is_full(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[float, float]] = []

    def least(low: float, high: float) -> float:
        asked.append((low, high))
        return low

    monkeypatch.setattr(random, "uniform", least)
    scene = Scene(world)
    scene.pair()
    scene.network.meets = lambda: None if len(scene.network.times) < 5 else scene.server.receiver()
    scene.network.cut()
    world.advance(1.0)
    assert asked == [(0, 0.2), (0, 0.4), (0, 0.8), (0, 1.6)]
