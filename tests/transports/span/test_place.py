"""The place of a process."""

from __future__ import annotations

from pathlib import Path

import pytest

from isthmus.transports.span import place
from isthmus.transports.span.place import place_of

ADDRESSES = ["wss://a.example.com/", "wss://b.example.com/"]


@pytest.mark.parametrize("node", [None, "gate-1"])
def test_the_node_stays_and_the_process_does_not(node: str | None) -> None:
    first, second = place_of(node, ADDRESSES), place_of(node, reversed(ADDRESSES))
    assert len(first) == len(second) == 16
    assert first[:8] == second[:8]
    assert first[8:] != second[8:]


def test_what_tells_nodes_apart() -> None:
    places = [
        place_of("gate-1", ADDRESSES),
        place_of("gate-2", ADDRESSES),
        place_of(None, ADDRESSES),
        place_of(None, ADDRESSES[:1]),
        place_of(None, []),
    ]
    assert len({each[:8] for each in places}) == len(places)
    assert place_of("gate-1", [])[:8] == places[0][:8]


def test_a_name_cannot_pass_for_a_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine = tmp_path / "machine-id"
    monkeypatch.setattr(place, "_MACHINE", machine)
    without = place_of(None, [])
    machine.write_text("0123\n")
    one = place_of(None, [])
    machine.write_text("4567\n")
    two = place_of(None, [])
    machine.write_bytes(b"\xff\xfe")
    broken = place_of(None, [])
    assert len({without[:8], one[:8], two[:8], place_of("0123", [])[:8]}) == 4
    assert broken[:8] == without[:8]
    assert b"0123" not in one
