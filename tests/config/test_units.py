from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.config import units
from isthmus.config.units import NotAllowed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("65536", 65536),
        ("64k", 65536),
        ("64K", 65536),
        ("64kB", 65536),
        ("64 kB", 65536),
        ("1m", 1048576),
        ("1M", 1048576),
        ("1MB", 1048576),
        ("10B", 10),
        (" 7 ", 7),
        (2048, 2048),
    ],
)
def test_size(text: object, expected: int) -> None:
    assert units.size(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30", 30.0),
        ("1.5", 1.5),
        (".5 hours", 1800.0),
        ("500ms", 0.5),
        ("100 ms", 0.1),
        ("2 Milliseconds", 0.002),
        ("30s", 30.0),
        ("30 sec", 30.0),
        ("30 SECONDS", 30.0),
        ("2 min", 120.0),
        ("2 minutes", 120.0),
        ("2m", 120.0),
        ("1h", 3600.0),
        ("24 hours", 86400.0),
        (3, 3.0),
        (0.25, 0.25),
    ],
)
def test_duration(text: object, expected: float) -> None:
    assert units.duration(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12345", 12345),
        ("10B/s", 10),
        ("10kB/s", 10_000),
        ("10 KiB/s", 10_240),
        ("1MB/s", 1_000_000),
        ("2MiB/s", 2_097_152),
        (7, 7),
    ],
)
def test_rate(text: object, expected: int) -> None:
    assert units.rate(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", ()), ("a", ("a",)), ("a,b  c, d", ("a", "b", "c", "d")), (["x", "y"], ("x", "y")), ((), ())],
)
def test_names(text: object, expected: tuple[str, ...]) -> None:
    assert units.names(text) == expected


@pytest.mark.parametrize(("text", "expected"), [("0", 0), (" 12 ", 12), (5, 5)])
def test_count(text: object, expected: int) -> None:
    assert units.count(text) == expected


@pytest.mark.parametrize(
    ("reader", "value", "what", "allowed"),
    [
        (units.size, "64q", "'64q' is not a size", units.SIZE_ALLOWED),
        (units.size, "", "'' is not a size", units.SIZE_ALLOWED),
        (units.size, "-1", "'-1' is not a size", units.SIZE_ALLOWED),
        (units.size, True, "True is not a size", units.SIZE_ALLOWED),
        (units.size, 1.5, "1.5 is not a size", units.SIZE_ALLOWED),
        (units.size, "2048m", "a size of '2048m' is out of range", units.SIZE_ALLOWED),
        (units.size, -1, "a size of -1 is out of range", units.SIZE_ALLOWED),
        (units.duration, "3 parsecs", "'3 parsecs' is not a time", units.DURATION_ALLOWED),
        (units.duration, "1.2.3", "'1.2.3' is not a time", units.DURATION_ALLOWED),
        (units.duration, ".", "'.' is not a time", units.DURATION_ALLOWED),
        (units.duration, "nan", "'nan' is not a time", units.DURATION_ALLOWED),
        (units.duration, True, "True is not a time", units.DURATION_ALLOWED),
        (units.duration, float("nan"), "a time of nan s is out of range", units.DURATION_ALLOWED),
        (units.duration, float("inf"), "a time of inf s is out of range", units.DURATION_ALLOWED),
        (units.duration, -1, "a time of -1 s is out of range", units.DURATION_ALLOWED),
        (units.duration, "10000h", "a time of '10000h' is out of range", units.DURATION_ALLOWED),
        (units.rate, "fast", "'fast' is not a rate", units.RATE_ALLOWED),
        (units.rate, "0", "a rate of '0' is out of range", units.RATE_ALLOWED),
        (units.names, 5, "5 is not a list of names", "names separated by commas or spaces"),
        (units.names, ["a b"], "'a b' is not a name", "names separated by commas or spaces"),
        (units.names, ["a"] * 101, "a list of 101 names is too long", "at most 100 names"),
        (units.count, "1_000", "'1_000' is not a number", "a whole number"),
        (units.count, -1, "-1 is not a number", "a whole number"),
        (units.count, True, "True is not a number", "a whole number"),
    ],
)
def test_refusals(reader: Callable[[object], object], value: object, what: str, allowed: str) -> None:
    with pytest.raises(NotAllowed) as caught:
        reader(value)
    assert (str(caught.value), caught.value.allowed) == (what, allowed)


@pytest.mark.parametrize("reader", [units.size, units.duration, units.rate, units.count, units.names])
def test_a_long_value_is_refused_shortly(reader: Callable[[object], object]) -> None:
    for text in ("9" * 100_000, "9" * 100_000 + "m", "x" * 100_000):
        with pytest.raises(NotAllowed) as caught:
            reader(text)
        assert len(str(caught.value)) < 150


@given(st.integers(0, units.MAXIMUM_SIZE))
def test_a_written_size_reads_back_equal(value: int) -> None:
    assert units.size(units.format_size(value)) == value


@given(st.floats(0, units.MAXIMUM_DURATION) | st.integers(0, 10**8).map(lambda n: n / 1000))
def test_a_written_duration_reads_back_equal(value: float) -> None:
    value = min(value, units.MAXIMUM_DURATION)
    assert units.duration(units.format_duration(value)) == value


@given(st.integers(1, units.MAXIMUM_RATE))
def test_a_written_rate_reads_back_equal(value: int) -> None:
    assert units.rate(units.format_rate(value)) == value


def test_what_stands_around_a_number_is_whatever_python_calls_space() -> None:
    assert units.count("\x1f7\u2003") == 7


@given(st.text(), st.sampled_from([units.size, units.duration, units.rate, units.names, units.count]))
def test_any_text_is_read_or_refused(text: str, reader: Callable[[object], object]) -> None:
    try:
        reader(text)
    except NotAllowed as error:
        allowed = error.allowed
    else:
        return
    assert allowed
