"""Both ways to speak TLS over real sockets, through `accept_tls` and `connect_tls`."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import trustme
import uvloop
from tests.transports.memory import Watcher

from isthmus import uri
from isthmus.errors import ConnectError, StreamReset
from isthmus.transports import tls_socket
from isthmus.transports.base import Dial
from isthmus.transports.tls import Kind, accept_tls, connect_tls

CUT = "the TLS connection was cut off: it ended without close_notify"
KINDS: tuple[Kind, ...] = ("aiofastnet", "layer")
kinds = pytest.mark.parametrize("kind", KINDS)
ADDRESS = uri.parse("wss://gw.example.com/ssh")


@dataclass
class Settings:
    client: ssl.SSLContext
    server: ssl.SSLContext


@pytest.fixture(scope="module")
def settings() -> Settings:
    authority = trustme.CA()
    client, server = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.configure_trust(client)
    authority.issue_cert("gw.example.com").configure_cert(server)
    return Settings(client, server)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A connected pair of TCP sockets that do not block."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        server, _ = listening.accept()
    for each in (client, server):
        each.setblocking(False)
    yield client, server
    client.close()
    server.close()


class Side(Watcher):
    """A receiver on the event loop: `await side.until("eof")`."""

    def __init__(self) -> None:
        super().__init__()
        self.failure: ConnectError | None = None

    def failed(self, error: ConnectError) -> None:
        assert self.failure is None
        assert self.events == []
        self.failure = error

    async def until(self, condition: str | Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not (condition() if callable(condition) else condition in self.events):  # noqa: ASYNC110 -- there is no event for "so much data"
                await asyncio.sleep(0.001)


def start(
    kind: Kind,
    settings: Settings,
    pair: tuple[socket.socket, socket.socket],
    *,
    host: str = "gw.example.com",
    server_kind: Kind | None = None,
) -> tuple[Side, Side]:
    client, server = Side(), Side()
    address = uri.parse(f"wss://{host}/ssh")
    accept_tls(pair[1], settings.server, server, handshake_timeout=10, kind=server_kind or kind)
    connect_tls(pair[0], settings.client, address, client, client.failed, handshake_timeout=10, kind=kind)
    assert client.events == server.events == []
    return client, server


async def connected(
    kind: Kind, settings: Settings, pair: tuple[socket.socket, socket.socket]
) -> tuple[Side, Side]:
    client, server = start(kind, settings, pair)
    await client.until("made")
    await server.until("made")
    return client, server


# --- what both kinds do


@kinds
async def test_data_crosses_both_ways(
    kind: Kind, settings: Settings, pair: tuple[socket.socket, socket.socket]
) -> None:
    here = pair[0].getsockname()
    client, server = await connected(kind, settings, pair)
    client.call("write", b"ping")
    server.call("writelines", [b"po", bytearray(b"ng")])
    await client.until(lambda: client.data == b"pong")
    await server.until(lambda: server.data == b"ping")
    assert server.transport is not None
    assert server.transport.info("peername") == here
    assert server.transport.info("scheme") == "tls"
    assert server.transport.info("ssl_object").version() == "TLSv1.3"
    assert server.transport.info("nonsense") is None
    client.call("close")
    await client.until("lost")
    await server.until("eof")
    server.call("close")
    await server.until("lost")
    assert (client.error, server.error) == (None, None)


@kinds
def test_it_works_on_uvloop(
    kind: Kind, settings: Settings, pair: tuple[socket.socket, socket.socket]
) -> None:
    async def main() -> None:
        client, server = await connected(kind, settings, pair)
        client.call("write", b"u" * 1_000_000)
        client.call("close")
        await server.until("eof")
        server.call("close")
        await client.until("lost")
        await server.until("lost")
        assert server.data == b"u" * 1_000_000
        assert (client.error, server.error) == (None, None)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


@kinds
async def test_a_large_transfer_to_a_slow_reader_holds_the_writer_back(
    kind: Kind, settings: Settings, pair: tuple[socket.socket, socket.socket]
) -> None:
    client, server = await connected(kind, settings, pair)
    pieces, size = 300, 100_000
    largest = 0
    client.call("set_write_limit", 200_000)
    server.pause()

    async def read_slowly() -> None:
        while len(server.data) < pieces * size:
            server.resume()
            await asyncio.sleep(0.001)
            server.pause()
            await asyncio.sleep(0.001)
        server.resume()

    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        reading: asyncio.Task[None] | None = None
        for number in range(pieces):
            client.call("write", bytearray(number.to_bytes(4, "big") * (size // 4)))
            assert client.transport is not None
            largest = max(largest, client.transport.unsent())
            if client.write_paused and reading is None:
                reading = tasks.create_task(read_slowly())
            while client.write_paused:  # noqa: ASYNC110
                await asyncio.sleep(0.0005)
    assert reading is not None
    assert largest <= 200_000 + size + 193 * 1024 + 1024  # with what is encrypted already
    assert server.data == b"".join(number.to_bytes(4, "big") * (size // 4) for number in range(pieces))
    client.call("close")
    await server.until("eof")
    server.call("close")
    await client.until("lost")
    await server.until("lost")


@kinds
async def test_close_sends_everything_first(
    kind: Kind, settings: Settings, pair: tuple[socket.socket, socket.socket]
) -> None:
    client, server = await connected(kind, settings, pair)
    server.pause()
    client.call("write", b"b" * 20_000_000)
    client.pause()
    client.call("close")
    with pytest.raises(RuntimeError):
        client.call("write", b"more")
    await asyncio.sleep(0.01)
    server.resume()
    await server.until("eof")
    server.call("close")
    await client.until("lost")
    assert len(server.data) == 20_000_000
    assert client.error is None


@kinds
async def test_truncation_is_a_loss(
    kind: Kind, settings: Settings, pair: tuple[socket.socket, socket.socket]
) -> None:
    client, server = await connected(kind, settings, pair)
    client.call("write", b"half of it")
    assert client.transport is not None
    client.transport.info("socket").shutdown(socket.SHUT_WR)
    await server.until("lost")
    assert server.data == b"half of it"
    assert "eof" not in server.events
    assert isinstance(server.error, StreamReset)
    assert str(server.error) == CUT
    await client.until("lost")
    assert isinstance(client.error, StreamReset)


@kinds
async def test_abort_is_a_reset(
    kind: Kind, settings: Settings, pair: tuple[socket.socket, socket.socket]
) -> None:
    client, server = await connected(kind, settings, pair)
    server.call("write", b"read, so that nothing unread makes the kernel reset by itself")
    await client.until(lambda: bool(client.data))
    client.call("abort")
    client.call("abort")
    await client.until("lost")
    await server.until("lost")
    assert str(client.error) == "the connection was aborted by this gateway"
    assert isinstance(server.error, StreamReset)
    assert isinstance(server.error.__cause__, ConnectionResetError)


@kinds
async def test_a_receiver_may_be_replaced(
    kind: Kind, settings: Settings, pair: tuple[socket.socket, socket.socket]
) -> None:
    client, server = await connected(kind, settings, pair)
    other = Side()
    other.events.append("made")
    server.call("set_receiver", other)
    client.call("write", b"for the other")
    client.call("close")
    await other.until("eof")
    assert other.data == b"for the other"
    assert not server.data
    server.call("close")
    await other.until("lost")
    await client.until("lost")


# --- handshakes that fail


@kinds
async def test_a_wrong_certificate_is_explained(
    kind: Kind,
    settings: Settings,
    pair: tuple[socket.socket, socket.socket],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    client, server = start(kind, settings, pair, host="other.example.com")
    await client.until(lambda: client.failure is not None)
    text = str(client.failure)
    assert text.startswith("Unable to connect to wss://other.example.com:443/ssh: its certificate O")
    assert text.endswith(" is for gw.example.com, not for other.example.com")
    assert " (valid 20" in text
    await server.until(lambda: bool(caplog.messages))
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("TLS handshake failed: the client 127.0.0.1:")
    told = {
        "aiofastnet": "closed the connection during the TLS handshake",  # it sends no alert
        "layer": "does not accept the certificate of this gateway",
    }
    assert caplog.messages[0].endswith(told[kind])
    assert client.events == server.events == []


@kinds
async def test_a_server_that_speaks_no_tls(
    kind: Kind, settings: Settings, pair: tuple[socket.socket, socket.socket]
) -> None:
    client = Side()
    connect_tls(pair[0], settings.client, ADDRESS, client, client.failed, handshake_timeout=10, kind=kind)
    pair[1].send(b"SSH-2.0-OpenSSH_9.2\r\n")
    await client.until(lambda: client.failure is not None)
    assert client.failure is not None
    assert (
        str(client.failure)
        == "Unable to connect to wss://gw.example.com:443/ssh: the server does not speak TLS"
    )
    assert client.failure.status == 502
    assert client.failure.hint == "check scheme and port: it may be meant for ws, http or tcp"


@kinds
async def test_a_client_that_speaks_plain_http(
    kind: Kind,
    settings: Settings,
    pair: tuple[socket.socket, socket.socket],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    server = Side()
    told: list[bool] = []
    port = pair[0].getsockname()[1]
    accept_tls(
        pair[1], settings.server, server, handshake_timeout=10, kind=kind, failed=lambda: told.append(True)
    )
    pair[0].send(b"GET / HTTP/1.1\r\n\r\n")
    await server.until(lambda: bool(told))
    assert caplog.messages == [
        f"TLS handshake failed: the client 127.0.0.1:{port} does not speak TLS but plain HTTP"
    ]
    assert told == [True]
    assert server.events == []


@kinds
async def test_an_old_client_is_refused(
    kind: Kind, settings: Settings, pair: tuple[socket.socket, socket.socket]
) -> None:
    newest = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    newest.minimum_version = ssl.TLSVersion.TLSv1_3
    trustme.CA().issue_cert("gw.example.com").configure_cert(newest)
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    client, _ = start(kind, Settings(old, newest), pair, server_kind="layer")
    await client.until(lambda: client.failure is not None)
    assert str(client.failure) == (
        "Unable to connect to wss://gw.example.com:443/ssh: "
        "the server and this gateway have no TLS version in common"
    )


@kinds
@pytest.mark.parametrize("reset", [False, True])
async def test_a_server_that_goes_away(
    kind: Kind, settings: Settings, pair: tuple[socket.socket, socket.socket], reset: bool
) -> None:
    client = Side()
    if reset:
        pair[1].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connect_tls(pair[0], settings.client, ADDRESS, client, client.failed, handshake_timeout=10, kind=kind)
    pair[1].close()
    await client.until(lambda: client.failure is not None)
    assert str(client.failure) == (
        "Unable to connect to wss://gw.example.com:443/ssh: "
        "the server closed the connection during the TLS handshake"
    )


@kinds
async def test_a_handshake_has_a_time_limit(
    kind: Kind, settings: Settings, pair: tuple[socket.socket, socket.socket]
) -> None:
    client = Side()
    connect_tls(pair[0], settings.client, ADDRESS, client, client.failed, handshake_timeout=0.05, kind=kind)
    await client.until(lambda: client.failure is not None)
    assert client.failure is not None
    assert client.failure.status == 504
    assert str(client.failure) == (
        "Unable to connect to wss://gw.example.com:443/ssh: "
        "the server did not finish the TLS handshake in time"
    )
    assert pair[0].fileno() == -1


@kinds
async def test_a_client_that_says_nothing_is_dropped(
    kind: Kind,
    settings: Settings,
    pair: tuple[socket.socket, socket.socket],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    server = Side()
    accept_tls(pair[1], settings.server, server, handshake_timeout=0.05, kind=kind)
    await server.until(lambda: bool(caplog.messages))
    assert caplog.messages[0].endswith(" did not finish the TLS handshake in time")
    assert pair[1].fileno() == -1


@kinds
@pytest.mark.parametrize("turns", [0, 1, 2, 5])
async def test_canceling_a_handshake_tells_nothing(
    kind: Kind, settings: Settings, pair: tuple[socket.socket, socket.socket], turns: int
) -> None:
    client = Side()
    dial: Dial = connect_tls(
        pair[0], settings.client, ADDRESS, client, client.failed, handshake_timeout=0.3, kind=kind
    )
    for _ in range(turns):
        await asyncio.sleep(0)
    dial.cancel()
    dial.cancel()
    await asyncio.sleep(0.35)
    assert client.failure is None
    assert client.events == []
    assert pair[0].fileno() == -1


@kinds
async def test_canceling_later_does_nothing(
    kind: Kind, settings: Settings, pair: tuple[socket.socket, socket.socket]
) -> None:
    client, server = Side(), Side()
    accept_tls(pair[1], settings.server, server, handshake_timeout=10, kind=kind)
    dial = connect_tls(
        pair[0], settings.client, ADDRESS, client, client.failed, handshake_timeout=10, kind=kind
    )
    await client.until("made")
    dial.cancel()
    client.call("write", b"still there")
    await server.until(lambda: server.data == b"still there")
    client.call("abort")
    await server.until("lost")


# --- what only the layer does


async def test_the_layer_has_half_close(
    settings: Settings, pair: tuple[socket.socket, socket.socket]
) -> None:
    client, server = await connected("layer", settings, pair)
    client.call("write", b"question")
    client.call("write_eof")
    await server.until("eof")
    assert server.data == b"question"
    server.call("write", b"a" * 5_000_000)
    server.call("write_eof")
    await client.until("lost")
    await server.until("lost")
    assert client.data == b"a" * 5_000_000
    assert client.events == ["made", "eof", "lost"]
    assert (client.error, server.error) == (None, None)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_the_layer_with_another_peer(
    settings: Settings, pair: tuple[socket.socket, socket.socket], version: ssl.TLSVersion
) -> None:
    """Python's own blocking TLS, which answers a close_notify by closing."""
    server = Side()
    accept_tls(pair[1], settings.server, server, handshake_timeout=10, kind="layer")
    context = settings.client
    version_before, context.maximum_version = context.maximum_version, version

    def talk() -> bytes:
        pair[0].setblocking(True)
        with context.wrap_socket(pair[0], server_hostname="gw.example.com") as peer:
            peer.sendall(b"question")
            got = b""
            while piece := peer.recv(65536):
                got += piece
            peer.unwrap().close()
            return got

    talking = asyncio.get_running_loop().run_in_executor(None, talk)
    await server.until(lambda: server.data == b"question")
    server.call("write", b"answer")
    server.call("write_eof")
    assert await talking == b"answer"
    await server.until("lost")
    assert server.events == ["made", "eof", "lost"]
    assert server.error is None
    context.maximum_version = version_before


# --- what only aiofastnet does


async def test_what_is_written_after_the_peer_s_end_makes_it_a_loss(
    settings: Settings, pair: tuple[socket.socket, socket.socket]
) -> None:
    class Late(Side):
        def eof_received(self) -> None:
            super().eof_received()
            self.call("write", b"too late")

    client, first = await connected("aiofastnet", settings, pair)
    server = Late()
    server.events.append("made")
    server.transport = first.transport
    first.call("set_receiver", server)
    client.call("close")
    await server.until("lost")
    assert str(server.error) == "the other side ended the connection before all was sent"
    await client.until("lost")


async def test_a_peer_that_ends_while_we_close_makes_it_a_loss(
    settings: Settings, pair: tuple[socket.socket, socket.socket]
) -> None:
    client, server = await connected("aiofastnet", settings, pair)
    server.pause()
    client.call("write", b"l" * 20_000_000)
    client.call("close")
    assert server.transport is not None
    server.transport.info("socket").shutdown(socket.SHUT_WR)
    await client.until("lost")
    assert str(client.error) == "the other side ended the connection before all was sent"
    server.call("abort")
    await server.until("lost")


async def test_close_does_not_wait_for_ever_for_the_peer(
    settings: Settings, pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls_socket, "CLOSE_SECONDS", 0.05)
    client, server = await connected("aiofastnet", settings, pair)
    server.pause()
    client.call("write", b"all of it")
    client.call("close")
    await client.until("lost")
    assert client.error is None
    server.resume()
    await server.until("eof")
    assert server.data == b"all of it"
    await server.until("lost")


async def test_close_gives_up_on_a_peer_that_does_not_read(
    settings: Settings, pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls_socket, "CLOSE_SECONDS", 0.05)
    client, server = await connected("aiofastnet", settings, pair)
    server.pause()
    client.call("write", b"g" * 20_000_000)
    client.call("close")
    await client.until("lost")
    assert isinstance(client.error, StreamReset)
    server.call("abort")
    await server.until("lost")


async def test_write_eof_is_close(settings: Settings, pair: tuple[socket.socket, socket.socket]) -> None:
    client, server = await connected("aiofastnet", settings, pair)
    client.call("write", b"all of it")
    client.call("write_eof")
    await server.until("lost")
    await client.until("lost")
    assert server.data == b"all of it"
    assert (client.error, server.error) == (None, None)
