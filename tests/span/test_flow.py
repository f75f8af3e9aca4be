"""flow.py: what a flow is when it begins."""

from __future__ import annotations

from isthmus.span.flow import Flow


def test_a_flow_begins_with_nothing() -> None:
    flow = Flow(3, ours=True, origin="10.0.0.7:53")
    assert (flow.id, flow.ours, flow.origin) == (3, True, "10.0.0.7:53")
    assert not flow.accepted
    assert not flow.over
    assert flow.waiting is None
    assert flow.size == 0
