"""utf8.py agrees with bytes.decode, however the text is cut, and fails at the first wrong byte."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.websocket.recorder import cut, cuts

from isthmus.websocket.utf8 import Utf8Validator

# Bytes at the borders of every rule of RFC 3629, so that almost-right texts are common.
bordering = st.lists(
    st.sampled_from(
        bytes.fromhex("00 41 7f 80 8f 90 9f a0 bf c0 c1 c2 df e0 e1 ec ed ee ef f0 f1 f3 f4 f5 ff")
    ),
    max_size=12,
).map(bytes)
texts = st.text(max_size=40).map(lambda text: text.encode("utf-8", "ignore"))
data = st.one_of(bordering, texts, st.tuples(texts, bordering, texts).map(b"".join), st.binary(max_size=12))


def decodes(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def can_begin_a_text(beginning: bytes) -> bool:
    """Whether some valid text begins so: tried with every way to end the character in parts."""
    endings = (
        b"",
        b"\x80",
        b"\xbf",
        b"\x80\x80",
        b"\xbf\xbf",
        b"\x80\x80\x80",
        b"\xbf\xbf\xbf",
        b"\x90\x80\x80",
    )
    return any(
        decodes(beginning + ending) for ending in (*endings, b"\x8f\xbf\xbf", b"\xa0\x80", b"\x9f\xbf")
    )


@given(text=data, places=cuts)
@example(text=b"\xf4\x90\x80\x80", places=[1])  # above U+10FFFF
@example(text=b"\xed\xa0\x80", places=[1])  # a surrogate
@example(text=b"\xed\xa0\x80", places=[2])
@example(text=b"ab\xed\xbf", places=[3])
@example(text=b"\xf0\x9f\x98\x80", places=[1, 2, 3])
def test_agrees_with_decode_in_any_cuts(text: bytes, places: list[int]) -> None:
    validator = Utf8Validator()
    good = 0
    failed = False
    for piece in cut(text, places):
        part = validator.check(piece)
        assert 0 <= part <= len(piece)
        good += part
        if part < len(piece):
            failed = True
            break
    assert (not failed and validator.complete) == decodes(text)
    if failed:
        assert can_begin_a_text(text[:good]), "what was accepted is the start of a text"
        assert not can_begin_a_text(text[: good + 1]), "the next byte is the first wrong one"


@pytest.mark.parametrize("character", ["\x00", "é", "€", "\ud7ff", "\ue000", "😀", "\U0010ffff"])
def test_a_character_in_parts_is_waited_for(character: str) -> None:
    validator = Utf8Validator()
    encoded = character.encode()
    for byte in encoded[:-1]:
        assert validator.check(bytes([byte])) == 1
        assert not validator.complete
    assert validator.check(encoded[-1:]) == 1
    assert validator.complete


def test_keeps_no_view_of_a_piece() -> None:
    validator = Utf8Validator()
    piece = bytearray(b"abc\xe2\x82")
    validator.check(memoryview(piece))
    piece[:] = b"\xff" * len(piece)
    piece.clear()  # would raise if a view were held
    assert validator.check(b"\xac") == 1
    assert validator.complete
