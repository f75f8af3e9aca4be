"""Fuzz the WebSocket reader and the heads before it.

Invariant: any bytes, whole, in single bytes or in the cuts the fuzzer chooses, give the same events and the
same error; and nothing but ProtocolError or HandshakeError ever comes out.

`make fuzz` runs it for a minute; by hand, after `pip install 'isthmus[fuzz]'`, `python
fuzz/websocket_frames.py -max_total_time=3600` runs it for an hour.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from isthmus.websocket.connection import Connection, Handler
from isthmus.websocket.frames import Opcode, ProtocolError, Role, header
from isthmus.websocket.handshake import (
    HandshakeError,
    accept_upgrade,
    parse_request_head,
    parse_response_head,
)


class Events(Handler):
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


def seeds() -> list[bytes]:
    """Return inputs to begin with: frames of each kind to a client, masked to a server, and heads."""
    said = [
        (Opcode.BINARY, True, b"hello"),
        (Opcode.TEXT, False, b"\xc3\xa9"),
        (Opcode.CONTINUATION, True, b"!"),
        (Opcode.BINARY, True, bytes(300)),
        (Opcode.PING, True, b"ping"),
        (Opcode.PONG, True, b""),
        (Opcode.CLOSE, True, b"\x03\xe8"),
    ]
    frames = [header(opcode, len(data), fin) + data for opcode, fin, data in said]
    masked = [header(opcode, len(data), fin, bytes(4)) + data for opcode, fin, data in said]
    upgrade = b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
    key = b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    heads = [
        b"GET /x HTTP/1.1\r\nHost: h\r\n" + upgrade + key + b"\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n" + upgrade + b"\r\n",
    ]
    cuts = bytes(range(1, 9))
    return [
        *(b"\0" + cuts + each for each in [*frames, b"".join(frames), *heads]),
        *(b"\1" + cuts + each for each in [*masked, b"".join(masked)]),
    ]


def main() -> None:
    """Run the fuzzer; its options are libFuzzer's."""
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
