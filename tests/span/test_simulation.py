"""Thousands of seeded scenarios between two sessions on the simulated link."""

from __future__ import annotations

import os
import time
from collections import Counter

import pytest
from tests.span.link import Net
from tests.span.scenarios import run

BLOCK = 40
BLOCKS = 40
SOAK_SECONDS = float(os.environ.get("ISTHMUS_SOAK_SECONDS", "0"))


@pytest.mark.parametrize("block", range(BLOCKS))
def test_whatever_the_cuts_streams_are_whole(block: int) -> None:
    for seed in range(block * BLOCK, (block + 1) * BLOCK):
        try:
            run(seed)
        except AssertionError as error:
            error.add_note(f"seed {seed}")
            raise


def test_the_scenarios_reach_what_they_are_for() -> None:
    seen: Counter[str] = Counter()
    for seed in range(100):
        net = run(seed)
        for session in net.world.sessions:
            for name in type(session.counters).__slots__:
                seen[name] += getattr(session.counters, name) > 0
        seen["whole"] += any(flow.whole for flow in net.flows())
        seen["reset by the peer"] += any(flow.code >= 0 for flow in net.flows())
    for name in ("resumes", "joins", "bytes_sent_again", "bytes_twice", "carriers_silent", "resets_sent"):
        assert seen[name] >= 5, seen
    for name in ("resets_received", "frames_forgotten", "whole", "reset by the peer", "carriers_fenced"):
        assert seen[name] >= 5, seen


def share_of_the_link(carriers: int, rate: float, latency: float, size: int) -> float:
    """Return what one stream moves of its carriers' bandwidth, over the second half of `size` bytes."""
    net = Net(1, carriers=carriers, rates=(rate,) * 4, latency=latency)
    net.client.chunk_sizes = (65_536,)
    net.run(lambda: len(net.session.carriers) == carriers, 10)
    net.client.open(size)

    def received() -> int:
        return net.server.flows[1].received if 1 in net.server.flows else 0

    net.run(lambda: received() >= size // 2, 200)
    middle = net.world.now
    net.run(lambda: received() >= size, 200)
    return size / 2 / (net.world.now - middle) / rate


def test_a_window_grows_to_what_the_link_carries() -> None:
    assert share_of_the_link(1, 25e6, 0.05, 60_000_000) >= 0.9


def test_one_stream_uses_all_carriers() -> None:
    one = share_of_the_link(1, 6.25e6, 0.02, 10_000_000)
    assert share_of_the_link(4, 6.25e6, 0.02, 40_000_000) >= 3.5 * one


@pytest.mark.soak
@pytest.mark.skipif(SOAK_SECONDS == 0, reason="ISTHMUS_SOAK_SECONDS is not set")
@pytest.mark.timeout(SOAK_SECONDS + 300)
def test_a_soak_finds_nothing() -> None:
    end = time.monotonic() + SOAK_SECONDS
    seed = 1_000_000
    while time.monotonic() < end:
        try:
            run(seed)
        except AssertionError as error:
            error.add_note(f"seed {seed}")
            raise
        seed += 1
