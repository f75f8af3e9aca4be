"""The ldap login module against a real slapd."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.security.realms import write
from tests.system.certificates import Authority
from tests.system.requirements import Requirements
from tests.system.slapd import Slapd

from isthmus.config.realm import LdapLogin
from isthmus.errors import KeystoreError
from isthmus.security.login import Credentials, Entry, LoginFailed, LoginUnavailable
from isthmus.security.login_ldap import LdapModule, Provider

pytestmark = pytest.mark.system

BASE = "ou=people,dc=example,dc=com"
FILTER = "(uid={USERNAME})"
IDENTITY = "uid={USERNAME},ou=people,dc=example,dc=com"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def slapd(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory, authority: Authority
) -> Iterator[Slapd]:
    program = Requirements(pytestconfig).program("slapd")
    running = Slapd(program, tmp_path_factory.mktemp("slapd"), authority)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def closed(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory, authority: Authority
) -> Iterator[Slapd]:
    """A directory in which nobody without a password may look."""
    program = Requirements(pytestconfig).program("slapd")
    running = Slapd(program, tmp_path_factory.mktemp("closed"), authority, anonymous=False)
    yield running
    running.stop()


def module(slapd: Slapd, authority: Authority, *, tls: bool = True, **options: Any) -> LdapModule:
    url = f"ldaps://127.0.0.1:{slapd.tls_port}/{BASE}" if tls else f"ldap://127.0.0.1:{slapd.port}/{BASE}"
    given = {"userProvider": url, "ca-file": str(authority.truststore), **options}
    return LdapModule(LdapLogin.model_validate(given), Path())


def login(asked: LdapModule, user: str = "joe", password: str = "welcome") -> Entry:
    return asked.login(Credentials(user, password))


@pytest.mark.parametrize("tls", [True, False])
@pytest.mark.parametrize(
    "options",
    [
        {"userFilter": FILTER},
        {"authIdentity": IDENTITY},
        {"authIdentity": IDENTITY, "userFilter": FILTER},
        {"userFilter": " (& (uid={USERNAME}) (objectClass=inetOrgPerson) ) "},
    ],
)
def test_each_way(slapd: Slapd, authority: Authority, tls: bool, options: dict[str, Any]) -> None:
    """Over ldaps, and over ldap with StartTLS."""
    asked = module(slapd, authority, tls=tls, **options)
    entry = login(asked)
    assert (entry.subject, entry.roles) == ("joe", frozenset())
    assert asked.vouches("joe", entry.stamp)
    for user, password in (("joe", "wrong"), ("nobody", "welcome"), ("ann", "welcome"), ("joe", "")):
        with pytest.raises(LoginFailed):
            login(asked, user, password)


@pytest.mark.parametrize(
    ("options", "roles"),
    [
        ({"authzIdentity": "EVERYONE"}, {"EVERYONE"}),
        ({"authzIdentity": "{employeeType}"}, {"ENGINEER", "ON CALL"}),
        ({"authzIdentity": "{title}"}, set()),
        ({"role-base": "ou=groups,dc=example,dc=com"}, {"OPERATORS"}),
        ({"role-base": "ou=none,dc=example,dc=com"}, set()),
        (
            {
                "role-base": "ou=groups,dc=example,dc=com",
                "role-filter": "(&(objectClass=groupOfNames)(member={DN}))",
                "role-attribute": "objectClass",
                "authzIdentity": "{employeeType}",
            },
            {"groupOfNames", "ENGINEER", "ON CALL"},
        ),
    ],
)
@pytest.mark.parametrize("identity", [None, IDENTITY])
def test_roles(
    slapd: Slapd, authority: Authority, identity: str | None, options: dict[str, Any], roles: set[str]
) -> None:
    given: dict[str, Any] = {
        **options,
        "userFilter": FILTER,
        **({"authIdentity": identity} if identity else {}),
    }
    assert login(module(slapd, authority, **given)).roles == roles
    if "role-base" in options and "authzIdentity" not in options:
        assert login(module(slapd, authority, **given), "ann", "anns").roles == set()


@pytest.mark.parametrize(
    "user", ["*", "joe)(uid=*", "*)(|(uid=*", "joe,ou=people", "\\2a", "j\\6fe", "(", "joe*"]
)
@pytest.mark.parametrize("options", [{"userFilter": FILTER}, {"authIdentity": IDENTITY}])
def test_a_name_is_a_name_and_nothing_else(
    slapd: Slapd, authority: Authority, user: str, options: dict[str, Any]
) -> None:
    for password in ("welcome", "anns"):
        with pytest.raises(LoginFailed):
            login(module(slapd, authority, **options), user, password)


def test_a_filter_that_finds_several_finds_nobody(slapd: Slapd, authority: Authority) -> None:
    asked = module(slapd, authority, userFilter="(|(uid={USERNAME})(objectClass=inetOrgPerson))")
    with pytest.raises(LoginFailed, match="several"):
        login(asked)


def test_a_user_whose_entry_has_a_name_of_parts(slapd: Slapd, authority: Authority) -> None:
    assert login(module(slapd, authority, userFilter=FILTER), "a", "odd").subject == "a"


def test_who_looks_for_users_may_need_a_name(closed: Slapd, authority: Authority, tmp_path: Path) -> None:
    groups: dict[str, Any] = {"userFilter": FILTER, "role-base": "ou=groups,dc=example,dc=com"}
    with pytest.raises(LoginUnavailable, match="insufficientAccessRights"):
        login(module(closed, authority, **groups))
    file = write(tmp_path / "password", "s3cret-of-admin\n")
    bind: dict[str, Any] = {"bind-identity": "cn=admin,dc=example,dc=com", "bind-password-file": str(file)}
    assert login(module(closed, authority, **groups, **bind)).roles == {"OPERATORS"}
    write(file, "other")
    with pytest.raises(LoginUnavailable, match="bind-identity") as caught:
        login(module(closed, authority, **groups, **bind))
    assert "s3cret" not in str(caught.value)
    write(file, "")
    with pytest.raises(KeystoreError, match="empty"):
        module(closed, authority, **groups, **bind)


def test_the_server_has_to_be_believed(slapd: Slapd, authority: Authority, tmp_path: Path) -> None:
    stranger = Authority(tmp_path)
    for tls in (True, False):
        asked = module(slapd, stranger, tls=tls, userFilter=FILTER)
        with pytest.raises(LoginUnavailable):
            login(asked)
    named = f"ldaps://localhost.localdomain:{slapd.tls_port}/{BASE}"
    with pytest.raises(LoginUnavailable):
        login(module(slapd, authority, userFilter=FILTER, userProvider=named))
    wrong: dict[str, Any] = {"ca-file": str(write(tmp_path / "x", "x"))}
    with pytest.raises(KeystoreError, match="no certificates"):
        module(slapd, authority, userFilter=FILTER, **wrong)


def test_without_tls_where_it_is_asked_for(slapd: Slapd, authority: Authority) -> None:
    assert login(module(slapd, authority, tls=False, userFilter=FILTER, useSSL="false")).subject == "joe"


def test_the_next_server_is_asked(slapd: Slapd, authority: Authority) -> None:
    both = f"ldaps://127.0.0.1:1/{BASE} ldaps://127.0.0.1:{slapd.tls_port}/{BASE}"
    asked = module(slapd, authority, userFilter=FILTER, userProvider=both)
    assert login(asked).subject == "joe"
    with pytest.raises(LoginFailed):
        login(asked, "joe", "wrong")


def test_a_server_that_says_nothing(slapd: Slapd, authority: Authority) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"ldap://127.0.0.1:{silent.getsockname()[1]}/{BASE}"
        asked = module(slapd, authority, userFilter=FILTER, userProvider=url, timeout=0.3)
        with pytest.raises(LoginUnavailable, match="no LDAP server answers") as caught:
            login(asked)
    assert "welcome" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "provider"),
    [
        ("ldap://h", Provider("h", 389, False, "")),
        ("ldaps://h/ou=a,dc=b", Provider("h", 636, True, "ou=a,dc=b")),
        ("LDAP://h:1389/ou=a%20b?uid?sub", Provider("h", 1389, False, "ou=a b")),
        ("ldap://[::1]:389/", Provider("::1", 389, False, "")),
    ],
)
def test_urls(url: str, provider: Provider) -> None:
    assert Provider.parse(url) == provider


def test_other_credentials_are_not_asked_about(slapd: Slapd, authority: Authority) -> None:
    with pytest.raises(LoginFailed):
        module(slapd, authority, userFilter=FILTER).login(Credentials(tokens=("x",)))


def goes_on_to_stand(made: LdapModule, entry: Entry) -> bool:
    """Whether a directory that is asked again, some times, still vouches for an entry."""
    for _ in range(10):
        if not made.vouches(entry.subject, entry.stamp):
            return False
        time.sleep(0.1)
    return True


@pytest.mark.parametrize("name", ["pwdChangedTime", "pwdLastSet", "userAccountControl", "nsAccountLock"])
def test_a_password_that_was_changed_is_found_out(
    slapd: Slapd, authority: Authority, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """By what directories keep of it; this one keeps none of these, so they are added to its answers."""
    state, asked = ["20260101000000Z"], LdapModule._find

    def found(self: LdapModule, connection: Any, provider: Provider, user: str) -> Any:
        entry = asked(self, connection, provider, user)
        return {**entry, "attributes": {**entry["attributes"], name: list(state)}}

    monkeypatch.setattr(LdapModule, "_find", found)
    made = module(slapd, authority, userFilter=FILTER, recheck="50 ms")
    joe = login(made)
    assert goes_on_to_stand(made, joe)
    state[0] = "20260101000001Z"
    assert not goes_on_to_stand(made, joe)


def test_who_was_removed_or_changed_is_found_out(
    pytestconfig: pytest.Config, tmp_path: Path, authority: Authority
) -> None:
    """A directory of its own, as it is changed."""
    running = Slapd(Requirements(pytestconfig).program("slapd"), tmp_path, authority)
    try:
        groups: dict[str, Any] = {"role-base": "ou=groups,dc=example,dc=com"}
        made = module(running, authority, userFilter=FILTER, recheck="50 ms", **groups)
        joe, ann = login(made), login(made, "ann", "anns")
        assert joe.stamp
        assert joe.stamp != ann.stamp

        def stands(entry: Entry) -> bool:
            return goes_on_to_stand(made, entry)

        assert stands(joe)
        running.delete("cn=OPERATORS,ou=groups,dc=example,dc=com")
        assert not stands(joe), "his roles are others now"
        assert stands(ann)
        again = login(made)
        assert again.roles == frozenset()
        assert stands(again)
        running.delete("uid=joe,ou=people,dc=example,dc=com")
        assert not stands(again)
        running.stop()
        assert stands(ann), "a directory that is away ends nothing"
    finally:
        running.stop()


def test_who_is_found_by_the_users_own_bind_is_not_asked_about(slapd: Slapd, authority: Authority) -> None:
    made = module(slapd, authority, authIdentity=IDENTITY, userFilter=FILTER)
    assert login(made).stamp == ""
