from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from tests.security.realms import write

from isthmus.config.realm import TokenLogin
from isthmus.errors import KeystoreError
from isthmus.security.login import Credentials, LoginFailed
from isthmus.security.login_token import TokenModule, parse

FILE = Path("tokens")


def row(token: str, *rest: str) -> str:
    return ":".join([hashlib.sha256(token.encode()).hexdigest(), *rest])


def module(tmp_path: Path, *rows: str, now: float = 0.0) -> TokenModule:
    write(tmp_path / "tokens", "\n".join(["# tokens", *rows]))
    return TokenModule(TokenLogin(file=FILE), tmp_path, clock=lambda: now)


def test_a_token_is_looked_up(tmp_path: Path) -> None:
    tokens = module(tmp_path, row("abc", "build-7", "A,B", "2027-01-31"), row("def", "joe"))
    found = tokens.login(Credentials(tokens=("abc",)))
    assert (found.subject, found.roles, found.expires) == ("build-7", frozenset({"A", "B"}), 1801353600.0)
    assert tokens.login(Credentials(tokens=("def",))).expires is None
    assert tokens.vouches("build-7", found.stamp)
    assert not tokens.vouches("build-7", "other")
    for credentials in (Credentials(tokens=("x",)), Credentials(), Credentials("joe", "def")):
        with pytest.raises(LoginFailed):
            tokens.login(credentials)


def test_a_token_expires(tmp_path: Path) -> None:
    entry = row("abc", "joe", "", "1970-01-02T01:00+01:00")
    assert module(tmp_path, entry, now=86399.0).login(Credentials(tokens=("abc",))).expires == 86400.0
    with pytest.raises(LoginFailed, match="expired"):
        module(tmp_path, entry, now=86400.0).login(Credentials(tokens=("abc",)))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("abc:joe", "tokens:1: a line begins with the SHA-256"),
        (row("abc"), "empty"),
        (row("abc", "joe", "", "soon"), "2027-01-31"),
        (f"{row('abc', 'joe')}\n{row('abc', 'ann')}", "tokens:2: the token is there twice"),
    ],
)
def test_a_wrong_line_is_named(text: str, why: str) -> None:
    with pytest.raises(KeystoreError, match=why):
        parse(text.encode(), FILE)


def test_other_files_are_refused() -> None:
    with pytest.raises(KeystoreError, match="UTF-8"):
        parse(b"\xff", FILE)
