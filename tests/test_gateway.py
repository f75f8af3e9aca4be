"""A gateway's life: the order of a start, what a failure leaves, the shapes of a stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from tests.flow.gateways import (
    HOST,
    Application,
    Backend,
    configuration,
    echo,
    in_service,
    running,
    server_security,
    service,
)
from tests.security.issuing import issue, write
from tests.system.process import free_port
from tests.transports.loops import nothing_left_open, until
from websockets.asyncio.client import connect as websocket_connect

from isthmus import gateway as gateway_module
from isthmus.config.model import GatewayConfig, GatewayOptions, Keystore, Security
from isthmus.config.service_types import SERVICE_TYPES
from isthmus.errors import BindError, ConfigurationError, KeystoreError
from isthmus.gateway import Gateway
from isthmus.services import TYPES
from isthmus.services.echo import EchoService
from isthmus.services.proxy import ProxyService
from isthmus.transports import epoll, stack
from isthmus.transports.spinning import LONGEST, Spinning


def made(config: GatewayConfig, home: Path = Path()) -> Gateway:
    return Gateway(config, directory=Path(), home=home)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def may_listen(port: int) -> bool:
    try:
        socket.create_server((HOST, port)).close()
    except OSError:
        return False
    return True


# --- starting


def test_the_tables_of_service_types_agree() -> None:
    assert list(SERVICE_TYPES) == list(TYPES)


async def test_every_service_type_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    ports = [free_port() for _ in TYPES]
    config = configuration(
        service("proxy", f"tcp://{HOST}:{ports[0]}", f"tcp://{HOST}:{ports[1]}"),
        service("echo", f"tcp://{HOST}:{ports[1]}"),
        service("directory", f"http://{HOST}:{ports[2]}/", directory="/"),
    )
    assert {each.type for each in config.services} == set(TYPES)
    async with running(config, home=tmp_path):
        assert all(map(listens, ports))
    assert not any(map(listens, ports))


async def test_nothing_listens_before_every_service_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    gateway = made(
        configuration(
            service("echo", f"tcp://{HOST}:{free_port()}", name="a"),
            service("echo", f"tcp://{HOST}:{free_port()}", name="b"),
        )
    )

    def note(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            order.append(name)
            return original(*arguments)

        return call

    monkeypatch.setattr(gateway.accepts, "add", note("bind", gateway.accepts.add))
    monkeypatch.setattr(gateway.accepts, "listen", note("listen", gateway.accepts.listen))
    original = EchoService.start
    monkeypatch.setattr(EchoService, "start", note("start", original))
    await gateway.start()
    await gateway.stop(0.0)
    assert order == ["bind", "bind", "start", "start", "listen"]


async def test_a_second_bind_that_fails_closes_the_first(tmp_path: Path) -> None:
    port = free_port()
    with socket.create_server((HOST, 0)) as taken, nothing_left_open():
        config = configuration(
            service("echo", f"tcp://{HOST}:{port}", name="a"),
            service("echo", f"ws://{HOST}:{taken.getsockname()[1]}/", name="b"),
        )
        with pytest.raises(BindError, match="Address already in use"):
            await made(config).start()
        assert may_listen(port)


async def test_a_service_that_cannot_start_leaves_nothing(tmp_path: Path) -> None:
    """Not even the connections that another one has prepared."""
    port, web_port = free_port(), free_port()
    async with Backend(echo) as backend:
        proxy = service(
            "proxy", f"tcp://{HOST}:{port}", f"tcp://{HOST}:{backend.port}", prepared_connection_count="2"
        )
        files = service("directory", f"http://{HOST}:{web_port}/", directory="/none")
        with nothing_left_open():
            with pytest.raises(ConfigurationError):
                await made(configuration(proxy, files), home=tmp_path).start()
            assert may_listen(port)
            assert may_listen(web_port)
            await asyncio.sleep(0.05)
        assert backend.accepted == 0 or await backend.outcome() is not None


async def test_a_secure_accept_needs_a_keystore() -> None:
    port = free_port()
    config = configuration(
        service("echo", f"tcp://{HOST}:{port}", name="a"), service("echo", f"wss://{HOST}:{free_port()}/")
    )
    with nothing_left_open(), pytest.raises(KeystoreError, match="no keystore") as caught:
        await made(config).start()
    assert "<keystore>" in caught.value.hint
    assert may_listen(port)


async def test_keystores_are_relative_to_the_directory(tmp_path: Path) -> None:
    config = configuration(
        service("echo", f"wss://{HOST}:{free_port()}/"),
        security=Security(keystore=Keystore(file=Path("missing.pem"))),
    )
    with pytest.raises(KeystoreError, match=str(tmp_path / "missing.pem")):
        await Gateway(config, directory=tmp_path, home=tmp_path).start()


async def test_not_verifying_is_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    config = configuration(
        service(
            "proxy",
            f"tcp://{HOST}:{free_port()}",
            f"wss://{HOST}:{free_port()}/",
            connect_options={"ssl.verify-server": "none"},
        )
    )
    async with running(config):
        pass
    assert any("not verified" in message for message in caplog.messages)


async def test_http_and_websocket_share_a_port(tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "index.html").write_text("<p>home")
    port = free_port()
    config = configuration(
        service("directory", f"http://{HOST}:{port}/", directory="/", welcome_file="index.html"),
        service("echo", f"ws://{HOST}:{port}/echo"),
    )
    async with running(config, home=tmp_path):
        async with ClientSession() as session, session.get(f"http://{HOST}:{port}/") as answer:
            assert (answer.status, await answer.text()) == (200, "<p>home")
        async with websocket_connect(f"ws://{HOST}:{port}/echo", proxy=None) as websocket:
            await websocket.send(b"over the same port")
            assert await websocket.recv() == b"over the same port"


# --- stopping


async def test_stop_closes_the_ports_and_lets_the_rest_end() -> None:
    port = free_port()
    with nothing_left_open():
        gateway = made(configuration(service("echo", f"tcp://{HOST}:{port}")))
        await gateway.start()
        with await Application.connect(port) as client:
            await client.send(b"before")
            assert await client.exactly(6) == b"before"
            stopping = asyncio.ensure_future(gateway.stop(30.0))
            await until(lambda: not listens(port), "the port is closed")
            await client.send(b"during")
            assert await client.exactly(6) == b"during"
            assert not stopping.done()
            client.end()
            assert await client.rest() == b""
        await stopping
        assert gateway.connections() == 0


async def test_stop_resets_what_is_left_at_the_deadline() -> None:
    port = free_port()
    with nothing_left_open():
        gateway = made(configuration(service("echo", f"tcp://{HOST}:{port}")))
        await gateway.start()
        with await Application.connect(port) as client:
            await client.send(b"x")
            await client.exactly(1)
            await gateway.stop(0.05)
            assert await client.is_reset()


async def test_a_stop_that_is_cut_short_resets() -> None:
    port = free_port()
    gateway = made(configuration(service("echo", f"tcp://{HOST}:{port}")))
    await gateway.start()
    with await Application.connect(port) as client:
        await client.send(b"x")
        await client.exactly(1)
        first = asyncio.ensure_future(gateway.stop(3600.0))
        await asyncio.sleep(0.01)
        first.cancel()
        await gateway.stop(0.0)
        assert await client.is_reset()
    with contextlib.suppress(asyncio.CancelledError):
        await first


async def test_a_download_that_is_under_way_is_finished(tmp_path: Path) -> None:
    """The service is needed until the last request is answered."""
    (tmp_path / "web").mkdir()
    content = os.urandom(16 * 1024 * 1024)
    (tmp_path / "web" / "large").write_bytes(content)
    port = free_port()
    gateway = made(configuration(service("directory", f"http://{HOST}:{port}/", directory="/")), tmp_path)
    await gateway.start()
    async with ClientSession() as session, session.get(f"http://{HOST}:{port}/large") as answer:
        received = await answer.content.readexactly(1000)
        stopping = asyncio.ensure_future(gateway.stop(30.0))
        await until(lambda: not listens(port), "the port is closed")
        received += await answer.read()
    assert received == content
    await stopping


async def test_a_stop_closes_every_connector_after_the_services(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    original = stack.connector

    class Noting:
        """A connector that notes that it is closed: one that is compiled cannot be patched."""

        def __init__(self, *arguments: Any) -> None:
            self._made = original(*arguments)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._made, name)

        def close(self) -> None:
            order.append(f"close {self._made.address}")

    stop = ProxyService.stop

    async def stopping(self: ProxyService, deadline: float) -> None:
        await stop(self, deadline)
        order.append("stop")

    monkeypatch.setattr(gateway_module, "connector", Noting)
    monkeypatch.setattr(ProxyService, "stop", stopping)
    gateway = made(
        configuration(
            service("proxy", f"tcp://{HOST}:{free_port()}", f"ws://{HOST}:1/a", name="a"),
            service("proxy", f"tcp://{HOST}:{free_port()}", f"tcp://{HOST}:2", name="b"),
        )
    )
    await gateway.start()
    monkeypatch.setattr(gateway.accepts, "stop", lambda: order.append("sessions"))
    await gateway.stop(0.0)
    assert order == ["stop", "stop", "sessions", f"close ws://{HOST}:1/a", f"close tcp://{HOST}:2/"]


async def test_a_stop_before_the_start_changes_nothing() -> None:
    gateway = made(configuration(service("echo", f"tcp://{HOST}:{free_port()}")))
    await gateway.stop(0.0)


async def test_connections_counts_what_was_accepted() -> None:
    port, web_port = free_port(), free_port()
    config = configuration(
        service("echo", [f"tcp://{HOST}:{port}", f"wss://{HOST}:{web_port}/"]), security=server_security()
    )
    async with running(config) as gateway:
        with await Application.connect(port), await Application.connect(web_port):
            await until(lambda: gateway.connections() == 2)
            assert in_service(gateway) == 1, "one has not said what it wants"
        await until(lambda: gateway.connections() == 0)


# --- run


async def serve(config: GatewayConfig) -> int:
    return await gateway_module._serve(config, "a test", Path(), Path())


async def started(caplog: pytest.LogCaptureFixture) -> None:
    await until(lambda: any("Started server successfully" in message for message in caplog.messages))


async def test_the_lines_of_a_start_and_a_stop(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    port = free_port()
    serving = asyncio.ensure_future(serve(configuration(service("echo", f"tcp://{HOST}:{port}"))))
    await started(caplog)
    os.kill(os.getpid(), signal.SIGTERM)
    assert await serving == 0
    messages = caplog.messages
    shown = [message.partition(" secs")[0].rpartition(" ")[0] for message in messages]
    assert messages[1:5] == [
        "Configuration file: a test",
        "Starting server",
        "Starting services",
        f"  tcp://{HOST}:{port}/",
    ]
    assert messages[5] == "Started services"
    assert shown[6] == "Started server successfully in"
    assert messages[7:10] == ["Stopping server", "Stopping services", f"  tcp://{HOST}:{port}/"]
    assert messages[10] == "Stopped services"
    assert shown[11] == "Stopped server successfully in"


async def test_a_second_signal_resets_at_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    port = free_port()
    config = configuration(service("echo", f"tcp://{HOST}:{port}"), options={"stop.timeout": "1 hour"})
    serving = asyncio.ensure_future(serve(config))
    await started(caplog)
    with await Application.connect(port) as client:
        await client.send(b"x")
        await client.exactly(1)
        os.kill(os.getpid(), signal.SIGINT)
        await until(lambda: "Stopping services" in caplog.messages)
        await client.send(b"y")
        assert await client.exactly(1) == b"y"
        os.kill(os.getpid(), signal.SIGTERM)
        assert await serving == 0
        assert await client.is_reset()
    assert "Told to stop at once: what is in flight is reset" in caplog.messages


async def test_a_failed_launch_says_why(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        assert await serve(configuration(service("echo", f"tcp://{HOST}:{port}"))) == 1
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert errors[0] == f"Unable to bind to resource: tcp://{HOST}:{port}/ cause: Address already in use"
    assert f"pid {os.getpid()}" in errors[1]
    assert errors[-1] == "Gateway failed to launch"


async def test_a_renewed_certificate_is_shown_and_what_stands_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isthmus.security.contexts.LOOK_SECONDS", 0.0)
    port = free_port()
    store = tmp_path / "gw.pem"
    old, new = issue("old", "gw.example.com"), issue("new", "gw.example.com")
    write(store, old.pem, old.key_pem())
    config = configuration(
        service("echo", f"ssl://{HOST}:{port}"), security=Security(keystore=Keystore(file=store))
    )
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE

    async def connected() -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bytes]:
        reader, writer = await asyncio.open_connection(HOST, port, ssl=client)
        return reader, writer, writer.get_extra_info("ssl_object").getpeercert(binary_form=True)

    async with running(config):
        first = await connected()
        assert first[2] == old.der
        write(store, new.pem, new.key_pem())
        second = await connected()
        assert second[2] == new.der
        for reader, writer, _ in (first, second):
            writer.write(b"still here")
            assert await reader.readexactly(10) == b"still here"
            writer.close()
            await writer.wait_closed()


@pytest.mark.skipif(not epoll.available, reason="our own loop needs epoll")
@pytest.mark.parametrize(
    ("wanted", "processors", "longest"),
    [("auto", 2, LONGEST), ("auto", 1.5, 0.0), ("on", 1, LONGEST), ("off", 8, 0.0)],
)
def test_whether_the_loop_may_poll_before_it_sleeps(
    monkeypatch: pytest.MonkeyPatch, wanted: str, processors: float, longest: float
) -> None:
    asked: list[float] = []

    def spinning(longest: float) -> Spinning:
        asked.append(longest)
        return Spinning(longest)

    monkeypatch.setattr(gateway_module, "Spinning", spinning)
    monkeypatch.setattr(gateway_module, "processors", lambda: processors)
    gateway_module._loop_factory(GatewayOptions.model_validate({"event.loop.spin": wanted}))().close()
    assert asked == [longest]
