"""Any stream accept may go to any stream connect: all 25, byte-exact there and back."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from tests.system import configuration, peers
from tests.system.certificates import Authority
from tests.system.pair import Processes
from tests.system.process import PATIENCE, free_port

SCHEMES = ["tcp", "unix", "ssl", "ws", "wss"]
DATA = os.urandom(700_001)


def address(scheme: str, folder: Path, name: str) -> str:
    if scheme == "unix":
        return f"unix://{folder}/{name}"
    return f"{scheme}://127.0.0.1:{free_port()}{'/' + name if scheme in ('ws', 'wss') else ''}"


@dataclass(frozen=True)
class Scene:
    """`near[accept, connect]` is where a client goes."""

    near: dict[tuple[str, str], str]
    context: ssl.SSLContext


@pytest.fixture(scope="module")
def scene(
    lasting: Processes, tmp_path_factory: pytest.TempPathFactory, authority: Authority
) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("combinations")
    security = configuration.security(keystore=authority.server("127.0.0.1"), truststore=authority.truststore)
    # The path of a unix socket has at most 107 bytes: pytest's own folders may be deeper than that.
    with tempfile.TemporaryDirectory() as sockets:
        far = {scheme: address(scheme, Path(sockets), f"far-{scheme}") for scheme in SCHEMES}
        near = {
            (accept, to): address(accept, Path(sockets), f"{accept}-{to}")
            for accept in SCHEMES
            for to in SCHEMES
        }
        echoes = configuration.service(list(far.values()), kind="echo")
        proxies = [configuration.service(near[accept, to], far[to]) for accept, to in near]
        server = lasting.gateway(configuration.write(folder / "far.xml", echoes, security))
        client = lasting.gateway(configuration.write(folder / "near.xml", *proxies, security))
        server.started()
        client.started()
        yield Scene(near, authority.client_context())
        # Before the folder of the sockets goes.
        assert client.stop() == 0
        assert server.stop() == 0


@pytest.mark.parametrize("connect", SCHEMES)
@pytest.mark.parametrize("accept", SCHEMES)
def test_an_echo(scene: Scene, accept: str, connect: str) -> None:
    uri = scene.near[accept, connect]
    talk = talk_websocket if accept in ("ws", "wss") else talk_stream
    for _ in range(3):
        assert talk(uri, scene.context) == DATA


def talk_stream(uri: str, context: ssl.SSLContext) -> bytes:
    """Send all of `DATA`, end, and return what came back, which must have ended in order."""
    scheme, _, rest = uri.partition("://")
    with contextlib.ExitStack() as stack:
        if scheme == "ssl":
            # The ssl module cannot read on after its own close_notify: the end is not part of this.
            secure = stack.enter_context(peers.connect_tls(int(rest.rpartition(":")[2]), context))
            return peers.exchange_tls(secure, DATA)
        if scheme == "unix":
            connection = stack.enter_context(socket.socket(socket.AF_UNIX))
            connection.settimeout(PATIENCE)
            connection.connect(rest)
        else:
            connection = stack.enter_context(peers.connect(int(rest.rpartition(":")[2])))
        sending = in_background(partial(send_all, connection))
        received = peers.read_all(connection)
        sending.join(PATIENCE)
        return received


def talk_websocket(uri: str, context: ssl.SSLContext) -> bytes:
    """Send all of `DATA` and return what came back, then close in order."""
    return asyncio.run(peers.exchange_websocket(uri, context if uri.startswith("wss") else None, DATA))


def send_all(connection: socket.socket) -> None:
    connection.sendall(DATA)
    connection.shutdown(socket.SHUT_WR)


def in_background(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread
