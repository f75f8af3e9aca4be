"""Sealed carriers through a proxy that ends TLS, is believed, reads everything, and can change it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shlex
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.system import configuration, peers
from tests.system.certificates import Authority
from tests.system.pair import Processes
from tests.system.process import ISTHMUS, PATIENCE, Gateway, eventually, free_port, isthmus_command
from tests.system.span_scene import HOST, Load, Options, SpanPair, start_span_pair
from websockets.asyncio.client import connect as websockets_connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

SECRET = b"what nobody on the way is to see; "
ORIGIN = b"127.0.0.1:"


class Interceptor:
    """Ends the TLS and the WebSockets of both sides, on a thread, and writes down every message."""

    def __init__(self, authority: Authority, target: int) -> None:
        self.port = free_port()
        self.seen = bytearray()
        self.joined = 0
        self.subprotocols: set[str] = set()
        self.tamper = 0
        """How many messages are still to be changed."""
        self._target = target
        self._server = authority.server_context(HOST)
        self._client = authority.client_context()
        self._loop = asyncio.new_event_loop()
        self._ready, self._over = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),))

    def __enter__(self) -> Interceptor:
        self._thread.start()
        assert self._ready.wait(PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(PATIENCE)
        self._loop.close()

    def has(self, seen: int, joined: int = 0) -> bool:
        """Whether so many bytes came, and so many WebSockets."""
        return len(self.seen) > seen and self.joined >= joined

    async def _run(self) -> None:
        async with serve(
            self._join,
            HOST,
            self.port,
            ssl=self._server,
            select_subprotocol=lambda _, offered: offered[0] if offered else None,
            compression=None,
            max_size=None,
        ):
            self._ready.set()
            await self._over.wait()

    async def _join(self, near: ServerConnection) -> None:
        assert near.request is not None
        self.joined += 1
        offered = [Subprotocol(near.subprotocol)] if near.subprotocol else None
        self.subprotocols |= set(offered or ())
        async with websockets_connect(
            f"wss://{HOST}:{self.port}{near.request.path}",
            host=HOST,
            port=self._target,
            ssl=self._client,
            subprotocols=offered,
            compression=None,
            max_size=None,
            proxy=None,
        ) as far:
            ways = [asyncio.create_task(self._carry(near, far)), asyncio.create_task(self._carry(far, near))]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _carry(self, source: object, target: object) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for message in source:  # type: ignore[attr-defined]
                assert isinstance(message, bytes)
                self.seen += message
                if self.tamper and len(message) > 100:
                    self.tamper -= 1
                    message = message[:-9] + bytes([message[-9] ^ 1]) + message[-8:]
                await target.send(message)  # type: ignore[attr-defined]


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return tmp_path / "seal.pem"


@pytest.fixture
def pin(key: Path) -> str:
    """Return the pin of `key`, which is made."""
    made = isthmus_command("seal", key)
    assert made.code == 0, made.errors
    assert "is a new key" in made.errors
    assert isthmus_command("seal", key).output == made.output, "it is only read the second time"
    return made.output.decode().strip()


def start(
    processes: Processes,
    folder: Path,
    backend: int,
    authority: Authority,
    ports: tuple[int, int],
    accept: Options,
    connect: Options,
) -> SpanPair:
    return start_span_pair(
        processes,
        folder,
        backend,
        web_port=ports[0],
        through=ports[1],
        scheme="wss",
        authority=authority,
        accept_options=accept,
        connect_options=connect,
    )


@contextlib.contextmanager
def intercepted(authority: Authority) -> Iterator[tuple[Interceptor, int]]:
    web_port = free_port()
    with Interceptor(authority, web_port) as interceptor:
        yield interceptor, web_port


def test_an_intercepting_proxy_sees_nothing(
    processes: Processes, tmp_path: Path, authority: Authority, key: Path, pin: str
) -> None:
    with intercepted(authority) as (proxy, web_port), peers.Backend(peers.echo) as backend:
        pair = start(
            processes,
            tmp_path,
            backend.port,
            authority,
            (web_port, proxy.port),
            {"span.seal.key": key},
            {"span.seal.pin": pin},
        )
        data = SECRET * 10_000
        with peers.connect(pair.port) as client:
            sending = threading.Thread(target=client.sendall, args=(data,))
            sending.start()
            assert peers.read_exactly(client, len(data)) == data
            sending.join(PATIENCE)
        assert proxy.subprotocols == {"sealed.span.isthmus.v1"}
        assert len(proxy.seen) > 2 * len(data)
        assert SECRET not in proxy.seen
        assert ORIGIN not in proxy.seen


def test_one_line_without_a_file(
    processes: Processes, tmp_path: Path, authority: Authority, key: Path, pin: str
) -> None:
    """`isthmus proxy --seal-pin`, as the doctor recommends it, through somebody who ends TLS."""
    with intercepted(authority) as (proxy, web_port), peers.Backend(peers.echo) as backend:
        uri, port = f"wss://{HOST}:{proxy.port}/tunnel", free_port()
        server = configuration.service(
            uri,
            f"tcp://{HOST}:{backend.port}",
            accept_options={"wss.bind": f"{HOST}:{web_port}", "span.seal.key": key},
        )
        secure = configuration.security(keystore=authority.server(HOST))
        processes.gateway(configuration.write(tmp_path / "server.xml", server, secure)).started()
        given = ["--truststore", str(authority.truststore), "--seal-pin", pin]
        seen = isthmus_command("doctor", uri, "--accept", f"tcp://{HOST}:{port}", *given, "--json")
        report = json.loads(seen.output)
        assert "is sealed to the gateway of --seal-pin" in seen.output.decode()
        client = processes.start([*ISTHMUS, *shlex.split(report["recommendation"]["command"])[1:]])
        client.wait_for("Started server successfully")
        with peers.connect(port) as connection:
            connection.sendall(SECRET)
            assert peers.read_exactly(connection, len(SECRET)) == SECRET
        assert "sealed.span.isthmus.v1" in proxy.subprotocols
        assert SECRET not in proxy.seen
        other = "sha256/" + "A" * 43 + "="
        wrong = isthmus_command("doctor", uri, *given[:-1], other)
        assert wrong.code == 4
        assert pin in " ".join(wrong.output.decode().split())


def test_without_sealing_it_sees_everything(
    processes: Processes, tmp_path: Path, authority: Authority
) -> None:
    """That the test above can fail."""
    with intercepted(authority) as (proxy, web_port), peers.Backend(peers.echo) as backend:
        pair = start(processes, tmp_path, backend.port, authority, (web_port, proxy.port), {}, {})
        with peers.connect(pair.port) as client:
            client.sendall(SECRET)
            assert peers.read_exactly(client, len(SECRET)) == SECRET
        assert SECRET in proxy.seen
        assert ORIGIN in proxy.seen


def test_what_it_changes_is_noticed_and_harms_no_stream(
    processes: Processes, tmp_path: Path, authority: Authority, key: Path, pin: str
) -> None:
    with intercepted(authority) as (proxy, web_port):
        load = Load(processes)
        pair = start(
            processes,
            tmp_path,
            load.port,
            authority,
            (web_port, proxy.port),
            {"span.seal.key": key},
            {"span.seal.pin": pin},
        )
        load.start(pair.port, seconds=6.0, streams=10, rate=1_000_000)
        for number in range(1, 4):
            # Not the handshake of the next carrier: whoever newly connects is told when that fails.
            enough = len(proxy.seen) + 200_000
            eventually(partial(proxy.has, enough), "streams move")
            proxy.tamper = 1
            eventually(partial(proxy.has, 0, number + 1), "the carrier was given up")
        report = load.report()
        assert not report.errors, report
        assert report.up > 1_000_000
        assert "lost the carrier" in pair.client.text


def test_a_proxy_that_seals_by_itself_is_refused_in_one_line(
    processes: Processes, tmp_path: Path, authority: Authority, key: Path, pin: str
) -> None:
    """A gateway with another key stands in the place of the right one."""
    other = isthmus_command("seal", tmp_path / "other.pem").output.decode().strip()
    with peers.Backend(peers.echo) as backend:
        port = free_port()
        pair = start_span_pair(
            processes,
            tmp_path,
            backend.port,
            web_port=port,
            accept_options={"span.seal.key": tmp_path / "other.pem"},
            connect_options={"span.seal.pin": pin},
        )
        with peers.connect(pair.port) as client:
            client.sendall(SECRET)
            with pytest.raises(ConnectionResetError):
                peers.read_all(client)
        pair.client.wait_for(other)
        told = [line for line in pair.client.lines if other in line]
        assert len(told) == 1
        assert "which span.seal.pin does not name" in told[0]
        assert "compare span.seal.pin with what isthmus seal says" in told[0]
        pair.client.check_lines()


@pytest.mark.parametrize("known", [True, False])
def test_a_client_proves_its_key_too(
    processes: Processes, tmp_path: Path, key: Path, pin: str, known: bool
) -> None:
    mine = tmp_path / "client.pem"
    certificate = isthmus_command("seal", "--certificate", mine).output
    other = isthmus_command("seal", "--certificate", tmp_path / "other.pem").output
    clients = tmp_path / "clients.pem"
    clients.write_bytes(other + certificate if known else other)
    with peers.Backend(peers.echo) as backend:
        pair = start_span_pair(
            processes,
            tmp_path,
            backend.port,
            web_port=free_port(),
            accept_options={
                "span.mode": "required",
                "span.seal.key": key.name,
                "span.seal.clients": clients.name,
            },
            connect_options={"span.seal.pin": pin, "span.seal.key": mine.name},
        )
        with peers.connect(pair.port) as client:
            client.sendall(SECRET)
            if known:
                assert peers.read_exactly(client, len(SECRET)) == SECRET
            else:
                with pytest.raises(ConnectionResetError):
                    peers.read_all(client)
                pair.client.wait_for("Unable to connect")
        assert backend.outcome() == len(SECRET) if known else True


def test_keys_that_cannot_be_used_are_told_at_once(processes: Processes, tmp_path: Path) -> None:
    (tmp_path / "wrong.pem").write_text("nothing")
    service = configuration.service(
        f"ws://{HOST}:{free_port()}/",
        f"tcp://{HOST}:1",
        accept_options={"span.seal.key": "wrong.pem"},
    )
    file = configuration.write(tmp_path / "server.xml", service)
    checked = isthmus_command("check", file)
    assert checked.code == 2
    assert b"wrong.pem has no key" in checked.output.replace(b"\n", b" ")
    gateway: Gateway = processes.gateway(file)
    assert gateway.refuses() == 2
    assert "isthmus seal wrong.pem" in gateway.text
