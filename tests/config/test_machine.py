from __future__ import annotations

import socket

import pytest

from isthmus.config.machine import Machine


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("10.0.0.1", True),
        ("fe80::1", True),
        ("fe80::1%eth0", True),
        ("10.0.0.2", False),
        ("2001:db8::1", False),
        ("0.0.0.0", True),
        ("::", True),
        ("127.0.0.53", True),
        ("::1", True),
        ("gateway.example.com", True),
    ],
)
def test_has(host: str, expected: bool) -> None:
    assert Machine(frozenset(("10.0.0.1", "fe80::1"))).has(host) is expected


def test_this_machine() -> None:
    machine = Machine.here()
    assert "127.0.0.1" in machine.addresses
    assert 0 <= machine.lowest_port <= 65536
    for port in {machine.lowest_port - 1, machine.lowest_port} & set(range(1, 1025)):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except PermissionError:
                allowed = False
            except OSError:
                continue  # somebody has it
            else:
                allowed = True
        assert allowed is (port >= machine.lowest_port)
