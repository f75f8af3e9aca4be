"""Measure the span engine alone: a client's session and a server's over a link that is a function call.

What the gateways add (sockets, WebSocket, relay) is not in these figures; both sessions are. Each case runs
for `--seconds` and counts the CPU of this process.

    python bench/span_engine.py [--seconds S] [--idle N] [--profile CASE] [--cases round-trip-1,...]
"""

from __future__ import annotations

import argparse
import cProfile
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

from isthmus.span import Handler, Limits, Session, Sessions, Stream, session
from isthmus.websocket.frames import Role
from isthmus.websocket.octets import Octets

BUDGET = 1024 * 1024 + 4096
PIECE = 256 * 1024  # what a transport reads at once


class End(Handler):
    """One end of the link: the transport of a carrier, and the application of its session."""

    def __init__(self) -> None:
        self.session: Any = None  # a Session, made when the peer is heard
        self.carrier: Any = None
        self.peer: End
        self.wants = False
        self.received = 0
        self.echoes = False
        self.over = 0

    def output_ready(self) -> None:
        self.wants = True

    def send(self, now: float) -> bool:
        """Let the session send all it has, and the other one receive it."""
        moved = False
        self.wants = False
        carrier, receive = self.carrier, self.peer.carrier.receive
        while buffers := carrier.data_to_send(BUDGET, now):
            moved = True
            last = len(buffers) - 1
            for index, buffer in enumerate(buffers):
                if len(buffer) <= PIECE:
                    receive(memoryview(buffer), index == last, now)
                    continue
                view = memoryview(buffer)
                for start in range(0, len(view), PIECE):
                    receive(view[start : start + PIECE], index == last and start + PIECE >= len(view), now)
        return moved

    def stream_opened(self, stream: Stream) -> None:
        self.session.accept(stream)

    def data(self, stream: Stream, data: Octets) -> None:
        size = len(data)
        self.received += size
        self.session.consumed(stream, size)
        if self.echoes:
            self.session.write(stream, data)
        elif stream.owner is not None:
            self.session.write(stream, stream.owner)

    def eof(self, stream: Stream) -> None:
        self.session.write_eof(stream)

    def closed(self, stream: Stream) -> None:
        self.over += 1

    def established(self) -> None:
        pass

    def opened(self, stream: Stream) -> None:
        pass

    def writable(self, stream: Stream) -> None:
        pass

    def close(self, code: int, text: str) -> None:
        raise AssertionError(f"{code} {text}")


class Pair:
    """Two joined sessions."""

    def __init__(self) -> None:
        self.client, self.server = End(), End()
        self.client.peer, self.server.peer = self.server, self.client
        limits = Limits(maximum_streams=100_000)
        now = time.monotonic()
        self.client.session = Session(Role.CLIENT, self.client, now, limits)
        self.table = Sessions(self._accepted, limits)
        self.client.carrier = self.client.session.carrier_opened(self.client, now)
        self.server.carrier = self.table.carrier_opened("", "", self.server, now)
        self.settle()

    def _accepted(self, made: Session) -> End:
        self.server.session = made
        return self.server

    def turn(self) -> bool:
        """Let each end send once, and do what is due; return whether anything moved."""
        now = time.monotonic()
        moved = self.client.send(now) | self.server.send(now)
        for end in (self.client, self.server):
            if end.session is not None and now >= end.session.next_deadline():
                end.session.timeout(now)
        return moved

    def settle(self) -> None:
        """Go on until nothing moves."""
        while self.turn():
            pass


def round_trips(streams: int, seconds: float) -> str:
    pair = Pair()
    pair.server.echoes = True
    message = bytes(64)
    opened = [pair.client.session.open() for _ in range(streams)]
    pair.settle()
    for stream in opened:
        stream.owner = message
        pair.client.session.write(stream, message)
    before = pair.client.received + pair.server.received
    elapsed = spend(pair, seconds)
    messages = (pair.client.received + pair.server.received - before) // 64
    return f"{messages / elapsed:11,.0f} messages/s   {elapsed / messages * 1e6:6.2f} us each, both sides"


def bulk(size: int, seconds: float) -> str:
    pair = Pair()
    stream = pair.client.session.open()
    pair.settle()
    chunk = bytes(size)
    write = pair.client.session.write
    start, end = time.process_time(), time.process_time() + seconds
    while time.process_time() < end:
        for _ in range(20):
            for _ in range(200):
                if write(stream, chunk) <= 0:
                    break
            pair.turn()
    elapsed = time.process_time() - start
    return f"{pair.server.received / elapsed / 1e9:11.2f} GB/s"


def opened_and_closed(seconds: float) -> str:
    pair = Pair()
    session = pair.client.session
    start, end = time.process_time(), time.process_time() + seconds
    while time.process_time() < end:
        for _ in range(16):
            stream = session.open("203.0.113.9:1234")
            session.write(stream, b"x" * 64)
            session.write_eof(stream)
        pair.settle()
    elapsed = time.process_time() - start
    while pair.client.session.streams:
        pair.turn()
    done = pair.client.over
    return f"{done / elapsed:11,.0f} streams/s    {elapsed / done * 1e6:6.2f} us each, both sides"


def idle(streams: int) -> str:
    pair = Pair()
    pair.server.echoes = True
    session = pair.client.session
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(streams // 100):
        for _ in range(100):
            session.write(session.open("203.0.113.9:1234"), bytes(64))
        pair.settle()
    end = time.monotonic() + 0.2
    while time.monotonic() < end:
        pair.turn()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(session.streams) == streams
    return f"{(after - before) / streams / 2:11,.0f} bytes for each stream and side"


def spend(pair: Pair, seconds: float) -> float:
    """Run for so many seconds of CPU; return how many it was."""
    start, end = time.process_time(), time.process_time() + seconds
    while time.process_time() < end:
        for _ in range(100):
            pair.turn()
    return time.process_time() - start


def main() -> None:
    """Run the cases and print their figures."""
    parser = argparse.ArgumentParser(description="the span engine alone")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--idle", type=int, default=20_000)
    parser.add_argument("--cases", default="")
    parser.add_argument("--profile", default="", help="profile this case instead")
    arguments = parser.parse_args()
    seconds = arguments.seconds
    cases: dict[str, Callable[[], str]] = {
        "round-trip-1": lambda: round_trips(1, seconds),
        "round-trip-64": lambda: round_trips(64, seconds),
        "bulk-64K": lambda: bulk(1 << 16, seconds),
        "bulk-256K": lambda: bulk(1 << 18, seconds),
        "bulk-1M": lambda: bulk(1 << 20, seconds),
        "open-close": lambda: opened_and_closed(seconds),
        "idle": lambda: idle(arguments.idle),
    }
    if arguments.profile:
        cProfile.runctx("cases[arguments.profile]()", globals(), locals(), sort="tottime")
        return
    print("compiled" if not session.__file__.endswith(".py") else "not compiled")
    for name in arguments.cases.split(",") if arguments.cases else cases:
        print(f"{name:16}{cases[name]()}", flush=True)


if __name__ == "__main__":
    main()
