"""What drives a session: its timer, and what it knows of its carriers."""

from __future__ import annotations

import math

import pytest
from tests.transports.span.world import Scene, World

from isthmus.span import Code
from isthmus.transports.span.session import SessionDriver


def test_a_silent_peer_is_pinged_and_then_given_up(world: World) -> None:
    scene = Scene(world, span_ping_deadline="4s")
    scene.pair()
    (wire,) = scene.network.open
    wire.left.peer.pause_reading()  # the network is a black hole now
    wire.left.pause_reading()
    counters = scene.session.session.counters
    before = counters.pings_sent
    world.advance(2.1)
    assert counters.pings_sent == before + 1
    assert counters.carriers_silent == 0
    world.advance(2.0)
    assert counters.carriers_silent == 1
    assert wire.left.over


@pytest.mark.parametrize("side", ["client", "server"])
def test_an_idle_session_lives_and_says_little(world: World, side: str) -> None:
    scene = Scene(world)
    scene.pair()
    drivers: dict[str, SessionDriver] = {"client": scene.session, "server": scene.server.session}
    counters = drivers[side].session.counters
    world.advance(600.0)
    assert counters.carriers_lost == 0
    assert counters.pings_sent + counters.pings_received >= 60
    assert counters.pings_sent + counters.pings_received <= 240


def test_the_timer_is_set_anew_only_for_what_is_earlier(world: World) -> None:
    scene = Scene(world)
    client, accepted = scene.pair()
    world.settle()
    driver = scene.session
    before = driver._timer
    assert before is not None
    for _ in range(10):
        client.call("write", b"x")
        world.settle()
    # Acknowledging is due soon on the side that received; one timer rings for all of it.
    due = scene.server.session._due
    assert due <= world.now + 0.025 + 1e-9
    timer = scene.server.session._timer
    client.call("write", b"x")
    world.settle()
    assert scene.server.session._timer is timer
    world.advance(0.05)
    assert driver.session.streams[1].send.stored == 0
    assert accepted.data == b"x" * 11


def test_what_is_acknowledged_late_is_acknowledged_by_the_timer(world: World) -> None:
    scene = Scene(world)
    client, accepted = scene.pair()
    world.advance(1.0)
    client.call("write", b"x" * 100)
    world.settle()
    assert accepted.data == b"x" * 100
    stream = scene.session.session.streams[1]
    assert stream.send.stored == 100
    world.advance(0.03)
    assert stream.send.stored == 0


@pytest.mark.parametrize("side", ["client", "server"])
def test_after_the_end_no_timer_is_left(world: World, side: str) -> None:
    scene = Scene(world)
    scene.pair()
    driver: SessionDriver = scene.session if side == "client" else scene.server.session
    driver.session.end(Code.CANCEL)
    assert driver._timer is None
    assert driver._due == math.inf
    driver.ring()
    driver.moved()
    assert driver._timer is None


def test_what_it_knows_is_what_any_carrier_knows(world: World) -> None:
    scene = Scene(world)
    scene.pair()
    driver = scene.server.session
    assert driver.info("peername") == ("192.0.2.7", 50000)
    assert driver.info("there is no such thing") is None
    assert driver.peer == "192.0.2.7:50000"
    scene.refuse()
    scene.network.cut()
    world.settle()
    assert driver.info("peername") is None
    assert driver.peer == "192.0.2.7:50000"  # still, for the log


def test_only_a_role_knows_what_to_do_with_new_streams(world: World) -> None:
    scene = Scene(world)
    scene.pair()
    (stream,) = scene.session.session.streams.values()
    with pytest.raises(NotImplementedError):
        SessionDriver(scene.connector.address).stream_opened(stream)
