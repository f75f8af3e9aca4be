"""Sizes, times, rates and lists of words, as a configuration writes them.

Each reader takes what the file holds (a text, or a number that TOML has typed) and returns a plain value;
each
`format_*` is its inverse: what it writes reads back equal. A reader raises `NotAllowed`.

Sizes count in 1024 (`64k` is 65,536 bytes), as Kaazing's do. Times without a unit are seconds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

MAXIMUM_SIZE = 2**31 - 1
MAXIMUM_DURATION = 366 * 24 * 3600.0
MAXIMUM_RATE = 10**12
MAXIMUM_NAMES = 100

SIZE_ALLOWED = "bytes (65536), kilobytes (64k or 64kB) or megabytes (1m or 1MB), at most 2147483647 bytes"
DURATION_ALLOWED = "seconds (30) or a number with ms, s, min or h (500 ms, 0.5 h), at most 366 days"
RATE_ALLOWED = "bytes a second (65536) or a number with B/s, kB/s, KiB/s, MB/s or MiB/s"
COUNT_ALLOWED = "a whole number"

_SIZE = re.compile(r"(?P<number>[0-9]{1,10})\s?(?P<unit>[kK]B?|[mM]B?|B)?\Z")
_SIZE_UNITS = {"": 1, "b": 1, "k": 1024, "m": 1024 * 1024}

_DURATION = re.compile(r"(?P<number>[0-9]{1,12}(\.[0-9]{0,12})?|\.[0-9]{1,12})\s*(?P<unit>[A-Za-z]{0,12})\Z")
_DURATION_UNITS = {
    **dict.fromkeys(("ms", "milli", "millis", "millisecond", "milliseconds"), 0.001),
    **dict.fromkeys(("", "s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hour", "hours"), 3600.0),
}

_RATE = re.compile(r"(?P<number>[0-9]{1,13})\s?(?P<unit>B/s|kB/s|KiB/s|MB/s|MiB/s)?\Z")
_RATE_UNITS = {None: 1, "B/s": 1, "kB/s": 1000, "KiB/s": 1024, "MB/s": 1000**2, "MiB/s": 1024**2}


class NotAllowed(ValueError):
    """A value cannot be what an option needs.

    `str(error)` says what is wrong, `allowed` what would be right, `nearest` the valid value that is most
    like it.
    """

    def __init__(self, what: str, allowed: str = "", nearest: str = "") -> None:
        super().__init__(what)
        self.allowed = allowed
        self.nearest = nearest


def shown(value: object) -> str:
    """Return a user's value for a message: quoted, control characters escaped, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:76]}...{text[-1]}"


def printable(name: str) -> str:
    """Return a user's name for the path of a message: as it is, or as `shown` where it is long or odd."""
    return name if name.isprintable() and len(name) <= 80 else shown(name)


def size(value: object) -> int:
    """Read a number of bytes: `N`, `Nk`, `NK`, `NkB`, `Nm`, `NM`, `NMB` (1024). Raises `NotAllowed`."""
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    else:
        match = _SIZE.match(value.strip()) if isinstance(value, str) else None
        if match is None:
            raise NotAllowed(f"{shown(value)} is not a size", SIZE_ALLOWED)
        number = int(match["number"]) * _SIZE_UNITS[(match["unit"] or "")[:1].lower()]
    if not 0 <= number <= MAXIMUM_SIZE:
        raise NotAllowed(f"a size of {shown(value)} is out of range", SIZE_ALLOWED)
    return number


def format_size(value: int) -> str:
    """Write a number of bytes with the largest unit that divides it."""
    if value and value % (1024 * 1024) == 0:
        return f"{value // (1024 * 1024)}m"
    if value and value % 1024 == 0:
        return f"{value // 1024}k"
    return str(value)


def duration(value: object) -> float:
    """Read a time in seconds: `N`, or `N` with a unit from `ms` to `hours`. Raises `NotAllowed`."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if not 0 <= value <= MAXIMUM_DURATION:
            raise NotAllowed(f"a time of {shown(value)} s is out of range", DURATION_ALLOWED)
        return float(value)
    match = _DURATION.match(value.strip()) if isinstance(value, str) else None
    factor = _DURATION_UNITS.get(match["unit"].lower()) if match else None
    if match is None or factor is None:
        raise NotAllowed(f"{shown(value)} is not a time", DURATION_ALLOWED)
    number = float(match["number"])
    # 0.001 has no exact binary form: dividing keeps 100 ms equal to 0.1.
    seconds = number / 1000 if factor == 0.001 else number * factor
    if seconds > MAXIMUM_DURATION:
        raise NotAllowed(f"a time of {shown(value)} is out of range", DURATION_ALLOWED)
    return seconds


def format_duration(value: float) -> str | float:
    """Write a time with a unit that makes it a whole number; as a bare number of seconds where none does."""
    if not math.isfinite(value):
        raise ValueError(f"{value} is not a time")
    for unit, factor in (("h", 3600), ("min", 60), ("s", 1)):
        if value >= factor and value % factor == 0:
            return f"{int(value // factor)} {unit}"
    if value == 0:
        return "0 s"
    milliseconds = round(value * 1000)
    if milliseconds and milliseconds / 1000 == value:
        return f"{milliseconds} ms"
    return value


def rate(value: object) -> int:
    """Read bytes a second: `N`, or `N` with `B/s kB/s KiB/s MB/s MiB/s`. More than 0. Raises `NotAllowed`."""
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    else:
        match = _RATE.match(value.strip()) if isinstance(value, str) else None
        if match is None:
            raise NotAllowed(f"{shown(value)} is not a rate", RATE_ALLOWED)
        number = int(match["number"]) * _RATE_UNITS[match["unit"]]
    if not 0 < number <= MAXIMUM_RATE:
        raise NotAllowed(f"a rate of {shown(value)} is out of range", RATE_ALLOWED)
    return number


def format_rate(value: int) -> str:
    """Write bytes a second with the largest unit that divides it."""
    for unit, factor in (("MiB/s", 1024**2), ("MB/s", 1000**2), ("KiB/s", 1024), ("kB/s", 1000)):
        if value % factor == 0:
            return f"{value // factor}{unit}"
    return f"{value}B/s"


def names(value: object) -> tuple[str, ...]:
    """Read a list of words, separated by commas or spaces, or already a list. Raises `NotAllowed`."""
    words: Sequence[object]
    if isinstance(value, str):
        words = value.replace(",", " ").split()
    elif isinstance(value, (list, tuple)):
        words = value
    else:
        raise NotAllowed(f"{shown(value)} is not a list of names", "names separated by commas or spaces")
    if len(words) > MAXIMUM_NAMES:
        raise NotAllowed(f"a list of {len(words)} names is too long", f"at most {MAXIMUM_NAMES} names")
    found: list[str] = []
    for word in words:
        if not isinstance(word, str) or not word or len(word) > 100 or re.search(r"[\s,]", word):
            raise NotAllowed(f"{shown(word)} is not a name", "names separated by commas or spaces")
        found.append(word)
    return tuple(found)


def count(value: object) -> int:
    """Read a whole number that is not negative. Raises `NotAllowed`."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,12}", value.strip()):
        return int(value.strip())
    raise NotAllowed(f"{shown(value)} is not a number", COUNT_ALLOWED)
