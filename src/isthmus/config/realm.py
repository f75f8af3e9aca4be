"""Who may come, typed: realms with their login modules, and what a service asks of its clients.

The elements and their meaning are Kaazing's (`security/realm`, `authorization-constraint`); the options of
`file` and `ldap` modules are those of its FileLoginModule and of Java's LdapLoginModule. What is isthmus's
own says so.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from isthmus.config.section import Duration, File, Section, Switch, Texts
from isthmus.config.units import NotAllowed, shown
from isthmus.config.unsupported import VALUES

SCHEMES = ("Basic", "Application Basic", "Application Token", "Bearer", "Certificate")
MODES = ("challenge", "validate")


def _known(kind: str, known: tuple[str, ...], value: Any) -> Any:
    reason = VALUES[kind].get(value) if isinstance(value, str) else None
    if reason is not None:
        raise NotAllowed(f"{value} is refused: {reason}", ", ".join(known))
    return value


def _scheme(value: Any) -> Any:
    return _known("http-challenge-scheme", SCHEMES, value)


def _mode(value: Any) -> Any:
    return _known("authorization-mode", MODES, value)


def _name(value: str) -> str:
    if not re.fullmatch(r"[^\s/\"\\\x00-\x1f\x7f][^/\"\\\x00-\x1f\x7f]{0,99}", value):
        raise NotAllowed(
            f"{shown(value)} cannot be a realm's name", "at most 100 characters, no slash, no quotes"
        )
    return value


def _fields(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):  # RFC 9110 5.6.2
            raise NotAllowed(f"{shown(name)} cannot be the name of a header field or cookie", "X-Header")
    return names


def _providers(value: Any) -> Any:
    urls = value.split() if isinstance(value, str) else ()
    if not urls or not all(re.match(r"ldaps?://[^/\s]+(/|$)", url, re.IGNORECASE) for url in urls):
        raise NotAllowed(
            f"{shown(value)} is not where an LDAP server is",
            "ldap://host[:port]/base or ldaps://host[:port]/base, several with blanks between",
        )
    return value


def _placeholder(value: str | None) -> str | None:
    if value is not None and "{USERNAME}" not in value:
        raise NotAllowed(f"{shown(value)} does not say where the user's name goes", "a text with {USERNAME}")
    return value


def _url(value: Any) -> Any:
    if not isinstance(value, str) or not re.match(
        r"https://[^/\s]+/|http://(127\.0\.0\.1|\[::1\]|localhost)[:/]", value, re.IGNORECASE
    ):
        raise NotAllowed(f"{shown(value)} is not where keys may come from", "https://host/path")
    return value


class LoginOptions(Section):
    """Base of the options of all login modules."""

    debug: Switch = False
    """Accepted as Kaazing's; the levels of the log say what is logged."""


class FileLogin(LoginOptions):
    """Options of a `file` module: users and passwords in a file."""

    file: File
    """A password file (argon2, htpasswd), or Kaazing's jaas-config.xml."""


class LdapLogin(LoginOptions):
    """Options of an `ldap` module, named as those of Java's LdapLoginModule."""

    user_provider: Annotated[str, BeforeValidator(_providers)] = Field(alias="userProvider")
    """Servers, and the entry below which users are."""
    user_filter: Annotated[str | None, AfterValidator(_placeholder)] = Field(None, alias="userFilter")
    """Finds a user's entry; `{USERNAME}` is the name that was given."""
    auth_identity: Annotated[str | None, AfterValidator(_placeholder)] = Field(None, alias="authIdentity")
    """Who to log in as, for example `uid={USERNAME},ou=people,dc=example,dc=com`. Not written: who
    `userFilter` finds.
    """
    authz_identity: str | None = Field(None, alias="authzIdentity")
    """A role that everyone gets, or `{attribute}`: those that the user's entry names."""
    use_ssl: Switch = Field(True, alias="useSSL")
    """Whether an `ldap` URL is secured (StartTLS) before a password is sent."""
    bind_identity: str | None = Field(None, alias="bind-identity")
    """Who looks for users and roles. Not written: nobody in particular (isthmus)."""
    bind_password_file: File | None = Field(None, alias="bind-password-file")
    role_base: str | None = Field(None, alias="role-base")
    """The entry below which groups are (isthmus)."""
    role_filter: str = Field("(|(member={DN})(uniqueMember={DN})(memberUid={USERNAME}))", alias="role-filter")
    role_attribute: str = Field("cn", alias="role-attribute")
    ca_file: File | None = Field(None, alias="ca-file")
    """Whom to believe that it is the server (PEM). Not written: whom the system believes (isthmus)."""
    timeout: Duration = Field(5.0, gt=0, le=60)
    """How long one server may take to answer (isthmus)."""
    recheck: Duration = Field(60.0, ge=0, le=86_400)
    """How often the directory is asked again while something is open; 0: never (isthmus)."""


class TokenLogin(LoginOptions):
    """Options of a `token` module: a table of tokens (isthmus)."""

    file: File


class JwtLogin(LoginOptions):
    """Options of a `jwt` module: tokens that somebody else has signed, RFC 7519 (isthmus)."""

    jwks_file: File | None = Field(None, alias="jwks-file")
    jwks_url: Annotated[str | None, BeforeValidator(_url)] = Field(None, alias="jwks-url")
    ca_file: File | None = Field(None, alias="ca-file")
    issuer: str
    audience: Texts
    subject_claim: str = Field("sub", alias="subject-claim")
    role_claim: str = Field("roles", alias="role-claim")
    leeway: Duration = Field(30.0, ge=0, le=300)
    """By how much clocks may differ."""
    refresh: Duration = Field(300.0, ge=1, le=86_400)
    """How long keys from `jwks-url` are believed without asking again."""
    timeout: Duration = Field(5.0, gt=0, le=60)


class CertificateLogin(LoginOptions):
    """Options of a `certificate` module: the certificate that a client has shown (isthmus)."""

    subject: Literal["common-name", "distinguished-name", "email", "dns", "uri"] = "common-name"
    """What in it is the user's name."""
    role_attribute: Literal["none", "OU", "O"] = Field("none", alias="role-attribute")
    role: Texts = ()
    """Roles that everyone with a certificate gets."""


OPTIONS: dict[str, type[LoginOptions]] = {
    "file": FileLogin,
    "ldap": LdapLogin,
    "token": TokenLogin,
    "jwt": JwtLogin,
    "certificate": CertificateLogin,
}
"""The login modules there are -> their options."""

PASSWORD_MODULES = frozenset(("file", "ldap"))
TOKEN_MODULES = frozenset(("token", "jwt"))


class LoginModule(Section):
    """`login-module` of a realm."""

    type: str
    success: Literal["required", "requisite", "sufficient", "optional"]
    """What it means for the whole, as in JAAS (`javax.security.auth.login.Configuration`)."""
    options: FileLogin | LdapLogin | TokenLogin | JwtLogin | CertificateLogin


class Authentication(Section):
    """`authentication` of a realm."""

    scheme: Annotated[
        Literal["Basic", "Application Basic", "Application Token", "Bearer", "Certificate"],
        BeforeValidator(_scheme),
    ] = Field(alias="http-challenge-scheme")
    """What a client without credentials is asked for. Bearer and Certificate are isthmus's."""
    headers: Annotated[Texts, AfterValidator(_fields)] = Field((), alias="http-header")
    """Fields that may hold a token, beside Authorization."""
    query_parameters: Texts = Field((), alias="http-query-parameter")
    cookies: Annotated[Texts, AfterValidator(_fields)] = Field((), alias="http-cookie")
    mode: Annotated[Literal["challenge", "validate"], BeforeValidator(_mode)] = Field(
        "challenge", alias="authorization-mode"
    )
    """Whether a client without credentials is asked for them (401), or turned away (403)."""
    authorization_timeout: Duration | None = Field(None, alias="authorization-timeout", gt=0)
    session_timeout: Duration | None = Field(None, alias="session-timeout", gt=0)
    """How long what was opened may last, whatever the credentials say; the shorter of both holds."""
    modules: tuple[LoginModule, ...] = Field((), alias="login-modules")
    """In order."""


class Realm(Section):
    """`realm` of `security`: who can log in, and how."""

    name: Annotated[str, AfterValidator(_name)]
    description: str = ""
    """What the user is shown as the realm."""
    user_principal_classes: Texts = Field((), alias="user-principal-class")
    """Names of Java classes, for Kaazing's management; accepted, and without effect."""
    authentication: Authentication

    @property
    def modules(self) -> tuple[LoginModule, ...]:
        """The login modules, in order."""
        return self.authentication.modules


class AuthorizationConstraint(Section):
    """One `authorization-constraint` of a service. All that are written must hold, as in Kaazing."""

    require_roles: Texts = Field((), alias="require-role")
    """Roles that a client must have, each of them; `*` is any client that has logged in."""
    require_users: Texts = Field((), alias="require-user")
    """Names of whom a client must be one (isthmus)."""
    require_valid_user: Switch = Field(False, alias="require-valid-user")
    """Any client that has logged in, which a realm asks for anyway."""

    def __str__(self) -> str:
        words = [f"role {role}" for role in self.require_roles]
        words += [f"user {' or '.join(self.require_users)}"] if self.require_users else []
        return ", ".join(words) or "any valid user"
