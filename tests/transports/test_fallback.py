"""Opening a WebSocket, or what is there in its place: which refusals are a middlebox's, and what is done."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest
from tests.transports.span.world import Script, World
from tests.transports.wse.scene import Pair

from isthmus.errors import ConnectError
from isthmus.transports.fallback import blocked
from isthmus.transports.ways import Way
from isthmus.websocket.handshake import HandshakeError, HandshakeRefused


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def failure(cause: Exception | None, *, asked: bool = True) -> ConnectError:
    error = ConnectError("no")
    error.__cause__ = cause
    error.asked = asked
    return error


@pytest.mark.parametrize("status", [200, 204, 400, 405, 406, 426, 500, 501, 505])
def test_what_a_middlebox_answers(status: int) -> None:
    assert blocked(failure(HandshakeRefused(status, "answered")))


@pytest.mark.parametrize("status", [301, 302, 401, 403, 404, 407, 429, 502, 503, 504])
def test_what_a_server_answers(status: int) -> None:
    assert not blocked(failure(HandshakeRefused(status, "answered")))


def test_the_page_of_a_filter() -> None:
    html, text = (("content-type", kind) for kind in ("text/html; charset=utf-8", "text/plain"))
    assert blocked(failure(HandshakeRefused(403, "answered", (html,))))
    assert not blocked(failure(HandshakeRefused(403, "answered", (text,))))
    assert not blocked(failure(HandshakeRefused(404, "answered", (html,))))


def test_what_is_no_answer() -> None:
    assert blocked(failure(HandshakeError(502, "Upgrade is not websocket")))
    assert blocked(failure(None))
    assert blocked(failure(ConnectionResetError()))
    assert not blocked(failure(ConnectionRefusedError(), asked=False))
    assert not blocked(failure(None, asked=False))


def test_a_websocket_where_one_gets_through(world: World) -> None:
    pair = Pair(world)
    pair.box.refuses = None
    client, _ = pair.open()
    assert client.transport is not None
    assert not pair.gateway.emulation.streams
    assert pair.door.ways.best() is Way.WEBSOCKET


@pytest.mark.parametrize("hold", [False, True])
def test_what_got_through_is_remembered_and_tried_from_the_top_later(
    world: World, hold: bool, caplog: pytest.LogCaptureFixture
) -> None:
    pair = Pair(world, hold=hold)
    way, words = (Way.SHORT, "short answers") if hold else (Way.STREAMING, "a long answer")
    with caplog.at_level(logging.INFO):
        pair.open()
        assert pair.door.ways.best() is way
        pair.open()
    assert pair.box.refused == 1
    said = f"no WebSocket gets through (answered 400 No); it is emulated over HTTP, with {words}"
    assert caplog.text.count(said) == 1
    world.advance(301.0)
    pair.open()
    assert pair.box.refused == 2
    pair.box.refuses = None
    world.advance(301.0)
    caplog.clear()
    with caplog.at_level(logging.INFO):
        pair.open()
    assert "a WebSocket gets through again" in caplog.text


@pytest.mark.parametrize(
    ("mode", "refused", "hold"), [("never", 1, False), ("streaming", 0, False), ("short", 0, True)]
)
def test_what_is_configured_is_done(world: World, mode: str, refused: int, hold: bool) -> None:
    pair = Pair(world, hold=hold, ws_fallback=mode)
    client = pair.connect()
    world.advance(5.0)
    assert bool(client.failures) == (mode == "never")
    assert pair.box.refused == refused
    assert len(pair.gateway.emulation.streams) == (mode != "never")


def test_a_way_that_does_not_go_any_more_is_forgotten(world: World) -> None:
    pair = Pair(world)
    pair.open()
    pair.box.refuses = None
    pair.gateway.front.router.websockets[0] = _without(pair)
    client, _ = pair.open()
    assert client.made
    assert pair.door.ways.best() is Way.WEBSOCKET


def _without(pair: Pair) -> Any:
    return replace(pair.gateway.front.router.websockets[0], emulation=None)


def test_where_nothing_gets_through_the_first_reason_is_told(world: World) -> None:
    pair = Pair(world, gateway={"ws_emulation": "enabled"})
    pair.gateway.front.router.websockets[0] = _without(pair)
    client = pair.connect()
    world.advance(10.0)
    (error,) = client.failures
    assert "answered 400 No" in str(error)
    assert "WebSocket emulation over HTTP does not get through either: answered 404" in error.hint
    assert pair.door.ways.best() is Way.WEBSOCKET


def test_a_server_that_asks_who_comes_is_heard(world: World) -> None:
    pair = Pair(world)
    inner = Script(lambda head: b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
    pair.box.inner = lambda: inner
    client = pair.connect()
    world.advance(10.0)
    (error,) = client.failures
    assert "answered 401" in str(error)
    assert "http.authorization.file" in error.hint


def test_silence_is_told_and_another_way_is_tried_the_next_time(world: World) -> None:
    pair = Pair(world, connect_timeout=4)
    met = []
    inner = pair.network.meets

    def silent() -> Script:
        met.append(Script(lambda head: b""))
        return met[-1]

    pair.network.meets = silent
    client = pair.connect()
    world.advance(5.0)
    (error,) = client.failures
    assert error.status == 504
    assert pair.door.ways.best() is None
    pair.network.meets = inner
    pair.open()
    assert pair.box.refused == 0
    assert pair.door.ways.best() is Way.STREAMING


def test_a_server_that_says_no_is_not_asked_twice(world: World) -> None:
    pair = Pair(world)
    pair.box.refuses = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    client = pair.connect()
    world.advance(5.0)
    (error,) = client.failures
    assert "answered 403" in str(error)
    assert len(pair.network.times) == 1


def test_cancelling_at_any_time(world: World) -> None:
    for steps in range(12):
        pair = Pair(world, hold=True)
        client = pair.connect()
        for _ in range(steps):
            world.clock.run()
            for wire in world.wires:
                wire.left.deliver()
                wire.right.deliver()
        assert pair.dial is not None
        pair.dial.cancel()
        world.advance(100.0)
        assert client.events in ([], ["made"]) or client.events[:1] == ["made"]
        assert not client.failures
        assert not pair.network.open or client.made
