"""Connecting a WebSocket: each connect has one of its own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.transports.span.world import ADDRESS, Client, Network, Script, World, switching

from isthmus.config.model import ConnectOptions
from isthmus.transports.ws import WebSocketTransport
from isthmus.transports.ws_connect import WebSocketConnector
from isthmus.websocket.frames import header

TIMEOUT = 4.0
OPTIONS = ConnectOptions(connect_timeout=TIMEOUT)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


class Scene:
    """A network, and the scripts that answer."""

    def __init__(self, world: World, answer: Callable[[str], bytes] | None = None) -> None:
        self.met: list[Script] = []
        self.answer = answer or switching()
        self.network = Network(world, self._meets)

    def _meets(self) -> Script:
        self.met.append(Script(self.answer))
        return self.met[-1]


def test_each_connect_is_a_websocket_of_its_own(world: World) -> None:
    scene = Scene(world)
    connector = WebSocketConnector(scene.network, ConnectOptions())
    assert connector.address is ADDRESS
    clients = [Client(), Client()]
    for client in clients:
        connector.connect(client, client.failed, origin="198.51.100.4:40000", early=True)
        assert not client.events
    world.settle()
    assert [client.events for client in clients] == [["made"]] * 2
    assert len(scene.met) == 2
    assert "Sec-WebSocket-Protocol" not in scene.met[0].head
    assert "198.51.100.4" not in scene.met[0].head
    connector.close()
    assert scene.network.closed == 1


def test_what_the_server_says_at_once_is_delivered(world: World) -> None:
    scene = Scene(world, lambda head: switching()(head) + header(2, 5) + b"hello")
    client = Client()
    WebSocketConnector(scene.network, ConnectOptions()).connect(client, client.failed)
    world.settle()
    assert client.events == ["made"]
    assert client.data == b"hello"
    assert isinstance(client.transport, WebSocketTransport)


def test_a_connect_that_is_cancelled_is_told_nothing(world: World) -> None:
    scene = Scene(world)
    for deliveries in range(3):
        client = Client()
        dial = WebSocketConnector(scene.network, ConnectOptions()).connect(client, client.failed)
        for _ in range(deliveries):
            world.clock.run()
            scene.network.wires[-1].left.deliver()
        dial.cancel()
        world.advance(60.0)
        assert not client.events
        assert not client.failures
