"""How a proxy is told who we are: the challenges of a 407 and their answers, as values.

    scheme       source                        kept for the next connect
    ----------------------------------------------------------------------------------------
    Negotiate    RFC 4559, by pyspnego         that it is to be used
    NTLM         MS-NTHT, by pyspnego          that it is to be used
    Digest       RFC 7616: SHA-256, MD5        realm and nonce, with their count
    Basic        RFC 7617                      that it is to be used

The strongest that the proxy offers and that can be used here is taken. What a proxy has rejected is not sent
again within the same connect: accounts are locked after a few tries.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import importlib.util
import logging
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from isthmus.config.proxies import Credential
from isthmus.errors import IsthmusError

log = logging.getLogger(__name__)

_MAXIMUM_ROUNDS = 4
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_NEXT = re.compile(
    rf'[ \t,]*(?:({_TOKEN})[ \t]*=[ \t]*({_TOKEN}|"(?:[^"\\]|\\.)*")(?=[ \t]*(?:,|$))'
    rf"|({_TOKEN}+)(?![ \t]*=)(?:[ \t]+([A-Za-z0-9._~+/-]+=*)(?=[ \t]*(?:,|$)))?)"
)
_CONNECTION_SCHEMES = ("negotiate", "ntlm")
_STRENGTH = ("negotiate", "ntlm", "digest", "basic")
_NAMES = {"negotiate": "Negotiate", "ntlm": "NTLM", "digest": "Digest", "basic": "Basic"}
_HASHES = {"SHA-256": "sha256", "MD5": "md5"}
_INSTALL = "pip install 'isthmus[spnego]'"
_NEEDS = "name a file with user name and password in proxy.credentials-file"


class AuthenticationFailed(IsthmusError):
    """The proxy cannot be told who we are, or does not take it. The text is the end of a sentence."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenge of a 407. `scheme` is lower case; `token` is what NTLM and Negotiate send."""

    scheme: str
    token: str = ""
    parameters: dict[str, str] = field(default_factory=dict)


def parse_challenges(values: Iterable[str]) -> list[Challenge]:
    """Read the values of Proxy-Authenticate (RFC 9110, section 11.6.1).

    What cannot be read is passed over, together with what follows it in the same field.
    """
    found: list[Challenge] = []
    for value in values:
        place = 0
        while match := _NEXT.match(value, place):
            place = match.end()
            name, text, scheme, token = match.groups()
            if scheme is not None:
                found.append(Challenge(scheme.lower(), token or ""))
            elif found:
                if text.startswith('"'):
                    text = re.sub(r"\\(.)", r"\1", text[1:-1])
                found[-1].parameters.setdefault(name.lower(), text)
    return found


class Authentication:
    """What is known about how one proxy wants to be asked. All connects through it share one.

    `credential` is asked at each connect, `proxy` is the proxy's URI for messages and `host` its name, which
    Negotiate needs. `clear` says that what is sent to it can be read on the way.
    """

    def __init__(
        self, proxy: str, host: str, credential: Callable[[], Credential | None], *, clear: bool = False
    ) -> None:
        self.proxy = proxy
        self.host = host
        self.credential = credential
        self.clear = clear
        self.known = ""
        """The scheme that was taken last time, used unasked."""
        self.digest: Digest | None = None

    def begin(self) -> Attempt:
        """Return what answers for one connect."""
        return Attempt(self, self.credential())


class Attempt:
    """Who we are to the proxy, for one connect; a second connection for the same connect goes on with it."""

    def __init__(self, shared: Authentication, credential: Credential | None) -> None:
        self._shared = shared
        self._credential = credential
        self._scheme = ""
        self._asked = False
        self._failed: dict[str, str] = {}  # schemes whose token could not be made, and why not
        self._fresh = False  # Digest: the nonce is one that this connect was given
        self._answering = False  # NTLM, Negotiate: a token of the proxy's was answered on this connection
        self._context: Any = None  # pyspnego's, for one connection
        self._header = ""
        self._sent_all = False  # all that this scheme has was sent: a 407 rejects it
        self._rounds = 0

    @property
    def continues(self) -> bool:
        """Whether the next request must go over the same connection (NTLM and Negotiate authenticate it)."""
        return self._context is not None

    @property
    def slow(self) -> bool:
        """Whether the next step may make a token of Kerberos's, which waits for a KDC."""
        scheme = self._scheme or self._shared.known
        may_be = scheme in _CONNECTION_SCHEMES or (not scheme and self._asked)
        return may_be and _pyspnego_is_here()

    def authorization(self, method: str, target: str) -> str:
        """Return the value of Proxy-Authorization for the next request, empty for none.

        Raises `AuthenticationFailed`.
        """
        shared = self._shared
        self._asked = True
        if not self._scheme and shared.known and self._credential is not None:
            self._scheme = shared.known  # unasked: it saves a round trip
            if self._scheme in _CONNECTION_SCHEMES:
                try:
                    self._begin_context()
                except AuthenticationFailed:
                    self._scheme = ""
        if self._scheme == "basic":
            self._sent_all = True
            return self._basic()
        if self._scheme == "digest" and shared.digest is not None and self._credential is not None:
            return shared.digest.answer(self._credential, method, target)
        header, self._header = self._header, ""
        return header

    def challenged(self, values: Iterable[str]) -> None:
        """Take the Proxy-Authenticate fields of a 407. Raises `AuthenticationFailed` when there is no answer
        to them; `authorization` has it otherwise.
        """
        self._rounds += 1
        challenges = parse_challenges(values)
        if self._rounds > _MAXIMUM_ROUNDS:
            raise AuthenticationFailed("it goes on asking who we are", hint=_NEEDS)
        if self._scheme in _CONNECTION_SCHEMES and self._go_on(challenges):
            return
        if self._scheme == "digest" and self._stale(challenges):
            return
        if self._sent_all or (self._scheme == "digest" and self._fresh):
            self._rejected()
        self._choose(challenges)

    def lost(self) -> None:
        """The connection is over; the next request goes over another one. Raises `AuthenticationFailed`."""
        if self._scheme in _CONNECTION_SCHEMES:
            if self._answering:
                raise AuthenticationFailed(
                    f"it ends the connection in the middle of {_NAMES[self._scheme]}, which belongs to one",
                    hint="its operator must let connections stay open after a 407",
                )
            self._begin_context()

    def accepted(self, info: str | None) -> None:
        """The proxy has opened the way; `info` is its Proxy-Authentication-Info, which may bring a nonce."""
        if self._scheme:
            self._shared.known = self._scheme
        digest = self._shared.digest
        if self._scheme == "digest" and digest is not None and info:
            found = parse_challenges([f"digest {info}"])
            if found and (nonce := found[0].parameters.get("nextnonce")):
                digest.renew(nonce)

    # -- choosing --

    def _choose(self, challenges: list[Challenge]) -> None:
        offered = [each.scheme for each in challenges]
        missing = False  # pyspnego, which would be needed
        for scheme in _STRENGTH:
            if scheme not in offered or scheme in self._failed:
                continue
            if scheme in _CONNECTION_SCHEMES:
                if self._credential is None and scheme == "ntlm":
                    continue
                self._scheme = scheme
                try:
                    self._begin_context()
                    return
                except _NotInstalled:
                    missing = True
                    self._failed[scheme] = ""
                except AuthenticationFailed as error:
                    self._failed[scheme] = f"; {error}"
                self._scheme = ""
            elif self._credential is not None:
                if scheme == "digest":
                    digest = Digest.best([each for each in challenges if each.scheme == "digest"])
                    if digest is None:
                        continue
                    self._shared.digest, self._fresh = digest, True
                elif self._shared.clear and self._shared.known != "basic":
                    log.warning(
                        "the password for %s is sent as it is (Basic, without TLS)", self._shared.proxy
                    )
                self._scheme = scheme
                return
        raise self._no_way(offered, missing)

    def _no_way(self, offered: list[str], missing: bool) -> AuthenticationFailed:
        names = ", ".join(dict.fromkeys(_NAMES.get(each, each) for each in offered)) or "no way to do it"
        if missing:
            hint = f"this needs pyspnego: {_INSTALL}"
        elif self._credential is None:
            hint = _NEEDS
        else:
            hint = "isthmus has Negotiate, NTLM, Digest and Basic"
        why = "".join(dict.fromkeys(self._failed.values()))
        return AuthenticationFailed(f"it offers {names}{why}", hint=hint)

    def _rejected(self) -> None:
        scheme, self._shared.known = _NAMES[self._scheme], ""
        user = self._credential.user if self._credential is not None else "this process"
        raise AuthenticationFailed(
            f"it does not take the user name and password of {user!r} ({scheme})",
            hint="check them, and whether the account is locked; isthmus does not try again by itself",
        )

    # -- Basic --

    def _basic(self) -> str:
        credential = self._credential
        if credential is None:
            return ""
        if ":" in credential.user:
            raise AuthenticationFailed("Basic has no user names with a colon", hint="use another scheme")
        return "Basic " + base64.b64encode(f"{credential.user}:{credential.password}".encode()).decode()

    # -- Digest --

    def _stale(self, challenges: list[Challenge]) -> bool:
        """Take another nonce where the proxy only says that ours is too old (RFC 7616, section 3.3)."""
        fresh = Digest.best(
            [
                each
                for each in challenges
                if each.scheme == "digest" and each.parameters.get("stale", "").lower() == "true"
            ]
        )
        if fresh is None:
            return False
        self._shared.digest, self._fresh = fresh, True
        return True

    # -- NTLM and Negotiate --

    def _begin_context(self) -> None:
        try:
            import spnego
            from spnego.exceptions import SpnegoError
        except ImportError:
            raise _NotInstalled("pyspnego is not installed", hint=_INSTALL) from None
        user = self._credential.user if self._credential is not None else None
        password = self._credential.password if self._credential is not None else None
        self._sent_all = self._answering = False
        try:
            self._context = spnego.client(
                user, password, hostname=self._shared.host, service="HTTP", protocol=self._scheme
            )
            self._step(None)
        except (SpnegoError, ValueError, OSError, ImportError) as error:
            self._context = None
            raise _failed_token(self._scheme, error) from error

    def _step(self, token: bytes | None) -> None:
        made = self._context.step(token)
        self._sent_all = bool(self._context.complete) or made is None
        text = base64.b64encode(made).decode() if made else ""
        self._header = f"{_NAMES[self._scheme]} {text}".rstrip()

    def _go_on(self, challenges: list[Challenge]) -> bool:
        """Answer the token of a 407 in the middle of an exchange; False where there is none."""
        token = next((each.token for each in challenges if each.scheme == self._scheme and each.token), "")
        if not token:
            if self._rounds == 1 and self._shared.known == self._scheme:
                self._shared.known = ""  # used unasked, and the proxy wants something else now
            self._context = None
            if not self._sent_all:
                self._failed[self._scheme] = ""
            return False
        if self._sent_all:
            self._rejected()
        self._answering = True
        try:
            self._step(base64.b64decode(token, validate=True))
        except Exception as error:  # pyspnego lets its parsers' errors through, whatever they are
            raise _failed_token(self._scheme, error) from error
        return True


@functools.cache
def _pyspnego_is_here() -> bool:
    return importlib.util.find_spec("spnego") is not None


class _NotInstalled(AuthenticationFailed):
    pass


def _failed_token(scheme: str, error: BaseException) -> AuthenticationFailed:
    text = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    return AuthenticationFailed(f"no {_NAMES[scheme]} token could be made: {text}", hint=_NEEDS)


@dataclass(slots=True)
class Digest:
    """A realm and a nonce of the proxy's, and how often the nonce was used."""

    parameters: dict[str, str]
    algorithm: str
    session: bool
    nonce: str
    count: int = 0

    @classmethod
    def best(cls, challenges: Iterable[Challenge]) -> Digest | None:
        """Return the strongest challenge that can be answered, or None."""
        found: list[Digest] = []
        for challenge in challenges:
            given = challenge.parameters
            algorithm = given.get("algorithm", "MD5").upper()
            session = algorithm.endswith("-SESS")
            algorithm = algorithm.removesuffix("-SESS")
            qop = [each.strip().lower() for each in given.get("qop", "").split(",") if each.strip()]
            if algorithm in _HASHES and "nonce" in given and "realm" in given and (not qop or "auth" in qop):
                found.append(cls(given, algorithm, session, given["nonce"]))
        return min(found, key=lambda each: list(_HASHES).index(each.algorithm), default=None)

    def renew(self, nonce: str) -> None:
        """Use another nonce from now on."""
        self.nonce, self.count = nonce, 0

    def answer(self, credential: Credential, method: str, target: str, cnonce: str = "") -> str:
        """Return the value of Proxy-Authorization for a request (RFC 7616, section 3.4)."""
        given = self.parameters
        self.count += 1
        cnonce = cnonce or base64.b64encode(os.urandom(18)).decode()
        nc, realm = f"{self.count:08x}", given["realm"]
        encoding = "utf-8" if given.get("charset", "").lower() == "utf-8" else "latin-1"

        def hashed(text: str) -> str:
            raw = text.encode(encoding, "replace") if encoding == "latin-1" else text.encode()
            return hashlib.new(_HASHES[self.algorithm], raw, usedforsecurity=False).hexdigest()

        secret = hashed(f"{credential.user}:{realm}:{credential.password}")
        if self.session:
            secret = hashed(f"{secret}:{self.nonce}:{cnonce}")
        request = hashed(f"{method}:{target}")
        if "qop" in given:
            response = hashed(f"{secret}:{self.nonce}:{nc}:{cnonce}:auth:{request}")
        else:  # RFC 2069
            response = hashed(f"{secret}:{self.nonce}:{request}")
        fields = [self._user(credential.user, hashed)]
        fields += [f'realm="{_quoted(realm)}"', f'nonce="{_quoted(self.nonce)}"', f'uri="{target}"']
        fields.append(f'response="{response}"')
        if "algorithm" in given:
            fields.append(f"algorithm={given['algorithm']}")
        if "qop" in given:
            fields.append(f'qop=auth, nc={nc}, cnonce="{cnonce}"')
        elif self.session:
            fields.append(f'cnonce="{cnonce}"')
        if "opaque" in given:
            fields.append(f'opaque="{_quoted(given["opaque"])}"')
        if given.get("userhash", "").lower() == "true":
            fields.append("userhash=true")
        return "Digest " + ", ".join(fields)

    def _user(self, user: str, hashed: Callable[[str], str]) -> str:
        if self.parameters.get("userhash", "").lower() == "true":
            name = hashed(f"{user}:{self.parameters['realm']}")
            return f'username="{name}"'
        if user.isascii():
            return f'username="{_quoted(user)}"'
        return f"username*=UTF-8''{quote(user, safe='')}"


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
