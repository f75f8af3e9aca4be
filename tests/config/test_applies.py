from __future__ import annotations

import pytest

from isthmus.config.applies import applies
from isthmus.config.model import AcceptOptions, ConnectOptions, options_of
from isthmus.uri import SCHEMES, Address

ALL = {scheme: Address(scheme, "a", 1) for scheme in SCHEMES}


@pytest.mark.parametrize(
    ("option", "schemes"),
    [
        ("tcp.bind", {"tcp"}),
        ("tls.bind", {"tls"}),
        ("ssl.bind", {"ssl"}),
        ("wss.bind", {"wss"}),
        ("ssl.protocols", {"ssl", "tls", "wss", "https"}),
        ("ws.close.timeout", {"ws", "wss"}),
        ("ws.mask", {"ws", "wss"}),
        ("span.mode", {"ws", "wss"}),
        ("span.carriers", {"ws", "wss"}),
        ("http.keepalive.timeout", {"ws", "wss", "http", "https"}),
        ("connect.timeout", set(SCHEMES)),
        ("tcp.maximum.outbound.rate", set(SCHEMES) - {"unix", "stdio", "udp"}),
        ("udp.bind", {"udp"}),
        ("udp.maximum.flows", {"udp"}),
    ],
)
def test_an_option_applies_to_its_schemes(option: str, schemes: set[str]) -> None:
    assert {scheme for scheme, address in ALL.items() if applies(option, [address])} == schemes
    assert not applies(option, [])


def test_a_connect_comes_from_its_own_address_over_every_network_scheme() -> None:
    schemes = {scheme for scheme, address in ALL.items() if applies("tcp.bind", [address], connecting=True)}
    assert schemes == set(SCHEMES) - {"unix", "stdio", "udp"}


def test_every_option_applies_to_something() -> None:
    for section in (AcceptOptions(), ConnectOptions()):
        for option in options_of(section):
            assert applies(option.name, ALL.values()), option.name
