"""PostgreSQL and Redis, whose clients know nothing of WebSocket, through a pair of gateways."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.system.certificates import Authority
from tests.system.pair import Processes, start_pair
from tests.system.peers import connect, read_exactly
from tests.system.process import PATIENCE, Finished, Process, free_port, run
from tests.system.requirements import Requirements

# --- PostgreSQL


@dataclass(frozen=True)
class Postgres:
    """A private PostgreSQL on `port`, and the folder of its programs."""

    port: int
    programs: Path

    def run(self, program: str, port: int, *arguments: str, send: bytes = b"") -> Finished:
        reach = ["-h", "127.0.0.1", "-p", str(port), "-U", "isthmus"]
        return run([self.programs / program, *reach, *arguments, "postgres"], send=send, timeout=60)


@pytest.fixture(scope="module")
def postgres(need: Requirements) -> Iterator[Postgres]:
    # Debian keeps them apart by version and out of the PATH.
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    programs = (found[-1] if found else Path(need.program("initdb"))).parent
    need.that((programs / "pgbench").exists(), f"the program pgbench is not in {programs}")
    user: list[str] = []
    # Not below pytest's folder: only its owner may enter that, and PostgreSQL refuses to run as root.
    folder = Path(tempfile.mkdtemp(prefix="isthmus-postgres-"))
    try:
        if os.geteuid() == 0:
            user = [need.program("setpriv"), "--reuid=postgres", "--regid=postgres", "--clear-groups"]
            shutil.chown(folder, "postgres", "postgres")
        made = run(
            [*user, programs / "initdb", "-D", folder / "data", "-U", "isthmus", "-A", "trust", "--no-sync"],
            cwd=folder,
            timeout=60,
        )
        assert made.code == 0, made.errors
        port = free_port()
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "unix_socket_directories": str(folder),
            "fsync": "off",
            "shared_buffers": "16MB",
            "max_connections": "40",
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with Process([*user, programs / "postgres", "-D", folder / "data", *options], cwd=folder) as server:
            server.wait_for("ready to accept connections")
            yield Postgres(port, programs)
            server.signal(signal.SIGINT)  # its fast shutdown: killed, it would leave shared memory behind
            server.wait()
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_pgbench(
    scheme: str, postgres: Postgres, processes: Processes, tmp_path: Path, authority: Authority
) -> None:
    pair = start_pair(
        processes, tmp_path, f"tcp://127.0.0.1:{postgres.port}", scheme=scheme, authority=authority
    )
    made = postgres.run("pgbench", pair.port, "--initialize", "--scale=1", "--quiet")
    assert made.code == 0, made.errors

    # Connections that last, then a connection for each transaction.
    for arguments, transactions in (
        (("--client=8", "--jobs=2", "--transactions=50", "--protocol=prepared"), 400),
        (("--client=4", "--transactions=20", "--connect", "--select-only"), 80),
    ):
        outcome = postgres.run("pgbench", pair.port, "--no-vacuum", *arguments)
        assert outcome.code == 0, outcome.errors
        done = re.search(rb"transactions actually processed: (\d+)/(\d+)", outcome.output)
        assert done is not None, outcome.output
        assert (int(done[1]), int(done[2])) == (transactions, transactions)

    # What pgbench keeps in step stayed in step.
    sums = "SELECT (SELECT sum(tbalance) FROM pgbench_tellers) = (SELECT sum(delta) FROM pgbench_history)"
    outcome = postgres.run("psql", pair.port, "-XAtc", sums)
    assert outcome.output == b"t\n", outcome.errors


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_postgres_copies_a_table_in_and_out(
    scheme: str, postgres: Postgres, processes: Processes, tmp_path: Path, authority: Authority
) -> None:
    pair = start_pair(
        processes, tmp_path, f"tcp://127.0.0.1:{postgres.port}", scheme=scheme, authority=authority
    )
    rows = b"".join(b"%d\t%s\n" % (number, os.urandom(500).hex().encode()) for number in range(10_000))
    outcome = postgres.run("psql", pair.port, "-Xqc", "DROP TABLE IF EXISTS copied")
    outcome = postgres.run("psql", pair.port, "-Xqc", "CREATE TABLE copied (number int, text text)")
    assert outcome.code == 0, outcome.errors
    outcome = postgres.run("psql", pair.port, "-Xqc", "COPY copied FROM STDIN", send=rows)
    assert outcome.code == 0, outcome.errors
    through, directly = (
        postgres.run("psql", port, "-Xqc", "COPY (SELECT * FROM copied ORDER BY number) TO STDOUT")
        for port in (pair.port, postgres.port)
    )
    assert digest(through.output) == digest(rows)
    assert digest(directly.output) == digest(rows)


# --- Redis


@pytest.fixture
def redis(processes: Processes, need: Requirements, tmp_path: Path) -> int:
    """A private Redis that keeps nothing on disk; returns its port."""
    program = need.program("redis-server")
    need.program("redis-benchmark")
    port, folder = free_port(), tmp_path / "redis"
    folder.mkdir()
    settings = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]
    server = processes.start([program, *settings, "--dir", folder])
    server.wait_for_output(b"Ready to accept connections")
    return port


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_redis_benchmark_with_pipelining(
    scheme: str, redis: int, processes: Processes, tmp_path: Path, authority: Authority
) -> None:
    pair = start_pair(processes, tmp_path, f"tcp://127.0.0.1:{redis}", scheme=scheme, authority=authority)
    benchmark = ["redis-benchmark", "-h", "127.0.0.1", "-p", str(pair.port), "-c", "20", "-P", "16"]
    outcome = run([*benchmark, "-n", "20000", "-d", "1000", "-t", "set,get,incr", "--csv"], timeout=60)
    assert outcome.code == 0, outcome.errors
    assert [line.split(b",")[0] for line in outcome.output.splitlines()[1:]] == [
        b'"SET"',
        b'"GET"',
        b'"INCR"',
    ]
    with connect(pair.port) as client:
        client.sendall(b"GET counter:__rand_int__\r\n")
        assert read_exactly(client, 11) == b"$5\r\n20000\r\n"


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_redis_pipelined_is_exact(
    scheme: str, redis: int, processes: Processes, tmp_path: Path, authority: Authority
) -> None:
    """Thousands of commands before the first answer is read, and megabytes of answers at once."""
    pair = start_pair(processes, tmp_path, f"tcp://127.0.0.1:{redis}", scheme=scheme, authority=authority)
    values = [os.urandom(number * 3) for number in range(2_000)]
    with connect(pair.port) as client:
        client.settimeout(PATIENCE)
        client.sendall(
            b"".join(command(b"SET", b"%d" % number, value) for number, value in enumerate(values))
        )
        assert read_exactly(client, len(values) * 5) == b"+OK\r\n" * len(values)
        client.sendall(b"".join(command(b"GET", b"%d" % number) for number in range(len(values))))
        expected = b"".join(b"$%d\r\n%s\r\n" % (len(value), value) for value in values)
        assert digest(read_exactly(client, len(expected))) == digest(expected)


def command(*words: bytes) -> bytes:
    """Return a command in Redis's serialization protocol."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
