"""What many strangers at once can pin in the memory of a gateway, and whether others are served meanwhile."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

import pytest
from tests.system import configuration, peers
from tests.system.pair import Processes
from tests.system.process import PATIENCE, Gateway, free_port

MANY = 1_000
HEAD_KIB = 16
"""`http.maximum.head.size`"""
EACH_KIB = 2 * HEAD_KIB + 16
"""What each may cost: its head, as much again while a buffer grows, and the connection itself."""


def gateway(processes: Processes, folder: Path, seconds: int) -> tuple[Gateway, int]:
    port = free_port()
    services = [configuration.service(f"ws://127.0.0.1:{port}/echo", kind="echo")]
    services.append(configuration.service(f"http://127.0.0.1:{port}/", kind="directory", properties=PAGES))
    options = {"http.head.timeout": seconds, "maximum.connections": MANY + 50}
    file = configuration.write(folder / "gateway.xml", *services, options=options)
    return processes.gateway(file).started(), port


PAGES = {"directory": "/base", "welcome-file": "index.html"}


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /echo HTTP/1.1\r\nX: " + b"y" * 15_000,
        b"GET /echo HTTP/1.1\r\n" + b"X: y\r\n" * 2_500,
        b"GET /" + b"y" * 8_000,
        b"G",
    ],
    ids=["one long field", "many fields", "a long path", "one byte"],
)
def test_heads_that_do_not_end(processes: Processes, tmp_path: Path, sent: bytes) -> None:
    started, port = gateway(processes, tmp_path, 8)
    before = started.resident_bytes()
    with contextlib.ExitStack() as kept:
        for _ in range(MANY):
            client = kept.enter_context(peers.connect(port))
            client.sendall(sent)
        with peers.connect(port) as good:  # whoever asks properly is served
            good.sendall(f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())
            assert peers.read_all(good).startswith(b"HTTP/1.1 ")
        grown = (started.resident_bytes() - before) / 1024
        assert grown < MANY * EACH_KIB, f"{grown / MANY:.1f} KiB each"
        if len(sent) < HEAD_KIB * 1024:
            started.wait_for("refused with 408: the request head took too long")


def test_websockets_of_slow_readers(processes: Processes, tmp_path: Path) -> None:
    """Each pins at most what is unsent towards it, and a read; the echo of what it does not read stays where
    it was.
    """
    started, port = gateway(processes, tmp_path, 8)
    before = started.resident_bytes()
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    head = (
        f"GET /echo HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{key}"
    )
    message = b"\x82\xfe\xff\xff" + bytes(4) + bytes(65_535)
    slow = 50
    with contextlib.ExitStack() as kept:
        for _ in range(slow):
            client = kept.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.settimeout(PATIENCE)
            client.connect(("127.0.0.1", port))
            client.sendall(f"{head}\r\n".encode())
            assert client.recv(1000).startswith(b"HTTP/1.1 101")
            client.settimeout(0.2)
            with contextlib.suppress(TimeoutError):
                for _ in range(1_000):
                    client.sendall(message)
                raise AssertionError("64 MiB were taken from one who reads nothing")
        grown = (started.resident_bytes() - before) / 1024
        assert grown < slow * 1024, f"{grown / slow:.1f} KiB each"
