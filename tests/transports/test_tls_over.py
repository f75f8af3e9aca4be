"""TLS within a tunnel, and to a proxy itself."""

from __future__ import annotations

import asyncio
import ssl

import pytest
from tests.transports.conformance import Recorder, certificates
from tests.transports.loops import event_loop_policy, on_each_loop, open_descriptors, turns, until
from tests.transports.proxy_servers import BUDGETS, HttpProxy, ProxyServer, port_of, serve

from isthmus.config.model import ConnectOptions
from isthmus.config.proxies import Way, parse_proxy
from isthmus.errors import ConnectError
from isthmus.transports import stack
from isthmus.transports.outgoing import Outgoing
from isthmus.uri import parse

__all__ = ["event_loop_policy"]
pytestmark = on_each_loop


def connect(
    address: str, proxy: str, believed: ssl.SSLContext, seconds: float = 10.0
) -> tuple[Recorder, list[ConnectError], object]:
    above, failures = Recorder(), list[ConnectError]()
    outgoing = Outgoing(lambda _: Way((parse_proxy(proxy),), None, "a test"))
    options = ConnectOptions(connect_timeout=seconds)
    made = stack.connector(parse(address), options, lambda _: believed, "aiofastnet", BUDGETS, outgoing)
    dial = made.connect(above, failures.append)
    assert not above.events
    assert not failures
    return above, failures, dial


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_tls_in_a_tunnel(scheme: str) -> None:
    server, client = certificates()
    destination = await serve(b"", server)
    port = port_of(destination)
    async with destination, ProxyServer(HttpProxy(), server if scheme == "https" else None) as proxy:
        above, failures, _ = connect(f"ssl://localhost:{port}", f"{scheme}://127.0.0.1:{proxy.port}", client)
        await until(lambda: above.made or failures)
        assert not failures
        above.below.write(b"hello")
        await until(lambda: above.data == b"hello")
        above.call("abort")
        await until(lambda: above.lost)
        assert proxy.asked == [("localhost", port)]


async def test_a_destination_that_nobody_vouches_for() -> None:
    server, _ = certificates()
    destination = await serve(b"", server)
    address = f"ssl://localhost:{port_of(destination)}"
    async with destination, ProxyServer(HttpProxy()) as proxy:
        above, failures, _ = connect(address, f"http://127.0.0.1:{proxy.port}", ssl.create_default_context())
        await until(lambda: failures)
        assert str(failures[0]).startswith(f"Unable to connect to {address}/: ")
        assert "the proxy" not in str(failures[0])
        assert not above.made


async def test_a_proxy_that_nobody_vouches_for() -> None:
    server, _ = certificates()
    async with ProxyServer(HttpProxy(), server) as proxy:
        uri = f"https://127.0.0.1:{proxy.port}"
        above, failures, _ = connect("tcp://gw:1", uri, ssl.create_default_context())
        await until(lambda: failures)
        assert str(failures[0]).startswith(f"Unable to connect to tcp://gw:1/: the proxy {uri}: ")
        assert "certificate" in str(failures[0])
        assert not above.made


async def test_a_proxy_that_speaks_no_tls() -> None:
    async with ProxyServer(HttpProxy()) as proxy:
        _, failures, _ = connect("tcp://gw:1", f"https://127.0.0.1:{proxy.port}", certificates()[1], 0.3)
        await until(lambda: failures)
        assert "the proxy https://" in str(failures[0])


async def test_cancel_at_every_stage_leaves_nothing_open() -> None:
    server, client = certificates()
    destination = await serve(b"", server)
    address = f"ssl://localhost:{port_of(destination)}"
    async with destination, ProxyServer(HttpProxy(), server) as proxy:
        before = len(open_descriptors())
        for stage in range(0, 30, 3):
            above, failures, dial = connect(address, f"https://127.0.0.1:{proxy.port}", client)
            await turns(stage)
            made = above.made
            dial.cancel()  # type: ignore[attr-defined]
            await asyncio.sleep(0.02)
            assert not failures
            if made:
                above.call("abort")
                await until(lambda a=above: a.lost)
            else:
                assert not above.events
            await until(lambda: len(asyncio.all_tasks()) == 1, "the proxy has seen it too")
            await until(lambda: len(open_descriptors()) <= before, "every socket closed")
