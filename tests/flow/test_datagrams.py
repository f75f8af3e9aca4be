"""Datagrams through two gateways in this process, over every scheme that carries them, with real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.flow.gateways import (
    HOST,
    client_security,
    configuration,
    running,
    server_security,
    service,
)
from tests.flow.loops import event_loop_policy
from tests.system.process import free_port
from tests.transports.loops import PATIENCE, nothing_left_open, on_each_loop, until

from isthmus.gateway import Gateway
from isthmus.services.flows import FlowService

__all__ = ["event_loop_policy"]
pytestmark = on_each_loop
each_way = pytest.mark.parametrize("way", ["udp", "ws", "wss", "ws plain", "wss plain"])
LARGEST = 65_507


class Udp:
    """A UDP socket on the running loop."""

    def __init__(self, host: str = HOST, *, bind: int | None = None, to: int = 0) -> None:
        self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.socket.setblocking(False)
        if bind is not None:
            self.socket.bind((host, bind))
        if to:
            self.socket.connect((host, to))

    @property
    def port(self) -> int:
        port: int = self.socket.getsockname()[1]
        return port

    def send(self, data: bytes, to: Any = None) -> None:
        if to is None:
            self.socket.send(data)
        else:
            self.socket.sendto(data, to)

    async def receive(self) -> tuple[bytes, Any]:
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(self.socket, readable.set)
        try:
            async with asyncio.timeout(PATIENCE):
                await readable.wait()
        finally:
            loop.remove_reader(self.socket)
        return self.socket.recvfrom(70_000)

    def waiting(self) -> bytes | None:
        """Return what came, or None where nothing did."""
        try:
            return self.socket.recv(70_000)
        except BlockingIOError:
            return None

    def __enter__(self) -> Udp:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


class Tunnel:
    """One gateway (udp to udp), or two with the Web between."""

    def __init__(self, gateways: list[Gateway], port: int) -> None:
        self.gateways = gateways
        self.port = port

    def flows(self, end: int) -> FlowService:
        """Return the service of the client's gateway (0) or of the server's (-1)."""
        (found,) = self.gateways[end]._running
        assert isinstance(found, FlowService)
        return found


@contextlib.asynccontextmanager
async def tunnel(way: str, backend: int, *, host: str = HOST, **options: str) -> AsyncIterator[Tunnel]:
    """Carry datagrams to `backend`; options are those of udp, for both gateways."""
    way, _, plain = way.partition(" ")
    web = {"span.mode": "never" if plain else "required"}
    values = {f"udp.{name.replace('_', '.')}": value for name, value in options.items()}
    port, web_port = free_port(), free_port()
    shown = f"[{host}]" if ":" in host else host
    accept, connect = f"udp://{shown}:{port}", f"udp://{shown}:{backend}"
    with nothing_left_open():
        async with contextlib.AsyncExitStack() as stack:
            if way == "udp":
                config = configuration(service("proxy", accept, connect, accept_options=values))
                yield Tunnel([await stack.enter_async_context(running_flows(config))], port)
                return
            uri = f"{way}://{HOST}:{web_port}/udp"
            far = service("proxy", uri, connect, accept_options=web, connect_options=values)
            near = service("proxy", accept, uri, accept_options=values, connect_options=web)
            secure = way == "wss"
            server = await stack.enter_async_context(
                running_flows(configuration(far, security=server_security() if secure else None))
            )
            client = await stack.enter_async_context(
                running_flows(configuration(near, security=client_security() if secure else None))
            )
            yield Tunnel([client, server], port)
        await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def running_flows(config: Any) -> AsyncIterator[Gateway]:
    """Run a gateway. Flows have no end of their own, so they need not be over."""
    async with contextlib.AsyncExitStack() as stack:
        context = running(config)
        gateway = await stack.enter_async_context(context)
        yield gateway
        await gateway.stop(0.0)


async def serve(server: Udp) -> None:
    """Send everything back, the name of the flow in front left as it is."""
    while True:
        data, client = await server.receive()
        server.send(data, client)


@contextlib.asynccontextmanager
async def echo(host: str = HOST, port: int = 0) -> AsyncIterator[Udp]:
    with Udp(host, bind=port) as server:
        task = asyncio.ensure_future(serve(server))
        yield server
        task.cancel()


@each_way
async def test_each_datagram_is_whole(way: str) -> None:
    async with echo() as server, tunnel(way, server.port) as through:
        with Udp(to=through.port) as client:
            for size in (0, 1, 100, 1472, 1500, 2048, 9000, 32_768, 65_000, LARGEST, 0):
                data = random.randbytes(size)
                client.send(data)
                assert (await client.receive())[0] == data
        assert [each.accepts.lines != [] for each in through.gateways]
        for gateway in through.gateways:
            (found,) = gateway._running
            assert isinstance(found, FlowService)
            assert found.counters.flows == 1
            assert found.counters.dropped == 0


@each_way
async def test_many_in_order(way: str) -> None:
    async with echo() as server, tunnel(way, server.port) as through:
        with Udp(to=through.port) as client:
            came: list[bytes] = []
            for number in range(0, 1000, 20):
                for each in range(number, number + 20):
                    client.send(each.to_bytes(4, "big") * 50)
                came += [(await client.receive())[0] for _ in range(20)]
            assert came == [each.to_bytes(4, "big") * 50 for each in range(1000)]


@each_way
async def test_a_first_datagram_is_not_lost_to_the_dial(way: str) -> None:
    async with echo() as server, tunnel(way, server.port) as through:
        for _ in range(20):
            with Udp(to=through.port) as client:
                client.send(b"question")
                client.send(b"another")
                assert (await client.receive())[0] == b"question"
                assert (await client.receive())[0] == b"another"


@each_way
async def test_clients_are_told_apart(way: str) -> None:
    async with echo() as server, tunnel(way, server.port) as through:
        clients = [Udp(to=through.port) for _ in range(20)]
        for turn in range(5):
            for number, client in enumerate(clients):
                client.send(bytes([number, turn]))
            for number, client in enumerate(clients):
                assert (await client.receive())[0] == bytes([number, turn])
        assert through.flows(0).connections() == through.flows(-1).connections() == len(clients)
        for client in clients:
            client.socket.close()


@each_way
async def test_a_flow_keeps_its_port_towards_the_server(way: str) -> None:
    with Udp(bind=0) as server:
        async with tunnel(way, server.port) as through:
            with Udp(to=through.port) as client, Udp(to=through.port) as other:
                ports = set()
                for _ in range(5):
                    client.send(b"a")
                    ports.add((await server.receive())[1])
                other.send(b"b")
                ports.add((await server.receive())[1])
                assert len(ports) == 2


@each_way
async def test_idle_flows_end_on_both_sides(way: str) -> None:
    async with echo() as server, tunnel(way, server.port, inactivity_timeout="200 ms") as through:
        with Udp(to=through.port) as client:
            client.send(b"a")
            await client.receive()
            await until(lambda: through.flows(0).connections() == through.flows(-1).connections() == 0)
            assert through.flows(0).counters.idle + through.flows(-1).counters.idle >= 1
            client.send(b"again")
            assert (await client.receive())[0] == b"again"


@each_way
async def test_a_server_that_is_away_and_comes_back(way: str) -> None:
    port = free_port()
    async with tunnel(way, port) as through:
        with Udp(to=through.port) as client:
            client.send(b"nobody")
            await until(lambda: through.flows(-1).counters.unreachable > 0)
            async with echo(port=port):
                client.send(b"back")
                assert (await client.receive())[0] == b"back"
        assert through.flows(-1).counters.flows == 1
        assert through.flows(0).connections() == 1


@each_way
@pytest.mark.parametrize("limit", ["maximum_flow_rate", "maximum_flows"])
async def test_a_flood_of_new_senders(way: str, limit: str) -> None:
    """Only as many as may begin do, or the idlest make room; who stands goes on."""
    async with echo() as server, tunnel(way, server.port, **{limit: "10"}) as through:
        flows = through.flows(0)
        senders = [Udp(to=through.port) for _ in range(200)]
        try:
            with Udp(to=through.port) as client:
                for number, sender in enumerate(senders):
                    if number % 4 == 0:
                        client.send(b"voice")
                        assert (await client.receive())[0] == b"voice"
                    sender.send(b"flood")
            await until(lambda: flows.counters.from_client + flows.counters.dropped_new == 250)
            if limit == "maximum_flows":
                assert flows.connections() <= 10
                assert flows.counters.evicted > 100
            else:
                assert flows.counters.dropped_new > 0
        finally:
            for sender in senders:
                sender.socket.close()


async def test_the_web_side_is_away() -> None:
    """UDP has no way to say so: the client hears nothing, the log does, and it is tried again later."""
    port, web_port = free_port(), free_port()
    near = service("proxy", f"udp://{HOST}:{port}", f"ws://{HOST}:{web_port}/udp")
    async with running_flows(configuration(near)) as gateway:
        (flows,) = gateway._running
        assert isinstance(flows, FlowService)
        with Udp(to=port) as client:
            client.send(b"a")
            client.send(b"b")
            await until(lambda: flows.counters.dropped_failed == 2)
            assert flows.counters.failed == 1
            async with echo() as server:
                far = service("proxy", f"ws://{HOST}:{web_port}/udp", f"udp://{HOST}:{server.port}")
                async with running_flows(configuration(far)):
                    await until(lambda: flows.connections() == 0, "the failed flow ends by itself")
                    client.send(b"c")
                    assert (await client.receive())[0] == b"c"
                # Now the WebSocket is closed, as the far gateway stops.
                await until(lambda: flows.connections() == 0)


@pytest.mark.parametrize("host", [HOST, "::1"])
@each_way
async def test_both_families(way: str, host: str) -> None:
    largest = LARGEST + 20 if ":" in host else LARGEST
    try:
        with Udp(host, bind=0):
            pass
    except OSError:
        pytest.skip("this machine has no IPv6")
    async with echo(host) as server, tunnel(way, server.port, host=host) as through:
        with Udp(host, to=through.port) as client:
            for data in (b"small", os.urandom(largest)):
                client.send(data)
                assert (await client.receive())[0] == data


async def test_an_echo_over_udp() -> None:
    port = free_port()
    config = configuration(service("echo", [f"udp://{HOST}:{port}", f"tcp://{HOST}:{port}"], repeat="2"))
    async with running_flows(config):
        with Udp(to=port) as client:
            client.send(b"again")
            assert (await client.receive())[0] == b"again"
            assert (await client.receive())[0] == b"again"


async def test_port_0_is_shown() -> None:
    config = configuration(service("echo", f"udp://{HOST}:0"))
    async with running_flows(config) as gateway:
        (line,) = gateway.accepts.lines
        assert line.startswith(f"udp://{HOST}:0/ @ {HOST}:")
        with Udp(to=int(line.rpartition(":")[2])) as client:
            client.send(b"a")
            assert (await client.receive())[0] == b"a"


async def test_a_plain_websocket_client_speaks_datagrams() -> None:
    """Any WebSocket client: one binary message is one datagram, also when it comes in fragments."""
    websockets = pytest.importorskip("websockets.asyncio.client")
    web_port = free_port()
    async with echo() as server:
        far = service("proxy", f"ws://{HOST}:{web_port}/udp", f"udp://{HOST}:{server.port}")
        async with (
            running_flows(configuration(far)),
            websockets.connect(f"ws://{HOST}:{web_port}/udp", max_size=None) as client,
        ):
            for data in (b"one", b"", os.urandom(LARGEST)):
                await client.send(data)
                assert await client.recv() == data
            await client.send([b"in ", b"three ", b"parts"])
            assert await client.recv() == b"in three parts"
            await client.send(os.urandom(LARGEST + 21))  # none
            await client.send(b"after")
            assert await client.recv() == b"after"


async def test_a_websocket_that_takes_nothing_makes_nothing_late() -> None:
    """Its datagrams are dropped and counted, not kept; when it reads again, fresh ones come."""
    server = pytest.importorskip("websockets.asyncio.server")
    port = free_port()
    reading = asyncio.Event()
    came: list[bytes] = []

    async def handle(connection: Any) -> None:
        await reading.wait()
        async for message in connection:
            came.append(message)  # noqa: PERF401

    async with server.serve(handle, HOST, 0, max_queue=1) as serving:
        web_port = serving.sockets[0].getsockname()[1]
        near = service("proxy", f"udp://{HOST}:{port}", f"ws://{HOST}:{web_port}/udp")
        async with running_flows(configuration(near)) as gateway:
            (flows,) = gateway._running
            assert isinstance(flows, FlowService)
            with Udp(to=port) as client:
                sent = 0
                while not flows.counters.dropped_late and sent < 40_000:
                    for _ in range(20):
                        client.send(sent.to_bytes(4, "big") + bytes(1400))
                        sent += 1
                    await asyncio.sleep(0.005)
                assert flows.counters.dropped_late > 0
                await asyncio.sleep(0.1)
                for number in range(30):
                    client.send(b"late %d" % number)
                await until(lambda: flows.counters.from_client == sent + 30)
                await asyncio.sleep(0.1)
                reading.set()
                # Until there is room again, and what waited is older than it may be.
                while b"fresh" not in came:
                    client.send(b"fresh")
                    await asyncio.sleep(0.01)
                assert not any(each.startswith(b"late") for each in came)
                numbers = [int.from_bytes(each[:4], "big") for each in came if len(each) > 1000]
                assert numbers == sorted(numbers)
                counters = flows.counters
                await until(lambda: len(came) + counters.dropped_late == counters.from_client)
