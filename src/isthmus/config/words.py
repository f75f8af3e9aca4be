"""Values that are words of a form of their own: each reader raises `NotAllowed` for what is not one."""

from __future__ import annotations

import re
from typing import Any

from isthmus.config.units import NotAllowed, shown


def origins(names: tuple[str, ...]) -> tuple[str, ...]:
    """Check origins of Web pages."""
    for name in names:
        if name not in ("*", "null") and not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#@*]+", name):
            raise NotAllowed(
                f"{shown(name)} is not an origin", "*, or scheme://host[:port] (https://www.example.com)"
            )
    if not names:
        raise NotAllowed("there is no origin", "*, or scheme://host[:port] (https://www.example.com)")
    return names


def tokens(names: tuple[str, ...]) -> tuple[str, ...]:
    """Check words of HTTP (RFC 9110, 5.6.2)."""
    for name in names:
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):  # RFC 9110 5.6.2
            raise NotAllowed(f"{shown(name)} cannot stand in an HTTP header", "names such as GET or X-Header")
    return names


def extension(value: str) -> str:
    """Check the extension of a file's name; return it in lower case."""
    if not re.fullmatch(r"[^\s./\\\x00-\x1f\x7f]{1,64}", value):
        near = value.rpartition(".")[2]
        raise NotAllowed(f"{shown(value)} is not an extension", "what follows the last dot of a name", near)
    return value.lower()


def mime_type(value: str) -> str:
    """Check a media type."""
    token = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
    parameter = rf"\s*;\s*{token}=(?:{token}|\"[^\"\\\x00-\x1f\x7f-\uffff]*\")"
    if not re.fullmatch(rf"{token}/{token}(?:{parameter})*", value):
        raise NotAllowed(f"{shown(value)} is not a media type", "type/subtype, for example text/css")
    return value


def keyring(value: str) -> str:
    """Check an entry of a keyring."""
    user, _, service = value.rpartition("@")
    if not user or not service:
        raise NotAllowed(f"{shown(value)} is no entry of a keyring", "USER@SERVICE (alice@proxy.example.com)")
    return value


def pins(names: tuple[str, ...]) -> tuple[str, ...]:
    """Check pins of keys."""
    for name in names:
        if not re.fullmatch(r"sha256/[A-Za-z0-9+/]{43}=", name):
            raise NotAllowed(
                f"{shown(name)} is not the pin of a key",
                "sha256/ and 44 characters, as isthmus seal prints it",
            )
    return names


def interface(value: Any) -> str:
    """Check the name of a network interface, or an address of it."""
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}", value):
        return value
    raise NotAllowed(f"{shown(value)} is not a network interface", "its name (eth0) or an IP address of it")
