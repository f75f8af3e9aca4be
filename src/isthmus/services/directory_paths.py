"""What a path may say: the rules by which the `directory` service reads the target of a request.

A name is what stands between two slashes, decoded once. Whatever could be read as something else by anybody
(a dot segment, an encoded slash, a backslash, a control character, a second encoding) is refused, so that no
later part needs to think of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote, unquote_to_bytes

MAXIMUM_NAMES = 256
"""Names in one path; a folder tree is not as deep."""

_HIDDEN_BUT_SERVED = ".well-known"
_BROKEN_ENCODING = re.compile(r"%(?![0-9A-Fa-f]{2})")
_PRETENDS = re.compile(r"[\x00-\x1f\x7f/\\]|%(25)*(00|2e|2f|5c)", re.IGNORECASE)


class Refused(Exception):
    """A request cannot be granted; `status` is the answer, `headers` are fields that it must have."""

    def __init__(self, status: int, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status)
        self.status = status
        self.headers = dict(headers or {})


class Redirect(Exception):
    """The path is a folder's but does not end in `/`."""


def split_path(path: str) -> tuple[tuple[str, ...], bool]:
    """Split the path of a request target into its decoded names, and say whether it ends in `/`.

    Raises `Refused` 400 for a path that tries to be something else than it seems: dot segments, an encoded
    slash, a backslash, control characters, broken or double percent-encoding, bytes that are not UTF-8
    (overlong forms are not); 404 for an empty name or more than `MAXIMUM_NAMES`.
    """
    if not path.startswith("/") or _BROKEN_ENCODING.search(path):
        raise Refused(400)
    parts = path.split("/")[1:]
    slash = parts[-1] == ""
    names = [_name(part) for part in (parts[:-1] if slash else parts)]
    if "" in names or len(names) > MAXIMUM_NAMES:
        raise Refused(404)
    return tuple(names), slash


def _name(part: str) -> str:
    try:
        name = unquote_to_bytes(part).decode()
    except UnicodeError:
        raise Refused(400) from None
    if name in (".", "..") or _PRETENDS.search(name):
        raise Refused(400)
    return name


def is_hidden(name: str) -> bool:
    """Whether a name is never served or listed."""
    return name.startswith(".") and name != _HIDDEN_BUT_SERVED


def quoted(names: tuple[str, ...]) -> str:
    """Return names as the path of a URI, without a slash at the end."""
    return "".join("/" + quote(name, safe="") for name in names)
