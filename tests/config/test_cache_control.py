from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.config.cache_control import MAXIMUM_AGE, CacheControl
from isthmus.config.units import NotAllowed


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no-store", "no-store"),
        ("Public , max-age = 600", "public, max-age=600"),
        ("max-age=m+2days", "max-age=m+172800"),
        ("max-age=M + 1 h, max-age=30min", "max-age=m+3600, max-age=1800"),
        ("s-maxage=1w,max-age=1y", "s-maxage=604800, max-age=31536000"),
        ("max-age=1500ms", "max-age=1"),
        ("max-age=0", "max-age=0"),
    ],
)
def test_what_is_written_is_read(text: str, shown: str) -> None:
    control = CacheControl.parse(text)
    assert str(control) == shown
    assert CacheControl.parse(shown) == control


@pytest.mark.parametrize(
    ("text", "said", "near"),
    [
        ("", "'' is not a directive", ""),
        ("public,", "'' is not a directive", ""),
        ("max-aeg=5", "'max-aeg=5' is not a directive", "max-age"),
        ("public=5", "'public=5': public takes no value", ""),
        ("max-age", "'max-age' has no time", ""),
        ("max-age=m+", "'max-age=m+' has no time", ""),
        ("s-maxage=m+5", "'s-maxage=m+5' has no time", ""),
        ("max-age=-5", "'max-age=-5' has no time", ""),
        ("max-age=5,max-age=6", "max-age is given twice", ""),
        ("max-age=11y", "'max-age=11y' is too long", ""),
        ("max-age=5 fortnights", "", ""),
        ("max-age=5\r\nX: y", "", ""),
    ],
)
def test_what_cannot_be_meant_is_refused(text: str, said: str, near: str) -> None:
    with pytest.raises(NotAllowed) as refused:
        CacheControl.parse(text)
    assert said in str(refused.value)
    assert refused.value.nearest == near


@pytest.mark.parametrize(
    ("text", "age_of_file", "expected"),
    [
        ("max-age=600", 10_000, "max-age=600"),
        ("max-age=m+600", 0, "max-age=600"),
        ("max-age=m+600", 100, "max-age=500"),
        ("max-age=m+600", 601, "max-age=0"),
        ("public, max-age=m+600", 100, "public, max-age=500"),
        ("max-age=m+600, max-age=300", 100, "max-age=300"),
        ("max-age=m+600, max-age=300", 400, "max-age=200"),
        ("no-cache", 5, "no-cache"),
    ],
)
def test_the_age_counts_from_the_change(text: str, age_of_file: int, expected: str) -> None:
    assert CacheControl.parse(text).header(1_000_000.0, 1_000_000.0 + age_of_file) == expected


def test_of_two_the_stricter_holds() -> None:
    """The example is that of Kaazing's own rules: flags add up, of two times the shorter one stays."""
    css = CacheControl.parse("public, max-age=m+600, s-maxage=450")
    every = CacheControl.parse("no-cache, max-age=500, s-maxage=750")
    assert dict(css.stricter(every).directives) == {
        "public": None,
        "no-cache": None,
        "max-age=m+": 600,
        "max-age": 500,
        "s-maxage": 450,
    }


controls = st.dictionaries(
    st.sampled_from(["max-age=m+", "max-age", "s-maxage"]), st.integers(0, MAXIMUM_AGE), min_size=1
).map(lambda found: CacheControl(tuple(found.items())))


@given(controls, controls, st.floats(0, 2e9), st.floats(0, 2e9))
def test_nothing_is_ever_longer_than_either_says(
    one: CacheControl, other: CacheControl, modified: float, now: float
) -> None:
    both = dict(one.stricter(other).directives)
    for control in (one, other):
        for name, seconds in control.directives:
            assert both[name] is not None
            assert seconds is not None
            assert both[name] <= seconds  # type: ignore[operator]
    sent = one.header(modified, now)
    assert "m+" not in sent
    assert "-" not in sent.replace("max-age", "").replace("s-maxage", "")
