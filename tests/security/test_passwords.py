from __future__ import annotations

import importlib

import pytest
from tests.security.realms import HASHES

from isthmus.errors import ConfigurationError, KeystoreError
from isthmus.security import passwords


@pytest.mark.parametrize("kind", HASHES)
def test_each_kind_knows_its_password(kind: str) -> None:
    assert passwords.verify(HASHES[kind], "welcome")
    for wrong in ("", "welcom", "Welcome", "welcome ", "x" * 4000, "w\0"):
        assert not passwords.verify(HASHES[kind], wrong)


def test_an_entry_that_is_made_fits() -> None:
    made = passwords.make("wëlcome")
    assert passwords.kind_of(made) == "argon2"
    assert passwords.verify(made, "wëlcome")
    assert not passwords.verify(made, "welcome")
    assert passwords.make("wëlcome") != made, "each has a salt of its own"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("welcome", "plain text"),
        ("", "plain text"),
        ("rl0uE6SiGoAgc", "old Unix"),
        ("{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", "without a salt"),
        ("$1$abcdefgh$G9cqtyXiXMrFWpT0kFvnB/", "not known"),
        ("$2y$04$short", "damaged"),
        ("$argon2id$v=19$m=2000000,t=1,p=1$c29tZXNhbHQ$abc", "more than 1 GiB"),
        ("$argon2id$v=19$m=8,t=1000,p=1$c29tZXNhbHQ$abc", "64 passes"),
    ],
)
def test_what_is_no_hash_or_a_weak_one_is_refused(text: str, why: str) -> None:
    with pytest.raises(KeystoreError, match=why) as caught:
        passwords.kind_of(text)
    assert "isthmus password" in caught.value.hint or "argon2" in text
    assert len(text) < 7 or text not in str(caught.value)


def test_a_damaged_entry_is_not_an_answer() -> None:
    with pytest.raises(KeystoreError, match="damaged"):
        passwords.verify("$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$!", "welcome")


def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    for kind in ("argon2", "bcrypt", "apr1", "sha-crypt"):
        with pytest.raises(ConfigurationError, match="is not installed") as caught:
            passwords.need(kind)
        assert "isthmus[login]" in caught.value.hint
