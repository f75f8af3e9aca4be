"""The sessions of an accept: what it takes, what it offers, and how it ends."""

from __future__ import annotations

from tests.transports.span.world import Scene, World


def test_a_stream_holds_a_place_until_it_is_over(world: World) -> None:
    scene = Scene(world)
    client, accepted = scene.pair()
    scene.pair()
    assert scene.server.quota.used == 2
    client.call("close")
    accepted.call("close")
    world.settle()
    assert client.lost
    assert accepted.lost
    assert scene.server.quota.used == 1
