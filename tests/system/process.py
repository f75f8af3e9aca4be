"""Real processes for system tests: start, read what they say, stop, and never leave one behind.

Every process is the leader of its own process group, which is killed as a whole; where `setpriv` exists the
kernel also kills it when the test process dies.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self, TypeVar

import psutil

import isthmus

PATIENCE = 30.0
"""Seconds that anything may take on a busy machine before a test fails."""

SOURCE = Path(isthmus.__file__).parent.parent
ISTHMUS = (sys.executable, "-m", "isthmus")

Found = TypeVar("Found")

_CONSOLE_LINE = re.compile(r"(DEBUG|INFO|WARN|ERROR) +\S")
_SETPRIV = shutil.which("setpriv")
_ports_given: set[int] = set()


class Process:
    """A running program. `lines` is what it has written to standard error, `output` to standard output.

    `command` is run in the folder `cwd`.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        cwd: Path | None = None,
    ) -> None:
        self.command = [str(word) for word in command]
        self.lines: list[str] = []
        self.output = bytearray()
        self._news = threading.Condition()
        wrapper = [_SETPRIV, "--pdeathsig", "KILL"] if _SETPRIV else []
        self._popen = subprocess.Popen(
            [*wrapper, *self.command],
            cwd=cwd,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        stdin, stdout, stderr = self._popen.stdin, self._popen.stdout, self._popen.stderr
        assert stdin is not None
        assert stdout is not None
        assert stderr is not None
        self.input: IO[bytes] = stdin
        self._pipes = (stdin, stdout, stderr)
        self._readers = [
            threading.Thread(target=self._read_output, args=(stdout,), daemon=True),
            threading.Thread(target=self._read_lines, args=(stderr,), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def running(self) -> bool:
        return self._popen.poll() is None

    @property
    def text(self) -> str:
        """Everything written to standard error so far."""
        return "\n".join(self.lines)

    def say(self, data: bytes) -> None:
        """Write to the program's standard input."""
        self.input.write(data)
        self.input.flush()

    def wait_for(self, text: str, timeout: float = PATIENCE) -> str:
        """Return the first line of standard error with `text` in it, waiting for it."""
        return self._wait_until(
            lambda: next((line for line in self.lines if text in line), None), f"said {text!r}", timeout
        )

    def wait_for_output(self, data: bytes, timeout: float = PATIENCE) -> bytes:
        """Return all of standard output once `data` is in it."""
        return self._wait_until(
            lambda: bytes(self.output) if data in self.output else None, f"wrote {data!r}", timeout
        )

    def signal(self, number: signal.Signals) -> None:
        self._popen.send_signal(number)

    def wait(self, timeout: float = PATIENCE) -> int:
        """Wait for the end and return the exit code (negative: the signal that ended it)."""
        try:
            code = self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"{self._name()} did not end within {timeout:g} s; it said:\n{self.text}"
            ) from None
        for reader in self._readers:
            reader.join(timeout)
        return code

    def kill(self) -> None:
        """End the whole process group now; harmless when it is over."""
        try:
            os.killpg(self._popen.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._popen.wait()
        for reader in self._readers:
            reader.join(PATIENCE)
        for pipe in self._pipes:
            try:
                pipe.close()
            except BrokenPipeError:
                pass

    def _name(self) -> str:
        return " ".join(self.command)

    def _wait_until(self, look: Callable[[], Found | None], wanted: str, timeout: float) -> Found:
        deadline = time.monotonic() + timeout
        with self._news:
            while (found := look()) is None:
                alive = any(reader.is_alive() for reader in self._readers)
                left = deadline - time.monotonic()
                if not alive or left <= 0:
                    why = "ended" if not alive else "is running"
                    raise AssertionError(f"{self._name()} {why} and never {wanted}; it said:\n{self.text}")
                self._news.wait(min(left, 0.5))
            return found

    def _read_lines(self, stream: IO[bytes]) -> None:
        for line in stream:
            with self._news:
                self.lines.append(line.decode("utf-8", "backslashreplace").rstrip("\r\n"))
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def _read_output(self, stream: IO[bytes]) -> None:
        while data := os.read(stream.fileno(), 1 << 16):
            with self._news:
                self.output += data
                self._news.notify_all()
        with self._news:
            self._news.notify_all()


class Gateway(Process):
    """A gateway: `isthmus start --config FILE`, run in the folder of the file.

    `prefix` is put before the command: what runs it in a network namespace, for example.
    """

    def __init__(
        self,
        config: Path,
        *arguments: str | Path,
        prefix: Sequence[str] = (),
    ) -> None:
        super().__init__(
            [*prefix, *ISTHMUS, "start", "--config", config, *arguments],
            cwd=config.parent,
        )

    def started(self) -> Self:
        """Wait until it serves."""
        self.wait_for("Started server successfully")
        return self

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Tell it to stop, check that it only ever said proper console lines, and return the exit code."""
        self.signal(number)
        code = self.wait()
        self.check_lines()
        return code

    def refuses(self) -> int:
        """Wait until it has ended by itself, check its lines, and return the exit code."""
        code = self.wait()
        self.check_lines()
        return code

    def check_lines(self) -> None:
        """Every line is `LEVEL text`: nothing like a traceback. Lines of a block that go on are indented."""
        strange = [
            line for line in self.lines if not _CONSOLE_LINE.match(line) and not line.startswith("    ")
        ]
        assert not strange, f"not console lines: {strange}\nall of it:\n{self.text}"
        assert "Traceback" not in self.text, self.text
        assert 'File "' not in self.text, self.text

    def resident_bytes(self) -> int:
        """Return the memory it holds now."""
        return psutil.Process(self.pid).memory_info().rss


@dataclass(frozen=True, slots=True)
class Finished:
    """What a program left that has ended."""

    code: int
    output: bytes
    errors: str


def run(
    command: Sequence[str | Path],
    *,
    send: bytes = b"",
    cwd: Path | None = None,
    timeout: float = PATIENCE,
) -> Finished:
    """Run a program to its end with `send` as its standard input."""
    with Process(command, cwd=cwd) as process:
        try:
            process.say(send)
            process.input.close()
        except BrokenPipeError:
            pass
        code = process.wait(timeout)
        return Finished(code, bytes(process.output), process.text)


def isthmus_command(*arguments: str | Path, send: bytes = b"", cwd: Path | None = None) -> Finished:
    """Run `isthmus ARGUMENTS` to its end."""
    return run([*ISTHMUS, *arguments], send=send, cwd=cwd)


def free_port(host: str = "127.0.0.1") -> int:
    """Return a TCP port that nobody listens on, never the same one twice.

    It lies below the ports that the kernel gives to outgoing connections: none of those takes it meanwhile.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for _ in range(1000):
        port = random.SystemRandom().randrange(10_240, 32_768)
        if port in _ports_given:
            continue
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue
        _ports_given.add(port)
        return port
    raise AssertionError("no free port was found in 1000 tries")


def eventually(holds: Callable[[], bool], what: str, timeout: float = PATIENCE) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < deadline, f"not within {timeout:g} s: {what}"
        time.sleep(0.02)


def environment() -> dict[str, str]:
    """Return the environment of a process: the test's own, this isthmus, and where root's programs are."""
    own = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GATEWAY_") and not name.upper().endswith("_PROXY")
    }
    path = [str(SOURCE), *filter(None, [own.get("PYTHONPATH")])]
    # A gateway that forgets to close something says so, and `check_lines` objects.
    return {
        **own,
        "PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin",
        "PYTHONPATH": os.pathsep.join(path),
        "PYTHONWARNINGS": "default::ResourceWarning",
        "LC_ALL": "C.UTF-8",
    }
