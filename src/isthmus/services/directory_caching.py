"""Which Cache-Control a file has: the `location`s of a `directory` service.

Of the patterns that fit a file the most specific one decides: the one that covers the fewest of the others.
It takes over what the patterns that cover it say, and of two times the shorter one, as Kaazing does: a
general `no-store` cannot be lifted by a pattern inside of it.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from isthmus.config.cache_control import CacheControl
from isthmus.config.model import Location


@dataclass(frozen=True, slots=True)
class _Rule:
    pattern: Pattern
    control: CacheControl


class Pattern:
    """A glob over a path: `*` and `?` stay within a name, `**` is any number of folders. Case does not
    matter.
    """

    def __init__(self, text: str) -> None:
        self.text = text.lstrip("/")
        self._parts = [None if part == "**" else _compiled(part) for part in self.text.split("/")]

    def fits(self, names: Sequence[str]) -> bool:
        """Whether this is the pattern of a path, given by its names."""
        reached = {0}  # places in the pattern, after the names so far
        for name in names:
            reached = self._past_folders(reached)
            reached = {
                place if part is None else place + 1
                for place in reached
                if place < len(self._parts)
                and ((part := self._parts[place]) is None or part.fullmatch(name) is not None)
            }
        return len(self._parts) in self._past_folders(reached)

    def covers(self, other: Pattern) -> bool:
        """Whether it fits the text of another pattern, and so, at least, whatever that one fits."""
        return self.fits(other.text.split("/"))

    def _past_folders(self, reached: set[int]) -> set[int]:
        """Add the places behind each `**`, which may also stand for no folder at all."""
        found = set(reached)
        for place in sorted(reached):
            while place < len(self._parts) and self._parts[place] is None:
                place += 1
                found.add(place)
        return found


def _compiled(part: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(part.replace("[", "[[]")), re.IGNORECASE)


class Caching:
    """The rules of one service."""

    def __init__(self, locations: Iterable[Location]) -> None:
        written = [_Rule(Pattern(text), each.cache_control) for each in locations for text in each.patterns]
        covering = {
            id(rule): [other for other in written if other is not rule and other.pattern.covers(rule.pattern)]
            for rule in written
        }
        covered = {
            id(rule): sum(other is not rule and rule.pattern.covers(other.pattern) for other in written)
            for rule in written
        }
        self._rules: list[_Rule] = []
        for rule in sorted(written, key=lambda rule: covered[id(rule)]):
            control = rule.control
            for other in covering[id(rule)]:
                control = control.stricter(other.control)
            self._rules.append(_Rule(rule.pattern, control))

    def header(self, names: Sequence[str], modified: float, now: float) -> str | None:
        """Return the Cache-Control of a file, by its path below the folder; None where no pattern fits.

        `modified` and `now` are seconds since 1970.
        """
        for rule in self._rules:
            if rule.pattern.fits(names):
                return rule.control.header(modified, now)
        return None
