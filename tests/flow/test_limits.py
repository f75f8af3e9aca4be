"""What one stream may cost the others: a slow reader, and connections above the limit."""

from __future__ import annotations

import asyncio
import hashlib
import random

import pytest
from tests.flow.gateways import HOST, Application, Backend, configuration, echo, pair, running, service
from tests.flow.loops import event_loop_policy
from tests.system.process import free_port
from tests.transports.loops import on_each_loop, until

__all__ = ["event_loop_policy"]
pytestmark = on_each_loop

PIECE = random.Random(3).randbytes(1 << 20)
PIECES = 48


@pytest.mark.parametrize("scheme", ["ws", "wss", "ws sealed"])
async def test_a_slow_reader_slows_its_own_sender_only(scheme: str) -> None:
    pushed = 0

    async def serve(application: Application) -> object:
        nonlocal pushed
        if await application.exactly(4) == b"echo":
            return await echo(application)
        for _ in range(PIECES):
            await application.send(PIECE)
            pushed += 1
        application.end()
        return None

    async with Backend(serve) as backend, pair(scheme, backend.port) as gateways:
        with await Application.connect(gateways.port, receive_buffer=1 << 16) as slow:
            await slow.send(b"push")
            before = -1
            while pushed != before or not pushed:
                before = pushed
                await asyncio.sleep(0.2)
            assert pushed < PIECES, "the sender was never slowed"
            for gateway in (gateways.client, gateways.server):
                for relay in gateway._running[0].relays:  # type: ignore[union-attr]
                    for half in (relay.accepted, relay.connected):
                        assert half.transport is not None
                        assert half.transport.unsent() < 2 * 1024 * 1024
            for _ in range(10):
                with await Application.connect(gateways.port) as other:
                    await other.send(b"echo" + PIECE)
                    other.end()
                    assert await other.rest() == PIECE
            got = hashlib.sha256()
            while data := await slow.receive(1 << 18):
                got.update(data)
            assert got.digest() == hashlib.sha256(PIECE * PIECES).digest()


async def test_more_connections_than_allowed_wait_for_their_turn() -> None:
    port = free_port()
    config = configuration(service("echo", f"tcp://{HOST}:{port}"), options={"maximum.connections": "3"})

    async def says(application: Application) -> bytes:
        await application.send(b"hello")
        return await application.exactly(5)

    async with running(config) as gateway:
        clients = [await Application.connect(port) for _ in range(5)]
        answers = [asyncio.ensure_future(says(client)) for client in clients]
        await until(lambda: sum(answer.done() for answer in answers) == 3, "three are served")
        await asyncio.sleep(0.05)
        assert sum(answer.done() for answer in answers) == 3
        assert gateway.connections() == 3
        for client, answer in zip(clients, answers, strict=True):
            if answer.done():
                client.close()
        assert await asyncio.gather(*answers) == [b"hello"] * 5
        for client in clients:
            client.close()


async def test_the_limit_counts_web_connections_too() -> None:
    port, web_port = free_port(), free_port()
    config = configuration(
        service("echo", [f"tcp://{HOST}:{port}", f"ws://{HOST}:{web_port}/"]),
        options={"maximum.connections": "1"},
    )
    async with running(config) as gateway:
        with await Application.connect(web_port):
            await until(lambda: gateway.connections() == 1)
            with await Application.connect(port) as waits:
                await waits.send(b"x")
                answer = asyncio.ensure_future(waits.exactly(1))
                await asyncio.sleep(0.05)
                assert not answer.done()
                answer.cancel()
        await until(lambda: gateway.connections() == 0)
