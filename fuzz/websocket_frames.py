"""Fuzz the WebSocket reader and the heads before it.

Invariant: any bytes, whole, in single bytes or in the cuts the fuzzer chooses, give the same events and the
same error; and nothing but ProtocolError or HandshakeError ever comes out.

Run with `python fuzz/websocket_frames.py -max_total_time=60`, after `pip install 'isthmus[fuzz]'`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from isthmus.websocket.connection import Connection
from isthmus.websocket.frames import ProtocolError, Role
from isthmus.websocket.handshake import (
    HandshakeError,
    accept_upgrade,
    parse_request_head,
    parse_response_head,
)


class Events:
    """Writes down what a connection says, pieces of one message joined."""

    def __init__(self) -> None:
        self.seen: list[tuple[Any, ...]] = []
        self.written = bytearray()

    def message_data(self, data: memoryview, final: bool) -> None:
        if self.seen and self.seen[-1][0] == "data" and not self.seen[-1][2]:
            self.seen[-1] = ("data", self.seen[-1][1] + bytes(data), final)
        else:
            self.seen.append(("data", bytes(data), final))

    def pong_received(self, payload: bytes) -> None:
        self.seen.append(("pong", payload))

    def close_received(self, code: int | None, reason: str) -> None:
        self.seen.append(("close", code, reason))

    def control(self, buffer: bytes) -> None:
        # A client masks its pongs with random keys: only how much it writes can be compared.
        self.written += buffer


def read(role: Role, data: bytes, sizes: Sequence[int]) -> tuple[list[tuple[Any, ...]], int, int]:
    """Read `data` in pieces of `sizes` bytes, in turn.

    Returns the events, how many bytes were written and the error's code, 0 if there was none.
    """
    events = Events()
    connection = Connection(role, events, maximum_message_size=4096)
    start = 0
    turn = 0
    code = 0
    while start < len(data):
        size = max(1, sizes[turn % len(sizes)])
        try:
            connection.receive(bytearray(data[start : start + size]))
        except ProtocolError as error:
            assert code == 0, "a connection that failed must discard"
            code = error.code
        start += size
        turn += 1
    return events.seen, len(events.written), code


def check(data: bytes) -> None:
    """Assert the invariant for one input: a byte for the role, eight for the cuts, then the stream."""
    if len(data) < 9:
        return
    role = Role.SERVER if data[0] & 1 else Role.CLIENT
    cuts, stream = data[1:9], data[9:]
    whole = read(role, stream, [len(stream)])
    assert read(role, stream, cuts) == whole
    assert read(role, stream, [1]) == whole
    for head in (stream, b"GET / HTTP/1.1\r\nHost: h\r\n" + stream + b"\r\n\r\n"):
        try:
            accept_upgrade(parse_request_head(head))
        except HandshakeError:
            pass
        try:
            parse_response_head(head)
        except HandshakeError:
            pass


def main() -> None:
    """Run the fuzzer; its options are libFuzzer's."""
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
