"""The idlest of many things, however they are used: against a model that looks at all of them each time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.services.idle import IdleQueue


class Thing:
    def __init__(self, at: float) -> None:
        self.last_active = at
        self.ended = False


def test_an_empty_queue() -> None:
    queue: IdleQueue[Thing] = IdleQueue()
    assert queue.idlest() is None
    assert len(queue) == 0


@given(
    st.lists(st.tuples(st.sampled_from(["add", "use", "end", "idlest"]), st.integers(0, 30)), max_size=200)
)
def test_the_idlest_is_exact(steps: list[tuple[str, int]]) -> None:
    queue: IdleQueue[Thing] = IdleQueue()
    things: list[Thing] = []
    now = 0.0
    for step, which in steps:
        now += 1
        if step == "add":
            things.append(Thing(now))
            queue.add(things[-1])
        elif things and step == "use":
            things[which % len(things)].last_active = now
        elif things and step == "end":
            thing = things.pop(which % len(things))
            thing.ended = True
            queue.ended(thing)
        else:
            assert queue.idlest() is min(things, key=lambda each: each.last_active, default=None)
        assert len(queue) == len(things)


def test_what_has_ended_is_let_go() -> None:
    queue: IdleQueue[Thing] = IdleQueue()
    for number in range(10_000):
        thing = Thing(float(number))
        queue.add(thing)
        thing.ended = True
        queue.ended(thing)
    assert len(queue._heap) < 200


@pytest.mark.parametrize("rounds", [10])
def test_uses_cost_nothing_until_somebody_asks(rounds: int) -> None:
    queue: IdleQueue[Thing] = IdleQueue()
    things = [Thing(0.0) for _ in range(100)]
    for thing in things:
        queue.add(thing)
    for turn in range(rounds):
        for thing in things:
            thing.last_active = turn + 1.0
    assert all(known == 0.0 for known, _, _ in queue._heap)
    assert queue.idlest() in things
    assert len(queue._heap) == 100
