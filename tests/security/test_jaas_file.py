from __future__ import annotations

from pathlib import Path

import pytest
from tests.security.realms import HASHES

from isthmus.errors import KeystoreError
from isthmus.security.password_file import parse

FILE = Path("jaas-config.xml")
CENTURION = "http://xmlns.kaazing.com/jaas-config/centurion"


def jaas(*elements: str, namespace: str = CENTURION) -> bytes:
    return "\n".join([f'<jaas-config xmlns="{namespace}">', *elements, "</jaas-config>"]).encode()


def user(name: str, password: str, *roles: str) -> str:
    rest = "".join(f"<role-name>{role}</role-name>" for role in roles)
    return f"<user><name>{name}</name><password>{password}</password>{rest}</user>"


def role(name: str, *others: str) -> str:
    rest = "".join(f"<role-name>{other}</role-name>" for other in others)
    return f"<role><name>{name}</name><description>d</description>{rest}</role>"


def test_kaazings_own(caplog: pytest.LogCaptureFixture) -> None:
    users = parse(
        jaas(
            user("joe", "welcome", "AUTHORIZED"),
            user("admin", "admin", "ADMINISTRATOR"),
            role("ADMINISTRATOR"),
            role("AUTHORIZED"),
        ),
        FILE,
    ).by_name
    assert {name: each.roles for name, each in users.items()} == {
        "joe": {"AUTHORIZED"},
        "admin": {"ADMINISTRATOR"},
    }
    assert users["joe"].fits("welcome")
    assert not users["joe"].fits("welcome ")
    assert "2 passwords in plain text" in caplog.text
    assert "welcome" not in caplog.text


def test_roles_bring_roles_even_in_a_circle() -> None:
    users = parse(jaas(user("joe", "x", "A"), role("A", "B"), role("B", "C"), role("C", "A")), FILE).by_name
    assert users["joe"].roles == {"A", "B", "C"}


def test_a_hash_may_stand_in_the_place_of_a_password(caplog: pytest.LogCaptureFixture) -> None:
    users = parse(jaas(user("joe", HASHES["argon2"])), FILE)
    assert users.by_name["joe"].fits("welcome")
    assert not users.by_name["joe"].fits(HASHES["argon2"])
    assert users.nobody is not None
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"<jaas-config><user></jaas-config>", ":1: it is not well-formed"),
        (b"<!DOCTYPE a><jaas-config/>", "DOCTYPE"),
        (b"<other/>", "no jaas-config"),
        (jaas("<what/>"), ":2: <what> is not known"),
        (jaas("", user("joe", "secret", "NONE")), ":3: the user joe has the role NONE, which is not defined"),
        (jaas(user("joe", "a"), user("joe", "b")), ":3: the user joe is there twice"),
        (jaas("<user><name>joe</name></user>"), ":2: <user> has one <password>"),
        (jaas("<role/>"), ":2: <role> has one <name>"),
    ],
)
def test_what_is_wrong_is_named(data: bytes, why: str) -> None:
    with pytest.raises(KeystoreError, match=why) as caught:
        parse(data, FILE)
    assert "secret" not in str(caught.value)
