"""What is counted of flows and datagrams, and how they are handed on."""

from __future__ import annotations

from typing import Any

import pytest

from isthmus.transports.datagrams import DatagramCounters, DatagramLayer, deliver, send


def test_counters_say_what_is_not_zero() -> None:
    assert str(DatagramCounters()) == "nothing happened"
    counters = DatagramCounters(flows=3, from_client=12, dropped_late=2)
    assert str(counters) == "flows 3, from client 12, dropped late 2"


def test_drops_are_summed() -> None:
    assert DatagramCounters(flows=3, lost=4).dropped == 0
    assert DatagramCounters(dropped_new=1, dropped_late=2, dropped_unsent=4).dropped == 7


def test_counters_are_equal_where_each_count_is() -> None:
    assert DatagramCounters(lost=1) == DatagramCounters(lost=1)
    assert DatagramCounters(lost=1) != DatagramCounters(idle=1)
    assert DatagramCounters() != 0
    with pytest.raises(AttributeError):
        DatagramCounters(misspelt=1)


class Layer(DatagramLayer):
    def __init__(self) -> None:
        self.came: list[bytes] = []
        self.sent: list[bytes] = []

    def datagrams_received(self, datagrams: list[bytes]) -> None:
        self.came += datagrams

    def send(self, datagrams: list[bytes]) -> None:
        self.sent += datagrams


class Other:
    __init__ = Layer.__init__
    datagrams_received = Layer.datagrams_received
    send = Layer.send


@pytest.mark.parametrize("kind", [Layer, Other])
def test_any_class_may_be_a_side(kind: Any) -> None:
    side = kind()
    deliver(side, [b"a", b""])
    send(side, [b"b"])
    assert (side.came, side.sent) == ([b"a", b""], [b"b"])


def test_a_layer_has_what_its_place_needs() -> None:
    layer: Any = DatagramLayer()
    for call in (layer.datagrams_received, layer.send):
        with pytest.raises(NotImplementedError):
            call([b"a"])
