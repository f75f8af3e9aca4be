"""Our event loop: what asyncio promises, and what it promises beyond."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from isthmus.transports.event_loop import EventLoop, _Rounds
from isthmus.transports.poller import READ, EpollPoller, poller_of


def run(main: Callable[[], Awaitable[None]], *, debug: bool = False) -> None:
    async def body() -> None:
        await main()

    with asyncio.Runner(loop_factory=EventLoop, debug=debug) as runner:
        runner.run(body())


class Counting(EpollPoller):
    """Counts how often the loop waits, maybe for no time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, by_loop: bool) -> None:
        super().__init__(loop, by_loop=by_loop)
        self.waits = 0

    def poll(self, seconds: float) -> None:
        self.waits += 1
        super().poll(seconds)


def counting_loop() -> tuple[EventLoop, Counting]:
    loop = EventLoop()
    poller = Counting(loop, by_loop=True)
    loop._rounds = _Rounds(loop, poller)
    return loop, poller


@pytest.mark.parametrize("debug", [False, True])
def test_callbacks_and_timers_come_in_their_order(debug: bool) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        order: list[str] = []
        done = loop.create_future()
        loop.call_later(0.03, done.set_result, None)
        loop.call_later(0.02, order.append, "second")
        loop.call_later(0.01, order.append, "first")
        loop.call_later(0.015, order.append, "never").cancel()
        loop.call_soon(order.append, "soon")
        loop.call_soon(order.append, "not at all").cancel()
        await done
        assert order == ["soon", "first", "second"]

    run(main, debug=debug)


def test_a_timer_does_not_come_early() -> None:
    async def main() -> None:
        for _ in range(20):
            began = time.monotonic()
            await asyncio.sleep(0.0017)
            assert time.monotonic() - began >= 0.0016

    run(main)


@pytest.mark.parametrize("seconds", [1000, 100])
def test_many_cancelled_timers_are_forgotten(seconds: float) -> None:
    """Also those that stand behind one that is known as the first."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        kept = loop.call_later(seconds, print)
        await asyncio.sleep(0)
        for _ in range(1000):
            loop.call_later(500, print).cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(loop._scheduled) < 10  # type: ignore[attr-defined]
        kept.cancel()
        await asyncio.sleep(0)

    run(main)


def test_files_are_watched() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        told: list[str] = []
        loop.add_reader(ours, told.append, "read")
        await asyncio.sleep(0.01)
        assert told == []
        theirs.send(b"x")
        await asyncio.sleep(0.01)
        assert set(told) == {"read"}
        loop.add_writer(ours.fileno(), told.append, "write")
        await asyncio.sleep(0.01)
        assert set(told) == {"read", "write"}
        assert loop.remove_reader(ours)
        assert not loop.remove_reader(ours)
        told.clear()
        await asyncio.sleep(0.01)
        assert set(told) == {"write"}
        assert loop.remove_writer(ours.fileno())
        ours.close()
        theirs.close()

    run(main)


def test_a_descriptor_that_is_closed_before_it_is_taken_back() -> None:
    """Its number may be another file's by then: one of asyncio's, or one that the poller watches."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        poller = poller_of(loop)
        told: list[str] = []

        class Watching:
            def ready(self, events: int) -> None:
                told.append("watcher")

        ours, theirs = socket.socketpair()
        number = ours.fileno()
        loop.add_reader(number, told.append, "old")
        ours.close()
        theirs.close()
        pair = socket.socketpair()
        ours, theirs = sorted(pair, key=lambda each: each.fileno() != number)
        assert ours.fileno() == number
        theirs.send(b"x")
        loop.add_reader(number, told.append, "new")
        await asyncio.sleep(0.01)
        assert set(told) == {"new"}
        loop.remove_reader(number)
        loop.add_reader(number, told.append, "old")
        ours.close()
        theirs.close()
        pair = socket.socketpair()
        ours, theirs = sorted(pair, key=lambda each: each.fileno() != number)
        assert ours.fileno() == number
        theirs.send(b"x")
        poller.add(number, Watching(), READ)
        loop.add_writer(number, told.append, "writer")
        loop.remove_writer(number)
        loop.remove_reader(number)
        told.clear()
        await asyncio.sleep(0.01)
        assert set(told) == {"watcher"}
        poller.forget(number)
        ours.close()
        theirs.close()

    run(main)


def test_streams_of_asyncio_work_beside_the_poller() -> None:
    async def main() -> None:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.read())
            writer.close()

        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"x" * 1_000_000)
        writer.write_eof()
        assert len(await reader.read()) == 1_000_000
        writer.close()
        await writer.wait_closed()
        server.close()

    run(main)


def test_threads_and_names() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        threading.Timer(0.01, lambda: loop.call_soon_threadsafe(done.set_result, 1)).start()
        assert await done == 1
        assert await loop.getaddrinfo("127.0.0.1", 80)
        assert await asyncio.to_thread(lambda: 7) == 7

    run(main)


@pytest.mark.skipif(os.name == "nt", reason="no such signals")
def test_signals() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        loop.add_signal_handler(signal.SIGUSR1, done.set_result, None)
        threading.Timer(0.01, lambda: os.kill(os.getpid(), signal.SIGUSR1)).start()
        await asyncio.wait_for(done, 10)

    run(main)


def test_programs() -> None:
    async def main() -> None:
        program = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            "print(input()[::-1])",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await program.communicate(b"abc\n")
        assert out == b"cba\n"
        assert program.returncode == 0

    run(main)


@pytest.mark.parametrize("debug", [False, True])
def test_what_follows_a_round_comes_before_the_loop_waits(debug: bool) -> None:
    """Also what a task, a timer or a future asks for: nothing else would wake the loop."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        poller = poller_of(loop)
        assert poller is loop.poller  # type: ignore[attr-defined]
        for _ in range(3):
            done = loop.create_future()
            loop.call_later(0.001, poller.after_round, partial(done.set_result, None))
            await asyncio.wait_for(done, 10)
        done = loop.create_future()
        poller.after_round(lambda: poller.after_round(lambda: done.set_result(None)))
        await asyncio.wait_for(done, 10)

    run(main, debug=debug)


def test_what_was_asked_for_before_the_loop_runs() -> None:
    loop = EventLoop()
    called: list[int] = []
    loop.poller.after_round(lambda: called.append(1))
    loop.run_until_complete(asyncio.sleep(0))
    assert called == [1]
    loop.call_soon(called.append, 2)
    loop.stop()
    loop.run_forever()
    assert called == [1, 2]
    loop.close()
    loop.close()


def test_a_wake_up_is_one_wait() -> None:
    """A watcher is told from within the wait; nothing is called in between, and nothing waits twice."""
    told: list[bytes] = []
    loop, poller = counting_loop()
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)

    class Echo:
        def ready(self, events: int) -> None:
            told.append(theirs.recv(10))
            if len(told) < 10:
                ours.send(b"x")
            else:
                loop.stop()

    poller.add(theirs.fileno(), Echo(), READ)
    ours.send(b"x")
    loop.run_forever()
    assert len(told) == 10
    assert poller.waits == 10
    poller.close()
    ours.close()
    theirs.close()
    loop.close()


def test_an_exception_goes_to_the_handler_and_an_interrupt_through() -> None:
    loop = EventLoop()
    failures: list[dict[str, object]] = []
    loop.set_exception_handler(lambda _, context: failures.append(context))

    def fail(error: type[BaseException]) -> None:
        raise error

    loop.call_soon(fail, ZeroDivisionError)
    loop.call_soon(fail, KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    assert isinstance(failures[0]["exception"], ZeroDivisionError)
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


def test_slow_callbacks_are_told_in_debug_mode(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.slow_callback_duration = 0.001
        loop.call_soon(time.sleep, 0.01)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    with caplog.at_level(logging.WARNING, logger="asyncio"):
        run(main, debug=True)
    assert any("Executing" in each for each in caplog.messages)


def test_debug_mode_may_begin_and_end_while_it_runs() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        for debug in (True, False, True, False):
            loop.set_debug(debug)
            for _ in range(150):  # so that asyncio's own, too, sorts its timers anew
                loop.call_later(100, print).cancel()
            order: list[str] = []
            loop.call_later(0.002, order.append, "timer")
            await asyncio.sleep(0.01)
            assert order == ["timer"]

    run(main)


def test_a_first_timer_that_is_cancelled_is_not_waited_for() -> None:
    loop, poller = counting_loop()
    first = loop.call_later(0.02, print)
    loop.call_later(0.04, loop.stop)
    loop.call_soon(first.cancel)
    loop.run_forever()
    assert poller.waits <= 3, "one for what is called soon, two for the timer"
    poller.close()
    loop.close()


def test_a_first_timer_is_overtaken() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        order: list[str] = []
        loop.call_later(10, order.append, "late")
        await asyncio.sleep(0)  # it is known as the first
        loop.call_later(0.001, order.append, "early")
        await asyncio.sleep(0.01)
        assert order == ["early"]

    run(main)


def test_a_loop_that_was_stopped_before_it_runs_goes_round_once() -> None:
    loop = EventLoop()
    order: list[str] = []
    loop.call_later(1000, order.append, "never")
    loop.stop()
    loop.run_forever()
    loop.call_soon(order.append, "soon")
    loop.stop()
    loop.run_forever()
    assert order == ["soon"]
    loop.close()


@pytest.mark.skipif(os.name == "nt", reason="no such signals")
def test_a_signal_that_came_while_nothing_of_python_ran_is_handled_before_the_wait() -> None:
    loop = EventLoop()
    ended: list[str] = []

    def end(why: str) -> None:
        ended.append(why)
        loop.stop()

    before = signal.signal(signal.SIGVTALRM, lambda *_: loop.call_soon_threadsafe(end, "signal"))
    loop.call_later(10, end, "too late")
    # Counted is the time that this process works, and it works inside of `sum`, which needs far longer.
    work: Callable[[], Any] = partial(sum, range(20_000_000))
    loop.call_soon(loop.poller.after_round, work)
    signal.setitimer(signal.ITIMER_VIRTUAL, 0.02)
    try:
        loop.run_forever()
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
        loop.close()
    assert ended == ["signal"]


@pytest.mark.skipif(os.name == "nt", reason="no such signals")
def test_a_handler_of_a_signal_that_the_loop_does_not_know_may_stop_it() -> None:
    loop = EventLoop()
    handled: list[int] = []

    def handle(number: int, _: object) -> None:
        handled.append(number)
        loop.call_soon_threadsafe(loop.stop)

    before = signal.signal(signal.SIGUSR1, handle)
    timer = threading.Timer(0.02, lambda: os.kill(os.getpid(), signal.SIGUSR1))
    timer.start()
    try:
        loop.run_forever()
    finally:
        signal.signal(signal.SIGUSR1, before)
        timer.join()
        loop.close()
    assert handled == [signal.SIGUSR1]
