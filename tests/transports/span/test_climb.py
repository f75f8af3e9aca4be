"""Span over emulated WebSockets, and back to real ones without a stream that notices."""

from __future__ import annotations

from typing import Any

import pytest
from tests.transports.span.world import ADDRESS, Client, Scene, World, switching
from tests.transports.wse.scene import Box

from isthmus.span.frames import SUBPROTOCOL
from isthmus.transports.cross_site import CrossSite
from isthmus.transports.front import WebSocketRoute
from isthmus.transports.ways import Way, Ways
from isthmus.transports.wse.accept import EmulationAccept


class Blocked(Scene):
    """A scene with a middlebox before the server."""

    def __init__(self, world: World, *, hold: bool = False, **options: Any) -> None:
        super().__init__(world, **options)
        server = self.server
        self.emulation = EmulationAccept(ADDRESS, server.options, CrossSite(), server.quota)
        server._front.router.websockets[0] = WebSocketRoute(
            ADDRESS, server.options, server._offer, span=server.accept, emulation=self.emulation
        )
        self.box = Box(world, server.receiver, hold=hold)
        self.network.meets = self.box.receiver
        self.connector.offer.below.ways = Ways(300.0, clock=lambda: world.now, where=lambda: "here")

    def slow_pair(self) -> tuple[Client, Client]:
        client = self.connect()
        self.world.advance(5.0)
        assert not client.failures, client.failures
        return client, self.server.accepted[-1]

    @property
    def ways(self) -> list[object]:
        return [each.info("emulation") for each in self.session.websockets.values()]


def exchange(world: World, one: Client, other: Client, text: bytes) -> None:
    for sender, receiver in ((one, other), (other, one)):
        before = len(receiver.data)
        assert sender.transport is not None
        sender.transport.write(text)
        world.settle()
        assert receiver.data[before:] == text


@pytest.mark.parametrize("hold", [False, True])
def test_streams_over_an_emulated_carrier_and_back(world: World, hold: bool) -> None:
    scene = Blocked(world, hold=hold)
    pairs = [scene.slow_pair(), scene.slow_pair()]
    assert scene.ways == [Way.SHORT if hold else Way.STREAMING]
    assert len(scene.emulation.streams) == 1
    for pair in pairs:
        exchange(world, *pair, bytes(range(256)) * 400)
    world.advance(301.0)
    assert scene.box.refused == 2, "tried again, in vain"
    assert scene.ways == [Way.SHORT if hold else Way.STREAMING]
    scene.box.refuses = None
    (client, server), _ = pairs
    assert client.transport is not None
    world.advance(290.0)
    client.transport.write(b"under way")
    world.advance(11.0)
    assert scene.ways == [None], "a real one, and the emulated one is gone"
    assert not scene.emulation.streams
    assert server.data.endswith(b"under way")
    for pair in pairs:
        exchange(world, *pair, b"still whole")
        assert all(each.open for each in pair)
    assert scene.connector.offer.below.ways.best() is Way.WEBSOCKET
    times = len(scene.network.times)
    world.advance(1000.0)
    assert len(scene.network.times) == times, "there is nothing better"


def test_from_short_answers_to_a_long_one(world: World) -> None:
    scene = Blocked(world, hold=True)
    pair = scene.slow_pair()
    scene.box.hold = False
    world.advance(301.0)
    assert scene.ways == [Way.STREAMING]
    exchange(world, *pair, b"whole")
    assert scene.connector.offer.below.ways.best() is Way.STREAMING


def test_who_asked_for_emulation_keeps_it(world: World) -> None:
    scene = Blocked(world, ws_fallback="streaming")
    scene.slow_pair()
    scene.box.refuses = None
    world.advance(1000.0)
    assert scene.ways == [Way.STREAMING]
    assert scene.box.refused == 0


def test_a_lost_emulated_carrier_comes_back(world: World) -> None:
    scene = Blocked(world)
    pair = scene.slow_pair()
    scene.network.cut()
    world.advance(5.0)
    exchange(world, *pair, b"whole")
    assert scene.ways == [Way.STREAMING]


def test_websockets_that_open_and_bring_nothing_are_taken_for_blocked(world: World) -> None:
    scene = Blocked(world)
    scene.slow_pair()
    ways = scene.connector.offer.below.ways
    ways.forget()
    refused = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    opens = switching(SUBPROTOCOL)  # and nothing behind it
    met = scene.script(lambda head: opens(head) if head.startswith("GET") else refused)
    scene.network.cut()
    world.advance(100.0)
    asked = [each.head.partition(" ")[0] for each in met]
    assert asked[:3] == ["GET", "GET", "POST"]
    scene.network.meets = scene.box.receiver
    world.advance(60.0)
    assert scene.ways == [Way.STREAMING]
    scene.connector.close()
    world.advance(400.0)
    assert not scene.network.open
