"""Ways of several proxies, and where each of them is asked to go."""

from __future__ import annotations

import pytest
from tests.transports.conformance import Recorder, refused_port
from tests.transports.loops import until
from tests.transports.proxy_servers import (
    BUDGETS,
    HttpProxy,
    ProxyServer,
    basic,
    port_of,
    serve,
    socks4a,
    socks5,
)

from isthmus.config.model import ConnectOptions
from isthmus.config.proxies import Credential, Proxy, Way, parse_chain, way_to
from isthmus.errors import ConnectError
from isthmus.transports import stack
from isthmus.transports.outgoing import Outgoing
from isthmus.uri import parse


async def through(
    chain: str, address: str, credentials: dict[int, Credential] | None = None
) -> tuple[Recorder, list[ConnectError]]:
    """Connect, and wait for how that ends."""
    above, failures = Recorder(), list[ConnectError]()
    options = ConnectOptions(tcp_transport=parse_chain(chain))
    asked = credentials or {}

    def who(proxy: Proxy) -> Credential | None:
        return asked.get(proxy.port)

    outgoing = Outgoing(lambda at: way_to(at, options, {}), who)
    made = stack.connector(parse(address), options, lambda _: None, "layer", BUDGETS, outgoing)  # type: ignore[arg-type,return-value]
    made.connect(above, failures.append)
    await until(lambda: above.made or failures)
    return above, failures


async def test_a_chain() -> None:
    server = await serve(b"hello")
    port = port_of(server)
    one, two = Credential("one", "1"), Credential("two", "2")
    async with (
        server,
        ProxyServer(HttpProxy(basic("one", "1"))) as first,
        ProxyServer(socks5) as second,
        ProxyServer(HttpProxy(basic("two", "2"), keeps=False)) as third,
        ProxyServer(socks4a) as fourth,
    ):
        chain = f"http://127.0.0.1:{first.port} socks://b:{second.port} http://c:{third.port} socks4a://d:{fourth.port}"
        above, failures = await through(chain, f"tcp://gw:{port}", {first.port: one, third.port: two})
        assert not failures
        await until(lambda: above.data == b"hello")
        above.call("abort")
        await until(lambda: above.lost)
        assert first.asked == [("b", second.port)] * 2
        assert second.asked == [("c", third.port)] * 2
        assert third.asked == [("d", fourth.port)]
        assert fourth.asked == [("gw", port)]


async def test_the_second_proxy_refuses() -> None:
    async with ProxyServer(socks5) as first, ProxyServer(HttpProxy(basic("a", "b"))) as second:
        chain = f"socks://127.0.0.1:{first.port} http://two:{second.port}"
        _, (error,) = await through(chain, "tcp://gw:1")
        assert str(error).startswith(
            f"Unable to connect to tcp://gw:1/: the proxy http://two:{second.port}: "
        )
    holder, port = refused_port()
    with holder:
        _, (error,) = await through(f"socks://127.0.0.1:{port} http://two:1", "tcp://gw:1")
        assert f"the proxy socks://127.0.0.1:{port}: Connection refused" in str(error)


async def test_another_place_to_go() -> None:
    server = await serve(b"hello")
    port = port_of(server)
    async with server, ProxyServer(socks5) as proxy:
        for chain in (f"tcp://127.0.0.1:{port}", f"socks://127.0.0.1:{proxy.port} tcp://127.0.0.1:{port}"):
            above, failures = await through(chain, "tcp://gw.example.com:1")
            assert not failures
            await until(lambda a=above: a.data == b"hello")
            above.call("abort")
            await until(lambda a=above: a.lost)
        assert proxy.asked == [("127.0.0.1", port)]


def test_nothing_asked_for_is_a_direct_way() -> None:
    outgoing = Outgoing()
    assert outgoing.way(parse("tcp://gw:1")) == Way()
    proxy = Proxy("http", "a", 1, Credential("a", "b"))
    assert outgoing.credentials(proxy) == Credential("a", "b")


@pytest.mark.parametrize("host", ["gw.example.com.", "10.0.0.7", "[::1]"])
async def test_how_a_host_is_written(host: str) -> None:
    http = HttpProxy(basic("a", "b"))
    async with ProxyServer(http) as proxy:
        await through(f"http://127.0.0.1:{proxy.port}", f"tcp://{host}:22")
    assert http.targets == [f"{host.rstrip('.')}:22"]
