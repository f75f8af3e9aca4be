"""What a `cache-control` says: directives of RFC 9111 section 5.2.2, and Kaazing's `max-age=m+N`, which
counts from the time the file was changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from isthmus.config import units
from isthmus.config.nearest import nearest
from isthmus.config.units import NotAllowed, shown

MAXIMUM_AGE = 10 * 365 * 24 * 3600
"""Seconds; longer ages are refused."""

_FLAGS = ("no-cache", "no-store", "no-transform", "must-revalidate", "proxy-revalidate", "public", "private")
_TIMED = ("max-age", "s-maxage")
_SINCE_CHANGE = "max-age=m+"
_ALLOWED = "max-age=600, max-age=m+2h, s-maxage=1d, " + ", ".join(_FLAGS)
_LONG_UNITS = {
    **dict.fromkeys(("d", "day", "days"), 24 * 3600),
    **dict.fromkeys(("w", "week", "weeks"), 7 * 24 * 3600),
    **dict.fromkeys(("y", "year", "years"), 365 * 24 * 3600),
}


@dataclass(frozen=True, slots=True)
class CacheControl:
    """Directives by name; those with a time have it in seconds, the others None.

    `max-age=m+` is a name of its own: both kinds of `max-age` may hold at once, and the shorter one counts.
    """

    directives: tuple[tuple[str, int | None], ...]

    @classmethod
    def parse(cls, text: str) -> CacheControl:
        """Read a list with commas between, as Kaazing does: blanks and case do not matter.

        Raises `NotAllowed` for what is unknown, double, or lacks a time or has one too many.
        """
        found: dict[str, int | None] = {}
        for word in re.sub(r"\s", "", text).split(","):
            name, given, value = word.partition("=")
            name = name.lower()
            seconds: int | None = None
            if name in _TIMED:
                since = re.match(r"[mM]\+", value) if name == "max-age" else None
                seconds = _seconds(word, value[2:] if since else value)
                name = _SINCE_CHANGE if since else name
            elif name not in _FLAGS:
                raise NotAllowed(
                    f"{shown(word)} is not a directive", _ALLOWED, nearest(name, (*_FLAGS, *_TIMED))
                )
            elif given:
                raise NotAllowed(f"{shown(word)}: {name} takes no value", name)
            if name in found:
                raise NotAllowed(f"{name} is given twice", "once")
            found[name] = seconds
        return cls(tuple(found.items()))

    def stricter(self, other: CacheControl) -> CacheControl:
        """Return the directives of both; of two times the shorter one."""
        found = dict(self.directives)
        for name, seconds in other.directives:
            mine = found.get(name)
            found[name] = seconds if mine is None or seconds is None else min(mine, seconds)
        return CacheControl(tuple(found.items()))

    def header(self, modified: float, now: float) -> str:
        """Return the field's value for a file changed at `modified`; both are seconds since 1970."""
        found = dict(self.directives)
        since = found.pop(_SINCE_CHANGE, None)
        if since is not None:
            left = max(0, int(since + modified - now))
            fixed = found.get("max-age")
            found["max-age"] = left if fixed is None else min(left, fixed)
        return _written(found.items())

    def __str__(self) -> str:
        return _written(self.directives)


def _written(directives: Iterable[tuple[str, int | None]]) -> str:
    words = []
    for name, seconds in directives:
        joint = "" if name.endswith("+") else "="
        words.append(name if seconds is None else f"{name}{joint}{seconds}")
    return ", ".join(words)


def _seconds(word: str, value: str) -> int:
    found = re.fullmatch(r"([0-9]{1,10})([A-Za-z]*)", value)
    if found is None:
        raise NotAllowed(f"{shown(word)} has no time", "seconds (600) or a number with min, h, d, w or y")
    number, unit = int(found[1]), found[2].lower()
    seconds = number * _LONG_UNITS[unit] if unit in _LONG_UNITS else int(units.duration(f"{number}{unit}"))
    if seconds > MAXIMUM_AGE:
        raise NotAllowed(f"{shown(word)} is too long", "at most 10 years")
    return seconds
