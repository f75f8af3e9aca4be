"""The connectors of a way through proxies: see `config.proxies.Way`."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass

from isthmus.config.model import ConnectOptions
from isthmus.config.proxies import Credential, Proxy, Way, hops
from isthmus.transports.base import Connector
from isthmus.transports.negotiation import Negotiation
from isthmus.uri import Address

Credentials = Callable[[Proxy], Credential | None]
"""Asked at each connect who we are to a proxy. Never raises."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """How the connects of a service leave this network: `way` is asked once for each destination."""

    way: Callable[[Address], Way] = lambda address: Way()
    credentials: Credentials = lambda proxy: proxy.credential
    accept: Address | None = None
    """Where clients are received, for servers that are told of them."""
    anonymous: Callable[[ConnectOptions], ssl.SSLContext] | None = None
    """TLS without a certificate of ours, for servers that a redirect leads to."""


_SCHEMES = {"http": ("http", "https"), "socks5": ("tcp", "ssl"), "socks4a": ("tcp", "ssl")}


def through(
    way: Way,
    address: Address,
    options: ConnectOptions,
    socket: Callable[[Address, Address], Connector],
    context: Callable[[], ssl.SSLContext],
    credentials: Credentials,
) -> Connector:
    """Return what reaches `address` as bytes, by `way`: no layer of the address's own is in it yet.

    `socket` makes what connects a socket, known as one address, to another, and `context` is asked for the
    TLS settings of proxies.
    """
    if not way.proxies:
        host, port = way.instead or (address.host, address.port)
        return socket(address, Address(address.scheme, host, port))
    from isthmus.transports.tunnel import (
        TunnelConnector,  # as all that follows: only a way through proxies pays
    )

    first = way.proxies[0]
    below = socket(_address_of(first), _address_of(first))
    timeout = options.connect_timeout
    for proxy, host, port in hops(way, address):
        if proxy.secure:
            from isthmus.transports.tls_over import TlsOverConnector  # with its libraries: only TLS pays

            below = TlsOverConnector(below, _address_of(proxy), proxy.host, context, timeout)
        below = TunnelConnector(below, address, proxy, _talk(proxy, host, port, credentials), timeout)
    return below


def _address_of(proxy: Proxy) -> Address:
    """Return a proxy as an address, for messages about what is below it."""
    return Address(_SCHEMES[proxy.spoken][proxy.secure], proxy.host, proxy.port)


def _talk(proxy: Proxy, host: str, port: int, credentials: Credentials) -> Callable[[], Negotiation]:
    """Return what makes the negotiation with `proxy` about the way to a host and port."""

    def who() -> Credential | None:
        return credentials(proxy)

    host = host.rstrip(".")
    if proxy.spoken in ("socks5", "socks4a"):
        from isthmus.transports.socks import Socks4a, Socks5

        if proxy.spoken == "socks5":
            return lambda: Socks5(host, port, who())
        return lambda: Socks4a(host, port, (who() or Credential("", "")).user)
    from isthmus.transports.http_authentication import Authentication
    from isthmus.transports.http_connect import HttpConnect

    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    shared = Authentication(str(proxy), proxy.host, who, clear=not proxy.secure)
    return lambda: HttpConnect(target, shared.begin())
