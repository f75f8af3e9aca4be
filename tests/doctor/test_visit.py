"""One visit, from the command line."""

from __future__ import annotations

import json

import pytest
from tests.system.process import free_port
from typer.testing import CliRunner

from isthmus import cli

pytestmark = pytest.mark.usefixtures("restored_logging")


def doctor(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli.app, ["doctor", *arguments])
    return result.exit_code, result.output


def test_a_visit() -> None:
    uri = f"ws://127.0.0.1:{free_port()}/x"
    code, text = doctor(uri)
    assert code == 4
    assert "FAIL  routes" in text
    code, text = doctor(uri, "--json", "--accept", "tcp://127.0.0.1:4711")
    told = json.loads(text)
    assert code == told["code"] == 4
    assert "tcp://127.0.0.1:4711" in told["recommendation"]["command"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["tcp://127.0.0.1:1"], "is not the address of a WebSocket"),
        (["wss://gw/x", "--pin", "12"], "--pin is not the SHA-256 of a public key"),
        (["ws://gw/x", "--pin", "0" * 64], "ws has none"),
        (["wss://gw/x", "--proxy", "ftp://x"], "is no kind of proxy"),
        (["ws://gw/x", "--credentials", "nowhere"], "http.authorization"),
        (["wss://gw/x", "--truststore", "nowhere"], "nowhere"),
        (["nonsense"], "is not a URI"),
    ],
)
def test_a_bad_command_line(arguments: list[str], words: str, capfd: pytest.CaptureFixture[str]) -> None:
    code, text = doctor(*arguments)
    assert code == 2
    assert words in text + capfd.readouterr().err
