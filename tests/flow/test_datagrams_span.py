"""Flows over a session, through two gateways in this process with real sockets: beside streams, over cuts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.flow.gateways import HOST, Application, Backend, configuration, service
from tests.flow.gateways import echo as echo_stream
from tests.flow.loops import event_loop_policy
from tests.flow.test_datagrams import Udp, echo, running_flows
from tests.flow.test_faults import Cut, Faults
from tests.flow.test_span import NEVER, connector_of
from tests.system.process import free_port
from tests.transports.loops import nothing_left_open, on_each_loop, until

from isthmus.gateway import Gateway
from isthmus.services.flows import FlowService
from isthmus.services.streams_and_flows import StreamsAndFlows
from isthmus.uri import parse

__all__ = ["event_loop_policy"]
pytestmark = on_each_loop


class Both:
    """Two gateways that carry TCP and UDP on one port, in one service each."""

    def __init__(self, client: Gateway, server: Gateway, port: int) -> None:
        self.client = client
        self.server = server
        self.port = port

    def flows(self, gateway: Gateway) -> FlowService:
        (found,) = gateway._running
        assert isinstance(found, StreamsAndFlows)
        return found.flows


@contextlib.asynccontextmanager
async def both(tcp: int, udp: int, *, web_port: int = 0, through: int = 0, **web: Any) -> AsyncIterator[Both]:
    port, web_port = free_port(), web_port or free_port()
    uri = f"ws://{HOST}:{through or web_port}/both"
    bind = {"ws.bind": f"{HOST}:{web_port}"} if through else {}
    far = service("proxy", uri, f"tcp://{HOST}:{tcp}", accept_options=bind)
    far = far.model_copy(update={"connects": (*far.connects, parse(f"udp://{HOST}:{udp}"))})
    options = {name.replace("_", "."): value for name, value in web.items()}
    near = service("proxy", [f"tcp://{HOST}:{port}", f"udp://{HOST}:{port}"], uri, connect_options=options)
    with nothing_left_open():
        async with running_flows(configuration(far)) as server, running_flows(configuration(near)) as client:
            yield Both(client, server, port)
        await asyncio.sleep(0.05)


async def test_streams_and_flows_of_one_service_go_to_their_own() -> None:
    async with (
        Backend(echo_stream) as tcp,
        echo() as udp,
        both(tcp.port, udp.port) as through,
    ):
        with Udp(to=through.port) as flow:
            flow.send(b"datagram")
            assert (await flow.receive())[0] == b"datagram"
            stream = await Application.connect(through.port)
            with stream:
                await stream.send(b"stream")
                assert await stream.exactly(6) == b"stream"
                session = connector_of(through.client)._session
                assert session is not None
                await until(lambda: len(session.session.carriers) == 2, "a carrier for datagrams")
                flow.send(b"again")
                assert (await flow.receive())[0] == b"again"
                assert session.session.flows.slot == 1
                stream.end()
                assert await stream.rest() == b""
            await tcp.outcome()
        assert through.flows(through.client).counters.flows == 1
        assert through.flows(through.server).counters.flows == 1


@pytest.mark.parametrize("way", ["FIN", "RST"])
async def test_a_flow_keeps_its_port_over_a_cut(way: str) -> None:
    web_port = free_port()
    async with Faults(web_port) as faults:
        faults.cuts += [Cut(way, "up", 8_000), *[NEVER] * 20]
        with Udp(bind=0) as server:
            port = free_port()
            uri = f"ws://{HOST}:{faults.port}/udp"
            bind = {"ws.bind": f"{HOST}:{web_port}"}
            far = service("proxy", uri, f"udp://{HOST}:{server.port}", accept_options=bind)
            near = service("proxy", f"udp://{HOST}:{port}", uri)
            async with running_flows(configuration(far)), running_flows(configuration(near)) as client:
                with Udp(to=port) as flow:
                    ports: set[Any] = set()
                    connector = None
                    for number in range(400):
                        flow.send(number.to_bytes(4, "big") + bytes(500))
                        await asyncio.sleep(0.005)
                        while True:
                            try:
                                data, sender = server.socket.recvfrom(2_000)
                            except BlockingIOError:
                                break
                            assert len(data) == 504
                            ports.add(sender)
                            server.send(data, sender)
                    connector = connector_of(client)
                    assert connector._session is not None
                    counters = connector._session.session.counters
                    assert counters.carriers_lost >= 1
                    assert counters.resumes >= 1
                    assert len(ports) == 1, "the server saw another port"
                    came = 0
                    while flow.waiting() is not None:
                        came += 1
                    assert came > 200
                (flows,) = client._running
                assert isinstance(flows, FlowService)
                assert flows.counters.flows == 1


async def test_beside_streams_a_server_without_span_gets_no_datagrams() -> None:
    port, web_port = free_port(), free_port()
    async with Backend(echo_stream) as tcp:
        far = service(
            "proxy",
            f"ws://{HOST}:{web_port}/both",
            f"tcp://{HOST}:{tcp.port}",
            accept_options={"span.mode": "never"},
        )
        near = service(
            "proxy", [f"tcp://{HOST}:{port}", f"udp://{HOST}:{port}"], f"ws://{HOST}:{web_port}/both"
        )
        async with running_flows(configuration(far)), running_flows(configuration(near)) as client:
            (running,) = client._running
            assert isinstance(running, StreamsAndFlows)
            with Udp(to=port) as flow:
                flow.send(b"a")
                await until(lambda: running.counters.failed == 1)
            stream = await Application.connect(port)
            with stream:
                await stream.send(b"stream")
                assert await stream.exactly(6) == b"stream"
                stream.end()
                assert await stream.rest() == b""


async def test_a_server_of_streams_takes_no_datagrams_and_says_so() -> None:
    port, web_port = free_port(), free_port()
    async with Backend(echo_stream) as tcp:
        far = service("proxy", f"ws://{HOST}:{web_port}/x", f"tcp://{HOST}:{tcp.port}")
        near = service("proxy", f"udp://{HOST}:{port}", f"ws://{HOST}:{web_port}/x")
        async with running_flows(configuration(far)), running_flows(configuration(near)) as client:
            (flows,) = client._running
            assert isinstance(flows, FlowService)
            with Udp(to=port) as flow:
                flow.send(b"a")
                await until(lambda: flows.counters.failed == 1)
                assert flows.counters.dropped_failed == 1
            assert tcp.accepted == 0


async def test_the_limit_of_the_servers_service_ends_the_idlest() -> None:
    port, web_port = free_port(), free_port()
    async with echo() as udp:
        uri = f"ws://{HOST}:{web_port}/udp"
        limit = {"udp.maximum.flows": "5"}
        far = service("proxy", uri, f"udp://{HOST}:{udp.port}", connect_options=limit)
        near = service("proxy", f"udp://{HOST}:{port}", uri)
        async with running_flows(configuration(far)) as server, running_flows(configuration(near)) as client:
            senders = [Udp(to=port) for _ in range(20)]
            for sender in senders:
                sender.send(b"x")
                assert (await sender.receive())[0] == b"x"
            (at_server,), (at_client,) = server._running, client._running
            assert isinstance(at_server, FlowService)
            assert isinstance(at_client, FlowService)
            assert at_server.counters.evicted == 15
            await until(lambda: at_client.connections() == 5, "the client was told")
            for sender in senders:
                sender.socket.close()
