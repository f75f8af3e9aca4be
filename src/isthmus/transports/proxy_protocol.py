"""The PROXY protocol, versions 1 and 2: who a connection is from, told before its first byte.

Specified by HAProxy (doc/proxy-protocol.txt). Bytes in, values out, and the other way round; `original` reads
it from accepted sockets, `announce` sends it.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Literal

from isthmus.errors import TransportError
from isthmus.transports.base import Origin

Version = Literal["v1", "v2"]

MAXIMUM_SIZE = 4096
"""Bytes that a header of version 2 may have, with what else it tells; 216 are for addresses alone."""
_MAXIMUM_LINE = 107
_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_LINE = re.compile(rb"PROXY (TCP4|TCP6) (\S{2,39}) (\S{2,39}) (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})\r\n")
_LOCAL, _PROXY = 0x20, 0x21
_TCP4, _TCP6 = 0x11, 0x21


class NoHeader(TransportError):
    """What a connection begins with is no header of the PROXY protocol."""


class HeaderReader:
    """Reads one header from the bytes that come, however they are cut."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.complete = False
        self.origin: Origin | None = None
        """Once `complete`: what the header says; None where it says nothing (a health check)."""

    def feed(self, data: bytes) -> int:
        """Return how many of the next bytes belong to the header: all of them until it is `complete`.

        Raises `NoHeader`.
        """
        size = self._size(bytes(self._buffer) + data[:MAXIMUM_SIZE])
        taken = len(data) if size is None else size - len(self._buffer)
        if size is None or taken > len(data):
            self._buffer += data
            return len(data)
        self._buffer += data[:taken]
        self.complete = True
        self.origin = _parse(bytes(self._buffer))
        return taken

    def _size(self, seen: bytes) -> int | None:
        """Return how long the header is, None while that is not known."""
        if _SIGNATURE.startswith(seen[:12]) and seen[:1] == b"\r":
            if len(seen) < 16:
                return None
            size = 16 + int.from_bytes(seen[14:16], "big")
            if size > MAXIMUM_SIZE:
                raise NoHeader(f"a header of {size} bytes; at most {MAXIMUM_SIZE} are read")
            return size
        if not seen.startswith(b"PROXY "[: len(seen)]):
            raise NoHeader("it does not begin with a header of the PROXY protocol")
        end = seen.find(b"\r\n", 0, _MAXIMUM_LINE)
        if end < 0 and len(seen) >= _MAXIMUM_LINE:
            raise NoHeader(f"a line of more than {_MAXIMUM_LINE} bytes")
        return None if end < 0 else end + 2


def header(origin: Origin | None, version: Version) -> bytes:
    """Return what tells a server where a connection is from; `origin` None: from this gateway itself."""
    if origin is None:
        return b"PROXY UNKNOWN\r\n" if version == "v1" else _SIGNATURE + bytes((_LOCAL, 0, 0, 0))
    (host, port), (own_host, own_port) = origin.source, origin.destination
    source, destination = _address(host), _address(own_host)
    if source.version != destination.version:
        source, destination = _as_ipv6(source), _as_ipv6(destination)
    if version == "v1":
        family = f"TCP{source.version}"
        return f"PROXY {family} {source} {destination} {port} {own_port}\r\n".encode()
    addresses = source.packed + destination.packed + port.to_bytes(2, "big") + own_port.to_bytes(2, "big")
    kind = _TCP4 if source.version == 4 else _TCP6
    return _SIGNATURE + bytes((_PROXY, kind)) + len(addresses).to_bytes(2, "big") + addresses


def _parse(whole: bytes) -> Origin | None:
    if whole.startswith(b"PROXY"):
        return _parse_line(whole)
    command, kind, body = whole[12], whole[13], whole[16:]
    if command == _LOCAL:
        return None
    if command != _PROXY:
        raise NoHeader(f"version or command {command:#04x}, which is not of version 2")
    size = {_TCP4: 4, _TCP6: 16}.get(kind)
    if size is None:
        return None  # another family: as if nothing were said
    if len(body) < 2 * size + 4:
        raise NoHeader("a header that ends before its addresses do")
    source, destination = (
        ipaddress.ip_address(body[:size]),
        ipaddress.ip_address(body[size : 2 * size]),
    )
    ports = body[2 * size : 2 * size + 4]
    return Origin(
        (str(source), int.from_bytes(ports[:2], "big")),
        (str(destination), int.from_bytes(ports[2:], "big")),
    )


def _parse_line(line: bytes) -> Origin | None:
    if line.startswith(b"PROXY UNKNOWN") and line[13:14] in (b"\r", b" "):
        return None
    match = _LINE.fullmatch(line)
    try:
        if match is None:
            raise ValueError
        source, destination = (ipaddress.ip_address(match[place].decode("ascii")) for place in (2, 3))
        ports = int(match[4]), int(match[5])
    except ValueError:
        raise NoHeader("a line that is not PROXY TCP4 or TCP6, two addresses and two ports") from None
    if {source.version, destination.version} != {int(match[1][3:])} or max(ports) > 65535:
        raise NoHeader("a line whose addresses or ports are not those of its family")
    return Origin((str(source), ports[0]), (str(destination), ports[1]))


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(host.partition("%")[0])


def _as_ipv6(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv6Address:
    if isinstance(address, ipaddress.IPv6Address):
        return address
    return ipaddress.IPv6Address(b"\0" * 10 + b"\xff\xff" + address.packed)
