"""docs/flow.md names places in the code: each must exist."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

FLOW = Path(__file__).parent.parent / "docs" / "flow.md"
PLACE = re.compile(r"`((?:transports|services|websocket|span)\.[a-z_]+\.[A-Za-z_.]+)`")
OPTIONS = (FLOW.parent / "configuration.md").read_text()
NAMES = sorted({name for name in PLACE.findall(FLOW.read_text()) if f"`{name}`" not in OPTIONS})


def test_the_flow_names_the_code() -> None:
    assert len(NAMES) > 20


@pytest.mark.parametrize("name", NAMES)
def test_each_place_that_the_flow_names_exists(name: str) -> None:
    package, module, *attributes = name.split(".")
    place = importlib.import_module(f"isthmus.{package}.{module}")
    if hasattr(place, "__path__"):
        module, *attributes = f"{module}.{attributes[0]}", *attributes[1:]
        place = importlib.import_module(f"isthmus.{package}.{module}")
    for attribute in attributes:
        place = getattr(place, attribute)
