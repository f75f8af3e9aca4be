"""stream.py: how much may be stored, and what may be sent."""

from __future__ import annotations

import pytest

from isthmus.span.limits import EARLY_DATA, GUARANTEED_WINDOW, LARGEST_STORE, Budget
from isthmus.span.receive_side import ReceiveSide
from isthmus.span.send_side import SendSide
from isthmus.span.stream import Stream


def stream(limit: int, budget: Budget, *, ours: bool = True, opened: bool = True) -> Stream:
    made = Stream(1, ours=ours, receive=ReceiveSide(Budget(0), 0), send=SendSide(limit), send_budget=budget)
    made.opened = opened
    return made


@pytest.mark.parametrize(
    ("limit", "room"),
    [(0, GUARANTEED_WINDOW), (100_000, 100_000), (1 << 62, LARGEST_STORE)],
)
def test_the_store_follows_the_limit_of_the_peer(limit: int, room: int) -> None:
    assert stream(limit, Budget(1 << 30)).room() == room


def test_the_store_is_what_the_budget_has_left() -> None:
    budget = Budget(100_000)
    one, two = stream(1 << 20, budget), stream(1 << 20, budget)
    assert one.room() == GUARANTEED_WINDOW + 100_000
    one.send.write(bytes(GUARANTEED_WINDOW + 60_000))
    one.charge()
    assert (one.room(), two.room()) == (40_000, GUARANTEED_WINDOW + 40_000)
    two.send.write(bytes(GUARANTEED_WINDOW + 70_000))
    two.charge()
    assert (one.room(), two.room()) == (0, 0)
    assert budget.used == 130_000
    one.drop()
    two.drop()
    assert budget.used == 0


@pytest.mark.parametrize(
    ("ours", "opened", "limit"), [(True, False, EARLY_DATA), (True, True, 1 << 20), (False, False, 0)]
)
def test_what_may_be_sent_before_opened(ours: bool, opened: bool, limit: int) -> None:
    made = stream(1 << 20, Budget(0), ours=ours, opened=opened)
    assert made.send_limit() == limit
