"""What the WebSocket tests share: a handler that writes down, and ways to cut bytes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from hypothesis import strategies as st

from isthmus.websocket.connection import Connection, Handler
from isthmus.websocket.frames import FrameReader, ProtocolError, header
from isthmus.websocket.mask import Buffer, masked

KEY = b"\x37\xfa\x21\x3d"  # the key of the examples in RFC 6455 5.7


class Recorder(Handler):
    """Takes everything a reader or a connection says and writes it down, pieces of one message joined."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []
        self.written = bytearray()
        self.pieces = 0

    def message_data(self, data: memoryview, final: bool) -> None:
        self.pieces += 1
        assert data or final, "an empty piece says nothing"
        if self.events and self.events[-1][0] == "data" and not self.events[-1][2]:
            self.events[-1] = ("data", self.events[-1][1] + bytes(data), final)
        else:
            self.events.append(("data", bytes(data), final))

    def ping_received(self, payload: bytes) -> None:
        self.events.append(("ping", payload))

    def pong_received(self, payload: bytes) -> None:
        self.events.append(("pong", payload))

    def close_received(self, code: int | None, reason: str) -> None:
        self.events.append(("close", code, reason))

    def control(self, buffer: bytes) -> None:
        self.written += buffer


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, key: bytes | None = None) -> bytes:
    """Return a whole frame, masked if there is a key."""
    start = header(opcode, len(payload), fin, key)
    return start + payload if key is None else masked(start, payload, key)


def cut(data: bytes, places: Sequence[int]) -> list[bytearray]:
    """Cut `data` at `places` (taken modulo its size) into writable pieces."""
    marks = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [bytearray(data[start:end]) for start, end in pairwise(marks)]


def single_bytes(data: bytes) -> list[bytearray]:
    """Cut `data` into its bytes."""
    return [bytearray([byte]) for byte in data]


def feed(reader: FrameReader | Connection, pieces: Iterable[Buffer]) -> tuple[int, str] | None:
    """Give the pieces to `reader`; return code and text of the error that comes, going on behind it."""
    failed: tuple[int, str] | None = None
    for piece in pieces:
        try:
            reader.receive(piece)
        except ProtocolError as error:
            assert failed is None, "a reader that failed must discard"
            failed = error.code, str(error)
    return failed


cuts = st.lists(st.integers(0, 2**16), max_size=12)
