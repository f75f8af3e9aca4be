"""How often logins from one address may fail: a bucket of tokens for each, in a table that does not grow."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable

MAXIMUM_ADDRESSES = 10_000
_IPV6_NETWORK = 64
"""Bits of an IPv6 address that are one customer's; the rest they choose as they like."""


class FailureLimit:
    """Lets `per_minute` logins of each address fail in a minute, and as many at once. 0: any number.

    A login takes a token when it begins, so that many at once are limited, too, and gets it back when it
    succeeds. Beyond `MAXIMUM_ADDRESSES` the address that was seen longest ago is forgotten. `clock` is in
    seconds.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float]) -> None:
        self._most = float(per_minute)
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._under_way: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, address: str) -> float:
        """Take a token of `address`, for a login that begins. Returns 0.0, or after how many seconds there is
        one again.
        """
        if not self._most:
            return 0.0
        key = network_of(address)
        now = self._clock()
        left, at = self._buckets.pop(key, (self._most, now))
        left = min(self._most, left + (now - at) * self._most / 60.0)
        allowed = left >= 1.0
        self._buckets[key] = (left - 1.0 if allowed else left, now)
        if len(self._buckets) > MAXIMUM_ADDRESSES:
            self._buckets.popitem(last=False)
        if not allowed:
            return (1.0 - left) * 60.0 / self._most
        self._under_way[key] = self._under_way.get(key, 0) + 1
        return 0.0

    def under_way(self, address: str) -> int:
        """Return how many logins of `address` have begun and not ended."""
        return self._under_way.get(network_of(address), 0)

    def ended(self, address: str) -> None:
        """A login has ended. Its token is gone, unless it is given back."""
        key = network_of(address)
        left = self._under_way.get(key, 0) - 1
        if left > 0:
            self._under_way[key] = left
        else:
            self._under_way.pop(key, None)

    def give_back(self, address: str) -> None:
        """Give back what a login took that has not failed."""
        key = network_of(address)
        if key in self._buckets:
            left, at = self._buckets[key]
            if left + 1.0 >= self._most:
                del self._buckets[key]  # as if it had never been there
            else:
                self._buckets[key] = (left + 1.0, at)


def network_of(address: str) -> str:
    """Return what an address is counted by: an IPv4 address itself, of an IPv6 address its network."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.IPv6Network((int(parsed), _IPV6_NETWORK), strict=False))
    return str(parsed)
