"""Two gateways in the whitepaper's roles, on this machine: tcp -> (ws or wss) -> tcp."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from tests.system import configuration
from tests.system.certificates import Authority
from tests.system.process import Gateway, Process, free_port

Started = TypeVar("Started", bound=Process)


class Processes:
    """Keeps what was started until the end of its scope, then ends it all."""

    def __init__(self) -> None:
        self._kept = contextlib.ExitStack()
        self._gateways: list[Gateway] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._kept.close()
        if value is None:
            for gateway in self._gateways:
                gateway.check_lines()

    def keep(self, process: Started) -> Started:
        """End `process` with this scope."""
        self._kept.enter_context(process)
        if isinstance(process, Gateway):
            self._gateways.append(process)
        return process

    def start(self, command: Sequence[str | Path], **settings: object) -> Process:
        """Start a program."""
        return self.keep(Process(command, **settings))  # type: ignore[arg-type]

    def public_folder(self) -> Path:
        """Return a folder until the end of this scope for programs that give up being root.

        What pytest makes can be entered by nobody else, and it sees to that again and again.
        """
        folder = Path(self._kept.enter_context(tempfile.TemporaryDirectory(prefix="isthmus-", dir="/tmp")))
        folder.chmod(0o777)
        return folder

    def gateway(self, config: Path, *arguments: str | Path, prefix: Sequence[str] = ()) -> Gateway:
        """Start a gateway without waiting for it."""
        return self.keep(Gateway(config, *arguments, prefix=prefix))


@dataclass(frozen=True)
class Pair:
    """A client gateway that takes TCP on `port` and a server gateway that the Web client reaches at `uri`."""

    client: Gateway
    server: Gateway
    port: int
    uri: str
    scheme: str
    web_port: int


def start_pair(
    processes: Processes,
    folder: Path,
    backend: str,
    *,
    scheme: str = "ws",
    authority: Authority | None = None,
    properties: Mapping[str, object] | None = None,
    backend_options: Mapping[str, object] | None = None,
    options: Mapping[str, object] | None = None,
) -> Pair:
    """Start both gateways towards `backend` (a URI), and wait until they serve.

    `backend_options` are the connect-options towards the backend; the others are given to both gateways.
    `wss` needs an authority.
    """
    port, web_port = free_port(), free_port()
    uri = f"{scheme}://127.0.0.1:{web_port}/"
    secure: dict[str, list[str]] = {"client": [], "server": []}
    if scheme == "wss":
        assert authority is not None
        secure["client"] = [configuration.security(truststore=authority.truststore)]
        secure["server"] = [configuration.security(keystore=authority.server("127.0.0.1"))]
    starting = []
    for role, accept, connect, connect_options in (
        ("server", uri, backend, backend_options),
        ("client", f"tcp://127.0.0.1:{port}", uri, None),
    ):
        joining = configuration.service(
            accept, connect, properties=properties, connect_options=connect_options
        )
        file = configuration.write(folder / f"{role}.xml", joining, *secure[role], options=options)
        starting.append(processes.gateway(file))
    server, client = (gateway.started() for gateway in starting)
    return Pair(client, server, port, uri, scheme, web_port)
