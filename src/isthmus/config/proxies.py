"""The way out of a network: which proxies a connect goes through, and what says so.

A proxy is written as a URI, a chain of them with blanks or commas between, the nearest first:

    scheme                          what is spoken to it                                default port
    ------------------------------------------------------------------------------------------------
    http                            HTTP CONNECT (RFC 9110, section 9.3.6)              80
    https                           the same in TLS                                     443
    socks, socks5, socks5h          SOCKS 5 (RFC 1928)                                  1080
    socks4, socks4a                 SOCKS 4A                                            1080
    socks+ssl, socks+tls            SOCKS 5 in TLS, as Kaazing writes it                1443
    tcp                             nothing: go there instead of the URI's host         none
    direct                          alone: no proxy, whatever the environment says

Names of destinations are resolved by the proxy. The environment counts where no option says anything.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol
from urllib.parse import unquote

from isthmus import uri
from isthmus.config.units import NotAllowed, shown
from isthmus.errors import ConfigurationError, UriError
from isthmus.uri import Address

MAXIMUM_CHAIN = 8
ALLOWED = "http://proxy:3128, https://, socks:// (5), socks4a://, socks+ssl://; several: the nearest first"

Spoken = Literal["http", "socks5", "socks4a", "tcp", "direct"]


@dataclass(frozen=True, slots=True)
class _Kind:
    name: str
    spoken: Spoken
    secure: bool
    port: int | None


_KINDS: dict[str, _Kind] = {
    "http": _Kind("http", "http", False, 80),
    "https": _Kind("https", "http", True, 443),
    "tcp": _Kind("tcp", "tcp", False, None),
    **dict.fromkeys(("socks", "socks5", "socks5h"), _Kind("socks", "socks5", False, 1080)),
    **dict.fromkeys(("socks4", "socks4a"), _Kind("socks4a", "socks4a", False, 1080)),
    **dict.fromkeys(
        ("socks+ssl", "socks+tls", "socks5+ssl", "socks5+tls"), _Kind("socks+ssl", "socks5", True, 1443)
    ),
}


@dataclass(frozen=True, slots=True)
class Credential:
    """Who we are to a proxy. The password is in no text that is made of this."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Proxy:
    """One proxy. `credential` is only there where the environment's URI has it."""

    scheme: str
    host: str
    port: int
    credential: Credential | None = field(default=None, repr=False, compare=False)

    @property
    def spoken(self) -> Spoken:
        return "direct" if self.scheme == "direct" else _KINDS[self.scheme].spoken

    @property
    def secure(self) -> bool:
        """Whether TLS is spoken to the proxy itself."""
        return self.scheme != "direct" and _KINDS[self.scheme].secure

    @property
    def host_port(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return self.scheme if self.scheme == "direct" else f"{self.scheme}://{self.host_port}"


DIRECT = Proxy("direct", "", 0)


@dataclass(frozen=True, slots=True)
class Way:
    """How an address is reached: through `proxies`, the nearest first; without any it is a direct one.

    `instead` is where to go in place of the address's own host and port. `reason` says what decided: the name
    of an option or of a variable; empty where nothing did.
    """

    proxies: tuple[Proxy, ...] = ()
    instead: tuple[str, int] | None = None
    reason: str = ""

    def __str__(self) -> str:
        through = [str(proxy) for proxy in self.proxies]
        if self.instead is not None:
            host, port = self.instead
            through.append(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        if through:
            return f"through {', '.join(through)} ({self.reason})"
        return f"directly ({self.reason})" if self.reason else "directly"


class Options(Protocol):
    """What `way_to` asks connect-options for."""

    @property
    def tcp_transport(self) -> tuple[Proxy, ...] | None: ...
    @property
    def ssl_transport(self) -> tuple[Proxy, ...] | None: ...
    @property
    def http_transport(self) -> tuple[Proxy, ...] | None: ...


# -- reading --


def parse_chain(value: object) -> tuple[Proxy, ...]:
    """Read the value of a `transport` option. Raises `NotAllowed`, whose text never shows a password."""
    words = re.split(r"[\s,]+", value.strip()) if isinstance(value, str) else value
    if not isinstance(words, (list, tuple)) or not words:
        raise NotAllowed(f"{shown(value)} is not the URI of a proxy", ALLOWED)
    if len(words) > MAXIMUM_CHAIN:
        raise NotAllowed(f"a chain of {len(words)} proxies is too long", f"at most {MAXIMUM_CHAIN}")
    chain: list[Proxy] = []
    for word in words:
        try:
            chain.append(word if isinstance(word, Proxy) else parse_proxy(word))
        except UriError as error:
            raise NotAllowed(str(error), ALLOWED) from None
    if DIRECT in chain and len(chain) > 1:
        raise NotAllowed("direct stands beside a proxy", "direct alone, or proxies")
    for proxy in chain[:-1]:
        if proxy.spoken == "tcp":
            raise NotAllowed(f"{proxy} says where to go, and stands before a proxy", "tcp:// at the end only")
    return tuple(chain)


def parse_proxies(words: list[str] | None) -> tuple[Proxy, ...] | None:
    """Read what `--proxy` was given, once or several times. Raises `ConfigurationError`."""
    if not words:
        return None
    try:
        return parse_chain(words)
    except NotAllowed as error:
        raise ConfigurationError(f"--proxy: {error}", hint=f"allowed: {error.allowed}") from None


def parse_proxy(value: object, *, may_have_password: bool = False) -> Proxy:
    """Read one proxy. Raises `UriError`, whose text never shows a password.

    A user name and password in the URI are taken only where they `may` stand: in the environment.
    """
    text = value.strip() if isinstance(value, str) else ""
    if text == "direct":
        return DIRECT
    match = re.fullmatch(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#\s]*)/?", text)
    if match is None:
        shape = "it has a path, a query or a blank" if "://" in text else "it is no URI"
        what = f"the proxy cannot be read: {shape}" if "@" in text else f"{shown(value)} is not a proxy"
        raise UriError(f"{what}; write scheme://host:port, for example http://proxy.example.com:3128")
    scheme, authority = match[1].lower(), match[2]
    kind = _KINDS.get(scheme)
    if kind is None:
        known = ", ".join(("http", "https", "socks", "socks4a", "socks+ssl", "tcp"))
        raise UriError(f"{scheme}:// is no kind of proxy; known are {known}")
    credential = None
    if "@" in authority:
        written, _, authority = authority.rpartition("@")
        user, _, password = written.partition(":")
        credential = Credential(unquote(user), unquote(password))
        if not may_have_password:
            raise UriError(
                f"the URI of the proxy {authority} has a user name or password in it; leave them out and "
                "name a file that has them in proxy.credentials-file"
            )
    host, port = uri.split_host_port(authority, f"{scheme}://{authority}")
    port = kind.port if port is None else port
    if not port:
        raise UriError(f"{scheme}://{authority} has no port; write {scheme}://{host}:PORT")
    return Proxy(kind.name, host, port, credential)


# -- choosing --


def way_to(address: Address, options: Options, environment: Mapping[str, str]) -> Way:
    """Return how `address` is to be reached: by the options of the connect, else by the environment.

    The options lie upon each other as the layers do: `http.transport` (for ws and wss) is reached through
    `ssl.transport` (for all that is TLS), and that through `tcp.transport`.
    Raises `ConfigurationError` for a variable that cannot be read, or transports that do not fit together.
    """
    if address.kind.local:
        return Way()
    chain: list[Proxy] = []
    names: list[str] = []
    for name, transport in (
        ("tcp.transport", options.tcp_transport),
        ("ssl.transport", options.ssl_transport if address.kind.secure else None),
        ("http.transport", options.http_transport if address.kind.web else None),
    ):
        if transport is not None:
            chain += transport
            names.append(name)
    if not names:
        return _by_environment(address, environment)
    chain = [proxy for proxy in chain if proxy is not DIRECT and proxy.scheme != "direct"]
    for proxy in chain[:-1]:
        if proxy.spoken == "tcp":
            raise ConfigurationError(
                f"{' and '.join(names)}: {proxy} says where to go, and a proxy follows it",
                hint="write tcp:// in the uppermost transport only",
            )
    reason = ", ".join(names)
    if chain and chain[-1].spoken == "tcp":
        return Way(tuple(chain[:-1]), (chain[-1].host, chain[-1].port), reason)
    return Way(tuple(chain), None, reason)


def _by_environment(address: Address, environment: Mapping[str, str]) -> Way:
    names = {"ws": ("HTTP_PROXY", "ALL_PROXY"), "wss": ("HTTPS_PROXY", "ALL_PROXY")}
    for name in names.get(address.scheme, ("ALL_PROXY",)):
        written, value = _variable(environment, name)
        if name == "HTTP_PROXY" and written == name and "REQUEST_METHOD" in environment:
            continue  # in a CGI program that is the header Proxy of whoever asks
        if not value:
            continue
        if excluded := _excluded(address, environment):
            return Way(reason=excluded)
        try:
            proxy = parse_proxy(_as_uri(value), may_have_password=True)
        except UriError as error:
            raise ConfigurationError(f"the variable {written} of the environment: {error}") from None
        return Way(() if proxy is DIRECT else (proxy,), None, written)
    return Way()


def _as_uri(value: str) -> str:
    return value if "://" in value or value == "direct" else f"http://{value}"


def _variable(environment: Mapping[str, str], name: str) -> tuple[str, str]:
    """Return a variable as it is spelt and its value; lower case comes first, as with other programs."""
    for spelt in (name.lower(), name):
        if value := environment.get(spelt, "").strip():
            return spelt, value
    return name, ""


def _excluded(address: Address, environment: Mapping[str, str]) -> str:
    """Return what says that the environment's proxy is not for this address; empty where nothing does."""
    ip = address.ip
    if address.host == "localhost" or (ip is not None and ip.is_loopback):
        return "this machine itself"
    written, value = _variable(environment, "NO_PROXY")
    for entry in re.split(r"[\s,]+", value):
        if entry and _covers(entry.lower(), address):
            return f"{written}: {entry}"
    return ""


def _covers(entry: str, address: Address) -> bool:
    """Tell whether one entry of NO_PROXY is for an address: `*`, a name (and all below it), an IP address, a
    network, each but a network with or without `:port`.
    """
    if entry == "*":
        return True
    ip = address.ip
    try:
        network = ipaddress.ip_network(entry, strict=False)
    except ValueError:
        pass
    else:
        return ip is not None and ip.version == network.version and ip in network
    match = re.fullmatch(r"(\[[0-9a-f:.]+\]|[^:]+)(?::([0-9]{1,5}))?", entry)
    if match is None or (match[2] and int(match[2]) != address.port):
        return False
    host = match[1].strip("[]")
    if ip is not None:
        return str(ip) == host
    host = host.removeprefix("*").strip(".")
    return bool(host) and (address.host.rstrip(".") == host or address.host.rstrip(".").endswith(f".{host}"))


def hops(way: Way, address: Address) -> Iterator[tuple[Proxy, str, int]]:
    """Yield each proxy of a way with the host and port that it is to open."""
    ends = [(proxy.host, proxy.port) for proxy in way.proxies[1:]]
    ends.append(way.instead or (address.host, address.port))
    yield from ((proxy, *end) for proxy, end in zip(way.proxies, ends, strict=False))
