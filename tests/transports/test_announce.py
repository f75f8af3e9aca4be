"""What a server is told first, on its socket, in a tunnel and before TLS."""

from __future__ import annotations

import asyncio
import socket

import pytest
from tests.transports.conformance import Recorder, certificates
from tests.transports.loops import event_loop_policy, on_each_loop, until
from tests.transports.proxy_servers import BUDGETS, HttpProxy, ProxyServer, port_of, serve

from isthmus.config.model import ConnectOptions
from isthmus.config.proxies import Way, parse_proxy
from isthmus.errors import ConnectError
from isthmus.transports import stack
from isthmus.transports.base import Origin
from isthmus.transports.outgoing import Outgoing
from isthmus.transports.proxy_protocol import Version, header
from isthmus.uri import parse

__all__ = ["event_loop_policy"]
pytestmark = on_each_loop

ORIGIN = Origin(("192.0.2.7", 51324), ("203.0.113.1", 443))


def connect(
    address: str, version: Version, origin: str, outgoing: Outgoing | None = None
) -> tuple[Recorder, list[ConnectError]]:
    above, failures = Recorder(), list[ConnectError]()
    made = stack.connector(
        parse(address),
        ConnectOptions(proxy_protocol=version),
        lambda _: certificates()[1],
        "aiofastnet",
        BUDGETS,
        outgoing,
    )
    assert str(made.address) == str(parse(address))
    made.connect(above, failures.append, origin=origin)
    return above, failures


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("origin", ["192.0.2.7:51324", "unix", ""])
@pytest.mark.parametrize("tunnel", [False, True])
async def test_it_comes_first(version: Version, origin: str, tunnel: bool) -> None:
    server = await serve(b"")
    async with server, ProxyServer(HttpProxy()) as proxy:
        way = Way((parse_proxy(f"http://127.0.0.1:{proxy.port}"),), None, "a test") if tunnel else Way()
        address = f"tcp://127.0.0.1:{port_of(server)}"
        above, failures = connect(
            address, version, origin, Outgoing(lambda _: way, accept=parse("ws://203.0.113.1:443/"))
        )
        await until(lambda: above.made or failures)
        assert not failures
        above.below.write(b"hello")
        expected = header(ORIGIN if origin.startswith("192") else None, version) + b"hello"
        await until(lambda: above.data == expected, "the echo of all that was sent")
        above.call("abort")
        await until(lambda: above.lost)


async def test_it_comes_before_tls() -> None:
    def serve_one(listener: socket.socket) -> bytes:
        accepted, _ = listener.accept()
        accepted.settimeout(20)
        told = b""
        while not told.endswith(b"\r\n"):
            told += accepted.recv(1)
        with certificates()[0].wrap_socket(accepted, server_side=True) as secure:
            secure.sendall(secure.recv(100))
            secure.recv(100)
        return told

    with socket.create_server(("127.0.0.1", 0)) as listener:
        served = asyncio.create_task(asyncio.to_thread(serve_one, listener))
        above, failures = connect(f"ssl://localhost:{listener.getsockname()[1]}", "v1", "[2001:db8::7]:1")
        await until(lambda: above.made or failures)
        assert not failures
        above.below.write(b"hello")
        await until(lambda: above.data == b"hello")
        above.call("close")
        await until(lambda: above.lost)
        assert await served == b"PROXY TCP6 2001:db8::7 :: 1 0\r\n"
