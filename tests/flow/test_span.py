"""Two gateways that speak span, with real sockets: what applications see when the Web or a gateway goes."""

from __future__ import annotations

import asyncio
import contextlib
import random
from pathlib import Path

import pytest
from tests.flow.gateways import (
    HOST,
    Application,
    Backend,
    client_security,
    configuration,
    echo,
    pair,
    server_security,
    service,
)
from tests.flow.loops import event_loop_policy
from tests.flow.test_faults import Cut, Faults
from tests.system.process import free_port
from tests.transports.loops import nothing_left_open, on_each_loop, open_descriptors, until

from isthmus.gateway import Gateway
from isthmus.transports.span.connect import Peer, SpanConnector
from isthmus.transports.span.farewells import farewells_of

__all__ = ["event_loop_policy"]
pytestmark = on_each_loop

SCHEMES = pytest.mark.parametrize("scheme", ["ws", "wss"])
DATA = random.Random(3).randbytes(600_000)
NEVER = Cut("FIN", "up", 1 << 40)


def connector_of(gateway: Gateway) -> SpanConnector:
    (connector,) = gateway._connectors
    assert isinstance(connector, SpanConnector)
    return connector


async def converse(application: Application) -> bytes:
    """Send all of DATA to who sends it back, half-close, and return what came."""
    sending = asyncio.ensure_future(application.send(DATA))
    received = await application.exactly(len(DATA) // 2)
    await sending
    application.end()
    return received + await application.rest()


class Gateways:
    """A client's gateway and a server's, which the test starts and stops itself."""

    def __init__(self, backend: Backend, scheme: str = "ws", *, web_port: int = 0, through: int = 0) -> None:
        self.port, web_port = free_port(), web_port or free_port()
        public = f"{scheme}://{HOST}:{through or web_port}/tunnel"
        bind = {f"{scheme}.bind": f"{HOST}:{web_port}"} if through else {}
        far = service("proxy", public, f"tcp://{HOST}:{backend.port}", accept_options=bind)
        near = service("proxy", f"tcp://{HOST}:{self.port}", public)
        secure = scheme == "wss"
        self._far = configuration(far, security=server_security() if secure else None)
        near_config = configuration(near, security=client_security() if secure else None)
        self.client = Gateway(near_config, directory=Path(), home=Path())
        self.server = self.another()

    def another(self) -> Gateway:
        """Return one more server's gateway."""
        return Gateway(self._far, directory=Path(), home=Path())

    async def start(self) -> None:
        await self.server.start()
        await self.client.start()

    async def stop(self) -> None:
        await self.client.stop(0.0)
        await self.server.stop(0.0)

    async def talk(self) -> Application:
        client = await Application.connect(self.port)
        await client.send(b"hello")
        assert await client.exactly(5) == b"hello"
        return client


# --- an orderly end


@SCHEMES
async def test_who_has_stopped_has_no_connection_left(scheme: str) -> None:
    open_before = len(open_descriptors())
    async with Backend(echo) as backend:
        gateways = Gateways(backend, scheme)
        await gateways.start()
        (await gateways.talk()).close()
        await until(lambda: backend.accepted == 1)
        await gateways.client.stop(5.0)
        assert len(farewells_of(asyncio.get_running_loop())) == 0
        await gateways.server.stop(5.0)
    await until(lambda: len(open_descriptors()) <= open_before, "every socket is closed")


# --- the Web goes


@SCHEMES
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_cuts_at_any_byte_are_seen_by_nobody(scheme: str, seed: int) -> None:
    chance = random.Random(seed)
    web_port = free_port()

    def cut(least: int) -> Cut:
        way, direction = chance.choice(["FIN", "RST"]), chance.choice(["up", "down"])
        return Cut(way, direction, chance.randrange(least, 150_000))

    open_before = len(open_descriptors())
    async with Backend(echo) as backend, Faults(web_port) as faults:
        # The first is behind the handshakes, so that there is a session to keep.
        faults.cuts += [cut(20_000), *(cut(1) for _ in range(3)), *[NEVER] * 50]
        gateways = Gateways(backend, scheme, web_port=web_port, through=faults.port)
        await gateways.start()
        clients = [await Application.connect(gateways.port) for _ in range(2)]
        await until(lambda: backend.accepted == 2, "both are connected")
        for received in await asyncio.gather(*map(converse, clients)):
            assert received == DATA
        assert [await backend.outcome() for _ in clients] == [len(DATA)] * 2
        session = connector_of(gateways.client)._session
        assert session is not None
        assert session.session.counters.carriers_lost >= 2
        for client in clients:
            client.close()
        await gateways.stop()
    await until(lambda: len(open_descriptors()) <= open_before, "every socket is closed")


@SCHEMES
async def test_a_reset_crosses_in_both_directions(scheme: str) -> None:
    async def reset(application: Application) -> None:
        await application.exactly(1)
        application.reset()

    async with Backend(reset) as backend, pair(scheme, backend.port) as both:
        with await Application.connect(both.port) as client:
            await client.send(b"x")
            assert await client.is_reset()
    async with Backend(Application.is_reset) as backend, pair(scheme, backend.port) as both:
        client = await Application.connect(both.port)
        await client.send(b"x")
        await until(lambda: backend.accepted)
        client.reset()
        assert await backend.outcome() is True


async def test_a_destination_that_refuses_resets_the_client() -> None:
    async with pair("ws", free_port()) as both:
        for _ in range(2):
            with await Application.connect(both.port) as client:
                assert await client.is_reset()


# --- a gateway goes


async def test_a_server_that_stops_resets_at_once_and_the_next_one_is_found() -> None:
    async with Backend(echo) as backend:
        with nothing_left_open():
            gateways = Gateways(backend)
            await gateways.start()
            with await gateways.talk() as client:
                await gateways.server.stop(0.0)
                assert await client.is_reset()
            await until(lambda: gateways.client.connections() == 0)
            with contextlib.suppress(ConnectionResetError):  # it may come before `connect` returns
                client = await Application.connect(gateways.port)
                with client:
                    assert await client.is_reset()  # nobody listens now, and that is told at once
            gateways.server = gateways.another()
            await gateways.server.start()
            with await gateways.talk():
                pass
            await gateways.client.stop(1.0)
            await gateways.server.stop(1.0)
            await until(lambda: backend.outcomes.qsize() >= 2)


async def test_a_client_that_stops_gives_the_servers_places_back_at_once() -> None:
    async with Backend(Application.is_reset) as backend:
        with nothing_left_open():
            gateways = Gateways(backend)
            await gateways.start()
            clients = [await Application.connect(gateways.port) for _ in range(3)]
            await until(lambda: backend.accepted == 3)
            assert gateways.server.connections() == 3 + 1
            await gateways.client.stop(0.0)
            assert [await backend.outcome() for _ in clients] == [True] * 3
            await until(lambda: gateways.server.connections() == 0, "every place is given back")
            for client in clients:
                client.close()
            await gateways.server.stop(0.0)


async def test_a_server_that_stops_lets_what_is_in_flight_end() -> None:
    async with Backend(echo) as backend:
        with nothing_left_open():
            gateways = Gateways(backend)
            await gateways.start()
            client = await gateways.talk()
            with client:
                stopping = asyncio.ensure_future(gateways.server.stop(30.0))
                await until(lambda: connector_of(gateways.client)._session is None, "it says that it goes")
                assert await converse(client) == DATA
            await asyncio.wait_for(stopping, 10.0)
            assert await backend.outcome() == len(DATA) + 5
            await gateways.client.stop(0.0)


async def test_many_at_once_are_streams_of_one_websocket_and_one_that_does_not_read_holds_nobody() -> None:
    async def greet(application: Application) -> bytes:
        await application.send(DATA)
        application.end()
        return await application.rest()

    async with Backend(greet) as backend, pair("ws", backend.port) as both:
        slow = await Application.connect(both.port, receive_buffer=4096)
        await until(lambda: backend.accepted == 1)
        others = [await Application.connect(both.port) for _ in range(20)]
        for other in others:
            assert await other.rest() == DATA
            other.end()
        assert both.server.connections() <= 1 + 21
        assert connector_of(both.client).peer is Peer.SPAN
        assert await slow.rest() == DATA
        slow.end()
        with contextlib.ExitStack() as closing:
            for each in (slow, *others):
                closing.enter_context(each)
            assert [await backend.outcome() for _ in range(21)] == [b""] * 21
