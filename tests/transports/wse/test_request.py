"""Requests to a server, one after the other."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.transports.span.world import Network, World

from isthmus.errors import ConnectError
from isthmus.transports.base import Transport
from isthmus.transports.wse.request import Requester
from isthmus.websocket.handshake import HandshakeError, ResponseHead

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """A server whose answers the test gives."""

    def __init__(self) -> None:
        self.transport: Transport | None = None
        self.data = b""
        self.events: list[str] = []

    def connection_made(self, transport: Transport) -> None:
        self.transport = transport

    def data_received(self, data: memoryview) -> None:
        self.data += bytes(data)

    def eof_received(self) -> None:
        self.events.append("eof")

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...

    def connection_lost(self, error: Exception | None) -> None:
        self.events.append("lost")


class Owner:
    def __init__(self) -> None:
        self.head: ResponseHead | None = None
        self.body = b""
        self.ended = False
        self.errors: list[Exception] = []
        self.then: Callable[[], None] = lambda: None

    def answer_begun(self, head: ResponseHead) -> None:
        assert self.head is None
        self.head = head
        if head.status == 418:
            raise HandshakeError(418, "no")

    def answer_piece(self, piece: memoryview) -> None:
        self.body += bytes(piece)

    def answer_ended(self) -> None:
        assert not self.ended
        self.ended = True
        self.then()

    def answer_failed(self, error: Exception) -> None:
        self.errors.append(error)


class Scene:
    def __init__(self, world: World) -> None:
        self.world = world
        self.servers: list[Server] = []
        self.network = Network(world, self._meets)
        self.requester = Requester(self.network)

    def _meets(self) -> Server:
        self.servers.append(Server())
        return self.servers[-1]

    def ask(self, text: bytes = b"question") -> Owner:
        owner = Owner()
        self.requester.send([text], owner)
        self.world.settle()
        return owner

    def answer(self, data: bytes, *, end: str = "") -> None:
        transport = self.servers[-1].transport
        assert transport is not None
        transport.write(data)
        self.world.settle()
        if end:
            getattr(transport, end)()
            self.world.settle()


@pytest.fixture
def scene(world: World) -> Scene:
    return Scene(world)


def test_one_after_the_other_on_one_connection(scene: Scene) -> None:
    for number in range(3):
        owner = scene.ask()
        assert scene.requester.busy
        scene.answer(OK)
        assert (owner.body, owner.ended) == (b"ok", True)
        assert scene.servers[0].data == b"question" * (number + 1)
    assert len(scene.servers) == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        OK + b"more",
    ],
)
def test_a_connection_that_is_not_kept(scene: Scene, answer: bytes) -> None:
    owner = scene.ask()
    scene.answer(answer)
    assert (owner.body, owner.ended) == (b"ok", True)
    assert scene.servers[0].events
    scene.ask()
    assert len(scene.servers) == 2


def test_an_answer_until_the_end(scene: Scene) -> None:
    owner = scene.ask()
    scene.answer(b"HTTP/1.1 200 OK\r\n\r\nok")
    assert not owner.ended
    scene.answer(b"ay", end="close")
    assert (owner.body, owner.ended) == (b"okay", True)
    owner = scene.ask()
    scene.answer(b"HTTP/1.1 200 OK\r\n\r\nok", end="abort")
    assert owner.errors


def test_chunks_and_what_comes_before_the_answer(scene: Scene) -> None:
    owner = scene.ask()
    scene.answer(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    scene.answer(b"1\r\no\r\n1\r\nk\r\n0\r\n\r\n")
    assert (owner.body, owner.ended) == (b"ok", True)


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0 x\r\n\r\n",
        b"HTTP/1.1 204 No\r\n\r\n",
        b"HTTP/1.1 418 No\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x" * 20_000,
    ],
)
def test_wrong_answers(scene: Scene, answer: bytes) -> None:
    owner = scene.ask()
    scene.answer(answer)
    (error,) = owner.errors
    assert isinstance(error, HandshakeError)
    assert not scene.network.open


def test_a_kept_connection_that_has_ended_meanwhile(scene: Scene) -> None:
    scene.ask()
    scene.answer(OK, end="close")
    owner = scene.ask()
    assert len(scene.servers) == 2
    scene.answer(OK)
    assert owner.ended


@pytest.mark.parametrize("end", ["close", "abort"])
def test_a_kept_connection_that_ends_just_then(scene: Scene, end: str) -> None:
    scene.ask()
    scene.answer(OK)
    owner = scene.ask(b"again")
    scene.answer(b"", end=end)
    assert len(scene.servers) == 2
    assert scene.servers[1].data == b"again"
    scene.answer(b"", end=end)  # a new one that ends is an error
    assert len(owner.errors) == 1


def test_nobody_listens(scene: Scene) -> None:
    scene.network.meets = lambda: None
    owner = scene.ask()
    assert isinstance(owner.errors[0], ConnectError)


def test_held_answers(scene: Scene) -> None:
    owner = scene.ask()
    scene.requester.reading(False)
    scene.answer(b"HTTP/1.1 200 OK\r\n\r\nok", end="close")
    assert owner.head is None
    scene.requester.reading(True)
    scene.world.settle()
    assert (owner.body, owner.ended) == (b"ok", True)


def test_the_next_from_inside_the_last(scene: Scene) -> None:
    owner = scene.ask()
    following = Owner()
    owner.then = lambda: scene.requester.send([b"next"], following)
    scene.answer(OK)
    scene.answer(OK)
    assert following.ended
    assert len(scene.servers) == 1


def test_what_was_not_asked_for_ends_the_connection(scene: Scene) -> None:
    scene.ask()
    scene.answer(OK)
    scene.answer(b"more")
    assert not scene.network.open


def test_closing_tells_nothing(scene: Scene) -> None:
    owner = scene.ask()
    scene.requester.close()
    scene.world.settle()
    assert not owner.errors
    assert not scene.network.open
    scene.requester = Requester(scene.network)
    scene.requester.send([b"x"], owner)
    scene.requester.close()
    scene.world.settle()
    assert not scene.network.open
