"""What follows from the findings: each command is one, each file loads and passes `isthmus check`."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from isthmus import cli, gateway
from isthmus.config import load
from isthmus.config.model import ConnectOptions, GatewayConfig, Keystore, Security
from isthmus.config.proxies import parse_proxies
from isthmus.doctor.finding import Finding, Verdict
from isthmus.doctor.line import Line
from isthmus.doctor.recommendation import (
    CREDENTIALS,
    PROXY_CREDENTIALS,
    REACHABLE,
    TRUSTSTORE,
    UNREACHABLE,
    WARNED,
    Needs,
    recommend,
)
from isthmus.uri import parse

pytestmark = pytest.mark.usefixtures("restored_logging")

ACCEPT = parse("tcp://127.0.0.1:2222")
GATEWAY = "wss://gw.example.com/ssh"


def line_to(folder: Path, uri: str = GATEWAY, **more: object) -> Line:
    environment = more.pop("environment", {})
    security = more.pop("security", Security())
    options = ConnectOptions(**more)
    return Line(parse(uri), options, security, folder, environment)  # type: ignore[arg-type]


LINES: list[dict[str, object]] = [
    {},
    {"uri": "ws://gw.example.com:8080/ssh"},
    {"uri": "wss://gw.example.com/ssh?token=x"},
    {"tcp_transport": parse_proxies(["http://proxy:3128", "socks://other:1080"])},
    {"environment": {"HTTPS_PROXY": "http://alice:sesame@proxy:3128"}},
    {"environment": {"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "gw.example.com"}},
    {"verify_server": "none", "connect_timeout": 5.0},
    {"span_seal_pins": ("sha256/pWx7BWk7ZXjAmJ1eGnvZZJ0hQmDNmlIa3cyLFHsaTQE=",)},
]
NEEDS = [
    Needs(),
    Needs(proxy_credentials=True, authority=True, credentials=True),
    Needs(inactivity=60.0),
    Needs(ping_deadline=4.0),
    Needs(fallback="streaming"),
]


@pytest.mark.parametrize("needs", NEEDS, ids=range(len(NEEDS)))
@pytest.mark.parametrize("given", LINES, ids=range(len(LINES)))
def test_what_is_recommended_can_be_started(
    given: dict[str, object], needs: Needs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = line_to(tmp_path, **given)  # type: ignore[arg-type]
    if needs.credentials and not line.address.kind.secure:
        return  # never asked for
    made = recommend(line, ACCEPT, [], needs)
    assert "sesame" not in made.command + made.toml
    monkeypatch.chdir(tmp_path)
    _write_files(tmp_path)
    file = tmp_path / "gateway.toml"
    file.write_text(made.toml)
    checked = CliRunner().invoke(cli.app, ["check", str(file)])
    assert checked.exit_code == 0, checked.output
    (service,) = load(file).config.services
    assert service.connects == (replace(line.address, query=""),)
    assert bool(line.address.query) == ("left out here" in made.words[-1])
    options = service.connect_options
    assert options.websocket_inactivity_timeout == needs.inactivity
    assert options.fallback == (needs.fallback or "auto")
    assert any("ws.fallback streaming" in each for each in made.words) == bool(needs.fallback)
    started: list[GatewayConfig] = []

    def run(config: GatewayConfig, **_: object) -> int:
        started.append(config)
        return 0

    monkeypatch.setattr(gateway, "run", run)
    result = CliRunner().invoke(cli.app, shlex.split(made.command)[1:])
    assert result.exit_code == 0, result.output
    (same,) = started[0].services
    assert same.connects == service.connects
    proxies = same.connect_options.tcp_transport or same.connect_options.http_transport
    assert proxies == (options.tcp_transport or options.http_transport)
    same_in_both = ("verify_server", "proxy_credentials_file", "authorization_file", "connect_timeout")
    for name in (*same_in_both, "span_seal_pins"):
        assert getattr(same.connect_options, name) == getattr(options, name), name


def _write_files(folder: Path) -> None:
    import trustme

    (folder / PROXY_CREDENTIALS).write_text("machine proxy login alice password sesame\n")
    (folder / CREDENTIALS).write_text("token\n")
    for file in (PROXY_CREDENTIALS, CREDENTIALS):
        (folder / file).chmod(0o600)
    trustme.CA().cert_pem.write_to_path(str(folder / TRUSTSTORE))


def test_what_was_given_stays(tmp_path: Path) -> None:
    import trustme

    ca = trustme.CA()
    for name in ("trusted.pem", "own.pem"):
        ca.cert_pem.write_to_path(str(tmp_path / name))
    ca.issue_cert("me").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "own.pem"))
    (tmp_path / "who").write_text("token")
    security = Security(
        truststore=Keystore(file=Path("trusted.pem")), keystore=Keystore(file=Path("own.pem"))
    )
    line = line_to(tmp_path, security=security, authorization_file=Path("who"))
    made = recommend(line, ACCEPT, [], Needs(authority=True))
    assert made.command == (
        "isthmus proxy tcp://127.0.0.1:2222 wss://gw.example.com/ssh "
        "--truststore trusted.pem --keystore own.pem --credentials who"
    )
    assert 'file = "trusted.pem"' in made.toml


@pytest.mark.parametrize(
    ("verdicts", "code", "words"),
    [
        ([Verdict.OK, Verdict.NOTE, Verdict.LEFT_OUT], REACHABLE, "Reachable as it is."),
        ([Verdict.OK, Verdict.WARNING], WARNED, "Reachable; look at e1 above."),
        ([Verdict.WARNING, Verdict.FAILED], UNREACHABLE, "Not reachable as is (e1)."),
    ],
)
def test_verdict(verdicts: list[Verdict], code: int, words: str, tmp_path: Path) -> None:
    findings = [Finding(f"e{place}", verdict, "", "do") for place, verdict in enumerate(verdicts)]
    made = recommend(line_to(tmp_path), ACCEPT, findings, Needs())
    assert made.code == code
    assert made.words[0] == words
