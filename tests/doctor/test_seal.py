"""Sealed carriers: to the right gateway, to another one, to one that does not seal; also emulated."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.doctor.scene import Seen, Serving, examine
from tests.system.middlebox import Middlebox

from isthmus.doctor.finding import Verdict
from isthmus.doctor.line import Line
from isthmus.doctor.recommendation import REACHABLE, UNREACHABLE, WARNED
from isthmus.doctor.seal import span_of
from isthmus.security.seal import make_key
from isthmus.uri import parse

pytestmark = pytest.mark.timeout(120)
SEALING = {"span.seal.key": "seal.pem"}


@pytest.fixture
def pin(tmp_path: Path) -> str:
    """Return the pin of the gateway's key, which is made."""
    return make_key(tmp_path / "seal.pem")


@pytest.fixture
def other(tmp_path: Path) -> str:
    return make_key(tmp_path / "other.pem")


def check(seen: Seen, pins: tuple[str, ...]) -> None:
    """What is recommended is sealed, whatever was found."""
    assert seen.recommendation.command.count("--seal-pin") == len(pins)
    for pin in pins:
        assert f"--seal-pin {pin}" in seen.recommendation.command
        assert pin in seen.recommendation.toml


async def test_it_is_sealed(serving: Serving, pin: str, other: str) -> None:
    async with serving(accept=SEALING) as port:
        seen = await examine(f"ws://127.0.0.1:{port}/x", span_seal_pins=(other, pin))
    assert seen["upgrade"].verdict is Verdict.OK
    assert "is sealed to the gateway of --seal-pin" in seen["upgrade"].seen
    assert seen["upgrade"].facts["sealed"] is True
    assert seen["throughput"].verdict is Verdict.OK
    assert seen.recommendation.code == REACHABLE
    check(seen, (other, pin))


async def test_it_is_somebody_elses_key(serving: Serving, pin: str, other: str) -> None:
    async with serving(accept=SEALING) as port:
        seen = await examine(f"ws://127.0.0.1:{port}/x", span_seal_pins=(other,))
    assert seen["upgrade"].verdict is Verdict.FAILED
    assert f"nothing is sent over it: the gateway shows the key {pin}" in seen["upgrade"].seen
    assert "somebody on the way is between them" in seen["upgrade"].advice
    assert seen["upgrade"].facts["sealed"] is False
    assert seen.recommendation.code == UNREACHABLE
    check(seen, (other,))


async def test_it_does_not_seal(serving: Serving, pin: str) -> None:
    async with serving() as port:
        seen = await examine(f"ws://127.0.0.1:{port}/x", span_seal_pins=(pin,))
    assert seen["upgrade"].verdict is Verdict.FAILED
    assert "does not speak sealed span" in seen["upgrade"].seen
    assert seen.recommendation.code == UNREACHABLE


@pytest.mark.parametrize("holds", [False, True])
async def test_it_is_sealed_when_it_is_emulated(serving: Serving, pin: str, other: str, holds: bool) -> None:
    async with serving(accept=SEALING) as port:
        with Middlebox(port, websocket="strip", holds=holds) as box:
            uri = f"ws://127.0.0.1:{box.port}/x"
            seen = await examine(uri, span_seal_pins=(pin,))
            wrong = await examine(uri, span_seal_pins=(other,))
    assert seen["emulation"].facts["way"] == ("short" if holds else "streaming"), seen.text
    assert seen.recommendation.code == WARNED
    assert wrong["emulation"].verdict is wrong["upgrade"].verdict is Verdict.FAILED
    assert f"nothing is sent over it: the gateway shows the key {pin}" in wrong["emulation"].seen
    assert wrong.recommendation.code == UNREACHABLE


def test_what_is_offered(pin: str) -> None:
    from isthmus.config.model import ConnectOptions

    offered = [
        span_of(Line(parse("ws://gw/x"), ConnectOptions(span_seal_pins=pins))) for pins in ((), (pin,))
    ]
    assert offered == ["span.isthmus.v1", "sealed.span.isthmus.v1"]
