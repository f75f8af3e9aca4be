"""Streams found by their id, and never one that has left the table."""

from hypothesis import given
from hypothesis import strategies as st

from isthmus.span.limits import Budget
from isthmus.span.receive_side import ReceiveSide
from isthmus.span.recent import RecentStreams
from isthmus.span.send_side import SendSide
from isthmus.span.stream import Stream

# Many of them have the same place: 1, 2 and 3 share two, and 512 further on each comes round again.
IDS = st.sampled_from([1, 2, 3, 513, 514, 515, 1025, 0xFFFFFFFF])


def make(stream_id: int) -> Stream:
    return Stream(stream_id, True, ReceiveSide(Budget(0), 65_536), SendSide(65_536), Budget(0))


@given(st.lists(st.tuples(st.sampled_from(["add", "find", "forget", "clear"]), IDS)))
def test_a_stream_is_found_as_the_table_has_it(steps: list[tuple[str, int]]) -> None:
    table: dict[int, Stream] = {}
    recent = RecentStreams(table)
    for step, stream_id in steps:
        if step == "add":
            table.setdefault(stream_id, make(stream_id))
        elif step == "forget" and stream_id in table:
            recent.forget(table.pop(stream_id))
        elif step == "clear":
            table.clear()
            recent.clear()
        assert recent.find(stream_id) is table.get(stream_id)
