"""Cookies that the balancers of one destination have set, given back to them: a part of RFC 6265.

kept of a Set-Cookie            how it counts
------------------------------------------------------------------------------------
name, value                     the last of the same name, path and host
Path                            of the request, where it is not written
Max-Age, else Expires           until then; without either as long as the gateway runs
Secure                          sent over wss only, and taken over wss only
Domain                          not: a cookie goes to the very host that set it
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from isthmus.uri import Address

MAXIMUM_SIZE = 4096
"""Bytes of one cookie, name and value."""
MAXIMUM_HEADER = 8 * 1024
"""Bytes of what is given back in one request."""
_PAIR = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+=[\x20-\x3a\x3c-\x7e]*")


@dataclass(frozen=True, slots=True)
class _Cookie:
    pair: str
    path: str
    secure: bool
    ends: float


class CookieJar:
    """At most `maximum` cookies; the oldest give way. `clock` tells seconds since the epoch."""

    def __init__(self, maximum: int, *, clock: Callable[[], float] = time.time) -> None:
        self._maximum = maximum
        self._clock = clock
        self._cookies: dict[tuple[str, str, str], _Cookie] = {}

    def __len__(self) -> int:
        return len(self._cookies)

    def learn(self, address: Address, values: Iterable[str]) -> None:
        """Take the Set-Cookie fields of an answer from `address`; what cannot be read is passed over."""
        for value in values:
            pair, *attributes = (part.strip() for part in value.split(";"))
            if not _PAIR.fullmatch(pair) or len(pair) > MAXIMUM_SIZE:
                continue
            known = {
                name.strip().lower(): text.strip() for name, _, text in (a.partition("=") for a in attributes)
            }
            secure = "secure" in known
            if secure and not address.kind.secure:
                continue
            path = known.get("path", "")
            if not path.startswith("/") or len(path) > MAXIMUM_SIZE:
                path = address.resource.rpartition("/")[0] or "/"
            ends = self._end(known)
            key = (address.host, pair.partition("=")[0], path)
            self._cookies.pop(key, None)
            if ends > self._clock() and self._maximum:
                self._cookies[key] = _Cookie(pair, path, secure, ends)
                if len(self._cookies) > self._maximum:
                    del self._cookies[next(iter(self._cookies))]

    def header(self, address: Address) -> str:
        """Return the value of Cookie for a request to `address`, the longest paths first; empty for none."""
        now = self._clock()
        self._cookies = {key: cookie for key, cookie in self._cookies.items() if cookie.ends > now}
        fitting = [
            cookie
            for (host, _, _), cookie in self._cookies.items()
            if host == address.host
            and (address.kind.secure or not cookie.secure)
            and _is_below(address.resource, cookie.path)
        ]
        fitting.sort(key=lambda cookie: -len(cookie.path))
        pairs, size = [], 0
        for cookie in fitting:
            size += len(cookie.pair) + 2
            if size <= MAXIMUM_HEADER:
                pairs.append(cookie.pair)
        return "; ".join(pairs)

    def _end(self, attributes: dict[str, str]) -> float:
        """Return when a cookie ends; what cannot be read counts as not written (RFC 6265, section 5.2)."""
        age = attributes.get("max-age", "")
        if re.fullmatch(r"-?[0-9]{1,12}", age):
            return self._clock() + int(age) if int(age) > 0 else 0.0
        if "expires" in attributes:
            from email.utils import parsedate_to_datetime  # takes its time to load

            try:
                return parsedate_to_datetime(attributes["expires"]).timestamp()
            except (ValueError, OverflowError, TypeError):
                pass
        return float("inf")


def _is_below(path: str, prefix: str) -> bool:
    """RFC 6265, section 5.1.4."""
    return path == prefix or path.startswith(prefix if prefix.endswith("/") else f"{prefix}/")
