"""Writing in the background: in order, bounded, never waiting, and nothing dropped in silence."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus import log_writer
from isthmus.log_writer import Writer


class Taker:
    """Takes lines, while its gate is open."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.text = ""

    def write(self, text: str) -> None:
        assert self.gate.wait(20)
        self.text += text


def lost(count: int) -> str:
    return f"lost {count}\n"


@given(st.lists(st.text(max_size=20), max_size=30))
@settings(max_examples=50, deadline=None)
def test_everything_is_written_in_order(lines: list[str]) -> None:
    taker = Taker()
    writer = Writer(taker.write, lost)
    for line in lines:
        writer.put(line)
    assert writer.stop(20)
    assert taker.text == "".join(lines)


def test_a_taker_that_is_stuck_costs_lines_and_no_time() -> None:
    taker = Taker()
    taker.gate.clear()
    writer = Writer(taker.write, lost, limit=1000)
    lines = [f"{number:09}\n" for number in range(100_000)]
    began = time.monotonic()
    for line in lines:
        writer.put(line)
    assert time.monotonic() - began < 15, "put waited"
    assert not writer.stop(0.01)
    taker.gate.set()
    assert writer.stop(20)
    *kept, last = taker.text.splitlines(keepends=True)
    written = [line for line in [*kept, last] if not line.startswith("lost")]
    dropped = sum(int(line.split()[1]) for line in [*kept, last] if line.startswith("lost"))
    assert written == lines[: len(written)]
    assert len(written) == 100
    assert dropped == len(lines) - len(written)


def test_after_a_jam_it_goes_on() -> None:
    taker = Taker()
    taker.gate.clear()
    writer = Writer(taker.write, lost, limit=10)
    for _ in range(5):
        writer.put("12345678\n")
    taker.gate.set()
    while "lost" not in taker.text:
        time.sleep(0.001)
    writer.put("again\n")
    assert writer.stop(20)
    assert taker.text == "12345678\nlost 4\nagain\n"


def test_the_thread_ends_when_nothing_comes_and_is_there_again_when_something_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(log_writer, "IDLE_SECONDS", 0.01)
    taker = Taker()
    writer = Writer(taker.write, lost)
    assert not threads()
    for number in range(3):
        writer.put(f"{number}\n")
        while threads():
            time.sleep(0.001)
        assert taker.text.splitlines() == [str(each) for each in range(number + 1)]
    assert writer.stop(0)


def test_where_the_system_gives_no_thread_lines_wait_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    taker = Taker()
    writer = Writer(taker.write, lost)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        writer.put("first\n")
        assert not writer.stop(0)
    writer.put("second\n")
    assert writer.stop(20)
    assert taker.text == "first\nsecond\n"


def no_thread(thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "isthmus-log"]
