from __future__ import annotations

import asyncio

import pytest

from isthmus.identity import Identity
from isthmus.security import watch as module
from isthmus.security.watch import Watch

JOE, ANN = Identity("demo", "joe"), Identity("demo", "ann")


class Connection:
    def __init__(self) -> None:
        self.over = False
        self.reasons: list[str] = []

    def dismiss(self, reason: str) -> None:
        self.reasons.append(reason)
        self.over = True


async def until(watch: Watch, count: int) -> None:
    for _ in range(500):
        if len(watch) == count:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{len(watch)} are watched")


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)


async def test_what_is_no_longer_allowed_is_ended() -> None:
    allowed, asked = {JOE, ANN}, []

    def still(identity: Identity) -> bool:
        asked.append(identity)
        return identity in allowed

    watch = Watch()
    joes, anns = [Connection() for _ in range(3)], [Connection()]
    for each in joes:
        watch.add(still, JOE, each)
    watch.add(still, ANN, anns[0])
    await asyncio.sleep(0.05)
    rounds = asked.count(ANN)
    assert rounds > 0
    assert abs(asked.count(JOE) - rounds) <= 1, "an identity is asked about once in a round"
    allowed.remove(JOE)
    await until(watch, 1)
    assert [each.reasons for each in joes] == [["the login has ended"]] * 3
    assert anns[0].reasons == []
    assert watch.dismissed == 3
    watch.stop()
    assert len(watch) == 0


async def test_nothing_is_kept_and_no_timer_runs_when_all_is_over() -> None:
    watch = Watch()
    connection = Connection()
    watch.add(lambda _: True, JOE, connection)
    connection.over = True
    await until(watch, 0)
    assert watch._timer is None
    assert connection.reasons == []
    watch.add(lambda _: False, JOE, Connection())
    await until(watch, 0)
