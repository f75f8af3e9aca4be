"""The contract of login modules, and what a client has shown them: a password or a token.

A realm asks its modules one after the other (`security.realm`). A module answers with an `Entry`, or raises
`LoginFailed` (it is not so) or `LoginUnavailable` (nobody can tell now). It may take its time: it runs off
the loop, unless it says that it is `quick`.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import parse_qsl

from isthmus.config.realm import Authentication
from isthmus.errors import IsthmusError
from isthmus.identity import Asked

MAXIMUM_NAME = 256
"""Characters of a user's name."""
MAXIMUM_SECRET = 4096
"""Bytes of a password; more are not looked at, as looking takes time."""
MAXIMUM_TOKEN = 16 * 1024
_UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class LoginFailed(IsthmusError):
    """The client is not who it says, or says nothing. The text is for the log and holds no secret."""


class LoginUnavailable(IsthmusError):
    """Who the client is cannot be found out now."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client has shown, taken out of its request. Secrets are not in its `repr`.

    `user` is None where there is no password, `tokens` are all that could be a token.
    """

    user: str | None = None
    password: str = field(default="", repr=False)
    tokens: tuple[str, ...] = field(default=(), repr=False)
    certificate: bytes | None = field(default=None, repr=False)

    def __bool__(self) -> bool:
        return self.user is not None or bool(self.tokens) or self.certificate is not None


@dataclass(frozen=True, slots=True)
class Entry:
    """Whom a module has found. `stamp` is what it knows its entry again by: it says nothing about secrets."""

    subject: str
    roles: frozenset[str] = frozenset()
    expires: float | None = None
    stamp: str = ""


class Login(Protocol):
    """One login module of a realm."""

    quick: bool
    """Whether `login` never waits and never works long, so that the loop may call it."""

    def login(self, credentials: Credentials) -> Entry:
        """Return who shows `credentials`. Raises `LoginFailed` or `LoginUnavailable`. Any thread may call it,
        several at once.
        """

    def vouches(self, subject: str, stamp: str) -> bool:
        """Whether an entry that was found earlier is still there and the same. Must not wait."""


def credentials_of(asked: Asked, authentication: Authentication) -> Credentials:
    """Take what `authentication` looks at out of a request.

    Raises `LoginFailed` for what is malformed, or given twice and not the same (two who read it differently
    could be set against each other).
    """
    user: str | None = None
    password = ""
    tokens: list[str] = []
    fields = list(asked.values("authorization"))
    if len(set(fields)) > 1:
        raise LoginFailed("there are several Authorization fields")
    if fields:
        scheme, _, rest = fields[0].removeprefix("Application ").partition(" ")
        expected = authentication.scheme.removeprefix("Application ")
        if scheme.lower() != expected.lower():
            raise LoginFailed(f"it shows {_shown(scheme)} and not {expected}")
        if expected == "Basic":
            user, password = _basic(rest.strip())
        elif rest.strip():
            tokens.append(rest.strip())
    if authentication.scheme in ("Application Token", "Bearer"):
        for name in authentication.headers:
            if name.lower() != "authorization":
                tokens += asked.values(name)
        if authentication.query_parameters:
            try:
                pairs = parse_qsl(asked.query, max_num_fields=100)
            except ValueError:
                pairs = []
            tokens += [value for name, value in pairs if name in authentication.query_parameters]
        if authentication.cookies:
            tokens += _cookies(asked, authentication.cookies)
    unique = tuple(dict.fromkeys(token for token in tokens if 0 < len(token) <= MAXIMUM_TOKEN))
    if len(unique) > 1:
        raise LoginFailed("it shows several tokens")
    # A certificate that no module looks at is no login: else a client that has one would never be asked.
    looked_at = any(module.type == "certificate" for module in authentication.modules)
    return Credentials(user, password, unique, asked.certificate if looked_at else None)


def checked_name(name: str) -> str:
    """Return a user's name. Raises `LoginFailed` for one that is empty, long, or has control characters."""
    if not name or len(name) > MAXIMUM_NAME or _UNFIT.search(name):
        raise LoginFailed("the user's name is empty, too long, or has characters that no name has")
    return name


def _basic(encoded: str) -> tuple[str, str]:
    """Read user and password (RFC 7617, section 2): UTF-8, or else Latin-1 as old clients send it."""
    try:
        plain = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise LoginFailed("its Basic credentials are not base64") from None
    try:
        text = plain.decode("utf-8")
    except UnicodeDecodeError:
        text = plain.decode("latin-1")
    user, colon, password = text.partition(":")
    if not colon:
        raise LoginFailed("its Basic credentials have no colon")
    if len(password.encode()) > MAXIMUM_SECRET:
        raise LoginFailed("its password is too long")
    return checked_name(user), password


def _cookies(asked: Asked, names: tuple[str, ...]) -> list[str]:
    found: list[str] = []
    for field_value in asked.values("cookie"):
        for pair in field_value.split(";"):
            name, equals, value = pair.strip().partition("=")
            if equals and name in names:
                found.append(value.strip().strip('"'))
    return found


def _shown(word: str) -> str:
    """Return a scheme for the log; what is none may be a secret."""
    known = ("basic", "bearer", "token", "digest", "negotiate", "ntlm")
    return word if word.lower() in known else "something else"
