"""The frames of WebSocket emulation: writing them, and reading them from a stream of bytes.

    80 length payload       a binary message          81 length payload   a text message
    00 payload FF           a text message (upstream) 01 digits FF        commands, two digits each
    89 00                   ping                      8A 00               pong

A length has seven bits in each byte, the highest first; the top bit says that another byte follows.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Protocol

from isthmus.wse import EmulationError

NOP = b"\x0100\xff"
"""Nothing: padding, and a heartbeat."""
RECONNECT = b"\x0101\xff"
"""The end of a body that another follows."""
CLOSE = b"\x0102\xff"
"""The end of the data in this direction."""
PING = b"\x89\0"
PONG = b"\x8a\0"

BINARY_FRAME = 0x80
TEXT_FRAME = 0x81
_DELIMITED = 0x00
_COMMAND = 0x01
_PING = 0x89
_PONG = 0x8A
_END = 0xFF
_ZERO = ord("0")
MAXIMUM_LENGTH = 2**53
_MAXIMUM_LENGTH_BYTES = 8


def header(kind: int, length: int) -> bytes:
    """Return the header of a frame with `length` bytes of payload."""
    digits = [length & 0x7F]
    while length := length >> 7:
        digits.append(length & 0x7F | 0x80)
    return bytes((kind, *reversed(digits)))


class FrameHandler(Protocol):
    """Takes what a `FrameDecoder` finds, inside its `feed`."""

    def began(self, text: bool, length: int) -> None:
        """A message begins that has `length` bytes; below 0: they are not counted, an `ended` comes."""

    def payload(self, piece: memoryview) -> None:
        """The next piece of the message, not empty."""

    def ended(self) -> None:
        """A message that was not counted has ended."""

    def ping(self) -> None: ...

    def pong(self) -> None: ...

    def close(self) -> None:
        """The peer's data has ended. What follows is not handed on."""


class _State(Enum):
    TYPE = auto()
    LENGTH = auto()
    PAYLOAD = auto()
    DELIMITED = auto()
    COMMAND = auto()
    CONTROL = auto()


class FrameDecoder:
    """Reads the frames of one body, however it is cut. Nothing but a length in parts is kept between calls.

    `pings` says whether the peer may send pings and pongs.
    """

    __slots__ = (
        "_digit",
        "_handler",
        "_kind",
        "_left",
        "_length_bytes",
        "_pings",
        "_state",
        "closed",
        "reconnect",
    )

    def __init__(self, handler: FrameHandler, *, pings: bool = True) -> None:
        self._handler = handler
        self._pings = pings
        self._state = _State.TYPE
        self._kind = 0
        self._left = 0
        self._length_bytes = 0
        self._digit = -1
        self.closed = False
        """Whether the peer's data has ended."""
        self.reconnect = False
        """Whether the body has ended as it should: nothing may follow in it."""

    @property
    def whole(self) -> bool:
        """Whether no frame is in parts."""
        return self._state is _State.TYPE

    def feed(self, data: memoryview) -> None:
        """Take the next bytes of the body. Raises EmulationError, after which it must not be fed again."""
        position, end = 0, len(data)
        while position < end:
            if self._state is _State.PAYLOAD:
                size = min(self._left, end - position)
                self._take(data[position : position + size])
                position += size
                self._left -= size
                if not self._left:
                    self._state = _State.TYPE
            elif self._state is _State.DELIMITED:
                position = self._delimited(data, position)
            else:
                self._byte(data[position])
                position += 1

    def _take(self, piece: memoryview) -> None:
        if not self.closed:
            self._handler.payload(piece)

    def _delimited(self, data: memoryview, position: int) -> int:
        """Read on in a delimited text: return how far."""
        rest = data[position:]
        size = bytes(rest).find(_END)
        piece = rest if size < 0 else rest[:size]
        if piece:
            self._take(piece)
        if size < 0:
            return len(data)
        self._state = _State.TYPE
        if not self.closed:
            self._handler.ended()
        return position + size + 1

    def _byte(self, byte: int) -> None:
        if self._state is _State.TYPE:
            self._begin(byte)
        elif self._state is _State.LENGTH:
            self._length(byte)
        elif self._state is _State.COMMAND:
            self._command(byte)
        else:
            self._control(byte)

    def _begin(self, kind: int) -> None:
        if self.reconnect:
            raise EmulationError("a body goes on behind its end")
        self._kind = kind
        if kind in (BINARY_FRAME, TEXT_FRAME):
            self._state = _State.LENGTH
            self._left = self._length_bytes = 0
        elif kind == _DELIMITED:
            self._state = _State.DELIMITED
            if not self.closed:
                self._handler.began(True, -1)
        elif kind == _COMMAND:
            self._state = _State.COMMAND
            self._digit = -1
        elif kind in (_PING, _PONG) and self._pings:
            self._state = _State.CONTROL
        elif kind in (_PING, _PONG):
            raise EmulationError("a ping or pong from a peer that did not announce them")
        else:
            raise EmulationError(f"there is no frame of type {kind:#04x}")

    def _length(self, byte: int) -> None:
        self._left = self._left << 7 | byte & 0x7F
        self._length_bytes += 1
        if self._left > MAXIMUM_LENGTH or self._length_bytes > _MAXIMUM_LENGTH_BYTES:
            raise EmulationError("the length of a frame is above all measure")
        if byte & 0x80:
            return
        self._state = _State.PAYLOAD if self._left else _State.TYPE
        if not self.closed:
            self._handler.began(self._kind == TEXT_FRAME, self._left)

    def _command(self, byte: int) -> None:
        if byte == _END and self._digit < 0:
            self._state = _State.TYPE
            return
        digit = byte - _ZERO
        if self._digit < 0 and digit == 0:
            self._digit = 0
            return
        if self._digit < 0 or not 0 <= digit <= 2:
            raise EmulationError("a command that does not exist")
        self._digit = -1
        if self.reconnect:
            raise EmulationError("a body goes on behind its end")
        if digit == 1:
            self.reconnect = True
        elif digit == 2 and not self.closed:
            self.closed = True
            self._handler.close()

    def _control(self, byte: int) -> None:
        if byte:
            raise EmulationError("a ping or pong with a payload")
        self._state = _State.TYPE
        if self.closed:
            return
        if self._kind == _PING:
            self._handler.ping()
        else:
            self._handler.pong()
