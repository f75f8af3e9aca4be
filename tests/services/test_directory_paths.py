from __future__ import annotations

import os
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.services.directory_paths import MAXIMUM_NAMES, Refused, is_hidden, quoted, split_path


@pytest.mark.parametrize(
    ("path", "names", "slash"),
    [
        ("/", (), True),
        ("/a", ("a",), False),
        ("/a/b%20c/", ("a", "b c"), True),
        ("/caf%C3%A9", ("café",), False),
        ("/100%25", ("100%",), False),
        ("/a..b/...", ("a..b", "..."), False),
        ("/%EF%BC%8F", ("\uff0f",), False),  # a full-width slash is a letter like any other
    ],
)
def test_names_are_decoded_once(path: str, names: tuple[str, ...], slash: bool) -> None:
    assert split_path(path) == (names, slash)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("", 400),
        ("a", 400),
        ("/..", 400),
        ("/a/../b", 400),
        ("/%2e", 400),
        ("/%2E%2e/a", 400),
        ("/a%2fb", 400),
        ("/a%5Cb", 400),
        ("/a\\b", 400),
        ("/a%00", 400),
        ("/a%0Ab", 400),
        ("/%7f", 400),
        ("/%252e%252e", 400),
        ("/%25252f", 400),
        ("/a%255c", 400),
        ("/%2500", 400),
        ("/%c0%af", 400),  # overlong /
        ("/%c0%ae%c0%ae/x", 400),  # overlong ..
        ("/%e0%80%af", 400),
        ("/%f0%80%80%af", 400),
        ("/%ed%a0%80", 400),  # a surrogate
        ("/%ff", 400),
        ("/%", 400),
        ("/%2", 400),
        ("/%u002e", 400),
        ("//a", 404),
        ("/a//", 404),
        ("/a" * (MAXIMUM_NAMES + 1), 404),
    ],
)
def test_what_pretends_is_refused(path: str, status: int) -> None:
    with pytest.raises(Refused) as refused:
        split_path(path)
    assert refused.value.status == status


def test_a_path_may_have_many_names() -> None:
    assert split_path("/a" * MAXIMUM_NAMES) == (("a",) * MAXIMUM_NAMES, False)


@given(st.text(alphabet=st.sampled_from("a./%25cef\\0\x00é;?#~ "), max_size=30).map(lambda text: "/" + text))
def test_no_path_ever_leaves_its_folder(path: str) -> None:
    try:
        names, _ = split_path(path)
    except Refused:
        return
    for name in names:
        assert name not in ("", ".", "..")
        assert not set(name) & set("/\\\x00")
    joined = os.path.normpath(os.path.join("/root/folder", *names))
    assert joined == "/".join(("/root/folder", *names))


@given(st.lists(st.text("ab é&?#;+", min_size=1, max_size=5), max_size=4).map(tuple))
def test_what_is_quoted_is_read_back(names: tuple[str, ...]) -> None:
    assert split_path(quoted(names) + "/") == (names, True)
    assert quoted(names) == "".join("/" + quote(name, safe="") for name in names)


def test_hidden_names() -> None:
    assert [is_hidden(name) for name in (".git", "...", ".well-known", "a.b")] == [True, True, False, False]
