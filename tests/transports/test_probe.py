"""What a gateway answers to examinations, and what bounds it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.transports.memory import Watcher, Wire

from isthmus.config.model import AcceptOptions
from isthmus.transports import probe
from isthmus.transports.base import Incoming
from isthmus.transports.front import Front, Router, WebSocketRoute
from isthmus.transports.probe import LONGEST, MAXIMUM_BYTES, PIECES, Probes, Talk
from isthmus.uri import parse
from isthmus.websocket.handshake import HandshakeError

RATE = 1 << 20


class Client(Watcher):
    def data_received(self, data: memoryview) -> None:
        self.data += data


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    made = Wire()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: made.clock.loop)
    yield made
    assert not made.clock.failures


def probes_of(wire: Wire, maximum: int = 2, rate: int = RATE) -> Probes:
    return Probes(maximum, rate, wire.clock.time)


class Port:
    """A front with one accept and its probes; each `ask` is another client."""

    def __init__(self, clock: Wire, probes: Probes | None, address: str = "ws://gw.example.com/app") -> None:
        self.offers: list[Incoming] = []
        router = Router()
        router.websockets.append(
            WebSocketRoute(parse(address), AcceptOptions(), self.offers.append, probes=probes)
        )
        self._clock = clock.clock
        self._front = Front(
            router, head_timeout=10.0, maximum_head_size=16384, certificates=lambda: ("aa", "bb")
        )

    def ask(self, target: str, *fields: str, method: str = "GET") -> tuple[Wire, Client]:
        wire, client = Wire(self._clock), Client()
        wire.right.start(client)
        wire.left.start(self._front.receiver())
        lines = [f"{method} {target} HTTP/1.1", "Host: gw.example.com", *fields, "", ""]
        wire.right.write("\r\n".join(lines).encode())
        wire.settle()
        return wire, client


HANDSHAKE = (
    "Upgrade: websocket",
    "Connection: keep-alive, Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


def test_the_mirror_tells_what_arrived_and_no_more(wire: Wire) -> None:
    port = Port(wire, probes_of(wire))
    fields = (*HANDSHAKE, "Cookie: secret=1", "Authorization: Bearer secret", "X-Forwarded-For: 10.0.0.1")
    _, client = port.ask("/app/;probe/mirror?token=secret", *fields, f"Sec-WebSocket-Protocol: {'x' * 300}")
    head, _, body = bytes(client.data).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Cache-Control: no-store" in head
    told = json.loads(body)
    assert told.pop("time") > 1.7e9
    assert told == {
        "probe": 1,
        "fields": {
            "upgrade": "websocket",
            "connection": "keep-alive, Upgrade",
            "sec-websocket-version": "13",
            "sec-websocket-protocol": "x" * 200,
        },
        "client": "192.0.2.7:50000",
        "tls": None,
        "certificates": ["aa", "bb"],
        "span": False,
    }
    assert not port.offers, "the service is not touched"


@pytest.mark.parametrize(
    ("address", "target", "found"),
    [
        ("ws://gw.example.com/app", "/app/;probe/mirror", True),
        ("ws://gw.example.com/", "/;probe/mirror", True),
        ("ws://gw.example.com/app/", "/app/;probe/mirror", True),
        ("ws://gw.example.com/app", "/other/;probe/mirror", False),
        ("ws://gw.example.com/app", "/app/;probe/else", False),
        ("ws://gw.example.com/app", "/app;probe/mirror", False),
    ],
)
def test_where_it_is(wire: Wire, address: str, target: str, found: bool) -> None:
    _, client = Port(wire, probes_of(wire), address).ask(target)
    assert client.data.startswith(b"HTTP/1.1 200" if found else b"HTTP/1.1 404")


def test_it_can_be_turned_off(wire: Wire) -> None:
    port = Port(wire, None)
    assert port.ask("/app/;probe/mirror")[1].data.startswith(b"HTTP/1.1 404")
    port.ask("/app", *HANDSHAKE, f"Sec-WebSocket-Protocol: {probe.SUBPROTOCOL}")
    assert len(port.offers) == 1, "as if nobody had ever heard of it"


def test_what_is_refused(wire: Wire) -> None:
    port = Port(wire, probes_of(wire))
    assert port.ask("/app/;probe/mirror", method="POST")[1].data.startswith(b"HTTP/1.1 405")
    foreign = port.ask("/app/;probe/mirror", "Origin: https://evil.example.com")[1].data
    assert foreign.startswith(b"HTTP/1.1 403")


def test_pieces_come_with_pauses_and_hold_a_place(wire: Wire) -> None:
    probes = probes_of(wire, maximum=1)
    port = Port(wire, probes)
    own, client = port.ask("/app/;probe/stream")
    assert probes.used == 1
    assert client.data.count(b"piece") == 1
    assert port.ask("/app/;probe/stream")[1].data.startswith(b"HTTP/1.1 503")
    assert port.ask("/app", *HANDSHAKE, f"Sec-WebSocket-Protocol: {probe.SUBPROTOCOL}")[1].data.startswith(
        b"HTTP/1.1 503"
    )
    for number in range(2, PIECES + 1):
        wire.clock.advance(probe.GAP)
        own.settle()
        assert client.data.count(b"piece") == number
    wire.clock.advance(0)
    own.settle()
    assert client.data.endswith(b"0\r\n\r\n")
    own.right.close()
    own.settle()
    assert probes.used == 0


def test_who_leaves_frees_the_place(wire: Wire) -> None:
    probes = probes_of(wire, maximum=1)
    own, _ = Port(wire, probes).ask("/app/;probe/stream")
    own.right.abort()
    own.settle()
    assert probes.used == 0
    wire.clock.advance(10)


class Asking:
    """A client of a probe's WebSocket, without the WebSocket."""

    def __init__(self, wire: Wire, probes: Probes) -> None:
        self.wire, self.client = wire, Client()
        assert probes.enter()
        wire.right.start(self.client)
        wire.left.start(Talk(probes))

    def send(self, data: bytes) -> bytes:
        self.client.data.clear()
        if not self.wire.right.over:
            self.wire.right.write(data)
        self.wire.settle()
        return bytes(self.client.data)


def number(value: int) -> bytes:
    return value.to_bytes(4, "big")


def test_down_and_up(wire: Wire) -> None:
    asking = Asking(wire, probes_of(wire))
    came = asking.send(b"D" + number(300_000))
    assert came[:5] == b"d" + number(300_000)
    assert len(came) == 300_005
    assert asking.send(b"U" + number(10)) == b"u" + number(10)
    assert asking.send(b"x" * 9) == b""
    assert asking.send(b"x") == b"e"
    assert asking.send(b"D" + number(0)) == b"d" + number(0)


@given(st.lists(st.integers(1, 7), max_size=20))
@settings(max_examples=50, deadline=None)
def test_in_any_cuts(sizes: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        wire = Wire()
        patch.setattr(asyncio, "get_running_loop", lambda: wire.clock.loop)
        asking = Asking(wire, probes_of(wire))
        data = b"U" + number(20) + b"x" * 20 + b"U" + number(3) + b"xxx"
        came = b""
        for size in sizes:
            came += asking.send(data[:size])
            data = data[size:]
        came += asking.send(data)
        assert came == b"u" + number(20) + b"e" + b"u" + number(3) + b"e"


def test_one_probe_is_granted_so_much_and_no_more(wire: Wire) -> None:
    asking = Asking(wire, probes_of(wire, rate=1 << 30))
    for way in (b"D", b"U"):
        came = asking.send(way + number(MAXIMUM_BYTES - 1))
        assert came[1:5] == number(MAXIMUM_BYTES - 1)
        if way == b"U":
            asking.send(bytes(MAXIMUM_BYTES - 1))
        came = asking.send(way + number(2))
        assert came[1:5] == number(1)
        if way == b"U":
            assert asking.send(b"x") == b"e"
        assert asking.send(way + number(2))[1:5] == number(0)


def test_all_probes_share_a_rate(wire: Wire) -> None:
    probes = probes_of(wire, maximum=9, rate=1000)
    first, second = Asking(wire, probes), Asking(Wire(wire.clock), probes)
    assert first.send(b"D" + number(3000))[1:5] == number(3000)
    assert second.send(b"D" + number(3000))[1:5] == number(1000), "four seconds' worth in all"
    wire.clock.advance(2.0)
    assert second.send(b"U" + number(3000))[1:5] == number(2000)


@pytest.mark.parametrize("data", [b"X" + number(1), b"GET / HTTP/1.1\r\n", b"\0"])
def test_whatever_else_comes_ends_it(wire: Wire, data: bytes) -> None:
    probes = probes_of(wire)
    asking = Asking(wire, probes)
    asking.send(data)
    assert asking.wire.left.over
    assert probes.used == 0


def test_it_does_not_stay_for_ever(wire: Wire) -> None:
    probes = probes_of(wire)
    asking = Asking(wire, probes)
    wire.clock.advance(LONGEST - 1)
    asking.wire.settle()
    assert probes.used == 1
    wire.clock.advance(2)
    asking.wire.right.close()
    asking.wire.settle()
    assert probes.used == 0


def test_nothing_is_written_to_who_does_not_read(wire: Wire) -> None:
    asking = Asking(wire, probes_of(wire, rate=1 << 30))
    wire.right.pause_reading()
    wire.right.write(b"D" + number(MAXIMUM_BYTES))
    wire.settle()
    held: Any = wire.left
    assert held.unsent() < 256 * 1024
    wire.right.resume_reading()
    wire.settle()
    assert len(asking.client.data) == 5 + MAXIMUM_BYTES


def test_no_place(wire: Wire) -> None:
    probes = probes_of(wire, maximum=0)
    with pytest.raises(HandshakeError) as caught:
        probe.talk(probes)
    assert caught.value.status == 503
