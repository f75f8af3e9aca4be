from __future__ import annotations

from pathlib import Path

import pytest
from tests.config.conftest import gateway, proxy
from tests.config.realms import FILE, TOKEN, echo, module, realm
from tests.security.realms import HASHES, write

from isthmus.config import load
from isthmus.logins import examine

SERVICE = echo("<realm-name>demo</realm-name>")
CREDENTIALS = (
    "<connect-options><http.authorization.file>credentials</http.authorization.file></connect-options>"
)


def notes(folder: Path, *parts: str) -> list[str]:
    (folder / "gateway.xml").write_text(gateway(*parts))
    return [f"{note.level} {note.problem}" for note in examine(load(folder / "gateway.xml"))]


def test_what_can_be_used(tmp_path: Path) -> None:
    write(tmp_path / "users", f"joe:{HASHES['argon2']}")
    write(tmp_path / "credentials", "joe:welcome")
    client = proxy(CREDENTIALS, accept="tcp://localhost:7", connect="wss://localhost:2/")
    assert notes(tmp_path, SERVICE, client, realm()) == []


@pytest.mark.parametrize(
    ("modules", "scheme", "text", "said"),
    [
        (FILE, "Basic", "joe:s3cret", "users:1: its password is plain text"),
        (TOKEN, "Bearer", "abc", "users:1: a line begins with the SHA-256"),
        (
            module("jwt", "<jwks-file>users</jwks-file><issuer>i</issuer><audience>a</audience>"),
            "Bearer",
            "{}",
            "users: a key",
        ),
    ],
)
def test_what_cannot_is_told_with_its_place(
    tmp_path: Path, modules: str, scheme: str, text: str, said: str
) -> None:
    write(tmp_path / "users", text)
    found = notes(tmp_path, SERVICE, realm(modules, scheme))
    if "jwt" in modules:
        assert "has no key that can verify tokens" in found[0]
    else:
        assert said in found[0]
    assert found[0].startswith(f"ERROR {tmp_path / 'gateway.xml'}:3: <security/realm")
    assert "s3cret" not in found[0]


def test_credentials(tmp_path: Path) -> None:
    write(tmp_path / "credentials", "one\ntwo")
    (found,) = notes(tmp_path, proxy(CREDENTIALS, accept="tcp://localhost:7", connect="wss://localhost:2/"))
    assert "does not have one line" in found
    assert ":2: <service/connect-options/http.authorization.file>" in found


def test_what_is_not_there_is_told_by_others(tmp_path: Path) -> None:
    assert (
        notes(
            tmp_path,
            SERVICE,
            proxy(CREDENTIALS, accept="tcp://localhost:7", connect="wss://localhost:2/"),
            realm(),
        )
        == []
    )
