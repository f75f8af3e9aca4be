"""receive_side.py: order, duplicates, limits and windows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.errors import SpanError
from isthmus.span.limits import (
    EARLY_DATA,
    FIRST_WINDOW,
    GUARANTEED_WINDOW,
    MAXIMUM_PIECES,
    MIB,
    Budget,
)
from isthmus.span.receive_side import ReceiveSide
from isthmus.websocket.octets import Octets


def side(budget: int = 64 * MIB, largest: int = 16 * MIB, *, admitted: bool = True) -> ReceiveSide:
    receive = ReceiveSide(Budget(budget), largest)
    if admitted:
        receive.admit(0.0)
    return receive


def take(receive: ReceiveSide, offset: int, data: bytes | bytearray) -> Octets | None:
    """Have the data taken out of the middle of a buffer."""
    return receive.take(offset, memoryview(b"<<" + data + b">"), 2, len(data))


def deliver(receive: ReceiveSide, offset: int, data: bytes) -> bytes:
    piece = take(receive, offset, data)
    delivered = b""
    while piece is not None:
        delivered += bytes(piece)
        piece = receive.follow()
    return delivered


def test_the_window_opens_when_the_stream_is_admitted() -> None:
    receive = side(admitted=False)
    assert receive.limit == EARLY_DATA
    receive.admit(0.0)
    assert receive.limit == FIRST_WINDOW


@given(st.lists(st.tuples(st.integers(0, 120), st.integers(1, 40)), max_size=40))
def test_whatever_comes_is_delivered_in_order_and_once(parts: list[tuple[int, int]]) -> None:
    source = bytes(range(200))
    receive = side()
    delivered = b""
    have: set[int] = set()
    for offset, size in parts:
        delivered += deliver(receive, offset, source[offset : offset + size])
        have |= set(range(offset, offset + size))
        row = next(index for index in range(201) if index not in have)
        assert delivered == source[:row]
        assert receive.received == row
        assert receive.held == len([index for index in have if index >= row])
        assert receive.pieces <= receive.held


def test_what_is_held_is_a_copy() -> None:
    receive = side()
    buffer = bytearray(b"def")
    receive.take(3, memoryview(buffer), 0, 3)
    buffer[:] = b"xxx"
    assert deliver(receive, 0, b"abc") == b"abcdef"


def test_of_what_came_in_part_only_the_rest_is_delivered() -> None:
    receive = side()
    assert deliver(receive, 0, b"abc") == b"abc"
    assert deliver(receive, 1, b"bcde") == b"de"
    assert deliver(receive, 0, b"abcde") == b""
    assert receive.received == 5


def test_the_end_counts_as_one_byte() -> None:
    receive = side()
    receive.finish(3)
    assert (receive.complete(), receive.acknowledged()) == (False, 0)
    deliver(receive, 0, b"abc")
    assert (receive.complete(), receive.acknowledged()) == (True, 3)
    receive.consume(3, 0.0, 0.0)
    assert (receive.done(), receive.acknowledged()) == (True, 4)


@pytest.mark.parametrize("offset", [FIRST_WINDOW, FIRST_WINDOW - 2, 2**64 - 1])
def test_data_above_the_limit_is_an_error(offset: int) -> None:
    with pytest.raises(SpanError, match="the limit is 262144"):
        take(side(), offset, b"abc")


def test_data_and_ends_that_contradict_are_errors() -> None:
    receive = side()
    deliver(receive, 5, b"x")
    for final in (5, FIRST_WINDOW + 1):
        with pytest.raises(SpanError):
            receive.finish(final)
    receive.finish(6)
    receive.finish(6)
    with pytest.raises(SpanError, match="second final offset"):
        receive.finish(7)
    with pytest.raises(SpanError, match="behind the final offset"):
        take(receive, 6, b"x")


def test_pieces_are_bounded() -> None:
    receive = side()
    for index in range(MAXIMUM_PIECES):
        take(receive, 2 * index + 1, b"x")
    with pytest.raises(SpanError, match="pieces apart"):
        take(receive, 2 * MAXIMUM_PIECES + 1, b"x")


def consume_all(receive: ReceiveSide, size: int, now: float, round_trip: float) -> bool:
    start = receive.received
    deliver(receive, start, bytes(size))
    return receive.consume(size, now, round_trip)


def test_the_peer_is_told_at_a_quarter_of_the_window() -> None:
    receive = side()
    quarter = FIRST_WINDOW // 4
    assert not consume_all(receive, quarter - 1, 1.0, 0.0)
    assert consume_all(receive, 1, 1.0, 0.0)
    assert receive.limit == FIRST_WINDOW + quarter
    assert not consume_all(receive, 1, 1.0, 0.0)


def test_an_ack_that_goes_anyway_says_the_newest_limit() -> None:
    receive = side()
    quarter = FIRST_WINDOW // 4
    assert receive.renewed_limit() == receive.limit == FIRST_WINDOW
    assert not consume_all(receive, 100, 1.0, 0.0)
    assert receive.limit == FIRST_WINDOW
    assert receive.renewed_limit() == receive.limit == FIRST_WINDOW + 100
    assert not consume_all(receive, quarter - 101, 1.0, 0.0)
    assert receive.renewed_limit() == FIRST_WINDOW + quarter - 1
    assert consume_all(receive, 1, 1.0, 0.0), "a quarter is told at once, whatever was told before"
    assert receive.limit == FIRST_WINDOW + quarter


def test_the_limit_is_not_renewed_before_the_window_opens_nor_once_the_end_is_within() -> None:
    receive = ReceiveSide(Budget(64 * MIB), MIB)
    early = receive.limit
    deliver(receive, 0, b"early")
    receive.consume(5, 1.0, 0.0)
    assert receive.renewed_limit() == early
    receive.admit(1.0)
    receive.finish(100)
    limit = receive.limit
    deliver(receive, 5, bytes(95))
    receive.consume(95, 1.0, 0.0)
    assert receive.renewed_limit() == limit


def test_the_window_grows_while_limits_are_renewed_all_the_time() -> None:
    receive = side(largest=MIB)
    now = 0.0
    while receive.consumed < 16 * MIB:
        now += 0.001
        consume_all(receive, min(16 * 1024, receive.limit - receive.consumed), now, 0.1)
        receive.renewed_limit()
    assert receive.window == MIB


def test_the_window_grows_while_it_is_what_limits() -> None:
    receive = side(largest=MIB)
    now = 0.0
    for _ in range(20):
        now += 0.01
        consume_all(receive, (receive.limit - receive.consumed) // 2, now, 0.1)
    assert receive.window == MIB
    assert receive.limit - receive.consumed <= MIB


def test_the_window_does_not_grow_for_a_slow_reader_or_an_unknown_round_trip() -> None:
    for pace, round_trip in ((10.0, 0.1), (0.001, 0.0)):
        receive = side()
        now = 0.0
        for _ in range(20):
            now += pace
            consume_all(receive, receive.window // 2, now, round_trip)
        assert receive.window == FIRST_WINDOW


def test_a_spent_budget_leaves_what_is_guaranteed_and_limits_never_fall() -> None:
    budget = Budget(100_000)
    first = ReceiveSide(budget, MIB)
    first.admit(0.0)
    assert first.limit == GUARANTEED_WINDOW + 100_000
    second = ReceiveSide(budget, MIB)
    second.admit(0.0)
    assert second.limit == GUARANTEED_WINDOW
    assert budget.used == budget.size
    limit = first.limit
    for _ in range(20):
        consume_all(first, min(20_000, first.limit - first.received), 0.0, 0.0)
        consume_all(second, min(20_000, second.limit - second.received), 0.0, 0.0)
        assert first.limit >= limit
        limit = first.limit
        assert budget.used <= budget.size
        assert second.limit - second.consumed >= GUARANTEED_WINDOW // 2
    first.drop()
    second.drop()
    assert budget.used == 0


def test_no_more_is_consumed_than_was_delivered() -> None:
    receive = side()
    deliver(receive, 0, b"abc")
    with pytest.raises(ValueError, match="4 bytes consumed"):
        receive.consume(4, 0.0, 0.0)
    with pytest.raises(ValueError):
        receive.consume(-1, 0.0, 0.0)


def test_nothing_is_told_before_admission_or_when_all_is_promised() -> None:
    receive = side(admitted=False)
    deliver(receive, 0, bytes(EARLY_DATA))
    assert not receive.consume(EARLY_DATA, 0.0, 0.0)
    assert receive.limit == EARLY_DATA
    receive = side()
    receive.finish(FIRST_WINDOW)
    deliver(receive, 0, bytes(FIRST_WINDOW))
    assert not receive.consume(FIRST_WINDOW, 0.0, 0.0)
