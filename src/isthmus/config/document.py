"""A configuration file as it was written, before anything is known about what it means.

Both readers (`config.xml`, `config.toml`) turn a file into a `Document`: a tree of `Node`s with the dotted
names of the model and the line of each. `config.build` gives it meaning. A file is read in bounded memory:
what passes a limit here is refused, however it is written.
"""

from __future__ import annotations

import codecs
import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from isthmus.config.nearest import nearest
from isthmus.errors import ConfigurationError, Problem

MAXIMUM_FILE_SIZE = 1024 * 1024
"""Bytes in a configuration file."""
MAXIMUM_ELEMENTS = 20_000
"""Elements (XML) or keys and tables (TOML) in a file."""
MAXIMUM_DEPTH = 16
"""Elements or tables inside each other."""
MAXIMUM_VALUE = 4096
"""Characters in one value, after `${}` is replaced."""
MAXIMUM_PROBLEMS = 100
"""Problems that are reported; the rest is counted."""

Scalar = str | int | float | bool
Value = Scalar | list[Scalar]


@dataclass(slots=True)
class Node:
    """An element, a table or a key.

    `name` is the model's name for it, `path` the names that lead to it as the user wrote them. A leaf has a
    `value`, a section has `children`; an empty XML element has the value "" and may be either.
    """

    name: str
    line: int
    path: str
    value: Value | None = None
    children: list[Node] = field(default_factory=list)


@dataclass(slots=True)
class Document:
    """What a reader found, and the problems found in it so far, in any order."""

    file: str
    root: Node
    problems: list[Problem] = field(default_factory=list)

    def wrong(self, node: Node, what: str, allowed: str = "", nearest: str = "") -> None:
        """Note a problem with `node`."""
        self.problems.append(Problem(self.file, node.line, node.path, what, allowed, nearest))

    def nearest(self, name: object, known: Iterable[str]) -> str:
        """Return the name in `known` most like `name`; "" if none is, or if problems abound already."""
        return nearest(name, known) if len(self.problems) < MAXIMUM_PROBLEMS else ""


def refuse(
    file: str, line: int, what: str, allowed: str = "", element: str = "", near: str = ""
) -> ConfigurationError:
    """Return the error for a file that cannot be read any further because of one thing."""
    return failure(file, [Problem(file, line, element, what, allowed, near)])


def failure(file: str, problems: list[Problem]) -> ConfigurationError:
    """Return the error that carries `problems` in the order of the file, at most `MAXIMUM_PROBLEMS`."""
    ordered = sorted(dict.fromkeys(problems), key=lambda problem: problem.line)
    total = len(ordered)
    if total > MAXIMUM_PROBLEMS:
        more = Problem(file, 0, "", f"{total - MAXIMUM_PROBLEMS} more problems are not shown")
        ordered = [*ordered[:MAXIMUM_PROBLEMS], more]
    return ConfigurationError(f"cannot use {file}: {total} problem{'s' if total != 1 else ''}", ordered)


def read_text(path: Path) -> str:
    """Read a configuration file.

    Raises `ConfigurationError` for a file that cannot be read, is larger than `MAXIMUM_FILE_SIZE`, or is not
    text.
    """
    file = str(path)
    try:
        with path.open("rb") as stream:
            kind = os.fstat(stream.fileno()).st_mode
            if not (stat.S_ISREG(kind) or stat.S_ISFIFO(kind)):
                raise refuse(file, 0, "is not a file", "a configuration file, XML or TOML")
            data = stream.read(MAXIMUM_FILE_SIZE + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise refuse(file, 0, f"cannot be read: {reason}") from error
    if len(data) > MAXIMUM_FILE_SIZE:
        raise refuse(file, 0, "is larger than 1 MiB", "at most 1 MiB; is this a configuration file?")
    return _decode(file, data)


_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DECLARATION = re.compile(
    r"""\s{0,100}<\?xml\s[^>]{0,200}?encoding\s{0,20}=\s{0,20}["'](?P<name>[A-Za-z0-9._:-]{1,40})["']"""
)
_ENCODINGS = ("utf-8", "utf-16", "us-ascii", "iso-8859-1", "iso-8859-15", "windows-1252")
_NOT_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff]")


def _decode(file: str, data: bytes) -> str:
    """Return the text of a file: UTF-8, or what its byte order mark or XML declaration says; no guess."""
    mark, encoding = next(
        ((mark, name) for mark, name in _BYTE_ORDER_MARKS if data.startswith(mark)), (b"", "utf-8")
    )
    # A byte order mark is a fact; without one the declaration, which is ASCII, is.
    head = data[:400].decode("latin-1" if encoding == "utf-8" else encoding, "replace")
    declared = _DECLARATION.match(head[len(mark) if encoding == "utf-8" else 0 :].lstrip("\ufeff"))
    if declared:
        name = declared["name"].lower()
        try:
            canonical = codecs.lookup(name).name
        except (LookupError, ValueError):
            canonical = ""
        known = {codecs.lookup(each).name: each for each in _ENCODINGS}
        if canonical.removesuffix("-le").removesuffix("-be") not in known:
            raise refuse(
                file, 1, f"the encoding {declared['name']!r} is not supported", ", ".join(_ENCODINGS)
            )
        if mark and not canonical.startswith(encoding):
            raise refuse(file, 1, f"is declared as {declared['name']} but begins like {encoding.upper()}")
        if not mark and canonical.startswith("utf-16"):
            raise refuse(
                file, 1, f"is declared as {declared['name']} but is not", "UTF-8, or the file's real encoding"
            )
        if not mark:
            encoding = known[canonical]
    if encoding == "utf-32":
        raise refuse(file, 0, "is UTF-32, which is not supported", ", ".join(_ENCODINGS))
    try:
        text = data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1 if encoding != "utf-16" else 0
        what = f"is not {encoding.upper()} text: byte 0x{data[error.start]:02x} cannot be read"
        raise refuse(file, line, what, "save the file as UTF-8, or declare the encoding it has") from error
    if junk := _NOT_TEXT.search(text):
        line = text.count("\n", 0, junk.start()) + 1
        raise refuse(file, line, f"is not a text file: it has the character U+{ord(junk[0]):04X}")
    return text
