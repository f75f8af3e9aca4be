"""A record as a line, for people and for machines."""

from __future__ import annotations

import json
import logging
import sys
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.log_lines import JsonLines, Lines, area_of


def record(
    text: str, *arguments: object, name: str = "isthmus", level: int = logging.INFO, **more: object
) -> logging.LogRecord:
    made = logging.LogRecord(name, level, __file__, 1, text, arguments, None)
    made.__dict__.update(more)
    return made


@pytest.mark.parametrize(
    ("name", "area"),
    [
        ("isthmus", "isthmus"),
        ("isthmus.access", "access"),
        ("isthmus.transports.front", "transports.front"),
        ("asyncio", "asyncio"),
    ],
)
def test_areas(name: str, area: str) -> None:
    assert area_of(record("x", name=name)) == area
    assert json.loads(JsonLines().format(record("x", name=name)))["area"] == area


def test_an_access_line_says_so() -> None:
    assert Lines().format(record("proxy-1 closed", name="isthmus.access")) == "INFO access proxy-1 closed"


def test_json_has_what_the_record_has() -> None:
    made = record("took %d", 3, level=logging.WARNING, fields={"service": "proxy-1", "received": 7})
    found = json.loads(JsonLines().format(made))
    assert datetime.fromisoformat(found.pop("time")).tzinfo is not None
    assert found == {
        "level": "WARN",
        "area": "isthmus",
        "message": "took 3",
        "service": "proxy-1",
        "received": 7,
    }


@pytest.mark.parametrize("traceback", [False, True])
def test_json_has_the_error(traceback: bool) -> None:
    try:
        raise RuntimeError("deep")
    except RuntimeError:
        made = record("failed", exc_info=sys.exc_info())
    found = json.loads(JsonLines(traceback=traceback).format(made))
    assert found["error"] == "RuntimeError: deep"
    assert ("traceback" in found) is traceback


@given(st.text())
def test_json_is_one_line_of_ascii_whatever_a_peer_sends(text: str) -> None:
    line = JsonLines().format(record("%s", text))
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["message"] == text


@given(st.text())
def test_text_never_begins_a_line_that_it_should_not(text: str) -> None:
    first, *later = Lines().format(record("%s", text)).split("\n")
    assert first.startswith("INFO ")
    assert all(line.startswith(" ") for line in later)
