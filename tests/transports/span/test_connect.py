"""Connecting over span: what is known of the server, and who gets which WebSocket."""

from __future__ import annotations

from tests.transports.span.world import ORIGIN, Scene, World, transport_of

from isthmus.transports.span.connect import Peer


def test_many_connects_are_streams_of_one_websocket(world: World) -> None:
    scene = Scene(world)
    clients = [scene.connect() for _ in range(5)]
    world.settle()
    assert [client.events for client in clients] == [["made"]] * 5
    assert len(scene.network.times) == 1
    assert scene.connector.peer is Peer.SPAN
    assert [incoming.peer for incoming in scene.server.offers] == [ORIGIN] * 5
    for number, client in enumerate(clients):
        transport_of(client).write(f"hello {number}".encode())
    world.settle()
    assert [bytes(each.data) for each in scene.server.accepted] == [b"hello %d" % n for n in range(5)]
