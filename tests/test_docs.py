"""docs/flow.md names places in the code: each must exist."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

FLOW = Path(__file__).parent.parent / "docs" / "flow.md"
NAMES = sorted(
    set(re.findall(r"`((?:transports|services|websocket)\.[a-z_]+\.[A-Za-z_.]+)`", FLOW.read_text()))
)


def test_the_flow_names_the_code() -> None:
    assert len(NAMES) > 20


@pytest.mark.parametrize("name", NAMES)
def test_each_place_that_the_flow_names_exists(name: str) -> None:
    package, module, *attributes = name.split(".")
    place = importlib.import_module(f"isthmus.{package}.{module}")
    for attribute in attributes:
        place = getattr(place, attribute)
