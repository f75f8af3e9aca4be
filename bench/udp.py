"""Measure datagrams through two gateways beside two socat hops, in interleaved rounds; print the ratios.

Both carry UDP to UDP: `socat UDP4-LISTEN,fork` twice, and two `isthmus proxy`, between which the flows go
over span. What counts is a ratio within one run: a shared machine is too noisy for absolute
figures.

    python bench/udp.py [--rounds N] [--seconds S] [--cases rtt,100x1,...] [--idle N]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "bench"
LOAD = BUILD / "udp_load"
ISTHMUS = Path(sys.executable).with_name("isthmus")


@dataclass(frozen=True)
class Case:
    """`flows` clients that keep `window` datagrams of `size` bytes in flight each."""

    title: str
    flows: int
    size: int
    window: int


CASES = {
    "rtt": Case("round trip of 100 B", 1, 100, 1),
    "100x1": Case("100 B, 1 flow", 1, 100, 64),
    "1200x1": Case("1,200 B, 1 flow", 1, 1200, 64),
    "100x64": Case("100 B, 64 flows", 64, 100, 4),
    "1200x64": Case("1,200 B, 64 flows", 64, 1200, 4),
}
PER_CPU_BAR, RTT_BAR = 2.0, 1.1


def socat(listen: int, web: int, backend: int) -> list[list[str]]:
    """Return the commands of two socat hops."""

    def hop(port: int, to: int) -> list[str]:
        return ["socat", "-T60", f"UDP4-LISTEN:{port},bind=127.0.0.1,fork,reuseaddr", f"UDP4:127.0.0.1:{to}"]

    return [hop(web, backend), hop(listen, web)]


def isthmus(listen: int, web: int, backend: int) -> list[list[str]]:
    """Return the commands of two gateways."""
    uri = f"ws://127.0.0.1:{web}/udp"
    return [
        [str(ISTHMUS), "proxy", uri, f"udp://127.0.0.1:{backend}"],
        [str(ISTHMUS), "proxy", f"udp://127.0.0.1:{listen}", uri],
    ]


TUNNELS = {"isthmus": isthmus, "socat": socat}


def main() -> int:
    """Run everything and print the table. Returns 0, or 2 when something that is needed is missing."""
    parser = argparse.ArgumentParser(description="datagrams through isthmus beside two socat hops")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--cases", default=",".join([*CASES, "idle"]))
    parser.add_argument("--idle", type=int, default=9000, help="flows held by each gateway")
    arguments = parser.parse_args()
    for program in ("socat", "cc"):
        if shutil.which(program) is None:
            print(f"bench: {program} is not installed (Debian: apt-get install socat gcc)", file=sys.stderr)
            return 2
    BUILD.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cc", "-O2", "-o", str(LOAD), str(ROOT / "bench" / "udp_load.c")], check=True)
    wanted = arguments.cases.split(",")
    idle = memory(arguments.idle) if "idle" in wanted else None
    results: dict[tuple[str, str], list[dict[str, float]]] = {}
    for _ in range(arguments.rounds):
        for case in (each for each in wanted if each in CASES):
            for name in TUNNELS:
                results.setdefault((name, case), []).append(measure(name, CASES[case], arguments.seconds))
    print(f"\n{'':46}{'isthmus':>12}{'socat x2':>12}{'ratio':>8}{'bar':>8}")
    for case in (each for each in wanted if each in CASES):
        print_case(CASES[case], results[("isthmus", case)], results[("socat", case)])
    if idle is not None:
        print(f"{f'KiB per idle flow, both ends, {arguments.idle:,} held':46}{idle / 1024:12.2f}")
    return 0


def print_case(case: Case, ours: list[dict[str, float]], theirs: list[dict[str, float]]) -> None:
    """Print the figures of one case: medians over the rounds."""
    if case.window == 1:
        rows = [("p50, us", "p50_us", f"<={RTT_BAR}")]
    else:
        rows = [("datagrams/s", "per_s", ""), ("datagrams per CPU second", "per_cpu_s", f">={PER_CPU_BAR:g}")]
        rows += [("CPU per datagram, us", "cpu_us", ""), ("lost, %", "lost", "")]
    for title, figure, bar in rows:
        mine, other = (statistics.median(each[figure] for each in runs) for runs in (ours, theirs))
        ratio = mine / other if other else float("nan")
        print(f"{f'{case.title}: {title}':46}{mine:12.2f}{other:12.2f}{ratio:8.2f}{bar:>8}")


def measure(name: str, case: Case, seconds: float) -> dict[str, float]:
    """Measure one tunnel, freshly started, once."""
    with tunnel(name) as (port, ends):
        command = [
            str(LOAD),
            "run",
            str(port),
            str(case.flows),
            str(case.size),
            str(case.window),
            str(seconds),
        ]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as load:
            assert load.stdout is not None
            assert load.stdin is not None
            if load.stdout.readline() != b"ready\n":
                raise SystemExit(f"bench: {name} does not carry datagrams")
            before = cpu_seconds(ends)
            load.stdin.write(b"\n")
            load.stdin.flush()
            found: dict[str, Any] = json.loads(load.stdout.readline())
            used = cpu_seconds(ends) - before
    datagrams = 2 * found["round_trips"]
    return {
        "p50_us": found["p50_us"],
        "per_s": datagrams / found["seconds"],
        "per_cpu_s": datagrams / used,
        "cpu_us": used / datagrams * 1e6,
        "lost": 100 * found["lost"] / max(1, found["lost"] + found["round_trips"]),
    }


def memory(count: int) -> float:
    """Return the bytes (PSS) that each of `count` idle flows costs both gateways together."""
    with tunnel("isthmus") as (port, ends):
        clients: list[socket.socket] = []
        try:
            before = proportional_bytes(ends)
            for _ in range(count):
                client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                clients.append(client)
                client.settimeout(0.5)
                client.connect(("127.0.0.1", port))
                begin_flow(client)
            return (proportional_bytes(ends) - before) / count
        finally:
            for client in clients:
                client.close()


def begin_flow(client: socket.socket) -> None:
    """Make one round trip; more than `udp.maximum.flow.rate` in a second have to ask again."""
    for _ in range(20):
        client.send(b"hello")
        with contextlib.suppress(TimeoutError):
            if client.recv(100) == b"hello":
                return
    raise SystemExit("bench: a flow does not carry datagrams")


@contextlib.contextmanager
def tunnel(name: str) -> Iterator[tuple[int, list[psutil.Process]]]:
    """Run a tunnel to a server that echoes; yield its port and the processes of its two ends."""
    listen, web, backend = random.sample(range(20_000, 30_000), 3)
    commands = [[str(LOAD), "serve", str(backend)], *TUNNELS[name](listen, web, backend)]
    running: list[subprocess.Popen[bytes]] = []
    try:
        for command in commands:
            running.append(
                subprocess.Popen(
                    command, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, process_group=0
                )
            )
            time.sleep(0.1)
        wait_for_answer(listen, name)
        yield listen, [psutil.Process(each.pid) for each in running[1:]]
    finally:
        for process in reversed(running):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_for_answer(port: int, name: str) -> None:
    """Wait until a tunnel carries a datagram there and back."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.settimeout(0.2)
        probe.connect(("127.0.0.1", port))
        for _ in range(100):
            with contextlib.suppress(OSError):
                probe.send(bytes(16))
                if probe.recv(100):
                    return
            time.sleep(0.1)
    raise SystemExit(f"bench: {name} does not carry datagrams")


def cpu_seconds(ends: list[psutil.Process]) -> float:
    """Return the CPU that processes and what they forked have used."""
    used = 0.0
    for end in ends:
        for each in [end, *end.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):  # then its parent has what it used
                times = each.cpu_times()
                used += times.user + times.system + times.children_user + times.children_system
    return used


def proportional_bytes(ends: list[psutil.Process]) -> int:
    """Return the memory of processes, what they share counted once."""
    return sum(end.memory_full_info().pss for end in ends)


if __name__ == "__main__":
    sys.exit(main())
