"""Entries that are asked about again, off the loop."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import pytest

from isthmus.security import recheck
from isthmus.security.login import LoginUnavailable
from isthmus.security.recheck import Recheck


class Directory:
    """Says whether entries stand; its clock only moves when it is told."""

    def __init__(self, every: float = 60.0) -> None:
        self.now = 0.0
        self.gone: set[str] = set()
        self.away = False
        self.asked: list[str] = []
        self.open = threading.Event()
        self.open.set()
        self.threads: set[str] = set()
        self.recheck = Recheck("the directory", every, self.ask, clock=lambda: self.now)

    def ask(self, subject: str, stamp: str) -> bool:
        self.threads.add(threading.current_thread().name)
        assert self.open.wait(10)
        self.asked.append(subject)
        if self.away:
            raise LoginUnavailable("nobody answers")
        return subject not in self.gone

    def vouches(self, subject: str = "joe") -> bool:
        return self.recheck.vouches(subject, "stamp")

    def asked_so_often(self, times: int) -> None:
        """Wait until it was asked so often, and rests."""
        until(lambda: len(self.asked) == times and not self.recheck._running)


def until(holds: Callable[[], bool]) -> None:
    for _ in range(1000):
        if holds():
            return
        time.sleep(0.01)
    raise AssertionError("not in time")


def test_who_is_gone_is_found_out_in_time() -> None:
    directory = Directory()
    assert directory.vouches()
    directory.gone.add("joe")
    directory.now = 59.0
    assert directory.vouches()
    assert not directory.asked
    directory.now = 61.0
    assert directory.vouches(), "it does not wait"
    until(lambda: not directory.vouches())
    directory.asked_so_often(1)
    assert directory.threads == {"isthmus-recheck"}


def test_who_stands_is_asked_about_once_in_each_time() -> None:
    directory = Directory()
    directory.vouches()
    for turn in range(1, 4):
        directory.now = turn * 61.0
        directory.vouches()
        directory.asked_so_often(turn)
        for _ in range(100):
            assert directory.vouches()
    assert directory.asked == ["joe"] * 3


def test_a_directory_that_is_away_ends_nothing_and_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    directory = Directory()
    directory.vouches()
    directory.vouches("ann")
    directory.away = True
    with caplog.at_level(logging.WARNING):
        for turn in range(1, 4):
            directory.now = turn * 61.0
            assert directory.vouches()
            assert directory.vouches("ann")
            directory.asked_so_often(2 * turn)
    assert len(caplog.messages) == 1
    assert "the directory cannot be asked again" in caplog.text


def test_a_slow_one_is_asked_by_one_thread_and_holds_nobody_up() -> None:
    directory = Directory()
    names = [f"user-{number}" for number in range(50)]
    for name in names:
        directory.vouches(name)
    directory.open.clear()
    directory.now = 61.0
    before = threading.active_count()
    for _ in range(10):
        for name in names:
            assert directory.vouches(name)
    assert threading.active_count() <= before + 1
    directory.open.set()
    directory.asked_so_often(50)


def test_never_is_never_and_without_a_stamp_nothing_is_known() -> None:
    never = Directory(every=0.0)
    for now in (0.0, 1e6):
        never.now = now
        assert never.vouches()
    asked = Directory()
    asked.recheck.vouches("joe", "")
    asked.now = 1e6
    assert asked.recheck.vouches("joe", "")
    assert not never.asked
    assert not asked.asked


def test_who_logs_in_again_is_back() -> None:
    directory = Directory()
    directory.vouches()
    directory.gone.add("joe")
    directory.now = 61.0
    until(lambda: not directory.vouches())
    directory.gone.clear()
    directory.recheck.found("joe", "stamp")
    assert directory.vouches()


def test_what_is_known_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recheck, "MAXIMUM_ENTRIES", 100)
    directory = Directory()
    for number in range(1000):
        assert directory.vouches(f"user-{number}")
    assert len(directory.recheck._asked) == 100
