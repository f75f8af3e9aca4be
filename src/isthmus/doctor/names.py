"""Is the name known here, in both families?"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import threading
from dataclasses import dataclass

from isthmus.doctor.finding import Finding, Verdict, milliseconds

MAXIMUM_ADDRESSES = 4
"""Of each family; more are not looked at."""
_FAMILIES = {"IPv4": socket.AF_INET, "IPv6": socket.AF_INET6}


@dataclass(frozen=True, slots=True)
class Names:
    """What the resolver said. `whose` is "the gateway" or "the proxy". `error` is the last one's words.

    `literal` says that the host is an address, so that nobody was asked.
    """

    host: str
    whose: str = "the gateway"
    ipv4: tuple[str, ...] = ()
    ipv6: tuple[str, ...] = ()
    seconds: float = 0.0
    error: str = ""
    literal: bool = False

    @property
    def addresses(self) -> tuple[str, ...]:
        return (*self.ipv6, *self.ipv4)


def judge(names: Names) -> Finding:
    facts = {
        "host": names.host,
        "of": names.whose,
        "ipv4": list(names.ipv4),
        "ipv6": list(names.ipv6),
        "seconds": round(names.seconds, 4),
    }

    def finding(verdict: Verdict, seen: str, advice: str = "") -> Finding:
        return Finding("names", verdict, seen, advice, facts)

    if names.literal:
        return finding(Verdict.OK, f"{names.host} is an address, no name to look up")
    if not names.addresses:
        advice = "check the name, and this machine's DNS; where only a proxy knows names, give --proxy"
        why = f": {names.error}" if names.error else ""
        return finding(Verdict.FAILED, f"{names.host} ({names.whose}) is not found{why}", advice)
    found = [
        f"{', '.join(addresses)} ({family})"
        for family, addresses in (("IPv4", names.ipv4), ("IPv6", names.ipv6))
        if addresses
    ]
    seen = f"{names.host} is {' and '.join(found)}, found in {milliseconds(names.seconds)}"
    if not names.ipv4:
        advice = "fine where IPv6 is; a network without it will not reach this name"
        return finding(Verdict.NOTE, f"{seen}; it has no IPv4 address", advice)
    if not names.ipv6:
        seen += "; no IPv6"
    if names.seconds > 1.0:
        advice = "one of this machine's DNS servers may be away: see its resolver's settings"
        return finding(Verdict.WARNING, f"{seen}: that is slow, at each connect", advice)
    return finding(Verdict.OK, seen)


async def look(host: str, whose: str, seconds: float) -> Names:
    """Ask the resolver for both families at once, for `seconds` at most."""
    literal = _literal(host, whose)
    if literal is not None:
        return literal
    loop = asyncio.get_running_loop()
    began = loop.time()
    answers = {family: _ask(loop, host, number) for family, number in _FAMILIES.items()}
    await asyncio.wait(answers.values(), timeout=seconds)
    found: dict[str, tuple[str, ...]] = {}
    error = ""
    for family, answer in answers.items():
        if not answer.done():
            answer.cancel()
            error = f"the resolver does not answer within {seconds:g} s"
        elif (failure := answer.exception()) is not None:
            error = error or str(getattr(failure, "strerror", None) or failure)
        else:
            found[family] = answer.result()
    return Names(
        host, whose, found.get("IPv4", ()), found.get("IPv6", ()), loop.time() - began, "" if found else error
    )


def _literal(host: str, whose: str) -> Names | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    own = (str(address),)
    ipv4, ipv6 = (own, ()) if address.version == 4 else ((), own)
    return Names(host, whose, ipv4, ipv6, literal=True)


def _ask(loop: asyncio.AbstractEventLoop, host: str, family: int) -> asyncio.Future[tuple[str, ...]]:
    """Resolve on a thread of its own, which nobody waits for: a resolver may take as long as it likes."""
    answer: asyncio.Future[tuple[str, ...]] = loop.create_future()

    def tell(found: tuple[str, ...], error: OSError | None) -> None:
        if answer.done():
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(found)

    def work() -> None:
        found: tuple[str, ...] = ()
        failure: OSError | None = None
        try:
            infos = socket.getaddrinfo(host, None, family, socket.SOCK_STREAM)
            found = tuple(dict.fromkeys(str(info[4][0]) for info in infos))[:MAXIMUM_ADDRESSES]
        except (OSError, UnicodeError) as error:
            failure = error if isinstance(error, OSError) else OSError(str(error))
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody wants to know any more
            loop.call_soon_threadsafe(tell, found, failure)

    threading.Thread(target=work, daemon=True, name="doctor-names").start()
    return answer
