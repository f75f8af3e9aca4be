"""Who somebody is: the immutable result of authentication, and what a request shows to get one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

Voucher = tuple[int, str]
"""A login module's place in its realm, and what it knows its entry again by (never a secret)."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody, as a realm knows them.

    `expires` is in seconds since 1970, None where nothing ends it. `vouchers` are the login modules that
    vouched for it; they tell later whether they still do.
    """

    realm: str
    subject: str
    roles: frozenset[str] = frozenset()
    expires: float | None = None
    vouchers: tuple[Voucher, ...] = field(default=(), repr=False)

    @property
    def anonymous(self) -> bool:
        """Whether nobody was asked who they are."""
        return not self.realm

    def __str__(self) -> str:
        """Return `realm/subject`, which no other identity has: a realm's name has no slash."""
        return f"{self.realm}/{self.subject}" if self.realm else "anonymous"


ANONYMOUS = Identity("", "")
"""Whoever comes to an accept without a realm: an identity of its own, the same for all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a client shows when it asks to be let in. It holds secrets, so it does not show them in a log.

    `headers` are (lower-case name, value) in the order sent, `query` is as sent. `client` is its IP address.
    `certificate` is the one that TLS has verified, in DER. `websocket` tells a WebSocket handshake from a
    request of HTTP.
    """

    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    query: str = field(default="", repr=False)
    client: str = ""
    certificate: bytes | None = field(default=None, repr=False)
    websocket: bool = True

    def values(self, name: str) -> Iterable[str]:
        """Return the values of all fields called `name` (in whatever case)."""
        name = name.lower()
        return [value for key, value in self.headers if key == name]
