from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.services.directory_conditions import FIELDS, judge

NOW = 1_700_000_000
DATE = "Tue, 14 Nov 2023 22:13:20 GMT"
BEFORE = "Tue, 14 Nov 2023 22:13:19 GMT"
AFTER = "Tue, 14 Nov 2023 22:13:21 GMT"


def status(method: str = "GET", **fields: str) -> int:
    given = {name.replace("_", "-"): value for name, value in fields.items()}
    assert given.keys() <= set(FIELDS)
    return judge(method, given, tag="t", modified=NOW, size=100).status


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, 200),
        ({"If_None_Match": '"t"'}, 304),
        ({"If_None_Match": 'W/"t"'}, 304),
        ({"If_None_Match": '"a,b", W/"c" , "t"'}, 304),
        ({"If_None_Match": '"a", "b"'}, 200),
        ({"If_None_Match": '"tt"'}, 200),
        ({"If_None_Match": "t"}, 200),
        ({"If_None_Match": " * "}, 304),
        ({"If_None_Match": ""}, 200),
        ({"If_Modified_Since": DATE}, 304),
        ({"If_Modified_Since": AFTER}, 304),
        ({"If_Modified_Since": BEFORE}, 200),
        ({"If_Modified_Since": "Tuesday, 14-Nov-23 22:13:20 GMT"}, 304),
        ({"If_Modified_Since": "Tue Nov 14 22:13:20 2023"}, 304),
        ({"If_Modified_Since": "yesterday"}, 200),
        ({"If_Modified_Since": "Tue, 14 Nov 99999999999 22:13:20 GMT"}, 200),
        ({"If_None_Match": '"a"', "If_Modified_Since": DATE}, 200),
        ({"If_None_Match": '"t"', "If_Modified_Since": BEFORE}, 304),
        ({"If_Match": '"t"'}, 200),
        ({"If_Match": "*"}, 200),
        ({"If_Match": '"a", "t"'}, 200),
        ({"If_Match": 'W/"t"'}, 412),
        ({"If_Match": '"a"'}, 412),
        ({"If_Match": ""}, 412),
        ({"If_Unmodified_Since": DATE}, 200),
        ({"If_Unmodified_Since": AFTER}, 200),
        ({"If_Unmodified_Since": BEFORE}, 412),
        ({"If_Unmodified_Since": "x"}, 200),
        ({"If_Match": '"t"', "If_Unmodified_Since": BEFORE}, 200),
        ({"If_Match": '"a"', "If_None_Match": '"t"'}, 412),
        ({"If_Match": '"t"', "If_None_Match": '"t"'}, 304),
        ({"Range": "bytes=0-4"}, 206),
        ({"Range": "bytes=100-"}, 416),
        ({"Range": "lines=0-4"}, 200),
        ({"Range": "bytes=0-4", "If_None_Match": '"t"'}, 304),
        ({"Range": "bytes=100-", "If_Match": '"a"'}, 412),
        ({"Range": "bytes=0-4", "If_Range": '"t"'}, 206),
        ({"Range": "bytes=0-4", "If_Range": ' "t" '}, 206),
        ({"Range": "bytes=0-4", "If_Range": 'W/"t"'}, 200),
        ({"Range": "bytes=0-4", "If_Range": '"a"'}, 200),
        ({"Range": "bytes=0-4", "If_Range": '"a", "t"'}, 200),
        ({"Range": "bytes=0-4", "If_Range": DATE}, 206),
        ({"Range": "bytes=0-4", "If_Range": AFTER}, 200),
        ({"Range": "bytes=0-4", "If_Range": BEFORE}, 200),
        ({"Range": "bytes=0-4", "If_Range": "x"}, 200),
        ({"Range": "bytes=100-", "If_Range": '"a"'}, 200),
        ({"If_Range": '"a"'}, 200),
    ],
)
def test_conditions(fields: dict[str, str], expected: int) -> None:
    assert status(**fields) == expected
    if "Range" not in fields:
        assert status("HEAD", **fields) == expected


@pytest.mark.parametrize("field", ["bytes=0-4", "bytes=100-"])
def test_a_head_knows_no_ranges(field: str) -> None:
    """RFC 9110, section 14.2: range handling is defined for GET only."""
    assert status("HEAD", Range=field) == 200


def test_ranges_are_in_the_verdict() -> None:
    verdict = judge("GET", {"Range": "bytes=0-4,-1"}, tag="t", modified=NOW, size=100)
    assert [(each.start, each.stop) for each in verdict.ranges] == [(0, 5), (99, 100)]


@given(
    st.dictionaries(st.sampled_from(FIELDS), st.text(st.sampled_from('W/"t*,-=bytes0159 GMT'), max_size=20))
)
def test_anything_may_be_asked(fields: dict[str, str]) -> None:
    verdict = judge("GET", fields, tag="t", modified=NOW, size=100)
    assert verdict.status in (200, 206, 304, 412, 416)
    assert bool(verdict.ranges) == (verdict.status == 206)
