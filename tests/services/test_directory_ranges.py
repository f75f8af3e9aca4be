from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.services.directory_ranges import MAXIMUM_RANGES, Range, multipart, wanted


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("bytes=0-499", [(0, 100)]),
        ("bytes=0-0", [(0, 1)]),
        ("bytes=99-", [(99, 100)]),
        ("bytes=-1", [(99, 100)]),
        ("bytes=-500", [(0, 100)]),
        ("BYTES = 5-6", [(5, 7)]),
        ("bytes=0-0,-1", [(0, 1), (99, 100)]),
        ("bytes= ,0-4 ,\t, 10-14,,", [(0, 5), (10, 15)]),
        ("bytes=50-59,0-9", [(50, 60), (0, 10)]),
        ("bytes=0-1,100-200", [(0, 2)]),
        ("bytes=0-9,5-14", [(0, 10), (5, 15)]),
        ("bytes=00000-0000001", [(0, 2)]),
        ("bytes=9223372036854775807-9223372036854775808", []),
        ("bytes=100-", []),
        ("bytes=-0", []),
        ("bytes=100-200,-0", []),
    ],
)
def test_ranges_are_read(field: str, expected: list[tuple[int, int]]) -> None:
    assert wanted(field, 100) == tuple(Range(*each) for each in expected)


@pytest.mark.parametrize(
    "field",
    [
        "",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes=-",
        "bytes=a-b",
        "bytes=5-4",
        "bytes=0-4,x",
        "bytes=+1-2",
        "bytes=0 - 4",
        "bytes=0-4-5",
        "bytes=٠-٤",
        "bytes=" + "9" * 20 + "-",
        "items=0-4",
        "bytes=0-,0-",
        "bytes=0-59,40-99",
        "bytes=" + ",".join(["0-0"] * (MAXIMUM_RANGES + 1)),
    ],
)
def test_what_is_ignored(field: str) -> None:
    assert wanted(field, 100) is None


def test_there_may_be_many_ranges() -> None:
    ranges = wanted("bytes=" + ",".join(["0-0"] * MAXIMUM_RANGES), 100)
    assert ranges is not None
    assert len(ranges) == MAXIMUM_RANGES


def test_an_empty_file() -> None:
    assert wanted("bytes=0-", 0) == ()
    assert wanted("bytes=-5", 0) is None


@given(st.text(st.sampled_from("bytes=0123-, "), max_size=30).map("bytes={}".format), st.integers(0, 200))
def test_no_range_is_outside_and_all_are_no_more_than_the_file(field: str, size: int) -> None:
    found = wanted(field, size)
    if found is not None:
        assert all(0 <= each.start < each.stop <= size for each in found)
        assert sum(map(len, found)) <= size


def test_multipart() -> None:
    body = multipart((Range(0, 5), Range(7, 9)), 10, "text/plain", "B")
    filled = b"".join(
        each if isinstance(each, bytes) else b"0123456789"[each.start : each.stop] for each in body
    )
    assert filled == (
        b"--B\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-4/10\r\n\r\n01234"
        b"\r\n--B\r\nContent-Type: text/plain\r\nContent-Range: bytes 7-8/10\r\n\r\n78"
        b"\r\n--B--\r\n"
    )
    assert sum(map(len, body)) == len(filled)
