"""The proxy service: who connects when, who is told what, and what stands ready."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable
from typing import Any

import pytest
from tests.services.fakes import READ_SIZE, Connection, Connector, Incoming, proxy_service

from isthmus.errors import ConnectError
from isthmus.services.proxy import ProxyRelay, ProxyService

TURNS = 5


async def turns() -> None:
    """Let the loop do what is due."""
    for _ in range(TURNS):
        await asyncio.sleep(0)


class Timers:
    """Catches what the loop is asked to do later, until `ring`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.delays: list[float] = []
        self._waiting: list[tuple[asyncio.Handle, Callable[..., object], tuple[Any, ...]]] = []
        self._loop = asyncio.get_running_loop()
        monkeypatch.setattr(self._loop, "call_later", self._call_later)

    def _call_later(self, delay: float, callback: Callable[..., object], *arguments: Any) -> asyncio.Handle:
        handle = asyncio.Handle(callback, arguments, self._loop)
        self.delays.append(delay)
        self._waiting.append((handle, callback, arguments))
        return handle

    @property
    def pending(self) -> int:
        return sum(not handle.cancelled() for handle, _, _ in self._waiting)

    def ring(self) -> None:
        waiting, self._waiting = self._waiting, []
        for handle, callback, arguments in waiting:
            if not handle.cancelled():
                callback(*arguments)


class Scene:
    """A proxy service, a connector that the test plays, and one client."""

    def __init__(self, **properties: Any) -> None:
        self.connector = Connector()
        self.service = ProxyService(proxy_service(**properties), self.connector)
        self.soon = asyncio.get_running_loop().call_soon

    def come(self) -> tuple[Connection, Incoming]:
        """Let a client come."""
        incoming = Incoming(Connection(self.soon))
        self.service.incoming(incoming)
        return incoming.connection, incoming

    def talk(self, client: Connection, server: Connection) -> None:
        """See that bytes cross in both directions."""
        for one, other in ((client, server), (server, client)):
            before = bytes(other.got)
            one.send(b"words")
            assert one.read()
            other.take()
            assert other.got == before + b"words"


def relays_left() -> int:
    return sum(isinstance(each, ProxyRelay) for each in gc.get_objects())


async def test_what_is_over_is_not_left_to_the_garbage_collector() -> None:
    gc.collect()
    before = relays_left()
    gc.disable()
    try:
        scene = Scene()
        client = scene.come()[0]
        server = scene.connector.dials.pop().succeed()
        assert relays_left() == before + 1
        client.end()
        server.end()
        client.read()
        server.read()
        await turns()
        assert scene.service.connections() == 0
        assert relays_left() == before
    finally:
        gc.enable()


# --- immediate


async def test_immediate_connects_first_and_answers_then() -> None:
    scene = Scene()
    client, incoming = scene.come()
    assert incoming.answered == 0
    assert scene.service.connections() == 1
    server = scene.connector.dials[0].succeed()
    assert incoming.accepted
    scene.talk(client, server)


async def test_immediate_passes_on_a_server_that_speaks_first() -> None:
    scene = Scene()
    client, _ = scene.come()
    dial = scene.connector.dials[0]
    dial.connection.send(b"220 ready")
    server = dial.succeed()
    server.read()
    client.take()
    assert client.got == b"220 ready"


@pytest.mark.parametrize("status", [502, 504])
async def test_a_dead_destination_refuses_with_its_status(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene()
    _, incoming = scene.come()
    error = ConnectError("Unable to connect to tcp://b:1: no", status=status, hint="check it")
    scene.connector.dials[0].fail(error)
    assert incoming.refusal is error
    assert incoming.answered == 1
    assert scene.service.connections() == 0
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        "proxy-1: Unable to connect to tcp://b:1: no (check it)"
    ]


async def test_the_end_of_both_is_the_end_of_the_relay() -> None:
    scene = Scene()
    over: list[ProxyRelay] = []
    scene.service.after_each = over.append
    client, _ = scene.come()
    server = scene.connector.dials[0].succeed()
    for side in (client, server):
        side.end()
        side.read()
    await turns()
    assert client.saw_end
    assert server.saw_end
    assert scene.service.connections() == 0
    assert [relay.error for relay in over] == [None]


async def test_a_reset_is_told_to_who_asks_after_each() -> None:
    scene = Scene()
    over: list[ProxyRelay] = []
    scene.service.after_each = over.append
    client, _ = scene.come()
    scene.connector.dials[0].succeed()
    client.reset()
    await turns()
    assert [relay.error is None for relay in over] == [False]


async def test_a_client_that_is_gone_when_it_is_answered_resets_the_destination() -> None:
    """An accept tells `connection_lost` after `accept` where the client went meanwhile."""
    scene = Scene()
    client, _ = scene.come()
    client.reset()
    server = scene.connector.dials[0].succeed()
    client.loss.clear()
    await turns()
    assert server.saw_reset
    assert scene.service.connections() == 0


# --- for whom it connects


async def test_the_connector_knows_for_whom_and_whether_it_may_be_early() -> None:
    scene = Scene()
    scene.come()
    web = Incoming(Connection(scene.soon))
    web.early = False
    web.peer = "192.0.2.7:50000"
    scene.service.incoming(web)
    assert scene.connector.asked == [("a test", True), ("192.0.2.7:50000", False)]


async def test_with_recovery_the_answer_is_waited_for() -> None:
    """It has to be known whether the destination is away."""
    scene = Scene(maximum_recovery_interval=5.0)
    scene.come()
    assert scene.connector.asked == [("a test", False)]


async def test_an_early_connection_that_fails_later_resets_its_client(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = Scene()
    client, incoming = scene.come()
    server = scene.connector.dials[0].succeed()
    assert incoming.accepted
    client.send(b"early")
    client.read()
    error = ConnectError("Unable to connect to wss://gate/: refused", status=502, hint="look there")
    server._lose(error)
    await turns()
    assert client.saw_reset
    assert scene.service.connections() == 0
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == ["proxy-1: Unable to connect to wss://gate/: refused (look there)"]


async def test_a_client_that_leaves_before_its_answer_is_connected_for_no_more() -> None:
    scene = Scene()
    _, incoming = scene.come()
    (dial,) = scene.connector.dials
    assert incoming.gone is not None
    incoming.gone()
    assert dial.canceled
    assert scene.service.connections() == 0
    assert incoming.answered == 0
    await asyncio.wait_for(scene.service.stop(30.0), 10.0)  # nothing is left to wait for
    assert incoming.answered == 0


@pytest.mark.parametrize("how", ["refused", "accepted"])
async def test_a_client_that_leaves_after_its_answer_is_not_counted_twice(how: str) -> None:
    scene = Scene()
    over: list[ProxyRelay] = []
    scene.service.after_each = over.append
    client, incoming = scene.come()
    gone = incoming.gone
    assert gone is not None
    if how == "refused":
        scene.connector.dials[0].fail()
    else:
        scene.connector.dials[0].succeed()
        client.reset()
        await turns()
    assert len(over) == 1
    gone()
    await turns()
    assert len(over) == 1


# --- deferred


async def test_deferred_answers_at_once_and_connects_when_the_client_sends() -> None:
    scene = Scene(connect_strategy="deferred")
    client, incoming = scene.come()
    assert incoming.accepted
    await turns()
    assert not scene.connector.dials
    client.send(b"hello")
    client.read()
    assert len(scene.connector.dials) == 1
    server = scene.connector.dials[0].succeed()
    server.take()
    assert server.got == b"hello"
    scene.talk(client, server)


async def test_deferred_holds_one_read_at_most() -> None:
    scene = Scene(connect_strategy="deferred")
    client, _ = scene.come()
    client.send(bytes(range(256)) * 4)
    while client.read(pieces=4):
        pass
    relay = next(iter(scene.service.relays))
    held = relay.accepted.held
    assert held is not None
    assert len(held) == READ_SIZE
    server = scene.connector.dials[0].succeed()
    while client.read():
        server.take()
    assert server.got == client.sent


async def test_deferred_connects_when_the_client_ends() -> None:
    scene = Scene(connect_strategy="deferred")
    client, _ = scene.come()
    client.end()
    client.read()
    server = scene.connector.dials[0].succeed()
    assert server.saw_end
    server.send(b"the time")
    server.end()
    server.read()
    server.read()
    client.take()
    await turns()
    assert client.got == b"the time"
    assert client.saw_end
    assert scene.service.connections() == 0


async def test_deferred_does_not_connect_for_a_client_that_went() -> None:
    scene = Scene(connect_strategy="deferred")
    client, _ = scene.come()
    client.reset()
    await turns()
    assert not scene.connector.dials
    assert scene.service.connections() == 0


async def test_deferred_gives_the_connect_up_when_the_client_goes() -> None:
    scene = Scene(connect_strategy="deferred")
    client, _ = scene.come()
    client.send(b"x")
    client.read()
    client.reset()
    await turns()
    assert scene.connector.dials[0].canceled
    assert scene.service.connections() == 0


async def test_deferred_resets_the_client_when_the_destination_is_dead() -> None:
    scene = Scene(connect_strategy="deferred")
    client, _ = scene.come()
    client.send(b"x")
    client.read()
    scene.connector.dials[0].fail()
    await turns()
    assert client.saw_reset
    assert scene.service.connections() == 0


async def test_a_connect_that_is_over_is_forgotten() -> None:
    """Else it would be kept, and cancelled, as long as the connection lasts."""
    scene = Scene(connect_strategy="deferred")
    client, _ = scene.come()
    client.send(b"x")
    client.read()
    scene.connector.dials[0].succeed()
    client.reset()
    await turns()
    assert not scene.connector.dials[0].canceled


# --- prepared


async def prepared(count: int = 1) -> Scene:
    scene = Scene(connect_strategy="prepared", prepared_connection_count=count)
    await scene.service.start()
    return scene


async def test_prepared_connects_ahead() -> None:
    scene = await prepared(3)
    assert len(scene.connector.dials) == 3
    servers = [dial.succeed() for dial in scene.connector.dials]
    assert scene.service.connections() == 0
    client, incoming = scene.come()
    assert incoming.accepted
    assert scene.service.connections() == 1
    scene.talk(client, servers[0])
    assert len(scene.connector.dials) == 4, "the one that was taken is replaced"


async def test_the_pool_is_bounded() -> None:
    scene = await prepared(2)
    for _ in range(3):
        while scene.connector.open:
            scene.connector.open[0].succeed()
    assert len(scene.connector.dials) == 2
    for _ in range(5):
        scene.come()
    # Two were ready; three clients have a connect of their own; two are being made again.
    assert len(scene.connector.dials) == 2 + 3 + 2
    assert len(scene.connector.open) == 5
    assert scene.service.connections() == 5


async def test_prepared_holds_what_the_server_says_first() -> None:
    scene = await prepared()
    server = scene.connector.dials[0].succeed()
    server.send(b"greeting" + bytes(2 * READ_SIZE))
    assert server.read()
    assert not server.read(), "no more than one read is held"
    client, _ = scene.come()
    while server.read():
        client.take()
    client.take()
    assert client.got == server.sent
    scene.talk(client, server)


async def test_prepared_keeps_a_server_that_spoke_and_ended() -> None:
    scene = await prepared()
    server = scene.connector.dials[0].succeed()
    server.send(b"the time")
    server.end()
    server.read()
    client, _ = scene.come()
    server.read()
    client.take()
    assert client.got == b"the time"
    assert client.saw_end


@pytest.mark.parametrize("way", ["end", "reset"])
async def test_a_server_that_goes_while_it_waits_is_replaced(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    timers = Timers(monkeypatch)
    scene = await prepared()
    server = scene.connector.dials[0].succeed()
    getattr(server, way)()
    server.read()
    await turns()
    assert server.saw_reset
    assert len(scene.connector.dials) == 1
    timers.ring()
    assert len(scene.connector.dials) == 2
    again = scene.connector.dials[1].succeed()
    client, incoming = scene.come()
    assert incoming.accepted
    scene.talk(client, again)


async def test_no_client_gets_a_server_that_is_on_its_way_out() -> None:
    scene = await prepared()
    server = scene.connector.dials[0].succeed()
    server.end()
    server.read()
    # Before the loop has told that the connection is over:
    client, incoming = scene.come()
    assert not incoming.accepted
    await turns()
    assert not client.saw_reset
    scene.talk(client, scene.connector.open[-1].succeed())


async def test_a_client_while_none_is_ready_gets_a_connect_of_its_own() -> None:
    scene = await prepared()
    client, incoming = scene.come()
    assert incoming.answered == 0
    assert len(scene.connector.dials) == 2
    scene.talk(client, scene.connector.dials[1].succeed())
    scene.connector.dials[0].succeed()
    assert scene.service.connections() == 1


async def test_a_refused_one_is_tried_again_later_and_later(monkeypatch: pytest.MonkeyPatch) -> None:
    timers = Timers(monkeypatch)
    scene = await prepared()
    for _ in range(10):
        scene.connector.open[0].fail()
        assert not scene.connector.open
        timers.ring()
    assert timers.delays == sorted(timers.delays)
    assert timers.delays[1] == 2 * timers.delays[0]
    assert timers.delays[-1] == timers.delays[-2] == 30
    scene.connector.open[0].succeed().reset()
    await turns()
    assert timers.delays[-1] == timers.delays[0], "after a success it begins anew"


async def test_many_refused_ones_are_one_retry_and_one_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    timers = Timers(monkeypatch)
    scene = await prepared(20)
    for dial in scene.connector.open:
        dial.fail()
    assert timers.pending == 1
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1
    client, _ = scene.come()
    assert len(scene.connector.open) == 1, "only the client's own: the pool waits for its time"
    scene.connector.open[0].fail()
    assert client.saw_reset
    timers.ring()
    assert len(scene.connector.open) == 20


async def test_prepared_without_a_count_is_immediate() -> None:
    scene = Scene(connect_strategy="prepared")
    await scene.service.start()
    assert not scene.connector.dials
    _, incoming = scene.come()
    scene.connector.dials[0].succeed()
    assert incoming.accepted


# --- stopping


async def test_stop_waits_for_what_is_in_flight() -> None:
    scene = Scene()
    client, _ = scene.come()
    server = scene.connector.dials[0].succeed()
    stopping = asyncio.ensure_future(scene.service.stop(30.0))
    await turns()
    assert not stopping.done()
    scene.talk(client, server)
    for side in (client, server):
        side.end()
        side.read()
    await stopping
    assert not client.saw_reset
    assert not server.saw_reset


async def test_stop_resets_what_is_left_at_the_deadline() -> None:
    scene = Scene()
    client, _ = scene.come()
    server = scene.connector.dials[0].succeed()
    await scene.service.stop(0.01)
    await turns()
    assert client.saw_reset
    assert server.saw_reset
    assert scene.service.connections() == 0


async def test_stop_without_connections_does_not_wait() -> None:
    scene = Scene()
    await asyncio.wait_for(scene.service.stop(3600.0), 10.0)


async def test_a_second_stop_cuts_the_first_one_short() -> None:
    scene = Scene()
    client, _ = scene.come()
    scene.connector.dials[0].succeed()
    first = asyncio.ensure_future(scene.service.stop(3600.0))
    await turns()
    await scene.service.stop(0.0)
    await asyncio.wait_for(first, 10.0)
    assert client.saw_reset


async def test_stop_while_connecting_refuses_with_503() -> None:
    scene = Scene()
    _, incoming = scene.come()
    await scene.service.stop(0.0)
    assert scene.connector.dials[0].canceled
    assert incoming.refusal is not None
    assert incoming.refusal.status == 503
    assert scene.service.connections() == 0


async def test_stop_while_a_deferred_connect_is_under_way_resets() -> None:
    scene = Scene(connect_strategy="deferred")
    client, _ = scene.come()
    client.send(b"x")
    client.read()
    await scene.service.stop(0.0)
    await turns()
    assert scene.connector.dials[0].canceled
    assert client.saw_reset
    assert scene.service.connections() == 0


async def test_stop_lets_go_what_stands_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    timers = Timers(monkeypatch)
    scene = await prepared(2)
    ready = scene.connector.dials[0].succeed()
    await scene.service.stop(0.0)
    await turns()
    assert ready.saw_reset
    assert scene.connector.dials[1].canceled
    timers.ring()
    assert len(scene.connector.dials) == 2, "nothing is connected any more"


async def test_stop_calls_a_retry_off(monkeypatch: pytest.MonkeyPatch) -> None:
    timers = Timers(monkeypatch)
    scene = await prepared()
    scene.connector.dials[0].fail()
    assert timers.pending == 1
    await scene.service.stop(0.0)
    assert timers.pending == 0


async def test_a_client_that_comes_during_a_stop_is_refused_with_503() -> None:
    scene = Scene()
    scene.come()
    stopping = asyncio.ensure_future(scene.service.stop(0.05))
    await turns()
    _, late = scene.come()
    assert late.refusal is not None
    assert late.refusal.status == 503
    await stopping
    assert len(scene.connector.dials) == 1


async def test_the_log_counts_the_bytes_of_each_side(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    scene = Scene()
    client, _ = scene.come()
    server = scene.connector.dials[0].succeed()
    client.send(b"12345")
    server.send(b"123")
    for side in (client, server):
        side.read()
        side.end()
        side.read()
        side.take()
    client.take()
    await turns()
    assert "proxy-1: closed after 5/3 bytes" in caplog.messages


async def test_the_connector_is_told_whose_connection_it_is_also_later() -> None:
    connector = Connector()
    service = ProxyService(proxy_service(connect_strategy="deferred"), connector)
    incoming = Incoming(Connection(asyncio.get_running_loop().call_soon))
    service.incoming(incoming)
    incoming.connection.send(b"hello")
    incoming.connection.read()
    assert [origin for origin, _ in connector.asked] == [incoming.peer]
    await service.stop(0.0)
