"""docs/wse.md is true: what it shows loads, and its tables are what the code has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from isthmus.config import load
from isthmus.config.model import AcceptOptions, ConnectOptions
from isthmus.transports import fallback
from isthmus.wse.encodings import ENCODINGS

PROJECT = Path(__file__).parents[1]
GUIDE = (PROJECT / "docs" / "wse.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("text", re.findall(r"^```toml\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL))
def test_each_configuration_loads(text: str, tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(text)
    assert not load(file).warnings


def test_what_counts_as_blocked() -> None:
    said = GUIDE.partition("What counts as blocked: ")[2].partition(" a 403 with a page")[0]
    assert {int(number) for number in re.findall(r"\d+", said)} == {200, *fallback._OF_A_MIDDLEBOX}


def test_values_of_fallback() -> None:
    values = re.findall(r"^\| `([a-z]+)` \| ", GUIDE, re.MULTILINE)
    assert values == ["auto", "never", "streaming", "short"]
    for value in values:
        assert ConnectOptions.model_validate({"ws.fallback": value}).fallback == value


def test_defaults() -> None:
    options = AcceptOptions()
    shown = dict(
        re.findall(r"^\| [^|]+ \| `(ws\.emulation[a-z.]*)`[^|]* \| ([^|]+) \|$", GUIDE, re.MULTILINE)
    )
    assert {name: value.strip("` ") for name, value in shown.items()} == {
        "ws.emulation": options.emulation,
        "ws.emulation.maximum": str(options.emulation_maximum),
        "ws.emulation.timeout": f"{options.emulation_timeout:g} s",
        "ws.emulation.heartbeat": f"{options.emulation_heartbeat:g} s",
    }


def test_encodings() -> None:
    said = GUIDE.partition("encodings are spoken")[2].partition("Realms")[0]
    assert {name[1:] for name in re.findall(r"`(c[a-z]+)`", said)} == set(ENCODINGS)


def test_the_line_of_the_log() -> None:
    source = (PROJECT / "src" / "isthmus" / "transports" / "fallback.py").read_text()
    line = re.search(
        r"^INFO (.*): no WebSocket gets through (.*); it is (.*), with a long answer$", GUIDE, re.M
    )
    assert line is not None
    assert f"no WebSocket gets through%s; it is {line[3]}, with %s" in source
