"""Every row of the table "Where Kaazing fails": through two gateways, over ws and wss, byte-exact.

The facts of the table were seen on Kaazing 5.6.2; each test names its row.
"""

from __future__ import annotations

import asyncio
import os

import pytest
from tests.flow.gateways import HOST, Application, Backend, authority, echo, pair, read_all
from tests.flow.loops import event_loop_policy
from tests.system.process import free_port
from tests.transports.loops import PATIENCE, on_each_loop, until
from websockets.asyncio.client import connect as websocket_connect
from websockets.exceptions import InvalidStatus

__all__ = ["event_loop_policy"]
SCHEMES = ["ws", "wss", "ws plain", "wss plain", "ws sealed", "wss sealed"]
pytestmark = [on_each_loop, pytest.mark.parametrize("scheme", SCHEMES)]

TIMES = 20


async def test_send_and_half_close_at_once(scheme: str) -> None:
    """Send 100 bytes, half-close at once: Kaazing's backend got 0 bytes."""
    async with Backend(read_all) as backend, pair(scheme, backend.port) as gateways:
        for _ in range(TIMES):
            data = os.urandom(100)
            with await Application.connect(gateways.port) as client:
                await client.send(data)
                client.end()
                assert await client.rest() == b""
            assert await backend.outcome() == data


async def test_send_and_close_at_once(scheme: str) -> None:
    """Send 100 bytes, close at once: Kaazing's backend got 0 bytes."""
    async with Backend(read_all) as backend, pair(scheme, backend.port) as gateways:
        for _ in range(TIMES):
            data = os.urandom(100)
            with await Application.connect(gateways.port) as client:
                await client.send(data)
            assert await backend.outcome() == data


async def test_send_wait_half_close_and_read_the_reply(scheme: str) -> None:
    """Send, wait, half-close, then read the reply: Kaazing gave none."""

    async def reply(application: Application) -> None:
        received = await application.rest()
        await application.send(received[::-1])
        await asyncio.sleep(0.01)
        await application.send(b"and more")
        application.end()

    async with Backend(reply) as backend, pair(scheme, backend.port) as gateways:
        for _ in range(TIMES):
            data = os.urandom(100)
            with await Application.connect(gateways.port) as client:
                await client.send(data)
                await asyncio.sleep(0.01)
                client.end()
                assert await client.rest() == data[::-1] + b"and more"


async def test_much_then_close(scheme: str) -> None:
    """5 MB then close: Kaazing's backend got 0 bytes in 2 of 5."""
    data = os.urandom(5 * 1024 * 1024)
    async with Backend(read_all) as backend, pair(scheme, backend.port) as gateways:
        for _ in range(5):
            with await Application.connect(gateways.port) as client:
                await client.send(data)
            assert await backend.outcome() == data


async def test_much_from_the_backend_then_close(scheme: str) -> None:
    """The same in the other direction."""
    data = os.urandom(5 * 1024 * 1024)
    async with (
        Backend(lambda application: application.send(data)) as backend,
        pair(scheme, backend.port) as gateways,
    ):
        for _ in range(3):
            with await Application.connect(gateways.port) as client:
                assert await client.rest() == data


async def test_the_backend_half_closes_after_a_greeting(scheme: str) -> None:
    """Backend half-closes after a greeting: Kaazing lost the client's later bytes."""

    async def greet(application: Application) -> bytes:
        await application.send(b"220 ready")
        application.end()
        return await application.rest()

    async with Backend(greet) as backend, pair(scheme, backend.port) as gateways:
        for _ in range(TIMES):
            data = os.urandom(70_000)
            with await Application.connect(gateways.port) as client:
                assert await client.rest() == b"220 ready"
                for start in range(0, len(data), 10_000):
                    await client.send(data[start : start + 10_000])
                client.end()
                assert await backend.outcome() == data


async def test_the_client_resets(scheme: str) -> None:
    """Client resets: Kaazing's backend saw a clean end."""
    async with Backend(Application.is_reset) as backend, pair(scheme, backend.port) as gateways:
        for turn in range(TIMES):
            client = await Application.connect(gateways.port)
            await client.send(b"x" * 1000)
            await until(lambda turn=turn: backend.accepted > turn)
            await asyncio.sleep(0.005)
            client.reset()
            assert await backend.outcome() is True


async def test_the_client_resets_while_the_gateway_connects(scheme: str) -> None:
    """Bytes and reset lie in the kernel before anything is read: uvloop tells of such a socket only once."""
    async with Backend(Application.is_reset) as backend, pair(scheme, backend.port) as gateways:
        for _ in range(TIMES):
            client = await Application.connect(gateways.port)
            await client.send(b"x" * 1000)
            client.reset()
            assert await backend.outcome() is True


async def test_the_backend_resets(scheme: str) -> None:
    """The same in the other direction."""

    async def leave(application: Application) -> None:
        await application.exactly(5)
        application.reset()

    async with Backend(leave) as backend, pair(scheme, backend.port) as gateways:
        for _ in range(TIMES):
            with await Application.connect(gateways.port) as client:
                await client.send(b"hello")
                assert await client.is_reset()


async def test_the_backend_is_down_for_a_web_client(scheme: str) -> None:
    """Backend down: a WebSocket client of Kaazing's gets 101 and then Close 1000; ours gets 502 instead."""
    async with pair(scheme, free_port()) as gateways:
        context = authority().client_context() if scheme.startswith("wss") else None
        uri = f"{scheme.split()[0]}://{HOST}:{gateways.web_port}/tunnel"
        with pytest.raises(InvalidStatus) as refused:
            await websocket_connect(uri, ssl=context, proxy=None, open_timeout=PATIENCE)
        assert refused.value.response.status_code == 502


async def test_the_backend_is_down_for_an_application(scheme: str) -> None:
    """Backend down, seen from the application: a reset, not an end in order."""
    async with pair(scheme, free_port()) as gateways:
        for _ in range(3):
            with await Application.connect(gateways.port) as client:
                assert await client.is_reset()


async def test_the_server_gateway_is_down(scheme: str) -> None:
    async with Backend(echo) as backend, pair(scheme, backend.port, through=free_port()) as gateways:
        with await Application.connect(gateways.port) as client:
            assert await client.is_reset()
        assert backend.accepted == 0
