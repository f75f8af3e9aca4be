"""Measure a conversation beside bulk on the same session, against two haproxy hops under the same load.

One connection makes 64-byte round trips while eight others move bulk through the same tunnel. The rounds of
both tunnels are interleaved; what counts is the ratio within one run.

    python bench/span_fairness.py [--rounds N]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "bench"
BUILD = ROOT / "build" / "bench-fairness"
TUNNELS = {"haproxy": SHARED / "tunnels" / "haproxy.sh", "isthmus": ROOT / "bench" / "tunnels" / "isthmus.sh"}
WAYS = ("up", "down")
BULK_CONNECTIONS = 8
BULK_BYTES = 400_000_000  # of each connection
SECONDS = 1.5  # of the conversation, which begins after and ends before the bulk
LATENCY_BAR, THROUGHPUT_BAR = 0.4, 0.8

Figures = dict[str, list[float]]


def main() -> int:
    """Run everything and print the table. Returns 0, or 2 when something that is needed is missing."""
    parser = argparse.ArgumentParser(description="a conversation beside bulk: isthmus and two haproxy hops")
    parser.add_argument("--rounds", type=int, default=5)
    rounds: int = parser.parse_args().rounds
    for program in ("haproxy", "cc"):
        if shutil.which(program) is None:
            print(f"{program} is not installed (Debian: apt-get install haproxy gcc)", file=sys.stderr)
            return 2
    if not SHARED.is_dir():
        print(f"the load generator is not there: {SHARED}", file=sys.stderr)
        return 2
    load, environment = prepare()
    ports = free_ports(5)
    backend = subprocess.Popen([load, "backend", str(ports[-1])])
    latency: dict[str, Figures] = {name: {way: [] for way in WAYS} for name in TUNNELS}
    throughput: dict[str, Figures] = {name: {way: [] for way in WAYS} for name in TUNNELS}
    listening = dict(zip(TUNNELS, ports[:2], strict=True))
    try:
        for name, web in zip(TUNNELS, ports[2:4], strict=True):
            start = [BUILD / f"{name}.sh", "start", str(listening[name]), str(web), str(ports[-1])]
            subprocess.run(start, check=True, env=environment)
        for number in range(rounds):
            for name in TUNNELS:
                for way in WAYS:
                    p50, rate = one(load, listening[name], way)
                    latency[name][way].append(p50)
                    throughput[name][way].append(rate)
            print(f"round {number + 1} of {rounds}", file=sys.stderr)
    finally:
        for name in TUNNELS:
            subprocess.run([BUILD / f"{name}.sh", "stop"], env=environment)
        backend.kill()
        backend.wait()
    print(f"{'':46}{'isthmus':>12}{'haproxy x2':>12}{'ratio':>8}{'bar':>8}")
    for way in WAYS:
        row(f"bulk {way}: round trip p50 beside it, us", latency, way, f"<={LATENCY_BAR:g}")
        row(f"bulk {way}: throughput, MB/s", throughput, way, f">={THROUGHPUT_BAR:g}")
    return 0


def one(load: Path, port: int, way: str) -> tuple[float, float]:
    """Return the median round trip in microseconds beside bulk, and the bulk's MB/s."""
    bulk = subprocess.Popen(
        [load, way, str(port), str(BULK_CONNECTIONS), str(BULK_BYTES)], stdout=subprocess.PIPE
    )
    time.sleep(0.3)
    conversation = subprocess.run(
        [load, "rtt", str(port), "1", str(SECONDS)], stdout=subprocess.PIPE, check=True
    )
    if bulk.poll() is not None:
        print("the bulk ended before the conversation: give it more bytes", file=sys.stderr)
    moved, _ = bulk.communicate()
    return json.loads(conversation.stdout)["p50_us"], json.loads(moved)["MBps"]


def prepare() -> tuple[Path, dict[str, str]]:
    """Build the load generator and put the scripts of both tunnels beside what they share."""
    shutil.rmtree(BUILD, ignore_errors=True)
    BUILD.mkdir(parents=True)
    load = BUILD / "tunnel_load"
    subprocess.run(["cc", "-O2", "-o", load, SHARED / "tunnel_load.c"], check=True)
    for script in (SHARED / "tunnels" / "_lib.sh", *TUNNELS.values()):
        shutil.copy(script, BUILD)
        (BUILD / script.name).chmod(0o755)
    isthmus = Path(sys.executable).with_name("isthmus")
    return load, os.environ | {"PEER_DIR": str(BUILD), "ISTHMUS": str(isthmus)}


def free_ports(count: int) -> list[int]:
    """Return TCP ports that nobody listens on."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports


def row(title: str, figures: dict[str, Figures], way: str, bar: str) -> None:
    """Print one line of the table."""
    ours, theirs = (statistics.median(figures[name][way]) for name in ("isthmus", "haproxy"))
    print(f"{title:46}{ours:12.1f}{theirs:12.1f}{ours / theirs:8.2f}{bar:>8}")


if __name__ == "__main__":
    sys.exit(main())
