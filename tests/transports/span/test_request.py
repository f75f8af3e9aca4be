"""One connect under way: cancelled, timed out or refused at each stage."""

from __future__ import annotations

from tests.transports.span.world import Scene, World


def test_a_connect_that_is_cancelled_at_once_opens_nothing(world: World) -> None:
    scene = Scene(world)
    client = scene.connect()
    scene.dial.cancel()
    world.settle()
    assert not client.events
    assert not client.failures
    assert not scene.network.times
