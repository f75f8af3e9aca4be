"""Writing bytes and numbers into a buffer at a position: how messages are put together.

Where there is a compiler, compiled modules use the inline C functions of `_buffers.pxd` in the place of
these; both do the same. Nothing here changes the size of a buffer.
"""

from __future__ import annotations


def put(buffer: bytearray, position: int, data: bytes, start: int, size: int) -> None:
    """Copy the `size` bytes of `data` from `start` on to `position`. Raises IndexError outside of either."""
    _check(len(buffer), position, size)
    _check(len(data), start, size)
    buffer[position : position + size] = data[start : start + size]


def put_number(buffer: bytearray, position: int, number: int) -> None:
    """Write `number` in eight bytes, the highest first. Raises IndexError outside of `buffer`."""
    _check(len(buffer), position, 8)
    buffer[position : position + 8] = number.to_bytes(8, "big")


def put_numbers(buffer: bytearray, position: int, first: int, second: int) -> None:
    """Write two numbers as `put_number` does, the second behind the first."""
    _check(len(buffer), position, 16)
    buffer[position : position + 16] = (first << 64 | second).to_bytes(16, "big")


def cut(buffer: bytearray, position: int, size: int) -> bytes:
    """Return a copy of `size` bytes from `position` on. Raises IndexError outside of `buffer`."""
    _check(len(buffer), position, size)
    return bytes(buffer[position : position + size])


def _check(length: int, position: int, size: int) -> None:
    if position < 0 or size < 0 or position > length - size:
        raise IndexError("outside of the buffer")
