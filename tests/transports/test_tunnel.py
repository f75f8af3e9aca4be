"""Connecting through one proxy: what is told of each thing that can go wrong, and what is left open."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from pathlib import Path

import pytest
from spnego.exceptions import SpnegoError
from tests.transports.conformance import Recorder, refused_port
from tests.transports.loops import (
    PATIENCE,
    event_loop_policy,
    nothing_left_open,
    on_each_loop,
    open_descriptors,
    turns,
    until,
)
from tests.transports.proxy_servers import (
    BUDGETS,
    HttpProxy,
    ProxyServer,
    Speak,
    basic,
    port_of,
    serve,
    socks5,
)
from tests.transports.test_http_authentication import Domain

from isthmus.config.model import ConnectOptions
from isthmus.config.proxies import Credential, Way, parse_proxy
from isthmus.errors import ConnectError
from isthmus.transports import http_authentication, stack
from isthmus.transports.outgoing import Outgoing
from isthmus.uri import Address, parse

__all__ = ["event_loop_policy"]
pytestmark = on_each_loop

ALICE = Credential("alice", "sesame")


class Attempt:
    """A connect to `address` through the proxy on `port`."""

    def __init__(
        self,
        port: int,
        address: str | Address,
        *,
        scheme: str = "http",
        seconds: float = 10.0,
        credential: Credential | None = None,
    ) -> None:
        self.proxy = parse_proxy(f"{scheme}://127.0.0.1:{port}")
        self.address = parse(address) if isinstance(address, str) else address
        self.above = Recorder()
        self.failures: list[ConnectError] = []
        outgoing = Outgoing(lambda _: Way((self.proxy,), None, "a test"), lambda _: credential)
        options = ConnectOptions(connect_timeout=seconds)
        made = stack.connector(self.address, options, _no_tls, "aiofastnet", BUDGETS, outgoing)
        self.dial = made.connect(self.above, self.failures.append)
        assert not self.above.events, "told before `connect` returned"
        assert not self.failures, "told before `connect` returned"

    async def made(self) -> Recorder:
        await until(lambda: self.above.made or self.failures, "a connection")
        assert not self.failures
        return self.above

    async def failure(self) -> ConnectError:
        await until(lambda: self.failures, "a failure")
        await turns(5)
        assert not self.above.events
        (error,) = self.failures
        return error

    def begins(self, error: ConnectError) -> str:
        """Return what an error says after the words that all have."""
        begin = f"Unable to connect to {self.address}: the proxy {self.proxy}"
        assert str(error).startswith(begin)
        return str(error).removeprefix(begin)


def _no_tls(_: ConnectOptions) -> ssl.SSLContext:
    raise AssertionError("there is no TLS here")


@pytest.mark.parametrize(
    ("scheme", "speak"), [("http", HttpProxy()), ("socks", socks5)], ids=["http", "socks"]
)
async def test_the_way_is_open(scheme: str, speak: Speak) -> None:
    with nothing_left_open():
        server = await serve(b"banner")
        async with server, ProxyServer(speak) as proxy:
            attempt = Attempt(proxy.port, f"tcp://gw.example.com:{port_of(server)}", scheme=scheme)
            above = await attempt.made()
            await until(lambda: above.data == b"banner", "what the server says first")
            above.below.write(b"hello")
            await until(lambda: above.data == b"bannerhello", "the echo")
            above.below.write_eof()
            await until(lambda: above.ended, "the end")
            above.below.close()
            await until(lambda: above.lost)
            assert above.in_order
            assert proxy.asked == [("gw.example.com", port_of(server))], "the proxy resolves the name"
        await turns(5)


async def test_what_comes_with_the_answer_is_the_destination_s() -> None:
    async def answer_and_more(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nbanner")
        await reader.read()

    async with ProxyServer(answer_and_more) as proxy:
        above = await Attempt(proxy.port, "tcp://gw:1").made()
        assert above.data == b"banner"
        above.call("abort")
        await until(lambda: above.lost)


@pytest.mark.parametrize("keeps", [True, False])
async def test_a_password(keeps: bool) -> None:
    server = await serve(b"")
    http = HttpProxy(basic(ALICE.user, ALICE.password), keeps=keeps)
    async with server, ProxyServer(http) as proxy:
        attempt = Attempt(proxy.port, f"tcp://gw:{port_of(server)}", credential=ALICE)
        above = await attempt.made()
        above.call("abort")
        await until(lambda: above.lost)
        assert proxy.connections == (1 if keeps else 2)
        assert [bool(each) for each in http.authorizations] == [False, True]
        error = await Attempt(proxy.port, "tcp://gw:1").failure()
        assert "407 Proxy Authentication Required; it offers Basic" in str(error)


@pytest.mark.parametrize("right", [True, False])
async def test_ntlm(right: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that checks the password as a domain does."""
    domain = Domain(tmp_path, monkeypatch, "ntlm")

    def challenges(authorization: str) -> list[str]:
        if not authorization:
            return ["Negotiate", "NTLM"] if right else ["NTLM"]
        try:
            challenge = domain.answer(authorization)
        except SpnegoError:
            return ["NTLM"]
        return [] if challenge is None else [challenge]

    monkeypatch.setattr(http_authentication, "_STRENGTH", ("ntlm", "basic"))
    server = await serve(b"hello")
    async with server, ProxyServer(HttpProxy(challenges)) as proxy:
        credential = Credential("CORP\\alice", "open sesame" if right else "open barley")
        attempt = Attempt(proxy.port, f"tcp://gw:{port_of(server)}", credential=credential)
        if right:
            above = await attempt.made()
            await until(lambda: above.data == b"hello")
            above.call("abort")
            await until(lambda: above.lost)
        else:
            error = await attempt.failure()
            assert "it does not take the user name and password of 'CORP\\\\alice' (NTLM)" in str(error)
        assert proxy.connections == 1


class SlowTicket:
    """Stands for Kerberos: its token comes when the loop says so, which it cannot while it is held up."""

    def __init__(self) -> None:
        self.may_go_on = threading.Event()
        self.complete = True
        self.threads: list[str] = []

    def step(self, token: bytes | None) -> bytes:
        self.threads.append(threading.current_thread().name)
        assert self.may_go_on.wait(PATIENCE), "the loop was held up"
        return b"ticket"


@pytest.mark.parametrize("end", ["opened", "cancelled", "proxy gone", "too late"])
async def test_a_token_that_takes_its_time_holds_nobody_up(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ticket = SlowTicket()
    monkeypatch.setattr("spnego.client", lambda *_, **__: ticket)
    http = HttpProxy(lambda authorization: [] if authorization else ["Negotiate"])
    server = await serve(b"hello")
    with nothing_left_open():
        async with server, ProxyServer(http) as proxy:
            seconds = 0.3 if end == "too late" else 10.0
            attempt = Attempt(proxy.port, f"tcp://gw:{port_of(server)}", seconds=seconds)
            await until(lambda: ticket.threads, "a thread that makes the token")
            await turns(20)
            assert not attempt.above.events
            if end == "cancelled":
                attempt.dial.cancel()
            elif end == "proxy gone":
                proxy.drop()
                await turns(20)
                assert not attempt.failures, "it is seen when the thread has come back"
            elif end == "too late":
                assert "within 0.3 s" in str(await attempt.failure())
            ticket.may_go_on.set()
            if end == "opened":
                above = await attempt.made()
                await until(lambda: above.data == b"hello")
                above.call("abort")
                await until(lambda: above.lost)
            elif end == "proxy gone":
                assert "it ended the connection" in str(await attempt.failure())
            await turns(20)
            assert all(name.startswith("isthmus-proxy-login") for name in ticket.threads)
            if end == "cancelled":
                assert not attempt.above.events
                assert not attempt.failures
        await turns(5)


async def test_a_proxy_that_is_not_there() -> None:
    holder, port = refused_port()
    with holder, nothing_left_open():
        attempt = Attempt(port, "ws://gw.example.com/x")
        error = await attempt.failure()
    assert attempt.begins(error) == ": Connection refused"
    assert error.status == 502


@pytest.mark.parametrize("address", ["tcp://gw:1", "ws://gw/"])
async def test_a_proxy_that_says_nothing(address: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, nothing_left_open():
        attempt = Attempt(silent.getsockname()[1], address, seconds=0.2)
        error = await attempt.failure()
        assert attempt.begins(error) == " did not open the way within 0.2 s"
        assert error.status == 504
        await turns(5)


async def test_a_proxy_that_refuses() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    async with ProxyServer(refuse) as proxy:
        with nothing_left_open():
            attempt = Attempt(proxy.port, "tcp://gw:22")
            error = await attempt.failure()
            await turns(5)
    assert attempt.begins(error) == ": it answers 403 Forbidden"
    assert "port 443 is allowed most often, not 22" in error.hint
    assert error.status == 502


async def test_a_proxy_that_cannot_be_asked() -> None:
    """SOCKS 4A has no way to write an IPv6 address."""
    async with ProxyServer(socks5) as proxy:
        attempt = Attempt(proxy.port, "tcp://[::1]:22", scheme="socks4a")
        error = await attempt.failure()
    assert attempt.begins(error) == ": SOCKS 4A has no IPv6 addresses"


@pytest.mark.parametrize("scheme", ["http", "socks"])
@pytest.mark.parametrize("reset", [True, False])
async def test_a_proxy_that_ends_the_connection(scheme: str, reset: bool) -> None:
    async def end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        if reset:
            writer.transport.abort()

    async with ProxyServer(end) as proxy:
        attempt = Attempt(proxy.port, "tcp://gw:1", scheme=scheme)
        error = await attempt.failure()
    assert attempt.begins(error).startswith(": it ended the connection without an answer")


@pytest.mark.parametrize("scheme", ["http", "socks"])
async def test_cancel_at_every_stage_leaves_nothing_open(scheme: str) -> None:
    server = await serve(b"banner")
    speak: Speak = socks5 if scheme == "socks" else HttpProxy(basic(ALICE.user, ALICE.password), keeps=False)
    async with server, ProxyServer(speak) as proxy:
        before = len(open_descriptors())
        for stage in range(12):
            attempt = Attempt(proxy.port, f"tcp://gw:{port_of(server)}", scheme=scheme, credential=ALICE)
            await turns(stage)
            attempt.dial.cancel()
            attempt.dial.cancel()
            told = len(attempt.above.events), len(attempt.failures)
            await asyncio.sleep(0.01)
            if attempt.above.made:
                attempt.above.call("abort")
                await until(lambda a=attempt: a.above.lost)
            else:
                assert (len(attempt.above.events), len(attempt.failures)) == told == (0, 0)
            await until(lambda: len(asyncio.all_tasks()) == 1, "the proxy has seen it too")
            await until(lambda: len(open_descriptors()) <= before, "every socket closed")
