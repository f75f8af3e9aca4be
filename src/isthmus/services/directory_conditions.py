"""What is to be answered, given the conditions of a request: RFC 9110 section 13, and ranges on top."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

from isthmus.services.directory_ranges import Range, wanted

FIELDS = (
    "If-Match",
    "If-Unmodified-Since",
    "If-None-Match",
    "If-Modified-Since",
    "Range",
    "If-Range",
)
"""The fields of a request that `judge` looks at."""

_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\U0010ffff]*)"')


@dataclass(frozen=True, slots=True)
class Verdict:
    """200, 206 with `ranges`, 304, 412 or 416."""

    status: int
    ranges: tuple[Range, ...] = ()


def judge(method: str, fields: Mapping[str, str], *, tag: str, modified: int, size: int) -> Verdict:
    """Decide about a GET or HEAD, in the order of section 13.2.2.

    `fields` has the `FIELDS` that came, those that came more than once joined with commas. `tag` is the
    file's strong validator without quotes, `modified` in seconds since 1970, `size` in bytes.
    """
    if "If-Match" in fields:
        if not _matches(fields["If-Match"], tag, weak=False):
            return Verdict(412)
    elif (since := _date(fields.get("If-Unmodified-Since"))) is not None and modified > since:
        return Verdict(412)
    if "If-None-Match" in fields:
        if _matches(fields["If-None-Match"], tag, weak=True):
            return Verdict(304)
    elif (since := _date(fields.get("If-Modified-Since"))) is not None and modified <= since:
        return Verdict(304)
    if method == "GET" and "Range" in fields and _range_holds(fields.get("If-Range"), tag, modified):
        ranges = wanted(fields["Range"], size)
        if ranges is not None:
            return Verdict(206, ranges) if ranges else Verdict(416)
    return Verdict(200)


def _matches(field: str, tag: str, *, weak: bool) -> bool:
    """Whether a list of entity tags has `tag`; by weak comparison, or by strong (section 8.8.3.2)."""
    if field.strip() == "*":
        return True
    return any(found[2] == tag and (weak or not found[1]) for found in _TAG.finditer(field))


def _range_holds(field: str | None, tag: str, modified: int) -> bool:
    """Whether an If-Range (section 13.1.5) lets the Range count: by strong comparison, or the very date."""
    if field is None:
        return True
    field = field.strip()
    if found := _TAG.fullmatch(field):
        return not found[1] and found[2] == tag
    return _date(field) == modified


def _date(text: str | None) -> int | None:
    """Return an HTTP date in seconds since 1970; None for what is none, which is then ignored."""
    if text is None:
        return None
    try:
        when = parsedate_to_datetime(text)
        return int((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
