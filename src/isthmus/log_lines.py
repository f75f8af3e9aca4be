"""A log record as a line: text for people, JSON for machines.

A record is one line, or begins one. In text, what has more lines is indented, so that nothing a peer sends
can pass for a record of its own; for the same reason control characters are written as `\\x1b`. In JSON each
record is one object on one line of ASCII.
"""

from __future__ import annotations

import logging
from datetime import datetime

_INDENT = "    "
_NAMES = {logging.WARNING: "WARN", logging.CRITICAL: "ERROR"}
_COLOURS = {logging.DEBUG: "2", logging.INFO: "32", logging.WARNING: "33", logging.ERROR: "1;31"}
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\t\n"}
_ROOT = "isthmus"


def area_of(record: logging.LogRecord) -> str:
    """Return which part of isthmus speaks: `access`, `transports.front`; another library's logger by name."""
    return record.name.removeprefix(f"{_ROOT}.")


class Lines(logging.Formatter):
    """Formats a record as `LEVEL text`, an access line as `LEVEL access text`.

    `traceback` shows the whole of an exception; without it, only its type and text follow on the same line.
    """

    def __init__(self, *, traceback: bool = True, time: bool = False, colours: bool = False) -> None:
        super().__init__()
        self._traceback = traceback
        self._time = time
        self._colours = colours

    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            if self._traceback:
                assert record.exc_info
                text = f"{text}\n{self.formatException(record.exc_info)}"
            else:
                text = f"{text} ({type(error).__name__}: {error})"
        if area_of(record) == "access":
            text = f"access {text}"
        level = _level(record)
        if self._colours and (colour := _COLOURS.get(record.levelno)):
            level = f"\x1b[{colour}m{level}\x1b[0m"
        if self._time:
            level = f"{_when(record)} {level}"
        return f"{level} {_shown(text)}"


class JsonLines(logging.Formatter):
    """Formats a record as one JSON object: `time`, `level`, `area`, `message`, then the record's own fields.

    An exception adds `error` (type and text) and, with `traceback`, `traceback`.
    """

    def __init__(self, *, traceback: bool = True) -> None:
        super().__init__()
        from json import dumps  # only who asks for it pays

        self._dumps = dumps
        self._traceback = traceback

    def format(self, record: logging.LogRecord) -> str:
        found: dict[str, object] = {
            "time": _when(record),
            "level": _level(record),
            "area": area_of(record),
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            found["error"] = f"{type(error).__name__}: {error}"
            if self._traceback:
                found["traceback"] = self.formatException(record.exc_info)
        return self._dumps(found, default=str)


def _level(record: logging.LogRecord) -> str:
    return _NAMES.get(record.levelno, record.levelname)


def _when(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds")


def _shown(text: str) -> str:
    first, *later = text.rstrip("\n").translate(_CONTROL).split("\n")
    return "\n".join([first, *(line if line.startswith(" ") else _INDENT + line for line in later)])
