"""Masking (RFC 6455 5.3): XOR of a payload with a four-byte key.

The four functions are compiled (`_mask.pyx`) where the extension was built and are the plain ones below
elsewhere; both do the same. ISTHMUS_PURE=1 in the environment forces the plain ones.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeAlias

Buffer: TypeAlias = bytes | bytearray | memoryview
WritableBuffer: TypeAlias = bytearray | memoryview

# Measured: below this size one XOR of two big integers wins, above it four translations, one a key byte.
_LANES_FROM = 512
_TABLES = tuple(bytes(byte ^ key for byte in range(256)) for key in range(256))


def _xor(data: Buffer, key: bytes) -> bytes | bytearray:
    size = len(data)
    if size < _LANES_FROM:
        repeated = (key * (size // 4 + 1))[:size]
        number = int.from_bytes(data, "little") ^ int.from_bytes(repeated, "little")
        return number.to_bytes(size, "little")
    lanes = bytearray(data)
    for lane in range(4):
        lanes[lane::4] = lanes[lane::4].translate(_TABLES[key[lane]])
    return lanes


def plain_apply_mask(
    buffer: WritableBuffer, key: bytes, phase: int = 0, start: int = 0, size: int = -1
) -> None:
    """XOR `buffer` in place with the four-byte `key`, whose byte `phase` (0 to 3) meets the first byte.

    With `start` and `size`, only that part of it. Raises ValueError for a key or phase that cannot be,
    IndexError for a part outside of the buffer, TypeError for a buffer that cannot be written.
    """
    if len(key) != 4 or not 0 <= phase <= 3:
        raise ValueError("a mask key has 4 bytes and a phase of 0 to 3")
    if isinstance(buffer, memoryview) and buffer.readonly:
        raise TypeError("cannot mask a read-only buffer in place")
    # Through a view, which can never change the size of a bytearray.
    view = memoryview(buffer)
    if size < 0:
        size = len(view) - start
    if size < 0 or not 0 <= start <= len(view) - size:
        raise IndexError("outside of the buffer")
    part = view[start : start + size]
    part[:] = _xor(part, key[phase:] + key[:phase] if phase else key)


def plain_masked(header: bytes, data: Buffer, key: bytes) -> bytes:
    """Return `header` followed by `data` masked with `key`; `data` itself is left as it is."""
    if len(key) != 4:
        raise ValueError("a mask key has 4 bytes")
    return header + _xor(data, key)


def plain_masked_parts(header: bytes, parts: Sequence[Buffer], key: bytes) -> bytes:
    """Return `header` followed by all `parts`, masked with `key` as one payload; they stay as they are."""
    return plain_masked(header, b"".join(parts), key)


def plain_masked_start(header: bytes, data: bytearray, size: int, key: bytes) -> bytes:
    """Return `header` followed by the first `size` bytes of `data` masked with `key`; it stays as it is."""
    if not 0 <= size <= len(data):
        raise ValueError("there are not so many bytes")
    start = data[:size]
    if len(key) == 4 and not any(key):
        return header + start
    return plain_masked(header, start, key)


apply_mask = plain_apply_mask
masked = plain_masked
masked_parts = plain_masked_parts
masked_start = plain_masked_start
if os.environ.get("ISTHMUS_PURE") != "1":
    try:
        from isthmus.websocket import _mask
    except ImportError:
        pass  # not built: the plain ones serve
    else:
        apply_mask = _mask.apply_mask
        masked = _mask.masked
        masked_parts = _mask.masked_parts
        masked_start = _mask.masked_start

COMPILED = apply_mask is not plain_apply_mask
