"""WebSocket frames (RFC 6455 section 5): writing their headers and reading them from a stream of bytes.

     0                   1                   2                   3
     FIN RSV1-3 opcode | MASK length(7) | length(16 or 64, if 126 or 127) | key (4, if MASK) | payload

No input or output happens here. This file is ordinary Python; where there is a compiler, `frames.pxd` beside
it gives Cython the C types and nothing else changes.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Protocol

from isthmus.errors import WebSocketError
from isthmus.layer import Layer
from isthmus.websocket import buffers, octets
from isthmus.websocket.mask import Buffer, apply_mask
from isthmus.websocket.octets import Octets
from isthmus.websocket.utf8 import Utf8Validator


class Role(Enum):
    """Which end of the WebSocket this is: a client masks what it sends, a server does not (RFC 6455 5.1)."""

    CLIENT = "client"
    SERVER = "server"


class Opcode(IntEnum):
    """What a frame is (RFC 6455 11.8)."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


class CloseCode(IntEnum):
    """Why a WebSocket ends (RFC 6455 7.4.1 and the IANA registry); any of 3000 to 4999 may also be sent."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    INVALID_DATA = 1007
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    MANDATORY_EXTENSION = 1010
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    BAD_GATEWAY = 1014


class ProtocolError(WebSocketError):
    """The peer broke RFC 6455. `code` is the close code that tells it so, str(error) the reason."""

    code: int

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = int(code)


class LocalError(WebSocketError):
    """This side asked for something that RFC 6455 does not allow; nothing was sent."""


class MessageSink(Layer):
    """Takes the payload of messages. Derive from it for one of the two."""

    __slots__ = ()

    def message_data(self, data: memoryview, final: bool) -> None:
        """Take the next piece of the current message; `final` says that the message ends with it.

        A piece may be empty only when it is final. The view is valid until this call returns.
        """
        raise NotImplementedError

    def message_part(self, data: memoryview, start: int, size: int, final: bool) -> None:
        """As `message_data`, for who need not have it cut out: `size` bytes of `data` from `start`.

        What `data` has beside is not the sink's to read.
        """
        self.message_data(data[start : start + size], final)


class ControlSink(Protocol):
    """Takes control frames, which may come between the pieces of a message."""

    def ping_received(self, payload: bytes) -> None:
        """Take a ping's payload, at most 125 bytes."""

    def pong_received(self, payload: bytes) -> None:
        """Take a pong's payload, at most 125 bytes."""

    def close_received(self, code: int | None, reason: str) -> None:
        """Take the peer's Close, the last that comes; `code` is None when it gave none."""


# Plain integers for the inner loop: to compare with an IntEnum costs more than the rest of the header.
_CONTINUATION = 0
_TEXT = 1
_BINARY = 2
_CLOSE = 8
_PING = 9
_PONG = 10
_WHOLE = 0x80 | _BINARY  # the first byte of a message in one frame
_MAXIMUM_HEADER = 14
_MAXIMUM_CONTROL = 125  # RFC 6455 5.5

_space = bytearray(_MAXIMUM_HEADER)  # for one header at a time

_REGISTERED = frozenset(int(code) for code in CloseCode)


def may_be_sent(code: int) -> bool:
    """Whether a close code may stand in a Close frame (RFC 6455 7.4): 1005, 1006 and 1015 for one may not."""
    return code in _REGISTERED or 3000 <= code <= 4999


def header(opcode: int, length: int, fin: bool = True, mask_key: bytes | None = None) -> bytes:
    """Return the header of a frame with `length` bytes of payload; a key makes it a masked frame."""
    mask_bit = 0 if mask_key is None else 0x80
    _space[0] = opcode | 0x80 if fin else opcode
    if length < 126:
        _space[1] = mask_bit | length
        size = 2
    elif length < 65536:
        buffers.put_number(_space, 2, length << 48)  # of which two bytes count
        _space[1] = mask_bit | 126
        size = 4
    else:
        buffers.put_number(_space, 2, length)
        _space[1] = mask_bit | 127
        size = 10
    if mask_key is not None:
        buffers.put(_space, size, mask_key, 0, 4)
        size += 4
    return buffers.cut(_space, 0, size)


def close_payload(code: int | None, reason: str = "") -> bytes:
    """Return the payload of a Close frame (RFC 6455 5.5.1).

    Raises LocalError for a code that must not be sent, a reason without a code or one above 123 bytes.
    """
    if code is None:
        if reason:
            raise LocalError("a Close without a code cannot have a reason")
        return b""
    if not may_be_sent(code):
        raise LocalError(f"close code {code} must not be sent")
    payload = int(code).to_bytes(2, "big") + reason.encode()
    if len(payload) > _MAXIMUM_CONTROL:
        raise LocalError("the reason of a Close is limited to 123 bytes")
    return payload


def parse_close(payload: bytes) -> tuple[int | None, str]:
    """Return code and reason of a received Close frame; raises ProtocolError 1002 or 1007."""
    if not payload:
        return None, ""
    if len(payload) == 1:
        raise ProtocolError(CloseCode.PROTOCOL_ERROR, "the Close frame has half a code")
    code = int.from_bytes(payload[:2], "big")
    if not may_be_sent(code):
        raise ProtocolError(CloseCode.PROTOCOL_ERROR, f"close code {code} must not be sent")
    try:
        return code, payload[2:].decode()
    except UnicodeDecodeError:
        raise ProtocolError(CloseCode.INVALID_DATA, "the reason of the Close frame is not UTF-8") from None


class FrameReader:
    """Reads the frames of one WebSocket out of the bytes that come, however they are cut.

    Payload of messages goes to `messages` at once, also of an unfinished frame; control frames go to
    `controls` when they are complete. Kept between calls are at most a header in parts (13 bytes), the
    payload of a control frame (125 bytes) and a character in parts (3 bytes).

    `role` is our own. A message above `maximum_message_size` bytes, over all its fragments, fails with 1009
    as soon as a header announces it. After the peer's Close, an error or `stop` everything is discarded.
    """

    __slots__ = (
        "_control",
        "_controls",
        "_expect_mask",
        "_fin",
        "_head",
        "_in_frame",
        "_in_message",
        "_key",
        "_left",
        "_maximum",
        "_message_size",
        "_messages",
        "_opcode",
        "_phase",
        "_stopped",
        "_utf8",
        "text",
    )

    def __init__(
        self, role: Role, messages: MessageSink, controls: ControlSink, *, maximum_message_size: int
    ) -> None:
        self._messages = messages
        self._controls = controls
        self._expect_mask = role is Role.SERVER
        self._maximum = maximum_message_size
        self._stopped = False
        self._head = b""  # of a frame whose header is in parts
        self._in_frame = False  # a header was read and its payload is not complete
        self._opcode = _BINARY
        self._fin = True
        self._left = 0  # bytes of the frame's payload still to come
        self._key = b""
        self._phase = 0  # which byte of the key is next
        self._control = b""  # payload of a control frame in parts
        self._in_message = False
        self._message_size = 0  # announced so far, over all fragments
        self._utf8: Utf8Validator | None = None
        self.text = False  # whether the current or last message is text

    def stop(self) -> None:
        """Discard everything from now on, also the rest of a call to `receive` that is under way."""
        self._stopped = True

    def receive(self, data: Buffer) -> None:
        """Read the next bytes of the connection.

        A server unmasks payload where it stands, so there `data` must be writable; its content is spent
        afterwards. Raises ProtocolError, after which the reader discards; nothing wrong was handed on.
        """
        view = data if type(data) is memoryview else memoryview(data)
        end = len(view)
        position = 0
        while position < end and not self._stopped:
            if not self._in_frame:
                kept = len(self._head)
                if kept:
                    more = octets.copied(view, position, min(_MAXIMUM_HEADER, end - position))
                    self._head += more
                    size = self._begin(self._head, 0, len(self._head))
                else:
                    size = self._begin(view, position, end - position)
                if size == 0:
                    if not kept:
                        self._head = octets.copied(view, position, end - position)
                    return
                self._head = b""
                position += size - kept
            size = min(self._left, end - position)
            self._take(view, position, size)
            position += size

    def _begin(self, data: Octets, start: int, available: int) -> int:
        """Start the frame that begins at `start`: return the size of its header, 0 if more has to come."""
        if available < 2:
            return 0
        first = octets.octet(data, start)
        second = octets.octet(data, start + 1)
        opcode = first & 0x0F
        length = second & 0x7F
        control = opcode >= _CLOSE
        # Nearly all that comes is a whole message of bytes. What is wrong with a frame, `_check` says of any.
        if first != _WHOLE or self._in_message or (second & 0x80 != 0) != self._expect_mask:
            self._check(first, second)
        size = 2 if length < 126 else 4 if length == 126 else 10
        if available < (size + 4 if self._expect_mask else size):
            return 0
        if length == 126:
            length = octets.octet(data, start + 2) << 8 | octets.octet(data, start + 3)
            if length < 126:
                raise self._wrong("the length is not in its shortest form")
        elif length == 127:
            if octets.octet(data, start + 2) & 0x80:
                raise self._wrong("the length has its highest bit set")
            length = octets.uint64(data, start + 2)
            if length < 65536:
                raise self._wrong("the length is not in its shortest form")
        if not control:
            if opcode != _CONTINUATION:
                self._message_size = 0
            if length > self._maximum - self._message_size:
                self._stopped = True
                raise ProtocolError(
                    CloseCode.MESSAGE_TOO_BIG, f"a message is larger than {self._maximum} bytes"
                )
            self._message_size += length
            if opcode != _CONTINUATION:
                self.text = opcode == _TEXT
                if self.text:
                    self._utf8 = Utf8Validator()
            self._fin = first & 0x80 != 0
            self._in_message = not self._fin
        if self._expect_mask:
            self._key = octets.copied(data, start + size, 4)
            self._phase = 0
            size += 4
        self._opcode = opcode
        self._left = length
        self._in_frame = True
        return size

    def _check(self, first: int, second: int) -> None:
        """Raise ProtocolError if no frame may begin with these two bytes, or none here."""
        opcode = first & 0x0F
        if first & 0x70:
            raise self._wrong("reserved bits are set and no extension was agreed")
        if opcode > _PONG or _BINARY < opcode < _CLOSE:
            raise self._wrong(f"opcode {opcode} is reserved")
        if (second & 0x80 != 0) != self._expect_mask:
            raise self._wrong("a client must mask" if self._expect_mask else "a server must not mask")
        if opcode >= _CLOSE:
            if first & 0x80 == 0:
                raise self._wrong("a control frame is fragmented")
            if second & 0x7F > _MAXIMUM_CONTROL:
                raise self._wrong("a control frame is longer than 125 bytes")
        elif opcode == _CONTINUATION:
            if not self._in_message:
                raise self._wrong("a continuation without a message")
        elif self._in_message:
            raise self._wrong("a new message inside a fragmented one")

    def _take(self, data: memoryview, start: int, size: int) -> None:
        """Take `size` bytes from `start` on of the frame's payload; none, for a frame that has none."""
        self._left -= size
        if self._expect_mask and size:
            apply_mask(data, self._key, self._phase, start, size)
            self._phase = (self._phase + size) & 3
        ended = self._left == 0
        if ended:
            self._in_frame = False
        if self._opcode >= _CLOSE:
            payload = self._control + octets.copied(data, start, size)
            if not ended:
                self._control = payload
                return
            self._control = b""
            self._control_received(payload)
            return
        final = ended and self._fin
        if self.text:
            self._check_text(data[start : start + size], size, final)
        if size or final:
            self._messages.message_part(data, start, size, final)

    def _check_text(self, piece: memoryview, size: int, final: bool) -> None:
        """Raise ProtocolError 1007 if `piece` cannot go on the text, having handed on what is good of it."""
        assert self._utf8 is not None
        good = self._utf8.check(piece)
        if good == size and (not final or self._utf8.complete):
            return
        self._stopped = True
        if good:
            self._messages.message_data(piece[:good], False)
        raise ProtocolError(CloseCode.INVALID_DATA, "a text message is not UTF-8")

    def _control_received(self, payload: bytes) -> None:
        if self._opcode == _PING:
            self._controls.ping_received(payload)
        elif self._opcode == _PONG:
            self._controls.pong_received(payload)
        else:
            self._stopped = True
            code, reason = parse_close(payload)
            self._controls.close_received(code, reason)

    def _wrong(self, reason: str) -> ProtocolError:
        self._stopped = True
        return ProtocolError(CloseCode.PROTOCOL_ERROR, reason)
