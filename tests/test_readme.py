"""The README is true: its files load, its commands run in its order, its links lead somewhere.

Gateways are not really started: `gateway.run` is replaced by a stand-in that remembers what it should run.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import trustme
from typer.testing import CliRunner

from isthmus import cli, gateway
from isthmus.config.model import GatewayConfig

PROJECT = Path(__file__).parents[1]
README = (PROJECT / "README.md").read_text(encoding="utf-8")
pytestmark = pytest.mark.usefixtures("restored_logging")

PAGES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")

KAAZING = """\
<gateway-config xmlns="http://xmlns.kaazing.com/gateway-config/excalibur">
  <service>
    <accept>tcp://127.0.0.1:50505/</accept>
    <type>proxy</type>
    <properties><connect>ws://192.0.2.21:80/</connect></properties>
  </service>
</gateway-config>
"""


def blocks(language: str) -> list[str]:
    """Return the text of each fenced block in `language`."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """Return each line of all `sh` blocks."""
    return [line for block in blocks("sh") for line in block.splitlines() if line]


class Shell:
    """Runs the README's lines as a shell would, in `folder`, with this process's own isthmus."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[str] = []

    def run(self, line: str) -> None:
        words = shlex.split(line)
        match words:
            case ["make", goal]:
                subprocess.run(["make", "--dry-run", goal], cwd=PROJECT, check=True, capture_output=True)
            case ["cd", target]:
                self.folder = self.folder / target
                assert self.folder.is_dir()
            case ["cp", source, target]:
                shutil.copy(self.folder / source, self.folder / target)
            case ["ssh", "-o", option, _]:
                self.run(option.removeprefix("ProxyCommand="))
            case ["isthmus", *arguments, ">", target]:
                (self.folder / target).write_text(self.isthmus(arguments))
            case ["isthmus", *arguments]:
                self.isthmus(arguments)
            case ["./gateway.start", *arguments]:
                script = (self.folder / "gateway.start").read_text()
                assert 'set -- start --home "$GATEWAY_HOME"' in script
                self.isthmus(["start", "--home", str(self.folder.parent), *arguments])
            case _:
                pytest.fail(f"README has a line that no test understands: {line}")

    def isthmus(self, arguments: list[str]) -> str:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.folder)
            result = CliRunner().invoke(cli.app, arguments)
        assert result.exit_code == 0, f"isthmus {shlex.join(arguments)}: {result.output}"
        return result.stdout


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    for name in ("GATEWAY_CONFIG", "GATEWAY_HOME", "ISTHMUS_LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)
    shell = Shell(tmp_path)

    def run(config: GatewayConfig, *, source: str, directory: Path, home: Path) -> int:
        assert (home / "web" / "base" / "index.html").is_file()
        shell.started += [str(accept) for service in config.services for accept in service.accepts]
        return 0

    monkeypatch.setattr(gateway, "run", run)
    (tmp_path / "gateway-config-minimal.xml").write_text(KAAZING)
    for block in blocks("xml"):
        file = re.match(r"<!-- (\S+) -->\n", block)
        assert file is not None, "an XML block begins with its file's name"
        (tmp_path / file[1]).write_text(block)
    certificate = trustme.CA().issue_cert("gw.example.com")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "gw.example.com.pem"))
    return shell


def test_each_command_runs(shell: Shell) -> None:
    top = shell.folder
    for block in blocks("sh"):
        shell.folder = top
        for line in block.splitlines():
            shell.run(line)
    assert shell.started == [
        "tcp://127.0.0.1:50505/",  # gateway.start
        "wss://gw.example.com:443/app",
        "tcp://127.0.0.1:50505/",
        "wss://gw.example.com:443/ssh",
        "tcp://127.0.0.1:2222/",
        "-",
    ]


def test_each_isthmus_command_in_the_text_exists() -> None:
    known = {"start", "init", "check", "convert", "version", "proxy", "doctor", "--help", "COMMAND"}
    mentioned = set(re.findall(r"`isthmus ([\w-]+)", README)) | {
        shlex.split(line)[1] for line in commands() if line.startswith("isthmus")
    }
    assert mentioned <= known


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    text = (PROJECT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if "://" not in target:
            assert (PROJECT / target).exists(), f"{page} links to {target}"


@pytest.mark.parametrize("page", PAGES)
def test_make_goals_exist(page: str) -> None:
    goals = set(re.findall(r"^([a-z]+):.* ## ", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    mentioned = set(re.findall(r"`(?:\S+ )?make ([a-z]+)`", (PROJECT / page).read_text(encoding="utf-8")))
    assert mentioned <= goals
