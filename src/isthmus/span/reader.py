"""Reading span frames out of the pieces of WebSocket messages (docs/span.md section 3).

The payload of DATA goes on in the pieces in which it comes. Any other frame is gathered up to the size its
type allows. Kept between calls are at most a header in parts (15 bytes) and one such frame.
"""

from __future__ import annotations

from struct import Struct
from typing import Protocol

from isthmus.errors import SpanError
from isthmus.span.frames import LONGEST, OF_HANDSHAKE, SHORTEST, wrong
from isthmus.websocket.mask import Buffer

# Plain integers for the inner loop: to compare with an IntEnum costs more than the rest of the header.
_DATA = 0x12
_ACK = 0x15
_DATAGRAM = 0x17
_OPTIONAL = 0x80
_HEADER = 8
_DATA_HEADER = 16
_MAXIMUM_HANDSHAKE = 4_096 - _HEADER
_FIRST_OF_STREAMS = 0x10
_LAST_OF_STREAMS = 0x1A
_WORDS = Struct(">QQ")


class FrameSink(Protocol):
    """Takes the frames of one carrier. Each call may raise SpanError, which ends the reading."""

    def data_received(self, stream: int, offset: int, data: memoryview) -> None:
        """Take the next piece of a DATA frame, never empty. The view is valid until this call returns."""

    def ack_received(self, stream: int, received: int, limit: int) -> None:
        """Take an ACK."""

    def datagram_received(self, flow: int, data: bytes) -> None:
        """Take a DATAGRAM."""

    def frame_received(self, kind: int, stream: int, payload: bytes) -> None:
        """Take any other known frame; its length and whether it has a stream are checked."""


class FrameReader:
    """Reads the frames of one carrier, however its messages are cut.

    `maximum_message` is the largest message, in bytes, that this side said it takes. As long as `handshaking`
    is set, only frames of section 4 may come, of at most 4 KiB. `skipped` counts frames of unknown optional
    types. After an error or `stop` everything is discarded.
    """

    __slots__ = (
        "_gathered",
        "_head",
        "_in_frame",
        "_kind",
        "_left",
        "_maximum",
        "_offset",
        "_sink",
        "_size",
        "_stopped",
        "_stream",
        "handshaking",
        "skipped",
    )

    def __init__(self, sink: FrameSink, *, maximum_message: int) -> None:
        self._sink = sink
        self._maximum = maximum_message
        self._size = 0  # of the current message so far
        self._stopped = False
        self._head = b""  # of a frame whose header is in parts
        self._in_frame = False  # a header was read and its payload is not complete
        self._kind = 0
        self._stream = 0
        self._left = 0  # bytes of the frame's payload still to come
        self._offset = 0  # of the next byte of DATA
        self._gathered = bytearray()  # payload in parts of a frame that is not DATA
        self.handshaking = True
        self.skipped = 0

    def stop(self) -> None:
        """Discard everything from now on, also the rest of a call to `receive` that is under way."""
        self._stopped = True

    @property
    def stopped(self) -> bool:
        """Whether everything is discarded."""
        return self._stopped

    def receive(self, data: Buffer, final: bool) -> None:
        """Read the next piece of a message; `final` says that the message ends with it.

        Raises SpanError, after which the reader discards; nothing wrong was handed on.
        """
        if self._stopped:
            return
        view = data if type(data) is memoryview else memoryview(data)
        end = len(view)
        self._size += end
        if self._size > self._maximum:
            raise self._wrong(f"a message is larger than {self._maximum} bytes")
        position = 0
        while position < end:
            if not self._in_frame:
                if end - position >= _DATA_HEADER and not self._head:
                    word, offset = _WORDS.unpack_from(view, position)
                    position += self._begin(word, offset, _DATA_HEADER)
                else:
                    kept = len(self._head)
                    self._head += bytes(view[position : position + _DATA_HEADER - kept])
                    word, offset = _WORDS.unpack(self._head.ljust(_DATA_HEADER, b"\0"))
                    size = self._begin(word, offset, len(self._head))
                    if size == 0:
                        break
                    self._head = b""
                    position += size - kept
            size = min(self._left, end - position)
            self._take(view[position : position + size], size)
            position += size
            if self._stopped:
                return
        if final:
            if self._in_frame or self._head:
                raise self._wrong("a frame does not end with its message")
            if self._size == 0:
                raise self._wrong("a message is empty")
            self._size = 0

    def _begin(self, word: int, offset: int, available: int) -> int:
        """Start the frame whose first 16 bytes are these two numbers, as far as they are available.

        Returns the size of its header, 0 if more has to come.
        """
        if available < _HEADER:
            return 0
        kind = word >> 56
        length = word >> 32 & 0xFFFFFF
        stream = word & 0xFFFFFFFF
        shortest: int = SHORTEST[kind]
        if self.handshaking and ((shortest >= 0 and kind not in OF_HANDSHAKE) or length > _MAXIMUM_HANDSHAKE):
            raise self._wrong(f"a frame of type {kind:#x} and {length} bytes is no handshake")
        if shortest >= 0:
            if length < shortest or length > LONGEST[kind]:
                raise self._wrong(f"a frame of type {kind:#x} has {length} bytes")
            if (stream != 0) != (_FIRST_OF_STREAMS <= kind <= _LAST_OF_STREAMS):
                raise self._wrong(f"a frame of type {kind:#x} names the stream {stream}")
        elif kind < _OPTIONAL:
            raise self._wrong(f"the type {kind:#x} is unknown and not optional")
        if length > self._maximum:
            raise self._wrong("a frame is longer than a message may be")
        size = _HEADER
        if kind == _DATA:
            if available < _DATA_HEADER:
                return 0
            self._offset = offset
            length -= 8
            size = _DATA_HEADER
        self._kind = kind
        self._stream = stream
        self._left = length
        self._in_frame = True
        return size

    def _take(self, piece: memoryview, size: int) -> None:
        """Take the next `size` bytes of the frame's payload; none, for a frame that has none."""
        self._left -= size
        ended = self._left == 0
        if ended:
            self._in_frame = False
        kind = self._kind
        try:
            if kind == _DATA:
                if size:
                    offset = self._offset
                    self._offset = offset + size
                    self._sink.data_received(self._stream, offset, piece)
                return
            if kind >= _OPTIONAL:
                self.skipped += ended
                return
            if not ended or self._gathered:
                self._gathered += piece
                if not ended:
                    return
                payload = bytes(self._gathered)
                self._gathered = bytearray()
            else:
                payload = bytes(piece)
            if kind == _ACK:
                received, limit = _WORDS.unpack(payload)
                self._sink.ack_received(self._stream, received, limit)
            elif kind == _DATAGRAM:
                self._sink.datagram_received(self._stream, payload)
            else:
                self._sink.frame_received(kind, self._stream, payload)
        except SpanError:
            self._stopped = True
            raise

    def _wrong(self, reason: str) -> SpanError:
        self._stopped = True
        return wrong(reason)
