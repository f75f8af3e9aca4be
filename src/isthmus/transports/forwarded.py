"""Who a Web client is behind its balancers: X-Forwarded-For, or Forwarded (RFC 7239), read and written.

One of the two is believed, the one that is configured: of the other a client could send what it likes.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from typing import Literal

from isthmus.config.networks import Network, among

Kind = Literal["none", "x-forwarded-for", "forwarded"]
Peer = tuple[str, int]
"""IP address and port; port 0: not known."""

MAXIMUM_HOPS = 50
_PAIR = re.compile(r'\s*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)=("(?:[^"\\]|\\.)*"|[^",;\s]*)\s*(;|,|$)')
_NODE = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[0-9.]+|[0-9A-Fa-f:.]+)(?::([0-9]{1,5}))?")


def client_of(headers: Iterable[tuple[str, str]], kind: Kind, trusted: Sequence[Network], peer: Peer) -> Peer:
    """Return who sent a request that came from `peer`, with lower-case `headers`.

    Only those in `trusted` networks are believed: from the last hop backwards, each names the one before it,
    until one is named that is not trusted. That one is the client.
    """
    if kind == "none" or not among(peer[0], trusted):
        return peer
    values = [value for name, value in headers if name == kind]
    hops = _addresses(values) if kind == "x-forwarded-for" else _nodes(values)
    for hop in reversed(hops[-MAXIMUM_HOPS:]):
        found = _peer(hop)
        if found is None:  # unknown or hidden: then the last that is known
            break
        peer = found
        if not among(peer[0], trusted):
            break
    return peer


def field(kind: Kind, peer: Peer) -> tuple[str, str]:
    """Return the header field that tells a server who a request is made for."""
    host, port = peer[0].partition("%")[0], peer[1]
    if kind == "x-forwarded-for":
        return "X-Forwarded-For", host
    node = f"[{host}]" if ":" in host else host
    node = f"{node}:{port}" if port else node
    return "Forwarded", f'for="{node}"' if ":" in node else f"for={node}"


def _addresses(values: list[str]) -> list[str]:
    return [each.strip() for value in values for each in value.split(",")]


def _nodes(values: list[str]) -> list[str]:
    """Return what each hop says after `for=`; what cannot be read ends in a hop that is not known."""
    found: list[str] = []
    for value in values:
        place, node = 0, ""
        while place < len(value):
            match = _PAIR.match(value, place)
            if match is None:
                found.append("")
                break
            place = match.end()
            name, text, end = match.groups()
            if name.lower() == "for":
                node = re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith('"') else text
            if end != ";":
                found.append(node)
                node = ""
    return found


def _peer(text: str) -> Peer | None:
    match = _NODE.fullmatch(text)
    if match is None:
        return None
    try:
        address = ipaddress.ip_address(match[1].strip("[]"))
    except ValueError:
        return None
    port = int(match[2] or 0)
    return (str(address), port) if port <= 65535 else None
