"""Which proxies are on the way, where they were taken from, and do they let us through?"""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from isthmus.config.proxies import Proxy, Way, hops
from isthmus.doctor.conversation import open_conversation
from isthmus.doctor.finding import Finding, Verdict, milliseconds
from isthmus.doctor.line import Line
from isthmus.errors import ConnectError
from isthmus.transports.base import Connector
from isthmus.transports.http_authentication import (
    Attempt,
    Authentication,
    AuthenticationFailed,
    parse_challenges,
)
from isthmus.transports.http_connect import HttpConnect
from isthmus.transports.tunnel import TunnelConnector

_NAMES = {
    "basic": "Basic",
    "digest": "Digest",
    "ntlm": "NTLM",
    "negotiate": "Negotiate",
    "password": "a password",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What one proxy of the way has said. `schemes` it offers to be told who we are by, in lower case.

    `credential` says whether there is one for it, `error` why it does not open the way (empty: it does).
    """

    proxy: str
    opened: bool
    seconds: float = 0.0
    schemes: tuple[str, ...] = ()
    credential: bool = False
    error: str = ""
    hint: str = ""
    missing: tuple[str, ...] = ()
    """Schemes that need a package which is not installed."""

    @property
    def usable(self) -> tuple[str, ...]:
        return tuple(name for name in self.schemes if name in _NAMES and name not in self.missing)


def judge(way: Way, asked: Sequence[Asked]) -> Finding:
    facts = {
        "way": str(way),
        "from": way.reason,
        "proxies": [
            {
                "proxy": each.proxy,
                "opened": each.opened,
                "seconds": round(each.seconds, 4),
                "schemes": list(each.schemes),
                "usable": list(each.usable),
                "credentials": each.credential,
                "error": each.error,
            }
            for each in asked
        ],
    }
    if not way.proxies:
        why = f" ({way.reason})" if way.reason else ": neither an option nor the environment names a proxy"
        to = f"{way}" if way.instead else f"none is used{why}"
        return Finding("proxy", Verdict.OK, to, "", facts)
    refusing = next((each for each in asked if not each.opened), None)
    if refusing is None:
        how = "; ".join(_opened(each) for each in asked)
        return Finding("proxy", Verdict.OK, f"{way}: {how}", "", facts)
    seen = f"{refusing.proxy} ({way.reason}): {refusing.error}"
    return Finding("proxy", Verdict.FAILED, seen, _advice(refusing), facts)


def _opened(asked: Asked) -> str:
    who = ""
    if asked.schemes and asked.credential:
        who = f", knows who we are (offers {_listed(asked.schemes)})"
    return f"opens the way in {milliseconds(asked.seconds)}{who}"


def _advice(asked: Asked) -> str:
    if not asked.schemes or asked.credential:
        return asked.hint
    if not asked.usable:
        if asked.missing:
            return f"{_listed(asked.missing)} needs one more package: pip install 'isthmus[spnego]'"
        return "isthmus has Negotiate, NTLM, Digest and Basic: ask for one of them"
    more = f"; {_listed(asked.missing)} would need pip install 'isthmus[spnego]'" if asked.missing else ""
    return (
        f"isthmus can do {_listed(asked.usable)}: write user and password into a file (docs/proxies.md) "
        f"and name it with --proxy-credentials{more}"
    )


def _listed(schemes: Iterable[str]) -> str:
    return ", ".join(_NAMES.get(each, each) for each in schemes)


async def look(line: Line, seconds: float) -> list[Asked]:
    """Go through the proxies one by one, until one does not open the way; `seconds` for each of them."""
    found: list[Asked] = []
    for place, (proxy, host, port) in enumerate(hops(line.way, line.address)):
        upto = line.way
        if place + 1 < len(line.way.proxies):
            upto = Way(line.way.proxies[: place + 1], (host, port), line.way.reason)
        found.append(
            await _ask(line, proxy, upto, f"[{host}]:{port}" if ":" in host else f"{host}:{port}", seconds)
        )
        if not found[-1].opened:
            break
    return found


async def _ask(line: Line, proxy: Proxy, upto: Way, target: str, seconds: float) -> Asked:
    loop = asyncio.get_running_loop()
    connector = line.below(upto)
    credential = line.credential(proxy) is not None
    schemes: list[str] = []
    began = loop.time()
    if proxy.spoken == "http" and isinstance(connector, TunnelConnector):
        # Once without saying who we are: what it offers is to be known.
        shared = Authentication(str(proxy), proxy.host, lambda: None, clear=not proxy.secure)
        curious = TunnelConnector(
            connector.below,
            connector.address,
            proxy,
            lambda: HttpConnect(target, _Curious(shared, schemes)),
            connector.timeout,
        )
        error = await _outcome(curious, line, seconds)
        if error is None or not schemes:
            return _asked(proxy, loop.time() - began, credential, schemes, error)
        if not credential and "negotiate" not in schemes:
            return _asked(proxy, loop.time() - began, credential, schemes, error)
        began = loop.time()
    error = await _outcome(connector, line, seconds)
    if error is not None and not credential and "wants to know who we are" in str(error):
        schemes.append("password")  # SOCKS 5 has no other that is used
    return _asked(proxy, loop.time() - began, credential, schemes, error)


async def _outcome(connector: Connector, line: Line, seconds: float) -> ConnectError | None:
    try:
        conversation = await open_conversation(connector, line.address, seconds)
    except ConnectError as error:
        return error
    conversation.close()
    return None


def _asked(
    proxy: Proxy, seconds: float, credential: bool, schemes: Sequence[str], error: ConnectError | None
) -> Asked:
    missing: tuple[str, ...] = ()
    if importlib.util.find_spec("spnego") is None:
        missing = tuple(each for each in schemes if each in ("ntlm", "negotiate"))
    words = "" if error is None else _words(error, proxy, schemes)
    hint = "" if error is None else error.hint
    return Asked(
        str(proxy), error is None, seconds, tuple(dict.fromkeys(schemes)), credential, words, hint, missing
    )


def _words(error: ConnectError, proxy: Proxy, schemes: Sequence[str]) -> str:
    """Return what is said of the proxy, without what stands before it in every message."""
    text = str(error)
    for before in (f"the proxy {proxy}: ", f"the proxy {proxy} ", ": "):
        if before in text:
            text = text.partition(before)[2]
            break
    if schemes and proxy.spoken == "http" and "wants to know" in text:
        text = f"it answers 407 Proxy Authentication Required and offers {_listed(schemes)}"
    return text


class _Curious(Attempt):
    """Says nothing of who we are, and notes what is asked for."""

    def __init__(self, shared: Authentication, schemes: list[str]) -> None:
        super().__init__(shared, None)
        self._noted = schemes

    def challenged(self, values: Iterable[str]) -> None:
        self._noted += [each.scheme for each in parse_challenges(values)]
        raise AuthenticationFailed("it wants to know who we are")
