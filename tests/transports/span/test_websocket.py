"""The WebSocket of a carrier: what leaves when, and how it ends."""

from __future__ import annotations

import logging

import pytest
from tests.transports.memory import Wire
from tests.transports.span.world import Client, Scene, Script, World, switching
from tests.websocket.recorder import Recorder as Frames

from isthmus.span import Code
from isthmus.span.frames import SUBPROTOCOL
from isthmus.transports.span import websocket as module
from isthmus.transports.span.websocket import (
    FAREWELL_SECONDS,
    WRITE_LIMIT,
    CarrierWebSocket,
)
from isthmus.websocket.connection import UNMASKED, Connection
from isthmus.websocket.frames import Role, close_payload, header

TEN = b"x" * 10
FRAMES_OF_TEN = 16 + 10  # with the header of a DATA frame


def carrier_of(scene: Scene) -> tuple[Wire, CarrierWebSocket]:
    """Return the only wire that stands, and the client's end of it."""
    (wire,) = scene.network.open
    (websocket,) = scene.session.websockets.values()
    return wire, websocket


def watch(wire: Wire) -> Client:
    """Have somebody who only looks on in the server's place from now on."""
    seen = Client()
    seen.events.append("made")
    seen.transport = wire.right
    wire.right.set_receiver(seen)
    return seen


def close_in(data: bytes, role: Role) -> tuple[int | None, str]:
    """Return code and reason of the Close at the end of what `role` has received."""
    frames = Frames()
    Connection(role, frames, maximum_message_size=1 << 30).receive(bytearray(data))
    kind, code, reason = frames.events[-1]
    assert kind == "close"
    return code, reason


# --- sending


@pytest.mark.parametrize("side", ["client", "server"])
def test_what_a_round_writes_leaves_as_one_message(world: World, side: str) -> None:
    scene = Scene(world)
    pairs = [scene.pair() for _ in range(3)]
    world.advance(1.0)
    wire, _ = carrier_of(scene)
    end = wire.left if side == "client" else wire.right
    for client, accepted in pairs:
        sender = client if side == "client" else accepted
        sender.call("write", TEN[:5])
        sender.call("write", TEN[5:])
    assert end.unsent() == 0
    world.clock.run()
    # One frame of RFC 6455, whose header has the client's key, around three DATA frames.
    assert end.unsent() == (6 if side == "client" else 2) + 3 * FRAMES_OF_TEN
    world.settle()
    for client, accepted in pairs:
        assert (accepted if side == "client" else client).data == TEN


def test_a_full_connection_is_given_no_more_and_goes_on(world: World) -> None:
    scene = Scene(world)
    client, accepted = scene.pair()
    wire, websocket = carrier_of(scene)
    data = bytes(range(256)) * 1_000
    client.call("write", data)
    world.clock.run()
    carrier = websocket.carrier
    assert carrier is not None
    message = max(16 * 1024, carrier.pacing.frame_size) + 2 * 1024
    assert WRITE_LIMIT < wire.left.unsent() <= WRITE_LIMIT + message
    before = wire.left.unsent()
    client.call("write", TEN)
    world.clock.run()
    assert wire.left.unsent() == before
    world.settle()
    assert accepted.data == data + TEN


def test_what_is_urgent_does_not_queue_behind_what_is_not(world: World) -> None:
    scene = Scene(world)
    client, accepted = scene.pair()
    other, other_accepted = scene.pair()
    wire, _ = carrier_of(scene)
    client.call("write", bytes(200_000))
    world.clock.run()
    other.call("write", TEN)
    while not other_accepted.data:
        assert wire.left.deliver(8_192)
        wire.right.deliver()
        world.clock.run()
    assert len(accepted.data) < 100_000


# --- the key


def test_the_key_is_fresh_each_time_unless_another_is_agreed(world: World) -> None:
    scene = Scene(world)
    client, accepted = scene.pair()
    world.advance(1.0)
    wire, websocket = carrier_of(scene)
    keys = set()
    for _ in range(5):
        client.call("write", TEN)
        world.clock.run()
        keys.add(bytes(wire.left._sent[2:6]))
        world.settle()
    assert len(keys) == 5
    websocket.mask_with(UNMASKED)
    client.call("write", TEN)
    world.clock.run()
    assert bytes(wire.left._sent[2:6]) == UNMASKED
    assert wire.left._sent.endswith(TEN)
    world.settle()
    websocket.mask_with(None)
    client.call("write", TEN)
    world.clock.run()
    assert bytes(wire.left._sent[2:6]) != UNMASKED
    world.settle()
    assert accepted.data == TEN * 7


# --- what the peer's WebSocket says


def scripted(world: World, first: bytes) -> tuple[Scene, Script]:
    """Return a connect that waits for HELLO of a server that has said `first` on its WebSocket."""
    scene = Scene(world)
    met = scene.script(lambda head: switching(SUBPROTOCOL)(head) + first)
    scene.connect()
    world.settle()
    return scene, met[0]


def test_a_ping_is_answered_and_a_pong_is_not(world: World) -> None:
    _, script = scripted(world, header(9, 2) + b"hi" + header(10, 2) + b"ho")
    frames = Frames()
    Connection(Role.SERVER, frames).receive(bytearray(script.data))
    assert frames.events == [("pong", b"hi")]


def test_pings_of_who_does_not_read_are_not_queued(world: World) -> None:
    scene = Scene(world)
    client, _ = scene.pair()
    wire, _ = carrier_of(scene)
    client.call("write", bytes(200_000))
    world.clock.run()
    before = wire.left.unsent()
    for number in range(100):
        wire.right.write(header(9, 3) + b"%3d" % number)
    wire.right.deliver()
    world.clock.run()
    assert wire.left.unsent() == before
    seen = watch(wire)
    world.settle()
    frames = Frames()
    Connection(Role.SERVER, frames, maximum_message_size=1 << 20).receive(bytearray(seen.data))
    assert [event for event in frames.events if event[0] == "pong"] == [("pong", b" 99")]


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (header(8, 2) + close_payload(1001), "the peer closed the WebSocket with 1001"),
        (header(8, 6) + close_payload(1001, "away"), "the peer closed the WebSocket with 1001: away"),
        (header(8, 0), "the peer closed the WebSocket with no code"),
    ],
)
def test_a_close_is_answered_and_said(
    world: World, frame: bytes, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene(world)
    scene.pair()
    wire, _ = carrier_of(scene)
    seen = watch(wire)
    with caplog.at_level(logging.INFO):
        wire.right.write(frame)
        world.settle()
    assert close_in(bytes(seen.data), Role.SERVER) == (1000, "")
    assert "eof" in seen.events
    assert reason in caplog.text
    wire.right.close()
    world.settle()
    assert wire.left.over


@pytest.mark.parametrize("how", ["eof", "lost"])
def test_an_end_without_close(world: World, how: str, caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(world)
    client, accepted = scene.pair()
    wire, _ = carrier_of(scene)
    with caplog.at_level(logging.INFO):
        if how == "eof":
            watch(wire)
            wire.right.close()
        else:
            wire.left.lose()
        world.settle()
    said = "the WebSocket connection ended without Close" if how == "eof" else "the connection was lost"
    assert said in caplog.text
    assert wire.left.over
    client.call("write", TEN)
    world.advance(1.0)
    assert accepted.data == TEN


def test_a_broken_frame_costs_the_carrier_only(world: World, caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(world)
    client, accepted = scene.pair()
    wire, _ = carrier_of(scene)
    with caplog.at_level(logging.INFO):
        wire.left._sent += b"\x82\x02hi"  # a client must mask
        world.settle()
    assert "192.0.2.7:50000: " in caplog.text
    assert "closing with 1002" in caplog.text
    client.call("write", TEN)
    world.advance(1.0)
    assert accepted.data == TEN
    assert len(scene.network.times) == 2


def test_what_comes_after_the_end_is_dropped(world: World) -> None:
    scene = Scene(world)
    client, _ = scene.pair()
    wire, websocket = carrier_of(scene)
    wire.left.lose()
    world.clock.run()
    websocket.data_received(memoryview(bytearray(b"\x82\x02hi")))
    websocket.output_ready()
    websocket.flush()
    websocket.close(1000, "again")
    websocket.abort()
    world.clock.run()
    assert client.events == ["made"]


# --- ending


def test_an_end_in_order_says_why_and_a_peer_that_does_not_read_is_cut(world: World) -> None:
    scene = Scene(world)
    scene.pair()
    wire, _ = carrier_of(scene)
    seen = watch(wire)
    scene.session.session.end(Code.CANCEL, "é" * 100)
    while wire.left.unsent():
        wire.left.deliver()
    wire.right.pause_reading()  # it sees no end, and ends nothing itself
    code, reason = close_in(bytes(seen.data), Role.SERVER)
    assert code == 1000
    assert reason == "é" * 60  # at most 120 bytes, and whole characters
    assert not wire.left.over
    world.advance(FAREWELL_SECONDS - 0.1)
    assert not wire.left.over
    world.advance(0.2)
    assert wire.left.over


def test_a_farewell_that_was_read_leaves_no_timer(world: World) -> None:
    scene = Scene(world)
    scene.pair()
    scene.connector.close()
    scene.server.accept.stop()
    world.settle()
    assert not scene.network.open
    world.advance(1.0)
    assert world.clock.due() is None


def test_nobody_reads_the_farewell_to_one_who_is_silent(world: World) -> None:
    scene = Scene(world, span_ping_deadline="4s")
    scene.pair()
    wire, _ = carrier_of(scene)
    wire.right.pause_reading()
    wire.left.pause_reading()
    world.advance(3.9)
    assert not wire.left.over
    world.advance(0.2)
    assert wire.left.over
    assert wire.left.unsent() == 0


def test_a_queue_that_drains_is_a_sign_of_life(world: World) -> None:
    """Data goes out over a slow way, and nothing comes back as it all waits behind that.

    The queue is filled again meanwhile, so that it is not shorter each time it is looked at.
    """
    scene = Scene(world, span_ping_deadline="4s")
    client, _ = scene.pair()
    wire, _ = carrier_of(scene)
    wire.left.pause_reading()
    client.call("write", bytes(60_000))
    world.clock.run()
    counters = scene.session.session.counters
    for _ in range(30):
        wire.left.deliver(1_000)
        world.clock.advance(0.5)
    assert counters.carriers_silent == 0
    assert not wire.left.over
    for _ in range(20):
        world.clock.advance(0.5)  # now nothing moves
    assert counters.carriers_silent == 1
    assert wire.left.over


def test_it_knows_what_the_connection_knows(world: World) -> None:
    scene = Scene(world)
    scene.pair()
    _, websocket = carrier_of(scene)
    assert websocket.peer == "192.0.2.7:50000"
    assert websocket.info("peername") == ("192.0.2.7", 50000)
    assert websocket.info("there is no such thing") is None


# --- the kernel's queue


def test_the_kernels_queue_holds_a_frame(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    monkeypatch.setattr(module, "keep_queue_short", lambda _, size: sizes.append(size))
    scene = Scene(world)
    client, _ = scene.pair()
    _, websocket = carrier_of(scene)
    assert websocket.carrier is not None
    began = len(sizes)
    for frame in (16 * 1024, 300_000, 290_000, 160_000, 150_000, 1_000):
        websocket.carrier.pacing.frame_size = frame
        client.call("write", TEN)
        world.clock.run()
    assert sizes[began:] == [300_000, 150_000], "larger at once, smaller only by half"
