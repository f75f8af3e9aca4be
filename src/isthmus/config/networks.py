"""Networks of IP addresses, as `trusted.sources` lists them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import TypeAlias

from isthmus.config.units import NotAllowed, shown

MAXIMUM_NETWORKS = 1000
ALLOWED = "IP addresses or networks (10.0.0.0/8, fd00::/8), separated by commas or spaces"

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_networks(value: object) -> tuple[Network, ...]:
    """Read a list of networks: `10.0.0.0/8`, `10.0.0.7`, `fd00::/8`. Raises `NotAllowed`."""
    words = re.split(r"[\s,]+", value.strip()) if isinstance(value, str) else value
    if not isinstance(words, (list, tuple)):
        raise NotAllowed(f"{shown(value)} are not networks", ALLOWED)
    if len(words) > MAXIMUM_NETWORKS:
        raise NotAllowed(f"a list of {len(words)} networks is too long", f"at most {MAXIMUM_NETWORKS}")
    found: list[Network] = []
    for word in words:
        if isinstance(word, (ipaddress.IPv4Network, ipaddress.IPv6Network)):
            found.append(word)
            continue
        try:
            found.append(ipaddress.ip_network(word if isinstance(word, str) else ""))
        except ValueError as error:
            near = ""
            if isinstance(word, str) and "host bits" in str(error):
                near = str(ipaddress.ip_network(word, strict=False))
            raise NotAllowed(f"{shown(word)} is not a network", ALLOWED, near) from None
    return tuple(found)


def among(host: str, networks: Iterable[Network]) -> bool:
    """Tell whether an IP address, as a socket or a header gives it, lies in one of the networks.

    An IPv4 address that is written as an IPv6 one (`::ffff:10.0.0.7`) counts as what it is.
    """
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in networks)
