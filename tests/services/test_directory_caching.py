from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.config.model import Location
from isthmus.services.directory_caching import Caching, Pattern


@pytest.mark.parametrize(
    ("pattern", "fitting", "others"),
    [
        ("**/*", ["a", "a/b", "a/b/c.css"], []),
        ("**", ["a", "a/b"], []),
        ("*", ["a", "a.css"], ["a/b"]),
        ("*.css", ["a.css", "A.CSS", ".css"], ["a/b.css", "a.cssx", "acss"]),
        ("**/*.css", ["a.css", "x/a.css", "x/y/a.CSS"], ["a.js"]),
        ("/images/*", ["images/a"], ["images/a/b", "x/images/a"]),
        ("images/**", ["images/a", "images/a/b"], ["image/a"]),
        ("**/test/*/*.css", ["test/a/b.css", "x/y/test/a/b.css"], ["test/b.css", "test/a/c/b.css"]),
        ("a/**/b", ["a/b", "a/x/b", "a/x/y/b"], ["a", "b", "a/bb"]),
        ("?.txt", ["a.txt"], ["ab.txt", ".txt"]),
        ("a[bc]", ["a[bc]"], ["ab"]),
        ("a.b+(c)$", ["a.b+(c)$"], ["aXb"]),
        ("**/**/x", ["x", "a/x"], ["xx"]),
    ],
)
def test_a_pattern_fits(pattern: str, fitting: list[str], others: list[str]) -> None:
    for path in fitting:
        assert Pattern(pattern).fits(path.split("/")), path
    for path in others:
        assert not Pattern(pattern).fits(path.split("/")), path


parts = st.lists(st.sampled_from(["**", "*", "a", "a*", "*a*a*", "?"]), min_size=1, max_size=4).map("/".join)


@given(parts, parts, st.lists(st.sampled_from(["a", "b", "aa", "ab"]), min_size=1, max_size=4))
def test_what_covers_a_pattern_fits_all_that_it_fits(general: str, special: str, path: list[str]) -> None:
    if "**" not in special and Pattern(general).covers(Pattern(special)) and "?" not in general:
        assert not Pattern(special).fits(path) or Pattern(general).fits(path)


def test_a_hard_pattern_takes_no_time() -> None:
    pattern = Pattern("/".join(["**", "*a*a*a*a*a*a*b"] * 8))
    assert not pattern.fits(["a" * 200] * 60)


def caching(*locations: tuple[str, str]) -> Caching:
    return Caching(
        Location.model_validate({"patterns": patterns, "cache-control": control})
        for patterns, control in locations
    )


def header(rules: Caching, path: str, age: int = 0) -> str | None:
    return rules.header(path.split("/"), 1000.0, 1000.0 + age)


def test_the_most_specific_pattern_decides() -> None:
    rules = caching(
        ("**/*", "max-age=600"),
        ("**/*.css **/*.js", "max-age=300, public"),
        ("**/test/*.css", "max-age=m+60"),
    )
    assert header(rules, "a.html") == "max-age=600"
    assert header(rules, "x/a.css") == "max-age=300, public"
    assert header(rules, "a.js") == "max-age=300, public"
    found = header(rules, "test/a.css", 20)
    assert found is not None
    assert set(found.split(", ")) == {"max-age=40", "public"}
    assert header(rules, "TEST/A.CSS", 100) == header(rules, "test/a.css", 100)


def test_a_specific_pattern_cannot_lift_what_a_general_one_says() -> None:
    for order in (1, -1):
        rules = caching(*[("**/*", "no-store, max-age=60"), ("**/*.css", "max-age=600")][::order])
        found = header(rules, "a.css")
        assert found is not None
        assert set(found.split(", ")) == {"no-store", "max-age=60"}


def test_without_a_pattern_there_is_nothing() -> None:
    assert header(caching(), "a") is None
    assert header(caching(("*.css", "no-cache")), "a/b.css") is None
