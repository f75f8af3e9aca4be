"""Who a Web client is behind its balancers, and whose word is taken for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.config.networks import parse_networks
from isthmus.transports.forwarded import MAXIMUM_HOPS, Kind, client_of, field

TRUSTED = parse_networks("10.0.0.0/8 fd00::/8")
BALANCER = ("10.0.0.1", 4711)


def x_forwarded_for(*values: str, peer: tuple[str, int] = BALANCER) -> tuple[str, int]:
    headers = [("forwarded", "for=203.0.113.99"), *(("x-forwarded-for", value) for value in values)]
    return client_of(headers, "x-forwarded-for", TRUSTED, peer)


def forwarded(*values: str) -> tuple[str, int]:
    headers = [("x-forwarded-for", "203.0.113.99"), *(("forwarded", value) for value in values)]
    return client_of(headers, "forwarded", TRUSTED, BALANCER)


@pytest.mark.parametrize(
    ("values", "client"),
    [
        (["192.0.2.7"], ("192.0.2.7", 0)),
        (["192.0.2.7:51324"], ("192.0.2.7", 51324)),
        (["[2001:db8::7]:51324"], ("2001:db8::7", 51324)),
        (["2001:DB8::7"], ("2001:db8::7", 0)),
        (["192.0.2.7, 10.0.0.9"], ("192.0.2.7", 0)),
        (["192.0.2.7", "10.0.0.9"], ("192.0.2.7", 0)),
        (["203.0.113.1, 192.0.2.7"], ("192.0.2.7", 0)),  # what the client itself has sent is not believed
        (["10.0.0.8, 10.0.0.9"], ("10.0.0.8", 0)),
        (["192.0.2.7, unknown, 10.0.0.9"], ("10.0.0.9", 0)),
        (["nonsense"], BALANCER),
        (["192.0.2.7,"], BALANCER),
        (["192.0.2.7:99999"], BALANCER),
        ([""], BALANCER),
        ([], BALANCER),
    ],
)
def test_x_forwarded_for(values: list[str], client: tuple[str, int]) -> None:
    assert x_forwarded_for(*values) == client


def test_who_is_not_trusted_is_not_believed() -> None:
    stranger = ("198.51.100.1", 1)
    assert x_forwarded_for("192.0.2.7", peer=stranger) == stranger
    assert client_of([("x-forwarded-for", "192.0.2.7")], "none", TRUSTED, BALANCER) == BALANCER
    assert client_of([("x-forwarded-for", "192.0.2.7")], "x-forwarded-for", (), BALANCER) == BALANCER


@pytest.mark.parametrize(
    ("values", "client"),
    [
        (["for=192.0.2.7"], ("192.0.2.7", 0)),
        (['For="192.0.2.7:51324";proto=https;by=10.0.0.1'], ("192.0.2.7", 51324)),
        (['proto=https; for="[2001:db8::7]:51324"'], ("2001:db8::7", 51324)),
        (['for="a, b";x=y, for=192.0.2.7, for=10.0.0.9'], ("192.0.2.7", 0)),
        (["for=192.0.2.7", "for=10.0.0.9"], ("192.0.2.7", 0)),
        (["for=192.0.2.7, for=unknown"], BALANCER),
        (["for=192.0.2.7, for=_hidden, for=10.0.0.9"], ("10.0.0.9", 0)),
        (["for=192.0.2.7, proto=https"], BALANCER),
        (["for=192.0.2.7, for=10.0.0.9 nonsense"], BALANCER),
        (['for="192.0.2.7'], BALANCER),
        ([r'for="192.0.2.\7"'], ("192.0.2.7", 0)),
    ],
)
def test_forwarded(values: list[str], client: tuple[str, int]) -> None:
    assert forwarded(*values) == client


def test_only_so_many_hops_are_looked_at() -> None:
    hops = ["192.0.2.7", *["10.0.0.9"] * MAXIMUM_HOPS]
    assert x_forwarded_for(", ".join(hops)) == ("10.0.0.9", 0)
    assert x_forwarded_for(", ".join(hops[:-1])) == ("192.0.2.7", 0)


@given(st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=200))
def test_whatever_is_said(value: str) -> None:
    x_forwarded_for(value)
    forwarded(value)


@pytest.mark.parametrize(
    ("kind", "peer", "written"),
    [
        ("x-forwarded-for", ("192.0.2.7", 1), ("X-Forwarded-For", "192.0.2.7")),
        ("x-forwarded-for", ("fe80::1%eth0", 1), ("X-Forwarded-For", "fe80::1")),
        ("forwarded", ("192.0.2.7", 1), ("Forwarded", 'for="192.0.2.7:1"')),
        ("forwarded", ("192.0.2.7", 0), ("Forwarded", "for=192.0.2.7")),
        ("forwarded", ("2001:db8::7", 0), ("Forwarded", 'for="[2001:db8::7]"')),
    ],
)
def test_what_is_written(kind: Kind, peer: tuple[str, int], written: tuple[str, str]) -> None:
    assert field(kind, peer) == written
    name, value = written
    read = client_of([(name.lower(), value)], kind, TRUSTED, BALANCER)
    assert read[0] == peer[0].partition("%")[0]
