from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from isthmus.config.realm import (
    OPTIONS,
    PASSWORD_MODULES,
    TOKEN_MODULES,
    Authentication,
    AuthorizationConstraint,
    JwtLogin,
    LdapLogin,
    Realm,
)

LDAP = {"userProvider": "ldap://h/x"}
JWT = {"issuer": "i", "audience": "a"}


@pytest.mark.parametrize("name", ["demo", "My Realm", "ü", "a" * 100])
def test_names_of_realms(name: str) -> None:
    authentication = Authentication.model_validate({"http-challenge-scheme": "Basic"})
    assert Realm(name=name, authentication=authentication).name == name


@pytest.mark.parametrize("name", ["", "a/b", 'a"b', " a", "a\nb", "a" * 101])
def test_no_names_of_realms(name: str) -> None:
    authentication = Authentication.model_validate({"http-challenge-scheme": "Basic"})
    with pytest.raises(ValidationError):
        Realm(name=name, authentication=authentication)


@pytest.mark.parametrize(
    ("option", "value", "right"),
    [
        ("userProvider", "ldaps://h:636/ou=a,dc=b ldap://i", True),
        ("userProvider", "http://h/", False),
        ("userProvider", "", False),
        ("userProvider", 5, False),
        ("userFilter", "(uid={USERNAME})", True),
        ("userFilter", "(uid=joe)", False),
        ("authIdentity", "{USERNAME}@example.com", True),
        ("authIdentity", "cn=admin", False),
        ("timeout", "61 s", False),
        ("timeout", 0, False),
        ("nonsense", "x", False),
    ],
)
def test_ldap(option: str, value: Any, right: bool) -> None:
    valid = True
    try:
        LdapLogin.model_validate({**LDAP, option: value})
    except ValidationError:
        valid = False
    assert valid == right


@pytest.mark.parametrize(
    ("url", "right"),
    [
        ("https://issuer.example.com/keys", True),
        ("http://127.0.0.1:8080/keys", True),
        ("http://localhost/keys", True),
        ("http://localhost.evil.com/keys", False),
        ("http://127.0.0.1.evil.com/", False),
        ("http://issuer/keys", False),
        ("file:///etc/passwd", False),
        ("https://issuer", False),
    ],
)
def test_where_keys_may_come_from(url: str, right: bool) -> None:
    valid = True
    try:
        JwtLogin.model_validate({**JWT, "jwks-url": url})
    except ValidationError:
        valid = False
    assert valid == right


def test_a_header_is_a_header() -> None:
    for name in ("http-header", "http-cookie"):
        with pytest.raises(ValidationError):
            Authentication.model_validate({"http-challenge-scheme": "Bearer", name: "a b"})


def test_constraints_say_what_they_ask_for() -> None:
    constraint = AuthorizationConstraint.model_validate(
        {"require-role": ["A", "B C"], "require-user": ["joe", "ann"]}
    )
    assert str(constraint) == "role A, role B C, user joe or ann"
    assert str(AuthorizationConstraint()) == "any valid user"


def test_every_module_is_of_one_kind() -> None:
    assert PASSWORD_MODULES | TOKEN_MODULES | {"certificate"} == OPTIONS.keys()
    assert not PASSWORD_MODULES & TOKEN_MODULES
