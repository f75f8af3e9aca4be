"""Connecting over span: what is known of the server, and who gets which WebSocket."""

from __future__ import annotations

import logging

import pytest
from tests.transports.span.world import (
    ADDRESS,
    ORIGIN,
    Client,
    Scene,
    Script,
    Server,
    World,
    switching,
    transport_of,
)

from isthmus.errors import StreamReset
from isthmus.span.frames import SUBPROTOCOL
from isthmus.transports.span.connect import Peer
from isthmus.transports.span.stream import SpanStream
from isthmus.transports.ws import WebSocketTransport
from isthmus.websocket.frames import header
from isthmus.websocket.mask import masked


def messages(script: Script) -> bytes:
    """Return the payload of the one short message that a script received."""
    data = bytes(script.data)
    size = data[1] & 0x7F
    assert len(data) == 6 + size
    return masked(b"", data[6:], data[2:6])


def plain(scene: Scene, client: Client) -> bool:
    """Whether a connection is a WebSocket of its own."""
    assert client.made
    return isinstance(client.transport, WebSocketTransport)


# --- span


def test_many_connects_are_streams_of_one_websocket(world: World) -> None:
    scene = Scene(world)
    assert scene.connector.address is ADDRESS
    clients = [scene.connect() for _ in range(5)]
    world.settle()
    assert [client.events for client in clients] == [["made"]] * 5
    assert len(scene.network.times) == 1
    assert scene.connector.peer is Peer.SPAN
    assert [incoming.peer for incoming in scene.server.offers] == [ORIGIN] * 5
    for number, client in enumerate(clients):
        assert isinstance(client.transport, SpanStream)
        client.call("write", f"hello {number}".encode())
    world.settle()
    assert [bytes(each.data) for each in scene.server.accepted] == [b"hello %d" % n for n in range(5)]


def test_a_later_connect_costs_no_websocket(world: World) -> None:
    scene = Scene(world)
    scene.pair()
    world.advance(100.0)
    scene.pair(early=True)
    assert len(scene.network.times) == 1


def test_nobody_listens(world: World) -> None:
    scene = Scene(world)
    scene.refuse()
    clients = [scene.connect(early=early) for early in (False, True, False)]
    world.settle()
    for client in clients:
        (failure,) = client.failures
        assert isinstance(failure.__cause__, ConnectionRefusedError)
    assert len(scene.network.times) == 1
    assert scene.connector.peer is Peer.UNKNOWN
    world.advance(100.0)
    assert len(scene.network.times) == 1  # nobody waits, so nobody is looked for
    scene.serve()
    scene.pair()


def test_what_a_failure_makes_others_do_is_another_attempt(world: World) -> None:
    """Who is told of a failure may connect again at once."""
    scene = Scene(world)
    scene.refuse()
    again = Client()
    client = Client()

    def failed(error: Exception) -> None:
        scene.serve()
        scene.connector.connect(again, again.failed)

    scene.connector.connect(client, failed)
    world.settle()
    assert again.events == ["made"]


# --- plain


def test_a_plain_server_gets_the_first_who_waits_and_the_others_have_their_own(world: World) -> None:
    scene = Scene(world)
    met = scene.script(switching())
    clients = [scene.connect() for _ in range(3)]
    world.settle()
    assert scene.connector.peer is Peer.PLAIN
    assert all(plain(scene, client) for client in clients)
    assert len(met) == 3
    for number, client in enumerate(clients):
        client.call("write", b"%d" % number)
    world.settle()
    assert [messages(each) for each in met] == [b"0", b"1", b"2"]
    # Each of them asks again whether the server speaks span now.
    assert all(SUBPROTOCOL in each.head for each in met)
    scene.connect()
    world.settle()
    assert len(met) == 4
    assert SUBPROTOCOL in met[3].head


def test_what_a_plain_server_says_at_once_is_not_lost(world: World) -> None:
    scene = Scene(world)
    hello = header(2, 5) + b"hello"
    scene.script(lambda head: switching()(head) + hello)
    first, second = scene.connect(), scene.connect()
    world.settle()
    for client in (first, second):
        assert client.events == ["made"]
        assert client.data == b"hello"


def test_a_plain_server_whose_first_waiter_has_left(world: World) -> None:
    scene = Scene(world)
    met = scene.script(switching())
    first, first_dial = scene.connect(), scene.dial
    second = scene.connect()
    world.clock.run()
    first_dial.cancel()
    world.settle()
    assert not first.made
    assert second.made
    assert len(met) == 1
    alone = scene.connect()
    world.clock.run()
    scene.dial.cancel()
    world.settle()
    assert not alone.made
    assert not [wire for wire in scene.network.open if wire is not scene.network.wires[0]]


def test_a_websocket_that_nobody_wants_any_more_is_closed(world: World) -> None:
    scene = Scene(world)
    scene.script(switching())
    client = scene.connect()
    world.clock.run()
    wire = scene.network.wires[0]
    wire.left.deliver()
    scene.dial.cancel()
    world.settle()
    assert not client.made
    wire.right.close()
    world.settle()
    assert wire.left.over


def test_a_server_that_speaks_span_later_is_taken_up(world: World) -> None:
    scene = Scene(world, server={"mode": "never"})
    scene.pair()
    scene.serve(Server(world))
    client, accepted = scene.pair()
    assert scene.connector.peer is Peer.SPAN
    assert isinstance(client.transport, SpanStream)
    scene.pair()
    assert len(scene.network.times) == 2
    accepted.call("write", b"over span")
    world.settle()
    assert client.data == b"over span"


def test_several_who_find_span_at_once_share_a_session(world: World) -> None:
    scene = Scene(world, server={"mode": "never"})
    scene.pair()
    scene.serve(Server(world))
    clients = [scene.connect() for _ in range(3)]
    world.settle()
    assert all(isinstance(client.transport, SpanStream) for client in clients)
    assert len(scene.server.accept.drivers) == 1
    assert len(scene.server.offers) == 3
    world.advance(10.0)
    assert len(scene.session.session.carriers) == 1, "those of the others are not kept"
    assert not scene.session.session.handshakes
    assert [client.events for client in clients] == [["made"]] * 3


def test_a_plain_servers_failures_are_those_of_each(world: World) -> None:
    scene = Scene(world, server={"mode": "never"})
    scene.pair()
    scene.refuse()
    client = scene.connect()
    world.settle()
    (failure,) = client.failures
    assert isinstance(failure.__cause__, ConnectionRefusedError)
    scene.serve()
    scene.pair()


# --- a downgrade


def test_a_server_that_does_not_speak_it_any_more(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """It is counted and said; what lives waits for its grace, new connects work."""
    scene = Scene(world, span_grace="60s")
    client, _ = scene.pair()
    other = Server(world, mode="never")
    scene.serve(other)
    with caplog.at_level(logging.WARNING):
        scene.network.cut()
        world.advance(5.0)
    assert scene.connector.downgrades == 1
    assert caplog.text.count("does not speak span any more") == 1
    assert client.events == ["made"]
    late = scene.connect()
    world.advance(1.0)
    assert plain(scene, late)
    world.advance(60.0)
    assert isinstance(client.error, StreamReset)
    assert scene.connector.downgrades == 1
    scene.pair()
    assert late.open


def test_span_that_comes_back_in_time_saves_the_streams(world: World) -> None:
    scene = Scene(world)
    client, accepted = scene.pair()
    first = scene.server
    scene.serve(Server(world, mode="never"))
    scene.network.cut()
    world.advance(3.0)
    scene.serve(first)
    client.call("write", b"saved")
    world.advance(6.0)
    assert accepted.data == b"saved"
    assert scene.connector.peer is Peer.SPAN


# --- required


@pytest.mark.parametrize("answer", ["plain", "refuses", "echoes", "echoes and hangs up"])
def test_required_means_that_nothing_else_will_do(world: World, answer: str) -> None:
    scene = Scene(world, span_mode="required", connect_timeout=4.0, ws_fallback="never")

    def answers(head: str) -> bytes:
        if answer == "refuses":
            return b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
        end = b"\x88\x02\x03\xe8" if answer == "echoes and hangs up" else b""
        return switching("" if answer == "plain" else SUBPROTOCOL)(head) + end

    for attempt in (1, 2):
        met = scene.script(answers)
        client, other = scene.connect(), scene.connect(early=True)
        world.advance(4.5)
        for each in (client, other):
            (failure,) = each.failures
            assert failure.status == 502
            if answer != "refuses":
                assert "does not speak span, and span.mode is required" in str(failure)
                assert "span.mode" in failure.hint
        assert len(met) == 1, attempt
        assert SUBPROTOCOL in met[0].head
        assert not met[0].data or met[0].data[0] == 0x88  # Close, and nothing before it
    world.advance(60.0)
    assert not scene.network.open


def test_required_and_there(world: World) -> None:
    scene = Scene(world, span_mode="required", server={"mode": "required"})
    scene.pair()


# --- closing


def test_close_tells_who_waits_and_closes_what_lies_below(world: World) -> None:
    scene = Scene(world)
    scene.network.silent = True
    client = scene.connect()
    world.settle()
    scene.connector.close()
    (failure,) = client.failures
    assert failure.status == 503
    assert "the gateway is stopping" in str(failure)
    assert scene.network.closed == 1
    assert scene.network.cancelled == 1
    world.advance(60.0)
    assert len(scene.network.times) == 1


def test_close_of_a_connector_that_was_never_used(world: World) -> None:
    scene = Scene(world)
    scene.connector.close()
    assert scene.network.closed == 1
    assert world.clock.due() is None


def test_close_leaves_no_timer(world: World) -> None:
    scene = Scene(world)
    client, accepted = scene.pair()
    for each in (client, accepted):
        transport_of(each).close()
    world.settle()
    scene.connector.close()
    scene.server.accept.stop()
    world.settle()
    world.advance(20.0)
    assert world.clock.due() is None
    assert not scene.network.open
