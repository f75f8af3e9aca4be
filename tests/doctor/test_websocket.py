"""A WebSocket for code that waits."""

from __future__ import annotations

from tests.transports.memory import Wire
from tests.websocket.recorder import frame

from isthmus.doctor.conversation import Conversation
from isthmus.doctor.websocket import MAXIMUM_MESSAGE, WebSocket


def opened(rest: bytes = b"") -> tuple[Wire, WebSocket]:
    wire, conversation = Wire(), Conversation()
    wire.left.start(conversation)
    return wire, WebSocket(conversation, rest)


async def test_data_pongs_and_the_end() -> None:
    wire, socket = opened(frame(2, b"at once"))
    assert socket.take(3) == b"at "
    wire.right.write(frame(2, b"more") + frame(10, b"hello"))
    wire.settle()
    assert await socket.ping(b"hello", 5.0) is not None
    assert socket.take(100) == b"oncemore"
    assert socket.received == 11
    wire.right.write(frame(8, b"\x03\xe8"))
    wire.settle()
    await socket.hear()
    assert socket.ended == "closed with 1000"
    assert await socket.ping(b"again", 5.0) is None


async def test_a_ping_that_is_not_answered() -> None:
    _, socket = opened()
    assert await socket.ping(b"hello", 0.05) is None
    assert socket.ended == ""


async def test_how_it_is_lost() -> None:
    wire, socket = opened()
    wire.right.abort()
    wire.settle()
    await socket.hear()
    assert socket.ended == "reset"
    broken, other = opened()
    broken.right.write(b"\xff\xff\xff")
    broken.settle()
    await other.hear()
    assert other.ended.startswith("broken: ")


async def test_what_nobody_takes_is_bounded() -> None:
    wire, socket = opened()
    for _ in range(40):
        wire.right.write(frame(2, bytes(60_000)))
        wire.settle()
        await socket.hear()
    assert len(socket.take(1 << 30)) <= MAXIMUM_MESSAGE
