"""scheduler.py: whose turn it is."""

from __future__ import annotations

from collections import Counter

from isthmus.span.limits import Budget
from isthmus.span.receive_side import ReceiveSide
from isthmus.span.scheduler import Scheduler
from isthmus.span.send_side import SendSide
from isthmus.span.stream import Stream


def stream(number: int) -> Stream:
    budget = Budget(0)
    return Stream(number, ours=True, receive=ReceiveSide(budget, 0), send=SendSide(0), send_budget=budget)


def turns(scheduler: Scheduler, count: int, sizes: dict[int, int], quantum: int) -> list[int]:
    """Let each stream send frames of its size, again and again."""
    order = []
    for _ in range(count):
        each = scheduler.next(quantum)
        assert each is not None
        each.deficit -= sizes[each.id]
        order.append(each.id)
    return order


def test_turns_are_fair_in_bytes() -> None:
    scheduler = Scheduler()
    for number in (1, 2, 3):
        scheduler.add(stream(number))
    sizes = {1: 1_000, 2: 4_000, 3: 16_000}
    sent: Counter[int] = Counter()
    for number in turns(scheduler, 2_000, sizes, 16_000):
        sent[number] += sizes[number]
    assert max(sent.values()) <= 1.1 * min(sent.values())


def test_an_idle_stream_goes_before_those_that_always_have_more() -> None:
    scheduler = Scheduler()
    for number in range(1, 9):
        scheduler.add(stream(number))
    sizes = dict.fromkeys(range(10), 16_000)
    turns(scheduler, 20, sizes, 16_000)
    idle = stream(9)
    scheduler.add(idle)
    scheduler.add(idle)
    assert len(scheduler) == 9
    assert turns(scheduler, 1, sizes, 16_000) == [9]
    assert 9 not in turns(scheduler, 7, sizes, 16_000)


def test_a_stream_that_comes_back_at_once_does_not_starve_others() -> None:
    scheduler = Scheduler()
    for number in (1, 2):
        scheduler.add(stream(number))
    sizes = {1: 16_000, 2: 16_000}
    order = []
    for _ in range(100):
        each = scheduler.next(16_000)
        assert each is not None
        order.append(each.id)
        each.deficit -= sizes[each.id]
        if each.id == 1:  # it has sent all it had, and has more right away
            scheduler.settle(each)
            scheduler.add(each)
    assert min(Counter(order).values()) >= 40


def test_streams_leave() -> None:
    scheduler, other = Scheduler(), Scheduler()
    one, two = stream(1), stream(2)
    scheduler.add(one)
    scheduler.add(two)
    other.add(one)
    other.remove(one)
    assert (len(scheduler), len(other)) == (2, 0)
    scheduler.remove(one)
    assert scheduler.next(1) is two
    assert scheduler.clear() == [two]
    assert scheduler.next(1) is None
    assert two.scheduler is None


def test_what_goes_again_goes_first_and_then_waits_its_turn() -> None:
    scheduler = Scheduler()
    streams = [stream(number) for number in (1, 2, 3)]
    for each in streams:
        each.send.write(bytes(100))
        scheduler.add(each)
    turns(scheduler, 6, dict.fromkeys((1, 2, 3), 10), 10)
    streams[2].send.take(20, 1 << 20, 0)
    streams[2].send.lose(0)
    scheduler.lost()
    assert len(scheduler) == 3
    for _ in range(2):
        assert scheduler.next(10) is streams[2]
        assert not scheduler.is_fresh(streams[2])
        streams[2].send.take(10, 1 << 20, 1)
    assert 1 <= turns(scheduler, 6, dict.fromkeys((1, 2, 3), 10), 10).count(3) <= 2
    streams[2].send.lose(1)
    scheduler.remove(streams[2])
    scheduler.add(streams[2])
    assert scheduler.next(10) is streams[2]
