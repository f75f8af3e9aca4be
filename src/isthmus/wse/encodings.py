"""The encodings of WebSocket emulation: in which form frames travel in the bodies of HTTP messages.

    path suffix   upstream body                          downstream body             frames
    -----------------------------------------------------------------------------------------------
    b, bm         as they are                            as they are                 binary; with m also text
    t, tm         each byte a character, in UTF-8        as they are, called         the same
                                                         windows-1252
    te, tem       escaped, then as t                     escaped, then as t          the same

They are for what cannot bear bytes (old browsers). Escaped are NUL, CR, LF and DEL: as DEL and one character.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from dataclasses import dataclass

from isthmus.websocket.mask import Buffer
from isthmus.wse import EmulationError

OCTETS = "application/octet-stream"
_DEL = 0x7F
_ESCAPED = re.compile(rb"\x7f(.)", re.DOTALL)
_MEANT = {b"0": b"\0", b"\0": b"\0", b"r": b"\r", b"n": b"\n", b"\x7f": b"\x7f"}

Decode = Callable[[memoryview], memoryview]
"""Takes the next piece of a body, returns the bytes that it stands for, writable. Raises EmulationError."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """One of `ENCODINGS`, by the suffix that names it in paths."""

    suffix: str
    text: bool
    escaped: bool
    mixed: bool
    """Whether text messages are told from binary ones."""

    @property
    def downstream_type(self) -> str:
        """The Content-Type of what a server sends."""
        return "text/plain;charset=windows-1252" if self.text else OCTETS

    @property
    def upstream_type(self) -> str:
        """The Content-Type of what a client sends."""
        return "text/plain;charset=utf-8" if self.text else OCTETS

    def encode(self, data: bytes) -> bytes:
        """Return `data` as a server sends it."""
        if not self.escaped:
            return data
        data = data.replace(b"\x7f", b"\x7f\x7f").replace(b"\0", b"\x7f0")
        return data.replace(b"\r", b"\x7fr").replace(b"\n", b"\x7fn")

    def decoder(self, content_type: str | None) -> Decode:
        """Return what reads one upstream body of that type; what is called octets is taken as it is."""
        if not self.text or (content_type or "").partition(";")[0].strip().lower() == OCTETS:
            return _as_it_is
        characters = _Characters()
        return _Unescaping(characters).decode if self.escaped else characters.decode


def _as_it_is(data: memoryview) -> memoryview:
    return data


class _Characters:
    """Bytes that were sent as characters of the same number, modulo 256, in UTF-8."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def decode(self, data: memoryview) -> memoryview:
        try:
            text = self._decoder.decode(bytes(data))
        except UnicodeDecodeError:
            raise EmulationError("a body of text is not UTF-8") from None
        try:
            return memoryview(bytearray(text, "latin-1"))
        except UnicodeEncodeError:
            return memoryview(bytearray(ord(character) & 0xFF for character in text))


class _Unescaping:
    """What `below` returns, with its escapes undone."""

    def __init__(self, below: _Characters) -> None:
        self._below = below
        self._open = False  # the last byte was a DEL whose other half is to come

    def decode(self, data: memoryview) -> memoryview:
        found = bytes(self._below.decode(data))
        if self._open and found:
            found, self._open = b"\x7f" + found, False
        # A DEL at the end is half an escape when an odd number of them stand there.
        if (len(found) - len(found.rstrip(b"\x7f"))) % 2:
            found, self._open = found[:-1], True
        return memoryview(bytearray(_ESCAPED.sub(_meant, found)))


def _meant(match: re.Match[bytes]) -> bytes:
    try:
        return _MEANT[match[1]]
    except KeyError:
        raise EmulationError("a body has an escape that does not exist") from None


def _all() -> dict[str, Encoding]:
    kinds = (("b", False, False), ("t", True, False), ("te", True, True))
    return {
        name + m: Encoding(name + m, text, escaped, bool(m))
        for name, text, escaped in kinds
        for m in ("", "m")
    }


ENCODINGS = _all()
"""By suffix."""
BINARY = ENCODINGS["bm"]
"""What our clients speak."""


def as_sent(encoding: Encoding, buffers: list[Buffer]) -> list[Buffer]:
    """Return what a server sends for `buffers`; the same list where nothing is to be escaped."""
    return [encoding.encode(b"".join(buffers))] if encoding.escaped and buffers else buffers
