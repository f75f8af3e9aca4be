"""Certificates by name, and clients that are verified, over real sockets and with both kinds of TLS."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.security.issuing import Issued, issue, write
from tests.transports.loops import event_loop_policy, on_each_loop
from tests.transports.test_client_hello import hello_of
from tests.transports.test_tls import Side, kinds

from isthmus import uri
from isthmus.config.model import Keystore, Security
from isthmus.security import Certificates, ClientTls, ServerTls, Stores
from isthmus.transports.sni import accept_secure
from isthmus.transports.tls import Kind, connect_tls

__all__ = ["event_loop_policy"]
pytestmark = on_each_loop


class Scene:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = issue("Authority", authority=True)
        self.made = [self.issue(name) for name in ("a.example.com", "b.example.com")]
        write(folder / "gw.pem", *(each.key_pem() + each.pem for each in self.made))
        write(folder / "trust.pem", self.authority.pem)
        self.trust = Keystore(file=Path("trust.pem"))
        self.stores = Stores(Security(keystore=Keystore(file=Path("gw.pem")), truststore=self.trust), folder)

    def issue(self, name: str) -> Issued:
        return issue(name, name, issuer=self.authority)

    def client(self, shown: Issued | None = None) -> ssl.SSLContext:
        context = ClientTls(Stores(Security(truststore=self.trust), self.folder)).current()
        if shown is not None:
            context.load_cert_chain(write(self.folder / "client.pem", shown.pem, shown.key_pem()))
        return context


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene(tmp_path_factory.mktemp("sni"))


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        server, _ = listening.accept()
    for each in (client, server):
        each.setblocking(False)
    yield client, server
    client.close()
    server.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 -- there is no event for it
            await asyncio.sleep(0.001)


Pair = tuple[socket.socket, socket.socket]


@kinds
@pytest.mark.parametrize(("host", "index"), [("a.example.com", 0), ("b.example.com", 1)])
async def test_the_name_chooses_the_certificate(
    kind: Kind, scene: Scene, pair: Pair, host: str, index: int
) -> None:
    client, server = Side(), Side()
    tls = ServerTls(scene.stores)
    accept_secure(pair[1], tls.current, server, handshake_timeout=10, kind=kind)
    address = uri.parse(f"wss://{host}/")
    connect_tls(pair[0], scene.client(), address, client, client.failed, handshake_timeout=10, kind=kind)
    await client.until("made")
    await server.until("made")
    assert client.transport is not None
    presented = client.transport.info("ssl_object").getpeercert(binary_form=True)
    assert presented == scene.made[index].der
    client.call("write", b"all is read as ever")
    await server.until(lambda: server.data == b"all is read as ever")
    client.call("close")
    await client.until("lost")
    server.call("close")
    await server.until("lost")


async def test_a_hello_in_pieces(scene: Scene, pair: Pair) -> None:
    asked: list[str | None] = []

    class Noting(Certificates):
        def named(self, name: str | None) -> ssl.SSLContext:
            asked.append(name)
            return super().named(name)

    contexts = ServerTls(scene.stores).current()
    noting = Noting([((), contexts.first), ((), contexts.first)])
    accept_secure(pair[1], lambda: noting, Side(), handshake_timeout=10)
    hello = hello_of("b.example.com")
    for part in (hello[:3], hello[3:100], hello[100:-1]):
        await asyncio.get_running_loop().sock_sendall(pair[0], part)
        await asyncio.sleep(0.02)
        assert asked == []
    await asyncio.get_running_loop().sock_sendall(pair[0], hello[-1:])
    await until(lambda: asked == ["b.example.com"])
    pair[0].close()
    await until(lambda: pair[1].fileno() == -1)


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n"])
async def test_what_does_not_speak_tls_is_told_as_ever(
    scene: Scene, pair: Pair, sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing, too little (and then no more), and something else."""
    caplog.set_level(logging.INFO)
    side = Side()
    accept_secure(
        pair[1], ServerTls(scene.stores).current, side, handshake_timeout=10 if b"GET" in sent else 0.2
    )
    if sent:
        await asyncio.get_running_loop().sock_sendall(pair[0], sent)
    await until(lambda: "TLS handshake failed" in caplog.text)
    await until(lambda: pair[1].fileno() == -1)
    assert side.events == []
    (line,) = (message for message in caplog.messages if "TLS handshake failed" in message)
    expected = "does not speak TLS but plain HTTP" if b"GET" in sent else "in time"
    assert expected in line


async def test_a_client_that_goes_away(scene: Scene, pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    accept_secure(pair[1], ServerTls(scene.stores).current, Side(), handshake_timeout=10)
    await asyncio.sleep(0.01)
    pair[0].close()
    await until(lambda: "closed the connection during the TLS handshake" in caplog.text)
    assert pair[1].fileno() == -1


# --- clients that are verified


@kinds
@pytest.mark.parametrize("wanted", ["optional", "required"])
async def test_a_client_that_is_believed(kind: Kind, scene: Scene, pair: Pair, wanted: str) -> None:
    client, server = Side(), Side()
    tls = ServerTls(scene.stores, None, "required" if wanted == "required" else "optional")
    accept_secure(pair[1], tls.current, server, handshake_timeout=10, kind=kind)
    shown = scene.client(scene.issue("client"))
    address = uri.parse("wss://a.example.com/")
    connect_tls(pair[0], shown, address, client, client.failed, handshake_timeout=10, kind=kind)
    await server.until("made")
    assert server.transport is not None
    assert server.transport.info("ssl_object").getpeercert()["subject"] == ((("commonName", "client"),),)
    await client.until("made")
    for side in (client, server):
        side.call("close")
        await side.until("lost")


@kinds
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "showed no certificate, and ssl.verify-client is required"),
        ("stranger", "is self-signed and not in the truststore"),
    ],
)
async def test_a_client_that_is_refused_is_logged_with_the_reason(
    kind: Kind, scene: Scene, pair: Pair, name: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    client, server = Side(), Side()
    peer = "the client 127.0.0.1:{1}".format(*pair[0].getsockname())
    tls = ServerTls(scene.stores, None, "required")
    accept_secure(pair[1], tls.current, server, handshake_timeout=10, kind=kind)
    shown = scene.client(issue(name) if name else None)
    address = uri.parse("wss://a.example.com/")
    connect_tls(pair[0], shown, address, client, client.failed, handshake_timeout=10, kind=kind)
    await until(lambda: "TLS handshake failed" in caplog.text)
    assert reason in caplog.text
    assert peer in caplog.text
    assert "made" not in server.events
    # A client of TLS 1.3 has finished its handshake by now: it learns of it as a loss.
    await until(lambda: client.failure is not None or "lost" in client.events)
    with contextlib.suppress(OSError):
        pair[1].close()
