"""Reading span frames out of the pieces of WebSocket messages (docs/span.md section 3).

The payload of DATA goes on in the pieces in which it comes. Any other frame is gathered up to the size its
type allows. Kept between calls are at most a header in parts (15 bytes) and one such frame.
"""

from __future__ import annotations

from isthmus.errors import SpanError
from isthmus.span.frames import LONGEST, OF_HANDSHAKE, SHORTEST, wrong
from isthmus.websocket import octets
from isthmus.websocket.mask import Buffer
from isthmus.websocket.octets import Octets

# Plain integers for the inner loop: to compare with an IntEnum costs more than the rest of the header.
_DATA = 0x12
_ACK = 0x15
_DATAGRAM = 0x17
_OPTIONAL = 0x80
_HEADER = 8
_DATA_HEADER = 16
_SHORTEST_DATA: int = SHORTEST[_DATA]
_MAXIMUM_HANDSHAKE = 4_096 - _HEADER
_FIRST_OF_STREAMS = 0x10
_LAST_OF_STREAMS = 0x1A
_STREAM = 0xFFFFFFFF  # the part of a header that names it


class FrameSink:
    """Takes the frames of one carrier; derive from it.

    Each call may raise SpanError, which ends the reading.
    """

    __slots__ = ()

    def data_received(self, stream: int, offset: int, data: memoryview, start: int, size: int) -> None:
        """Take the next piece of a DATA frame, never empty: `size` bytes of `data` from `start`.

        The view is valid until this call returns; what it has beside is not the sink's to read.
        """
        raise NotImplementedError

    def ack_received(self, stream: int, received: int, limit: int) -> None:
        """Take an ACK."""
        raise NotImplementedError

    def datagram_received(self, flow: int, data: bytes) -> None:
        """Take a DATAGRAM."""
        raise NotImplementedError

    def frame_received(self, kind: int, stream: int, payload: bytes) -> None:
        """Take any other known frame; its length and whether it has a stream are checked."""
        raise NotImplementedError


class FrameReader:
    """Reads the frames of one carrier, however its messages are cut.

    `maximum_message` is the largest message, in bytes, that this side said it takes. As long as `handshaking`
    is set, only frames of section 4 may come, of at most 4 KiB. `skipped` counts frames of unknown optional
    types. After an error or `stop` everything is discarded.
    """

    __slots__ = (
        "_gathered",
        "_head",
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
        self._kind = 0
        self._stream = 0
        self._left = 0  # bytes of the frame's payload still to come; none between frames
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

    def receive(self, data: Buffer, final: bool, start: int = 0, size: int = -1) -> None:
        """Read the next piece of a message, `size` bytes of `data` from `start`, or all of it.

        `final` says that the message ends with it. Raises SpanError, after which the reader discards; nothing
        wrong was handed on.
        """
        if self._stopped:
            return
        view = data if type(data) is memoryview else memoryview(data)
        position = start
        end = len(view) if size < 0 else start + size
        self._size += end - start
        if self._size > self._maximum:
            raise self._wrong(f"a message is larger than {self._maximum} bytes")
        try:
            while position < end:
                if self._left == 0:
                    kept = len(self._head)
                    if kept == 0 and end - position >= _DATA_HEADER:
                        position += self._begin(view, position, _DATA_HEADER)
                    else:
                        self._head += octets.copied(view, position, min(_DATA_HEADER - kept, end - position))
                        size = self._begin(self._head, 0, len(self._head))
                        if size == 0:
                            break
                        self._head = b""
                        position += size - kept
                size = min(self._left, end - position)
                self._left -= size
                if self._kind != _DATA:
                    self._take(view, position, size)
                elif size:
                    offset = self._offset
                    self._offset = offset + size
                    self._sink.data_received(self._stream, offset, view, position, size)
                position += size
                if self._stopped:
                    return
        except SpanError:
            self._stopped = True
            raise
        if final:
            if self._left or self._head:
                raise self._wrong("a frame does not end with its message")
            if self._size == 0:
                raise self._wrong("a message is empty")
            self._size = 0

    def _begin(self, data: Octets, start: int, available: int) -> int:
        """Start the frame that begins at `start`: return the size of its header, 0 if more has to come."""
        if available < _HEADER:
            return 0
        word = octets.uint64(data, start)
        kind = word >> 56
        length = word >> 32 & 0xFFFFFF
        stream = word & _STREAM
        # Nearly all that comes is data of a stream. What is wrong with a frame, `_check` says of any.
        if kind != _DATA or length < _SHORTEST_DATA or stream == 0 or self.handshaking:
            self._check(kind, length, stream)
        if length > self._maximum:
            raise self._wrong("a frame is longer than a message may be")
        size = _HEADER
        if kind == _DATA:
            if available < _DATA_HEADER:
                return 0
            self._offset = octets.uint64(data, start + _HEADER)
            length -= 8
            size = _DATA_HEADER
        self._kind = kind
        self._stream = stream
        self._left = length
        return size

    def _check(self, kind: int, length: int, stream: int) -> None:
        """Raise SpanError if no frame of that type has this length, or stands here, or names that stream."""
        shortest: int = SHORTEST[kind]
        if self.handshaking and ((shortest >= 0 and kind not in OF_HANDSHAKE) or length > _MAXIMUM_HANDSHAKE):
            raise self._wrong(f"a frame of type {kind:#x} and {length} bytes is no handshake")
        if shortest >= 0:
            longest: int = LONGEST[kind]
            if length < shortest or length > longest:
                raise self._wrong(f"a frame of type {kind:#x} has {length} bytes")
            if (stream != 0) != (_FIRST_OF_STREAMS <= kind <= _LAST_OF_STREAMS):
                raise self._wrong(f"a frame of type {kind:#x} names the stream {stream}")
        elif kind < _OPTIONAL:
            raise self._wrong(f"the type {kind:#x} is unknown and not optional")

    def _take(self, view: memoryview, start: int, size: int) -> None:
        """Take `size` bytes from `start` on of what a frame that is not DATA has; none, if it has none."""
        kind = self._kind
        if kind >= _OPTIONAL:
            self.skipped += self._left == 0
            return
        data: Octets = view
        if self._left or self._gathered:
            self._gathered += octets.copied(view, start, size)
            if self._left:
                return
            data = bytes(self._gathered)
            start = 0
            size = len(data)
            self._gathered = bytearray()
        if kind == _ACK:
            self._sink.ack_received(self._stream, octets.uint64(data, start), octets.uint64(data, start + 8))
        elif kind == _DATAGRAM:
            self._sink.datagram_received(self._stream, octets.copied(data, start, size))
        else:
            self._sink.frame_received(kind, self._stream, octets.copied(data, start, size))

    def _wrong(self, reason: str) -> SpanError:
        self._stopped = True
        return wrong(reason)
