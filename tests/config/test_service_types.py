from __future__ import annotations

from isthmus.config.service_types import SERVICE_TYPES


def test_the_table() -> None:
    carried = {"tcp", "ssl", "tls", "udp", "ws", "wss", "unix", "stdio"}
    found = {name: (set(kind.accepts), kind.connects) for name, kind in SERVICE_TYPES.items()}
    assert found == {
        "proxy": (carried, True),
        "echo": (carried, False),
        "directory": ({"http", "https"}, False),
    }
