"""The login module `token`: a table of tokens that somebody has handed out.

    # sha256-of-the-token:subject[:role,role[:expires]]
    9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08:build-7:DEPLOY:2027-01-31

The file holds digests only: a token is long and random, so that nobody finds it from its digest, and looking
one up takes no work. `expires` is a date, or a date and time, in UTC unless it says otherwise.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from isthmus.config.realm import TokenLogin
from isthmus.errors import KeystoreError
from isthmus.security.followed import Followed
from isthmus.security.login import Credentials, Entry, LoginFailed, checked_name

MAXIMUM_TOKENS = 100_000


class TokenModule:
    """Looks tokens up. Making one raises `KeystoreError`. `clock` is in seconds since 1970."""

    quick = True

    def __init__(
        self, options: TokenLogin, directory: Path, *, clock: Callable[[], float] = time.time
    ) -> None:
        path = directory / options.file
        self._clock = clock
        self._table = Followed(path, "the table of tokens", lambda data: parse(data, path))

    def login(self, credentials: Credentials) -> Entry:
        if not credentials.tokens:
            raise LoginFailed("there is no token")
        digest = hashlib.sha256(credentials.tokens[0].encode()).hexdigest()
        # What is compared are digests that nobody can choose, so time tells nothing about a token.
        found = self._table.current().by_digest.get(digest)
        if found is None:
            raise LoginFailed("there is no such token")
        if found.expires is not None and self._clock() >= found.expires:
            raise LoginFailed(f"the token of {found.subject} has expired")
        return found

    def vouches(self, subject: str, stamp: str) -> bool:
        return stamp in self._table.current().stamps


@dataclass(frozen=True, slots=True)
class Table:
    """What a file holds: entries by digest, and the stamps of all of them."""

    by_digest: Mapping[str, Entry]
    stamps: frozenset[str]


def parse(data: bytes, path: Path) -> Table:
    """Read the bytes of a table. Raises `KeystoreError` that names the file and line."""
    found: dict[str, Entry] = {}
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise KeystoreError(f"{path} is not UTF-8 text") from error
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if len(found) >= MAXIMUM_TOKENS:
            raise KeystoreError(f"{path} has more than {MAXIMUM_TOKENS} tokens")
        try:
            digest, entry = _entry(line)
        except (KeystoreError, LoginFailed) as error:
            raise KeystoreError(f"{path}:{number}: {error}", hint=error.hint) from error
        if digest in found:
            raise KeystoreError(f"{path}:{number}: the token is there twice")
        found[digest] = entry
    return Table(found, frozenset(entry.stamp for entry in found.values()))


def _entry(line: str) -> tuple[str, Entry]:
    digest, _, rest = line.partition(":")
    if not re.fullmatch(r"[0-9a-fA-F]{64}", digest):
        raise KeystoreError(
            "a line begins with the SHA-256 of a token in hexadecimal",
            hint="the digest of a token: printf %s TOKEN | sha256sum",
        )
    subject, _, rest = rest.partition(":")
    roles, _, expires = rest.partition(":")
    return digest.lower(), Entry(
        checked_name(subject.strip()),
        frozenset(role for role in re.split(r"[,\s]+", roles) if role),
        _time(expires.strip()),
        hashlib.sha256(line.encode()).hexdigest(),
    )


def _time(text: str) -> float | None:
    if not text:
        return None
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError:
        raise KeystoreError(
            "the time a token expires at is written 2027-01-31 or 2027-01-31T12:00Z"
        ) from None
    if found.tzinfo is None:
        found = found.replace(tzinfo=dt.UTC)
    return found.timestamp()
