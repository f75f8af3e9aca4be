"""One request on an accepted connection: its body, held and let go, and its answer."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.transports.memory import Wire
from tests.transports.span.world import Client, World
from tests.websocket.recorder import cut, cuts

from isthmus.transports.base import Transport
from isthmus.transports.wse.exchange import MAXIMUM_IGNORED, Exchange, Ignored
from isthmus.websocket.handshake import HandshakeError, parse_request_head


class Owner:
    def __init__(self, stop_after: int = 1 << 30) -> None:
        self.body = b""
        self.ended = False
        self.lost = ""
        self.exchange: Exchange | None = None
        self.stop_after = stop_after

    def body_received(self, piece: memoryview) -> None:
        assert not self.ended
        self.body += bytes(piece)
        if len(self.body) > self.stop_after:
            raise HandshakeError(400, "enough")

    def body_ended(self) -> None:
        self.ended = True

    def body_lost(self, reason: str) -> None:
        self.lost = reason


class Scene:
    def __init__(self, world: World, *fields: str, rest: bytes = b"", version: str = "1.1") -> None:
        self.world = world
        self.wire: Wire = world.wire()
        self.client = Client()
        self.wire.left.start(self.client)
        self.again: list[bytes] = []
        head = "\r\n".join([f"POST / HTTP/{version}", "Host: a", *fields, "", ""])
        self.exchange = Exchange(
            self.wire.right, parse_request_head(head.encode()), bytearray(rest), self._take
        )
        self.owner = Owner()

    def _take(self, transport: Transport, rest: bytearray) -> None:
        self.again.append(bytes(rest))

    def send(self, data: bytes) -> None:
        self.wire.left.write(data)
        self.world.settle()

    def answer(self) -> bytes:
        self.exchange.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        self.world.settle()
        return bytes(self.client.data)


@given(body=st.binary(min_size=1, max_size=200), places=cuts, pauses=st.lists(st.booleans(), max_size=12))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_body_however_cut_and_held(
    world: World, body: bytes, places: list[int], pauses: list[bool]
) -> None:
    pieces = cut(body, places)
    scene = Scene(world, f"Content-Length: {len(body)}", rest=bytes(pieces[0]))
    if pauses and pauses[0]:
        scene.exchange.reading(False)
    scene.exchange.read(scene.owner)
    for piece, pause in zip([*pieces[1:], bytearray(b"next")], pauses + [False] * 99, strict=False):
        scene.send(bytes(piece))
        scene.exchange.reading(not pause)
    scene.exchange.reading(True)
    world.settle()
    assert scene.owner.body == body
    assert scene.owner.ended
    assert scene.answer().startswith(b"HTTP/1.1 200")
    assert scene.again == [b"next"]


def test_what_is_held_is_bounded_by_the_connection(world: World) -> None:
    scene = Scene(world, "Content-Length: 1000000")
    scene.exchange.reading(False)
    scene.exchange.read(scene.owner)
    scene.send(bytes(500_000))
    assert scene.owner.body == b""
    assert scene.wire.left.unsent() == 500_000
    scene.exchange.reading(True)
    world.settle()
    assert len(scene.owner.body) == 500_000


@pytest.mark.parametrize(("fields", "version"), [(("Connection: close",), "1.1"), ((), "1.0")])
def test_a_connection_that_does_not_go_on(world: World, fields: tuple[str, ...], version: str) -> None:
    scene = Scene(world, *fields, version=version)
    scene.exchange.read(scene.owner)
    assert scene.owner.ended
    scene.answer()
    assert not scene.again
    assert "eof" in scene.client.events


def test_an_answer_before_the_body_ends_the_connection(world: World) -> None:
    scene = Scene(world, "Content-Length: 10")
    scene.answer()
    assert not scene.again
    assert "eof" in scene.client.events


def test_a_body_that_is_waited_for(world: World) -> None:
    scene = Scene(world, "Content-Length: 3", "Expect: 100-continue")
    scene.exchange.read(scene.owner)
    world.settle()
    assert scene.client.data == b"HTTP/1.1 100 Continue\r\n\r\n"
    scene.send(b"abc")
    assert scene.owner.ended


def test_a_body_that_takes_too_long(world: World) -> None:
    scene = Scene(world, "Content-Length: 3")
    scene.exchange.read(scene.owner, 5.0)
    world.advance(6.0)
    assert scene.owner.lost
    assert scene.client.data.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("how", ["close", "abort"])
def test_a_client_that_leaves(world: World, how: str) -> None:
    scene = Scene(world, "Content-Length: 3")
    scene.exchange.read(scene.owner)
    getattr(scene.wire.left, how)()
    world.settle()
    assert scene.owner.lost
    scene = Scene(world)
    gone: list[int] = []
    scene.exchange.gone = lambda: gone.append(1)
    getattr(scene.wire.left, how)()
    world.settle()
    assert gone == [1]


def test_a_wrong_body_is_refused(world: World) -> None:
    scene = Scene(world, "Transfer-Encoding: chunked")
    scene.exchange.read(scene.owner)
    scene.send(b"nonsense\r\n")
    assert scene.owner.lost
    assert scene.client.data.startswith(b"HTTP/1.1 400 ")
    scene = Scene(world, "Content-Length: 9")
    scene.owner.stop_after = 2
    scene.exchange.read(scene.owner)
    scene.send(b"abcd")
    assert scene.owner.lost == "enough"
    assert scene.client.data.startswith(b"HTTP/1.1 400 ")


def test_pipelined_requests_wait_within_limits(world: World) -> None:
    scene = Scene(world)
    scene.exchange.read(scene.owner)
    for _ in range(20):
        scene.send(bytes(MAXIMUM_IGNORED // 4))
    assert scene.wire.left.unsent() > MAXIMUM_IGNORED
    scene.answer()
    assert len(scene.again[0]) <= 2 * MAXIMUM_IGNORED


def test_a_body_that_nobody_wants() -> None:
    then: list[int] = []
    ignored = Ignored(lambda: then.append(1))
    ignored.body_received(memoryview(bytes(MAXIMUM_IGNORED)))
    ignored.body_ended()
    assert then == [1]
    with pytest.raises(HandshakeError) as caught:
        ignored.body_received(memoryview(b"x"))
    assert caught.value.status == 413
    ignored.body_lost("left")
