"""A carrier that belongs to a login: what becomes of it when that ends, or is about to."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from isthmus.identity import Identity
from isthmus.span import Code
from isthmus.transports.span import admitted
from isthmus.transports.span.admitted import AdmittedCarrier


class Session:
    def __init__(self) -> None:
        self.session = self
        self.renewals: list[tuple[Any, int, float]] = []
        self.ended = 0

    def replace_carrier(self, carrier: Any, code: int, deadline: float) -> None:
        self.renewals.append((carrier, code, deadline))

    def moved(self) -> None:
        pass

    def login_ended(self) -> None:
        self.ended += 1


class WebSocket:
    over = False
    carrier = "carrier"

    def __init__(self) -> None:
        self.closed: list[tuple[int, str]] = []

    def close(self, code: int, text: str) -> None:
        self.closed.append((code, text))
        self.over = True


def made(expires: float | None) -> tuple[AdmittedCarrier, Any, Any]:
    session, websocket = Session(), WebSocket()
    identity = Identity("demo", "joe", expires=None if expires is None else time.time() + expires)
    first: Any = session
    second: Any = websocket
    return AdmittedCarrier(first, second, identity), first, second


async def test_its_end_is_told() -> None:
    carrier, session, websocket = made(None)
    assert not carrier.over
    carrier.dismiss("the login has ended")
    assert (websocket.closed, session.ended) == ([(1008, "the login has ended")], 1)
    assert carrier.over


async def test_it_is_renewed_once_ahead_of_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admitted, "LEAST_SECONDS", 0.1)
    _, session, _ = made(0.4)
    for _ in range(100):
        if session.renewals:
            break
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.3)
    ((carrier, code, left),) = session.renewals
    assert (carrier, code) == ("carrier", Code.EXPIRED)
    assert 0.1 < left < 0.3, "half of what was left"


async def test_what_is_over_or_about_to_end_is_not_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    _, soon, _ = made(admitted.LEAST_SECONDS / 2)
    monkeypatch.setattr(admitted, "LEAST_SECONDS", 0.01)
    carrier, session, websocket = made(0.2)
    websocket.over = True
    assert carrier.over
    other, dismissed, _ = made(0.2)
    other.dismiss("x")
    never, lasting, _ = made(None)
    await asyncio.sleep(0.3)
    assert soon.renewals == session.renewals == dismissed.renewals == lasting.renewals == []
    assert not never.over
