"""nginx, haproxy and Apache before the server gateway: idle limits, reloads and restarts cost no stream.

Their default limits are 50 s and more (tests/transports/test_keep_alive.py compares them with ours); here
they are two seconds, far below what pings come at before anything is learned.
"""

from __future__ import annotations

import hashlib
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import pytest
from tests.system import peers
from tests.system.pair import Processes
from tests.system.process import PATIENCE, Process, eventually, free_port
from tests.system.requirements import Requirements
from tests.system.span_scene import HOST, SpanPair, start_span_pair
from tests.system.web_proxies import listens

LIMIT = 2
"""Seconds after which balancers cut what is idle."""
DEADLINE = {"span.ping.deadline": "600 s"}
"""So long that only `ws.ping.interval` (20 s) and what is learned have carriers pinged."""
CUTS_SOON = 1
"""Seconds that a reload leaves to old connections."""


class Balancer:
    """A balancer on `port` before the port `target`; what it loses of connections it loses at once."""

    reloading = signal.SIGHUP

    def __init__(self, processes: Processes, need: Requirements, target: int, limit: int) -> None:
        self.port = free_port()
        self.folder = processes.public_folder()
        self._processes = processes
        self._command = self.configure(need, target, limit)
        self._process = self._start()

    def configure(self, need: Requirements, target: int, limit: int) -> list[str | Path]:
        """Write what it reads and return the command."""
        raise NotImplementedError

    def reload(self) -> None:
        self._process.signal(self.reloading)

    def restart(self) -> None:
        self._process.kill()
        self._process = self._start()

    def _start(self) -> Process:
        process = self._processes.start(self._command)
        eventually(lambda: listens(self.port), f"{self._command[0]} listens: {process.text}")
        return process


class Nginx(Balancer):
    def configure(self, need: Requirements, target: int, limit: int) -> list[str | Path]:
        file = self.folder / "nginx.conf"
        file.write_text(
            f"daemon off;\npid {self.folder}/nginx.pid;\nerror_log stderr;\n"
            f"worker_shutdown_timeout {CUTS_SOON}s;\nevents {{}}\n"
            f"http {{ access_log off;\nserver {{ listen {HOST}:{self.port};\n"
            f"location / {{ proxy_pass http://{HOST}:{target}; proxy_http_version 1.1;\n"
            f"proxy_read_timeout {limit}s; proxy_send_timeout {limit}s;\n"
            f"proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;\n"
            f"proxy_set_header Host {HOST}:{self.port};\n}} }} }}\n"
        )
        return [need.program("nginx"), "-c", file, "-p", self.folder]


class Haproxy(Balancer):
    reloading = signal.SIGUSR2

    def configure(self, need: Requirements, target: int, limit: int) -> list[str | Path]:
        file = self.folder / "haproxy.cfg"
        file.write_text(
            f"global\n hard-stop-after {CUTS_SOON}s\n"
            f"defaults\n mode http\n timeout connect 5s\n timeout client {limit}s\n timeout server {limit}s\n"
            f"listen front\n bind {HOST}:{self.port}\n server gateway {HOST}:{target}\n"
        )
        return [need.program("haproxy"), "-W", "-db", "-f", file]


class Apache(Balancer):
    def configure(self, need: Requirements, target: int, limit: int) -> list[str | Path]:
        file = self.folder / "apache.conf"
        modules = "".join(
            f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"
            for name in ("mpm_event", "authz_core", "proxy", "proxy_http", "proxy_wstunnel")
        )
        file.write_text(
            f"ServerName {HOST}\nServerRoot {self.folder}\nListen {HOST}:{self.port}\n"
            f"PidFile {self.folder}/apache.pid\nErrorLog /dev/stderr\n"
            f"User www-data\nGroup www-data\n{modules}"
            f"DefaultRuntimeDir {self.folder}\nMutex posixsem\nTimeout {limit}\nProxyPreserveHost On\n"
            f"ProxyPass / ws://{HOST}:{target}/\n"
        )
        return [need.program("apache2"), "-DFOREGROUND", "-f", file]


def lost_more_than(pair: SpanPair, times: int) -> bool:
    return said(pair, "lost the carrier") > times


BALANCERS: list[type[Balancer]] = [Nginx, Haproxy, Apache]


def start(
    kind: type[Balancer],
    processes: Processes,
    need: Requirements,
    folder: Path,
    backend: int,
    options: Mapping[str, object] = DEADLINE,
    limit: int = LIMIT,
) -> tuple[Balancer, SpanPair]:
    web_port = free_port()
    balancer = kind(processes, need, web_port, limit)
    settings = {"through": balancer.port, "web_port": web_port, "both": options}
    return balancer, start_span_pair(processes, folder, backend, **settings)  # type: ignore[arg-type]


def said(pair: SpanPair, text: str) -> int:
    return sum(text in line for line in list(pair.client.lines))


@pytest.mark.parametrize("kind", BALANCERS)
def test_an_idle_limit_is_learned_and_costs_no_stream(
    kind: type[Balancer], processes: Processes, need: Requirements, tmp_path: Path
) -> None:
    with peers.Backend(peers.echo) as backend:
        _, pair = start(kind, processes, need, tmp_path, backend.port)
        with peers.connect(pair.port) as client:
            client.sendall(b"before")
            assert peers.read_exactly(client, 6) == b"before"
            pair.client.wait_for("something on the way cuts what is idle for")
            eventually(lambda: said(pair, "lost the carrier") == 2, "it is told that the second is lost")
            time.sleep(3 * LIMIT)
            assert said(pair, "lost the carrier") == 2, "pings keep it"
            client.sendall(b"after")
            assert peers.read_exactly(client, 5) == b"after"


def test_a_plain_websocket_learns_too(processes: Processes, need: Requirements, tmp_path: Path) -> None:
    """Each costs its connection, until it is known."""
    with peers.Backend(peers.echo) as backend:
        _, pair = start(Nginx, processes, need, tmp_path, backend.port, {"span.mode": "never"})
        for _ in range(2):
            with peers.connect(pair.port) as client:
                client.sendall(b"x")
                assert client.recv(1) == b"x"
                with pytest.raises(ConnectionResetError):
                    peers.read_all(client)
        pair.client.wait_for("something on the way cuts what is idle for")
        with peers.connect(pair.port) as client:
            client.sendall(b"x")
            assert client.recv(1) == b"x"
            time.sleep(3 * LIMIT)
            client.sendall(b"y")
            assert client.recv(1) == b"y"


@pytest.mark.parametrize("kind", BALANCERS)
def test_with_the_right_interval_nothing_is_ever_cut(
    kind: type[Balancer], processes: Processes, need: Requirements, tmp_path: Path
) -> None:
    with peers.Backend(peers.echo) as backend:
        often = {"span.mode": "never", "ws.ping.interval": "0.6 s"}
        _, pair = start(kind, processes, need, tmp_path, backend.port, often)
        with peers.connect(pair.port) as client:
            client.sendall(b"x")
            assert client.recv(1) == b"x"
            time.sleep(3 * LIMIT)
            client.sendall(b"y")
            assert client.recv(1) == b"y"


class Talk(threading.Thread):
    """Sends numbered pieces through an echo and compares what comes back, until it is told to end."""

    def __init__(self, port: int, number: int) -> None:
        super().__init__()
        self._port, self._number = port, number
        self._over = threading.Event()
        self.moved = 0
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            with peers.connect(self._port) as client:
                self._talk(client)
        except BaseException as error:
            self.error = error

    def _talk(self, client: socket.socket) -> None:
        turn = 0
        while not self._over.is_set():
            piece = hashlib.sha256(f"{self._number} {turn}".encode()).digest() * 2_000
            client.sendall(piece)
            assert peers.read_exactly(client, len(piece)) == piece
            self.moved += len(piece)
            turn += 1
            time.sleep(0.01)
        client.shutdown(socket.SHUT_WR)
        assert peers.read_all(client) == b""

    def end(self) -> None:
        self._over.set()
        self.join(PATIENCE)
        assert not self.is_alive()


@pytest.mark.parametrize("kind", BALANCERS)
def test_reloads_and_restarts_lose_nothing_of_streams_that_move(
    kind: type[Balancer], processes: Processes, need: Requirements, tmp_path: Path
) -> None:
    with peers.Backend(peers.echo) as backend:
        balancer, pair = start(
            kind, processes, need, tmp_path, backend.port, {"span.ping.deadline": "2 s"}, limit=60
        )
        talks = [Talk(pair.port, number) for number in range(6)]
        for talk in talks:
            talk.start()

        def moved_on() -> Callable[[], bool]:
            before = [talk.moved for talk in talks]
            return lambda: all(
                talk.error is not None or talk.moved > least + 200_000
                for talk, least in zip(talks, before, strict=True)
            )

        eventually(moved_on(), "streams move")
        for disturb in (balancer.reload, balancer.restart, balancer.restart):
            lost = said(pair, "lost the carrier")
            disturb()
            eventually(partial(lost_more_than, pair, lost), "the carrier was lost")
            eventually(moved_on(), "streams move again")
        for talk in talks:
            talk.end()
        assert [talk.error for talk in talks] == [None] * len(talks)
        for _ in talks:
            assert isinstance(backend.outcome(), int), "the backend saw an end in order"
