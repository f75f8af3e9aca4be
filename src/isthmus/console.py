"""What the operator sees: the log on standard error, and a log file.

A line of the console is `LEVEL text`; a log file adds the time in ISO form before it. A record is one line.
Where its text has more, the later ones are indented, so that nothing a peer sends can pass for a record of
its own; for the same reason control characters are written as `\\x1b`.
"""

from __future__ import annotations

import logging
import os
import sys
from datetime import datetime
from enum import StrEnum
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import TextIO

from isthmus.errors import ConfigurationError, IsthmusError

log = logging.getLogger("isthmus")

_INDENT = "    "
_NAMES = {logging.WARNING: "WARN", logging.CRITICAL: "ERROR"}
_COLOURS = {logging.DEBUG: "2", logging.INFO: "32", logging.WARNING: "33", logging.ERROR: "1;31"}
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\t\n"}


class Level(StrEnum):
    """The least that is said."""

    DEBUG = "debug"
    INFO = "info"
    WARN = "warn"
    ERROR = "error"


def start(level: Level = Level.INFO, file: Path | None = None) -> None:
    """Send all logging to standard error and, where `file` is given, to the end of that file as well.

    `level` applies to isthmus; of other libraries only warnings and errors are shown. Called again, it
    replaces what was set before. Raises `ConfigurationError` when `file` cannot be written.
    """
    keep_standard_descriptors()
    debug = level is Level.DEBUG
    handlers: list[logging.Handler] = [Console(debug=debug)]
    handlers += [LogFile(file)] if file is not None else []
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler, (Console, LogFile)):
            root.removeHandler(handler)
            handler.close()
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(logging.WARNING)
    log.setLevel(logging.getLevelNamesMapping()[level.upper()])


def report(error: IsthmusError) -> None:
    """Log what a user has to know of `error`: a block for each problem, a line for all, what to do next."""
    problems = error.problems if isinstance(error, ConfigurationError) else ()
    for problem in problems:
        log.error("%s", problem)
    log.error("%s; nothing was started" if problems else "%s", error)
    if error.hint:
        log.error("%s", error.hint)
    log.debug("The cause:", exc_info=error)


def keep_standard_descriptors() -> None:
    """Open the null device for each of the descriptors 0, 1 and 2 that is closed.

    Otherwise the next socket gets that number, and whatever is printed goes to a peer.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


class Lines(logging.Formatter):
    """Formats a record as `LEVEL text`.

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
        level = _NAMES.get(record.levelno, record.levelname)
        if self._colours and (colour := _COLOURS.get(record.levelno)):
            level = f"\x1b[{colour}m{level}\x1b[0m"
        if self._time:
            when = datetime.fromtimestamp(record.created).astimezone()
            level = f"{when.isoformat(timespec='milliseconds')} {level}"
        return f"{level} {_shown(text)}"


def _shown(text: str) -> str:
    first, *later = text.rstrip("\n").translate(_CONTROL).split("\n")
    return "\n".join([first, *(line if line.startswith(" ") else _INDENT + line for line in later)])


class Console(logging.StreamHandler[TextIO]):
    """Writes to whatever standard error is at that moment; colours the level where that is a terminal."""

    def __init__(self, *, debug: bool = False) -> None:
        super().__init__(sys.stderr)
        self.setFormatter(Lines(traceback=debug, colours=sys.stderr is not None and has_colours(sys.stderr)))

    def emit(self, record: logging.LogRecord) -> None:
        if sys.stderr is not None:  # it is None where it was closed before Python started
            self.stream = sys.stderr
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Give up on a standard error that nobody reads any more: the gateway's work goes on."""
        if isinstance(sys.exc_info()[1], OSError) or self.stream.closed:
            sys.stderr = None
        else:
            super().handleError(record)


class LogFile(WatchedFileHandler):
    """Appends to a file with the time of each record; opens it again when it was moved away (logrotate)."""

    def __init__(self, file: Path) -> None:
        try:
            super().__init__(file, encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise ConfigurationError(
                f"cannot write the log file {file}: {error.strerror}",
                hint="choose a file that you may write to, or leave --log-file out",
            ) from error
        self.setFormatter(Lines(time=True))
        self._file = file
        self._failed = False

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "console_only", False):
            return
        try:
            super().emit(record)
        except OSError:  # the file was moved away, and its folder too
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Say on the console, once, that the file is not written any more (a full disk, say)."""
        if not self._failed:
            self._failed = True
            log.warning(
                "Unable to write the log file %s", self._file, exc_info=True, extra={"console_only": True}
            )


def has_colours(stream: TextIO) -> bool:
    """Tell whether `stream` is a terminal that wants colours (https://no-color.org)."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and stream.isatty()
