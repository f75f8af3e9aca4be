from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.services.directory_codings import ENDINGS, acceptable


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (None, ()),
        ("", ()),
        ("gzip", ("gzip",)),
        ("x-gzip", ("gzip",)),
        ("GZIP, deflate", ("gzip",)),
        ("gzip, deflate, br, zstd", ("br", "zstd", "gzip")),
        ("gzip;q=1.0, br;q=0.5", ("gzip", "br")),
        ("gzip ; q=0.5 , zstd ; Q=0.501", ("zstd", "gzip")),
        ("br;q=0, *", ("zstd", "gzip")),
        ("*;q=0", ()),
        ("gzip;q=0", ()),
        ("gzip;q=0.000", ()),
        ("identity", ()),
        ("identity, gzip;q=0.5", ()),
        ("identity;q=0.5, gzip;q=0.5", ("gzip",)),
        ("identity;q=0", ()),
        ("identity;q=0, gzip;q=0.1", ("gzip",)),
        ("gzip;q=2", ()),
        ("gzip;q=0.1234", ()),
        ("gzip;q=, br", ("br",)),
        ("gzip;q=0, gzip", ()),
    ],
)
def test_the_client_says_what_it_likes(field: str | None, expected: tuple[str, ...]) -> None:
    assert acceptable(field) == expected


@given(st.text(st.sampled_from("gzipbrstd*;q=01., "), max_size=40))
def test_anything_may_be_said(field: str) -> None:
    found = acceptable(field)
    assert len(set(found)) == len(found)
    assert set(found) <= set(ENDINGS)
