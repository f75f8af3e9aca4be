"""What the contract itself does."""

from __future__ import annotations

import pytest

from isthmus.transports.base import peer_name


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
