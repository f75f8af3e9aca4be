from __future__ import annotations

from isthmus.span.limits import Budget


def test_a_budget_lends_what_it_has() -> None:
    budget = Budget(100)
    assert budget.borrow(60) == 60
    assert budget.borrow(60) == 40
    assert budget.borrow(1) == 0
    budget.give_back(70)
    assert (budget.used, budget.borrow(100)) == (30, 70)


def test_a_budget_that_was_overdrawn_lends_nothing() -> None:
    budget = Budget(100)
    budget.used = 150
    assert budget.borrow(1) == 0
