"""What a request may be given by a configuration: header fields, another Host, another path."""

from __future__ import annotations

import re

from isthmus import uri
from isthmus.config.units import NotAllowed, shown
from isthmus.errors import UriError

MAXIMUM_FIELDS = 50
_ALLOWED = "Name: value (X-Tenant: blue), several with || between"
_FIELD = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*:[ \t]*([\x20-\x7e]{0,4000})")
# What belongs to the handshake, or to the connection.
_OWN = frozenset(
    ("connection", "content-length", "host", "proxy-authorization", "transfer-encoding", "upgrade")
)


def parse_fields(value: object) -> tuple[str, ...]:
    """Read header fields with `||` between, or already a list of them.

    Raises `NotAllowed`, whose text never shows what a field says: it may be a secret.
    """
    lines = value.split("||") if isinstance(value, str) else value
    if not isinstance(lines, (list, tuple)):
        raise NotAllowed("this is no list of header fields", _ALLOWED)
    found: list[str] = []
    for place, line in enumerate(lines, 1):
        if not isinstance(line, str):
            raise NotAllowed(f"field {place} is not a text", _ALLOWED)
        if not line.strip():
            continue
        match = _FIELD.fullmatch(line.strip())
        if match is None:
            raise NotAllowed(f"field {place} is not Name: value in plain ASCII", _ALLOWED)
        name = match[1].lower()
        if name in _OWN or name.startswith("sec-websocket-"):
            instead = "http.host" if name == "host" else "leave it out"
            raise NotAllowed(f"the field {match[1]} belongs to the handshake itself", instead)
        found.append(f"{match[1]}: {match[2].rstrip()}")
    if len(found) > MAXIMUM_FIELDS:
        raise NotAllowed(f"{len(found)} header fields are too many", f"at most {MAXIMUM_FIELDS}")
    return tuple(found)


def split_field(line: str) -> tuple[str, str]:
    """Return name and value of a field that `parse_fields` has read."""
    name, _, value = line.partition(":")
    return name, value.strip()


def parse_host(value: object) -> str:
    """Read a Host: `host` or `host:port`. Raises `NotAllowed`."""
    if isinstance(value, str):
        try:
            uri.split_host_port(value.strip(), value.strip())
        except UriError as error:
            raise NotAllowed(str(error), "host or host:port") from None
        return value.strip().lower()
    raise NotAllowed(f"{shown(value)} is not a host", "host or host:port")


def parse_server_name(value: object) -> str:
    """Read the name of a server: a host name or an IP address. Raises `NotAllowed`."""
    host = parse_host(f"[{value}]" if isinstance(value, str) and value.count(":") > 1 else value)
    if ":" in host and not host.startswith("["):
        raise NotAllowed(f"{shown(value)} has a port", "a host name")
    return host.strip("[]")


def parse_target(value: object) -> str:
    """Read what is asked for: a path, with a query or without. Raises `NotAllowed`."""
    if isinstance(value, str):
        text = value.strip()
        try:
            uri.parse(f"ws://host{text}")
        except UriError:
            pass
        else:
            if text.startswith("/"):
                return text
    raise NotAllowed(f"{shown(value)} is not a path", "/path, percent-encoded, with ?query or without")
