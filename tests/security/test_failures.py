from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.security import failures
from isthmus.security.failures import FailureLimit, network_of


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_so_many_fail_in_a_minute() -> None:
    clock = Clock()
    limit = FailureLimit(6, clock)
    assert [limit.take("10.0.0.1") for _ in range(6)] == [0.0] * 6
    assert limit.take("10.0.0.1") == pytest.approx(10.0)
    assert limit.take("10.0.0.2") == 0.0, "others are not held up"
    clock.now = 10.0
    assert limit.take("10.0.0.1") == 0.0
    assert limit.take("10.0.0.1") > 0
    clock.now = 1e6
    assert sum(limit.take("10.0.0.1") == 0.0 for _ in range(20)) == 6


def test_who_succeeds_gets_its_token_back() -> None:
    limit = FailureLimit(2, Clock())
    for _ in range(10):
        assert limit.take("10.0.0.1") == 0.0
        limit.give_back("10.0.0.1")
    assert len(limit) == 0
    limit.take("10.0.0.1")
    limit.take("10.0.0.1")
    limit.give_back("10.0.0.1")
    assert limit.take("10.0.0.1") == 0.0
    limit.give_back("10.0.0.9")  # forgotten meanwhile


def test_what_is_under_way() -> None:
    limit = FailureLimit(2, Clock())
    assert limit.under_way("10.0.0.1") == 0
    limit.take("10.0.0.1")
    limit.take("10.0.0.1")
    limit.take("10.0.0.1")  # there was none
    assert limit.under_way("10.0.0.1") == 2
    for left in (1, 0, 0):
        limit.ended("10.0.0.1")
        assert limit.under_way("10.0.0.1") == left


def test_the_table_does_not_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "MAXIMUM_ADDRESSES", 100)
    limit = FailureLimit(1, Clock())
    for number in range(1000):
        limit.take(f"10.0.{number // 250}.{number % 250}")
        limit.take("10.9.9.9")
    assert len(limit) <= 100
    assert limit.take("10.9.9.9") > 0, "who comes again is not forgotten"


def test_no_limit() -> None:
    limit = FailureLimit(0, Clock())
    assert all(limit.take("10.0.0.1") == 0.0 for _ in range(1000))
    assert len(limit) == 0


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("local", "local"),
    ],
)
def test_what_an_address_is_counted_by(address: str, counted: str) -> None:
    assert network_of(address) == counted


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.floats(0, 100)), max_size=60))
def test_never_more_than_allowed(steps: list[tuple[str, bool, float]]) -> None:
    clock = Clock()
    limit = FailureLimit(5, clock)
    taken: dict[str, list[float]] = {}
    for address, succeeds, wait in steps:
        clock.now += wait
        if limit.take(address) == 0.0:
            if succeeds:
                limit.give_back(address)
            else:
                taken.setdefault(address, []).append(clock.now)
    for times in taken.values():
        for begin in times:
            assert sum(begin <= each < begin + 60.0 for each in times) <= 5 + 5
