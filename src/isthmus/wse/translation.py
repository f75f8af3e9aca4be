"""From the frames of RFC 6455 to those of the emulation, and back.

What is above an emulated WebSocket speaks RFC 6455 as over any connection: its pings, its closing, its limits
and its masks are the same, and nothing above knows which of the two it is. What the emulation cannot say:

    RFC 6455                                  emulated
    ----------------------------------------------------------------------------------
    Close without code, with 1000 or 1001     CLOSE
    Close with any other code                 nothing: the body breaks off, a reset
    the payload of a ping or pong             an empty one
    a fragmented message                      a whole one (one message is gathered)
"""

from __future__ import annotations

from isthmus.websocket import frames as websocket
from isthmus.websocket.frames import CloseCode, FrameReader, MessageSink, Opcode, Role
from isthmus.websocket.mask import Buffer
from isthmus.wse.encodings import Encoding
from isthmus.wse.frames import (
    BINARY_FRAME,
    CLOSE,
    MAXIMUM_LENGTH,
    NOP,
    PING,
    PONG,
    TEXT_FRAME,
    FrameDecoder,
    header,
)

_IN_ORDER = (None, CloseCode.NORMAL, CloseCode.GOING_AWAY)
_NO_KEY = bytes(4)
_COPIED_BELOW = 16 * 1024


class Outward(MessageSink):
    """Turns what a WebSocket of `role` writes into frames of the emulation.

    `pings` says whether the peer understands pings; others get NOP instead.
    """

    def __init__(self, role: Role, encoding: Encoding, *, pings: bool = True) -> None:
        other = Role.SERVER if role is Role.CLIENT else Role.CLIENT
        self._masked = role is Role.CLIENT
        self._reader = FrameReader(other, self, self, maximum_message_size=MAXIMUM_LENGTH)
        self._mixed = encoding.mixed
        self._pings = pings
        self._made: list[Buffer] = []
        self._part: bytearray | None = None
        self.closed = False
        """Whether a Close was written: nothing follows."""
        self.broken = False
        """Whether it was one that the peer must see as a reset."""
        self.unanswered = False
        """Whether a ping was asked for that this peer cannot answer."""

    def translate(self, data: Buffer) -> list[Buffer]:
        """Return the buffers to send for the next bytes written. They may share memory with `data`."""
        self._reader.receive(bytearray(data) if self._masked else data)
        made, self._made = self._made, []
        return made

    # --- from the reader

    def message_data(self, data: memoryview, final: bool) -> None:
        if not final or self._part is not None:
            part = self._part = bytearray() if self._part is None else self._part
            part += data
            if not final:
                return
            data, self._part = memoryview(part), None
        kind = TEXT_FRAME if self._reader.text and self._mixed else BINARY_FRAME
        self._made.append(header(kind, len(data)))
        if data:
            self._made.append(data)

    def ping_received(self, payload: bytes) -> None:
        self.unanswered = not self._pings
        self._made.append(PING if self._pings else NOP)

    def pong_received(self, payload: bytes) -> None:
        if self._pings:
            self._made.append(PONG)

    def close_received(self, code: int | None, reason: str) -> None:
        self.closed = True
        if code in _IN_ORDER:
            self._made.append(CLOSE)
        else:
            self.broken = True


class Inward:
    """Turns the bodies that come into what a WebSocket of `role` reads."""

    def __init__(self, role: Role, *, pings: bool = True) -> None:
        self._key = _NO_KEY if role is Role.SERVER else None
        self._pings = pings
        self._made: list[memoryview] = []
        self._copied = bytearray()
        self._opcode = Opcode.TEXT
        self._left = 0
        self.decoder = FrameDecoder(self, pings=pings)
        self.closed = False
        """Whether the peer's data has ended, in this body or one before."""

    def begin_body(self) -> None:
        """Another body begins."""
        self.decoder = FrameDecoder(self, pings=self._pings)
        self.decoder.closed = self.closed

    def translate(self, data: memoryview) -> list[memoryview]:
        """Return what a WebSocket would have read for the next bytes of a body; writable where they are.

        Raises EmulationError.
        """
        self.decoder.feed(data)
        self._end_copy()
        made, self._made = self._made, []
        return made

    # --- from the decoder

    def began(self, text: bool, length: int) -> None:
        opcode = Opcode.TEXT if text else Opcode.BINARY
        if length >= 0:
            self._left = length
            self._copied += websocket.header(opcode, length, True, self._key)
        else:
            self._left = -1
            self._opcode = opcode

    def payload(self, piece: memoryview) -> None:
        if self._left < 0:  # one whose end is not known yet: a fragment
            self._copied += websocket.header(self._opcode, len(piece), False, self._key)
            self._opcode = Opcode.CONTINUATION
        if len(piece) < _COPIED_BELOW or piece.readonly:
            self._copied += piece
        else:
            self._end_copy()
            self._made.append(piece)

    def ended(self) -> None:
        self._copied += websocket.header(self._opcode, 0, True, self._key)

    def ping(self) -> None:
        self._copied += websocket.header(Opcode.PING, 0, True, self._key)

    def pong(self) -> None:
        self._copied += websocket.header(Opcode.PONG, 0, True, self._key)

    def close(self) -> None:
        self.closed = True
        self._copied += websocket.header(Opcode.CLOSE, 2, True, self._key)
        self._copied += int(CloseCode.NORMAL).to_bytes(2, "big")

    def _end_copy(self) -> None:
        if self._copied:
            self._made.append(memoryview(self._copied))
            self._copied = bytearray()
