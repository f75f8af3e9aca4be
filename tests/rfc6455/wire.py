"""The suite's own end of the wire: frames and heads built from bytes, read strictly, without isthmus.

A `Violation` says that the peer under test sent what RFC 6455 does not allow, whatever the case was about.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
import socket
from dataclasses import dataclass

PATIENCE = 15.0
"""Seconds after which a peer that owes an answer has failed; no case depends on how long it really takes."""

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
KNOWN = {CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG}
MAXIMUM_CONTROL = 125

_MAXIMUM_HEAD = 32 * 1024
_MAXIMUM_FRAME = 1 << 20
_RESERVED_CODES = {1004, 1005, 1006, 1015}


class Violation(AssertionError):
    """The peer under test broke the protocol."""


@dataclass(frozen=True)
class Frame:
    """One frame to be sent. `masked` None is as the suite's role demands; `form` is how many bits tell the
    length (7, 16 or 64; None is the shortest), `announced` a length other than the payload's."""

    opcode: int
    payload: bytes = b""
    fin: bool = True
    rsv: int = 0
    masked: bool | None = None
    key: bytes | None = None
    form: int | None = None
    announced: int | None = None

    def encode(self, masks: bool, key: bytes) -> bytes:
        """Return the frame's bytes; `masks` is whether the suite plays the client."""
        masked = masks if self.masked is None else self.masked
        length = len(self.payload) if self.announced is None else self.announced
        form = self.form or (7 if length < 126 else 16 if length < 1 << 16 else 64)
        seven = length if form == 7 else 126 if form == 16 else 127
        frame = bytes([self.fin << 7 | self.rsv << 4 | self.opcode, masked << 7 | seven])
        if form > 7:
            frame += length.to_bytes(form // 8, "big")
        if not masked:
            return frame + self.payload
        key = self.key or key
        return frame + key + xor(self.payload, key)


@dataclass(frozen=True)
class Received:
    """One frame that came."""

    opcode: int
    payload: bytes
    fin: bool
    key: bytes | None

    @property
    def code(self) -> int | None:
        """The status code of a Close."""
        return int.from_bytes(self.payload[:2], "big") if self.payload else None


@dataclass(frozen=True)
class Head:
    """The head of an HTTP message; field names are in lower case."""

    first: str
    fields: tuple[tuple[str, str], ...]

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key == name]

    def tokens(self, name: str) -> list[str]:
        """Return the elements of the lists called `name`, in lower case."""
        listed = ",".join(self.all(name)).lower().split(",")
        return [each.strip() for each in listed if each.strip()]

    @property
    def status(self) -> int:
        return int(self.first.split(" ")[1])


def xor(data: bytes, key: bytes) -> bytes:
    return bytes(each ^ part for each, part in zip(data, itertools.cycle(key), strict=False))


def accept_for(key: str) -> str:
    """Return the Sec-WebSocket-Accept for a key (section 4.2.2)."""
    digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
    return base64.b64encode(digest).decode()


def close_body(code: int, reason: bytes = b"") -> bytes:
    return code.to_bytes(2, "big") + reason


class Wire:
    """A connected socket to the peer under test. `masks` is whether the suite plays the client on it."""

    def __init__(self, connected: socket.socket, *, masks: bool) -> None:
        connected.setblocking(False)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.masks = masks
        self.received: list[Received] = []
        self._socket = connected
        self._loop = asyncio.get_running_loop()
        self._kept = b""
        self._ended = False
        self._in_message = False
        self._keys = itertools.count(0x9E3779B9, 0x01000193)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    async def send(self, data: bytes, cut: int = 0) -> None:
        """Send `data`, in writes of `cut` bytes unless that is 0. That a peer has gone, reading tells."""
        pieces = [data[i : i + cut] for i in range(0, len(data), cut)] if cut else [data]
        try:
            async with asyncio.timeout(PATIENCE):
                for piece in pieces:
                    await self._loop.sock_sendall(self._socket, piece)
                    await asyncio.sleep(0)
        except (ConnectionResetError, BrokenPipeError):
            return

    async def send_frames(self, *frames: Frame, cut: int = 0) -> None:
        keys = ((next(self._keys) & 0xFFFFFFFF).to_bytes(4, "big") for _ in frames)
        data = b"".join(frame.encode(self.masks, key) for frame, key in zip(frames, keys, strict=True))
        await self.send(data, cut)

    def end(self) -> None:
        """End the connection in our direction."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            self._ended = True

    def waiting(self) -> bytes:
        """Return what has come already, without waiting."""
        try:
            self._kept += self._socket.recv(1 << 16)
        except BlockingIOError:
            pass
        return self._kept

    async def head(self) -> Head | None:
        """Return the next head, or None if the connection ended without one."""
        while b"\r\n\r\n" not in self._kept:
            assert len(self._kept) < _MAXIMUM_HEAD, "a head without end"
            if not await self._more():
                return None
        head, _, self._kept = self._kept.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        fields = []
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon or not name or name != name.strip():
                raise Violation(f"a malformed header field: {line!r}")
            fields.append((name.lower(), value.strip(" \t")))
        return Head(first, tuple(fields))

    async def frame(self) -> Received | None:
        """Return the next frame, having checked all that every frame must obey; None at the end."""
        first = await self._exactly(2, at_start=True)
        if first is None:
            return None
        fin, rsv, opcode = first[0] >> 7, first[0] >> 4 & 7, first[0] & 15
        masked, length = first[1] >> 7, first[1] & 127
        if rsv:
            raise Violation("5.2: a reserved bit is set")
        if opcode not in KNOWN:
            raise Violation(f"5.2: opcode {opcode} is reserved")
        if masked == self.masks:
            raise Violation("5.1: a server masked" if self.masks else "5.1: a client did not mask")
        if length > MAXIMUM_CONTROL:
            size = 2 if length == 126 else 8
            length = int.from_bytes(await self._all(size), "big")
            if length < (126 if size == 2 else 1 << 16):
                raise Violation("5.2: the length is not in its shortest form")
            if length > _MAXIMUM_FRAME:
                raise Violation(f"a frame of {length} bytes, where nothing like it was sent")
        if opcode >= CLOSE and (length > MAXIMUM_CONTROL or not fin):
            raise Violation("5.5: a control frame is long or fragmented")
        key = await self._all(4) if masked else None
        payload = await self._all(length)
        if key is not None:
            payload = xor(payload, key)
        if opcode < CLOSE:
            if (opcode == CONTINUATION) != self._in_message:
                raise Violation("5.4: fragments are out of order")
            self._in_message = not fin
        frame = Received(opcode, payload, bool(fin), key)
        if opcode == CLOSE:
            _check_close(frame)
        self.received.append(frame)
        return frame

    async def rest(self) -> bytes:
        """Return nothing at the end of the connection, or else what comes first instead."""
        while not self._kept and await self._more():
            pass
        rest, self._kept = self._kept, b""
        return rest

    async def _all(self, size: int) -> bytes:
        data = await self._exactly(size)
        assert data is not None
        return data

    async def _exactly(self, size: int, at_start: bool = False) -> bytes | None:
        while len(self._kept) < size:
            if not await self._more():
                if at_start and not self._kept:
                    return None
                raise Violation("the connection ended inside a frame")
        data, self._kept = self._kept[:size], self._kept[size:]
        return data

    async def _more(self) -> bool:
        if self._ended:
            return False
        try:
            async with asyncio.timeout(PATIENCE):
                data = await self._loop.sock_recv(self._socket, 1 << 16)
        except ConnectionResetError:
            data = b""
        except TimeoutError:
            raise Violation("nothing came that was owed") from None
        self._kept += data
        self._ended = not data
        return bool(data)


def _check_close(frame: Received) -> None:
    if len(frame.payload) == 1:
        raise Violation("5.5.1: the Close frame has half a code")
    code = frame.code
    if code is not None and (not 1000 <= code <= 4999 or code in _RESERVED_CODES):
        raise Violation(f"7.4: close code {code} must not be sent")
    try:
        frame.payload[2:].decode()
    except UnicodeDecodeError:
        raise Violation("5.5.1: the reason of the Close is not UTF-8") from None
