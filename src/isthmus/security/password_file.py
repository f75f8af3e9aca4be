"""Files of users: htpasswd's lines, with roles as a third part, and Kaazing's jaas-config.xml.

    # user:hash[:role,role]
    joe:$argon2id$v=19$m=65536,t=3,p=1$...:AUTHORIZED
    ann:$2y$10$...

A file that begins with `<` is a jaas-config.xml. Its passwords may be plain text, as Kaazing's are, which is
warned about; a hash may stand in the place of each.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from isthmus.errors import KeystoreError
from isthmus.security import passwords
from isthmus.security.login import LoginFailed, checked_name

log = logging.getLogger(__name__)

MAXIMUM_USERS = 100_000
MAXIMUM_LINE = 4096


@dataclass(frozen=True, slots=True)
class User:
    """One entry. `secret` is a hash, or the password itself where `plain`."""

    name: str
    secret: str = field(repr=False)
    roles: frozenset[str] = frozenset()
    plain: bool = False

    def fits(self, password: str) -> bool:
        """Whether `password` is this user's; takes as long for a wrong one as for the right one."""
        if self.plain:
            ours, theirs = (hashlib.sha256(text.encode()).digest() for text in (self.secret, password))
            return hmac.compare_digest(ours, theirs)
        return passwords.verify(self.secret, password)

    @property
    def stamp(self) -> str:
        """What changes when this entry does."""
        roles = "\0".join(sorted(self.roles))
        key = _STAMP_KEY  # so that a stamp says nothing about a plain password to who finds it
        return hmac.digest(key, f"{self.name}\0{self.secret}\0{roles}".encode(), "sha256").hex()


_STAMP_KEY = os.urandom(32)


@dataclass(frozen=True, slots=True)
class Users:
    """What a file holds. `nobody` is checked for a user that is not there, to take the same time."""

    by_name: Mapping[str, User]
    nobody: User | None


def parse(data: bytes, path: Path) -> Users:
    """Read the bytes of a file of users, of either form.

    Raises `KeystoreError` that names the file and line, and `ConfigurationError` where a library is missing.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise KeystoreError(f"{path} is not UTF-8 text") from error
    if text.lstrip().startswith("<"):
        from isthmus.security.jaas_file import parse_jaas

        users = parse_jaas(text, path)
    else:
        users = _lines(text, path)
    if len(users) > MAXIMUM_USERS:
        raise KeystoreError(f"{path} has more than {MAXIMUM_USERS} users")
    hashed = [user for user in users.values() if not user.plain]
    for kind in {passwords.kind_of(user.secret) for user in hashed}:
        passwords.need(kind)
    first = next(iter(hashed), None)
    return Users(users, None if first is None else User("", first.secret))


def _lines(text: str, path: Path) -> dict[str, User]:
    users: dict[str, User] = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if len(line) > MAXIMUM_LINE:
            raise KeystoreError(f"{path}:{number}: the line is too long")
        name, colon, rest = line.partition(":")
        secret, _, roles = rest.partition(":")
        try:
            if not colon:
                raise KeystoreError("a line is user:hash or user:hash:role,role")
            checked_name(name)
            passwords.kind_of(secret)
            if name in users:
                raise KeystoreError(f"the user {name} is there twice")
        except (KeystoreError, LoginFailed) as error:
            raise KeystoreError(f"{path}:{number}: {error}", hint=error.hint) from error
        users[name] = User(name, secret, frozenset(role for role in re.split(r"[,\s]+", roles) if role))
    return users


def set_password(path: Path, user: str, password: str, roles: tuple[str, ...] | None = None) -> bool:
    """Put an argon2 entry for `user` into a password file; one that is there is replaced, in its place.

    `roles` None keeps those that are there. The file is replaced at once and whole; a new one can be read by
    this user only. Returns whether the user is new. Raises `KeystoreError` or `ConfigurationError`.
    """
    try:
        checked_name(user)
    except LoginFailed as error:
        raise KeystoreError(str(error)) from error
    if ":" in user or user.startswith("#") or user != user.strip():
        raise KeystoreError("a user's name in a password file has no colon, and no blank or # at its ends")
    for role in roles or ():
        if not role or re.search(r"[\s,:\x00-\x1f\x7f]", role):
            raise KeystoreError("a role in a password file has no blanks, commas or colons")
    try:
        text = path.read_bytes().decode("utf-8-sig") if path.exists() else ""
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
    except (OSError, UnicodeDecodeError) as error:
        raise KeystoreError(f"{path} cannot be read: {error}") from error
    if text.lstrip().startswith("<"):
        raise KeystoreError(
            f"{path} is XML; a password file has lines",
            hint="name a new file here, and in the login module's option file",
        )
    lines = text.splitlines()
    there = next((place for place, line in enumerate(lines) if line.strip().partition(":")[0] == user), None)
    kept = lines[there].split(":", 2)[2:] if there is not None and roles is None else []
    entry = ":".join([user, passwords.make(password), *([",".join(roles)] if roles else kept)])
    if there is None:
        lines.append(entry)
    else:
        lines[there] = entry
    _replace(path, "\n".join(lines) + "\n", mode)
    return there is None


def _replace(path: Path, text: str, mode: int) -> None:
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise KeystoreError(f"{path} cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).chmod(mode)
        Path(name).replace(path)
    except OSError as error:
        Path(name).unlink(missing_ok=True)
        raise KeystoreError(f"{path} cannot be written: {error.strerror}") from error
