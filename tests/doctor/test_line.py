"""How the gateway is reached, as `isthmus proxy` would."""

from __future__ import annotations

from pathlib import Path

import pytest

from isthmus.config.model import ConnectOptions, Keystore, Security
from isthmus.doctor.line import Line, check_pin
from isthmus.errors import IsthmusError, KeystoreError
from isthmus.uri import parse

ADDRESS = parse("wss://gw.example.com/x")


@pytest.mark.parametrize(
    ("options", "security"),
    [
        ({"authorization_file": Path("missing")}, Security()),
        ({"proxy_credentials_file": Path("missing")}, Security()),
        ({}, Security(truststore=Keystore(file=Path("missing")))),
    ],
)
def test_files_are_read_at_once(options: dict[str, object], security: Security, tmp_path: Path) -> None:
    with pytest.raises(IsthmusError, match="missing"):
        Line(ADDRESS, ConnectOptions(**options), security, tmp_path, {})


def test_the_environment_counts() -> None:
    line = Line(ADDRESS, ConnectOptions(), Security(), Path(), {"HTTPS_PROXY": "http://proxy:3128"})
    assert str(line.way) == "through http://proxy:3128 (HTTPS_PROXY)"


async def test_who_is_not_trusted_is_shown_nothing(tmp_path: Path) -> None:
    (tmp_path / "who").write_text("secret")
    line = Line(ADDRESS, ConnectOptions(authorization_file=Path("who")), Security(), tmp_path, {})
    assert b"secret" in line.door().handshake(ADDRESS, (), ()).request()
    line.trusted = False
    assert b"secret" not in line.door().handshake(ADDRESS, (), ()).request()


def test_pins() -> None:
    assert check_pin("sha256:" + "AB:" * 31 + "AB") == "ab" * 32
    for wrong in ("", "ab", "x" * 64):
        with pytest.raises(KeystoreError):
            check_pin(wrong)
