"""Access lines: what they say, and that nobody pays for them unasked."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from tests.flow.gateways import HOST, Application, Backend, configuration, echo, running, service
from tests.system.process import free_port
from tests.transports.loops import until

from isthmus import access
from isthmus.errors import StreamReset


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[str, dict[str, Any]]]:
    return [
        (record.getMessage(), record.__dict__["fields"])
        for record in caplog.records
        if record.name == "isthmus.access"
    ]


@pytest.fixture
def wanted(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "isthmus.access")
    return caplog


def test_off_and_on(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "isthmus.access")
    assert not access.on()
    caplog.set_level(logging.INFO, "isthmus.access")
    assert access.on()


@pytest.mark.parametrize(
    ("error", "refused", "end"),
    [
        (None, False, "closed"),
        (StreamReset("it was cut"), False, "reset: it was cut"),
        (StreamReset("it was cut"), True, "refused: it was cut"),
    ],
)
def test_a_connection(
    wanted: pytest.LogCaptureFixture, error: Exception | None, refused: bool, end: str
) -> None:
    access.connection(
        "proxy-1",
        "10.0.0.7:51324",
        "tcp://10.0.0.9:22/",
        received=1234,
        sent=56789,
        seconds=12.3456,
        error=error,
        refused=refused,
    )
    ((line, fields),) = said(wanted)
    assert line == f"proxy-1 10.0.0.7:51324 -> tcp://10.0.0.9:22/ 1234/56789 bytes 12.3 s {end}"
    assert fields["seconds"] == 12.346
    assert fields["end"] == end.partition(":")[0]
    assert fields.get("reason") == (str(error) if error else None)


def test_who_it_was(wanted: pytest.LogCaptureFixture) -> None:
    access.connection("p", "10.0.0.7:1", "x", received=1, sent=2, seconds=0.0, who="demo/joe")
    access.request("10.0.0.7:1", "GET", "/a", 200, 5, 0.0, who="demo/joe")
    access.request("10.0.0.7:1", "GET", "/a", 200, 5, 0.0)
    (first, fields), (second, others), (third, nobody) = said(wanted)
    assert first == "p 10.0.0.7:1 (demo/joe) -> x 1/2 bytes 0.0 s closed"
    assert second == "10.0.0.7:1 (demo/joe) GET /a -> 200 5 bytes 0.0 s"
    assert third == "10.0.0.7:1 GET /a -> 200 5 bytes 0.0 s"
    assert (fields["who"], others["who"], nobody["who"]) == ("demo/joe", "demo/joe", "anonymous")


async def test_a_proxy_tells_of_each_connection(wanted: pytest.LogCaptureFixture) -> None:
    port, dead = free_port(), free_port()
    async with Backend(echo) as backend:
        config = configuration(
            service("proxy", f"tcp://{HOST}:{port}", f"tcp://{HOST}:{backend.port}"),
            service("proxy", f"tcp://{HOST}:{dead}", f"tcp://{HOST}:{free_port()}", name="dead"),
        )
        async with running(config):
            with await Application.connect(port) as client:
                await client.send(b"hello")
                assert await client.exactly(5) == b"hello"
                client.end()
                assert await client.rest() == b""
            with await Application.connect(dead) as client:
                assert await client.is_reset()
            await until(lambda: len(said(wanted)) == 2)
    (first, fields), (second, _) = sorted(said(wanted), key=lambda each: "dead" in each[0])
    assert first.startswith(f"proxy-1 {HOST}:")
    assert f" -> tcp://{HOST}:{backend.port}/ 5/5 bytes " in first
    assert first.endswith(" s closed")
    assert (fields["received"], fields["sent"], fields["end"]) == (5, 5, "closed")
    assert " s refused: Unable to connect to " in second


async def test_an_echo_and_a_file(wanted: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "a.txt").write_text("hello")
    port, web = free_port(), free_port()
    config = configuration(
        service("echo", f"tcp://{HOST}:{port}"),
        service("directory", f"http://{HOST}:{web}/", directory="/"),
    )
    async with running(config, home=tmp_path), ClientSession() as session:
        with await Application.connect(port) as client:
            await client.send(b"hello")
            assert await client.exactly(5) == b"hello"
            client.end()
            await client.rest()
        async with session.get(f"http://{HOST}:{web}/a.txt?token=secret") as answer:
            assert answer.status == 200
            await answer.read()
        await until(lambda: len(said(wanted)) == 2)
        await session.close()
    (echoed, _), (file, fields) = said(wanted)
    assert " -> echo 5/5 bytes " in echoed
    assert " GET /a.txt -> 200 " in file
    assert fields["path"] == "/a.txt"
    assert 0 <= fields["seconds"] < 60
    assert "secret" not in wanted.text


async def test_unasked_nothing_is_looked_up(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.WARNING, "isthmus.access")
    monkeypatch.setattr(access, "connection", lambda *_, **__: pytest.fail("nobody asked"))
    port = free_port()
    async with running(configuration(service("echo", f"tcp://{HOST}:{port}"))):
        with await Application.connect(port) as client:
            client.end()
            await client.rest()


async def test_a_query_is_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    """It may hold a secret, whoever says what went wrong."""
    caplog.set_level(logging.DEBUG, "isthmus")
    caplog.set_level(logging.INFO, "isthmus.access")
    port = free_port()
    to = f"ws://{HOST}:{free_port()}/app?token=secret"
    async with running(configuration(service("proxy", f"tcp://{HOST}:{port}", to))):
        with await Application.connect(port) as client:
            assert await client.is_reset()
        await until(lambda: said(caplog))
    assert "/app?..." in caplog.text
    assert "secret" not in caplog.text


async def test_who_a_client_is_behind_a_balancer(wanted: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "a.txt").write_text("hello")
    web = free_port()
    options = {"http.forwarded": "x-forwarded-for", "trusted.sources": "127.0.0.0/8"}
    config = configuration(
        service("directory", f"http://{HOST}:{web}/", accept_options=options, directory="/")
    )
    async with running(config, home=tmp_path), ClientSession() as session:
        for client in ("192.0.2.7", "192.0.2.8"):  # over one connection
            async with session.get(
                f"http://{HOST}:{web}/a.txt", headers={"X-Forwarded-For": client}
            ) as answer:
                await answer.read()
        await until(lambda: len(said(wanted)) == 2)
        await session.close()
    assert [fields["client"] for _, fields in said(wanted)] == ["192.0.2.7", "192.0.2.8"]
