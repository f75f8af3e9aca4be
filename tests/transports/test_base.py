"""What the contract itself does."""

from __future__ import annotations

import pytest

from isthmus.transports.base import peer_name, peer_of


@pytest.mark.parametrize(
    ("peername", "shown"),
    [
        (("10.0.0.7", 51324), "10.0.0.7:51324"),
        (("::1", 51324, 0, 0), "[::1]:51324"),
        (("fe80::1%eth0", 1, 0, 2), "[fe80::1%eth0]:1"),
        ("", "unix"),
        (b"", "unix"),
        ("/run/app.sock", "unix"),
        (None, "unknown"),
    ],
)
def test_a_peer_as_it_is_logged(peername: object, shown: str) -> None:
    assert peer_name(peername) == shown


@pytest.mark.parametrize(
    ("name", "peer"),
    [
        ("10.0.0.7:51324", ("10.0.0.7", 51324)),
        ("10.0.0.7", ("10.0.0.7", 0)),
        ("[2001:db8::7]:51324", ("2001:db8::7", 51324)),
        ("[fe80::7%eth0]:1", ("fe80::7", 1)),
        ("2001:db8::7", ("2001:db8::7", 0)),
        ("::1", ("::1", 0)),
        ("10.0.0.7:65536", None),
        ("unix", None),
        ("unknown", None),
        ("", None),
    ],
)
def test_the_peer_of_a_name(name: str, peer: tuple[str, int] | None) -> None:
    assert peer_of(name) == peer
    if peer is not None and "%" not in name:
        assert peer_name(peer) == name
