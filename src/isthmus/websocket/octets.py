"""Reading numbers and copies out of buffers at a position, without a slice in between.

Where there is a compiler, compiled modules use the inline C functions of `_octets.pxd` in the place of these;
both do the same. A buffer is `bytes` or a `memoryview` of bytes.
"""

from __future__ import annotations

from typing import TypeAlias

Octets: TypeAlias = bytes | memoryview


def octet(data: Octets, position: int) -> int:
    """Return the byte at `position`. Raises IndexError outside of `data`."""
    return copied(data, position, 1)[0]


def uint64(data: Octets, position: int) -> int:
    """Return the number in the eight bytes from `position` on, the highest first.

    Raises IndexError outside of `data`.
    """
    return int.from_bytes(copied(data, position, 8), "big")


def copied(data: Octets, position: int, size: int) -> bytes:
    """Return `size` bytes from `position` on. Raises IndexError outside of `data`."""
    if position < 0 or size < 0 or position > len(data) - size:
        raise IndexError("outside of the buffer")
    return bytes(data[position : position + size])
