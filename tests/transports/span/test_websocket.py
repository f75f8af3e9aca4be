"""The WebSocket of a carrier."""

from __future__ import annotations

from tests.transports.span.world import Scene, World


def test_what_a_round_writes_leaves_as_one_message(world: World) -> None:
    scene = Scene(world)
    pairs = [scene.pair() for _ in range(3)]
    world.settle()
    (wire,) = scene.network.open
    world.clock.run()
    assert wire.left.unsent() == 0
    for client, _ in pairs:
        client.call("write", b"x" * 10)
    assert wire.left.unsent() == 0
    world.clock.run()
    # One frame of RFC 6455 (6 bytes of header with its key) around three DATA frames of 16 + 10 bytes.
    assert wire.left.unsent() == 6 + 3 * 26
