"""docs/udp.md is true: its commands and its configuration load, what it names is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import trustme
from typer.testing import CliRunner

from isthmus import cli, gateway
from isthmus.config import load
from isthmus.config.model import AcceptOptions, ConnectOptions, GatewayConfig, ProxyProperties, options_of
from isthmus.transports.datagrams import DatagramCounters

GUIDE = (Path(__file__).parents[1] / "docs" / "udp.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


@pytest.mark.usefixtures("restored_logging")
def test_its_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []

    def run(config: GatewayConfig, *, source: str, directory: Path, home: Path) -> int:
        started.extend(f"{each.accepts[0]} {each.connects[0]}" for each in config.services)
        assert all(each.datagrams for each in config.services)
        return 0

    monkeypatch.setattr(gateway, "run", run)
    monkeypatch.chdir(tmp_path)
    trustme.CA().issue_cert("gw.example.com").private_key_and_cert_chain_pem.write_to_path(
        "gw.example.com.pem"
    )
    for line in block("sh").splitlines():
        result = CliRunner().invoke(cli.app, shlex.split(line)[1:])
        assert result.exit_code == 0, result.output
    assert started == [
        "wss://gw.example.com:443/dns udp://127.0.0.1:53/",
        "udp://127.0.0.1:5353/ wss://gw.example.com:443/dns",
    ]


def test_its_configuration_loads(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(block("toml"))
    (service,) = load(file).config.services
    assert service.udp.udp_interface == "eth1"


def test_its_service_of_both_loads(tmp_path: Path) -> None:
    file = tmp_path / "gateway.xml"
    file.write_text(block("xml"))
    for service in load(file).config.services:
        assert service.streams
        assert service.datagrams


def test_each_counter_is_explained() -> None:
    (table,) = (part for part in GUIDE.split("\n## ") if part.startswith("When something is wrong"))
    explained = set(re.findall(r"`([a-z ]+)`", "".join(re.findall(r"\|([^|]*)\|$", table, re.MULTILINE))))
    counters = {name.replace("_", " ") for name in DatagramCounters.__slots__}
    assert explained == counters - {"flows", "idle", "from client", "to client"}


def test_each_option_that_it_names_exists() -> None:
    known = {each.name for each in (*options_of(AcceptOptions()), *options_of(ConnectOptions()))}
    known |= {each.name for each in options_of(ProxyProperties())} | {"stop.timeout"}
    named = set(re.findall(r"`([a-z]+(?:\.[a-z]+)+)`", GUIDE))
    assert {each for each in named if not each.startswith("net.")} <= known | {"docs.span.md"}
    assert {each.name for each in options_of(AcceptOptions()) if each.name.startswith("udp.")} <= named
