"""One connection that is asked things: what it holds is bounded, and it never waits for ever."""

from __future__ import annotations

import asyncio

import pytest
from tests.transports.memory import Wire

from isthmus.doctor import conversation
from isthmus.doctor.conversation import Conversation, Ended, open_conversation
from isthmus.errors import ConnectError
from isthmus.transports.base import Receiver
from isthmus.uri import parse

ADDRESS = parse("tcp://gw:1")


class Connector:
    address = ADDRESS

    def __init__(self, wire: Wire | None) -> None:
        self.wire = wire
        self.cancelled = False

    def connect(
        self, receiver: Receiver, failed: object, *, origin: str = "", early: bool = False
    ) -> Connector:
        if self.wire is not None:
            self.wire.left.start(receiver)
        return self

    def cancel(self) -> None:
        self.cancelled = True

    def close(self) -> None: ...


async def test_what_comes_is_read_in_order() -> None:
    wire = Wire()
    talking = await open_conversation(Connector(wire), ADDRESS, 5.0)
    wire.right.write(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcd")
    wire.settle()
    response, _, rest = await talking.head()
    assert response.status == 200
    assert await talking.body(response, rest, 100, 5.0) == b"abcd"
    wire.right.close()
    wire.settle()
    with pytest.raises(Ended):
        await talking.read()


async def test_what_is_held_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "MAXIMUM_HELD", 1000)
    wire = Wire()
    talking = await open_conversation(Connector(wire), ADDRESS, 5.0)
    for _ in range(10):
        wire.right.write(bytes(600))
        wire.settle()
    assert wire.right.unsent() == 8 * 600
    for _ in range(10):
        assert len((await talking.read()).data) in (600, 4800)
        wire.settle()
        if not wire.right.unsent():
            break
    assert not wire.right.unsent()


async def test_nobody_answers() -> None:
    connector = Connector(None)
    with pytest.raises(ConnectError, match=r"no answer within 0\.05 s"):
        await open_conversation(connector, ADDRESS, 0.05)
    assert connector.cancelled


async def test_it_can_be_given_up() -> None:
    connector = Connector(None)
    task = asyncio.ensure_future(open_conversation(connector, ADDRESS, 5.0))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert connector.cancelled


async def test_it_cannot_be_made_twice() -> None:
    one, other = Wire(), Wire()
    talking = Conversation()
    one.left.start(talking)
    other.left.start(talking)
    assert other.left.over
