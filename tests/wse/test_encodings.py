"""The six encodings: what comes out is what went in, however a body is cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.websocket.recorder import cut, cuts

from isthmus.websocket.mask import Buffer
from isthmus.wse import EmulationError
from isthmus.wse.encodings import BINARY, ENCODINGS, as_sent

TEXT = "text/plain;charset=utf-8"


def as_client_sends(data: bytes, *, escaped: bool) -> bytes:
    """What a client makes of `data`: the rules of the specification, byte by byte."""
    if escaped:
        shown = {0: b"\x7f0", 0x0D: b"\x7fr", 0x0A: b"\x7fn", 0x7F: b"\x7f\x7f"}
        data = b"".join(shown.get(byte, bytes([byte])) for byte in data)
    return "".join(map(chr, data)).encode()


def read(suffix: str, body: bytes, places: list[int], kind: str | None = TEXT) -> bytes:
    decode = ENCODINGS[suffix].decoder(kind)
    return b"".join(bytes(decode(memoryview(piece))) for piece in cut(body, places))


@given(data=st.binary(max_size=300), places=cuts, suffix=st.sampled_from(sorted(ENCODINGS)))
def test_upstream(data: bytes, places: list[int], suffix: str) -> None:
    encoding = ENCODINGS[suffix]
    body = as_client_sends(data, escaped=encoding.escaped) if encoding.text else data
    assert read(suffix, body, places) == data


@given(data=st.binary(max_size=300))
def test_downstream_has_none_of_what_must_be_escaped(data: bytes) -> None:
    sent = ENCODINGS["te"].encode(data)
    assert not set(sent) & {0, 0x0A, 0x0D}
    assert as_client_sends(data, escaped=True).decode() == sent.decode("latin-1")
    assert ENCODINGS["t"].encode(data) == BINARY.encode(data) == data


def test_the_example_of_the_specification() -> None:
    frame = bytes.fromhex("81 04 41 42 43 E2 82 AC")
    body = bytes.fromhex("C2 81 04 41 42 43 C3 A2 C2 82 C2 AC")
    assert read("tm", body, [3, 4, 7]) == frame


def test_nul_may_be_character_256() -> None:
    assert read("t", b"a\xc4\x80b", [2]) == b"a\0b"


def test_either_way_to_escape_nul() -> None:
    assert read("te", b"\x7f0\x7f\0", [1, 3]) == b"\0\0"


def test_what_is_called_octets_is_taken_as_it_is() -> None:
    assert read("tem", b"\x80\x01\xff", [], "application/octet-stream") == b"\x80\x01\xff"


@pytest.mark.parametrize("body", [b"\xff", b"\xc0\x80", b"\xed\xa0\x80"])
def test_no_utf8(body: bytes) -> None:
    with pytest.raises(EmulationError, match="not UTF-8"):
        read("t", body, [])


def test_no_such_escape() -> None:
    with pytest.raises(EmulationError, match="escape"):
        read("te", b"\x7fx", [1])


def test_types() -> None:
    assert {each.downstream_type for each in ENCODINGS.values() if each.text} == {
        "text/plain;charset=windows-1252"
    }
    assert BINARY.downstream_type == BINARY.upstream_type == "application/octet-stream"
    assert ENCODINGS["ctm"[1:]].upstream_type == TEXT


def test_what_needs_no_escape_is_not_copied() -> None:
    buffers: list[Buffer] = [b"a", memoryview(b"\0")]
    assert as_sent(BINARY, buffers) is buffers
    assert as_sent(ENCODINGS["tem"], buffers) == [b"a\x7f0"]
