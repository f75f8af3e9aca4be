"""A stream as what a service is offered."""

from __future__ import annotations

import pytest
from tests.transports.span.world import ADDRESS, Client, Scene, World

from isthmus.errors import ConnectError, StreamReset
from isthmus.span.limits import EARLY_DATA


def held_back(world: World) -> Scene:
    """Return a scene whose service has been offered one stream and has not answered."""
    scene = Scene(world)
    scene.server.answers = False
    return scene


def test_it_says_who_comes_and_where(world: World) -> None:
    scene = held_back(world)
    scene.connect(origin="[2001:db8::4]:40000")
    scene.connect(origin="")
    world.settle()
    first, second = scene.server.offers
    assert first.address is second.address is ADDRESS
    assert first.peer == "[2001:db8::4]:40000"
    assert second.peer == "192.0.2.7:50000"  # the other gateway's
    assert first.early
    assert first.gone is None


def test_early_data_waits_for_the_answer_and_is_bounded(world: World) -> None:
    scene = held_back(world)
    client = scene.connect(early=True)
    world.settle()
    client.call("write", b"early" * 20_000)
    world.advance(0.1)
    accepted = scene.server.answer(scene.server.offers[0])
    assert accepted.events == ["made"]
    assert not accepted.data  # nothing from inside `accept`
    world.clock.run()
    assert len(accepted.data) == EARLY_DATA
    world.settle()
    assert accepted.data == b"early" * 20_000


def test_a_receiver_that_pauses_at_once_stays_paused(world: World) -> None:
    scene = held_back(world)
    client = scene.connect(early=True)
    world.settle()
    client.call("write", b"early")
    client.call("write_eof")
    world.settle()
    accepted = Client()
    accepted.pause_at_start = True
    scene.server.offers[0].accept(accepted)
    world.settle()
    assert accepted.events == ["made"]
    accepted.resume()
    world.settle()
    assert accepted.data == b"early"
    assert accepted.events == ["made", "eof"]


@pytest.mark.parametrize(
    ("status", "cause", "told", "text"),
    [
        (502, None, 502, "cannot be reached"),
        (502, ConnectionRefusedError(111, "Connection refused"), 502, "refused the connection"),
        (502, OSError(113, "No route to host"), 502, "cannot be reached"),
        (503, None, 503, "is stopping"),
        (504, None, 504, "did not answer in time"),
        (404, None, 502, "cannot be reached"),
    ],
)
@pytest.mark.parametrize("early", [False, True])
def test_a_refusal_is_told_with_its_status_and_without_names(
    world: World, status: int, cause: Exception | None, told: int, text: str, early: bool
) -> None:
    scene = held_back(world)
    client = scene.connect(early=early)
    world.settle()
    error = ConnectError("Unable to connect to tcp://inner.example.com:22: secret", status=status)
    error.__cause__ = cause
    scene.server.offers[0].refuse(error)
    assert scene.server.quota.used == 0
    world.settle()
    failure = client.error if early else client.failures[0]
    assert client.events == (["made", "lost"] if early else [])
    assert isinstance(failure, ConnectError)
    assert failure.status == told
    assert text in str(failure)
    assert str(failure).startswith(f"Unable to connect to {ADDRESS}: ")
    assert "inner" not in str(failure)
    assert "secret" not in str(failure)


# --- who leaves before the answer


@pytest.mark.parametrize("how", ["cancel", "abort", "the other gateway stops", "the session expires"])
def test_a_client_that_leaves_is_told_once_and_at_once(world: World, how: str) -> None:
    scene = held_back(world)
    told: list[str] = []
    client = scene.connect(early=how == "abort")
    world.settle()
    (incoming,) = scene.server.offers
    incoming.gone = lambda: told.append("gone")
    if how == "cancel":
        scene.dial.cancel()
    elif how == "abort":
        client.call("abort")
    elif how == "the other gateway stops":
        scene.connector.close()
    else:
        scene.refuse()
        scene.network.cut()
        world.advance(299.0)
        assert told == []
        world.advance(2.0)
    world.settle()
    assert told == ["gone"]
    assert scene.server.quota.used == 0
    incoming.refuse(ConnectError("too late"))
    assert told == ["gone"]


def test_whoever_accepts_a_client_that_has_left_is_told_so(world: World) -> None:
    scene = held_back(world)
    scene.connect()
    world.settle()
    scene.dial.cancel()
    world.settle()
    accepted = scene.server.answer(scene.server.offers[0])
    assert accepted.events == ["made"]
    accepted.call("write", b"is somebody there?")
    accepted.call("close")
    world.settle()
    assert accepted.events == ["made", "lost"]
    assert isinstance(accepted.error, StreamReset)
    assert scene.server.quota.used == 0


def test_nobody_is_told_after_the_answer(world: World) -> None:
    scene = held_back(world)
    told: list[str] = []
    client = scene.connect()
    world.settle()
    (incoming,) = scene.server.offers
    incoming.gone = lambda: told.append("gone")
    accepted = scene.server.answer(incoming)
    world.settle()
    client.call("abort")
    world.settle()
    assert accepted.lost
    assert told == []
