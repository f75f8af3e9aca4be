"""Hashes of passwords, as password files hold them: which kinds there are, and whether a password fits.

    begins with                     kind             library
    -----------------------------------------------------------------
    $argon2id$ $argon2i$ $argon2d$  argon2           argon2-cffi
    $2a$ $2b$ $2y$                  bcrypt           bcrypt
    $apr1$                          Apache's MD5     libpass
    $5$ $6$                         SHA-crypt        libpass

All come with `pip install 'isthmus[login]'`. What has no salt, or is the password itself, is refused.
"""

from __future__ import annotations

import importlib
import re
from typing import Any

from isthmus.errors import ConfigurationError, KeystoreError

ARGON2_PASSES, ARGON2_KIBIBYTES = 3, 64 * 1024
"""What a new entry costs: RFC 9106, section 4, the second recommended option."""
_MAXIMUM_ARGON2_KIBIBYTES, _MAXIMUM_ARGON2_PASSES = 1024 * 1024, 64
_BCRYPT_BYTES = 72

_KINDS = {
    "argon2": r"\$argon2(id|i|d)\$v=\d+\$m=(?P<memory>\d{1,9}),t=(?P<passes>\d{1,6}),p=\d{1,3}\$[^$]+\$[^$]+",
    "bcrypt": r"\$2[aby]\$(0[4-9]|1[0-9]|2[0-4])\$[./A-Za-z0-9]{53}",
    "apr1": r"\$apr1\$[./A-Za-z0-9]{0,8}\$[./A-Za-z0-9]{22}",
    "sha-crypt": r"\$[56]\$(rounds=[1-9]\d{3,6}\$)?[./A-Za-z0-9]{0,16}\$[./A-Za-z0-9]{43,86}",
}


def kind_of(text: str) -> str:
    """Return the kind of a hash. Raises `KeystoreError` for what is none, or a weak one; it is not quoted."""
    for kind, pattern in _KINDS.items():
        if match := re.fullmatch(pattern, text):
            if kind == "argon2" and (
                int(match["memory"]) > _MAXIMUM_ARGON2_KIBIBYTES
                or int(match["passes"]) > _MAXIMUM_ARGON2_PASSES
            ):
                raise KeystoreError("its argon2 entry takes more than 1 GiB or 64 passes to check")
            return kind
    hint = "make an entry with: isthmus password FILE USER"
    if text.startswith("{SHA}"):
        raise KeystoreError("its hash is SHA-1 without a salt, which protects nothing", hint=hint)
    if re.match(r"\$[a-z0-9-]{1,12}\$", text):
        raise KeystoreError("its hash is of a kind that is not known, or it is damaged", hint=hint)
    raise KeystoreError(
        "its password is plain text, or hashed as in old Unix files; both are refused", hint=hint
    )


def need(kind: str) -> None:
    """Import what checks hashes of `kind`. Raises `ConfigurationError` where it is not installed."""
    module = {"argon2": "argon2", "bcrypt": "bcrypt"}.get(kind, "passlib.hash")
    library(module, f"passwords hashed with {kind}")


def library(module: str, purpose: str) -> Any:
    """Import an optional library. Raises `ConfigurationError`, which says how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigurationError(
            f"{purpose} cannot be checked: {module.partition('.')[0]} is not installed",
            hint="pip install 'isthmus[login]'",
        ) from error


def verify(hashed: str, password: str) -> bool:
    """Whether `password` is the one. Takes as long as the entry asks for, whatever the answer is."""
    kind = kind_of(hashed)
    if "\0" in password:
        return False  # no password file can have been made with one
    try:
        if kind == "argon2":
            import argon2

            try:
                return argon2.PasswordHasher().verify(hashed, password)
            except argon2.exceptions.VerifyMismatchError:
                return False
        if kind == "bcrypt":
            import bcrypt

            return bcrypt.checkpw(password.encode()[:_BCRYPT_BYTES], hashed.encode())
        from passlib import hash as schemes

        scheme: Any = schemes.apr_md5_crypt
        if kind == "sha-crypt":
            scheme = schemes.sha256_crypt if hashed.startswith("$5$") else schemes.sha512_crypt
        return bool(scheme.verify(password, hashed))
    except Exception as error:  # each library has errors of its own for a damaged hash or an odd password
        raise KeystoreError(f"an entry of kind {kind} is damaged") from error


def make(password: str) -> str:
    """Return an argon2id entry. Raises `ConfigurationError` where argon2-cffi is not installed."""
    argon2 = library("argon2", "passwords hashed with argon2")
    hasher = argon2.PasswordHasher(
        time_cost=ARGON2_PASSES, memory_cost=ARGON2_KIBIBYTES, parallelism=1, hash_len=32, salt_len=16
    )
    return str(hasher.hash(password))
