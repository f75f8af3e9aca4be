from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.errors import SpanError
from isthmus.span.limits import MAXIMUM_AHEAD
from isthmus.span.opened import OpenedStreams


@given(st.lists(st.integers(0, 30), max_size=40))
def test_it_remembers_what_was_opened(indexes: list[int]) -> None:
    opened = OpenedStreams(1)
    model: set[int] = set()
    for index in indexes:
        opened.add(2 * index + 1)
        model.add(2 * index + 1)
        assert all((each in opened) == (each in model) for each in range(1, 65, 2))
        lowest = next(each for each in range(1, 99, 2) if each not in model)
        assert opened.below == lowest
        assert opened.above() == sorted(each for each in model if each > lowest)
        assert len(opened) == len(opened.above())


def test_how_far_ahead_is_bounded() -> None:
    opened = OpenedStreams(2)
    opened.add(2 + MAXIMUM_AHEAD)
    with pytest.raises(SpanError, match="too far above 2"):
        opened.add(4 + MAXIMUM_AHEAD)
