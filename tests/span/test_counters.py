"""counters.py: every counter counts something."""

from __future__ import annotations

from pathlib import Path

import pytest

from isthmus.span import counters
from isthmus.span.counters import Counters


@pytest.mark.parametrize("name", Counters.__slots__)
def test_every_counter_is_counted_somewhere(name: str) -> None:
    package = Path(counters.__file__).parent
    sources = [path.read_text() for path in package.glob("*.py") if path.stem != "counters"]
    assert any(f"counters.{name} += " in source for source in sources)
    assert getattr(Counters(), name) == 0
