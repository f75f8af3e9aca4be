"""Byte ranges: which parts of a file a client wants (RFC 9110 section 14)."""

from __future__ import annotations

import re
from dataclasses import dataclass

MAXIMUM_RANGES = 64
"""Ranges in one request; for more of them the whole file is sent."""

_SPEC = re.compile(r"([0-9]{1,19})-([0-9]{1,19})?|-([0-9]{1,19})")


@dataclass(frozen=True, slots=True)
class Range:
    """The bytes from `start` up to, not including, `stop`."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def content_range(self, size: int) -> str:
        """Return the Content-Range field for this part of a file of `size` bytes."""
        return f"bytes {self.start}-{self.stop - 1}/{size}"


def wanted(field: str, size: int) -> tuple[Range, ...] | None:
    """Return the ranges that a Range field asks for, of a file of `size` bytes.

    None says that the field is to be ignored and the whole file sent: it is not understood, has too many
    ranges, or asks for more bytes than there are (overlapping ranges; section 14.2 lets a server do so). No
    ranges say that nothing of what is asked for exists: 416.
    """
    unit, _, specs = field.partition("=")
    if unit.strip().lower() != "bytes":
        return None
    found: list[Range] = []
    asked = 0
    for spec in specs.split(","):
        spec = spec.strip(" \t")
        if not spec:
            continue
        match = _SPEC.fullmatch(spec)
        asked += 1
        if match is None or asked > MAXIMUM_RANGES:
            return None
        if match[3] is not None:
            suffix = int(match[3])
            if suffix and not size:
                return None  # all of nothing, which no Content-Range can say
            start, stop = max(0, size - suffix), size
        else:
            start = int(match[1])
            stop = size if match[2] is None else min(size, int(match[2]) + 1)
            if match[2] is not None and int(match[2]) < start:
                return None
        if start < stop:
            found.append(Range(start, stop))
    if not asked or sum(map(len, found)) > size:
        return None
    return tuple(found)


def multipart(ranges: tuple[Range, ...], size: int, content_type: str, boundary: str) -> list[bytes | Range]:
    """Return the body of a `multipart/byteranges` answer (section 14.6): bytes, and ranges to be read."""
    body: list[bytes | Range] = []
    start = ""
    for each in ranges:
        head = f"{start}--{boundary}\r\nContent-Type: {content_type}\r\n"
        head += f"Content-Range: {each.content_range(size)}\r\n\r\n"
        body += [head.encode(), each]
        start = "\r\n"
    body.append(f"\r\n--{boundary}--\r\n".encode())
    return body
