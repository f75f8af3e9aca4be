"""When a loop polls before it sleeps, and that what it polls in vain is bounded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from isthmus.transports.spinning import LONGEST, Spinning

EARNS_A_POLL = 64
AT_MOST_KEPT = 4 * EARNS_A_POLL
BRIEF, LONG_WORK = 10e-6, 60e-6
SHORT, LONG = LONGEST / 2, LONGEST * 2


class Loop:
    """A loop that works and waits; it knows how much it would poll."""

    def __init__(self, spinning: Spinning) -> None:
        self.spinning = spinning
        self.now = 1000.0
        self.in_vain = 0

    def turn(self, work: float, wait: float) -> bool:
        """Return whether the wait began with polling."""
        self.now += work
        poll = self.spinning.begin(self.now)
        assert poll in (0.0, LONGEST)
        self.now += wait
        self.spinning.end(self.now)
        self.in_vain += poll > 0 and wait >= LONGEST
        return poll > 0

    def turns(self, count: int, work: float, wait: float) -> int:
        """Return how many of them began with polling."""
        return sum(self.turn(work, wait) for _ in range(count))


def test_short_waits_earn_it() -> None:
    loop = Loop(Spinning())
    assert not loop.turn(0.0, SHORT), "nobody knows yet whether it was brief"
    assert loop.turns(EARNS_A_POLL, BRIEF, SHORT) == 0
    assert loop.turns(1000, BRIEF, SHORT) == 1000


def test_a_poll_in_vain_costs_what_earned_it() -> None:
    loop = Loop(Spinning())
    loop.turns(EARNS_A_POLL + 1, BRIEF, SHORT)
    assert loop.turn(BRIEF, LONG)
    assert loop.turns(EARNS_A_POLL, BRIEF, SHORT) == 0
    assert loop.turn(BRIEF, SHORT)


def test_what_is_remembered_is_bounded() -> None:
    loop = Loop(Spinning())
    loop.turns(100_000, BRIEF, SHORT)
    assert loop.turns(1000, BRIEF, LONG) == AT_MOST_KEPT // EARNS_A_POLL


def test_long_waits_and_much_work_never_poll() -> None:
    loop = Loop(Spinning())
    assert loop.turns(1000, BRIEF, LONG) == 0
    assert loop.turns(1000, LONG_WORK, SHORT) == 0
    loop.turns(1000, BRIEF, SHORT)
    assert loop.turns(1000, LONG_WORK, SHORT) == 0, "bulk that follows a conversation"


def test_one_that_may_not_never_does() -> None:
    spinning = Spinning(0.0)
    now = 0.0
    for _ in range(1000):
        assert spinning.begin(now + BRIEF) == 0.0
        now += 2 * BRIEF
        spinning.end(now)


WORK = st.sampled_from([0.0, BRIEF, LONG_WORK])
WAIT = st.sampled_from([0.0, SHORT, LONG, 3600.0])


@given(st.lists(st.tuples(st.integers(1, 300), WORK, WAIT), max_size=30))
def test_what_is_polled_in_vain_is_a_part_of_what_was_short(turns: list[tuple[int, float, float]]) -> None:
    loop = Loop(Spinning())
    short = 0
    for count, work, wait in turns:
        for _ in range(count):
            loop.turn(work, wait)
            short += wait < LONGEST
            assert loop.in_vain * EARNS_A_POLL <= short
