"""buffers.py: bytes and numbers at a position. Its compiled twin is tested through who uses it."""

from __future__ import annotations

import pytest

from isthmus.websocket.buffers import cut, put, put_number, put_numbers


def test_a_piece_lies_where_it_was_put() -> None:
    buffer = bytearray(b"........")
    put(buffer, 2, b"abcdef", 1, 3)
    assert buffer == b"..bcd..."
    put(buffer, 8, b"", 0, 0)
    assert cut(buffer, 1, 3) == b".bc"


def test_a_number_has_its_highest_byte_first() -> None:
    buffer = bytearray(9)
    put_number(buffer, 1, 0xFF << 56 | 2)
    assert buffer == b"\0\xff\0\0\0\0\0\0\2"


def test_two_numbers_lie_one_behind_the_other() -> None:
    buffer = bytearray(17)
    put_numbers(buffer, 1, 0xFF << 56 | 2, 3)
    assert buffer == b"\0\xff\0\0\0\0\0\0\2\0\0\0\0\0\0\0\3"
    with pytest.raises(IndexError):
        put_numbers(buffer, 2, 1, 1)


@pytest.mark.parametrize(
    ("position", "start", "size"), [(-1, 0, 1), (0, -1, 1), (0, 0, -1), (7, 0, 2), (0, 5, 2)]
)
def test_nothing_lies_outside(position: int, start: int, size: int) -> None:
    buffer = bytearray(8)
    with pytest.raises(IndexError):
        put(buffer, position, b"abcdef", start, size)
    assert buffer == bytes(8)


@pytest.mark.parametrize(("position", "size"), [(-1, 1), (0, -1), (7, 2), (9, 0)])
def test_nothing_is_cut_from_outside(position: int, size: int) -> None:
    with pytest.raises(IndexError):
        cut(bytearray(8), position, size)


@pytest.mark.parametrize("position", [-1, 1, 8])
def test_a_number_needs_its_room(position: int) -> None:
    buffer = bytearray(8)
    with pytest.raises(IndexError):
        put_number(buffer, position, 1)
    assert buffer == bytes(8)
