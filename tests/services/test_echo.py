"""The echo service."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.services.fakes import READ_SIZE, Connection, Incoming, echo_service
from tests.services.test_proxy import turns

from isthmus.services.echo import EchoService


def scene(**properties: Any) -> tuple[EchoService, Connection]:
    service = EchoService(echo_service(**properties))
    client = Connection(asyncio.get_running_loop().call_soon)
    service.incoming(Incoming(client))
    return service, client


async def test_bytes_come_back() -> None:
    service, client = scene()
    client.send(b"one")
    client.read()
    client.send(b"two")
    client.read()
    client.take()
    assert client.got == b"onetwo"
    assert service.connections() == 1


async def test_an_end_ends_in_order() -> None:
    service, client = scene()
    client.send(b"last")
    client.end()
    client.read()
    client.read()
    assert not client.saw_end
    client.take()
    await turns()
    assert client.got == b"last"
    assert client.saw_end
    assert not client.saw_reset
    assert service.connections() == 0


async def test_a_reset_is_the_end() -> None:
    service, client = scene()
    client.reset()
    await turns()
    assert service.connections() == 0


async def test_who_does_not_read_is_not_read() -> None:
    _, client = scene(maximum_pending_bytes=100)
    client.send(bytes(1000))
    while client.read():
        pass
    assert client.paused
    assert 100 < client.unsent() <= 100 + READ_SIZE
    client.take()
    assert not client.paused


async def test_repeat() -> None:
    _, client = scene(repeat=3)
    for word in (b"a", b"bc"):
        client.send(word)
        client.read()
    client.take()
    assert client.got == b"aaabcbcbc"


async def test_many_repeats_are_written_as_the_other_side_takes_them() -> None:
    service, client = scene(repeat=1000, maximum_pending_bytes=100)
    client.send(b"x" * READ_SIZE)
    client.end()
    client.read(pieces=2)
    client.read()
    while not client.saw_end:
        assert client.unsent() <= 100 + READ_SIZE
        client.take(50)
        client.read()
    assert len(client.got) == 1000 * READ_SIZE
    await turns()
    assert service.connections() == 0


@given(
    words=st.lists(st.binary(min_size=1, max_size=READ_SIZE), max_size=5),
    repeat=st.integers(1, 5),
    limit=st.integers(1, 200),
    taken=st.lists(st.integers(1, 300), max_size=20),
)
def test_any_pace(words: list[bytes], repeat: int, limit: int, taken: list[int]) -> None:
    async def run() -> None:
        _, client = scene(repeat=repeat, maximum_pending_bytes=limit)
        due = list(words)
        for size in taken:
            if due and not client.paused:
                client.send(due.pop(0))
                client.read()
            client.take(size)
        while due:
            if client.paused:
                client.take()
                continue
            client.send(due.pop(0))
            client.read()
        client.end()
        while not client.saw_end:
            client.read()
            client.take()
        assert client.got == b"".join(word * repeat for word in words)

    asyncio.run(run())


async def test_stop_waits_then_resets() -> None:
    service, client = scene()
    stopping = asyncio.ensure_future(service.stop(0.02))
    await turns()
    assert not stopping.done()
    client.send(b"still")
    client.read()
    client.take()
    assert client.got == b"still"
    await stopping
    await turns()
    assert client.saw_reset
    assert service.connections() == 0


@pytest.mark.parametrize("deadline", [0.0, 3600.0])
async def test_stop_with_nothing_open(deadline: float) -> None:
    service = EchoService(echo_service())
    await service.start()
    await asyncio.wait_for(service.stop(deadline), 10.0)


async def test_a_client_that_comes_during_a_stop_is_refused_with_503() -> None:
    service, _ = scene()
    await service.stop(0.0)
    late = Incoming(Connection(asyncio.get_running_loop().call_soon))
    service.incoming(late)
    assert late.refusal is not None
    assert late.refusal.status == 503
