"""Idle WebSockets are pinged, and how soon is learned from what cuts them."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from tests.transports.memory import Watcher, Wire, WireEnd
from tests.transports.span.world import Scene, World, transport_of

from isthmus.config.model import AcceptOptions, ConnectOptions
from isthmus.transports.keep_alive import LEAST_INTERVAL, IdleLimit
from isthmus.transports.ws import WebSocketTransport
from isthmus.websocket.frames import Role

PING, PONG = 0x89, 0x8A


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


# --- what is learned


def test_two_cuts_after_the_same_silence_teach_half_of_it(caplog: pytest.LogCaptureFixture) -> None:
    limit = IdleLimit("gw", 20.0)
    with caplog.at_level(logging.WARNING):
        assert not limit.cut(10.0, 100.0)
        assert limit.interval == 20.0
        assert limit.cut(10.3, 111.0)
    assert limit.interval == 5.0
    assert caplog.messages == [
        "gw: something on the way cuts what is idle for 10.0 s; it is pinged after 5.0 s from now on"
    ]


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        ((10.0, 100.0), (10.0, 100.1), "both at once: a restart"),
        ((10.0, 100.0), (10.0, 109.0), "silent before the other was cut"),
        ((10.0, 100.0), (4.0, 200.0), "another time"),
        ((0.5, 100.0), (0.5, 200.0), "hardly idle"),
        ((25.0, 100.0), (25.0, 200.0), "pinged meanwhile"),
    ],
)
def test_what_teaches_nothing(first: tuple[float, float], second: tuple[float, float], why: str) -> None:
    limit = IdleLimit("gw", 20.0)
    assert not limit.cut(*first), why
    assert not limit.cut(*second), why
    assert limit.interval == 20.0


def test_what_was_learned_may_be_learned_again_down_to_a_bound() -> None:
    limit = IdleLimit("gw", 20.0)
    now = 0.0
    for _ in range(100):
        now += 50.0
        limit.cut(limit.interval * 0.9, now)
    assert limit.interval == LEAST_INTERVAL
    assert not limit.cut(LEAST_INTERVAL / 2, now + 50)


def test_one_odd_cut_between_costs_one_more() -> None:
    limit = IdleLimit("gw", 20.0)
    assert not limit.cut(10.0, 100.0)
    assert not limit.cut(3.0, 200.0)
    assert not limit.cut(10.0, 300.0)
    assert limit.cut(10.0, 400.0)


# --- plain WebSockets


class Pair:
    """Two WebSocket transports on one wire; the left one, a client, is kept alive."""

    def __init__(self, world: World, limit: IdleLimit) -> None:
        self.world = world
        self.wire: Wire = world.wire()
        self.near, self.far = Watcher(), Watcher()
        self.client = WebSocketTransport(self.wire.left, Role.CLIENT, 1 << 17, 30.0, 0.0, limit)
        self.server = WebSocketTransport(self.wire.right, Role.SERVER, 1 << 17, 30.0)
        self.server.start(self.far)
        self.client.start(self.near)

    def idle(self, seconds: float) -> None:
        self.world.advance(seconds)


@pytest.fixture
def first_bytes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the first byte of all that is written to wires."""
    written: list[int] = []
    write = WireEnd.write

    def recording(self: WireEnd, data: bytes | bytearray | memoryview) -> None:
        written.append(data[0])
        write(self, data)

    monkeypatch.setattr(WireEnd, "write", recording)
    return written


def test_an_idle_websocket_is_pinged_each_time(world: World, first_bytes: list[int]) -> None:
    pair = Pair(world, IdleLimit("gw", 20.0))
    pair.idle(65.0)
    assert first_bytes == [PING, PONG] * 3
    pair.client.abort()
    pair.idle(100.0)
    assert first_bytes.count(PING) == 3


@pytest.mark.parametrize("side", ["client", "server"])
def test_one_that_moves_is_not(world: World, first_bytes: list[int], side: str) -> None:
    pair = Pair(world, IdleLimit("gw", 20.0))
    for _ in range(10):
        pair.idle(15.0)
        getattr(pair, side).write(b"data")
    assert PING not in first_bytes


def test_never_is_never(world: World, first_bytes: list[int]) -> None:
    pair = Pair(world, IdleLimit("gw", 0.0))
    pair.idle(1000.0)
    assert not first_bytes


def test_an_unanswered_ping_is_not_repeated(world: World, first_bytes: list[int]) -> None:
    """The queue of one who reads nothing does not grow."""
    pair = Pair(world, IdleLimit("gw", 20.0))
    pair.wire.right.pause_reading()
    pair.idle(500.0)
    assert first_bytes == [PING]


def test_a_half_closed_one_is_not_pinged(world: World, first_bytes: list[int]) -> None:
    pair = Pair(world, IdleLimit("gw", 5.0))
    pair.client.write_eof()
    pair.idle(12.0)
    assert PING not in first_bytes


def test_a_plain_websocket_teaches_its_connector(world: World) -> None:
    limit = IdleLimit("gw", 20.0)
    for _ in range(2):
        pair = Pair(world, limit)
        pair.idle(8.0)
        pair.wire.left.lose()
        world.settle()
        assert pair.near.events == ["made", "lost"]
    assert limit.interval == 4.0


@pytest.mark.parametrize("end", ["close", "abort", "dismiss"])
def test_an_end_that_was_wanted_teaches_nothing(world: World, end: str) -> None:
    limit = IdleLimit("gw", 20.0)
    for _ in range(3):
        pair = Pair(world, limit)
        pair.idle(8.0)
        if end == "close":
            pair.server.close()
        elif end == "abort":
            pair.client.abort()
        else:
            pair.server.dismiss("enough")
        world.advance(5.0)
    assert limit.interval == 20.0


# --- carriers

SLOW: dict[str, Any] = {"span.ping.deadline": 600.0, "ws.ping.interval": 20.0}
LATER: dict[str, Any] = {**SLOW, "ws.ping.interval": 0.0}


def cut_idle(scene: Scene, world: World, seconds: float) -> None:
    world.advance(seconds)
    scene.network.cut()
    world.advance(1.0)


def test_a_carrier_is_pinged_by_the_sooner_of_both_settings(world: World) -> None:
    for deadline, interval, after in ((10.0, 20.0, 5.0), (600.0, 20.0, 20.0), (600.0, 0.0, 300.0)):
        options: dict[str, Any] = {"span.ping.deadline": deadline, "ws.ping.interval": interval}
        scene = Scene(world, server=options, **options)
        scene.pair()
        assert scene.session.session.ping_after == after
        assert scene.server.session.session.ping_after == after


def test_carriers_that_are_cut_for_being_idle_teach(world: World) -> None:
    scene = Scene(world, server=LATER, **SLOW)
    client, server = scene.pair()
    for _ in range(2):
        cut_idle(scene, world, 8.0)
    assert scene.session.session.ping_after == pytest.approx(4.0, abs=0.6)
    carriers = len(scene.network.times)
    pings = scene.session.session.counters.pings_sent
    world.advance(60.0)
    assert len(scene.network.times) == carriers
    assert scene.session.session.counters.pings_sent - pings >= 12
    transport_of(client).write(b"still here")
    world.settle()
    assert server.data == b"still here"


def test_carriers_that_are_cut_while_they_move_teach_nothing(world: World) -> None:
    scene = Scene(world, server=LATER, **SLOW)
    client, _ = scene.pair()
    for _ in range(3):
        world.advance(8.0)
        transport_of(client).write(b"under way")
        world.clock.run()
        scene.network.cut()
        world.advance(1.0)
    assert scene.session.session.ping_after == 20.0


# --- what is documented of others

IDLE_BY_DEFAULT = {
    "nginx proxy_read_timeout": 60.0,
    "nginx proxy_send_timeout": 60.0,
    "haproxy timeout client, server, tunnel in its example": 50.0,
    "Apache httpd Timeout and ProxyTimeout": 60.0,
    "AWS application load balancer": 60.0,
}


def test_the_defaults_are_below_those_of_balancers_even_if_one_ping_is_lost() -> None:
    for options in (AcceptOptions(), ConnectOptions()):
        for name, seconds in IDLE_BY_DEFAULT.items():
            assert options.websocket_ping_interval * 2 < seconds, name
            assert options.span_ping_deadline < seconds, name
