"""Event loops to test on.

A module that imports `event_loop_policy` and has `pytestmark = on_each_loop` runs each of its async tests
on our own loop, on asyncio's and on uvloop; on our own only with ISTHMUS_LOOPS=isthmus, for a second run.
"""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from isthmus.transports.event_loop import EventLoop

# The hook that is to take the fixture's place cannot be had for single modules.
on_each_loop = pytest.mark.filterwarnings("ignore:Overriding the .event_loop_policy. fixture")
PATIENCE = 20.0
"""Seconds after which a test that waits has failed; none depends on how long it really takes."""


class OwnPolicy(asyncio.DefaultEventLoopPolicy):
    """Makes the event loop of `transports.event_loop`."""

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        return EventLoop()


_POLICIES: dict[str, Callable[[], Any]] = {
    "isthmus": OwnPolicy,
    "asyncio": asyncio.DefaultEventLoopPolicy,
    "uvloop": uvloop.EventLoopPolicy,
}


LOOPS = os.environ.get("ISTHMUS_LOOPS", ",".join(_POLICIES)).split(",")


def policy(name: str) -> Any:
    """Return the policy that makes one of `LOOPS`."""
    return _POLICIES[name]()


@pytest.fixture(params=LOOPS)
def event_loop_policy(request: pytest.FixtureRequest) -> Any:
    """Run the test once on each kind of loop."""
    return policy(request.param)


async def until(condition: Callable[..., object], what: str = "") -> None:
    """Wait until `condition` is true; fail with `what` did not happen."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"did not happen: {what or 'the condition'}")
        await asyncio.sleep(0.001)


async def turns(count: int) -> None:
    """Let the loop go round so many times."""
    for _ in range(count):
        await asyncio.sleep(0)


def open_descriptors() -> set[str]:
    """Return the sockets that this process has open."""
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = os.readlink(entry)
        except OSError:
            continue
        if target.startswith("socket:"):
            found.add(target)
    return found


@contextmanager
def nothing_left_open(*, collect: bool = True) -> Iterator[None]:
    """Insist that every socket opened inside is closed at the end.

    To collect the garbage of earlier tests takes long: a loop does it once, before.
    """
    if collect:
        gc.collect()
    before = open_descriptors()
    yield
    after = open_descriptors()
    # uvloop has two of its own, others each time it is started.
    assert len(after) <= len(before), f"left open: {after - before}"
