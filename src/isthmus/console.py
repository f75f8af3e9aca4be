"""What the operator sees: the log on standard error, and a log file.

A line of the console is `LEVEL text`; a log file adds the time in ISO form before it; with JSON both have one
object for each record (`log_lines`). While a gateway runs, both are written in the background (`log_writer`).
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import select
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TextIO

from isthmus.errors import ConfigurationError, IsthmusError
from isthmus.log_lines import JsonLines, Lines
from isthmus.log_writer import Writer

log = logging.getLogger("isthmus")

AREAS = ("access", "config", "security", "services", "span", "transports")
"""What may have a level of its own, and parts of it: `transports.front`."""

_DRAIN_SECONDS = 2.0


class Level(StrEnum):
    """The least that is said."""

    DEBUG = "debug"
    INFO = "info"
    WARN = "warn"
    ERROR = "error"


class Format(StrEnum):
    """How it is said."""

    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Levels:
    """The least that is said: by isthmus as a whole, and by some of its areas."""

    default: Level = Level.INFO
    areas: Mapping[str, Level] = field(default_factory=dict)

    @classmethod
    def parse(cls, words: Sequence[str]) -> Levels:
        """Read `info`, `access=debug`, or several with commas; later ones win.

        Raises `ConfigurationError`.
        """
        default = Level.INFO
        areas: dict[str, Level] = {}
        for word in ",".join(words).split(","):
            area, equals, name = word.strip().rpartition("=")
            try:
                level = Level(name)
            except ValueError:
                choices = ", ".join(Level)
                raise ConfigurationError(f"{name!r} is not a level: {choices}, or AREA=LEVEL") from None
            if not equals:
                default = level
            elif re.fullmatch(rf"({'|'.join(AREAS)})(\.[a-z_]+)*", area):
                areas[area] = level
            else:
                raise ConfigurationError(f"{area!r} is not an area: {', '.join(AREAS)}")
        return cls(default, areas)


_own_levels: set[str] = set()


def start(levels: Level | Levels = Level.INFO, file: Path | None = None, form: Format = Format.TEXT) -> None:
    """Send all logging to standard error and, where `file` is given, to the end of that file as well.

    `levels` apply to isthmus; of other libraries only warnings and errors are shown. Access lines are only
    shown where the area `access`, or everything, has such a level. Called again, it replaces what was set
    before. Raises `ConfigurationError` when `file` cannot be written.
    """
    keep_standard_descriptors()
    if isinstance(levels, Level):
        levels = Levels(levels)
    debug = levels.default is Level.DEBUG
    handlers: list[Sink] = [Console(debug=debug, form=form)]
    handlers += [LogFile(file, form=form)] if file is not None else []
    root = logging.getLogger()
    for handler in _sinks():
        root.removeHandler(handler)
        handler.close()
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(logging.WARNING)
    log.setLevel(_number(levels.default))
    areas = {"access": levels.default if debug else max(levels.default, Level.WARN, key=_number)}
    areas |= levels.areas
    for area in _own_levels - areas.keys():
        logging.getLogger(f"isthmus.{area}").setLevel(logging.NOTSET)
    for area, level in areas.items():
        logging.getLogger(f"isthmus.{area}").setLevel(_number(level))
    _own_levels.clear()
    _own_levels.update(areas)


@contextlib.contextmanager
def in_background() -> Iterator[None]:
    """Inside, logging never blocks: what standard error or the file does not take is kept, up to a limit.

    At the end what waits is written, for two seconds at most.
    """
    sinks = _sinks()
    for sink in sinks:
        sink.writer = Writer(sink.write_late, sink.lost)
    try:
        yield
    finally:
        deadline = time.monotonic() + _DRAIN_SECONDS
        for sink in sinks:
            # One that is stuck stays in the background, or the next line would block after all.
            if sink.writer is not None and sink.writer.stop(max(0.0, deadline - time.monotonic())):
                sink.writer = None


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


class Sink(logging.Handler):
    """Somewhere that lines are written to, now or in the background."""

    def __init__(self) -> None:
        super().__init__()
        self.writer: Writer | None = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record) + "\n"
        except Exception:  # wrong arguments: a bug of ours, which logging tells
            self.handleError(record)
            return
        if self.writer is not None:
            self.writer.put(line)
        else:
            self.write(line)

    def write(self, text: str) -> None:
        """Write `text` now; raises nothing."""
        raise NotImplementedError

    def write_late(self, text: str) -> None:
        """Write `text` in the background, where waiting is no harm; raises nothing."""
        self.write(text)

    def lost(self, count: int) -> str:
        """Return the line that says that so many lines were dropped."""
        text = "%d log lines were dropped: they were not taken fast enough"
        record = logging.LogRecord(log.name, logging.WARNING, __file__, 0, text, (count,), None)
        return self.format(record) + "\n"


class Console(Sink):
    """Writes to whatever standard error is at that moment; colours the level where that is a terminal."""

    def __init__(self, *, debug: bool = False, form: Format = Format.TEXT) -> None:
        super().__init__()
        if form is Format.JSON:
            self.setFormatter(JsonLines(traceback=debug))
        else:
            colours = sys.stderr is not None and has_colours(sys.stderr)
            self.setFormatter(Lines(traceback=debug, colours=colours))

    def write(self, text: str) -> None:
        """Write, and give up on a standard error that nobody reads any more: the gateway's work goes on."""
        stream = sys.stderr
        if stream is None:  # so it is where it was closed before Python started
            return
        try:
            stream.write(text)
            stream.flush()
        except (OSError, ValueError):
            sys.stderr = None

    def write_late(self, text: str) -> None:
        stream = sys.stderr
        if stream is None:
            return
        try:
            descriptor = stream.fileno()
        except (OSError, ValueError, AttributeError):
            self.write(text)
            return
        # Past Python's own buffer, whose lock a thread that is stuck would hold when the process ends.
        try:
            _write_all(descriptor, text.encode(stream.encoding or "utf-8", "backslashreplace"))
        except OSError:
            sys.stderr = None


class LogFile(Sink):
    """Appends to a file; opens it again when it was moved away (logrotate)."""

    def __init__(self, file: Path, *, form: Format = Format.TEXT) -> None:
        super().__init__()
        self._file = file
        self._descriptor = -1
        self._failed = False
        try:
            self._open()
        except OSError as error:
            raise ConfigurationError(
                f"cannot write the log file {file}: {error.strerror}",
                hint="choose a file that you may write to, or leave --log-file out",
            ) from error
        self.setFormatter(JsonLines() if form is Format.JSON else Lines(time=True))

    def emit(self, record: logging.LogRecord) -> None:
        if not getattr(record, "console_only", False):
            super().emit(record)

    def write(self, text: str) -> None:
        """Write, and say on the console, once, that the file is not written any more (a full disk, say)."""
        try:
            self._open_again()
            _write_all(self._descriptor, text.encode("utf-8", "backslashreplace"))
        except OSError:
            if not self._failed:
                self._failed = True
                log.warning(
                    "Unable to write the log file %s",
                    self._file,
                    exc_info=True,
                    extra={"console_only": True},
                )

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        super().close()

    def _open(self) -> None:
        self._descriptor = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)

    def _open_again(self) -> None:
        try:
            there = os.path.samestat(os.stat(self._file), os.fstat(self._descriptor))
        except FileNotFoundError:
            there = False
        if not there:
            old = self._descriptor
            self._open()
            os.close(old)


def _sinks() -> list[Sink]:
    return [handler for handler in logging.getLogger().handlers if isinstance(handler, Sink)]


def _number(level: Level) -> int:
    return logging.getLevelNamesMapping()[level.upper()]


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:  # somebody who shares it made it so
            select.select([], [descriptor], [])


def has_colours(stream: TextIO) -> bool:
    """Tell whether `stream` is a terminal that wants colours (https://no-color.org)."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and stream.isatty()
