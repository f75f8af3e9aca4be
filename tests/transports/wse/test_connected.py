"""An emulated WebSocket that this side has opened, with a gateway behind a middlebox."""

from __future__ import annotations

import hashlib

import pytest
from tests.transports.span.world import Client, Script, World
from tests.transports.wse.scene import Pair

from isthmus.errors import StreamReset
from isthmus.transports.ways import Way
from isthmus.transports.wse import connected as module
from isthmus.transports.wse.connected import AT_A_TIME
from isthmus.wse.frames import CLOSE, NOP, PONG, RECONNECT

WAYS = pytest.mark.parametrize("hold", [False, True])


def pump(world: World, sender: Client, receiver: Client, size: int) -> tuple[str, str]:
    """Send so many bytes, as fast as may be; return the digests of what was sent and of what came."""
    before, sent, digest = len(receiver.data), 0, hashlib.sha256()
    assert sender.transport is not None
    while sent < size:
        while not sender.write_paused and sent < size:
            data = bytes((sent + index) % 251 for index in range(min(20_000, size - sent)))
            digest.update(data)
            sender.transport.write(data)
            sent += len(data)
        world.settle()
    world.settle()
    return digest.hexdigest(), hashlib.sha256(receiver.data[before:]).hexdigest()


@WAYS
def test_bytes_both_ways(world: World, hold: bool) -> None:
    client, server = Pair(world, hold=hold).open()
    for sender, receiver in ((client, server), (server, client), (client, server)):
        sent, came = pump(world, sender, receiver, 700_000)
        assert sent == came
    assert "pause" in client.events


def test_no_request_is_too_large_for_a_proxy(world: World) -> None:
    pair = Pair(world, ws_fallback="streaming")
    client, server = pair.open()
    assert client.transport is not None
    for _ in range(10):
        client.transport.write(bytes(500_000))
    sizes: list[int] = []
    for _ in range(100):
        sizes += [len(wire.left._sent) for wire in pair.network.open]
        world.clock.run()
        for wire in world.wires:
            wire.left.deliver()
            wire.right.deliver()
    world.settle()
    assert len(server.data) == 5_000_000
    assert max(sizes) < 1_000_000


@WAYS
@pytest.mark.parametrize("first", ["client", "server"])
def test_a_half_close_lets_the_other_direction_go_on(world: World, hold: bool, first: str) -> None:
    pair = Pair(world, hold=hold)
    ends = pair.open()
    one, other = ends if first == "client" else ends[::-1]
    assert one.transport is not None
    assert other.transport is not None
    one.transport.write(b"question")
    one.transport.write_eof()
    world.settle()
    assert other.data == b"question"
    assert other.events[-1] == "eof"
    other.transport.write(b"answer")
    other.transport.close()
    world.advance(5.0)
    assert one.data == b"answer"
    one.transport.close()
    world.advance(5.0)
    assert one.error is None
    assert other.error is None
    assert one.events[-1] == other.events[-1] == "lost"
    assert not pair.gateway.emulation.streams
    assert pair.gateway.quota.used == 0


@WAYS
@pytest.mark.parametrize("first", ["client", "server"])
def test_a_reset_is_a_reset(world: World, hold: bool, first: str) -> None:
    pair = Pair(world, hold=hold)
    ends = pair.open()
    one, other = ends if first == "client" else ends[::-1]
    one.call("abort")
    world.advance(1.0)
    assert isinstance(other.error, StreamReset)
    assert not pair.gateway.emulation.streams


@WAYS
def test_a_reset_ends_the_answer_without_waiting_for_the_server(
    world: World, hold: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kaazing's gateway says nothing to the body that tells of it, and sees this."""
    ended: list[module.Downstream] = []
    close = module.Downstream.close

    def recording(self: module.Downstream) -> None:
        ended.append(self)
        close(self)

    monkeypatch.setattr(module.Downstream, "close", recording)
    client, _ = Pair(world, hold=hold).open()
    before = len(ended)
    client.call("abort")
    assert len(ended) > before


@WAYS
def test_what_the_server_says_at_once_is_not_lost(world: World, hold: bool) -> None:
    pair = Pair(world, hold=hold)
    pair.gateway.answers = False
    client = pair.connect()
    world.settle()
    (incoming,) = pair.gateway.offers
    server = Client()
    incoming.accept(server)
    assert server.transport is not None
    server.transport.write(b"220 hello")
    world.advance(5.0)
    assert client.data == b"220 hello"
    sent, came = pump(world, server, client, 100_000)
    assert sent == came


def test_what_waits_pauses_what_is_above(world: World) -> None:
    client, server = Pair(world).open()
    server.pause()
    assert client.transport is not None
    for _ in range(200):
        if not client.write_paused:
            client.transport.write(bytes(20_000))
            world.settle()
    assert client.write_paused
    assert client.transport.unsent() < 2 * AT_A_TIME
    server.resume()
    world.settle()
    assert not client.write_paused


@WAYS
def test_a_client_that_does_not_read_holds_the_server(world: World, hold: bool) -> None:
    pair = Pair(world, hold=hold, ws_fallback="short" if hold else "streaming")
    if not hold:
        pair.network.meets = pair.gateway.receiver  # the box has room without end
    client, server = pair.open()
    client.pause()
    assert server.transport is not None
    for _ in range(500):
        if not server.write_paused:
            server.transport.write(bytes(20_000))
            world.settle()
    assert server.write_paused
    client.resume()
    world.settle()
    assert not server.write_paused
    assert client.data


def test_a_connection_that_was_kept_too_long_costs_nothing(world: World) -> None:
    pair = Pair(world)
    client, server = pair.open()
    world.advance(40.0)  # the gateway keeps its end for 30 s
    sent, came = pump(world, client, server, 1000)
    assert sent == came


def test_silence_is_noticed(world: World) -> None:
    pair = Pair(world, gateway={"ws_emulation_heartbeat": "20 s"})
    client, _ = pair.open()
    world.advance(300.0)
    assert client.open, "there were heartbeats"
    for wire in pair.network.open:
        wire.right.pause_reading()
        wire.left.pause_reading()
    world.advance(200.0)
    assert isinstance(client.error, StreamReset)


def test_a_box_that_hands_on_much_and_holds_little(world: World) -> None:
    pair = Pair(world)
    pair.box.collects = 4096
    pair.gateway.answers = False
    client = pair.connect()
    world.settle()
    server = Client()
    pair.gateway.offers[0].accept(server)
    assert server.transport is not None
    server.transport.write(bytes(10_000))
    world.advance(1.0)
    assert client.made, "so much comes through"
    assert pair.door.ways.best() is Way.STREAMING
    server.transport.write(b"abc")
    world.advance(5.0)
    assert len(client.data) == 10_000, "but not so little"
    assert client.transport is not None
    client.transport.write(b"question")
    world.settle()
    server.transport.write(b"answer")
    world.advance(5.0)
    assert client.data.endswith(b"abcanswer"), "what was held is there as well"
    assert pair.door.ways.best() is Way.SHORT
    for sender, receiver in ((client, server), (server, client)):
        sent, came = pump(world, sender, receiver, 50_000)
        assert sent == came


def test_a_server_that_speaks_alone_is_heard_in_time(world: World) -> None:
    pair = Pair(world)
    pair.box.collects = 4096
    pair.gateway.answers = False
    client = pair.connect()
    world.settle()
    server = Client()
    pair.gateway.offers[0].accept(server)
    assert server.transport is not None
    server.transport.write(bytes(4096))
    world.advance(2.0)
    server.transport.write(b"news")
    world.advance(46.0)
    assert client.data.endswith(b"news")


def script(answers: dict[str, bytes]) -> Script:
    def answer(head: str) -> bytes:
        for start, data in answers.items():
            if head.startswith(start):
                return data
        return b""

    return Script(answer)


CREATED = (
    b"HTTP/1.1 201 Created\r\nContent-Type: text/plain;charset=utf-8\r\nContent-Length: 87\r\n\r\n"
    b"http://gate.example.com/service/;e/ubm/x\nhttp://gate.example.com/service/;e/dbm/x?a=b123\n"
)
LONG = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nConnection: close\r\n\r\n"
TAKEN = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    ("down", "up"),
    [
        (LONG.replace(b"200 OK", b"404 Not Found"), TAKEN),
        (LONG.replace(b"application/octet-stream", b"text/html"), TAKEN),
        (LONG + b"\x42", TAKEN),
        (LONG + RECONNECT + NOP, TAKEN),
        (LONG + NOP, TAKEN.replace(b"200", b"400")),
        (b"nonsense\r\n\r\n", TAKEN),
    ],
)
def test_a_server_that_breaks_the_protocol(world: World, down: bytes, up: bytes) -> None:
    pair = Pair(world, ws_fallback="auto")
    pair.door.ways.suspect()
    answers = {"POST /service/;e/c": CREATED, "GET /service/;e/d": down, "POST /service/;e/u": up}
    pair.network.meets = lambda: script(answers)
    client = pair.connect()
    world.advance(30.0)
    assert client.failures
    assert not client.made


@pytest.mark.parametrize("end", [b"", b"\x80\x05ab", b"\x0102\xff"])
def test_an_answer_that_breaks_off(world: World, end: bytes) -> None:
    pair = Pair(world, ws_fallback="streaming")
    met: list[Script] = []
    answers = {"GET /service/;e/d": LONG + PONG + end, "POST /service/;e/u": TAKEN}

    def meets() -> Script:
        met.append(script({"POST /service/;e/c": CREATED} if not met else answers))
        return met[-1]

    pair.network.meets = meets
    client = pair.connect()
    world.advance(1.0)
    assert client.made
    transport = met[1].transport
    assert transport is not None
    transport.close()
    world.advance(1.0)
    if end == CLOSE:
        assert "eof" in client.events
    else:
        assert isinstance(client.error, StreamReset)
