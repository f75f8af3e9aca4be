from __future__ import annotations

import stat
from pathlib import Path

import pytest
from tests.security.realms import HASHES

from isthmus.errors import KeystoreError
from isthmus.security import password_file
from isthmus.security.password_file import User, parse, set_password

FILE = Path("users")


def lines(*rows: str) -> bytes:
    return "\n".join(rows).encode()


def test_users_with_hashes_and_roles() -> None:
    users = parse(
        lines(
            "# people", "", f"joe:{HASHES['argon2']}:A,B C", f"ann:{HASHES['bcrypt']}", f"x:{HASHES['apr1']}:"
        ),
        FILE,
    )
    assert {name: user.roles for name, user in users.by_name.items()} == {
        "joe": {"A", "B", "C"},
        "ann": set(),
        "x": set(),
    }
    assert all(user.fits("welcome") and not user.fits("x") for user in users.by_name.values())
    assert users.nobody is not None
    assert users.nobody.secret == HASHES["argon2"], "an unknown user costs what a known one does"


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("joe", "a line is user:hash"),
        ("joe:welcome", "plain text"),
        (":x", "empty"),
        ("joe:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", "without a salt"),
        ("x" * 5000, "too long"),
    ],
)
def test_a_wrong_line_is_named_and_not_quoted(row: str, why: str) -> None:
    with pytest.raises(KeystoreError, match=rf"users:2: .*{why}") as caught:
        parse(lines("#", row), FILE)
    assert "welcome" not in str(caught.value)


def test_a_user_is_there_once() -> None:
    with pytest.raises(KeystoreError, match="users:2: the user joe is there twice"):
        parse(lines(*[f"joe:{HASHES['argon2']}"] * 2), FILE)


def test_other_files_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeystoreError, match="not UTF-8"):
        parse(b"\xff", FILE)
    monkeypatch.setattr(password_file, "MAXIMUM_USERS", 1)
    with pytest.raises(KeystoreError, match="more than 1 users"):
        parse(lines(f"a:{HASHES['argon2']}", f"b:{HASHES['argon2']}"), FILE)


def test_a_stamp_changes_with_the_entry_and_says_nothing() -> None:
    joe = User("joe", "secret", frozenset({"A"}))
    others = [
        User("joe", "other", frozenset({"A"})),
        User("joe", "secret", frozenset({"B"})),
        User("ann", "secret", frozenset({"A"})),
    ]
    assert joe.stamp == User("joe", "secret", frozenset({"A"})).stamp
    assert joe.stamp not in {other.stamp for other in others}
    assert "secret" not in repr(joe)


def test_a_password_is_set_and_set_again(tmp_path: Path) -> None:
    path = tmp_path / "users"
    assert set_password(path, "joe", "one", ("A", "B"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_text(f"# kept\n{path.read_text()}", encoding="utf-8")
    path.chmod(0o640)
    assert set_password(path, "ann", "two")
    assert not set_password(path, "joe", "three"), "roles stay"
    users = parse(path.read_bytes(), path).by_name
    assert users["joe"].roles == {"A", "B"}
    assert users["joe"].fits("three")
    assert not users["joe"].fits("one")
    assert users["ann"].fits("two")
    assert path.read_text().startswith("# kept\njoe:")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [each.name for each in tmp_path.iterdir()] == ["users"]
    assert not set_password(path, "joe", "four", ("C",))
    assert parse(path.read_bytes(), path).by_name["joe"].roles == {"C"}


@pytest.mark.parametrize("user", ["", "a:b", "#a", " a", "a\nb"])
def test_a_name_that_cannot_be(tmp_path: Path, user: str) -> None:
    with pytest.raises(KeystoreError):
        set_password(tmp_path / "users", user, "x")
    with pytest.raises(KeystoreError, match="role"):
        set_password(tmp_path / "users", "joe", "x", ("a b",))
    assert not (tmp_path / "users").exists()


def test_xml_and_folders_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "jaas-config.xml").write_text("<jaas-config/>")
    with pytest.raises(KeystoreError, match="is XML"):
        set_password(tmp_path / "jaas-config.xml", "joe", "x")
    with pytest.raises(KeystoreError, match="cannot be written"):
        set_password(tmp_path / "none" / "users", "joe", "x")
    with pytest.raises(KeystoreError, match="cannot be read"):
        set_password(tmp_path, "joe", "x")
