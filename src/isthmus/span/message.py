"""One outgoing WebSocket message, made of whole frames: small pieces gathered, large ones by reference."""

from __future__ import annotations

from isthmus.span import frames
from isthmus.websocket import buffers
from isthmus.websocket.mask import Buffer

# Below this size a copy is cheaper than one more buffer to write.
_GATHER_BELOW = 16 * 1024
_GATHERED = 4 * _GATHER_BELOW
_DATA_HEADER = 16
_HEADER = 8
_ACK = 24

# Stands for each list of parts that is empty; it is replaced, never changed.
_NONE: list[Buffer] = []


class Message:
    """A message that grows up to `room` bytes; the first frame may be larger.

    One object serves for any number of messages, each of which begins with `begin`, so that it need not make
    room for each. A message of small pieces lies in the first `used` bytes of `gathered`.
    """

    __slots__ = ("_parts", "gathered", "growing", "room", "size", "used")

    def __init__(self, room: int) -> None:
        self.gathered = bytearray(_GATHERED)
        self.growing = False  # somebody is adding to it
        self.begin(room)

    def begin(self, room: int) -> None:
        """Begin an empty message; what was in it is over."""
        self._parts = _NONE  # what stands before what is gathered
        self.used = 0
        self.room = room
        self.size = 0

    def add(self, frame: bytes) -> bool:
        """Add a frame; return False, having done nothing, if it does not fit."""
        size = len(frame)
        if size > self.room and self.size:
            return False
        self.put(frame, 0, size)
        return True

    def add_ack(self, stream: int, received: int, limit: int) -> bool:
        """Add an ACK; otherwise as `add`."""
        if self.room < _ACK and self.size:
            return False
        if self.used + _ACK > _GATHERED:
            self._spill()
        frames.put_ack(self.gathered, self.used, stream, received, limit)
        self.used += _ACK
        self.size += _ACK
        self.room -= _ACK
        return True

    def add_data_header(self, stream: int, offset: int, size: int) -> None:
        """Begin a DATA frame with `size` bytes of payload, to be `put`; the caller has looked for room."""
        if self.used + _DATA_HEADER > _GATHERED:
            self._spill()
        frames.put_data_header(self.gathered, self.used, stream, offset, size)
        self.used += _DATA_HEADER
        self.size += _DATA_HEADER
        self.room -= _DATA_HEADER

    def add_data(self, stream: int, offset: int, data: bytes, start: int, size: int) -> None:
        """Add a DATA frame of `size` bytes of `data` from `start` on; the caller has looked for room."""
        whole = _DATA_HEADER + size
        if size >= _GATHER_BELOW or self.used + whole > _GATHERED:
            self.add_data_header(stream, offset, size)
            self.put(data, start, size)
        else:
            frames.put_data_header(self.gathered, self.used, stream, offset, size)
            buffers.put(self.gathered, self.used + _DATA_HEADER, data, start, size)
            self.used += whole
            self.size += whole
            self.room -= whole

    def add_frame(self, word: int, payload: bytes) -> None:
        """Add a frame of a header, as one number, and its payload; the caller has looked for room."""
        if self.used + _HEADER > _GATHERED:
            self._spill()
        buffers.put_number(self.gathered, self.used, word)
        self.used += _HEADER
        self.size += _HEADER
        self.room -= _HEADER
        self.put(payload, 0, len(payload))

    def put(self, data: bytes, start: int, size: int) -> None:
        """Add `size` bytes of `data` from `start` on, which are a part of a frame."""
        if size < _GATHER_BELOW:
            if self.used + size > _GATHERED:
                self._spill()
            buffers.put(self.gathered, self.used, data, start, size)
            self.used += size
        else:
            self._spill()
            self._parts.append(data if size == len(data) else memoryview(data)[start : start + size])
        self.size += size
        self.room -= size

    def _spill(self) -> None:
        """Make what is gathered a part."""
        if self._parts is _NONE:
            self._parts = []
        if self.used:
            self._parts.append(buffers.cut(self.gathered, 0, self.used))
            self.used = 0

    def is_gathered(self) -> bool:
        """Whether all of it lies in `gathered`."""
        return self._parts is _NONE

    def buffers(self) -> list[Buffer]:
        """Return the message as buffers to write in order, none if it is empty. They stay unchanged."""
        if self.used:
            self._spill()
        return self._parts
