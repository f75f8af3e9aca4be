"""Carriers in TLS of their own, inside WebSockets whose bytes somebody on the way reads and changes."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path
from typing import Any

import pytest
from tests.transports.memory import WireEnd
from tests.transports.span.world import ORIGIN, Scene, World, switching, transport_of

from isthmus.errors import StreamReset
from isthmus.security.seal import make_key, server_context
from isthmus.span.frames import SEALED_SUBPROTOCOL, SUBPROTOCOL
from isthmus.websocket.mask import apply_mask

SECRET = b"nobody on the way is to see this " * 40


@pytest.fixture
def key(tmp_path: Path) -> Path:
    make_key(tmp_path / "seal.pem")
    return tmp_path / "seal.pem"


def pinned(key: Path, world: World, *, server: dict[str, Any] | None = None, **options: Any) -> Scene:
    from isthmus.security.seal import pin_of_file

    sealing = {"seal": server_context(key), **(server or {})}
    return Scene(world, server=sealing, **{"span.seal.pin": pin_of_file(key), **options})


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return all that is written to wires."""
    written: list[bytes] = []
    write = WireEnd.write

    def recording(self: WireEnd, data: bytes | bytearray | memoryview) -> None:
        written.append(bytes(data))
        write(self, data)

    monkeypatch.setattr(WireEnd, "write", recording)
    return written


def unmasked(data: bytes) -> bytes:
    """Return what is in the small WebSocket frames of a client."""
    found = b""
    while len(data) > 6:
        length, start = data[1] & 0x7F, 2
        if length == 126:
            length, start = int.from_bytes(data[2:4], "big"), 4
        piece = bytearray(data[start + 4 : start + 4 + length])
        apply_mask(memoryview(piece), data[start : start + 4])
        found += piece
        data = data[start + 4 + length :]
    return found


def test_streams_go_through_and_nobody_sees_what_they_say(world: World, key: Path, seen: list[bytes]) -> None:
    scene = pinned(key, world)
    client, server = scene.pair()
    transport_of(client).write(SECRET)
    transport_of(server).write(SECRET)
    world.settle()
    assert server.data == client.data == SECRET
    everything = b"".join(seen) + b"".join(unmasked(each) for each in seen if not each.startswith(b"GET"))
    assert SEALED_SUBPROTOCOL.encode() in everything
    session = scene.session.session
    for secret in (SECRET[:16], ORIGIN.encode(), session.id, session.secret):
        assert secret not in everything
    transport_of(client).write_eof()
    transport_of(server).write_eof()
    world.settle()
    assert client.events[-1] == server.events[-1] == "lost"
    assert client.error is None
    assert server.error is None


def test_without_a_seal_the_same_would_be_seen(world: World, seen: list[bytes]) -> None:
    """That the test above can fail."""
    scene = Scene(world)
    client, _ = scene.pair()
    transport_of(client).write(SECRET)
    world.settle()
    everything = b"".join(unmasked(each) for each in seen if not each.startswith(b"GET"))
    assert SECRET[:16] in everything
    assert ORIGIN.encode() in everything


@pytest.mark.parametrize("side", ["left", "right"])
def test_what_was_changed_on_the_way_ends_the_carrier_and_no_stream(
    world: World, key: Path, side: str
) -> None:
    scene = pinned(key, world)
    client, server = scene.pair()
    (wire,) = scene.network.open
    sender, receiver = (client, server) if side == "left" else (server, client)
    transport_of(sender).write(SECRET)
    world.clock.run()
    end: WireEnd = getattr(wire, side)
    assert len(end._sent) > len(SECRET)
    end._sent[-7] ^= 1
    world.advance(2.0)
    assert receiver.data == SECRET
    assert client.events == server.events == ["made"]
    assert len(scene.network.times) == 2
    assert scene.session.session.counters.resumes == 1


def test_lost_carriers_are_replaced_by_sealed_ones(world: World, key: Path, seen: list[bytes]) -> None:
    scene = pinned(key, world)
    client, server = scene.pair()
    for _ in range(3):
        scene.network.cut()
        transport_of(client).write(SECRET)
        world.advance(2.0)
    assert server.data == SECRET * 3
    heads = [each for each in seen if each.startswith(b"GET")]
    assert len(heads) == 4
    assert all(SEALED_SUBPROTOCOL.encode() in head for head in heads)
    assert not any(b" " + SUBPROTOCOL.encode() in head for head in heads)


def test_another_key_is_refused_and_told_nothing(world: World, key: Path, tmp_path: Path) -> None:
    """Whoever ends the WebSocket between the gateways may seal, too, but with a key of their own."""
    other = tmp_path / "other.pem"
    pin = make_key(other)
    scene = pinned(key, world, server={"seal": server_context(other)})
    client = scene.connect()
    world.settle()
    (failure,) = client.failures
    assert f"the gateway shows the key {pin}, which span.seal.pin does not name" in str(failure)
    assert "isthmus seal" in failure.hint
    assert "\n" not in str(failure)
    assert not scene.server.accept.drivers, "no session was founded"
    world.advance(5.0)
    assert not scene.server.accept._sealing
    assert not scene.server.accept._handshaking


def test_a_key_that_changes_meanwhile_is_told_of_and_the_streams_wait(
    world: World, key: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scene = pinned(key, world)
    client, server = scene.pair()
    make_key(tmp_path / "other.pem")
    right, wrong = scene.server.accept._seal, server_context(tmp_path / "other.pem")
    scene.server.accept._seal = wrong
    scene.network.cut()
    transport_of(client).write(SECRET)
    with caplog.at_level(logging.WARNING):
        world.advance(3.0)
    assert "does not name" in caplog.text
    assert client.events == ["made"]
    assert not server.data
    scene.server.accept._seal = right
    world.advance(10.0)
    assert server.data == SECRET


@pytest.mark.parametrize("mode", ["auto", "required"])
def test_a_server_that_does_not_seal_gets_nothing(world: World, key: Path, mode: str) -> None:
    scene = pinned(key, world, server={"seal": None, "mode": mode}, ws_fallback="never")
    scene.server.answers = False
    client = scene.connect()
    world.settle()
    for offer in scene.server.offers:
        scene.server.answer(offer)
    world.settle()
    (failure,) = client.failures
    assert ("does not speak sealed span" in str(failure)) == (mode == "auto")
    assert "span.seal" in failure.hint
    assert not any(accepted.data for accepted in scene.server.accepted)
    assert len(scene.network.times) == 1, "nothing else was tried"


@pytest.mark.parametrize("subprotocol", ["", SEALED_SUBPROTOCOL])
def test_whoever_strips_the_offer_or_only_echoes_it_learns_nothing(
    world: World, key: Path, subprotocol: str
) -> None:
    scene = pinned(key, world)
    met = scene.script(switching(subprotocol))
    client = scene.connect()
    world.advance(15.0)
    (failure,) = client.failures
    assert "sealed" in str(failure)
    (script,) = met
    handshake = unmasked(bytes(script.data))
    assert handshake[:2] == (b"\x16\x03" if subprotocol else b""), "at most a ClientHello"
    assert ORIGIN.encode() not in handshake


def test_a_server_with_a_key_takes_others_too_unless_span_is_required(world: World, key: Path) -> None:
    scene = Scene(world, server={"seal": server_context(key)})
    scene.pair()
    strict = Scene(world, server={"seal": server_context(key), "mode": "required"})
    client = strict.connect()
    world.settle()
    (failure,) = client.failures
    assert "400" in str(failure)


def test_one_who_says_nothing_is_given_up(world: World, key: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The server's side: its handshake has a limit, and nothing is kept of it."""
    scene = pinned(key, world)
    client = scene.connect()
    world.clock.run()
    (wire,) = world.wires
    while not scene.server.accept._sealing:
        wire.left.deliver()
        wire.right.deliver()
        world.clock.run()
    scene.dial.cancel()
    wire.left._receiver = None
    wire.left.over = False
    with caplog.at_level(logging.INFO):
        for _ in range(20):
            world.advance(1.0)
    assert not scene.server.accept._sealing
    assert "its sealed carrier could not be opened" in caplog.text
    assert not client.events


def test_stopping_ends_what_is_being_sealed(world: World, key: Path) -> None:
    scene = pinned(key, world)
    scene.connect()
    world.clock.run()
    (wire,) = world.wires
    while not scene.server.accept._sealing:
        wire.left.deliver()
        wire.right.deliver()
        world.clock.run()
    scene.server.accept.stop()
    assert not scene.server.accept._sealing
    scene.connector.close()
    world.advance(10.0)
    assert all(end.over for end in (wire.left, wire.right))


def test_a_reset_is_one_on_the_other_side(world: World, key: Path) -> None:
    scene = pinned(key, world)
    client, server = scene.pair()
    transport_of(client).abort()
    world.settle()
    assert isinstance(server.error, StreamReset)


def test_the_context_is_asked_for_no_name_and_believes_no_issuer(key: Path) -> None:
    from isthmus.security.seal import client_context

    context = client_context()
    assert not context.check_hostname
    assert context.verify_mode is ssl.CERT_NONE
