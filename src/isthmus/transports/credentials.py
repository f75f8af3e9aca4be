"""What a connect says of who it is: one Authorization field, made of a file that may change at any time."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from isthmus.config.model import ConnectOptions
from isthmus.errors import KeystoreError
from isthmus.websocket.handshake import HandshakeError, Headers

Fields = Callable[[], Headers]
"""Returns the fields for a handshake that is about to be sent."""

MAXIMUM_SIZE = 12 * 1024
_SCHEMES = {"bearer": "Bearer", "token": "Token"}
_TOKEN = re.compile(r"[\x21-\x7e]+")
_CHALLENGE = 200


def fields_of(options: ConnectOptions) -> Fields:
    """Return what gives the fields that `options` ask for; the same for the same file.

    Raises `KeystoreError` for a file that cannot be used now. When it changes, the next handshake has what it
    holds then; one that cannot be used then is an error in the log, and what it held before stays in use.
    """
    if options.authorization_file is None:
        return tuple
    return _followed(options.authorization_file, options.authorization_scheme)


@lru_cache(maxsize=100)
def _followed(path: Path, scheme: str) -> Fields:
    from isthmus.security.followed import Followed  # with its libraries: only credentials pay

    return Followed(path, "the file of credentials", lambda data: field_of(data, scheme), look=0.0).current


def field_of(data: bytes, scheme: str) -> Headers:
    """Make the Authorization field of what a file holds: a token, or user:password, on its first line.

    `scheme` is `basic`, `bearer` or `token`, or `auto`: basic where there is a colon, which no token has (RFC
    6750, 2.1). Raises `KeystoreError`, which does not quote the file.
    """
    if len(data) > MAXIMUM_SIZE:
        raise KeystoreError("the file of credentials is larger than 12 KiB")
    try:
        text = data.decode("utf-8-sig").strip("\r\n")
    except UnicodeDecodeError as error:
        raise KeystoreError("the file of credentials is not UTF-8 text") from error
    if not text or len(text.splitlines()) != 1:
        raise KeystoreError(
            "the file of credentials does not have one line", hint="write a token into it, or user:password"
        )
    if scheme == "auto":
        scheme = "basic" if ":" in text else "bearer"
    if scheme == "basic":
        if ":" not in text:
            raise KeystoreError("the file of credentials has no colon between user and password")
        value = f"Basic {base64.b64encode(text.encode()).decode()}"
    else:
        text = text.strip()
        if not _TOKEN.fullmatch(text):
            raise KeystoreError("the token in the file of credentials has blanks, or is not ASCII")
        value = f"{_SCHEMES[scheme]} {text}"
    return (("Authorization", value),)


def hint_for(error: BaseException | None, presented: bool) -> str:
    """Return what to do about a handshake that was refused because of who we are, "" for any other."""
    if not isinstance(error, HandshakeError):
        return ""
    if error.status == 401:
        asked = "; ".join(value for name, value in error.headers if name == "www-authenticate")
        asked = "".join(each if each.isprintable() else "?" for each in asked)[:_CHALLENGE]
        said = f"it asks for {asked}; " if asked else ""
        if presented:
            return f"{said}what connect-options http.authorization.file holds is not taken"
        return f"{said}put a token or user:password into a file and name it in http.authorization.file"
    if error.status == 403:
        return "it knows who this is, and does not allow it" if presented else "it does not let everybody in"
    return ""
