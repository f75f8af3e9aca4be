"""A stream as a transport: what is held, and what is told in which order."""

from __future__ import annotations

from tests.transports.span.world import Scene, World


def test_what_comes_while_paused_is_held_in_order(world: World) -> None:
    scene = Scene(world)
    client, accepted = scene.pair()
    client.pause()
    accepted.call("write", b"held")
    accepted.call("close")
    world.settle()
    assert client.events == ["made"]
    client.resume()
    assert not client.data  # nothing comes from inside `resume_reading`
    world.settle()
    assert client.data == b"held"
    assert client.events == ["made", "eof"]
    client.call("close")
    world.settle()
    assert client.events == ["made", "eof", "lost"]
    assert client.error is None
