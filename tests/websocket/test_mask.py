"""mask.py and its compiled twin: the same results, in place or not."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.websocket import mask

TWINS = [pytest.param((mask.plain_apply_mask, mask.plain_masked), id="plain")]
PARTS = [pytest.param(mask.plain_masked_parts, id="plain")]
STARTS = [pytest.param(mask.plain_masked_start, id="plain")]
if mask.COMPILED:
    TWINS.append(pytest.param((mask.apply_mask, mask.masked), id="compiled"))
    PARTS.append(pytest.param(mask.masked_parts, id="compiled"))
    STARTS.append(pytest.param(mask.masked_start, id="compiled"))

keys = st.binary(min_size=4, max_size=4) | st.just(bytes(4))
pieces = st.lists(st.tuples(st.sampled_from([bytes, bytearray, memoryview]), st.binary(max_size=300)))


def xor(data: bytes, key: bytes, phase: int = 0) -> bytes:
    """RFC 6455 5.3, word for word: octet i of the result is octet i XOR octet i mod 4 of the key."""
    return bytes(byte ^ key[(i + phase) % 4] for i, byte in enumerate(data))


@pytest.mark.parametrize("twin", TWINS)
@given(data=st.binary(max_size=1500), key=keys, phase=st.integers(0, 3))
def test_masks_as_the_rfc_says(twin: Any, data: bytes, key: bytes, phase: int) -> None:
    apply_mask, masked = twin
    in_bytearray = bytearray(data)
    apply_mask(in_bytearray, key, phase)
    assert in_bytearray == xor(data, key, phase)
    inside = bytearray(b"<" + data + b">")
    apply_mask(memoryview(inside)[1:-1], key, phase)
    assert inside == b"<" + xor(data, key, phase) + b">", "no byte beside the buffer is touched"
    for seen in (bytearray, memoryview):
        inside = bytearray(b"<" + data + b">")
        apply_mask(memoryview(inside) if seen is memoryview else inside, key, phase, 1, len(data))
        assert inside == b"<" + xor(data, key, phase) + b">", "no byte beside the part is touched"
    for kind in (bytes, bytearray, memoryview):
        given_data = kind(data)
        assert masked(b"head", given_data, key) == b"head" + xor(data, key)
        assert bytes(given_data) == data


@pytest.mark.parametrize("twin", TWINS)
@pytest.mark.parametrize("size", [0, 1, 3, 4, 7, 8, 9, 511, 512, 513, 65536, 65537])
def test_masking_twice_gives_the_data_back(twin: Any, size: int) -> None:
    data = os.urandom(size)
    buffer = bytearray(data)
    twin[0](buffer, b"\x01\x80\xff\x00")
    assert buffer == xor(data, b"\x01\x80\xff\x00")
    twin[0](memoryview(buffer), b"\x01\x80\xff\x00", 0)
    assert buffer == data


@pytest.mark.parametrize("twin", TWINS)
def test_refuses_what_cannot_be_masked(twin: Any) -> None:
    apply_mask, masked = twin
    for key, phase in ((b"abc", 0), (b"abcde", 0), (b"abcd", 4), (b"abcd", -1)):
        with pytest.raises(ValueError, match="4 bytes"):
            apply_mask(bytearray(8), key, phase)
    with pytest.raises(ValueError, match="4 bytes"):
        masked(b"", b"data", b"abc")
    with pytest.raises(TypeError, match="read-only"):
        apply_mask(memoryview(b"constant"), b"abcd")
    for start, size in ((0, 9), (8, 1), (-1, 2), (9, -1), (9, 0), (1, 1 << 62)):
        for buffer in (bytearray(8), memoryview(bytearray(8))):
            with pytest.raises(IndexError, match="outside"):
                apply_mask(buffer, b"abcd", 0, start, size)


@pytest.mark.parametrize("masked_parts", PARTS)
@given(parts=pieces, key=keys)
def test_parts_are_masked_as_one_payload(
    masked_parts: Any, parts: list[tuple[Any, bytes]], key: bytes
) -> None:
    given_parts = [kind(data) for kind, data in parts]
    whole = b"".join(data for _, data in parts)
    assert masked_parts(b"head", given_parts, key) == b"head" + xor(whole, key)
    assert [bytes(part) for part in given_parts] == [data for _, data in parts]


@pytest.mark.parametrize("masked_parts", PARTS)
def test_parts_that_cannot_be_masked(masked_parts: Any) -> None:
    for key in (b"abc", b"abcde", b""):
        with pytest.raises(ValueError, match="4 bytes"):
            masked_parts(b"", [b"data"], key)
    for parts in ([1], ["text"], [None], None):
        with pytest.raises((TypeError, BufferError)):
            masked_parts(b"", parts, b"abcd")
    assert masked_parts(b"head", [], b"abcd") == b"head"
    assert masked_parts(b"", [b"", b""], b"abcd") == b""


@pytest.mark.parametrize("masked_start", STARTS)
@given(data=st.binary(max_size=1500), left=st.integers(0, 1500), key=keys)
def test_the_start_of_a_buffer_is_masked(masked_start: Any, data: bytes, left: int, key: bytes) -> None:
    buffer = bytearray(data)
    size = max(0, len(data) - left)
    assert masked_start(b"head", buffer, size, key) == b"head" + xor(data[:size], key)
    assert buffer == data


@pytest.mark.parametrize("masked_start", STARTS)
def test_a_start_that_cannot_be_masked(masked_start: Any) -> None:
    for size in (-1, 5):
        with pytest.raises(ValueError, match="not so many bytes"):
            masked_start(b"", bytearray(4), size, b"abcd")
    for key in (b"abc", b"abcde", b""):
        with pytest.raises(ValueError, match="4 bytes"):
            masked_start(b"", bytearray(4), 4, key)


def test_a_part_whose_length_is_not_in_bytes_does_no_harm() -> None:
    """`len` of such a view counts its items, which are larger."""
    words = memoryview(bytearray(64)).cast("Q")
    if mask.COMPILED:
        with pytest.raises(ValueError, match="larger than its length"):
            mask.masked_parts(b"", [words], b"abcd")
    assert len(mask.plain_masked_parts(b"", [words], b"abcd")) == 64


def test_the_environment_forces_the_plain_one() -> None:
    code = "from isthmus.websocket import mask; print(mask.COMPILED)"
    environment = {**os.environ, "ISTHMUS_PURE": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "False", done.stderr


def test_the_compiled_one_is_used_where_it_was_built() -> None:
    try:
        built = importlib.import_module("isthmus.websocket._mask")
    except ImportError:
        pytest.skip("the extension was not built")
    if os.environ.get("ISTHMUS_PURE") == "1":
        pytest.skip("ISTHMUS_PURE is set")
    assert mask.apply_mask is built.apply_mask
    assert mask.masked is built.masked
    assert mask.masked_parts is built.masked_parts
    assert mask.masked_start is built.masked_start
