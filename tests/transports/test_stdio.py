"""Standard input and output as a stream, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.transports.conformance import MIXED

PEER = [sys.executable, "-X", "dev", "-W", "error", str(Path(__file__).with_name("stdio_peer.py"))]


def start(what: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*PEER, what], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def test_five_megabytes_through_and_back() -> None:
    with start("echo") as process:
        output, errors = process.communicate(MIXED, timeout=60)
    assert output == MIXED + b"|end"
    assert errors == b"over: None\nfree\n"
    assert process.returncode == 0


def test_from_a_file_to_a_file(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(MIXED[:300_000])
    with (tmp_path / "in").open("rb") as source, (tmp_path / "out").open("wb") as target:
        done = subprocess.run(
            [*PEER, "echo"], stdin=source, stdout=target, stderr=subprocess.PIPE, timeout=60
        )
    assert (tmp_path / "out").read_bytes() == MIXED[:300_000] + b"|end"
    assert done.stderr == b"over: None\nfree\n"


def test_output_may_end_before_input() -> None:
    with start("output_first") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read() == b"bye"  # its end is seen, although the process runs
        process.stdin.write(b"still heard")
        process.stdin.close()
        assert process.stderr.read() == b"still heard\n"
    assert process.returncode == 0


def test_nobody_reads_the_output() -> None:
    with start("echo") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        try:
            for _ in range(100):
                process.stdin.write(MIXED[:100_000])
                process.stdin.flush()
        except BrokenPipeError:
            pass
        try:
            process.stdin.close()
        except BrokenPipeError:
            pass
        errors = process.stderr.read().decode()
    assert "standard output ends: Broken pipe" in errors
    assert "over: the connection was lost" in errors
    assert process.returncode == 0


def test_input_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path / "in", os.O_WRONLY | os.O_CREAT)  # every read fails
    try:
        done = subprocess.run([*PEER, "echo"], stdin=descriptor, capture_output=True, timeout=60)
    finally:
        os.close(descriptor)
    assert b"standard input ends: Bad file descriptor" in done.stderr
    assert done.stdout == b"|end"


def test_there_is_only_one() -> None:
    with start("twice") as process:
        _, errors = process.communicate(timeout=60)
    assert errors == b"503 standard input and output are in use already\n"
