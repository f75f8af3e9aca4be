"""docs/proxies.md is true: what it shows loads, and each symptom is what the code says."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from isthmus import cli, gateway
from isthmus.config import load
from isthmus.config.model import GatewayConfig
from isthmus.config.proxies import way_to
from isthmus.security.proxy_credentials import read, too_open

PROJECT = Path(__file__).parents[1]
GUIDE = (PROJECT / "docs" / "proxies.md").read_text(encoding="utf-8")
SOURCES = "\n".join(path.read_text() for path in (PROJECT / "src" / "isthmus").rglob("*.py"))
SYMPTOMS = re.findall(r"^\| `([^`]+)` \|", GUIDE.partition("## By symptom")[2].partition("\n## ")[0], re.M)

pytestmark = pytest.mark.usefixtures("restored_logging")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)


def test_there_are_symptoms() -> None:
    assert len(SYMPTOMS) > 10


@pytest.mark.parametrize("symptom", SYMPTOMS)
def test_each_symptom_is_what_the_code_says(symptom: str) -> None:
    known = {  # made of parts
        "did not open the way within": "did not open the way",
        "403 Forbidden": "it answers {response.status}",
        "407 Proxy Authentication Required; it offers": "it offers {names}",
    }
    assert known.get(symptom, symptom) in SOURCES


@pytest.mark.parametrize("text", blocks("toml"))
def test_each_configuration_loads(text: str, tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(text)
    loaded = load(file)
    assert not loaded.warnings


def test_each_command_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[GatewayConfig] = []

    def run(config: GatewayConfig, **_: object) -> int:
        started.append(config)
        return 0

    monkeypatch.setattr(gateway, "run", run)
    monkeypatch.chdir(tmp_path)
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    for line in lines:
        if line.startswith("isthmus "):
            result = CliRunner().invoke(cli.app, shlex.split(line)[1:])
            assert result.exit_code == 0, result.output
    assert len(started) == 2
    for config in started:
        (service,) = config.services
        way = way_to(service.connects[0], service.connect_options, {})
        assert str(way) == "through http://proxy.example.com:3128 (tcp.transport)"
    file = started[1].services[0].connect_options.proxy_credentials_file
    assert file is not None
    written = "\n".join(line for line in lines if not line.startswith("isthmus "))
    subprocess.run(["sh", "-ec", written], cwd=tmp_path, check=True)
    assert read(tmp_path / file)["proxy.example.com"].user == "alice"
    assert too_open(tmp_path / file) == ""


def test_a_user_of_a_domain(tmp_path: Path) -> None:
    (user,) = re.findall(r"`(CORP[^`]*)`", GUIDE)
    file = tmp_path / "credentials"
    file.write_text(f"default login {user} password x\n")
    assert read(file)["default"].user == "CORP\\alice"
