"""docs/doctor.md is true: its commands are commands, its words the code's, its example is a report."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import trustme
from tests.doctor.scene import Serving, examine, serving
from typer.testing import CliRunner

from isthmus import cli
from isthmus.doctor import visit
from isthmus.doctor.emulation import Emulation, judge
from isthmus.doctor.finding import EXAMINATIONS, Verdict
from isthmus.doctor.line import Line
from isthmus.doctor.recommendation import REACHABLE, UNREACHABLE, WARNED
from isthmus.doctor.report import WIDTH, machine

GUIDE = (Path(__file__).parents[1] / "docs" / "doctor.md").read_text(encoding="utf-8")
SOURCES = "\n".join(
    path.read_text() for path in (Path(__file__).parents[1] / "src" / "isthmus" / "doctor").rglob("*.py")
)
SYMPTOMS = re.findall(r"^\| `([^`]+)` \|[^|]*\|[^|]*\|$", GUIDE.partition("## Before")[0], re.M)
EXAMPLE = re.findall(r"^```\n(wss://.*?)^```$", GUIDE, re.M | re.S)[0]

__all__ = ["serving"]
pytestmark = pytest.mark.usefixtures("restored_logging")


def test_each_command_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Line, dict[str, Any]]] = []

    def instead(line: Line, accept: object, **options: Any) -> tuple[str, int]:
        seen.append((line, options))
        return "report\n", REACHABLE

    monkeypatch.setattr(visit, "visit", instead)
    monkeypatch.chdir(tmp_path)
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    (tmp_path / "token").write_text("secret")
    commands = [
        line for block in re.findall(r"^```sh\n(.*?)^```$", GUIDE, re.M | re.S) for line in block.splitlines()
    ]
    assert len(commands) > 4
    for command in commands:
        result = CliRunner().invoke(cli.app, shlex.split(command)[1:])
        assert result.exit_code == 0, result.output
    assert [options["idle"] for _, options in seen if options["idle"]] == [300.0]
    assert any(options["machine"] for _, options in seen)
    assert any(options["pin"] for _, options in seen)


def test_there_are_symptoms() -> None:
    assert len(SYMPTOMS) > 12


@pytest.mark.parametrize("symptom", SYMPTOMS)
def test_each_symptom_is_what_the_code_says(symptom: str) -> None:
    plain = re.sub(r'"\s*\n\s*f?"', "", SOURCES)
    assert symptom in plain


def test_the_example_is_a_report() -> None:
    report, _, rest = EXAMPLE.partition("\nReachable")
    found = re.findall(r"^(?:ok|note|WARN|FAIL|-) +([a-z]+(?: trip)?)  ", report, re.M)
    assert found == [*(name for name in EXAMINATIONS if name != "emulation"), "emulation"]
    lines = EXAMPLE.splitlines()
    assert len(lines) <= 42
    assert all(len(line) <= WIDTH for line in lines if "isthmus proxy" not in line)
    command = next(line for line in lines if "isthmus proxy" in line)
    file = tomllib.loads(re.sub(r"^  ", "", rest.partition("as a file:\n")[2], flags=re.M))
    assert file["service"][0]["connect-options"]["http.transport"] == ["http://proxy.example.com:3128"]
    assert "--proxy http://proxy.example.com:3128" in command


def test_the_words_for_machines() -> None:
    table = GUIDE.partition("| key | what it is |")[2].partition("| examination | facts |")[0]
    for each in Verdict:
        assert f"`{each.value}`" in table
    for name in EXAMINATIONS:
        assert f"`{name}`" in table
    for code in (REACHABLE, WARNED, UNREACHABLE):
        assert f"| {code} | " in GUIDE


async def test_each_key_is_documented(serving: Serving, tmp_path: Path) -> None:
    """Of a real report: what the tables name is there, and nothing else is."""
    async with serving() as port:
        seen = await examine(f"ws://127.0.0.1:{port}/x", idle=0.5)
    assert machine(seen.line.address, list(seen.findings.values()), seen.recommendation, 1.0)
    rows = dict(
        re.findall(r"^\| `([a-z ]+)` \| (.*) \|$", GUIDE.partition("| examination | facts |")[2], re.M)
    )
    for name in EXAMINATIONS:
        if name in ("tls", "proxy"):
            continue  # test_tls.py and test_proxy.py have theirs
        documented = set(re.findall(r"`([^`]+)`", rows[name]))
        assert _keys(seen[name].facts) <= documented, name
    assert set(judge(Emulation(seen.line.address)).facts) <= set(re.findall(r"`([^`]+)`", rows["emulation"]))


def _keys(facts: Any) -> set[str]:
    """Return the keys of facts and of the lists of facts in them."""
    found = set(facts)
    for name, value in facts.items():
        if name != "gateway says" and isinstance(value, list) and value and isinstance(value[0], dict):
            found |= set(value[0])
    return found


def test_the_facts_of_tls_and_of_proxies() -> None:
    import datetime as dt

    from isthmus.config.proxies import Way, parse_proxy
    from isthmus.doctor import proxy, tls
    from isthmus.security.certificate import Certificate

    now = dt.datetime.now(dt.UTC)
    shown = tls.Shown(Certificate("a", "b", (), now, now), "k", "f", False)
    asked = proxy.Asked("http://p:1", True)
    for name, finding in (
        ("tls", tls.judge(tls.Tls("gw", (shown,)), now)),
        ("proxy", proxy.judge(Way((parse_proxy("http://p:1"),)), [asked])),
    ):
        row = re.findall(rf"^\| `{name}` \| (.*) \|$", GUIDE.partition("| examination | facts |")[2], re.M)[0]
        assert _keys(finding.facts) == set(re.findall(r"`([^`]+)`", row)), name
