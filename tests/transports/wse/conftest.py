"""What the tests of WebSocket emulation on the event loop share."""

from __future__ import annotations

import pytest
from tests.transports.span.world import World


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Return a clock that stands in the place of the loop's and the process's own."""
    return World(monkeypatch)
