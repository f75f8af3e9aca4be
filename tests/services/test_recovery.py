"""While a destination is away: who is turned away, when it is tried again, what the log says."""

from __future__ import annotations

import asyncio
import logging

import pytest
from tests.services.fakes import Connection, Connector, Incoming, proxy_service
from tests.services.test_proxy import Timers

from isthmus.services.proxy import ProxyService


class Scene:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, interval: str = "4", **properties: object) -> None:
        self.timers = Timers(monkeypatch)
        self.connector = Connector()
        config = proxy_service(maximum_recovery_interval=interval, **properties)
        self.service = ProxyService(config, self.connector)

    def come(self) -> Incoming:
        incoming = Incoming(Connection(asyncio.get_running_loop().call_soon))
        self.service.incoming(incoming)
        return incoming


async def test_off_unless_asked_for() -> None:
    assert ProxyService(proxy_service(), Connector()).recovery is None


async def test_the_first_is_told_why_and_the_next_are_turned_away(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene(monkeypatch)
    first = scene.come()
    scene.connector.dials[0].fail()
    assert first.refusal is not None
    assert first.refusal.status == 502
    second = scene.come()
    assert second.refusal is not None
    assert second.refusal.status == 404
    assert len(scene.connector.dials) == 1
    assert scene.service.connections() == 0
    away = [record.getMessage() for record in caplog.records if "is away" in record.getMessage()]
    (line,) = away
    assert line.startswith("proxy-1: tcp://127.0.0.1:7001/ is away: clients are turned away (404)")
    assert line.endswith("trying every 4 s at least")


async def test_it_is_tried_later_and_later_up_to_the_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch)
    scene.come()
    scene.connector.dials[0].fail()
    for _ in range(6):
        scene.timers.ring()
        scene.connector.open[0].fail()
    assert scene.timers.delays == [0.5, 1.0, 2.0, 4.0, 4.0, 4.0, 4.0]


async def test_it_comes_back(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "isthmus")
    scene = Scene(monkeypatch)
    scene.come()
    scene.connector.dials[0].fail()
    scene.timers.ring()
    probe = scene.connector.open[0].succeed()
    probe.send(b"220 ready")
    assert probe.saw_end
    assert not probe.saw_reset
    assert any(
        record.getMessage().startswith("proxy-1: tcp://127.0.0.1:7001/ is back after ")
        for record in caplog.records
    )
    incoming = scene.come()
    scene.connector.open[0].succeed()
    assert incoming.accepted
    assert scene.timers.pending == 0


async def test_a_connection_that_stands_is_not_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch)
    standing = scene.come()
    server = scene.connector.dials[0].succeed()
    scene.come()
    scene.connector.open[0].fail()
    standing.connection.send(b"still here")
    standing.connection.read()
    server.take()
    assert server.got == b"still here"


async def test_with_deferred_nobody_is_let_in_either(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch, connect_strategy="deferred")
    first = scene.come()
    assert first.accepted
    first.connection.send(b"x")
    first.connection.read()
    scene.connector.open[0].fail()
    assert scene.come().refusal is not None


async def test_a_prepared_connection_that_succeeds_brings_it_back(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch, prepared_connection_count=1)
    await scene.service.start()
    scene.connector.open[0].fail()
    assert scene.come().refusal is not None
    scene.timers.ring()
    assert len(scene.connector.open) == 2  # one of each
    scene.connector.open[-1].succeed()
    assert scene.service.recovery is not None
    assert not scene.service.recovery.away
    assert scene.come().refusal is None
    await scene.service.stop(0.0)


@pytest.mark.parametrize("trying", [False, True])
async def test_stop(monkeypatch: pytest.MonkeyPatch, trying: bool) -> None:
    scene = Scene(monkeypatch)
    scene.come()
    scene.connector.dials[0].fail()
    if trying:
        scene.timers.ring()
    await scene.service.stop(0.0)
    assert not scene.connector.open
    late = scene.come()
    assert late.refusal is not None
    assert late.refusal.status == 503
