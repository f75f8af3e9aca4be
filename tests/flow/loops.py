"""The event loop of flow tests: our own; in a long run (ISTHMUS_SOAK_SECONDS) the others too.

What depends on the loop is below the flow, where `tests/transports` tries all of them each time.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from tests.transports.loops import LOOPS, policy

_LONG = float(os.environ.get("ISTHMUS_SOAK_SECONDS", "0")) > 0


@pytest.fixture(params=LOOPS if _LONG else LOOPS[:1])
def event_loop_policy(request: pytest.FixtureRequest) -> Any:
    """Run the test once on each of these loops."""
    return policy(request.param)
