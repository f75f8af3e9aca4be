"""One connect under way: cancelled, timed out or refused at each stage."""

from __future__ import annotations

import pytest
from tests.transports.span.world import ADDRESS, Client, Scene, World, switching, transport_of

from isthmus.errors import ConnectError
from isthmus.span import Code

TIMEOUT = 4.0


def test_the_far_side_answers_before_the_connection_is_made(world: World) -> None:
    scene = Scene(world)
    scene.server.answers = False
    client = scene.connect()
    world.settle()
    assert client.events == []
    accepted = scene.server.answer(scene.server.offers[0])
    accepted.call("write", b"who is first speaks")
    accepted.call("write_eof")
    world.settle()
    assert client.events == ["made", "eof"]
    assert client.data == b"who is first speaks"


def test_data_that_overtakes_the_answer_is_held_for_it(world: World) -> None:
    """On several carriers they may come in any order."""
    scene = Scene(world, span_carriers=2)
    scene.server.answers = False
    client = scene.connect()
    world.settle()
    assert len(scene.session.session.carriers) == 2
    world.advance(1.0)
    accepted = scene.server.answer(scene.server.offers[0])
    accepted.call("write", b"quick " * 10_000)
    world.clock.run()
    for wire in reversed(scene.network.open):
        wire.right.deliver()
    world.settle()
    assert client.data == b"quick " * 10_000


def test_an_early_connect_does_not_wait(world: World) -> None:
    scene = Scene(world)
    scene.server.answers = False
    client = scene.connect(early=True)
    assert client.events == []
    world.settle()
    assert client.events == ["made"]
    client.call("write", b"at once")
    world.settle()
    accepted = scene.server.answer(scene.server.offers[0])
    world.settle()
    assert accepted.data == b"at once"
    world.advance(100)  # its time is over with `connection_made`
    assert client.events == ["made"]


# --- cancelled


def nothing_comes(world: World, client: Client) -> None:
    events = list(client.events)
    world.advance(60.0)
    assert client.events == events
    assert not client.failures


def test_cancelled_at_once_nothing_is_opened(world: World) -> None:
    scene = Scene(world)
    client = scene.connect()
    scene.dial.cancel()
    scene.dial.cancel()
    nothing_comes(world, client)
    assert not scene.network.times


def test_cancelled_while_it_waits_for_a_carrier(world: World) -> None:
    """Another who waits for the same carrier gets it."""
    scene = Scene(world)
    scene.network.silent = True
    first, first_dial = scene.connect(), scene.dial
    second = scene.connect()
    world.settle()
    first_dial.cancel()
    scene.network.silent = False
    world.advance(11.0)  # the attempt fails, and with it the second
    assert [failure.status for failure in second.failures] == [504]
    third = scene.connect()
    third_dial = scene.dial
    fourth = scene.connect()
    world.clock.run()
    third_dial.cancel()
    world.settle()
    assert fourth.events == ["made"]
    nothing_comes(world, first)
    nothing_comes(world, third)
    assert len(scene.server.offers) == 1


@pytest.mark.parametrize("stage", ["connecting", "handshake", "hello"])
def test_cancelled_while_the_carrier_is_being_opened(world: World, stage: str) -> None:
    scene = Scene(world)
    client = scene.connect()
    if stage == "connecting":
        world.clock.run()
    else:
        world.clock.run()
        wire = scene.network.wires[0]
        wire.left.deliver()
        if stage == "hello":
            wire.right.deliver()
    scene.dial.cancel()
    nothing_comes(world, client)
    assert not scene.server.offers


def test_cancelled_while_it_waits_for_the_answer(world: World) -> None:
    scene = Scene(world)
    scene.server.answers = False
    gone: list[bool] = []
    client = scene.connect()
    world.settle()
    scene.server.offers[0].gone = lambda: gone.append(True)
    scene.dial.cancel()
    nothing_comes(world, client)
    assert gone == [True]
    assert not scene.session.session.streams


def test_cancelled_while_its_own_websocket_is_opened(world: World) -> None:
    scene = Scene(world, server={"mode": "never"})
    scene.pair()
    for steps in range(1, 5):
        client = scene.connect()
        world.clock.run()
        wire = scene.network.wires[-1]
        for _ in range(steps - 1):
            wire.left.deliver()
            wire.right.deliver()
            if client.made:
                break
        if client.made:
            break
        scene.dial.cancel()
        nothing_comes(world, client)
        assert wire.left.over
    else:
        pytest.fail("it was never made")


def test_cancelled_when_it_is_made_nothing_happens(world: World) -> None:
    for early in (False, True):
        for mode in ("auto", "never"):
            scene = Scene(world, server={"mode": mode})
            client = scene.connect(early=early)
            world.settle()
            scene.dial.cancel()
            world.settle()
            assert client.events == ["made"]
            transport_of(client).abort()
            world.settle()


# --- timed out


def test_nobody_answers_the_attempt(world: World) -> None:
    scene = Scene(world, connect_timeout=TIMEOUT)
    scene.network.silent = True
    client = scene.connect()
    world.advance(TIMEOUT - 0.1)
    late = scene.connect()
    assert not client.failures
    world.advance(0.2)
    # One attempt for both: whoever came later is told what is known.
    for each in (client, late):
        (failure,) = each.failures
        assert failure.status == 504
        assert str(ADDRESS) in str(failure)
    assert scene.network.cancelled == 1


def test_the_websocket_is_never_answered(world: World) -> None:
    scene = Scene(world, connect_timeout=TIMEOUT)
    scene.script(lambda head: b"")
    client = scene.connect()
    world.advance(TIMEOUT + 0.1)
    (failure,) = client.failures
    assert failure.status == 504
    assert "handshake" in str(failure)


def test_the_far_side_never_answers(world: World) -> None:
    scene = Scene(world, connect_timeout=TIMEOUT)
    scene.server.answers = False
    gone: list[bool] = []
    client = scene.connect()
    world.settle()
    scene.server.offers[0].gone = lambda: gone.append(True)
    world.advance(TIMEOUT - 0.1)
    assert not client.failures
    world.advance(0.2)
    (failure,) = client.failures
    assert failure.status == 504
    assert failure.hint
    assert "no answer within 4 s" in str(failure)
    assert gone == [True]
    nothing: list[str] = client.events
    scene.server.answer(scene.server.offers[0])
    world.advance(10.0)
    assert nothing == []
    assert len(client.failures) == 1


def test_no_carrier_comes_back_in_time(world: World) -> None:
    scene = Scene(world, connect_timeout=TIMEOUT)
    scene.pair()
    scene.network.silent = True
    scene.network.cut()
    world.advance(0.6)
    client = scene.connect()
    world.advance(TIMEOUT + 0.1)
    (failure,) = client.failures
    assert failure.status == 504


def test_all_stages_have_one_time_together(world: World) -> None:
    """A connect that waited for its carrier has the rest of its time for the answer."""
    scene = Scene(world, connect_timeout=TIMEOUT)
    scene.server.answers = False
    met = scene.script(lambda head: b"")
    client = scene.connect()
    world.advance(3.0)
    assert len(met) == 1
    scene.serve()
    other = scene.connect()
    world.advance(0.9)
    assert not client.failures
    met[0].call("close")
    world.settle()
    assert [failure.status for failure in client.failures] == [502]
    assert [failure.status for failure in other.failures] == [502]


# --- refused


def test_the_session_has_as_many_streams_as_the_server_takes(world: World) -> None:
    scene = Scene(world, server={"span_maximum_streams": 2})
    scene.pair()
    scene.pair()
    client = scene.connect()
    world.settle()
    (failure,) = client.failures
    assert failure.status == 503
    assert "as many streams" in str(failure)
    assert len(scene.server.offers) == 2


def test_the_gateway_has_as_many_connections_as_it_may(world: World) -> None:
    scene = Scene(world, server={"maximum": 1})
    held, _ = scene.pair()
    for early in (False, True):
        client = scene.connect(early=early)
        world.settle()
        failure = client.error if early else client.failures[0]
        assert isinstance(failure, ConnectError)
        assert failure.status == 503
        assert "as many streams as it may have" in str(failure)
    assert scene.server.quota.times_reached == 2
    transport_of(held).abort()
    world.settle()
    scene.pair()


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (Code.CANCEL, 502),
        (Code.REFUSED, 502),
        (Code.UNREACHABLE, 502),
        (Code.TIMEOUT, 504),
        (Code.OVERLOAD, 503),
        (Code.EXPIRED, 502),
        (Code.GOING, 503),
        (999, 502),
    ],
)
def test_a_reset_before_the_answer_has_a_status(world: World, code: int, status: int) -> None:
    scene = Scene(world)
    scene.server.answers = False
    client = scene.connect()
    world.settle()
    session = scene.server.session.session
    (stream,) = session.streams.values()
    session.reset(stream, code, "tcp://inner.example.com")
    world.settle()
    (failure,) = client.failures
    assert failure.status == status
    assert code == Code.EXPIRED or "inner" not in str(failure)


def test_an_end_without_an_answer_is_a_failure(world: World) -> None:
    scene = Scene(world)
    scene.server.answers = False
    client = scene.connect()
    world.settle()
    (stream,) = scene.session.session.streams.values()
    stream.owner.was_closed()
    (failure,) = client.failures
    assert "it ended" in str(failure)


def test_a_plain_server_is_asked_within_the_same_time(world: World) -> None:
    scene = Scene(world, connect_timeout=TIMEOUT)
    scene.script(switching())
    clients = [scene.connect() for _ in range(3)]
    world.settle()
    assert [client.events for client in clients] == [["made"]] * 3
    world.advance(2 * TIMEOUT)
    assert [client.events for client in clients] == [["made"]] * 3
