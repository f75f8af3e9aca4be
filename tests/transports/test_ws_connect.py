"""Connecting a WebSocket: an opening and its time."""

from __future__ import annotations

import pytest
from tests.transports.span.world import ADDRESS, Client, Network, Script, World, switching

from isthmus.config.model import ConnectOptions
from isthmus.transports.ws_connect import WebSocketConnector


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def test_each_connect_is_a_websocket_of_its_own(world: World) -> None:
    met: list[Script] = []

    def meets() -> Script:
        met.append(Script(switching()))
        return met[-1]

    network = Network(world, meets)
    connector = WebSocketConnector(network, ConnectOptions())
    assert connector.address is ADDRESS
    clients = [Client(), Client()]
    for client in clients:
        connector.connect(client, client.failed)
        assert not client.events
    world.settle()
    assert [client.events for client in clients] == [["made"]] * 2
    assert len(met) == 2
    assert "Sec-WebSocket-Protocol" not in met[0].head
    connector.close()
    assert network.closed == 1
