from __future__ import annotations

import pytest
from tests.config.conftest import PROXY, Load, Problems, gateway, proxy
from tests.config.realms import FILE, TOKEN, echo, module, realm

NAMED = "<realm-name>demo</realm-name>"
ROLE = "<authorization-constraint><require-role>A</require-role></authorization-constraint>"
LDAP = "<userProvider>ldap://h/x</userProvider>"
FOUND = "<userFilter>(uid={USERNAME})</userFilter>"
JWT = "<issuer>i</issuer><audience>a</audience>"
CERTIFICATE = module("certificate", "")
VERIFY = "<accept-options><ssl.verify-client>required</ssl.verify-client></accept-options>"
OPTIONAL = VERIFY.replace("required", "optional")
CREDENTIALS = "<connect-options><http.authorization.file>token</http.authorization.file>{}</connect-options>"
ALLOWED = "<http.authorization.insecure>allowed</http.authorization.insecure>"


@pytest.mark.parametrize(
    ("service", "security", "problem"),
    [
        (echo(ROLE), realm(), "<service/authorization-constraint>: nobody says who the clients are"),
        (echo("<realm-name>dmeo</realm-name>"), realm(), "<service/realm-name>: there is no realm 'dmeo'"),
        (echo(NAMED), "", "there is no realm 'demo'"),
        (echo(NAMED, accept="tcp://localhost:1"), realm(), "cannot ask its clients who they are"),
        (echo(NAMED, accept="ssl://localhost:1"), realm(), "cannot ask its clients who they are"),
        (
            echo(NAMED, VERIFY, accept="ssl://localhost:1"),
            realm(),
            "allowed: ws, wss, http or https; ssl with a realm that asks for certificates only",
        ),
        (
            echo(NAMED, accept="ssl://localhost:1"),
            realm(CERTIFICATE, "Certificate"),
            "asks for no certificate, and the realm demo needs one",
        ),
        (
            proxy(
                CREDENTIALS.format("<http.headers>X-A: b||authorization: Bearer c</http.headers>"),
                connect="wss://localhost:2/",
            ),
            realm(),
            "http.headers has an Authorization, and http.authorization.file another",
        ),
        (echo(NAMED), realm(scheme="Bearer"), "a file module needs a password, and Bearer asks for none"),
        (echo(NAMED), realm(TOKEN), "a token module needs a token, and Basic asks for none"),
        (
            echo(NAMED),
            realm(module("ldap", LDAP)),
            "an ldap module does not know how to find a user",
        ),
        (
            echo(NAMED),
            realm(module("ldap", LDAP + FOUND + "<bind-identity>cn=a</bind-identity>")),
            "bind-identity and bind-password-file belong together",
        ),
        (echo(NAMED), realm(module("jwt", JWT), "Bearer"), "needs the keys of those who sign"),
        (
            echo(NAMED),
            realm(module("jwt", f"{JWT}<jwks-file>k</jwks-file><jwks-url>https://h/k</jwks-url>"), "Bearer"),
            "from one place",
        ),
        (
            echo(NAMED),
            realm(CERTIFICATE, "Certificate"),
            "asks for no certificate, and the realm demo needs one",
        ),
        (
            echo(NAMED, VERIFY, accept="ws://localhost:1/"),
            realm(CERTIFICATE, "Certificate"),
            "has no TLS, so no client can show a certificate",
        ),
        (echo(NAMED, VERIFY), realm(CERTIFICATE), "Basic asks for what no login module looks at"),
        (
            echo(NAMED),
            realm() + realm().replace("<security>", "").replace("</security>", ""),
            None,
        ),
        (proxy(CREDENTIALS.format("")), "", "could be read on the way"),
    ],
)
def test_what_cannot_be(problems_of: Problems, service: str, security: str, problem: str | None) -> None:
    if problem is None:
        security = realm().replace("</security>", "") + realm().replace("<security>", "")
        problem = "the name 'demo' is used twice, in line 3 and here"
    (found,) = problems_of(gateway(service, security))
    assert problem in found
    assert "\n    allowed: " in found


@pytest.mark.parametrize(
    ("service", "security", "warnings"),
    [
        (echo(NAMED, ROLE), realm(), []),
        (echo(NAMED, accept="ws://localhost:1/"), realm(), ["can be read by anybody on the way"]),
        (
            echo(NAMED, VERIFY),
            realm(CERTIFICATE, "Certificate"),
            [],
        ),
        (echo(NAMED, OPTIONAL), realm(CERTIFICATE.replace("required", "sufficient") + FILE), []),
        (
            echo(NAMED),
            realm(module("ldap", LDAP + FOUND + "<useSSL>false</useSSL>")),
            ["everybody on the way"],
        ),
        (
            echo(NAMED),
            realm(module("ldap", f"{LDAP}{FOUND}<useSSL>false</useSSL>".replace("ldap://", "ldaps://"))),
            [],
        ),
        (proxy(CREDENTIALS.format(ALLOWED)), "", ["can be read by anybody on the way"]),
        (proxy(CREDENTIALS.format(""), connect="wss://localhost:2/"), "", []),
        (PROXY, realm(), []),
    ],
)
def test_what_may_be_and_what_is_said_about_it(
    load_text: Load, service: str, security: str, warnings: list[str]
) -> None:
    found = [str(each) for each in load_text(gateway(service, security)).warnings]
    assert len(found) == len(warnings), found
    for text, warning in zip(found, warnings, strict=True):
        assert warning in text


@pytest.mark.parametrize("scheme", ["ssl", "tls"])
@pytest.mark.parametrize("verify", [VERIFY, OPTIONAL])
def test_a_stream_in_tls_may_have_a_realm_of_certificates(load_text: Load, scheme: str, verify: str) -> None:
    loaded = load_text(
        gateway(
            echo(NAMED, ROLE, verify, accept=f"{scheme}://localhost:1"), realm(CERTIFICATE, "Certificate")
        )
    )
    assert not loaded.warnings
