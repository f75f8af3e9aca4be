from __future__ import annotations

from isthmus.config.service_types import SERVICE_TYPES


def test_the_table() -> None:
    streams = {"tcp", "ssl", "tls", "ws", "wss", "unix", "stdio"}
    found = {name: (set(kind.accepts), kind.connects) for name, kind in SERVICE_TYPES.items()}
    assert found == {
        "proxy": (streams, True),
        "echo": (streams, False),
        "directory": ({"http", "https"}, False),
    }
