"""Every scheme against the contract of `transports.base`, over sockets, on each event loop."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.transports.conformance import Conformance, Stack
from tests.transports.loops import event_loop_policy, nothing_left_open, on_each_loop

__all__ = ["event_loop_policy"]
pytestmark = on_each_loop

SCHEMES = ("tcp", "unix", "ssl", "ws", "wss-aiofastnet", "wss-layer", "ws-span", "wss-span")


@pytest.fixture(params=SCHEMES)
async def stack(request: pytest.FixtureRequest) -> AsyncIterator[Stack]:
    # Not `tmp_path`: the path of a unix socket has at most 107 bytes.
    with tempfile.TemporaryDirectory() as folder, nothing_left_open():
        made = Stack(request.param, Path(folder))
        yield made
        await made.shut()


class TestEveryScheme(Conformance):
    """The rules, for each scheme."""
