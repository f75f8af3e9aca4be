"""A reader that stalls stops its own stream and nobody else's, and memory stays as documented."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.flow.gateways import Application, Backend, echo
from tests.system.network import own_network
from tests.system.pair import Processes
from tests.system.process import free_port
from tests.system.requirements import Requirements
from tests.system.span_scene import SOAK_SECONDS, bar, start_span_pair

KIB, MIB = 1 << 10, 1 << 20
STALLED = 1000 if SOAK_SECONDS else 200
BUDGET = 8 * MIB
"""`span.receive.budget` and `span.send.budget` of this test: far less than so many streams would take."""
PIECE = bytes(64 * KIB)


@pytest.fixture
def small_buffers(need: Requirements) -> Iterator[None]:
    """Have all applications and gateways on a machine that keeps less than usual of what is not read.

    They have one kernel here, and its memory for TCP (net.ipv4.tcp_mem) is spent before their budgets are.
    """
    need.root()
    for program in ("ip", "sysctl"):
        need.program(program)
    with own_network(tcp_rmem=f"4096 131072 {512 * KIB}"):
        yield


@pytest.mark.soak
@pytest.mark.timeout(240)
@pytest.mark.usefixtures("small_buffers")
async def test_readers_that_stall_stop_nobody_else(
    need: Requirements, processes: Processes, tmp_path: Path
) -> None:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    need.that(limit > 2 * STALLED + 200, f"{limit} open files are too few for {STALLED} connections")
    sent = 0

    async def serve(application: Application) -> object:
        nonlocal sent
        if await application.exactly(1) == b"e":
            return await echo(application)
        loop = asyncio.get_running_loop()
        application._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, len(PIECE))
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            while True:
                await loop.sock_sendall(application._socket, PIECE)  # `send` would lose patience
                sent += len(PIECE)
        return None

    async with Backend(serve) as backend:
        pair = start_span_pair(
            processes,
            tmp_path,
            backend.port,
            web_port=free_port(),
            both={"span.mode": "required"},
            options={"span.receive.budget": BUDGET, "span.send.budget": BUDGET},
        )
        gateways = (pair.client, pair.server)
        stalled: list[Application] = []
        try:
            before = await measured(pair.port)
            held = [gateway.resident_bytes() for gateway in gateways]
            for _ in range(STALLED):
                stalled.append(await Application.connect(pair.port))
                await stalled[-1].send(b"d")
            last = -1
            while sent != last:
                last = sent
                await asyncio.sleep(1.0)
            beside = await measured(pair.port)
            grown = [gateway.resident_bytes() - was for gateway, was in zip(gateways, held, strict=True)]
            print(
                f"{STALLED} stalled; echo {before[0] * 1e3:.2f} ms, beside them {beside[0] * 1e3:.2f} ms; "
                f"bulk {before[1] / 1e6:.0f} MB/s, beside them {beside[1] / 1e6:.0f} MB/s; "
                f"memory of the client {grown[0] / MIB:.1f} MiB, of the server {grown[1] / MIB:.1f} MiB"
            )
            assert beside[0] <= bar(4, 20) * before[0]
            # With the budget spent a stream has its 64 KiB, and no more.
            assert beside[1] >= before[1] / 20
            # 64 KiB of window or store are each stream's own, and one read of its application; the budgets
            # are for all (docs/span.md section 8, docs/flow.md).
            each = (64 + 256) * KIB
            for gateway, growth in zip(("client", "server"), grown, strict=True):
                assert growth <= 1.25 * (BUDGET + STALLED * each), gateway
            # Who reads again gets on.
            for application in stalled[:: max(1, STALLED // 20)]:
                assert await application.exactly(4 * MIB) == bytes(4 * MIB)
        finally:
            for application in stalled:
                application.reset()


async def measured(port: int) -> tuple[float, float]:
    """Return the median of 200 round trips in seconds, and the bytes a second of 32 MiB that are read."""
    times = []
    with await Application.connect(port) as application:
        await application.send(b"e")
        for _ in range(200):
            began = time.perf_counter()
            await application.send(bytes(64))
            await application.exactly(64)
            times.append(time.perf_counter() - began)
    with await Application.connect(port) as application:
        await application.send(b"d")
        left, began = 32 * MIB, time.perf_counter()
        while left > 0:
            left -= len(await application.receive(256 * KIB))
        rate = 32 * MIB / (time.perf_counter() - began)
        application.reset()
    return statistics.median(times), rate
