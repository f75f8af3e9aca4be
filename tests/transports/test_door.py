"""How a Web server is asked: headers, Host, path, cookies and redirects, and to whom none of it is shown."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.transports.conformance import Recorder
from tests.transports.loops import turns, until
from tests.transports.proxy_servers import BEGINNING, BUDGETS, head_of, port_of

from isthmus.config.model import ConnectOptions
from isthmus.errors import ConnectError
from isthmus.transports import stack
from isthmus.uri import parse
from isthmus.websocket.handshake import accept_value


class WebServer:
    """Answers each handshake with the next of `answers` (`"101"`, or header lines of a redirect)."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, str]] = []
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> WebServer:
        self.server = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        await turns(BEGINNING)
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0)

    @property
    def uri(self) -> str:
        return f"ws://127.0.0.1:{port_of(self.server)}/app"

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        fields = head_of(await reader.readuntil(b"\r\n\r\n"))
        self.asked.append(fields)
        answer = self.answers.pop(0)
        if not answer.startswith("101"):
            writer.write(f"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n{answer}\r\n\r\n".encode())
            return
        lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
        lines.append(f"Sec-WebSocket-Accept: {accept_value(fields['sec-websocket-key'])}")
        lines += filter(None, [answer.removeprefix("101")])
        writer.write("\r\n".join([*lines, "", ""]).encode())


class Client:
    """Connects again and again to one destination."""

    def __init__(self, uri: str, **options: Any) -> None:
        values = {"span.mode": "never", **{name.replace("_", "."): each for name, each in options.items()}}
        self.connector = stack.connector(
            parse(uri), ConnectOptions.model_validate(values), _no_tls, "layer", BUDGETS
        )

    async def connect(self, origin: str = "") -> ConnectError | None:
        """Connect once; return what failed."""
        above, failures = Recorder(), list[ConnectError]()
        self.connector.connect(above, failures.append, origin=origin)
        await until(lambda: above.made or failures)
        if failures:
            return failures[0]
        above.call("abort")
        await until(lambda: above.lost)
        return None


def _no_tls(_: ConnectOptions) -> Any:
    raise AssertionError("there is no TLS here")


async def test_fronting() -> None:
    async with WebServer("101") as server:
        client = Client(
            server.uri,
            http_host="inner.example.com",
            http_path="/inner?a=b",
            http_headers=["X-Tenant: blue", "Authorization: Bearer c"],
        )
        assert await client.connect() is None
        (asked,) = server.asked
        assert (asked["host"], asked[""]) == ("inner.example.com", "/inner?a=b")
        assert (asked["x-tenant"], asked["authorization"]) == ("blue", "Bearer c")


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        ("x-forwarded-for", "x-forwarded-for", "192.0.2.7"),
        ("forwarded", "forwarded", 'for="192.0.2.7:1"'),
    ],
)
async def test_who_a_connection_is_for(kind: str, name: str, value: str) -> None:
    async with WebServer("101", "101") as server:
        client = Client(server.uri, http_forwarded=kind)
        await client.connect("192.0.2.7:1")
        await client.connect("unix")
        assert [asked.get(name) for asked in server.asked] == [value, None]


async def test_cookies_go_back() -> None:
    async with WebServer("101Set-Cookie: SRV=a1; Path=/", "101Set-Cookie: SRV=b2; Path=/", "101") as server:
        client = Client(server.uri, http_headers=["Cookie: own=1"])
        for _ in range(3):
            assert await client.connect() is None
        assert [asked.get("cookie") for asked in server.asked] == ["own=1", "own=1; SRV=a1", "own=1; SRV=b2"]
    async with WebServer("101Set-Cookie: SRV=a1", "101") as server:
        client = Client(server.uri, http_maximum_cookies=0)
        await client.connect()
        await client.connect()
        assert "cookie" not in server.asked[1]


async def test_a_redirect_is_not_followed_unasked() -> None:
    async with WebServer("Location: /elsewhere") as server:
        error = await Client(server.uri).connect()
        assert error is not None
        assert "answered 302 Found, a redirect to /elsewhere, which is not followed" in str(error)
        assert "http.maximum.redirects" in error.hint


async def test_a_redirect_within_the_server() -> None:
    async with WebServer("Location: /elsewhere?x\r\nSet-Cookie: SRV=a1; Path=/", "101") as server:
        client = Client(server.uri, http_maximum_redirects=1, http_headers=["X-Tenant: blue"], http_path="/p")
        assert await client.connect() is None
        first, second = server.asked
        assert (first[""], second[""]) == ("/p", "/elsewhere?x")
        assert second["x-tenant"] == "blue"
        assert second["cookie"] == "SRV=a1"


async def test_a_redirect_to_another_server_takes_nothing_along() -> None:
    async with WebServer("101", "101") as other:
        location = f"Location: http://localhost:{port_of(other.server)}/b\r\nSet-Cookie: SRV=a1"
        async with WebServer(location, location) as server:
            client = Client(
                server.uri,
                http_maximum_redirects=3,
                http_host="inner.example.com",
                http_headers=["Authorization: Bearer c", "Cookie: own=1"],
                http_forwarded="forwarded",
            )
            assert await client.connect("192.0.2.7:1") is None
            assert await client.connect("192.0.2.7:1") is None
        for asked in other.asked:
            assert asked["host"] == f"localhost:{port_of(other.server)}"
            assert asked[""] == "/b"
            assert not {"authorization", "cookie", "forwarded"} & set(asked)
        assert server.asked[1]["cookie"] == "own=1; SRV=a1"


async def test_redirects_in_a_circle() -> None:
    async with WebServer(*["Location: /round"] * 4) as server:
        error = await Client(server.uri, http_maximum_redirects=3).connect()
        assert error is not None
        assert "more than 3 redirects, the last one to " in str(error)
        assert len(server.asked) == 4


async def test_a_redirect_that_leads_nowhere() -> None:
    async with WebServer("Location: ftp://gw/") as server:
        error = await Client(server.uri, http_maximum_redirects=3).connect()
        assert error is not None
        assert "it redirects to 'ftp://gw/', which is no address of a WebSocket" in str(error)
