"""Span frames (docs/span.md section 3): how they are written, and what their payloads say.

    type (8) | length (24) | stream (32) | payload, length bytes

`reader.py` takes them out of WebSocket messages. SpanError is the only exception that comes out of either.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import NamedTuple

from isthmus.errors import SpanError
from isthmus.websocket import buffers, octets

SUBPROTOCOL = "span.isthmus.v1"
SEALED_SUBPROTOCOL = "sealed.span.isthmus.v1"
"""The same inside TLS between the two gateways (section 2)."""


class Type(IntEnum):
    """What a frame is; from 0x80 on a receiver skips what it does not know."""

    HELLO = 0x01
    NEW = 0x02
    JOIN = 0x03
    RESUME = 0x04
    WELCOME = 0x05
    REFUSED = 0x06
    STATE = 0x07
    OPEN = 0x10
    OPENED = 0x11
    DATA = 0x12
    FIN = 0x13
    RESET = 0x14
    ACK = 0x15
    CLOSED = 0x16
    DATAGRAM = 0x17
    FLOW = 0x18
    FLOWING = 0x19
    ENDED = 0x1A
    PING = 0x20
    PONG = 0x21
    GOAWAY = 0x22
    ARRIVED = 0x23


class Code(IntEnum):
    """Why a stream is reset, a carrier refused or a session ended."""

    CANCEL = 0
    REFUSED = 1
    UNREACHABLE = 2
    TIMEOUT = 3
    OVERLOAD = 4
    EXPIRED = 5
    GOING = 6
    UNKNOWN = 16
    ELSEWHERE = 17
    LATER = 18
    PROTOCOL = 32


class Scope(IntEnum):
    """What a GOAWAY says goodbye to."""

    CARRIER = 0
    SESSION = 1


class Settings(NamedTuple):
    """What one side tells the other in HELLO or NEW; `grace` is in milliseconds."""

    maximum_message: int = 65_552
    maximum_streams: int = 10_000
    grace: int = 300_000
    maximum_flows: int = 0


class Hello(NamedTuple):
    """HELLO and NEW."""

    nonce: bytes
    settings: Settings
    ended_tls: bool = False


class Join(NamedTuple):
    """JOIN, and RESUME with the slots to fence."""

    session: bytes
    place: bytes
    slot: int
    epoch: int
    nonce: bytes
    proof: bytes
    fences: bytes = b""


class Welcome(NamedTuple):
    """WELCOME that answers NEW."""

    session: bytes
    secret: bytes
    place: bytes


class Goaway(NamedTuple):
    """GOAWAY; `deadline` is in milliseconds from when it was sent."""

    scope: int
    last_stream: int
    code: int
    deadline: int


class Entry(NamedTuple):
    """One stream in a STATE."""

    stream: int
    flags: int
    received: int
    limit: int


HEADER_SIZE = 8
DATA_HEADER_SIZE = 16
LEAST_MAXIMUM_MESSAGE = 65_552
LEAST_WITH_FLOWS = 65_800
"""The least maximum_message of a side that takes flows: a FLOW is never cut."""
MAXIMUM_DATAGRAM = 65_527
MAXIMUM_FIELDS = 256  # of a FLOW
MAXIMUM_TEXT = 200
MAXIMUM_ORIGIN = 64
ENTRIES_PER_STATE = 2_000

ENTRY_OPENED = 1
ENTRY_FORGOTTEN = 2
STATE_LAST = 1

_MAXIMUM_CONTROL = 4_096 - HEADER_SIZE
_LONGEST = 0xFFFFFF

# As plain integers: to look up an IntEnum costs more than to write a frame.
_OPEN = 0x10
_OPENED = 0x11
_DATA = 0x12
_FIN = 0x13
_RESET = 0x14
_CLOSED = 0x16
_ORIGIN = 0x01  # a field of OPEN and FLOW
_ACK = 0x1500001000000000  # with its length
_OPTIONAL = 0x80

# The shortest and the longest payload of each type.
_SIZES: dict[int, tuple[int, int]] = {
    Type.HELLO: (16, _MAXIMUM_CONTROL),
    Type.NEW: (16, _MAXIMUM_CONTROL),
    Type.JOIN: (85, 85),
    Type.RESUME: (85, 85 + 256),
    Type.WELCOME: (32, _MAXIMUM_CONTROL),
    Type.REFUSED: (6, 6 + MAXIMUM_TEXT),
    Type.STATE: (11, _LONGEST),
    Type.OPEN: (8, _MAXIMUM_CONTROL),
    Type.OPENED: (8, 8),
    Type.DATA: (9, _LONGEST),
    Type.FIN: (8, 8),
    Type.RESET: (2, 2 + MAXIMUM_TEXT),
    Type.ACK: (16, 16),
    Type.CLOSED: (0, 0),
    Type.DATAGRAM: (0, MAXIMUM_DATAGRAM),
    Type.FLOW: (2, 2 + MAXIMUM_FIELDS + MAXIMUM_DATAGRAM),
    Type.FLOWING: (0, 0),
    Type.ENDED: (2, 2 + MAXIMUM_TEXT),
    Type.PING: (8, 8),
    Type.PONG: (8, 8),
    Type.GOAWAY: (11, 11),
    Type.ARRIVED: (8, 8),
}
SHORTEST = [_SIZES[kind][0] if kind in _SIZES else -1 for kind in range(256)]
LONGEST = [_SIZES[kind][1] if kind in _SIZES else -1 for kind in range(256)]
OF_HANDSHAKE = frozenset(range(Type.HELLO, Type.REFUSED + 1))

_JOIN = struct.Struct(">16s16sBI16s32s")
_GOAWAY = struct.Struct(">BIHI")
_STATE = struct.Struct(">BIIH")
_ENTRY = struct.Struct(">IBQQ")


# --- writing ----------------------------------------------------------------------------------------------


_space = bytearray(96)  # for one frame at a time, of a few numbers or with an origin


def header(kind: int, stream: int, length: int) -> bytes:
    """Return the header of a frame with `length` bytes of payload."""
    buffers.put_number(_space, 0, kind << 56 | length << 32 | stream)
    return buffers.cut(_space, 0, 8)


def data_header(stream: int, offset: int, length: int) -> bytes:
    """Return what stands before the `length` bytes of a DATA frame."""
    put_data_header(_space, 0, stream, offset, length)
    return buffers.cut(_space, 0, 16)


def put_data_header(buffer: bytearray, position: int, stream: int, offset: int, length: int) -> None:
    """Write the 16 bytes that stand before the `length` bytes of a DATA frame to `position`."""
    buffers.put_numbers(buffer, position, _DATA << 56 | (length + 8) << 32 | stream, offset)


def ack(stream: int, received: int, limit: int) -> bytes:
    """Return an ACK."""
    put_ack(_space, 0, stream, received, limit)
    return buffers.cut(_space, 0, 24)


def put_ack(buffer: bytearray, position: int, stream: int, received: int, limit: int) -> None:
    """Write the 24 bytes of an ACK to `position`."""
    buffers.put_numbers(buffer, position, _ACK | stream, received)
    buffers.put_number(buffer, position + 16, limit)


def _with_number(kind: int, stream: int, number: int) -> bytes:
    """Return a frame whose payload is one number."""
    buffers.put_number(_space, 0, kind << 56 | 8 << 32 | stream)
    buffers.put_number(_space, 8, number)
    return buffers.cut(_space, 0, 16)


def frame(kind: int, stream: int = 0, payload: bytes = b"") -> bytes:
    """Return a frame of any type."""
    return header(kind, stream, len(payload)) + payload


def hello(nonce: bytes, settings: Settings, kind: Type = Type.HELLO, *, ended_tls: bool = False) -> bytes:
    """Return HELLO, or NEW. `ended_tls` says that the carrier's TLS ends in this very process."""
    fields = _settings_fields(settings)
    return frame(kind, 0, nonce + fields + (_field(0x80, b"") if ended_tls else b""))


def new(nonce: bytes, settings: Settings) -> bytes:
    """Return NEW."""
    return hello(nonce, settings, Type.NEW)


def join(request: Join) -> bytes:
    """Return JOIN, or RESUME with the slots it fences."""
    return frame(Type.JOIN, 0, _JOIN.pack(*request[:6]))


def resume(request: Join) -> bytes:
    """Return RESUME, which fences `request.fences`."""
    return frame(Type.RESUME, 0, _JOIN.pack(*request[:6]) + request.fences)


def welcome(answer: Welcome) -> bytes:
    """Return the WELCOME that answers NEW."""
    return frame(Type.WELCOME, 0, answer.session + answer.secret + answer.place)


def welcome_back(proof: bytes) -> bytes:
    """Return the WELCOME that answers JOIN and RESUME."""
    return frame(Type.WELCOME, 0, proof)


def refused(code: int, retry_after: int = 0, text: str = "") -> bytes:
    """Return REFUSED; `retry_after` is in milliseconds. A text that is too long is cut."""
    return frame(Type.REFUSED, 0, struct.pack(">HI", code, retry_after) + _cut(text))


def open_stream(stream: int, limit: int, origin: str = "") -> bytes:
    """Return OPEN; `origin` is the original client's address, cut to 64 bytes, or empty."""
    if not origin:
        return _with_number(_OPEN, stream, limit)
    told = _cut(origin, MAXIMUM_ORIGIN)
    size = len(told)
    buffers.put_number(_space, 0, _OPEN << 56 | (size + 11) << 32 | stream)
    buffers.put_number(_space, 8, limit)
    buffers.put_number(_space, 16, _ORIGIN << 56 | size << 40)  # the field has three bytes before its value
    buffers.put(_space, 19, told, 0, size)
    return buffers.cut(_space, 0, size + 19)


def opened(stream: int, limit: int) -> bytes:
    """Return OPENED."""
    return _with_number(_OPENED, stream, limit)


def fin(stream: int, final: int) -> bytes:
    """Return FIN."""
    return _with_number(_FIN, stream, final)


def reset(stream: int, code: int, text: str = "") -> bytes:
    """Return RESET. A text that is too long is cut."""
    return frame(_RESET, stream, code.to_bytes(2, "big") + _cut(text))


def closed(stream: int) -> bytes:
    """Return CLOSED."""
    return header(_CLOSED, stream, 0)


def flow_header(flow: int, origin: str, length: int) -> bytes:
    """Return what stands before the `length` bytes of a datagram in a FLOW; `origin` as for `open_stream`."""
    fields = _field(0x01, _cut(origin, MAXIMUM_ORIGIN)) if origin else b""
    return header(Type.FLOW, flow, 2 + len(fields) + length) + len(fields).to_bytes(2, "big") + fields


def flowing(flow: int) -> bytes:
    """Return FLOWING."""
    return header(Type.FLOWING, flow, 0)


def ended(flow: int, code: int, text: str = "") -> bytes:
    """Return ENDED. A text that is too long is cut."""
    return frame(Type.ENDED, flow, code.to_bytes(2, "big") + _cut(text))


def ping(payload: bytes) -> bytes:
    """Return PING with its 8 bytes."""
    return frame(Type.PING, 0, payload)


def arrived(total: int) -> bytes:
    """Return ARRIVED: so many bytes of DATA have come on this carrier."""
    return frame(Type.ARRIVED, 0, total.to_bytes(8, "big"))


def pong(payload: bytes) -> bytes:
    """Return the PONG that answers a PING."""
    return frame(Type.PONG, 0, payload)


def goaway(message: Goaway) -> bytes:
    """Return GOAWAY."""
    return frame(Type.GOAWAY, 0, _GOAWAY.pack(*message))


def state(opened_below: int, next_stream: int, entries: Sequence[Entry]) -> list[bytes]:
    """Return a whole STATE as the frames it takes, at least one; `entries` are sorted by stream."""
    frames = []
    for start in range(0, len(entries) or 1, ENTRIES_PER_STATE):
        part = entries[start : start + ENTRIES_PER_STATE]
        last = STATE_LAST if start + ENTRIES_PER_STATE >= len(entries) else 0
        payload = _STATE.pack(last, opened_below, next_stream, len(part))
        frames.append(frame(Type.STATE, 0, payload + b"".join(_ENTRY.pack(*entry) for entry in part)))
    return frames


def _settings_fields(settings: Settings) -> bytes:
    told = settings if settings.maximum_flows else settings[:3]  # 0 is what saying nothing means
    return b"".join(_field(number, value.to_bytes(4, "big")) for number, value in enumerate(told, 1))


def _field(number: int, value: bytes) -> bytes:
    return struct.pack(">BH", number, len(value)) + value


def _cut(text: str, maximum: int = MAXIMUM_TEXT) -> bytes:
    encoded = text.encode(errors="replace")
    if len(encoded) <= maximum:
        return encoded
    return encoded[:maximum].decode(errors="ignore").encode()


# --- what payloads say ------------------------------------------------------------------------------------


def wrong(text: str) -> SpanError:
    """Return the error PROTOCOL."""
    return SpanError(Code.PROTOCOL, text)


def parse_hello(payload: bytes) -> Hello:
    """Return what a HELLO or NEW says; raises SpanError."""
    fields = _parse_fields(payload[16:], {**dict.fromkeys(range(1, 5), (4, 4)), 0x80: (0, 0)})
    default = Settings()
    values = [
        int.from_bytes(fields[number], "big") if number in fields else default[number - 1]
        for number in (1, 2, 3, 4)
    ]
    settings = Settings(*values)
    if settings.maximum_message < LEAST_MAXIMUM_MESSAGE:
        raise wrong(f"the peer takes messages of {settings.maximum_message} bytes only")
    if settings.maximum_flows and settings.maximum_message < LEAST_WITH_FLOWS:
        raise wrong(f"the peer takes flows, and messages of {settings.maximum_message} bytes only")
    return Hello(payload[:16], settings, 0x80 in fields)


def parse_join(payload: bytes) -> Join:
    """Return what a JOIN or RESUME says."""
    session, place, slot, epoch, nonce, proof = _JOIN.unpack(payload[:85])
    return Join(session, place, slot, epoch, nonce, proof, payload[85:])


def parse_welcome(payload: bytes) -> Welcome:
    """Return what the WELCOME that answers NEW says; raises SpanError."""
    if len(payload) < 64:
        raise wrong("the WELCOME is too short for a new session")
    _parse_fields(payload[64:], {})
    return Welcome(payload[:16], payload[16:48], payload[48:64])


def parse_refused(payload: bytes) -> tuple[int, int, str]:
    """Return code, milliseconds to wait and text of a REFUSED; raises SpanError."""
    code, retry_after = struct.unpack_from(">HI", payload)
    return code, retry_after, _text(payload[6:])


def parse_open(payload: bytes) -> tuple[int, str]:
    """Return limit and origin of an OPEN; raises SpanError."""
    limit = octets.uint64(payload, 0)
    size = len(payload) - 11
    if size == -3:
        return limit, ""
    if 0 <= size <= MAXIMUM_ORIGIN and octets.uint64(payload, 3) & 0xFFFFFF == _ORIGIN << 16 | size:
        return limit, _text(octets.copied(payload, 11, size))  # it is the only field
    fields = _parse_fields(payload[8:], {_ORIGIN: (0, MAXIMUM_ORIGIN)})
    return limit, _text(fields.get(_ORIGIN, b""))


def parse_reset(payload: bytes) -> tuple[int, str]:
    """Return code and text of a RESET or ENDED; raises SpanError."""
    return int.from_bytes(payload[:2], "big"), _text(payload[2:])


def parse_flow(payload: bytes) -> tuple[str, bytes]:
    """Return origin and datagram of a FLOW; raises SpanError."""
    end = 2 + int.from_bytes(payload[:2], "big")
    if end > len(payload):
        raise wrong("the fields of a FLOW are longer than it")
    if end > 2 + MAXIMUM_FIELDS or len(payload) - end > MAXIMUM_DATAGRAM:
        raise wrong("a FLOW has more fields, or a longer datagram, than it may")
    fields = _parse_fields(payload[2:end], {0x01: (0, MAXIMUM_ORIGIN)})
    return _text(fields.get(0x01, b"")), payload[end:]


def parse_goaway(payload: bytes) -> Goaway:
    """Return what a GOAWAY says; raises SpanError."""
    message = Goaway(*_GOAWAY.unpack(payload))
    if message.scope not in (Scope.CARRIER, Scope.SESSION):
        raise wrong(f"GOAWAY has the scope {message.scope}")
    return message


def parse_state(payload: bytes) -> tuple[bool, int, int, bytes]:
    """Return whether this STATE frame is the last, opened below, next, and its entries as they are."""
    flags, opened_below, next_stream, count = _STATE.unpack_from(payload)
    entries = payload[_STATE.size :]
    if flags & ~STATE_LAST:
        raise wrong(f"STATE has the flags {flags}")
    if len(entries) != count * _ENTRY.size:
        raise wrong("STATE has another size than its count of entries")
    return flags == STATE_LAST, opened_below, next_stream, entries


def state_entries(entries: bytes) -> Iterator[Entry]:
    """Return the entries of a STATE; raises SpanError where one is not valid or not in order."""
    before = 0
    for values in _ENTRY.iter_unpack(entries):
        entry = Entry(*values)
        if entry.stream <= before:
            raise wrong("the entries of STATE are not in order")
        if entry.flags & ~(ENTRY_OPENED | ENTRY_FORGOTTEN):
            raise wrong(f"an entry of STATE has the flags {entry.flags}")
        before = entry.stream
        yield entry


ENTRY_SIZE = _ENTRY.size


def _parse_fields(data: bytes, known: dict[int, tuple[int, int]]) -> dict[int, bytes]:
    fields: dict[int, bytes] = {}
    position = 0
    while position < len(data):
        if position + 3 > len(data):
            raise wrong("a field is cut short")
        number = data[position]
        start = position + 3
        position = start + int.from_bytes(data[position + 1 : start], "big")
        if position > len(data):
            raise wrong("a field is longer than its frame")
        if number in fields:
            raise wrong(f"the field {number} appears twice")
        if number in known:
            shortest, longest = known[number]
            if not shortest <= position - start <= longest:
                raise wrong(f"the field {number} has {position - start} bytes")
        elif number < _OPTIONAL:
            raise wrong(f"the field {number} is unknown and not optional")
        fields[number] = data[start:position]
    return fields


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise wrong("a text is not UTF-8") from None
