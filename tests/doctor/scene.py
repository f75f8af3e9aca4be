"""A gateway in this process to examine the way to, and the examination."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from tests.system.process import free_port

from isthmus.config import load
from isthmus.config.model import ConnectOptions, Security
from isthmus.config.proxies import parse_proxies
from isthmus.doctor.examination import Examination
from isthmus.doctor.finding import Finding
from isthmus.doctor.line import Line
from isthmus.doctor.recommendation import Recommendation, recommend
from isthmus.doctor.report import screen
from isthmus.gateway import Gateway
from isthmus.uri import parse

Serving = Callable[..., AbstractAsyncContextManager[int]]


@pytest.fixture
def serving(tmp_path: Path) -> Serving:
    """Return what runs a gateway with an echo at `/x` of any Host, and gives its port."""

    @contextlib.asynccontextmanager
    async def serve(
        scheme: str = "ws",
        *,
        accept: Mapping[str, object] = {},
        gateway: str = "",
        more: str = "",
        path: str = "/x",
    ) -> AsyncIterator[int]:
        port = free_port()
        options = "\n".join(f'"{name}" = "{value}"' for name, value in accept.items())
        file = tmp_path / "gateway.toml"
        file.write_text(
            f'[[service]]\ntype = "echo"\naccept = "{scheme}://0.0.0.0:{port}{path}"\n{more}\n'
            f'[service.accept-options]\n"{scheme}.bind" = "127.0.0.1:{port}"\n{options}\n{gateway}\n'
        )
        running = Gateway(load(file).config, directory=tmp_path, home=tmp_path)
        await running.start()
        try:
            yield port
        finally:
            await running.stop(0.0)

    return serve


class Seen:
    """What an examination has found."""

    def __init__(self, line: Line, examination: Examination) -> None:
        self.line = line
        self.needs = examination.needs
        self.findings = {each.examination: each for each in examination.findings}
        self.recommendation: Recommendation = recommend(
            line, parse("tcp://127.0.0.1:2222"), examination.findings, examination.needs
        )
        self.text = screen(line.address, examination.findings, self.recommendation, 1.0)

    def __getitem__(self, name: str) -> Finding:
        return self.findings[name]


async def examine(
    uri: str,
    *,
    idle: float = 0.0,
    pin: str = "",
    seconds: float = 30.0,
    patience: float = 5.0,
    proxies: list[str] | None = None,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    security: Security | None = None,
    **options: object,
) -> Seen:
    """Examine the way to `uri`."""
    line = Line(
        parse(uri),
        ConnectOptions(connect_timeout=patience, tcp_transport=parse_proxies(proxies), **options),
        security or Security(),
        directory or Path.cwd(),
        environment or {},
    )
    examination = Examination(line, seconds, idle, pin)
    await examination.run()
    return Seen(line, examination)
