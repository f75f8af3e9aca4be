from __future__ import annotations

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


def test_large_pieces_are_not_copied() -> None:
    message = Message(1 << 20)
    large = bytes(20_000)
    message.add(b"first")
    message.add_data(b"head", [b"small", large, large, b"last"], 40_009)
    message.add(b"behind")
    buffers = message.buffers()
    assert [bytes(buffer) for buffer in buffers] == [b"firstheadsmall", large, large, b"lastbehind"]
    assert buffers[1] is large
    assert message.size == 5 + 4 + 40_009 + 6
