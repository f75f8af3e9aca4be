"""What is counted of flows and datagrams."""

from __future__ import annotations

from isthmus.transports.datagrams import DatagramCounters


def test_counters_say_what_is_not_zero() -> None:
    assert str(DatagramCounters()) == "nothing happened"
    counters = DatagramCounters(flows=3, from_client=12, dropped_late=2)
    assert str(counters) == "flows 3, from client 12, dropped late 2"


def test_drops_are_summed() -> None:
    assert DatagramCounters(flows=3, lost=4).dropped == 0
    assert DatagramCounters(dropped_new=1, dropped_late=2, dropped_unsent=4).dropped == 7
