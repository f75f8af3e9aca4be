"""The sessions of an accept: what it takes, what it offers, and how it ends."""

from __future__ import annotations

import logging

import pytest
from tests.transports.memory import Wire
from tests.transports.span.world import Client, Network, Scene, Server, World, transport_of

from isthmus.config.model import ConnectOptions, GatewayOptions
from isthmus.errors import StreamReset
from isthmus.identity import ANONYMOUS, Asked, Identity
from isthmus.span.frames import SUBPROTOCOL
from isthmus.transports.base import Transport
from isthmus.transports.span.connect import SpanConnector
from isthmus.transports.span.limits import Budgets


def another(scene: Scene) -> SpanConnector:
    """Return another client of the same server."""
    network = Network(scene.world, scene.server.receiver)
    return SpanConnector(network, ConnectOptions(), Budgets.of(GatewayOptions()))


def raw(world: World, server: Server, head: str = "") -> tuple[Wire, Client]:
    """Open a WebSocket that offers span, by hand."""
    wire = world.wire()
    client = Client()
    wire.right.start(client)
    wire.left.start(server.receiver())
    request = (
        f"GET /service HTTP/1.1\r\nHost: gate.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n{head}\r\n"
    )
    wire.right.write(request.encode())
    world.settle()
    return wire, client


# --- places


@pytest.mark.parametrize("how", ["close", "abort", "the server's close", "the server's abort"])
def test_a_stream_holds_a_place_until_it_is_over(world: World, how: str) -> None:
    scene = Scene(world)
    client, accepted = scene.pair()
    scene.pair()
    assert scene.server.quota.used == 2
    first, second = (accepted, client) if "server" in how else (client, accepted)
    first.call(how.rpartition(" ")[2])
    world.settle()
    if second.open:
        second.call("close")
    world.settle()
    assert client.lost
    assert accepted.lost
    assert scene.server.quota.used == 1


def test_one_more_is_refused_and_places_are_given_back(world: World) -> None:
    scene = Scene(world, server={"maximum": 2})
    held = [scene.pair()[0] for _ in range(2)]
    told: list[str] = []
    client = scene.connect()
    world.settle()
    assert [failure.status for failure in client.failures] == [503]
    assert scene.server.quota.times_reached == 1
    assert scene.server.session.session.counters.overloaded == 1
    scene.server.quota.wait(lambda: told.append("room"))  # as a listener does
    transport_of(held[0]).abort()
    world.settle()
    assert told == ["room"]
    scene.pair()
    assert scene.server.quota.used == 2


def test_lost_sessions_give_their_places_back(world: World) -> None:
    scene = Scene(world, server={"span_grace": "10s"})
    _, accepted = scene.pair()
    scene.server.answers = False
    scene.connect()
    world.settle()
    assert scene.server.quota.used == 2
    scene.refuse()
    scene.network.cut()
    world.advance(11.0)
    assert isinstance(accepted.error, StreamReset)
    assert scene.server.quota.used == 0
    assert not scene.server.accept.drivers
    assert len(scene.server.accept.sessions) == 0


# --- sessions


def test_each_client_has_a_session_of_its_own(world: World) -> None:
    scene = Scene(world)
    scene.pair()
    other = another(scene)
    client = Client()
    other.connect(client, client.failed)
    world.settle()
    assert client.made
    assert len(scene.server.accept.drivers) == 2
    other.close()
    world.settle()
    assert isinstance(scene.server.accepted[1].error, StreamReset)
    assert scene.server.quota.used == 1
    assert len(scene.server.accept.drivers) == 1


def test_there_may_be_so_many_sessions(world: World) -> None:
    scene = Scene(world)
    scene.server.accept.sessions.maximum = 1
    scene.pair()
    other = another(scene)
    client = Client()
    other.connect(client, client.failed)
    world.settle()
    assert [failure.status for failure in client.failures] == [503]
    assert scene.server.accept.sessions.counters.refused_later == 1


def test_a_session_belongs_to_the_identity_that_founded_it(world: World) -> None:
    scene = Scene(world)
    client, _ = scene.pair()
    server = scene.server
    take = server.accept.take
    mallory = Identity("realm", "mallory")

    def of_mallory(below: Transport, identity: Identity = ANONYMOUS, subprotocol: str | None = None) -> None:
        take(below, mallory)

    server.accept.take = of_mallory  # type: ignore[method-assign]
    scene.network.cut()
    world.advance(1.0)
    assert isinstance(client.error, StreamReset)  # as if the session were unknown
    assert server.accept.sessions.counters.refused_unknown == 1


# --- a carrier without a session


def test_whoever_says_nothing_is_given_up(world: World, caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(world)
    wire, client = raw(world, scene.server)
    assert client.data.startswith(b"HTTP/1.1 101 ")
    assert SUBPROTOCOL.encode() in client.data
    with caplog.at_level(logging.DEBUG):
        world.advance(9.9)
        assert not wire.left.over
        world.advance(0.2)
    assert b"no handshake in time" in client.data
    assert "192.0.2.7:50000: a carrier without a session ended: no handshake in time" in caplog.text
    world.advance(10.0)  # it does not answer the Close either
    assert wire.left.over
    assert not scene.server.accept._handshaking


@pytest.mark.parametrize(
    "what", [b"\x82\x80" + bytes(4), b"\x81\x82" + bytes(4) + b"hi", b"\x82\x02hi", b"\x00\x80" + bytes(4)]
)
def test_whoever_says_something_else_is_closed(world: World, what: bytes) -> None:
    scene = Scene(world)
    wire, client = raw(world, scene.server)
    wire.right.write(what)
    world.settle()
    assert b"\x03\xea" in bytes(client.data[-130:])  # 1002
    world.advance(10.0)
    assert wire.left.over
    assert not scene.server.accept.drivers


def test_a_client_that_leaves_in_the_handshake_is_forgotten(world: World) -> None:
    scene = Scene(world)
    wire, _ = raw(world, scene.server)
    wire.right.lose()
    world.settle()
    assert not scene.server.accept._handshaking
    world.advance(30.0)
    assert world.clock.due() is None


# --- going and stopping


def test_going_away_takes_nothing_new_and_ends_with_the_last(world: World) -> None:
    scene = Scene(world)
    client, accepted = scene.pair()
    session = scene.session
    scene.server.accept.go_away()
    scene.server.accept.go_away()
    world.settle()
    client.call("write", b"as before")
    world.settle()
    assert accepted.data == b"as before"
    late = scene.connect()  # somebody who came through before the port was closed
    world.settle()
    assert [failure.status for failure in late.failures] == [503]
    for each in (client, accepted):
        each.call("close")
    world.settle()
    assert client.error is None
    assert accepted.error is None
    assert session.session.over
    assert not scene.server.accept.drivers


def test_a_carrier_may_come_back_while_it_goes(world: World) -> None:
    scene = Scene(world)
    client, accepted = scene.pair()
    scene.server.accept.go_away()
    scene.network.cut()
    client.call("write", b"the last words")
    world.advance(1.0)
    assert accepted.data == b"the last words"


def test_stop_ends_everything(world: World) -> None:
    scene = Scene(world)
    client, accepted = scene.pair()
    raw(world, scene.server)
    scene.server.accept.go_away()
    scene.server.accept.stop()
    scene.server.accept.stop()
    assert isinstance(accepted.error, StreamReset)
    assert "is stopping" in str(accepted.error)
    assert scene.server.quota.used == 0
    scene.refuse()
    world.settle()
    assert not any(not wire.left.over for wire in world.wires)
    assert not scene.server.accept.drivers
    assert not scene.server.accept._handshaking
    assert isinstance(client.error, StreamReset)  # at once: it was told of the stream's end
    assert str(client.error) == "the other gateway is stopping"
    world.advance(301.0)
    assert world.clock.due() is None


# --- the log


def test_the_log_says_who_ends(world: World, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        scene = Scene(world, server={"span_grace": "10s"})
        scene.pair()
        scene.refuse()
        scene.network.cut()
        world.advance(11.0)
    lines = [each.getMessage() for each in caplog.records if each.name.endswith("span.accept")]
    assert any("192.0.2.7:50000: a carrier of 1 streams ended" in line for line in lines)
    assert any("192.0.2.7:50000: the session ended: no carrier came back" in line for line in lines)


# --- logins


class Guard:
    """Admits whoever it is told to; nothing is ended by it."""

    def __init__(self) -> None:
        self.allowed = True
        self.watched: list[Identity] = []

    async def admit(self, asked: Asked) -> Identity:
        raise AssertionError("the front asks, not the accept")

    def still_allowed(self, identity: Identity) -> bool:
        return self.allowed

    def watch(self, identity: Identity, opened: object) -> None:
        self.watched.append(identity)


def test_each_stream_is_asked_about(world: World) -> None:
    """Also on a session that stands, between two looks at its login."""
    scene = Scene(world)
    guard = scene.server.accept.guard = Guard()
    scene.pair()
    assert guard.watched == [ANONYMOUS]
    guard.allowed = False
    client = scene.connect()
    world.settle()
    assert len(scene.server.accepted) == 1, "the service never saw it"
    assert client.failures or client.lost
    assert scene.server.quota.used == 1
    guard.allowed = True
    scene.pair()
