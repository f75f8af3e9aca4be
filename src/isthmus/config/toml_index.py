"""Where each key, table and element of a TOML file stands, which `tomllib` does not tell.

The index is made before `tomllib` runs and keeps the limits of `config.document`, so that no file can make
the parser work for long. It reads TOML loosely: what it does not understand is left to `tomllib` to refuse.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from dataclasses import dataclass, field

from isthmus.config.document import MAXIMUM_DEPTH, MAXIMUM_ELEMENTS, refuse

Path = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]++|#[^\n]*+)*+")
_SPACE = re.compile(r"[ \t]*+")
_LINE_REST = re.compile(r"[^\n]*+")
_KEY = re.compile(
    r"""(?P<bare>[A-Za-z0-9_-]++)|"(?P<basic>(?:[^"\\\n]|\\[^\n])*+)"|'(?P<literal>[^'\n]*+)'"""
)
_STRING = re.compile(
    r'''"""(?:[^"\\]|\\.|"(?!""))*+"""(?:"{0,2})|\'\'\'(?:[^']|'(?!''))*+\'\'\'(?:'{0,2})|'''
    r""""(?:[^"\\\n]|\\[^\n])*+"|'[^'\n]*+'""",
    re.S,
)
_BARE = re.compile(r"[^,\]}\n#]++")


class _NotUnderstood(Exception):
    """The index stops here."""


@dataclass
class Index:
    """`lines` maps a path of keys and positions to its line.

    `end` is how far the index understood the text: nothing behind it has been looked at.
    """

    lines: dict[Path, int] = field(default_factory=dict)
    end: int = 0


def index(file: str, text: str) -> Index:
    """Find the line of everything in `text`. Raises `ConfigurationError` where a limit is passed."""
    scanner = _Scanner(file, text)
    try:
        scanner.document()
    except _NotUnderstood:
        pass
    return Index(scanner.lines, scanner.position)


class _Scanner:
    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.text = text
        self.position = 0
        self.lines: dict[Path, int] = {}
        self._tables: dict[Path, int] = {}  # arrays of tables -> how many tables there are so far
        self._newlines = [match.start() for match in re.finditer("\n", text)]
        self._count = 0

    def document(self) -> None:
        prefix: Path = ()
        self._skip(_BLANK)
        while self.position < len(self.text):
            if self.text.startswith("[", self.position):
                prefix = self._header()
            else:
                self._pair(prefix, 1)
            self._skip(_LINE_REST)  # a comment, or what the parser will object to
            self._skip(_BLANK)

    def _header(self) -> Path:
        start = self.position
        array = self.text.startswith("[[", start)
        self.position += 2 if array else 1
        keys = self._keys()
        self._expect("]")
        path: Path = ()
        for number, key in enumerate(keys):
            path = (*path, key)
            if array and number == len(keys) - 1:
                self._tables[path] = self._tables.get(path, 0) + 1
            if path in self._tables:
                path = (*path, self._tables[path] - 1)
        self._found(path, start)
        return path

    def _pair(self, prefix: Path, depth: int) -> None:
        start = self.position
        path = (*prefix, *self._keys())
        self._expect("=")
        self._skip(_SPACE)
        self._found(path, start)
        self._value(path, depth)

    def _keys(self) -> list[str]:
        keys: list[str] = []
        while True:
            self._skip(_SPACE)
            match = _KEY.match(self.text, self.position)
            if match is None:
                raise _NotUnderstood
            keys.append(match["bare"] or match["literal"] or _unescaped(match["basic"] or ""))
            if len(keys) > MAXIMUM_DEPTH:
                self._too_deep()
            self.position = match.end()
            self._skip(_SPACE)
            if not self.text.startswith(".", self.position):
                return keys
            self.position += 1

    def _value(self, path: Path, depth: int) -> None:
        if depth > MAXIMUM_DEPTH:
            self._too_deep()
        opening = self.text[self.position : self.position + 1]
        if opening == "[":
            self._elements(path, depth)
        elif opening == "{":
            self._inline_table(path, depth)
        elif opening in ('"', "'"):
            self._expect_match(_STRING)
        else:
            self._expect_match(_BARE)

    def _elements(self, path: Path, depth: int) -> None:
        self.position += 1
        number = 0
        self._skip(_BLANK)
        while not self.text.startswith("]", self.position):
            self._found((*path, number), self.position)
            self._value((*path, number), depth + 1)
            number += 1
            self._skip(_BLANK)
            if self.text.startswith(",", self.position):
                self.position += 1
                self._skip(_BLANK)
            elif not self.text.startswith("]", self.position):
                raise _NotUnderstood
        self.position += 1

    def _inline_table(self, path: Path, depth: int) -> None:
        self.position += 1
        self._skip(_BLANK)
        while not self.text.startswith("}", self.position):
            self._pair(path, depth + 1)
            self._skip(_BLANK)
            if self.text.startswith(",", self.position):
                self.position += 1
                self._skip(_BLANK)
            elif not self.text.startswith("}", self.position):
                raise _NotUnderstood
        self.position += 1

    # -- small steps --

    def _skip(self, pattern: re.Pattern[str]) -> None:
        if match := pattern.match(self.text, self.position):
            self.position = match.end()

    def _expect(self, character: str) -> None:
        self._skip(_SPACE)
        if not self.text.startswith(character, self.position):
            raise _NotUnderstood
        self.position += 1

    def _expect_match(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self.text, self.position)
        if match is None:
            raise _NotUnderstood
        self.position = match.end()

    def _found(self, path: Path, position: int) -> None:
        self._count += 1
        if self._count > MAXIMUM_ELEMENTS:
            raise refuse(self.file, self._line(position), "has too many keys", f"at most {MAXIMUM_ELEMENTS}")
        self.lines.setdefault(path, self._line(position))

    def _line(self, position: int) -> int:
        return bisect_right(self._newlines, position - 1) + 1

    def _too_deep(self) -> None:
        line = self._line(self.position)
        raise refuse(
            self.file, line, "tables or arrays are nested too deeply", f"at most {MAXIMUM_DEPTH} levels"
        )


def _unescaped(text: str) -> str:
    """Return a basic string's content. Escapes that JSON does not have stay: all that is lost is a line."""
    try:
        return str(json.loads(f'"{text}"'))
    except ValueError:
        return text
