"""Lists of networks, and who lies in them."""

from __future__ import annotations

import pytest

from isthmus.config.networks import MAXIMUM_NETWORKS, among, parse_networks
from isthmus.config.units import NotAllowed


def test_reading() -> None:
    networks = parse_networks("10.0.0.0/8, 192.0.2.7 fd00::/8")
    assert [str(each) for each in networks] == ["10.0.0.0/8", "192.0.2.7/32", "fd00::/8"]
    assert parse_networks([str(each) for each in networks]) == networks
    assert parse_networks(networks) == networks


@pytest.mark.parametrize(
    ("value", "message", "nearest"),
    [
        ("10.0.0.7/8", "'10.0.0.7/8' is not a network", "10.0.0.0/8"),
        ("lb.example.com", "'lb.example.com' is not a network", ""),
        (7, "7 are not networks", ""),
        ([7], "7 is not a network", ""),
        (" ".join(["10.0.0.1"] * (MAXIMUM_NETWORKS + 1)), "a list of 1001 networks is too long", ""),
    ],
)
def test_refusals(value: object, message: str, nearest: str) -> None:
    with pytest.raises(NotAllowed, match=message) as caught:
        parse_networks(value)
    assert caught.value.nearest == nearest


@pytest.mark.parametrize(
    ("host", "inside"),
    [
        ("10.1.2.3", True),
        ("11.1.2.3", False),
        ("::ffff:10.1.2.3", True),
        ("::ffff:11.1.2.3", False),
        ("fd00::1%eth0", True),
        ("fe80::1%eth0", False),
        ("unix", False),
        ("", False),
    ],
)
def test_among(host: str, inside: bool) -> None:
    assert among(host, parse_networks("10.0.0.0/8 fd00::/8")) is inside
