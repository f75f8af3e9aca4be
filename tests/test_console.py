"""What is written to standard error and to a log file."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from isthmus import console
from isthmus.console import Format, Level, Levels
from isthmus.errors import ConfigurationError, IsthmusError, Problem

log = logging.getLogger("isthmus")

pytestmark = pytest.mark.usefixtures("restored_logging")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_line_is_the_level_and_the_text(capsys: pytest.CaptureFixture[str]) -> None:
    console.start()
    log.debug("not shown")
    log.info("Starting server")
    log.warning("no check of %s", "certificates")
    log.error("Unable to bind")
    log.critical("worse")
    assert capsys.readouterr() == (
        "",
        "INFO Starting server\nWARN no check of certificates\nERROR Unable to bind\nERROR worse\n",
    )


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        (Level.DEBUG, ["DEBUG d", "INFO i", "WARN w", "ERROR e"]),
        (Level.INFO, ["INFO i", "WARN w", "ERROR e"]),
        (Level.WARN, ["WARN w", "ERROR e"]),
        (Level.ERROR, ["ERROR e"]),
    ],
)
def test_levels(level: Level, shown: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    console.start(level)
    for speak, text in ((log.debug, "d"), (log.info, "i"), (log.warning, "w"), (log.error, "e")):
        speak(text)
    assert capsys.readouterr().err.splitlines() == shown


def test_of_other_libraries_only_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    console.start(Level.DEBUG)
    logging.getLogger("asyncio").info("Using selector")
    logging.getLogger("asyncio").warning("slow")
    assert capsys.readouterr().err == "WARN slow\n"


def test_starting_again_replaces(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    console.start(Level.INFO, tmp_path / "first.log")
    console.start(Level.INFO, tmp_path / "second.log")
    log.info("once")
    assert capsys.readouterr().err == "INFO once\n"
    assert (tmp_path / "first.log").read_text() == ""
    assert "once" in (tmp_path / "second.log").read_text()


def test_later_lines_are_indented_once(capsys: pytest.CaptureFixture[str]) -> None:
    console.start()
    log.error("%s", Problem("a.xml", 3, "service", "is wrong", "this", "that"))
    log.info("path /x\nINFO Stopped server")
    assert capsys.readouterr().err == (
        "ERROR a.xml:3: <service>: is wrong\n    allowed: this\n    did you mean: that\n"
        "INFO path /x\n    INFO Stopped server\n"
    )


@pytest.mark.parametrize("control", ["\x1b[2J", "\r", "\x00", "\x7f", "\x9b31m", "\x85"])
def test_control_characters_are_written_out(control: str, capsys: pytest.CaptureFixture[str]) -> None:
    console.start()
    log.info("GET /%s", control)
    written = capsys.readouterr().err
    assert written.rstrip("\n").isprintable()
    assert f"\\x{ord(control[0]):02x}" in written


def test_colours_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    console.start()
    log.info("hello")
    assert terminal.getvalue() == "\x1b[32mINFO\x1b[0m hello\n"

    monkeypatch.setenv("NO_COLOR", "1")
    console.start()
    log.info("plain")
    assert terminal.getvalue().endswith("\nINFO plain\n")


def _fail() -> None:
    try:
        raise RuntimeError("deep")
    except RuntimeError:
        log.exception("internal error")


def test_a_traceback_only_with_debug(capsys: pytest.CaptureFixture[str]) -> None:
    console.start()
    _fail()
    assert capsys.readouterr().err == "ERROR internal error (RuntimeError: deep)\n"

    console.start(Level.DEBUG)
    _fail()
    first, *later = capsys.readouterr().err.splitlines()
    assert first == "ERROR internal error"
    assert "Traceback" in later[0]
    assert all(line.startswith("  ") for line in later)


def test_the_file_has_time_and_traceback(tmp_path: Path) -> None:
    file = tmp_path / "gateway.log"
    file.write_text("kept\n")
    console.start(Level.INFO, file)
    _fail()
    kept, first, *later = file.read_text().splitlines()
    assert kept == "kept"
    when, level, text = first.split(" ", 2)
    assert datetime.fromisoformat(when).tzinfo is not None
    assert (level, text) == ("ERROR", "internal error")
    assert "Traceback" in later[0]


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot write the log file .*: No such file") as caught:
        console.start(Level.INFO, tmp_path / "missing" / "gateway.log")
    assert "--log-file" in caught.value.hint


def test_a_file_that_was_moved_away_is_made_again(tmp_path: Path) -> None:
    file = tmp_path / "gateway.log"
    console.start(Level.INFO, file)
    log.info("before")
    file.rename(tmp_path / "gateway.log.1")
    log.info("after")
    assert "before" in (tmp_path / "gateway.log.1").read_text()
    assert "after" in file.read_text()


def test_a_file_that_fails_later_is_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    console.start(Level.INFO, folder / "gateway.log")
    (folder / "gateway.log").unlink()
    folder.rmdir()
    log.info("one")
    log.info("two")
    told = capsys.readouterr().err
    assert told.count("Unable to write the log file") == 1
    assert "INFO one\n" in told
    assert "INFO two\n" in told


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    console.start(Level.INFO, Path("/dev/full"))
    log.info("one")
    log.info("two")
    assert capsys.readouterr().err.count("WARN Unable to write the log file /dev/full") == 1


def test_report(capsys: pytest.CaptureFixture[str]) -> None:
    console.start()
    problems = [Problem("a.xml", 1, "x", "is odd"), Problem("a.xml", 2, "y", "is odder", allowed="even")]
    console.report(ConfigurationError("cannot use a.xml: 2 problems", problems))
    console.report(IsthmusError("it failed", hint="try again"))
    assert capsys.readouterr().err.splitlines() == [
        "ERROR a.xml:1: <x>: is odd",
        "ERROR a.xml:2: <y>: is odder",
        "    allowed: even",
        "ERROR cannot use a.xml: 2 problems; nothing was started",
        "ERROR it failed",
        "ERROR try again",
    ]


_SPEAK = """
import logging, os, socket, sys
from isthmus import console
console.start()
for number in range(3):
    logging.getLogger("isthmus").info("line %d", number)
with socket.socket() as first:
    print(first.fileno() > 2)
"""


def _speak(redirection: str) -> subprocess.CompletedProcess[str]:
    command = f"\"{sys.executable}\" -c '{_SPEAK}' {redirection}"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        ["sh", "-c", command], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.skipif(os.name != "posix", reason="needs sh")
@pytest.mark.parametrize("redirection", ["2>&-", "<&- 2>&-", "2>/dev/full"])
def test_a_standard_error_that_takes_nothing_stops_nothing(redirection: str) -> None:
    ended = _speak(redirection)
    assert (ended.returncode, ended.stdout) == (0, "True\n")


@pytest.mark.skipif(os.name != "posix", reason="needs sh")
def test_a_standard_error_that_nobody_reads_stops_nothing() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        ended = subprocess.run(
            [sys.executable, "-c", _SPEAK],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=writing,
            timeout=60,
        )
    finally:
        os.close(writing)
    assert (ended.returncode, ended.stdout) == (0, b"True\n")


# --- levels of areas


@pytest.mark.parametrize(
    ("words", "levels"),
    [
        (["info"], Levels()),
        (["debug"], Levels(Level.DEBUG)),
        (["warn,access=info"], Levels(Level.WARN, {"access": Level.INFO})),
        (
            ["access=info", "transports.front=debug"],
            Levels(Level.INFO, {"access": Level.INFO, "transports.front": Level.DEBUG}),
        ),
        (["info, error"], Levels(Level.ERROR)),
    ],
)
def test_levels_are_read(words: list[str], levels: Levels) -> None:
    assert Levels.parse(words) == levels


@pytest.mark.parametrize("word", ["loud", "", "acess=info", "access=loud", "access", "=info", "access.=info"])
def test_levels_that_are_wrong(word: str) -> None:
    with pytest.raises(ConfigurationError, match=r"is not a(n area| level)"):
        Levels.parse([word])


def test_an_area_has_its_own_level(capsys: pytest.CaptureFixture[str]) -> None:
    front, dial = (logging.getLogger(f"isthmus.transports.{name}") for name in ("front", "dial"))
    console.start(Levels.parse(["warn,transports.front=debug"]))
    front.debug("shown")
    dial.info("not shown")
    console.start()
    front.debug("not any more")
    dial.info("now")
    assert capsys.readouterr().err == "DEBUG shown\nINFO now\n"


@pytest.mark.parametrize(
    ("words", "shown"), [("info", False), ("debug", True), ("access=info", True), ("error", False)]
)
def test_access_lines_are_only_shown_when_asked_for(
    words: str, shown: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    console.start(Levels.parse([words]))
    logging.getLogger("isthmus.access").info("proxy-1 closed")
    assert capsys.readouterr().err == ("INFO access proxy-1 closed\n" if shown else "")


def test_json(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    console.start(Level.INFO, tmp_path / "log", Format.JSON)
    log.info("one\ntwo")
    written = capsys.readouterr().err
    assert written == (tmp_path / "log").read_text()
    assert json.loads(written)["message"] == "one\ntwo"


# --- in the background


def test_in_the_background_all_is_written(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    console.start(Level.INFO, tmp_path / "log")
    with console.in_background():
        for number in range(1000):
            log.info("line %d", number)
    log.info("after")
    lines = [f"INFO line {number}" for number in range(1000)] + ["INFO after"]
    assert capsys.readouterr().err.splitlines() == lines
    assert [line.split(" ", 1)[1] for line in (tmp_path / "log").read_text().splitlines()] == lines


_STUCK = """
import logging, sys, time
from isthmus import console
console.start()
began = time.monotonic()
with console.in_background():
    for number in range(100_000):
        logging.getLogger("isthmus").info("line %d", number)
    print("through", flush=True)
    sys.stdin.readline()
    logging.getLogger("isthmus").info("last")
"""


@pytest.mark.skipif(os.name != "posix", reason="needs a pipe")
@pytest.mark.parametrize("read_at_last", [False, True])
def test_a_standard_error_that_is_full_stops_nothing(read_at_last: bool) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", _STUCK],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline() == b"through\n"
        process.stdin.close()
        if read_at_last:
            told = process.stderr.read().decode()
            assert "log lines were dropped" in told
        assert process.wait(60) == 0
