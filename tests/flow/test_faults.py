"""The Web is cut at any byte: applications see a reset, never a shortened stream that ends in order."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections import deque
from dataclasses import dataclass
from typing import Any

import pytest
from tests.flow.gateways import HOST, Application, Backend, pair
from tests.flow.loops import event_loop_policy
from tests.system.process import free_port
from tests.transports.loops import on_each_loop

__all__ = ["event_loop_policy"]
pytestmark = [on_each_loop, pytest.mark.parametrize("scheme", ["ws plain", "wss plain"])]

UP = random.Random(1).randbytes(20_000)
DOWN = random.Random(2).randbytes(20_000)


@dataclass(frozen=True)
class Cut:
    """Cut a connection with `way` (FIN or RST) when `after` bytes have gone up or down."""

    way: str
    direction: str
    after: int


class Faults:
    """Passes bytes on between a client and a server until each connection's cut is due."""

    def __init__(self, target: int) -> None:
        self.cuts: deque[Cut] = deque()
        self._target = target
        self._listener = socket.create_server((HOST, 0), backlog=64)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Faults:
        self._accepting = asyncio.ensure_future(self._accept())
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = [self._accepting, *self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._listener.close()

    async def _accept(self) -> None:
        while True:
            client, _ = await asyncio.get_running_loop().sock_accept(self._listener)
            task = asyncio.ensure_future(self._serve(Application(client)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve(self, client: Application) -> None:
        cut = self.cuts.popleft()
        with client, await Application.connect(self._target) as server:
            due = asyncio.Event()
            up = asyncio.ensure_future(self._pass(client, server, cut, "up", due))
            down = asyncio.ensure_future(self._pass(server, client, cut, "down", due))
            waiting = asyncio.ensure_future(due.wait())
            both = asyncio.gather(up, down)
            tasks: list[asyncio.Future[Any]] = [up, down, waiting, both]
            await asyncio.wait(tasks[2:], return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if not due.is_set():
                return
            if cut.way == "RST":
                client.reset()
                server.reset()
                return
            for end in (client, server):
                with contextlib.suppress(OSError):
                    end.end()
            await asyncio.gather(client.rest(), server.rest(), return_exceptions=True)

    async def _pass(
        self, source: Application, target: Application, cut: Cut, direction: str, due: asyncio.Event
    ) -> None:
        left = cut.after if cut.direction == direction else None
        try:
            while data := await source.receive():
                if left is not None and len(data) >= left:
                    await target.send(data[:left])
                    due.set()
                    return
                left = None if left is None else left - len(data)
                await target.send(data)
            target.end()
        except OSError:
            due.set()


async def converse(application: Application, mine: bytes, due: bytes, name: str) -> str:
    """Send all, end, read all. Only all of it may end well."""
    got = b""

    async def send() -> None:
        await application.send(mine)
        application.end()

    async def receive() -> None:
        nonlocal got
        while piece := await application.receive():
            got += piece

    results = await asyncio.gather(send(), receive(), return_exceptions=True)
    for result in results:
        if result is not None and not isinstance(result, (ConnectionResetError, BrokenPipeError)):
            raise result
    assert due.startswith(got), f"{name} got what was not sent"
    if isinstance(results[1], BaseException):
        return "reset"
    assert got == due, f"{name} saw a clean end after {len(got)} of {len(due)} bytes"
    return "end"


def cuts(scheme: str, seed: int, count: int) -> list[Cut]:
    chance = random.Random(seed)
    # What a handshake needs, and the frames with the data and Close behind it.
    most = len(UP) + (600 if scheme == "ws plain" else 3500)
    result = []
    for _ in range(count):
        way, direction = chance.choice(["FIN", "RST"]), chance.choice(["up", "down"])
        near_the_end = chance.random() < 0.4
        after = chance.randrange(len(UP), most) if near_the_end else chance.randrange(1, most)
        result.append(Cut(way, direction, after))
    return result


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_a_cut_at_any_byte(scheme: str, seed: int) -> None:
    web_port = free_port()
    planned = cuts(scheme, seed, 40)
    async with (
        Backend(lambda application: converse(application, DOWN, UP, "the server")) as backend,
        Faults(web_port) as faults,
        pair(
            scheme,
            backend.port,
            through=faults.port,
            web_port=web_port,
            web_options={"ws.close.timeout": "1 second"},
        ) as gateways,
    ):
        endings = []
        for cut in planned:
            faults.cuts.append(cut)
            before = backend.accepted
            with await Application.connect(gateways.port) as client:
                ending = await converse(client, UP, DOWN, "the client")
            outcome = await backend.outcome() if backend.accepted > before else None
            assert outcome in (None, "end", "reset"), (cut, outcome)
            assert not isinstance(outcome, BaseException), (cut, outcome)
            endings.append(ending)
        assert "reset" in endings


async def test_what_is_not_cut_ends_well(scheme: str) -> None:
    """The proxy of this file itself does no harm."""
    web_port = free_port()
    async with (
        Backend(lambda application: converse(application, DOWN, UP, "the server")) as backend,
        Faults(web_port) as faults,
        pair(scheme, backend.port, through=faults.port, web_port=web_port) as gateways,
    ):
        for _ in range(5):
            faults.cuts.append(Cut("FIN", "up", 1 << 30))
            with await Application.connect(gateways.port) as client:
                assert await converse(client, UP, DOWN, "the client") == "end"
            assert await backend.outcome() == "end"
