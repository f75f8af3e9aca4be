from __future__ import annotations

import pytest

from isthmus.span.frames import ack, data_header, header
from isthmus.span.message import Message


def joined(message: Message) -> bytes:
    return b"".join(map(bytes, message.buffers()))


def test_small_frames_are_gathered() -> None:
    message = Message(1000)
    assert message.buffers() == []
    for _ in range(3):
        assert message.add(b"abc")
    assert message.buffers() == [b"abcabcabc"]
    assert (message.size, message.room) == (9, 991)


def test_what_does_not_fit_waits_unless_it_is_alone() -> None:
    message = Message(10)
    assert message.add(b"x" * 20)
    assert not message.add(b"y")
    assert joined(message) == b"x" * 20


@pytest.mark.parametrize("size", [0, 1, 1_200, 16_383, 16_384, 65_527])
def test_a_frame_may_have_its_header_as_a_number(size: int) -> None:
    message = Message(1 << 20)
    for _ in range(8):
        message.add_frame(0x17 << 56 | size << 32 | 5, bytes(size))
    assert joined(message) == 8 * (header(0x17, 5, size) + bytes(size))
    assert message.size == (1 << 20) - message.room == 8 * (8 + size)


def test_large_pieces_are_not_copied() -> None:
    message = Message(1 << 20)
    large = bytes(20_000)
    message.add(b"first")
    message.add_data_header(1, 2, 40_007)
    for piece in (b"small", large, large, b"la"):
        message.put(piece, 0, len(piece))
    message.add(b"behind")
    assert not message.is_gathered()
    parts = message.buffers()
    assert [bytes(part) for part in parts] == [
        b"first" + data_header(1, 2, 40_007) + b"small",
        large,
        large,
        b"labehind",
    ]
    assert parts[1] is large
    assert message.size == 5 + 16 + 40_007 + 6


def test_a_part_of_a_large_piece_is_not_copied_either() -> None:
    message = Message(1 << 20)
    large = bytes(40_000)
    message.put(large, 5, 20_000)
    [part] = message.buffers()
    assert isinstance(part, memoryview)
    assert part.obj is large
    assert len(part) == message.size == 20_000


@pytest.mark.parametrize("size", [0, 1, 1_200, 16_383, 16_384, 65_527])
def test_a_data_frame_is_added_whole(size: int) -> None:
    message = Message(1 << 20)
    data = bytes(index % 251 for index in range(size + 2))
    for offset in range(8):
        message.add_data(5, offset, data, 1, size)
    assert joined(message) == b"".join(data_header(5, offset, size) + data[1:-1] for offset in range(8))
    assert message.size == (1 << 20) - message.room == 8 * (16 + size)


def test_an_ack_waits_where_there_is_no_room() -> None:
    message = Message(24 + 20)
    assert message.add_ack(1, 2, 1 << 40)
    assert not message.add_ack(3, 4, 5)
    assert joined(message) == ack(1, 2, 1 << 40)
    assert (message.size, message.room) == (24, 20)
    many = Message(1 << 20)
    written = b"".join(ack(index, 7, index) for index in range(5_000))
    assert all(many.add_ack(index, 7, index) for index in range(5_000))
    assert joined(many) == written


def test_one_after_the_other() -> None:
    message = Message(100)
    message.add(b"one")
    first = message.buffers()
    message.begin(50)
    assert (message.size, message.room, message.buffers()) == (0, 50, [])
    message.add(b"the other")
    assert message.is_gathered()
    assert message.gathered[: message.used] == b"the other"
    assert first == [b"one"]


def test_what_is_gathered_is_bounded() -> None:
    """Of many small pieces as of a few: what does not fit behind the others stands in a part of its own."""
    message = Message(1 << 20)
    written = b""
    for index in range(5_000):
        piece = bytes([index % 251]) * (index % 90)
        message.add_data_header(index, 0, len(piece))
        message.put(piece, 0, len(piece))
        written += data_header(index, 0, len(piece)) + piece
    size = len(message.gathered)
    assert joined(message) == written
    assert message.size == len(written) > 3 * size
    assert len(message.gathered) == size
