"""Two gateways with a Web between them that breaks, and applications that check every byte."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.system import configuration
from tests.system.certificates import Authority
from tests.system.pair import Processes
from tests.system.process import PATIENCE, Gateway, Process, free_port

_HERE = Path(__file__).parent
HOST = "127.0.0.1"
SOAK_SECONDS = float(os.environ.get("ISTHMUS_SOAK_SECONDS", "0"))
"""How long soaks run; 0: as long as CI has time for."""

DEADLINE = 2.0
"""`span.ping.deadline` of these tests, in seconds: what is silent is noticed within it."""

Options = Mapping[str, object]


class Faults(Process):
    """The relay of span_faults.py, which listens on `port`."""

    def __init__(self, target: int, *arguments: str, prefix: Sequence[str] = ()) -> None:
        self.port = free_port()
        program = [sys.executable, str(_HERE / "span_faults.py")]
        super().__init__([*prefix, *program, str(self.port), str(target), *arguments])
        self.wait_for("listening")

    def tell(self, command: str) -> None:
        """Give a command and wait until it is obeyed."""
        before = len(self.lines)
        self.say(command.encode() + b"\n")
        self._wait_until(lambda: self._obeyed(command, before) or None, f"obeyed {command}", PATIENCE)

    def _obeyed(self, command: str, before: int) -> bool:
        return any(line.startswith(f"ok {command} ") for line in self.lines[before:])

    def cut(self, kind: str, count: int | None = None) -> None:
        """Cut all links, or the oldest `count` of them."""
        self.tell(f"cut {kind}" if count is None else f"cut {kind} {count}")

    def count(self, what: str) -> int:
        """Return how many links were `joined`, `recovered` or `cut`."""
        return sum(line.startswith(f"{what} ") for line in list(self.lines))

    def kinds_cut(self) -> set[str]:
        """Return the kinds of cuts that were made."""
        return {line.split()[2] for line in list(self.lines) if line.startswith("cut ")}


def start_faults(
    processes: Processes,
    target: int,
    *,
    prefix: Sequence[str] = (),
    settings: Options | None = None,
) -> Faults:
    """Start a relay to `target` with the `settings` of span_faults.py: `delay`, `rate`, `buffer`, `to`..."""
    arguments = [word for name, value in (settings or {}).items() for word in (f"--{name}", str(value))]
    return processes.keep(Faults(target, *arguments, prefix=prefix))


@dataclass
class Report:
    """What span_load.py saw at both ends."""

    conversations: int
    up: int
    down: int
    longest_wait: float
    longest_ended: float
    waits: int
    stuck: int
    errors: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        errors = "".join(f"\n    {error}" for error in self.errors[:20])
        return (
            f"{self.conversations} conversations, {self.up / 1e6:.1f} MB up, {self.down / 1e6:.1f} MB down, "
            f"longest wait {self.longest_wait:.2f} s (until {self.longest_ended % 1000:.2f}), "
            f"{self.waits} waits above 1 s, "
            f"{len(self.errors)} errors{errors}"
        )


class Load:
    """Conversations between a process that talks and one that serves."""

    def __init__(self, processes: Processes, *, host: str = HOST, prefix: Sequence[str] = ()) -> None:
        self._processes = processes
        self.port = free_port()
        self.server = processes.start(
            [*prefix, sys.executable, _HERE / "span_load.py", "serve", host, str(self.port)]
        )
        self.server.wait_for("serving")
        self._talking: Process
        self._patience = 0.0

    def start(
        self,
        port: int,
        *,
        seconds: float,
        streams: int = 50,
        rate: int = 5_000_000,
        largest: int = 200_000,
        patience: float = 45.0,
        host: str = HOST,
        prefix: Sequence[str] = (),
    ) -> None:
        """Begin to talk to `port`. `rate` is of all streams together, each way, in bytes a second."""
        settings = {
            "streams": streams,
            "seconds": seconds,
            "rate": rate,
            "largest": largest,
            "patience": patience,
        }
        arguments = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
        self._talking = self._processes.start(
            [*prefix, sys.executable, _HERE / "span_load.py", "talk", host, str(port), *arguments]
        )
        self._patience = seconds + patience + PATIENCE
        self._talking.wait_for("talking")

    def report(self) -> Report:
        """Wait for the end, and return what both ends saw."""
        self._talking.wait(self._patience)
        near = Report(**json.loads(self._talking.output))
        self.server.input.close()
        self.server.wait()
        far = Report(**json.loads(self.server.output))
        near.errors += far.errors
        if far.longest_wait > near.longest_wait:
            near.longest_wait, near.longest_ended = far.longest_wait, far.longest_ended
        near.waits += far.waits
        near.stuck += far.stuck
        return near


@dataclass(frozen=True)
class SpanPair:
    """A client gateway that takes TCP on `port`, a server gateway that listens on `web_port`; their files."""

    client: Gateway
    server: Gateway
    port: int
    web_port: int
    files: dict[str, Path]


def start_span_pair(
    processes: Processes,
    folder: Path,
    backend: int | str,
    *,
    web_port: int,
    web_host: str = HOST,
    through: int = 0,
    scheme: str = "ws",
    authority: Authority | None = None,
    accept_options: Options | None = None,
    connect_options: Options | None = None,
    backend_options: Options | None = None,
    both: Options | None = None,
    options: Options | None = None,
    arguments: Sequence[str] = (),
    prefixes: tuple[Sequence[str], Sequence[str]] = ((), ()),
) -> SpanPair:
    """Start both gateways and wait until they serve; the client's dials the port `through`.

    `accept_options` are the server's, `connect_options` the client's on the Web side, `both` are for both of
    these; `backend_options` are the server's towards the backend. `web_host` is the address that the server
    listens on and, unless it goes `through` a relay, the client dials. `prefixes` run client and server.
    """
    port = free_port()
    uri = f"{scheme}://{HOST}:{through}/tunnel" if through else f"{scheme}://{web_host}:{web_port}/tunnel"
    secure: dict[str, list[str]] = {"client": [], "server": []}
    if scheme == "wss":
        assert authority is not None
        secure["client"] = [configuration.security(truststore=authority.truststore)]
        secure["server"] = [configuration.security(keystore=authority.server(HOST))]
    to_backend = backend if isinstance(backend, str) else f"tcp://{HOST}:{backend}"
    bind = {f"{scheme}.bind": f"{web_host}:{web_port}"} if through else {}
    services = {
        "server": configuration.service(
            uri,
            to_backend,
            accept_options={**bind, **(both or {}), **(accept_options or {})},
            connect_options=backend_options,
        ),
        "client": configuration.service(
            f"tcp://{HOST}:{port}", uri, connect_options={**(both or {}), **(connect_options or {})}
        ),
    }
    files = {
        role: configuration.write(folder / f"{role}.xml", services[role], *secure[role], options=options)
        for role in services
    }
    server = processes.gateway(files["server"], *arguments, prefix=prefixes[1])
    client = processes.gateway(files["client"], *arguments, prefix=prefixes[0])
    return SpanPair(client.started(), server.started(), port, web_port, files)


def soak(short: float) -> float:
    """Return the seconds of a soak: `short` in CI, else what ISTHMUS_SOAK_SECONDS says."""
    return SOAK_SECONDS or short


def bar(soaking: float, short: float) -> float:
    """Return what a figure is held to: in a soak `soaking`, in CI, beside other tests, `short`.

    There the application, the gateways and the link of a test all wait for a processor now and then.
    """
    return soaking if SOAK_SECONDS else short
