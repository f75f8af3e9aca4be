"""Measure isthmus beside two haproxy TCP hops, in interleaved rounds on one machine, and print the ratios.

Streams go over span, with everything on; the rows with TLS have it between the two gateways, and between the
two haproxies. The case `sealed` compares sealed carriers with ones that are not, both over ws.

The load generator and the harness are those of `../shared/bench`, which this needs, with haproxy and a C
compiler. What counts is a ratio within one run: a shared machine is too noisy for absolute figures.

    python bench/run.py [--rounds N] [--idle N] [--cases up,down,...]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "bench"
BUILD = ROOT / "build" / "bench"


@dataclass(frozen=True)
class Row:
    """One figure of a case: how it is called, where the harness keeps it, and the bar for its ratio."""

    title: str
    case: str
    figure: str
    bar: float | None
    more_is_better: bool = False


ROWS = (
    Row("up: CPU per GB", "up", "cpu_per", 0.8),
    Row("down: CPU per GB", "down", "cpu_per", 0.8),
    Row("up: throughput", "up", "MBps", None, True),
    Row("down: throughput", "down", "MBps", None, True),
    Row("round trip, 1 connection: p50", "rtt1", "p50_us", 1.0),
    Row("round trip, 1 connection: CPU per message", "rtt1", "cpu_per", None),
    Row("round trip, 64 connections: messages/s", "rtt64", "per_s", 1.4, True),
    Row("round trip, 64 connections: CPU per message", "rtt64", "cpu_per", None),
    Row("new connections/s, 16 at once", "conn16", "per_s", 0.8, True),
    Row("new connections: CPU each", "conn16", "cpu_per", None),
)
TLS_ROWS = (
    Row("TLS, up: CPU per GB", "up", "cpu_per", 0.9),
    Row("TLS, down: CPU per GB", "down", "cpu_per", 0.9),
)
SEALED_ROWS = (
    Row("sealed, up: CPU per GB", "up", "cpu_per", None),
    Row("sealed, down: CPU per GB", "down", "cpu_per", None),
    Row("sealed, up: throughput", "up", "MBps", None, True),
    Row("sealed, down: throughput", "down", "MBps", None, True),
    Row("sealed, round trip, 1 connection: p50", "rtt1", "p50_us", None),
    Row("sealed, round trip, 64 connections: messages/s", "rtt64", "per_s", None, True),
    Row("sealed, round trip, 64 connections: CPU", "rtt64", "cpu_per", None),
)
IDLE_BAR_KIB = 6.5
PLAIN = ("haproxy", "isthmus")
TLS = ("haproxy-tls", "isthmus-tls")
SEALED = ("isthmus", "isthmus-sealed")


def main() -> int:
    """Run everything and print the table. Returns 0, or 2 when something that is needed is missing."""
    parser = argparse.ArgumentParser(description="isthmus beside two haproxy TCP hops")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--idle", type=int, default=9000, help="idle connections held by each gateway")
    parser.add_argument("--cases", default="idle,up,down,rtt1,rtt64,conn16,tls")
    arguments = parser.parse_args()
    if missing := _missing():
        print(f"bench: {missing}", file=sys.stderr)
        return 2
    cases = arguments.cases.split(",")
    results: dict[str, Any] = {name: {} for name in (*PLAIN, *TLS)}
    others = [case for case in cases if case not in ("idle", "tls", "sealed")]
    # Processes of their own for the idle case: to end thousands of connections would count for the next case.
    runs = [(PLAIN, "idle")] if "idle" in cases else []
    runs += [(PLAIN, ",".join(others))] if others else []
    runs += [(TLS, "up,down")] if "tls" in cases else []
    if "sealed" in cases:
        sealed = {name: {} for name in SEALED} | _measure(
            arguments.rounds, arguments.idle, "up,down,rtt1,rtt64", SEALED
        )
    for names, wanted in runs:
        for name, measured in _measure(arguments.rounds, arguments.idle, wanted, names).items():
            results[name] |= measured
    print(f"\n{'':46}{'isthmus':>12}{'haproxy x2':>12}{'ratio':>8}{'bar':>8}")
    for row in ROWS:
        if row.case in others:
            _print_row(row, results, PLAIN)
    for row in TLS_ROWS if "tls" in cases else ():
        _print_row(row, results, TLS)
    if "idle" in cases:
        _print_idle(results)
    if "sealed" in cases:
        print(f"\n{'':46}{'sealed':>12}{'not sealed':>12}{'ratio':>8}")
        for row in SEALED_ROWS:
            _print_row(row, sealed, SEALED)
    return 0


def _missing() -> str:
    if not SHARED.is_dir():
        return f"the load generator is not there: {SHARED}"
    for program in ("haproxy", "cc"):
        if shutil.which(program) is None:
            return f"{program} is not installed (Debian: apt-get install haproxy gcc)"
    return ""


def _measure(rounds: int, idle: int, cases: str, names: tuple[str, str]) -> dict[str, Any]:
    scripts, processes = BUILD / "scripts", BUILD / "processes"
    for folder in (scripts, processes):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    load, out = BUILD / "tunnel_load", BUILD / "results.json"
    subprocess.run(["cc", "-O2", "-o", str(load), str(SHARED / "tunnel_load.c")], check=True)
    theirs, ours = SHARED / "tunnels", ROOT / "bench" / "tunnels"
    _make_certificate(BUILD / "peers" / "tls" / "both.pem")
    tunnels = [ours if (ours / f"{name}.sh").exists() else theirs for name in names]
    for script in (theirs / "_lib.sh", *(tunnels[place] / f"{name}.sh" for place, name in enumerate(names))):
        shutil.copy(script, scripts / script.name)
        (scripts / script.name).chmod(0o755)
    command = [sys.executable, str(SHARED / "compare_tunnels.py"), "--load", str(load)]
    command += ["--scripts", str(scripts), "--pids", str(processes), "--out", str(out)]
    command += ["--rounds", str(rounds), "--idle", str(idle), "--cases", cases, *names]
    isthmus = Path(sys.executable).with_name("isthmus")
    environment = os.environ | {"PEER_DIR": str(processes), "PEERS_HOME": str(BUILD / "peers")}
    environment["ISTHMUS"] = str(isthmus)
    subprocess.run(command, check=True, env=environment)
    results: dict[str, Any] = json.loads(out.read_text())
    return results


def _make_certificate(file: Path) -> None:
    """Write a certificate for 127.0.0.1 with its key, for both ends of both."""
    import trustme

    file.parent.mkdir(parents=True, exist_ok=True)
    authority = trustme.CA()
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(file))
    authority.cert_pem.write_to_path(str(file.with_name("authority.pem")))


def _median(results: dict[str, Any], name: str, case: str, figure: str) -> float:
    figures = [run[figure] for run in results[name].get(case, []) if run and run.get(figure) is not None]
    return statistics.median(figures) if figures else float("nan")


def _print_row(row: Row, results: dict[str, Any], names: tuple[str, str]) -> None:
    theirs, ours = (_median(results, name, row.case, row.figure) for name in names)
    sign = ">=" if row.more_is_better else "<="
    bar = f"{sign}{row.bar:g}" if row.bar is not None else ""
    print(f"{row.title:46}{ours:12.2f}{theirs:12.2f}{ours / theirs:8.2f}{bar:>8}")


def _print_idle(results: dict[str, Any]) -> None:
    ours, theirs = (_median(results, name, "idle", "per_conn_B") / 1024 for name in ("isthmus", "haproxy"))
    held = int(_median(results, "isthmus", "idle", "n"))
    title = f"idle: KiB per connection, both ends, {held} held"
    print(f"{title:46}{ours:12.2f}{theirs:12.2f}{ours / theirs:8.2f}{f'<={IDLE_BAR_KIB:g}K':>8}")


if __name__ == "__main__":
    sys.exit(main())
