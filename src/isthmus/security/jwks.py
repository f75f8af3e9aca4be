"""Keys that tokens are signed with (JWKS, RFC 7517): from a file, or fetched from where an issuer has them.

Only public keys are taken, and each is used with the algorithms of its own kind: a token cannot choose that
an RSA key be used as the secret of an HMAC (RFC 8725, section 3.1).
"""

from __future__ import annotations

import base64
import json
import logging
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from isthmus.errors import KeystoreError
from isthmus.security.followed import Followed

log = logging.getLogger(__name__)

MAXIMUM_SIZE = 256 * 1024
MAXIMUM_KEYS = 100
AGAIN_SECONDS = 30.0
"""The least time between two fetches that nothing but unknown keys or failures asks for."""
STALE_SECONDS = 24 * 3600.0
"""How long keys are believed after the last fetch that succeeded."""

_ALGORITHMS: dict[tuple[str, str], tuple[str, ...]] = {
    ("RSA", ""): ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA", "Ed25519"),
}


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A public key, and the algorithms it may be used with."""

    identifier: str | None
    key: Any
    algorithms: tuple[str, ...]
    stamp: str
    """What it is known again by, whatever it is called: its thumbprint (RFC 7638)."""


class Keys(Protocol):
    """Where the keys of an issuer come from."""

    def find(self, identifier: str | None, algorithm: str) -> Sequence[SigningKey]:
        """Return the keys that a token with `kid` and `alg` could be signed with. May take its time. Raises
        `KeystoreError` where there are none to look at.
        """

    def holds(self, stamp: str) -> bool:
        """Whether the key with this stamp is still one of them, as far as is known. Does not wait."""


def parse(data: bytes, place: str) -> tuple[SigningKey, ...]:
    """Read a JWKS. Keys that cannot verify tokens are left out. Raises `KeystoreError` that names `place`."""
    from joserfc.jwk import import_key

    try:
        document = json.loads(data)
        entries = document.get("keys", [document])
        if not isinstance(entries, list) or len(entries) > MAXIMUM_KEYS:
            raise ValueError("keys is no list, or too long")
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise KeystoreError(f"{place} is no JWKS") from error
    found: list[SigningKey] = []
    for entry in entries:
        if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
            continue
        kind = (str(entry.get("kty")), str(entry.get("crv", "")))
        allowed = _ALGORITHMS.get(kind, ())
        if "alg" in entry:
            allowed = tuple(each for each in allowed if each == entry["alg"])
        if not allowed:
            log.warning("%s: a key of type %.20r is left out: it cannot verify tokens", place, kind[0])
            continue
        public = {name: value for name, value in entry.items() if name not in _PRIVATE}
        try:
            key: Any = import_key(public)
        except Exception as error:  # the library has many errors for a key that is none
            raise KeystoreError(f"{place}: a key of type {kind[0]} is damaged") from error
        if kind[0] == "RSA" and _bits(entry) < 2048:
            raise KeystoreError(f"{place}: an RSA key of {_bits(entry)} bits is too short; 2048 are needed")
        identifier = entry.get("kid")
        name = identifier if isinstance(identifier, str) else None
        found.append(SigningKey(name, key, allowed, str(key.thumbprint())))
    if not found:
        raise KeystoreError(f"{place} has no key that can verify tokens")
    return tuple(found)


_PRIVATE = frozenset(("d", "p", "q", "dp", "dq", "qi", "oth", "k", "key_ops"))


def _bits(entry: dict[str, Any]) -> int:
    modulus = str(entry.get("n", ""))
    return int.from_bytes(base64.urlsafe_b64decode(modulus + "=" * (-len(modulus) % 4))).bit_length()


def matching(keys: Sequence[SigningKey], identifier: str | None, algorithm: str) -> tuple[SigningKey, ...]:
    """Return those of `keys` that fit what a token says; without a `kid` all of the algorithm."""
    fitting = tuple(key for key in keys if algorithm in key.algorithms)
    if identifier is None:
        return fitting
    return tuple(key for key in fitting if key.identifier in (identifier, None))


class FileKeys:
    """Keys in a file, read again when it changes."""

    def __init__(self, path: Path) -> None:
        self._keys = Followed(path, "the keys", lambda data: parse(data, str(path)), secret=False)

    def find(self, identifier: str | None, algorithm: str) -> Sequence[SigningKey]:
        return matching(self._keys.current(), identifier, algorithm)

    def holds(self, stamp: str) -> bool:
        return any(key.stamp == stamp for key in self._keys.current())


class FetchedKeys:
    """Keys that an issuer publishes: fetched when first needed, when older than `refresh`, and when a token
    names a key that is not there.

    A failure leaves the keys of before in use for `STALE_SECONDS`. `fetch` and `clock` are for tests.
    """

    def __init__(
        self,
        url: str,
        refresh: float,
        fetch: Callable[[], bytes],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._refresh = refresh
        self._fetch = fetch
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: tuple[SigningKey, ...] = ()
        self._fetched = -STALE_SECONDS
        self._tried = -STALE_SECONDS

    def find(self, identifier: str | None, algorithm: str) -> Sequence[SigningKey]:
        age = self._clock() - self._fetched
        if not self._keys or age >= self._refresh:
            self._update()
        found = matching(self._keys, identifier, algorithm)
        if not found:
            self._update()
            found = matching(self._keys, identifier, algorithm)
        if not self._keys or self._clock() - self._fetched > STALE_SECONDS:
            raise KeystoreError(f"there are no keys from {self._url}")
        return found

    def holds(self, stamp: str) -> bool:
        now = self._clock()
        old = now - self._fetched >= self._refresh
        if old and now - self._tried >= min(AGAIN_SECONDS, self._refresh) and not self._lock.locked():
            threading.Thread(target=self._update, name="isthmus-keys", daemon=True).start()
        return not self._keys or any(key.stamp == stamp for key in self._keys)

    def _update(self) -> None:
        # Whoever comes while one fetches waits only where there is nothing to go on with.
        if not self._lock.acquire(blocking=not self._keys):
            return
        try:
            now = self._clock()
            if now - self._tried < min(AGAIN_SECONDS, self._refresh):
                return
            self._tried = now
            self._keys = parse(self._fetch(), self._url)
            self._fetched = self._clock()
        except KeystoreError as error:
            log.error("%s%s", error, "; the keys of before stay in use" if self._keys else "")
        finally:
            self._lock.release()


def fetcher(url: str, timeout: float, ca_file: Path | None) -> Callable[[], bytes]:
    """Return what fetches `url`: within `timeout` seconds for each step, at most `MAXIMUM_SIZE`, following no
    redirect. Raises `KeystoreError` for a `ca_file` that cannot be used, as the fetch does.
    """
    try:
        context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    except (OSError, ssl.SSLError) as error:
        raise KeystoreError(f"{ca_file} holds no certificates that can be used") from error
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}),  # none, whatever the environment says
        _NoRedirect(),
        urllib.request.HTTPSHandler(context=context),
    )
    request = urllib.request.Request(url, headers={"Accept": "application/jwk-set+json, application/json"})

    def fetch() -> bytes:
        try:
            with opener.open(request, timeout=timeout) as answer:
                data: bytes = answer.read(MAXIMUM_SIZE + 1)
        except urllib.error.HTTPError as error:
            raise KeystoreError(f"the keys at {url} cannot be fetched: {error.code}") from error
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise KeystoreError(f"the keys at {url} cannot be fetched: {reason}") from error
        if len(data) > MAXIMUM_SIZE:
            raise KeystoreError(f"the keys at {url} are larger than 256 KiB")
        return data

    return fetch


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Refuses redirects: who may say where keys are is the configuration alone."""

    def redirect_request(self, *_: Any) -> None:
        return None
