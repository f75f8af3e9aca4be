"""The token bucket and the layer over it, on a clock of the test's own."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.transports.conformance import MIXED, Recorder
from tests.transports.memory import Watcher, Wire

from isthmus.errors import StreamReset
from isthmus.transports.rate import BURST_SECONDS, PORTION_SECONDS, Bucket, RateLimit, limited

RATES = st.integers(1, 10**9)


# --- the bucket


@given(
    RATES,
    st.lists(st.tuples(st.floats(0, 2), st.integers(0, 10**9)), max_size=60),
)
@settings(max_examples=200, deadline=None)
def test_a_bucket_never_gives_more_than_its_rate(rate: int, takes: list[tuple[float, int]]) -> None:
    """In any stretch of time: the burst and what comes meanwhile."""
    bucket, now = Bucket(rate, 0.0), 0.0
    given_out: list[tuple[float, int]] = []
    for step, most in takes:
        now += step
        taken = bucket.take(most, now)
        assert 0 <= taken <= most
        given_out.append((now, taken))
    burst = max(1.0, rate * BURST_SECONDS)
    for first in range(len(given_out)):
        total = sum(taken for _, taken in given_out[first:])
        assert total <= burst + rate * (now - given_out[first][0]) + 1


@given(RATES, st.integers(1, 10**9))
@settings(max_examples=200, deadline=None)
def test_after_the_wait_there_is_a_portion(rate: int, wanted: int) -> None:
    bucket = Bucket(rate, 0.0)
    bucket.take(10**12, 0.0)
    wait = bucket.wait(wanted)
    taken = bucket.take(wanted, wait)
    assert taken >= min(wanted, max(1, int(rate * PORTION_SECONDS) - 1))
    assert wait <= max(PORTION_SECONDS, 1 / rate) + 1e-9


def test_time_that_goes_back_gives_nothing() -> None:
    bucket = Bucket(1000, 10.0)
    assert bucket.take(10**6, 10.0) == 250
    assert bucket.take(10**6, 5.0) == 0
    assert bucket.take(10**6, 10.1) == 100


# --- the layer


class Application(Watcher):
    def data_received(self, data: memoryview) -> None:
        self.data += data


class Limited:
    """A rate limit over one end of a wire, and what is above and beyond."""

    def __init__(self, rate: int, high: int = 64 * 1024) -> None:
        self.wire = Wire()
        self.rate = rate
        self.far = Application()
        self.above = Recorder()
        self.wire.right.start(self.far)
        self.limit = RateLimit(self.wire.clock.loop, self.wire.left, rate)
        self.limit.set_receiver(self.above)
        self.wire.left.start(self.limit)
        self.limit.set_write_limit(high)

    def call(self, name: str, *arguments: Any) -> None:
        self.above.call(name, *arguments)
        self.wire.settle()

    def advance(self, seconds: float) -> None:
        self.wire.clock.advance(seconds)
        self.wire.settle()

    def run(self, seconds: float, step: float = 0.01) -> None:
        for _ in range(round(seconds / step)):
            self.advance(step)


@pytest.mark.parametrize("chunk", [100, 1460, 65536])
@pytest.mark.parametrize("rate", [1000, 64 * 1024, 1_000_000])
def test_the_rate_is_exact_within_five_percent_over_ten_seconds(rate: int, chunk: int) -> None:
    scene = Limited(rate)
    scene.call("write", bytes(int(rate * BURST_SECONDS)))  # so that the burst of the idle time is gone
    scene.far.data.clear()
    for _ in range(1000):
        while not scene.above.write_paused:
            scene.call("write", bytes(chunk))
        scene.advance(0.01)
    assert len(scene.far.data) == pytest.approx(rate * 10, rel=0.05)


def test_it_wakes_for_portions_not_for_chunks() -> None:
    scene = Limited(100_000)
    wakes = 0
    original = scene.wire.clock.call_later

    def count(*arguments: Any) -> Any:
        nonlocal wakes
        wakes += 1
        return original(*arguments)

    scene.wire.clock.call_later = count  # type: ignore[method-assign, assignment]
    for _ in range(1000):
        while not scene.above.write_paused:
            scene.call("write", bytes(10))
        scene.advance(0.001)
    assert len(scene.far.data) > 100_000
    assert wakes <= 1 / PORTION_SECONDS + 1


def test_what_fits_goes_at_once_and_is_not_copied() -> None:
    scene = Limited(1_000_000)
    data = bytearray(b"at once")
    with pytest.MonkeyPatch.context() as patch:
        seen: list[object] = []
        patch.setattr(scene.wire.left, "write", seen.append)
        scene.limit.write(data)
    assert seen[0] is data
    assert scene.limit.unsent() == 0


@given(
    st.lists(st.binary(max_size=4000), max_size=30),
    st.integers(200, 100_000),
    st.sampled_from(["write_eof", "close"]),
)
@settings(max_examples=60, deadline=None)
def test_every_byte_arrives_in_order_and_then_the_end(pieces: list[bytes], rate: int, end: str) -> None:
    scene = Limited(rate)
    for piece in pieces:
        scene.above.write(memoryview(bytearray(piece)))  # and overwrites it
        scene.wire.settle()
    scene.call(end)
    scene.run(sum(map(len, pieces)) / rate + 1, 0.05)
    assert scene.far.data == b"".join(pieces)
    assert "eof" in scene.far.events
    assert scene.limit.unsent() == 0


def test_what_comes_in_is_not_limited() -> None:
    scene = Limited(1)
    scene.wire.right.write(MIXED[:100_000])
    scene.wire.right.write_eof()
    scene.wire.settle()
    assert scene.above.data == MIXED[:100_000]
    assert scene.above.events == ["made", "eof"]


def test_pause_above_the_mark_and_resume_at_half() -> None:
    scene = Limited(10_000, high=10_000)
    scene.call("write", bytes(2500))
    scene.call("write", bytes(10_000))
    assert scene.above.events == ["made"]
    scene.call("write", b"x")
    assert scene.above.events == ["made", "pause"]
    scene.run(0.4)
    assert scene.above.events == ["made", "pause"]
    scene.run(0.2)
    assert scene.above.events == ["made", "pause", "resume"]


def test_a_peer_that_takes_nothing_holds_no_more_than_the_mark_says() -> None:
    scene = Limited(10**9, high=10_000)
    scene.wire.right.pause_reading()
    written = 0
    while not scene.above.write_paused:
        scene.call("write", bytes(1000))
        written += 1000
    assert written <= 11_000
    assert scene.limit.unsent() == written
    scene.wire.right.resume_reading()
    scene.wire.settle()
    scene.run(0.1)
    assert scene.above.events == ["made", "pause", "resume"]
    assert len(scene.far.data) == written


def test_abort_drops_what_waits_and_rings_no_more() -> None:
    scene = Limited(1000)
    scene.call("write", bytes(10_000))
    scene.call("abort")
    scene.call("write", b"too late")
    scene.run(1)
    assert scene.far.events[-1] == "lost"
    assert isinstance(scene.above.error, StreamReset)
    assert scene.limit.unsent() == 0


def test_a_loss_with_bytes_waiting_is_a_reset() -> None:
    scene = Limited(1000)
    scene.call("write", bytes(10_000))
    scene.limit.connection_lost(None)
    assert isinstance(scene.above.error, StreamReset)


def test_after_close_nothing_is_delivered() -> None:
    scene = Limited(1000)
    scene.call("write", bytes(1000))
    scene.call("close")
    scene.wire.right.write(b"too late")
    scene.wire.settle()
    assert not scene.above.data
    with pytest.raises(RuntimeError):
        scene.limit.write(b"more")
    scene.run(1)
    assert len(scene.far.data) == 1000
    assert scene.far.events[-1] == "eof"


async def test_limited_only_where_there_is_a_rate() -> None:
    wire = Wire()
    assert limited(wire.left, None) is wire.left
    limit = limited(wire.left, 1000)
    above = Recorder()
    limit.set_receiver(above)
    above.connection_made(limit)
    wire.right.start(Application())
    wire.right.write(b"in")
    wire.settle()
    assert above.data == b"in"
    assert limit.info("peername") == wire.left.info("peername")
    await asyncio.sleep(0)
