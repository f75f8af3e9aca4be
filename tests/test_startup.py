"""What a start costs: it imports what its configuration needs and not much beside it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import isthmus

PROXY = """\
[[service]]
type = "proxy"
accept = "tcp://127.0.0.1:{port}"
connect = "ws://127.0.0.1:{port}/"
"""
HTTP = """\
<gateway-config xmlns="http://xmlns.kaazing.org/2016/06/gateway">
  <service>
    <accept>http://127.0.0.1:{port}/</accept>
    <type>directory</type>
    <properties><directory>/base</directory></properties>
  </service>
</gateway-config>
"""
NOT_FOR_A_PROXY = {"aiofastnet", "aiohttp", "cryptography", "lxml", "psutil", "rich"}
"""Libraries that a proxy between tcp and ws, configured in TOML, has no use for."""

LIBRARIES = """\
import asyncio, ssl, tomllib, typer
from pydantic import BaseModel

class Model(BaseModel):
    number: int

application = typer.Typer(add_completion=False)

@application.command()
def command(number: int) -> None:
    pass

try:
    application(["1"])
except SystemExit:
    pass
"""
"""Stands for what any start needs: the interpreter, the command line, the configuration's types, the loop."""

START = """\
import logging

class AtTheEnd(logging.Handler):
    def emit(self, record):
        if record.getMessage().startswith("Started server"):
            report()

logging.getLogger("isthmus").addHandler(AtTheEnd())
from isthmus.cli import main
main()
"""
"""`isthmus start`, up to where it serves."""

COMMAND = """\
from isthmus.cli import main
try:
    main()
except SystemExit as ended:
    assert not ended.code, ended
"""
"""A command that ends by itself."""

REPORT = """\
import os, sys, time

def report():
    print(time.process_time(), *sys.modules, flush=True)
    os._exit(0)

"""


def run(script: str, *arguments: str | Path) -> tuple[float, set[str]]:
    """Run a script of those above; return the seconds of CPU it took and the modules it had at the end."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    path = [str(Path(isthmus.__file__).parent.parent), *filter(None, [environment.get("PYTHONPATH")])]
    outcome = subprocess.run(
        [sys.executable, "-c", REPORT + script + "\nreport()", *map(str, arguments)],
        env={**environment, "PYTHONPATH": os.pathsep.join(path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert outcome.returncode == 0, outcome.stderr
    seconds, *modules = outcome.stdout.splitlines()[-1].split()
    return float(seconds), set(modules)


def start(file: Path, text: str) -> tuple[float, set[str]]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    file.write_text(text.format(port=port))
    return run(START, "start", "--config", file)


def test_a_proxy_imports_no_library_that_it_does_not_need(tmp_path: Path) -> None:
    _, modules = start(tmp_path / "proxy.toml", PROXY)
    assert not NOT_FOR_A_PROXY & modules, "imported although nothing in the configuration needs it"
    assert {"isthmus.gateway", "isthmus.services.proxy"} <= modules


def test_what_a_configuration_needs_is_found(tmp_path: Path) -> None:
    """The test above would see such a library: here two of them are needed."""
    _, modules = start(tmp_path / "directory.xml", HTTP)
    assert {"aiohttp", "lxml"} <= modules
    assert not {"cryptography", "aiofastnet"} & modules


@pytest.mark.parametrize("command", ["version", "--help"])
def test_commands_that_start_nothing_import_little(command: str) -> None:
    _, modules = run(COMMAND, command)
    assert not {"isthmus.gateway", "isthmus.config", "aiohttp", "lxml", "asyncio"} & modules


def test_a_start_costs_little_more_than_its_libraries(tmp_path: Path) -> None:
    """The least of a few, because whatever else the machine does only makes them longer."""
    turns = [(run(LIBRARIES), start(tmp_path / "proxy.toml", PROXY)) for _ in range(7)]
    libraries, needed = min(first for first, _ in turns)
    whole, modules = min(second for _, second in turns)
    ours = {name for name in modules if name.partition(".")[0] == "isthmus"}
    others = modules - needed - ours
    assert len(others) < 60, sorted(others)
    assert whole < 2.5 * libraries
