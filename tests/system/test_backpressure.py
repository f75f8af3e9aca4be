"""A slow reader slows its own sender only, and costs bounded memory."""

from __future__ import annotations

import hashlib
import os
import select
import socket
import threading
from pathlib import Path

import pytest
from tests.system import peers
from tests.system.certificates import Authority
from tests.system.pair import Pair, Processes, start_pair
from tests.system.process import PATIENCE

PUSHED = 64 * 1024 * 1024
# What one stream may have sent and not acknowledged, received and not taken (docs/flow.md), and what the
# allocator keeps of freed memory (transports/heap.py): 16 MiB each.
BOUND = 3 * 16 * 1024 * 1024
"""What one stopped connection may cost both gateways together; Python's own noise is in it."""


def push_until_stalled(connection: socket.socket, data: memoryview) -> int:
    """Send until nothing was taken for two seconds; return how much was."""
    sent = 0
    connection.setblocking(False)
    while sent < len(data):
        _, writable, _ = select.select([], [connection], [], 2.0)
        if not writable:
            break
        sent += connection.send(data[sent : sent + (1 << 20)])
    connection.settimeout(PATIENCE)
    return sent


def check_others_go_on(pair: Pair) -> None:
    for _ in range(20):
        with peers.connect(pair.port) as other:
            other.sendall(b"echo" + bytes(1000))
            other.shutdown(socket.SHUT_WR)
            assert peers.read_all(other) == bytes(1000)


@pytest.mark.parametrize("scheme", ["ws", "wss"])
@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_stopped_reader(
    scheme: str, direction: str, processes: Processes, tmp_path: Path, authority: Authority
) -> None:
    data = memoryview(os.urandom(1 << 20) * (PUSHED >> 20))
    go_on = threading.Event()
    stalled: list[int] = []
    full = threading.Event()

    def push(connection: socket.socket) -> None:
        stalled.append(push_until_stalled(connection, data))
        full.set()
        connection.sendall(data[stalled[0] :])
        connection.shutdown(socket.SHUT_WR)

    def backend(connection: socket.socket) -> object:
        wanted = peers.read_exactly(connection, 4)
        if wanted == b"echo":
            return peers.echo(connection)
        if wanted == b"push":
            push(connection)
            return None
        assert go_on.wait(PATIENCE)
        return hash_of(connection)

    with peers.Backend(backend) as far:
        pair = start_pair(
            processes, tmp_path, f"tcp://127.0.0.1:{far.port}", scheme=scheme, authority=authority
        )
        check_others_go_on(pair)
        before = pair.client.resident_bytes() + pair.server.resident_bytes()
        with peers.connect(pair.port) as connection:
            connection.sendall(b"push" if direction == "down" else b"wait")
            if direction == "up":
                thread = threading.Thread(target=push, args=(connection,), daemon=True)
                thread.start()
            assert full.wait(PATIENCE)
            after = pair.client.resident_bytes() + pair.server.resident_bytes()
            assert stalled[0] < PUSHED, "the sender was never slowed"
            assert after - before < BOUND, f"{(after - before) >> 20} MiB for one stopped connection"
            check_others_go_on(pair)
            go_on.set()
            if direction == "up":
                thread.join(PATIENCE)
                assert peers.read_all(connection) == b""
                results = [far.outcome() for _ in range(41)]
                assert hashlib.sha256(data).hexdigest() in results
            else:
                assert hash_of(connection) == hashlib.sha256(data).hexdigest()
        assert pair.client.resident_bytes() + pair.server.resident_bytes() - before < BOUND


def hash_of(connection: socket.socket) -> str:
    """Read until the end of input."""
    total = hashlib.sha256()
    while data := connection.recv(1 << 18):
        total.update(data)
    return total.hexdigest()
