"""The login module `jwt`: tokens that an issuer has signed (RFC 7519, checked as RFC 8725 says).

A token has to have a signature by one of the issuer's keys with an algorithm of that key's kind, `iss` and
`aud` as configured, `exp`, and the subject's claim; `nbf` and `iat` may not lie ahead. Never taken are `none`
and the HMAC algorithms, encrypted tokens, and tokens with critical headers (`crit`).
"""

from __future__ import annotations

import base64
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from isthmus.config.realm import JwtLogin
from isthmus.errors import KeystoreError
from isthmus.security.jwks import FetchedKeys, FileKeys, Keys, SigningKey, fetcher
from isthmus.security.login import Credentials, Entry, LoginFailed, LoginUnavailable, checked_name
from isthmus.security.passwords import library

MAXIMUM_ROLES = 1000


class JwtModule:
    """Checks tokens. Making one raises `KeystoreError` or `ConfigurationError`. `clock` is in seconds since
    1970.
    """

    quick = False  # keys may have to be fetched

    def __init__(
        self,
        options: JwtLogin,
        directory: Path,
        *,
        keys: Keys | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        library("joserfc", "tokens")
        from joserfc.errors import SecurityWarning

        # EdDSA is the name that issuers write; RFC 9864 only prefers a narrower one.
        warnings.filterwarnings("ignore", "EdDSA is deprecated", SecurityWarning)
        self._options = options
        self._clock = clock
        if keys is None and options.jwks_file is not None:
            keys = FileKeys(directory / options.jwks_file)
        if keys is None:
            assert options.jwks_url is not None
            authorities = None if options.ca_file is None else directory / options.ca_file
            fetch = fetcher(options.jwks_url, options.timeout, authorities)
            keys = FetchedKeys(options.jwks_url, options.refresh, fetch)
        self._keys = keys

    def login(self, credentials: Credentials) -> Entry:
        if not credentials.tokens:
            raise LoginFailed("there is no token")
        key, claims = self._verified(credentials.tokens[0])
        return self._entry(claims, key.stamp)

    def vouches(self, subject: str, stamp: str) -> bool:
        return self._keys.holds(stamp)  # a signed token says itself when it ends

    def _verified(self, token: str) -> tuple[SigningKey, dict[str, Any]]:
        from joserfc import jws
        from joserfc.errors import JoseError

        algorithm, identifier = _header(token)
        try:
            keys = self._keys.find(identifier, algorithm)
        except KeystoreError as error:
            raise LoginUnavailable(str(error)) from error
        if not keys:
            raise LoginFailed("the token is signed with a key or an algorithm that is not the issuer's")
        for key in keys:
            try:
                verified = jws.deserialize_compact(token.encode(), key.key, algorithms=[algorithm])
                claims = json.loads(verified.payload)
            except (JoseError, ValueError, TypeError, RecursionError):
                continue
            if isinstance(claims, dict):
                return key, claims
        raise LoginFailed("the signature of the token is not the issuer's")

    def _entry(self, claims: dict[str, Any], stamp: str) -> Entry:
        options, now = self._options, self._clock()
        if claims.get("iss") != options.issuer:
            raise LoginFailed("the token was issued by somebody else")
        audience = claims.get("aud")
        named = audience if isinstance(audience, list) else [audience]
        if not any(each in options.audience for each in named if isinstance(each, str)):
            raise LoginFailed("the token is for somebody else (aud)")
        expires = _time(claims, "exp")
        if expires is None:
            raise LoginFailed("the token does not say when it expires")
        if now >= expires + options.leeway:
            raise LoginFailed("the token has expired")
        for name in ("nbf", "iat"):
            begins = _time(claims, name)
            if begins is not None and now < begins - options.leeway:
                raise LoginFailed(f"the token is not valid yet ({name}); look at the clocks")
        subject = _claim(claims, options.subject_claim)
        if not isinstance(subject, str):
            raise LoginFailed(f"the token has no {options.subject_claim}")
        roles = _roles(_claim(claims, options.role_claim))
        return Entry(checked_name(subject), roles, expires + options.leeway, stamp)


def _header(token: str) -> tuple[str, str | None]:
    """Return what the header of a token says: its algorithm and key. Nothing of it is believed yet."""
    parts = token.split(".")
    try:
        padded = parts[0] + "=" * (-len(parts[0]) % 4)
        header = json.loads(base64.urlsafe_b64decode(padded)) if len(parts) == 3 else None
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        raise LoginFailed("the token is no signed JWT")
    algorithm, identifier = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or not isinstance(identifier, (str, type(None))):
        raise LoginFailed("the token is no signed JWT")
    if "crit" in header:
        raise LoginFailed("the token has critical headers, which are not known here")
    return algorithm, identifier


def _claim(claims: dict[str, Any], path: str) -> object:
    """Return a claim; a dotted path leads into objects, unless a claim has the whole name."""
    if path in claims:
        return claims[path]
    found: object = claims
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _time(claims: dict[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e12:
        raise LoginFailed(f"{name} of the token is not a time")
    return float(value)


def _roles(value: object) -> frozenset[str]:
    """Read roles as a list, or as words with blanks between (`scope`, RFC 8693 4.2)."""
    words = value.split(" ") if isinstance(value, str) else value
    if not isinstance(words, list):
        return frozenset()
    return frozenset(word for word in words[:MAXIMUM_ROLES] if isinstance(word, str) and word)
