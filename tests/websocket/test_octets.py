"""octets.py: numbers and copies out of buffers, nothing from outside of them.

What is compiled instead of it is tested with the readers of frames.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.websocket import octets


@pytest.mark.parametrize("kind", [bytes, memoryview])
@given(data=st.binary(max_size=40), position=st.integers(-3, 45), size=st.integers(-3, 45))
def test_a_copy_is_what_a_slice_is_where_there_is_so_much(
    kind: Any, data: bytes, position: int, size: int
) -> None:
    if position >= 0 and size >= 0 and position + size <= len(data):
        copied = octets.copied(kind(data), position, size)
        assert type(copied) is bytes
        assert copied == data[position : position + size]
    else:
        with pytest.raises(IndexError, match="outside"):
            octets.copied(kind(data), position, size)


@pytest.mark.parametrize("kind", [bytes, memoryview])
def test_numbers_have_their_highest_byte_first(kind: Any) -> None:
    data = kind(b"-\x01\x02\x03\x04\x05\x06\x07\xff")
    assert octets.octet(data, 8) == 255
    assert octets.uint64(data, 1) == 0x01020304050607FF
    for position in (-1, 9):
        with pytest.raises(IndexError, match="outside"):
            octets.octet(data, position)
    for position in (-1, 2):
        with pytest.raises(IndexError, match="outside"):
            octets.uint64(data, position)
