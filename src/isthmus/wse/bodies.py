"""The bodies of HTTP/1.1 messages (RFC 9112, section 6), read piece by piece however they are framed."""

from __future__ import annotations

import re
from enum import Enum, auto

from isthmus.websocket.heads import HandshakeError, Head, RequestHead

MAXIMUM_LINE = 1024
"""Bytes of the line before a chunk, or of the fields behind the last one."""
MAXIMUM_LENGTH = 2**53
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,14})[ \t]*(?:;[^\r\n]*)?")


class _State(Enum):
    COUNTED = auto()
    SIZE = auto()
    CHUNK = auto()
    AFTER_CHUNK = auto()
    TRAILER = auto()
    UNTIL_END = auto()
    OVER = auto()


class BodyReader:
    """Reads the body behind `head`, and finds out what is behind it.

    A request without Content-Length and Transfer-Encoding has none; such a response goes on until the
    connection ends. `status` is what a body is refused with that cannot be read: 400 or 502.
    Raises HandshakeError.
    """

    __slots__ = ("_left", "_line", "_state", "_status")

    def __init__(self, head: Head) -> None:
        is_request = isinstance(head, RequestHead)
        self._status = 400 if is_request else 502
        self._line = b""
        self._left = 0
        codings = head.tokens("transfer-encoding")
        length = head.get("content-length")
        if codings:
            if [each.lower() for each in codings] != ["chunked"]:
                raise HandshakeError(
                    501 if is_request else 502, "a body is encoded in a way that is not known"
                )
            self._state = _State.SIZE
        elif length is not None:
            self._left = int(length[:20])
            if self._left > MAXIMUM_LENGTH:
                raise HandshakeError(413 if is_request else 502, "a body is larger than any")
            self._state = _State.COUNTED if self._left else _State.OVER
        else:
            self._state = _State.OVER if is_request else _State.UNTIL_END

    @property
    def ended(self) -> bool:
        """Whether the whole body was read."""
        return self._state is _State.OVER

    @property
    def until_end(self) -> bool:
        """Whether the body ends with the connection."""
        return self._state is _State.UNTIL_END

    def read(self, data: memoryview) -> tuple[memoryview, memoryview]:
        """Return the next piece of the body, and what of `data` is to be given to `read` again.

        The piece may be empty; then there is nothing more in `data` for now, or the body has ended and the
        second is what comes behind it.
        """
        while data and self._state is not _State.OVER:
            if self._state is _State.UNTIL_END:
                return data, data[len(data) :]
            if self._state in (_State.COUNTED, _State.CHUNK):
                size = min(self._left, len(data))
                self._left -= size
                if not self._left:
                    self._state = _State.OVER if self._state is _State.COUNTED else _State.AFTER_CHUNK
                return data[:size], data[size:]
            data = self._read_line(data)
        return data[:0], data

    def _read_line(self, data: memoryview) -> memoryview:
        """Take a line of the framing, once all of it is there; return what is behind it."""
        room = MAXIMUM_LINE - len(self._line)
        line = self._line + bytes(data[:room])
        end = line.find(b"\n")
        if end < 0:
            if len(line) >= MAXIMUM_LINE:
                raise self._wrong("a line of the framing of a body is too long")
            self._line = line
            return data[len(data) :]
        if end < 1 or line[end - 1] != 0x0D:
            raise self._wrong("a line of the framing of a body ends in LF without CR")
        rest = data[end + 1 - len(self._line) :]
        self._line = b""
        self._framing(line[: end - 1])
        return rest

    def _framing(self, line: bytes) -> None:
        if self._state is _State.SIZE:
            match = _SIZE.fullmatch(line)
            if match is None:
                raise self._wrong("the size of a chunk is malformed")
            self._left = int(match[1], 16)
            if self._left > MAXIMUM_LENGTH:
                raise self._wrong("a chunk is larger than any")
            self._state = _State.CHUNK if self._left else _State.TRAILER
        elif self._state is _State.AFTER_CHUNK:
            if line:
                raise self._wrong("a chunk is longer than its size")
            self._state = _State.SIZE
        elif not line:
            self._state = _State.OVER
        else:
            self._left += len(line)  # of the trailer: all its lines are bounded as one
            if self._left > MAXIMUM_LINE:
                raise self._wrong("the fields behind a body are too long")

    def _wrong(self, reason: str) -> HandshakeError:
        return HandshakeError(self._status, reason)
