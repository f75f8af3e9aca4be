"""pacing.py: what a carrier is found to move, and how much it keeps in flight for that."""

from __future__ import annotations

import pytest

from isthmus.span.limits import LARGEST_DATA, LEAST_DATA
from isthmus.span.pacing import Pacing


class Way:
    """A way with a rate and a round trip; what is sent waits in its queue."""

    def __init__(self, rate: float, round_trip: float) -> None:
        self.pacing = Pacing(0.0)
        self.pacing.measured(round_trip, 0.0)
        self.rate = rate
        self.round_trip = round_trip
        self.now = 0.0
        self.free_at = 0.0  # when the bottleneck has sent all there is
        self.under_way: list[tuple[float, int]] = []
        self.queue = 0.0

    def run(self, seconds: float, piece: int = 10_000) -> float:
        """Send as much as may be; return the rate at which it was acknowledged."""
        end = self.now + seconds
        moved = 0
        while self.now < end:
            while not self.pacing.full():
                self.pacing.sent(piece, self.now)
                self.free_at = max(self.free_at, self.now) + piece / self.rate
                self.under_way.append((self.free_at + self.round_trip, piece))
            self.queue = self.free_at - self.now
            self.now, size = self.under_way.pop(0)
            self.pacing.delivered(size, self.now)
            moved += size
            if self.pacing.probes():
                self.ping()
        return moved / seconds

    def ping(self) -> None:
        self.pacing.measured(self.round_trip + max(0.0, self.free_at - self.now), self.now)


@pytest.mark.parametrize(
    ("rate", "size"), [(10_000, LEAST_DATA), (2_000_000, 20_000), (1_000_000_000, LARGEST_DATA)]
)
def test_frames_follow_the_rate(rate: int, size: int) -> None:
    pacing = Pacing(0.0)
    now = 0.0
    pacing.sent(1 << 40, now)
    for _ in range(100):
        now += 0.05
        pacing.delivered(int(rate * 0.05), now)
    assert pacing.frame_size == pytest.approx(size, rel=0.05)
    for _ in range(100):
        now += 0.05
        pacing.delivered(int(rate * 0.05) // 100, now)
    assert pacing.frame_size == pytest.approx(min(max(LEAST_DATA, rate * 0.01 / 100), LARGEST_DATA), rel=0.05)


@pytest.mark.parametrize(("rate", "round_trip"), [(25e6, 0.1), (2.5e6, 0.02), (1e8, 0.001), (1e6, 0.3)])
def test_the_way_is_full_and_its_queue_short(rate: float, round_trip: float) -> None:
    way = Way(rate, round_trip)
    way.run(2.0)
    assert way.run(5.0) >= 0.95 * rate
    assert way.queue <= 0.3 * round_trip + 0.04


def test_a_fast_way_is_known_soon_and_a_slow_one_is_not_taken_for_one() -> None:
    fast, slow = Way(1_000_000_000, 0.0002), Way(2_500_000, 0.0002)
    fast.run(0.06)
    assert fast.pacing.frame_size == LARGEST_DATA
    slow.run(0.06)
    assert slow.pacing.rate == 0, "too little came to tell"


def test_a_way_whose_acknowledgements_wait_for_their_time_is_filled_again() -> None:
    """What is in flight has become so little that the peer acknowledges it only by its timer."""
    pacing, now = Pacing(0.0), 0.0
    pacing.measured(0.0002, now)
    for _ in range(400):
        size = max(0, pacing.cap - pacing.in_flight)
        pacing.sent(size, now)
        now += 0.0252
        pacing.delivered(min(size, 1_000), now)  # for a time there is little to send
        pacing.forget(size - min(size, 1_000))
        if pacing.probes():
            pacing.measured(0.0002, now)
    assert pacing.cap < 32 * 1024
    for _ in range(100):
        size = max(0, pacing.cap - pacing.in_flight)
        pacing.sent(size, now)
        now += 0.0252
        pacing.delivered(size, now)
        if pacing.probes():
            pacing.measured(0.0002, now)
    assert pacing.cap >= 32 * 1024


def test_a_way_that_becomes_slower_or_faster_is_followed() -> None:
    way = Way(2e7, 0.05)
    way.run(3.0)
    way.rate = 2e6
    way.run(5.0)
    assert way.pacing.rate == pytest.approx(2e6, rel=0.1)
    way.rate = 2e7
    way.run(5.0)
    assert way.run(2.0) >= 0.9 * 2e7


def test_a_longer_way_is_noticed_when_the_smallest_is_old() -> None:
    way = Way(1e7, 0.02)
    way.run(5.0)
    way.round_trip = 0.1
    way.run(20.0)
    assert way.pacing.round_trip == pytest.approx(0.1, rel=0.1)
    assert way.run(5.0) >= 0.9 * 1e7


def test_a_probe_measures_the_way_without_what_was_in_its_queue() -> None:
    """One that measured some of the queue would raise the cap, and the next would measure more of it."""
    way = Way(2.5e6, 0.02)
    for _ in range(6):
        way.run(10.5, 2_896)
        assert way.pacing.round_trip <= 0.02 + 16_384 / 2.5e6


def test_a_frame_is_no_larger_than_what_may_go() -> None:
    way = Way(1e7, 0.05)
    way.run(5.0)
    pacing = way.pacing
    assert pacing.frame_size == pytest.approx(100_000, rel=0.1)
    pacing.forget(pacing.in_flight)
    assert pacing.next_frame() == pacing.frame_size
    pacing.sent(pacing.cap - 10_000, way.now)
    assert pacing.next_frame() == 10_000
    pacing.sent(9_999, way.now)
    assert pacing.next_frame() == LEAST_DATA


def test_a_probe_lowers_the_cap_until_almost_nothing_is_in_flight() -> None:
    way = Way(1e7, 0.05)
    way.run(5.0)
    usual = way.pacing.cap
    while not way.pacing.probing:
        way.run(0.1)
    assert way.pacing.cap < usual / 2
    while way.pacing.probing:
        before = way.pacing.in_flight
        way.run(0.0001)
    assert before <= 16_384 + 10_000
    way.run(0.5)
    assert way.pacing.cap == pytest.approx(usual, rel=0.1)


def test_when_there_was_nothing_to_send_a_low_rate_says_nothing() -> None:
    way = Way(1e7, 0.02)
    way.run(3.0)
    known = way.pacing.rate
    for _ in range(100):
        way.now += 0.1
        way.pacing.sent(10, way.now)
        way.pacing.limited = True
        way.pacing.delivered(10, way.now)
    assert way.pacing.rate == known


def test_a_way_that_is_often_empty_is_measured_too() -> None:
    pacing = Pacing(0.0)
    pacing.measured(0.0001, 0.0)
    now = 0.0
    for _ in range(1_000):
        now += 0.0001
        pacing.sent(100_000, now)
        pacing.delivered(100_000, now)
    assert pacing.rate == pytest.approx(1e9, rel=0.1)
    assert pacing.frame_size == LARGEST_DATA


def test_what_is_forgotten_is_not_in_flight() -> None:
    pacing = Pacing(0.0)
    pacing.sent(pacing.cap, 0.0)
    assert pacing.full()
    pacing.forget(1)
    assert not pacing.full()
    assert pacing.rate == 0


def test_what_arrived_is_in_flight_no_more_before_it_is_acknowledged() -> None:
    pacing = Pacing(0.0)
    pacing.sent(50_000, 0.0)
    assert pacing.arrived(30_000, 1.0)
    assert pacing.in_flight == 20_000
    pacing.delivered(20_000, 1.0)
    assert pacing.in_flight == 20_000, "it was among what had arrived"
    pacing.delivered(25_000, 1.0)
    assert pacing.in_flight == 5_000
    pacing.forget(5_000)
    assert pacing.in_flight == 0
    assert pacing.arrived(50_000, 2.0)
    assert pacing.in_flight == 0


def test_what_cannot_have_arrived_is_noticed() -> None:
    pacing = Pacing(0.0)
    pacing.sent(100, 0.0)
    assert not pacing.arrived(101, 1.0)
    assert pacing.arrived(100, 1.0)
    assert not pacing.arrived(99, 1.0)
    assert pacing.in_flight == 0


def test_the_rate_is_that_of_what_arrives() -> None:
    """Not of the acknowledgements, which wait here for another carrier and come all at once."""
    pacing = Pacing(0.0)
    pacing.measured(0.02, 0.0)
    for turn in range(1, 200):
        now = turn * 0.01
        pacing.sent(10_000, now)
        assert pacing.arrived(turn * 10_000, now)
        if turn % 50 == 0:
            pacing.delivered(500_000, now)
    assert pacing.rate == pytest.approx(1e6, rel=0.2)
