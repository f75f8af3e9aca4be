"""What drives a session: its timer."""

from __future__ import annotations

from tests.transports.span.world import Scene, World


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
