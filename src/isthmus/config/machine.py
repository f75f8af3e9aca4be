"""What `isthmus check` must know about the machine it runs on: its addresses, which ports it may use, its
environment.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_CAP_NET_BIND_SERVICE = 10  # its number in linux/capability.h


@dataclass(frozen=True)
class Machine:
    """A machine a gateway could run on. `Machine.here()` is this one; tests make their own.

    `addresses` are its IP addresses in their shortest form, `lowest_port` the first port this process may
    listen on; `environment` may name proxies.
    """

    addresses: frozenset[str] = frozenset()
    lowest_port: int = 0
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def here(cls) -> Machine:
        """Ask the operating system. Resolves no names."""
        import psutil  # only a check needs it

        found = (each.address.partition("%")[0] for nic in psutil.net_if_addrs().values() for each in nic)
        return cls(frozenset(_ip_addresses(found)), _lowest_port(), dict(os.environ))

    def has(self, host: str) -> bool:
        """Tell whether this machine can listen on `host`. A name is believed: nothing is resolved."""
        try:
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return True
        return address.is_unspecified or address.is_loopback or str(address) in self.addresses


def _ip_addresses(texts: Iterable[str]) -> Iterable[str]:
    for text in texts:
        try:
            yield str(ipaddress.ip_address(text))
        except ValueError:  # a hardware address
            continue


def _lowest_port() -> int:
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        effective = next(
            int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff:")
        )
        privileged = bool(effective >> _CAP_NET_BIND_SERVICE & 1)
    except (OSError, ValueError, StopIteration):
        privileged = os.geteuid() == 0
    if privileged:
        return 0
    try:
        return int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 1024
