from __future__ import annotations

from pathlib import Path

import pytest
from tests.config.conftest import PROXY, Load, Problems, gateway
from tests.config.realms import FILE, TOKEN, echo, module, realm

from isthmus.config.realm import FileLogin, LdapLogin
from isthmus.config.toml import dumps
from isthmus.config.unsupported import VALUES

KAAZING = """\
<user-principal-class>com.kaazing.gateway.server.auth.config.parse.DefaultUserConfig</user-principal-class>
<user-principal-class>com.sun.security.auth.UserPrincipal</user-principal-class>
<description>Kaazing Demo</description>"""
HEADERS = """\
<http-header>X-One</http-header><http-header>X-Two</http-header>
<http-query-parameter>auth</http-query-parameter><http-cookie>sid</http-cookie>
<authorization-mode>challenge</authorization-mode>
<session-timeout>30 minutes</session-timeout><authorization-timeout>1800</authorization-timeout>"""
LDAP = """\
<userProvider>ldap://ldap-svr:389/ou=people,dc=example,dc=com</userProvider>
<userFilter><![CDATA[(&(userPrincipalName={USERNAME}@MYCOMPANY.NET)
  (objectClass=inetOrgPerson))]]></userFilter>
<authzIdentity>{EMPLOYEENUMBER}</authzIdentity><useSSL>false</useSSL><debug>true</debug>"""
SERVICE = """\
<realm-name>demo</realm-name>
<authorization-constraint><require-role>A</require-role><require-role>B, C</require-role>\
</authorization-constraint>
<authorization-constraint><require-valid-user/></authorization-constraint>"""


def test_kaazings_own_form(load_text: Load) -> None:
    text = gateway(
        echo(SERVICE), realm(FILE + module("ldap", LDAP, "optional"), "Application Basic", HEADERS, KAAZING)
    )
    loaded = load_text(text)
    (found,) = loaded.config.security.realms
    assert (found.name, found.description) == ("demo", "Kaazing Demo")
    assert len(found.user_principal_classes) == 2
    asked = found.authentication
    assert (asked.scheme, asked.mode, asked.session_timeout) == ("Application Basic", "challenge", 1800.0)
    assert (asked.headers, asked.query_parameters, asked.cookies) == (("X-One", "X-Two"), ("auth",), ("sid",))
    file, ldap = found.modules
    assert (file.type, file.success, file.options) == ("file", "required", FileLogin(file=Path("users")))
    assert isinstance(ldap.options, LdapLogin)
    assert ldap.success == "optional"
    assert ldap.options.user_filter == (
        "(&(userPrincipalName={USERNAME}@MYCOMPANY.NET) (objectClass=inetOrgPerson))"
    )
    assert not ldap.options.use_ssl
    (service,) = loaded.config.services
    assert service.realm_name == "demo"
    first, second = service.authorization
    assert first.require_roles == ("A", "B, C")
    assert second.require_valid_user
    written = dumps(loaded)
    assert load_text(written, "gateway.toml").config == loaded.config


def test_the_older_name_of_constraints(load_text: Load) -> None:
    old = SERVICE.replace("authorization-constraint", "auth-constraint")
    same = load_text(gateway(echo(old), realm())).config, load_text(gateway(echo(SERVICE), realm())).config
    assert same[0] == same[1]


@pytest.mark.parametrize(
    ("modules", "problem"),
    [
        ("", "there is no login-module"),
        (FILE.replace("<type>file</type>", ""), "<type> is missing"),
        (FILE.replace(">file</type>", ">fiel</type>"), "unknown login module 'fiel'"),
        (FILE.replace(">required<", ">needed<"), "'needed' is not one of the choices"),
        (FILE.replace("<success>required</success>", ""), "<success> is missing"),
        (FILE.replace("<file>users</file>", ""), "<file> is missing"),
        (FILE.replace("<options><file>users</file></options>", ""), "<file> is missing"),
        (
            FILE.replace("<file>", "<filename>").replace("</file>", "</filename>"),
            "'filename' is not known here",
        ),
        (module("ldap", "<userProvider>x</userProvider>"), "'x' is not where an LDAP server is"),
        (FILE.replace("</options>", "</options><more/>"), "'more' is not known here"),
    ],
)
def test_what_is_wrong_is_named_and_placed(problems_of: Problems, modules: str, problem: str) -> None:
    found = problems_of(gateway(PROXY, realm(modules)))
    assert any(problem in each and each.startswith("gateway.xml:3: <security/realm") for each in found), found


@pytest.mark.parametrize(("name", "reason"), VALUES["login-module type"].items())
def test_modules_that_are_refused(problems_of: Problems, name: str, reason: str) -> None:
    name = "class:com.example.Login" if name == "class:" else name
    (problem,) = problems_of(gateway(PROXY, realm(module(name, ""))))
    assert f"the login module {name} cannot be used: {reason}" in problem


@pytest.mark.parametrize(("name", "reason"), VALUES["http-challenge-scheme"].items())
def test_schemes_that_are_refused(problems_of: Problems, name: str, reason: str) -> None:
    (problem,) = problems_of(gateway(PROXY, realm(scheme=name)))
    assert f"{name} is refused: {reason}" in problem


@pytest.mark.parametrize(("name", "reason"), VALUES["authorization-mode"].items())
def test_modes_that_are_refused(problems_of: Problems, name: str, reason: str) -> None:
    mode = f"<authorization-mode>{name}</authorization-mode>"
    (problem,) = problems_of(gateway(PROXY, realm(authentication=mode)))
    assert f"{name} is refused: {reason}" in problem


def test_a_realm_without_authentication(problems_of: Problems) -> None:
    (problem,) = problems_of(gateway(PROXY, "<security><realm><name>demo</name></realm></security>"))
    assert "<authentication> is missing" in problem


def test_all_problems_are_told_at_once(problems_of: Problems) -> None:
    wrong = realm(module("fiel", "") + TOKEN.replace("<file>users</file>", ""), "Digest", name="a/b")
    assert len(problems_of(gateway(PROXY, wrong))) == 4
