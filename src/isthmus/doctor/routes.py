"""Which way does it leave this machine, and what answers at each address?"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from isthmus.doctor.finding import Finding, Verdict, milliseconds
from isthmus.errors import ConnectError
from isthmus.transports.dial import ATTEMPT_DELAY, SocketDial
from isthmus.transports.stream_socket import PlainStreamSocket
from isthmus.uri import Address

PATIENCE = 5.0
"""Seconds that each address has to answer."""
Outcome = Literal["connected", "refused", "silent", "no route", "failed"]
_NO_ROUTE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EACCES, errno.EPERM)


@dataclass(frozen=True, slots=True)
class Route:
    """What became of one address. `local` and `interface` are where its packets leave; empty: not known."""

    ip: str
    outcome: Outcome
    seconds: float = 0.0
    local: str = ""
    interface: str = ""
    mtu: int = 0
    error: str = ""

    @property
    def family(self) -> str:
        return "IPv6" if ":" in self.ip else "IPv4"


def best(routes: Sequence[Route]) -> Route | None:
    """Return the address that is used for all that follows: of those that answer the quickest, IPv6 first
    where it is about as quick (RFC 8305).
    """
    answered = [route for route in routes if route.outcome == "connected"]
    return min(
        answered, key=lambda route: route.seconds + (0 if route.family == "IPv6" else 0.05), default=None
    )


def judge(routes: Sequence[Route], port: int, whose: str) -> Finding:
    """`whose` is "the gateway" or "the proxy"; a proxy that does not answer is not to be gone around."""
    facts = {
        "port": port,
        "of": whose,
        "addresses": [
            {
                "address": each.ip,
                "outcome": each.outcome,
                "seconds": round(each.seconds, 4),
                "local": each.local,
                "interface": each.interface,
                "mtu": each.mtu,
            }
            for each in routes
        ],
    }
    used = best(routes)
    if used is None:
        return _unreached(routes, port, whose, facts)
    seen = f"{_shown(used.ip, port)} ({whose}) answers in {milliseconds(used.seconds)}{_from(used)}"
    others = sorted({each.family for each in routes if each.outcome == "connected"} - {used.family})
    seen += f"; {others[0]} too" if others else ""
    broken = [each for each in routes if each.family == "IPv6" and each.outcome != "connected"]
    worked = any(each.family == "IPv6" and each.outcome == "connected" for each in routes)
    if broken and not worked:
        how = _how(broken[0])
        if broken[0].outcome == "silent":
            wait = milliseconds(ATTEMPT_DELAY)
            advice = (
                f"each connect loses {wait} before IPv4 is tried: have IPv6 repaired, or its name dropped"
            )
            return Finding("routes", Verdict.WARNING, f"{seen}; IPv6 is broken: {how}", advice, facts)
        return Finding("routes", Verdict.NOTE, f"{seen}; IPv6: {how}, which costs nothing", "", facts)
    silent = [each.ip for each in routes if each.outcome != "connected" and each.family == "IPv4"]
    if silent and not broken:
        advice = "one of several addresses is away: tell whoever runs it"
        return Finding("routes", Verdict.WARNING, f"{seen}; {', '.join(silent)} not", advice, facts)
    return Finding("routes", Verdict.OK, seen, "", facts)


def _unreached(routes: Sequence[Route], port: int, whose: str, facts: dict[str, object]) -> Finding:
    told = "; ".join(f"{_shown(each.ip, port)}: {_how(each)}" for each in routes[:4])
    outcomes = {each.outcome for each in routes}
    proxy = "" if whose == "the proxy" else "; if browsers here use a proxy, give it with --proxy"
    if "silent" in outcomes:
        advice = f"a firewall drops it, or the machine is away: ask for TCP port {port} to be let out{proxy}"
    elif "refused" in outcomes:
        advice = (
            f"nothing listens there, or a firewall refuses: check port {port} and that {whose} runs{proxy}"
        )
    elif outcomes == {"no route"}:
        advice = f"this machine has no way there: check its network and its routes{proxy}"
    else:
        advice = f"check the address and port of {whose}"
    return Finding("routes", Verdict.FAILED, f"{whose} is not reached: {told}", advice, facts)


def _how(route: Route) -> str:
    match route.outcome:
        case "silent":
            return f"no answer within {route.seconds or PATIENCE:.1g} s"
        case "refused":
            return "connection refused"
        case "no route":
            return f"no route ({route.error})"
        case _:
            return route.error or route.outcome


def _from(route: Route) -> str:
    if not route.local:
        return ""
    details = ", ".join(filter(None, [route.interface, f"MTU {route.mtu}" if route.mtu else ""]))
    return f", from {route.local}{f' ({details})' if details else ''}"


def _shown(ip: str, port: int) -> str:
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


async def look(addresses: Sequence[str], port: int, seconds: float) -> list[Route]:
    """Connect to each address at once, for `seconds` at most, and close again."""
    return list(await asyncio.gather(*(_try(ip, port, min(seconds, PATIENCE)) for ip in addresses)))


async def _try(ip: str, port: int, seconds: float) -> Route:
    loop = asyncio.get_running_loop()
    local, interface, mtu = _leaves(ip, port)
    ended: asyncio.Future[ConnectError | None] = loop.create_future()

    def connected(sock: PlainStreamSocket) -> None:
        sock.close()
        if not ended.done():
            ended.set_result(None)

    def failed(error: ConnectError) -> None:
        if not ended.done():
            ended.set_result(error)

    began = loop.time()
    dial = SocketDial(loop, Address("tcp", ip, port), seconds, connected, failed)
    dial.start()
    try:
        error = await ended
    finally:
        dial.cancel()
    outcome, words = _outcome(error)
    return Route(ip, outcome, loop.time() - began, local, interface, mtu, words)


def _outcome(error: ConnectError | None) -> tuple[Outcome, str]:
    if error is None:
        return "connected", ""
    cause = error.__cause__
    number = cause.errno if isinstance(cause, OSError) else None
    words = str(error).rpartition(": ")[2]
    if error.status == 504 or number == errno.ETIMEDOUT:
        return "silent", words
    if number == errno.ECONNREFUSED:
        return "refused", words
    return ("no route" if number in _NO_ROUTE else "failed"), words


def _leaves(ip: str, port: int) -> tuple[str, str, int]:
    """Return the local address, the interface and its MTU that the kernel would use; nothing is sent."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as asked:
            asked.connect((ip, port or 1))
            local = str(asked.getsockname()[0])
    except OSError:
        return "", "", 0
    import psutil

    try:
        stats = psutil.net_if_stats()
        for name, addresses in psutil.net_if_addrs().items():
            if any(each.family == family and _same(each.address, local) for each in addresses):
                return local, name, stats[name].mtu if name in stats else 0
        if ipaddress.ip_address(local).is_loopback:  # all of 127.0.0.0/8 is
            return local, "loopback", 0
    except (OSError, psutil.Error):
        pass
    return local, "", 0


def _same(one: str, other: str) -> bool:
    return one.partition("%")[0] == other.partition("%")[0]
