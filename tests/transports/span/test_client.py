"""One session with a server: its carriers, and getting them back."""

from __future__ import annotations

from tests.transports.span.world import Scene, World


def test_streams_go_on_when_a_carrier_comes_back(world: World) -> None:
    scene = Scene(world)
    client, accepted = scene.pair()
    scene.network.cut()
    client.call("write", b"meanwhile")
    world.advance(1.0)
    assert accepted.data == b"meanwhile"
    accepted.call("write", b"and back")
    world.settle()
    assert client.data == b"and back"
    assert len(scene.network.times) == 2
