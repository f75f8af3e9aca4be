"""Many streams at once, each with a plan of its own: nothing is lost, mixed up or left behind."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

import pytest
from tests.flow.gateways import Application, Backend, pair
from tests.flow.loops import event_loop_policy
from tests.transports.loops import on_each_loop

__all__ = ["event_loop_policy"]
pytestmark = [on_each_loop, pytest.mark.parametrize("scheme", ["ws", "wss"])]

STREAMS = 120
AT_ONCE = 24


@dataclass(frozen=True)
class Plan:
    """What the two ends of one stream do. `ending` is one of ENDINGS; a reset comes after `cut` bytes."""

    number: int
    up: bytes
    down: bytes
    ending: str
    cut: int
    pace: float


ENDINGS = ["both end", "the client waits", "the server waits", "the client resets", "the server resets"]


def plan(seed: int, number: int) -> Plan:
    chance = random.Random(f"{seed}/{number}")
    sizes = [0, 1, 125, 126, 5000, 65_535, 65_536, 300_000]
    up, down = (chance.randbytes(chance.choice(sizes)) for _ in range(2))
    ending = chance.choice(ENDINGS)
    cut = chance.randrange(len(up if "client" in ending else down) + 1)
    return Plan(number, up, down, ending, cut, chance.choice([0, 0, 0.001]))


async def play(
    application: Application, mine: bytes, due: bytes, waits: bool, cut: int | None, pace: float
) -> str:
    """Send `mine` and receive what should be `due`; return how it ended: `end` or `reset`."""

    async def send() -> None:
        data = memoryview(mine if cut is None else mine[:cut])
        for start in range(0, len(data), 20_000):
            await application.send(data[start : start + 20_000])
            await asyncio.sleep(pace)
        if cut is None:
            application.end()

    async def receive() -> None:
        got = 0
        while piece := await application.receive():
            assert piece == due[got : got + len(piece)], "what came is not what was sent"
            got += len(piece)
        assert got == len(due), f"a clean end after {got} of {len(due)} bytes"

    try:
        if cut is not None:
            await send()
            application.reset()
            return "resets"
        if waits:
            await receive()
            await send()
        else:
            await asyncio.gather(send(), receive())
    except (ConnectionResetError, BrokenPipeError):
        return "reset"
    return "end"


async def client(port: int, plan: Plan) -> str:
    with await Application.connect(port) as application:
        try:
            await application.send(plan.number.to_bytes(4))
        except ConnectionResetError:
            return "reset"
        cut = plan.cut if plan.ending == "the client resets" else None
        return await play(application, plan.up, plan.down, plan.ending == "the client waits", cut, plan.pace)


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_storm_of_streams(scheme: str, seed: int) -> None:
    plans = [plan(seed, number) for number in range(STREAMS)]
    ends: dict[int, str] = {}

    async def server(application: Application) -> object:
        try:
            number = int.from_bytes(await application.exactly(4))
        except ConnectionResetError:
            return None  # reset before it said who it is
        its = plans[number]
        cut = its.cut if its.ending == "the server resets" else None
        ends[number] = await play(
            application, its.down, its.up, its.ending == "the server waits", cut, its.pace
        )
        return None

    async with Backend(server) as backend, pair(scheme, backend.port) as gateways:
        room = asyncio.Semaphore(AT_ONCE)

        async def one(plan: Plan) -> str:
            async with room:
                return await client(gateways.port, plan)

        seen = await asyncio.gather(*map(one, plans))
        for _ in range(backend.accepted):
            outcome = await backend.outcome()
            assert outcome is None, outcome
        for its, end in zip(plans, seen, strict=True):
            expected = {"the client resets": ("resets", "reset"), "the server resets": ("reset", "resets")}
            near, far = expected.get(its.ending, ("end", "end"))
            assert end == near, its.ending
            assert ends.get(its.number, far) == far, its.ending
            assert its.number in ends or its.ending == "the client resets"
    assert {its.ending for its in plans} == set(ENDINGS)
