"""What is said where a WebSocket cannot be opened."""

from __future__ import annotations

from isthmus.doctor.fallback import when_blocked
from isthmus.uri import parse


def test_it_says_what_to_ask_for() -> None:
    assert "to gw:443 to be let through unchanged" in when_blocked(parse("wss://gw/x"))
    assert "or use wss" in when_blocked(parse("ws://gw/x"))
