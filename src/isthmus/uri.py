"""URIs as Kaazing writes them: `scheme://host:port/path` <-> `Address`.

The scheme table is the single list of what isthmus can accept on and connect to. An address is where a
service is known to the world; what is really listened on can be another one (`ws.bind`, see
`config.model.Bind`).
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from isthmus.errors import UriError


@dataclass(frozen=True, slots=True)
class Scheme:
    """What a URI scheme means.

    `port` is the port that is meant when none is written (None: it must be written).
    `web` says that the scheme speaks HTTP first, so that accepts share a port by Host and path.
    `stream` says that it carries a byte stream that a proxy can join to another, `datagrams` that it carries
    messages that are whole or lost (which WebSocket can, too).
    `secure` says that TLS lies below.
    """

    name: str
    port: int | None = None
    web: bool = False
    stream: bool = True
    secure: bool = False
    local: bool = False
    datagrams: bool = False


SCHEMES: dict[str, Scheme] = {
    scheme.name: scheme
    for scheme in (
        Scheme("tcp"),
        Scheme("ssl", secure=True),
        Scheme("tls", secure=True),
        Scheme("udp", stream=False, datagrams=True),
        Scheme("ws", 80, web=True),
        Scheme("wss", 443, web=True, secure=True),
        Scheme("http", 80, web=True, stream=False),
        Scheme("https", 443, web=True, stream=False, secure=True),
        Scheme("unix", local=True),
        Scheme("stdio", local=True),
    )
}

# Kaazing knows these; each is refused by name until its issue is done.
LATER_SCHEMES: dict[str, str] = {
    "wse": "write ws instead: a ws accept serves WebSocket emulation too",
    "wsn": "write ws instead: a ws accept serves RFC 6455",
    "wsx": "the Kaazing extended handshake is not supported",
    "httpx": "the Kaazing extended handshake is not supported",
    "httpxe": "the Kaazing extended handshake is not supported",
    "sse": "server-sent events are not supported yet",
    "pipe": "write unix:///path instead",
    "mcp": "the Kaazing multiplexing protocol is not supported",
    "socks": "it is a way to go, not a destination; write it in tcp.transport or http.transport of a connect",
}

_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*\.?\Z")
_SPLIT = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?P<rest>.*)\Z", re.S
)
_PATH = re.compile(r"(/([A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*)?\Z")
_MAXIMUM_LENGTH = 2048


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed URI. Build it with `parse`.

    `host` is lower case, an IPv6 address in its shortest form and without its brackets; empty for a local
    scheme. `port` is always set for a network scheme. `path` begins with `/` or is empty, as it was written;
    for `unix` it is the path of the socket file.
    """

    scheme: str
    host: str
    port: int
    path: str = ""
    query: str = ""

    @property
    def kind(self) -> Scheme:
        return SCHEMES[self.scheme]

    @property
    def host_port(self) -> str:
        """`host:port`, an IPv6 host in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def resource(self) -> str:
        """The path as it is matched and requested: at least `/`."""
        return self.path or "/"

    @property
    def target(self) -> str:
        """What a client writes into its request line: path and query."""
        return f"{self.resource}?{self.query}" if self.query else self.resource

    @property
    def authority(self) -> str:
        """The Host field for a request to this address: without the port where it is the scheme's own."""
        if self.port == self.kind.port:
            return f"[{self.host}]" if ":" in self.host else self.host
        return self.host_port

    @property
    def ip(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        """The host as an IP address, or None where it is a name."""
        try:
            return ipaddress.ip_address(self.host)
        except ValueError:
            return None

    def __str__(self) -> str:
        """Return the URI as start-up lines and the log show it: port written, at least `/` as the path, and
        no query, which may hold a secret.
        """
        if self.scheme == "stdio":
            return "-"
        if self.scheme == "unix":
            return f"unix://{self.path}"
        return f"{self.scheme}://{self.host_port}{self.resource}{'?...' if self.query else ''}"


def is_multicast(host: str) -> bool:
    """Tell whether a host is the IP address of a multicast group."""
    try:
        return ipaddress.ip_address(host).is_multicast
    except ValueError:
        return False


def parse(text: str) -> Address:
    """Read one URI.

    Raises `UriError` whose text says what is wrong and what would be right. `-` is the process's own standard
    input and output.
    """
    text = text.strip()
    if text in ("-", "stdio:", "stdio://"):
        return Address("stdio", "", 0)
    if len(text) > _MAXIMUM_LENGTH:
        raise UriError(f"a URI of {len(text)} characters is too long; at most {_MAXIMUM_LENGTH}")
    match = _SPLIT.match(text)
    if match is None or not text.isprintable():
        raise UriError(
            f"{text!r} is not a URI; write scheme://host:port/path, for example ws://localhost:8001/echo"
        )
    scheme_name = match["scheme"].lower()
    scheme = SCHEMES.get(scheme_name)
    if scheme is None:
        raise UriError(_unknown_scheme(text, scheme_name))
    if scheme_name == "stdio":
        raise UriError(f"{text!r}: write - for standard input and output")
    if scheme.local:
        return _parse_unix(text, match["authority"], match["path"], match["rest"])
    # First of all: the other messages show the text, and that must not show a password.
    if "@" in match["authority"]:
        split_host_port(match["authority"], text)
    rest = match["rest"]
    if "#" in rest:
        raise UriError(f"{text!r} has a fragment (#); an address has none")
    query = rest[1:]
    if query and not (scheme.web and re.fullmatch(r"[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*", query)):
        raise UriError(f"{text!r} has a query that a {scheme_name} address cannot have")
    path = match["path"]
    if not _PATH.match(path):
        raise UriError(f"{text!r} has a character in its path that must be percent-encoded")
    if not scheme.web and path not in ("", "/"):
        raise UriError(f"{text!r} has a path; a {scheme_name} address is {scheme_name}://host:port")
    host, port = split_host_port(match["authority"], text)
    if port is None:
        port = scheme.port
    if port is None:
        raise UriError(
            f"{text!r} has no port; a {scheme_name} address needs one: {scheme_name}://{host}:PORT"
        )
    return Address(scheme_name, host, port, path, query)


def unparse(address: Address) -> str:
    """Return the URI as a file would write it: `parse(unparse(address)) == address`."""
    if address.scheme in ("stdio", "unix"):
        return str(address)
    query = f"?{address.query}" if address.query else ""
    return f"{address.scheme}://{address.host_port}{address.path}{query}"


def split_host_port(authority: str, text: str) -> tuple[str, int | None]:
    """Split `host[:port]`, IPv6 in brackets, into the lower-case host and the port (None: not written).

    `text` is what the user wrote, for the message of the `UriError` raised when it cannot be read.
    """
    if authority.startswith(("@", "[@")):
        raise UriError(f"{text!r}: the name of a network interface cannot be used; write an address of it")
    if "@" in authority:
        raise UriError("a URI must not contain a user name or password (user:password@host); leave them out")
    port_text = ""
    if authority.startswith("["):
        written_host, bracket, rest = authority[1:].partition("]")
        try:
            address = ipaddress.IPv6Address(written_host)
        except ValueError:
            raise UriError(f"{text!r}: [{written_host}] is not an IPv6 address") from None
        if address.scope_id and not re.fullmatch(r"[A-Za-z0-9._-]{1,32}", address.scope_id):
            raise UriError(f"{text!r}: {address.scope_id!r} is not the name of a network interface")
        host = str(address)  # one spelling for one address
        if not bracket or (rest and not rest.startswith(":")):
            raise UriError(f"{text!r}: write an IPv6 address with its port as [address]:port")
        port_text = rest[1:] if rest else ""
        written = bool(rest)
    else:
        if authority.count(":") > 1:
            raise UriError(f"{text!r}: write an IPv6 address in brackets: [address]:port")
        host, colon, port_text = authority.partition(":")
        written = bool(colon)
        if not host:
            raise UriError(f"{text!r} has no host")
        if len(host) > 253 or not _HOST_NAME.match(host):
            raise UriError(f"{text!r}: {host!r} is not a host name or an IP address")
        if re.fullmatch(r"[0-9.]+", host):
            try:
                ipaddress.IPv4Address(host)
            except ValueError:
                raise UriError(f"{text!r}: {host!r} is not an IPv4 address") from None
    if not written:
        return host.lower(), None
    if not re.fullmatch(r"[0-9]{1,5}", port_text) or int(port_text) > 65535:
        raise UriError(f"{text!r}: {port_text!r} is not a port; write a number from 0 to 65535")
    return host.lower(), int(port_text)


def _parse_unix(text: str, authority: str, path: str, rest: str) -> Address:
    if authority or rest or not path.startswith("/") or path == "/":
        raise UriError(f"{text!r}: write a unix socket as unix:///path/of/the/socket")
    if len(path.encode()) > 107:
        raise UriError(f"{text!r}: the path of a unix socket has at most 107 bytes")
    return Address("unix", "", 0, path)


def _unknown_scheme(text: str, scheme: str) -> str:
    later = LATER_SCHEMES.get(scheme.partition("+")[0])
    if later:
        return f"{text!r}: the scheme {scheme} cannot be used: {later}"
    return f"{text!r}: unknown scheme {scheme}; known are {', '.join(SCHEMES)}"
