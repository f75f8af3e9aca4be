"""Creating an emulated WebSocket: what a server answers, and what becomes of it."""

from __future__ import annotations

import pytest
from tests.transports.span.world import Script, World
from tests.transports.wse.scene import Pair

from isthmus.transports.ways import Way
from isthmus.transports.wse.opening import MAXIMUM_BODY


@pytest.mark.parametrize(("hold", "way"), [(False, Way.STREAMING), (True, Way.SHORT)])
def test_how_it_comes_through_is_found_out(world: World, hold: bool, way: Way) -> None:
    pair = Pair(world, hold=hold)
    pair.open()
    (stream,) = pair.gateway.emulation.streams.values()
    assert pair.door.ways.best() is way
    assert stream.unsent() == 0


def test_cookies_and_fields_go_with_each_request(world: World) -> None:
    pair = Pair(world, ws_fallback="streaming", http_headers="X-Mine: yes")
    created = (
        b"HTTP/1.1 201 Created\r\nContent-Type: text/plain;charset=utf-8\r\nSet-Cookie: sticky=1\r\n"
        b"Content-Length: 82\r\n\r\n"
        b"http://gate.example.com/service/;e/ubm/x\nhttp://gate.example.com/service/;e/dbm/x\n"
    )
    met: list[Script] = []

    def meets() -> Script:
        met.append(Script(lambda head: created if head.startswith("POST /service/;e/c") else b""))
        return met[-1]

    pair.network.meets = meets
    pair.connect()
    world.advance(1.0)
    assert met[0].head.startswith("POST /service/;e/cbm HTTP/1.1\r\nHost: gate.example.com\r\n")
    assert "X-Mine: yes" in met[0].head
    assert met[1].head.startswith("GET /service/;e/dbm/x HTTP/1.1\r\n")
    assert "X-Mine: yes" in met[1].head
    assert "Cookie: sticky=1" in met[1].head
    assert "Cookie" not in met[0].head


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", "answered 401"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://else/\r\nContent-Length: 0\r\n\r\n", "answered 302"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "answered 200"),
        (b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n", "wrong type"),
        (
            b"HTTP/1.1 201 Created\r\nContent-Type: text/plain;charset=utf-8\r\nContent-Length: 99999\r\n\r\n"
            + bytes(MAXIMUM_BODY + 1),
            "larger than",
        ),
        (b"what\r\n\r\n", "malformed"),
    ],
)
def test_wrong_answers(world: World, answer: bytes, said: str) -> None:
    pair = Pair(world, ws_fallback="streaming")
    pair.network.meets = lambda: Script(lambda head: answer)
    client = pair.connect()
    world.advance(1.0)
    (error,) = client.failures
    assert said in str(error)
    assert error.asked
    assert not pair.network.open


def test_a_server_that_hangs_up(world: World) -> None:
    pair = Pair(world, ws_fallback="streaming")
    pair.network.meets = lambda: None
    client = pair.connect()
    world.advance(1.0)
    (error,) = client.failures
    assert not error.asked
