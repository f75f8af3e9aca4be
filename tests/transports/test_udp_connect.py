"""The far side of flows to a UDP server, on real sockets."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
from tests.transports.loops import event_loop_policy, nothing_left_open, on_each_loop, turns, until
from tests.transports.test_ws_datagrams import Above

from isthmus.config.model import ConnectOptions
from isthmus.errors import ConnectError
from isthmus.transports.datagrams import DatagramCounters
from isthmus.transports.udp_connect import UdpConnector
from isthmus.uri import parse

__all__ = ["event_loop_policy"]
pytestmark = on_each_loop


class Server:
    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((host, port))
        self.socket.settimeout(5)
        self.port: int = self.socket.getsockname()[1]

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


class Scene:
    def __init__(self, uri: str, **options: object) -> None:
        self.counters = DatagramCounters()
        values = {name.replace("_", "."): value for name, value in options.items()}
        self.connector = UdpConnector(parse(uri), ConnectOptions.model_validate(values), self.counters)
        self.failures: list[ConnectError] = []

    async def connect(self) -> Above:
        above = Above()
        dial = self.connector.connect(above, self.failures.append, origin="192.0.2.1:1")
        assert above.transport is None
        await until(lambda: above.transport or self.failures)
        assert dial is not None
        return above


async def test_a_flow_has_a_socket_and_keeps_its_port(server: Server) -> None:
    with nothing_left_open():
        scene = Scene(f"udp://127.0.0.1:{server.port}")
        one, other = await scene.connect(), await scene.connect()
        ports = set()
        for above in (one, other):
            for data in (b"a", b"", bytes(65_507)):
                above.transport.send([data])
                came, client = server.socket.recvfrom(70_000)
                assert came == data
                ports.add(client[1])
                server.socket.sendto(data, client)
            await until(lambda above=above: above.came == [b"a", b"", bytes(65_507)])
            assert above.transport.info("peername") == ("127.0.0.1", server.port)
            assert above.transport.info("sockname")[1] in ports
            assert above.transport.info("else") is None
            above.transport.close()
            above.transport.close()
            above.transport.send([b"not sent"])
            assert above.transport.info("peername") is None
        assert len(ports) == 2
        assert scene.counters == DatagramCounters()


async def test_datagrams_of_anybody_else_are_not_taken(server: Server) -> None:
    scene = Scene(f"udp://127.0.0.1:{server.port}")
    above = await scene.connect()
    with Server() as stranger:
        stranger.socket.sendto(b"spoofed", above.transport.info("sockname"))
    server.socket.sendto(b"true", above.transport.info("sockname"))
    await until(lambda: above.came)
    assert above.came == [b"true"]
    above.transport.close()


async def test_a_server_that_restarts(server: Server) -> None:
    """Nobody there is counted and ends nothing; the same flow, from the same port, goes on afterwards."""
    scene = Scene(f"udp://127.0.0.1:{server.port}")
    above = await scene.connect()
    server.socket.close()
    for _ in range(3):
        above.transport.send([b"lost"])
        await turns(5)
    assert scene.counters.unreachable >= 1
    assert above.lost == []
    with Server(port=server.port) as again:
        above.transport.send([b"hello", b"again"])
        assert again.socket.recvfrom(100) == (b"hello", above.transport.info("sockname"))
        assert again.socket.recvfrom(100)[0] == b"again"
    above.transport.close()
    assert scene.counters.dropped == 0


async def test_an_oversized_datagram_is_dropped_alone(server: Server) -> None:
    scene = Scene(f"udp://127.0.0.1:{server.port}")
    above = await scene.connect()
    above.transport.send([b"a", bytes(65_527), b"b"])
    assert [server.socket.recv(100), server.socket.recv(100)] == [b"a", b"b"]
    assert scene.counters.dropped_oversized == 1
    above.transport.close()


async def test_a_name_is_resolved_once_for_many(server: Server) -> None:
    scene = Scene(f"udp://localhost:{server.port}")
    loop = asyncio.get_running_loop()
    asked = 0
    real = loop.getaddrinfo

    async def ask(*arguments: Any, **more: Any) -> Any:
        nonlocal asked
        asked += 1
        return [each for each in await real(*arguments, **more) if each[0] == socket.AF_INET]

    connector = scene.connector
    with mock.patch.object(connector, "_loop", _Loop(loop, ask)):
        flows = await asyncio.gather(*(scene.connect() for _ in range(10)))
        flows.append(await scene.connect())
    assert asked == 1
    assert scene.failures == []
    for flow in flows:
        flow.transport.send([b"a"])
        assert server.socket.recv(100) == b"a"
        flow.transport.close()


class _Loop:
    """A loop whose `getaddrinfo` is another: uvloop's own cannot be replaced."""

    def __init__(self, loop: asyncio.AbstractEventLoop, getaddrinfo: Any) -> None:
        self._loop = loop
        self.getaddrinfo = getaddrinfo

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)


async def test_a_name_that_does_not_exist() -> None:
    scene = Scene("udp://does-not-exist.invalid:53")
    await scene.connect()
    (error,) = scene.failures
    assert "cannot be resolved" in str(error)


async def test_a_name_that_is_not_answered() -> None:
    scene = Scene("udp://name.invalid:53", connect_timeout="0.05")

    async def never(*_: Any, **__: Any) -> Any:
        await asyncio.sleep(60)

    with mock.patch.object(scene.connector, "_loop", _Loop(asyncio.get_running_loop(), never)):
        await scene.connect()
    (error,) = scene.failures
    assert error.status == 504


async def test_a_connect_that_is_given_up(server: Server) -> None:
    for host in ("127.0.0.1", "localhost"):
        scene = Scene(f"udp://{host}:{server.port}")
        above = Above()
        scene.connector.connect(above, scene.failures.append).cancel()
        await asyncio.sleep(0.05)
        assert above.transport is None
        assert scene.failures == []
        scene.connector.close()


async def test_it_comes_from_where_it_should(server: Server) -> None:
    scene = Scene(f"udp://127.0.0.1:{server.port}", udp_bind="127.0.0.5")
    above = await scene.connect()
    above.transport.send([b"a"])
    assert server.socket.recvfrom(100)[1][0] == "127.0.0.5"
    above.transport.close()


async def test_a_local_address_that_cannot_be(server: Server) -> None:
    scene = Scene(f"udp://127.0.0.1:{server.port}", udp_bind="192.0.2.1")
    await scene.connect()
    (error,) = scene.failures
    assert str(error) == (
        f"Unable to connect to udp://127.0.0.1:{server.port}/ from 192.0.2.1:0 (udp.bind): "
        "Cannot assign requested address"
    )


async def test_no_descriptor_is_left(server: Server) -> None:
    scene = Scene(f"udp://127.0.0.1:{server.port}")
    with mock.patch("socket.socket", side_effect=OSError(errno.EMFILE, "Too many open files")):
        await scene.connect()
    (error,) = scene.failures
    assert "ulimit -n" in error.hint


async def test_ipv6() -> None:
    try:
        bound = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        bound.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6")
    with bound:
        bound.settimeout(5)
        scene = Scene(f"udp://[::1]:{bound.getsockname()[1]}")
        above = await scene.connect()
        above.transport.send([bytes(65_527)])
        assert bound.recv(70_000) == bytes(65_527)
        above.transport.close()
