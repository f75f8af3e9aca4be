"""What the answers of several login modules mean together: JAAS's table, and what it says by itself."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest
from tests.security.realms import Module, realm, write

from isthmus.config import realm as model
from isthmus.errors import KeystoreError
from isthmus.identity import Identity
from isthmus.security.login import Credentials, Entry, LoginFailed, LoginUnavailable
from isthmus.security.realm import MODULES, Realm

JOE = Credentials("joe", "x")
FLAGS = ("required", "requisite", "sufficient", "optional")
MODULE = ("token", "required", {"file": "x"})


def made(*modules: tuple[str, Module], now: float = 1000.0, asked: dict[str, Any] | None = None) -> Realm:
    config = realm(
        *(("token", success, {"file": "x"}) for success, _ in modules), scheme="Bearer", asked=asked
    )
    return Realm(config, Path(), modules=[module for _, module in modules], clock=lambda: now)


def jaas(flags: tuple[str, ...], succeeds: tuple[bool, ...]) -> bool:
    """Whether the whole succeeds, in the words of `javax.security.auth.login.Configuration`."""
    reached: list[tuple[str, bool]] = []
    for flag, success in zip(flags, succeeds, strict=True):
        reached.append((flag, success))
        if (flag == "requisite" and not success) or (flag == "sufficient" and success):
            break
    needed = [success for flag, success in reached if flag in ("required", "requisite")]
    others = [success for flag, success in reached if flag in ("sufficient", "optional")]
    return all(needed) if needed else any(others)


def test_success_is_as_in_jaas() -> None:
    """Every combination of three modules."""
    for flags in product(FLAGS, repeat=3):
        for succeeds in product((True, False), repeat=3):
            modules = [
                (flag, Module(Entry("joe") if success else None))
                for flag, success in zip(flags, succeeds, strict=True)
            ]
            try:
                made(*modules).login(JOE)
                outcome = True
            except LoginFailed:
                outcome = False
            assert outcome == jaas(flags, succeeds), (flags, succeeds)
            asked = [bool(module.asked) for _, module in modules]
            assert asked == sorted(asked, reverse=True), "modules are asked in order"


def test_what_is_asked_after_an_end() -> None:
    for flag, answer, more in (
        ("requisite", None, False),
        ("requisite", Entry("joe"), True),
        ("sufficient", Entry("joe"), False),
        ("sufficient", None, True),
        ("required", None, True),
        ("optional", None, True),
    ):
        second = Module(Entry("joe"))
        try:
            made((flag, Module(answer)), ("optional", second)).login(JOE)
        except LoginFailed:
            pass
        assert bool(second.asked) == more, flag


def test_the_first_names_the_user_and_all_give_roles() -> None:
    identity = made(
        ("required", Module(Entry("joe", frozenset({"A"}), 2000.0, "s"))),
        ("optional", Module()),
        ("required", Module(Entry("cn=joe", frozenset({"B"}), 1500.0))),
    ).login(JOE)
    assert identity == Identity("demo", "joe", frozenset({"A", "B"}), 1500.0, ((0, "s"),))


def test_a_session_has_an_end() -> None:
    module = ("required", Module(Entry("joe", expires=1100.0)))
    assert made(module).login(JOE).expires == 1100.0
    assert made(module, asked={"session-timeout": "50 s"}).login(JOE).expires == 1050.0
    assert (
        made(module, asked={"session-timeout": "50 s", "authorization-timeout": 20}).login(JOE).expires
        == 1020.0
    )
    assert made(("required", Module(Entry("joe")))).login(JOE).expires is None


def test_what_cannot_be_found_out_is_told_apart_from_a_failure() -> None:
    away = Module(LoginUnavailable("the directory is away"))
    with pytest.raises(LoginUnavailable, match="is away"):
        made(("required", away)).login(JOE)
    with pytest.raises(LoginUnavailable):
        made(("required", Module(Entry("joe"))), ("required", away)).login(JOE)
    with pytest.raises(LoginUnavailable):
        made(("sufficient", away), ("sufficient", Module())).login(JOE)
    assert made(("optional", away), ("sufficient", Module(Entry("joe")))).login(JOE).subject == "joe"


def test_who_is_vouched_for() -> None:
    module = Module(Entry("joe", stamp="s"))
    found = made(("required", module)).login(JOE)
    assert made(("required", module)).vouches(found)
    expiring = Identity("demo", "joe", expires=1000.0)
    assert not made(("required", module)).vouches(expiring)
    assert made(("required", module), now=999.0).vouches(expiring)
    assert not made(("required", module)).vouches(Identity("other", "joe"))
    module.vouching = False
    assert not made(("required", module)).vouches(found)
    assert made(("required", module)).vouches(Identity("demo", "joe")), "nobody vouched for what has no stamp"


def test_a_realm_is_quick_where_all_its_modules_are() -> None:
    assert made(("required", Module()), ("required", Module())).quick
    assert not made(("required", Module()), ("required", Module(quick=False))).quick


def test_the_table_makes_each_module(tmp_path: Path) -> None:
    assert MODULES.keys() == model.OPTIONS.keys()
    write(tmp_path / "tokens", "")
    assert Realm(realm(("token", "required", {"file": "tokens"}), scheme="Bearer"), tmp_path).quick
    with pytest.raises(KeystoreError, match="cannot be read"):
        Realm(realm(("token", "required", {"file": "none"}), scheme="Bearer"), tmp_path)
