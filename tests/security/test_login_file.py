from __future__ import annotations

from pathlib import Path

import pytest
from tests.security.realms import HASHES, write

from isthmus.config.realm import FileLogin
from isthmus.security import followed, passwords
from isthmus.security.login import Credentials, LoginFailed, LoginUnavailable
from isthmus.security.login_file import FileModule


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FileModule:
    monkeypatch.setattr(followed, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(
        followed.Followed.__init__,
        "__kwdefaults__",
        {**(followed.Followed.__init__.__kwdefaults__ or {}), "look": 0.0},
    )
    write(tmp_path / "users", f"joe:{HASHES['argon2']}:A\nann:{HASHES['bcrypt']}\n")
    return FileModule(FileLogin(file=Path("users")), tmp_path)


def test_a_right_password(module: FileModule) -> None:
    entry = module.login(Credentials("joe", "welcome"))
    assert (entry.subject, entry.roles, entry.expires) == ("joe", frozenset({"A"}), None)
    assert module.vouches("joe", entry.stamp)
    assert not module.vouches("ann", entry.stamp)


@pytest.mark.parametrize(
    "credentials", [Credentials("joe", "x"), Credentials("nobody", "welcome"), Credentials(tokens=("x",))]
)
def test_a_wrong_one(module: FileModule, credentials: Credentials) -> None:
    with pytest.raises(LoginFailed):
        module.login(credentials)


def test_an_unknown_user_is_as_much_work_as_a_known_one(
    module: FileModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    work: list[str] = []
    real = passwords.verify

    def verify(hashed: str, password: str) -> bool:
        work.append(passwords.kind_of(hashed))
        return real(hashed, password)

    monkeypatch.setattr(passwords, "verify", verify)
    for name in ("joe", "nobody"):
        with pytest.raises(LoginFailed):
            module.login(Credentials(name, "x"))
    assert work == ["argon2", "argon2"]


def test_nobody_gets_in_with_the_password_of_whom_unknown_users_are_checked_by(module: FileModule) -> None:
    with pytest.raises(LoginFailed):
        module.login(Credentials("nobody", "welcome"))


def test_who_vanishes_or_changes_is_vouched_for_no_more(module: FileModule, tmp_path: Path) -> None:
    stamps = {name: module.login(Credentials(name, "welcome")).stamp for name in ("joe", "ann")}
    write(tmp_path / "users", f"ann:{HASHES['bcrypt']}:NEW-ROLE\n")
    assert not module.vouches("joe", stamps["joe"])
    assert not module.vouches("ann", stamps["ann"])
    assert module.vouches("ann", module.login(Credentials("ann", "welcome")).stamp)


def test_a_damaged_entry_is_no_failure_of_the_user(module: FileModule, tmp_path: Path) -> None:
    write(tmp_path / "users", "joe:$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$!")
    with pytest.raises(LoginUnavailable, match="damaged"):
        module.login(Credentials("joe", "welcome"))
