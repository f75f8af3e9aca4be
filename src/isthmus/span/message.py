"""One outgoing WebSocket message, made of whole frames: small pieces gathered, large ones by reference."""

from __future__ import annotations

from isthmus.websocket.mask import Buffer

# Below this size a copy is cheaper than one more buffer to write.
_GATHER_BELOW = 16 * 1024


class Message:
    """A message that grows up to `room` bytes; the first frame may be larger."""

    __slots__ = ("_buffers", "_small", "room", "size")

    def __init__(self, room: int) -> None:
        self._buffers: list[Buffer] = []
        self._small: list[Buffer] = []
        self.room = room
        self.size = 0

    def add(self, frame: bytes) -> bool:
        """Add a frame; return False, having done nothing, if it does not fit."""
        size = len(frame)
        if size > self.room and self.size:
            return False
        self._small.append(frame)
        self.size += size
        self.room -= size
        return True

    def add_data(self, header: bytes, payload: list[Buffer], size: int) -> None:
        """Add a DATA frame with `size` bytes of payload; the caller has looked for room."""
        small = self._small
        small.append(header)
        for piece in payload:
            if len(piece) < _GATHER_BELOW:
                small.append(piece)
            else:
                if small:
                    self._buffers.append(b"".join(small))
                    small = self._small = []
                self._buffers.append(piece)
        size += len(header)
        self.size += size
        self.room -= size

    def buffers(self) -> list[Buffer]:
        """Return the message as buffers to write in order, none if it is empty."""
        if self._small:
            small = self._small
            self._buffers.append(b"".join(small) if len(small) > 1 else small[0])
            self._small = []
        return self._buffers
