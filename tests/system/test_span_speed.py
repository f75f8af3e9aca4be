"""Span over long and slow ways: it fills them, and what is urgent does not wait behind what is not.

What is measured is compared with what the same way gives without a gateway, in the same run.
"""

from __future__ import annotations

import contextlib
import os
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.system import peers
from tests.system.network import Namespace
from tests.system.pair import Processes
from tests.system.peers import Backend
from tests.system.process import PATIENCE, eventually, free_port
from tests.system.requirements import Requirements
from tests.system.span_network import SERVER, far_network
from tests.system.span_scene import (
    DEADLINE,
    HOST,
    SOAK_SECONDS,
    Faults,
    Load,
    Options,
    SpanPair,
    bar,
    soak,
    start_faults,
    start_span_pair,
)

pytestmark = [pytest.mark.soak, pytest.mark.timeout(180 + 2 * SOAK_SECONDS)]

REQUIRED = {"span.mode": "required"}
PIECE = os.urandom(1 << 18)
ROUND_TRIPS = 50


# --- applications: the first byte says what a connection is for


def serve(connection: socket.socket) -> int:
    """Take all (`u`), send without end (`d`), or echo (`e`)."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    total = 0
    with contextlib.suppress(OSError):
        match connection.recv(1):
            case b"u":
                while data := connection.recv(1 << 18):
                    total += len(data)
                    RECEIVED[0] += len(data)
            case b"d":
                while True:
                    connection.sendall(PIECE)
            case b"e":
                peers.echo(connection)
    return total


RECEIVED = [0]
"""Bytes that `serve` has taken, of all connections."""


class Bulk:
    """A connection that moves as much as it can, one way, until the end of its scope."""

    def __init__(self, connection: socket.socket, way: str) -> None:
        self.moved = 0
        self._way = way
        self._connection = connection
        connection.sendall(way.encode())
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Bulk:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()
        self._thread.join(PATIENCE)

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                if self._way == "u":
                    self._connection.sendall(PIECE)
                elif data := self._connection.recv(1 << 18):
                    self.moved += len(data)
                else:
                    return

    def rate(self, ramp: float, seconds: float) -> float:
        """Return the bytes a second that arrive, for some seconds after a ramp."""
        time.sleep(ramp)
        before, began = self._arrived(), time.monotonic()
        time.sleep(seconds)
        return (self._arrived() - before) / (time.monotonic() - began)

    def _arrived(self) -> int:
        return RECEIVED[0] if self._way == "u" else self.moved


def round_trip(connection: socket.socket, count: int = ROUND_TRIPS, pause: float = 0.02) -> float:
    """Return the median of some round trips of 64 bytes, in seconds."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    times = []
    for _ in range(count):
        before = time.monotonic()
        connection.sendall(bytes(64))
        assert len(peers.read_exactly(connection, 64)) == 64
        times.append(time.monotonic() - before)
        time.sleep(pause)
    return statistics.median(times)


@pytest.fixture
def backend() -> Iterator[Backend]:
    with Backend(serve) as serving:
        yield serving


# --- long ways


@pytest.mark.parametrize("way", ["u", "d"], ids=["up", "down"])
def test_one_stream_fills_a_long_way(
    way: str, processes: Processes, tmp_path: Path, backend: Backend
) -> None:
    """100 ms there and back, 200 Mbit/s: the window grows to what the way holds."""
    limit = 200e6 / 8
    settings = {"delay": 0.05, "rate": limit}
    web_port = free_port()
    faults = start_faults(processes, web_port, settings=settings)
    bare = start_faults(processes, backend.port, settings=settings)
    pair = start_span_pair(
        processes,
        tmp_path,
        backend.port,
        web_port=web_port,
        through=faults.port,
        both=REQUIRED,
        connect_options={"span.carriers": 1},
    )
    seconds = soak(2)
    with Bulk(peers.connect(bare.port), way) as bulk:
        best = bulk.rate(1, min(seconds, 5))
    with Bulk(peers.connect(pair.port), way) as bulk:
        got = bulk.rate(3, seconds)
    print(f"{way}: {got * 8 / 1e6:.0f} Mbit/s, without gateways {best * 8 / 1e6:.0f}, limit 200")
    assert got >= bar(0.9, 0.6) * best


def test_the_window_is_filled(processes: Processes, tmp_path: Path, backend: Backend) -> None:
    """Where nothing else limits it a stream moves its largest window in each round trip."""
    window, delay, web_port = 1 << 20, 0.05, free_port()
    faults = start_faults(processes, web_port, settings={"delay": delay})
    pair = start_span_pair(
        processes,
        tmp_path,
        backend.port,
        web_port=web_port,
        through=faults.port,
        both={**REQUIRED, "span.maximum.window": window},
        connect_options={"span.carriers": 1},
    )
    with Bulk(peers.connect(pair.port), "d") as bulk:
        got = bulk.rate(2, 2)
    print(f"{got / (window / (2 * delay)):.2f} windows a round trip")
    assert got >= bar(0.9, 0.6) * window / (2 * delay)


@pytest.mark.parametrize("carriers", [1, "auto"] if SOAK_SECONDS else [1])
@pytest.mark.parametrize("congestion", ["cubic", "bbr"] if SOAK_SECONDS else ["cubic"])
@pytest.mark.parametrize("way", ["u", "d"], ids=["up", "down"])
def test_what_is_urgent_passes_a_long_queue(
    way: str, congestion: str, carriers: int | str, need: Requirements, processes: Processes, tmp_path: Path
) -> None:
    """20 Mbit/s, 20 ms there and back, a queue of 200 ms: bulk beside it costs an echo at most 40 ms.

    Without a bound it would be 200.
    """
    need.root()
    need.program("ip")
    available = Path("/proc/sys/net/ipv4/tcp_available_congestion_control").read_text().split()
    need.that(congestion in available, f"the kernel has no {congestion}")
    with far_network(delay=0.01, rate=20e6, queue=0.2, congestion=congestion) as network:
        listener = network.server.listen(HOST, free_port())
        with Backend(serve, listener) as backend:
            pair = start_span_pair(
                processes,
                tmp_path,
                backend.port,
                web_port=free_port(),
                web_host=SERVER,
                both=REQUIRED,
                connect_options={"span.carriers": carriers},
                prefixes=(network.client.prefix, network.server.prefix),
            )
            with connect(network.client, pair) as echo:
                echo.sendall(b"e")
                empty = round_trip(echo)
                with Bulk(connect(network.client, pair), way) as bulk:
                    rate = bulk.rate(2, 1)
                    beside = round_trip(echo, ROUND_TRIPS)
                    rate = max(rate, bulk.rate(0, 2))
        print(
            f"{congestion} {way} {carriers}: empty {empty * 1e3:.1f} ms, beside bulk {beside * 1e3:.1f} ms, "
            f"bulk {rate * 8 / 1e6:.1f} Mbit/s"
        )
        assert beside - empty <= bar(0.040, 0.080)
        assert rate * 8 >= bar(0.8, 0.4) * 20e6


def connect(namespace: Namespace, pair: SpanPair) -> socket.socket:
    connection = namespace.connect(HOST, pair.port)
    connection.settimeout(PATIENCE)
    return connection


# --- several carriers

NARROW = {"delay": 0.02, "rate": 50e6 / 8, "buffer": 1 << 16}
"""50 Mbit/s and 40 ms there and back, of each connection. What a way has not room for waits at its sender."""


def all_live(faults: Faults, carriers: int) -> None:
    eventually(lambda: faults.count("recovered") >= carriers, "all carriers live")


def several(
    processes: Processes, folder: Path, backend: int, carriers: int | str, settings: Options | None = None
) -> tuple[SpanPair, Faults]:
    web_port = free_port()
    faults = start_faults(processes, web_port, settings=settings)
    folder.mkdir()
    pair = start_span_pair(
        processes,
        folder,
        backend,
        web_port=web_port,
        through=faults.port,
        both={**REQUIRED, "span.ping.deadline": f"{DEADLINE} s"},
        connect_options={"span.carriers": carriers},
    )
    return pair, faults


@pytest.mark.parametrize("way", ["u", "d"], ids=["up", "down"])
def test_four_carriers_bring_four_times_one(
    way: str, processes: Processes, tmp_path: Path, backend: Backend
) -> None:
    """Each is held to 50 Mbit/s at 40 ms there and back."""
    rates = []
    for carriers in (1, 4):
        pair, faults = several(processes, tmp_path / str(carriers), backend.port, carriers, NARROW)
        with Bulk(peers.connect(pair.port), way) as bulk:
            all_live(faults, carriers)
            rates.append(bulk.rate(2, soak(2)))
    one, four = rates
    print(f"{way}: one {one * 8 / 1e6:.0f} Mbit/s, four {four * 8 / 1e6:.0f}, ratio {four / one:.2f}")
    assert one * 8 >= bar(0.8, 0.4) * 50e6
    assert four >= bar(3.5, 1.5) * one


def test_carriers_are_opened_where_they_are_the_limit(
    processes: Processes, tmp_path: Path, backend: Backend
) -> None:
    """Automatic: one that is enough stays alone, and bulk over a long way gets more."""
    pair, faults = several(processes, tmp_path / "auto", backend.port, "auto", NARROW)
    with peers.connect(pair.port) as echo:
        echo.sendall(b"e")
        round_trip(echo, 20, 0.1)
        assert faults.count("joined") == 1
        with Bulk(peers.connect(pair.port), "u"):
            eventually(lambda: faults.count("recovered") >= 4, "three more carriers were opened")
            time.sleep(1)
            assert faults.count("joined") == 4


def test_losing_some_carriers_loses_nothing(processes: Processes, tmp_path: Path) -> None:
    """Of four carriers two are lost again and again, a second after all four were there."""
    load = Load(processes)
    pair, faults = several(processes, tmp_path / "pair", load.port, 4)
    load.start(pair.port, seconds=soak(8), streams=50)
    until = time.monotonic() + soak(8)
    kinds = ["rst", "silence", "fin", "half-open", "mid-frame"]
    number = 0
    while time.monotonic() < until:
        all_live(faults, 4 + faults.count("cut"))
        time.sleep(1)
        faults.cut(kinds[number % len(kinds)], 2)
        number += 1
    report = load.report()
    assert number >= 3
    print(report)
    assert not report.errors, str(report)
    assert not report.stuck, str(report)
    # Silence of one carrier is noticed within the deadline.
    assert report.longest_wait < bar(2.5, 5) * DEADLINE, str(report)
