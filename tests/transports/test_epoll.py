"""Both kinds of epoll do the same; what a poller makes of it is in test_poller."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from isthmus.transports.epoll import Epoll, PlainEpoll
from isthmus.transports.spinning import Spinning

READ, WRITE = 1, 4


class Told:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.events: list[int] = []

    def ready(self, events: int) -> None:
        self.events.append(events)


def by_descriptor(watchers: dict[int, Any]) -> list[Any]:
    return [watchers.get(number) for number in range(max(watchers) + 1)]


def fail(error: Exception) -> None:
    raise AssertionError from error


@pytest.fixture(params=sorted({PlainEpoll, Epoll}, key=str), ids=lambda kind: kind.__module__.split(".")[-1])
def epoll(request: pytest.FixtureRequest) -> Iterator[Any]:
    made = request.param()
    yield made
    made.close()
    made.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


Ends = tuple[socket.socket, socket.socket]


def test_who_watches_is_told_what_happened(epoll: Any, pair: Ends) -> None:
    ours, theirs = pair
    told, number = Told(), ours.fileno()
    watchers = by_descriptor({number: told})
    epoll.register(number, READ)
    epoll.tell(0, watchers, set(), fail)
    assert told.events == []
    theirs.send(b"x")
    epoll.tell(-1, watchers, set(), fail)
    assert told.events == [READ]
    epoll.modify(number, READ | WRITE)
    epoll.tell(1.0, watchers, set(), fail)
    assert told.events == [READ, READ | WRITE]
    epoll.tell(0, watchers, {number}, fail)
    epoll.tell(0, by_descriptor({number: None}), set(), fail)
    epoll.unregister(number)
    epoll.tell(0, watchers, set(), fail)
    assert len(told.events) == 2


def test_a_failure_is_handed_over_and_the_others_are_told(epoll: Any, pair: Ends) -> None:
    failures: list[Exception] = []
    told = 0

    class Failing:
        def ready(self, events: int) -> None:
            nonlocal told
            told += 1
            raise ZeroDivisionError

    watchers = by_descriptor({each.fileno(): Failing() for each in pair})
    for each in pair:
        epoll.register(each.fileno(), WRITE)
    epoll.tell(0, watchers, set(), failures.append)
    assert told == 2
    assert [type(error) for error in failures] == [ZeroDivisionError] * 2


def test_what_is_more_than_an_exception_ends_the_round(epoll: Any, pair: Ends) -> None:
    class Ending:
        def ready(self, events: int) -> None:
            raise KeyboardInterrupt

    epoll.register(pair[0].fileno(), WRITE)
    with pytest.raises(KeyboardInterrupt):
        epoll.tell(0, by_descriptor({pair[0].fileno(): Ending()}), set(), fail)


def test_a_wait_for_nothing_ends(epoll: Any, pair: Ends) -> None:
    told = Told()
    epoll.register(pair[0].fileno(), READ)
    epoll.tell(0.02, by_descriptor({pair[0].fileno(): told}), set(), fail)
    assert told.events == []


def test_the_kernels_no_is_an_error(epoll: Any, pair: Ends) -> None:
    number = pair[0].fileno()
    with pytest.raises(FileNotFoundError):
        epoll.modify(number, READ)
    epoll.register(number, READ)
    with pytest.raises(FileExistsError):
        epoll.register(number, READ)
    assert epoll.fileno() > 2
    assert not os.get_inheritable(epoll.fileno())


class Polling(Spinning):
    """Has each wait begin with polling for so long; knows how many began and ended."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self.waits: list[str] = []

    def begin(self, now: float) -> float:
        assert abs(now - time.monotonic()) < 60
        self.waits.append("begun")
        return self.seconds

    def end(self, now: float) -> None:
        assert abs(now - time.monotonic()) < 60
        self.waits.append("ended")


@pytest.mark.parametrize("kind", sorted({PlainEpoll, Epoll}, key=str), ids=lambda kind: kind.__module__)
def test_it_polls_before_it_sleeps(kind: Any, pair: Ends) -> None:
    ours, theirs = pair
    told, polling = Told(), Polling(0.05)
    watchers = by_descriptor({ours.fileno(): told})
    epoll = kind(polling)
    try:
        epoll.register(ours.fileno(), READ)
        epoll.tell(0, watchers, set(), fail)
        assert polling.waits == [], "who does not wait does not poll"
        began = time.monotonic()
        epoll.tell(0.001, watchers, set(), fail)
        assert time.monotonic() - began >= polling.seconds
        assert polling.waits == ["begun", "ended"]
        polling.seconds = 60.0
        timer = threading.Timer(0.02, theirs.send, [b"x"])
        timer.start()
        epoll.tell(-1, watchers, set(), fail)
        timer.join()
        assert told.events == [READ]
        assert polling.waits == ["begun", "ended"] * 2
    finally:
        epoll.close()


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="no such signal")
def test_a_signal_is_handled_while_it_waits(epoll: Any, pair: Ends) -> None:
    """Its handler runs in the wait, and what it does ends that."""
    ours, theirs = pair
    told = Told()
    epoll.register(ours.fileno(), READ)
    before = signal.signal(signal.SIGUSR1, lambda *_: theirs.send(b"x"))
    timer = threading.Timer(0.02, lambda: os.kill(os.getpid(), signal.SIGUSR1))
    timer.start()
    try:
        for _ in range(10):
            epoll.tell(5.0, by_descriptor({ours.fileno(): told}), set(), fail)
            if told.events:
                break
    finally:
        timer.join()
        signal.signal(signal.SIGUSR1, before)
    assert told.events == [READ]
