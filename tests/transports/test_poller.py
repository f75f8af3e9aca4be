"""Both pollers keep the same promises; what epoll tells beyond them is tested apart."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable

import pytest
from tests.transports.loops import event_loop_policy, on_each_loop, turns

from isthmus.transports.poller import ERROR, HANG_UP, READ, WRITE, EpollPoller, LoopPoller, Poller, poller_of

__all__ = ["event_loop_policy"]
pytestmark = on_each_loop


class Told:
    """Notes what it is told; does `then` each time."""

    def __init__(self) -> None:
        self.events: list[int] = []

    def ready(self, events: int) -> None:
        self.events.append(events)

    @property
    def seen(self) -> int:
        bits = 0
        for events in self.events:
            bits |= events
        return bits


class Pair:
    """Two connected sockets, one of them watched."""

    def __init__(self) -> None:
        self.watched, self.peer = socket.socketpair()
        self.watched.setblocking(False)
        self.number = self.watched.fileno()
        self.told = Told()

    def close(self) -> None:
        self.watched.close()
        self.peer.close()


async def rounds(count: int = 5) -> None:
    await turns(count)


@pytest.fixture(params=[EpollPoller, LoopPoller, poller_of])
async def poller(request: pytest.FixtureRequest) -> Poller:
    made: Poller = request.param(asyncio.get_running_loop())
    return made


@pytest.fixture
async def pair(poller: Poller) -> AsyncIterator[Pair]:
    made = Pair()
    yield made
    poller.forget(made.number)
    made.close()


async def test_nothing_is_told_before_something_happens(poller: Poller, pair: Pair) -> None:
    poller.add(pair.number, pair.told, READ)
    await rounds()
    assert pair.told.events == []


async def test_what_can_be_read_is_told_until_it_is_read(poller: Poller, pair: Pair) -> None:
    poller.add(pair.number, pair.told, READ)
    pair.peer.send(b"x")
    await rounds(10)
    assert len(pair.told.events) > 1
    pair.watched.recv(10)
    await rounds()
    told = len(pair.told.events)
    await rounds()
    assert len(pair.told.events) == told


async def test_what_is_wanted_can_change(poller: Poller, pair: Pair) -> None:
    poller.add(pair.number, pair.told, 0)
    pair.peer.send(b"x")
    await rounds()
    assert pair.told.events == []
    poller.change(pair.number, WRITE)
    await rounds()
    assert pair.told.seen == WRITE
    poller.change(pair.number, READ | WRITE)
    await rounds()
    assert pair.told.seen == READ | WRITE
    poller.change(pair.number, 0)
    told = len(pair.told.events)
    await rounds()
    assert len(pair.told.events) == told


async def test_nothing_is_told_after_forget_which_may_be_called_again(poller: Poller, pair: Pair) -> None:
    poller.add(pair.number, pair.told, READ | WRITE)
    pair.peer.send(b"x")
    poller.forget(pair.number)
    poller.forget(pair.number)
    await rounds()
    assert pair.told.events == []


async def test_one_that_is_closed_next_needs_no_more_than_that(poller: Poller) -> None:
    for _ in range(3):
        pair, later = Pair(), Told()
        poller.add(pair.number, pair.told, READ)
        pair.peer.send(b"x")
        poller.forget_closing(pair.number)
        pair.close()
        await rounds()
        assert pair.told.events == []
        pair = Pair()  # it has the same number
        poller.add(pair.number, later, READ)
        pair.peer.send(b"x")
        await rounds()
        assert later.seen == READ
        poller.forget(pair.number)
        pair.close()


async def test_one_that_another_forgets_in_the_same_round_is_not_told(poller: Poller) -> None:
    first, second = Pair(), Pair()
    for one, other in ((first, second), (second, first)):
        one.peer.send(b"x")

        def ready(events: int, one: Pair = one, other: Pair = other) -> None:
            one.told.events.append(events)
            poller.forget(other.number)
            poller.forget(one.number)

        watcher = Told()
        watcher.ready = ready  # type: ignore[method-assign]
        poller.add(one.number, watcher, READ)
    await rounds()
    assert len(first.told.events) + len(second.told.events) == 1
    first.close()
    second.close()


async def test_epoll_tells_a_hang_up_and_an_error_unasked() -> None:
    poller = EpollPoller(asyncio.get_running_loop())
    server = socket.create_server(("127.0.0.1", 0))
    peer = socket.create_connection(server.getsockname())
    watched, _ = server.accept()
    number, told = watched.fileno(), Told()
    poller.add(number, told, 0)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    peer.close()
    await asyncio.sleep(0.01)
    assert told.seen & ERROR
    assert told.seen & HANG_UP
    poller.forget(number)
    watched.close()
    server.close()


@pytest.mark.parametrize("forget", [EpollPoller.forget, EpollPoller.forget_closing])
async def test_a_number_that_another_socket_gets_in_the_same_round_is_not_told_for_the_old_one(
    forget: Callable[[EpollPoller, int], None],
) -> None:
    """Two end at once; who is told first closes both and opens others, which get the same numbers."""
    poller = poller_of(asyncio.get_running_loop())
    assert isinstance(poller, EpollPoller)
    first, second = Pair(), Pair()
    later = Told()
    made: list[socket.socket] = []

    def ready(events: int) -> None:
        if made:
            return
        for each in (first, second):
            forget(poller, each.number)
            each.watched.close()
        while len(made) < 2:
            made.extend(socket.socketpair())
        assert {each.fileno() for each in made} == {first.number, second.number}
        for one in made:
            poller.add(one.fileno(), later, READ)

    for each in (first, second):
        watcher = Told()
        watcher.ready = ready  # type: ignore[method-assign]
        poller.add(each.number, watcher, READ)
    first.peer.close()
    second.peer.close()
    await rounds()
    assert made
    assert later.events == []
    for one in made:
        poller.forget(one.fileno())
        one.close()


async def test_a_failing_watcher_keeps_nobody_else_from_being_told(poller: Poller) -> None:
    failures: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    pairs = [Pair(), Pair()]
    told = 0

    def ready(events: int) -> None:
        nonlocal told
        told += 1
        raise ZeroDivisionError

    for each in pairs:
        watcher = Told()
        watcher.ready = ready  # type: ignore[method-assign]
        poller.add(each.number, watcher, READ)
        each.peer.send(b"x")
    await rounds(3)
    for each in pairs:
        poller.forget(each.number)
        each.close()
    assert told >= 2
    assert len(failures) == told
    assert isinstance(failures[0]["exception"], ZeroDivisionError)


async def test_a_loop_has_one_poller() -> None:
    loop = asyncio.get_running_loop()
    assert poller_of(loop) is poller_of(loop)


async def test_what_follows_a_round_comes_once_after_all_that_was_ready(poller: Poller) -> None:
    pairs = [Pair() for _ in range(5)]
    order: list[str] = []
    for pair in pairs:

        def ready(events: int, pair: Pair = pair) -> None:
            pair.watched.recv(10)
            order.append("ready")
            if order.count("ready") < 3:
                poller.after_round(lambda: order.append("after"))

        watcher = Told()
        watcher.ready = ready  # type: ignore[method-assign]
        poller.add(pair.number, watcher, READ)
        pair.peer.send(b"x")
    await rounds()
    assert order == ["ready"] * 5 + ["after"] * 2
    for pair in pairs:
        poller.forget(pair.number)
        pair.close()


async def test_what_follows_a_round_can_be_asked_for_outside_of_one(poller: Poller) -> None:
    order: list[str] = []
    poller.after_round(lambda: order.append("first"))
    poller.after_round(lambda: order.append("second"))
    assert order == []
    await rounds()
    assert order == ["first", "second"]


async def test_who_asks_for_ever_is_called_in_passes_and_others_have_their_turn(poller: Poller) -> None:
    called = 0

    def again() -> None:
        nonlocal called
        called += 1
        poller.after_round(again)

    poller.after_round(again)
    await rounds(1)
    first = called
    assert 1 < first < 100
    await rounds()
    assert called > first


async def test_a_failure_after_a_round_keeps_nobody_else_from_being_called(poller: Poller) -> None:
    failures: list[dict[str, object]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: failures.append(context))
    called: list[int] = []
    poller.after_round(lambda: called.append(1 // 0))
    poller.after_round(lambda: called.append(2))
    await rounds()
    assert called == [2]
    assert isinstance(failures[0]["exception"], ZeroDivisionError)


async def test_large_reads_are_counted_by_the_round(poller: Poller) -> None:
    assert poller.large_read() == 1, "nothing is known yet"
    poller.large_read()
    poller.large_read()
    poller.after_round(lambda: None)
    await rounds()
    assert poller.large_read() == 3
    assert poller.large_read() == 3
    poller.after_round(lambda: None)
    await rounds()
    assert poller.large_read() == 2
    await rounds()
