"""May a WebSocket be opened, and does what it asks for arrive?

A gateway that answers probes tells what arrived of a request (`Mirror`), so that it is known and not guessed
who stripped a field: somebody on the way, or nobody.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from isthmus.doctor.conversation import Conversation, Ended, HandshakeError
from isthmus.doctor.fallback import when_blocked
from isthmus.doctor.finding import Finding, Verdict, quoted
from isthmus.doctor.line import Line
from isthmus.doctor.seal import ADVICE, seal, span_of
from isthmus.errors import ConnectError
from isthmus.span.frames import SEALED_SUBPROTOCOL, SUBPROTOCOL
from isthmus.transports import probe
from isthmus.transports.fallback import blocks
from isthmus.uri import Address
from isthmus.websocket.handshake import ResponseHead

_MOST = 8 * 1024
_HELLO = 3.0
"""Seconds that a server which chose span may take for its first message."""
_BINARY = b"\x82"
_SPAN = (SUBPROTOCOL, SEALED_SUBPROTOCOL)
_TOLD_OF = ("server", "via", "location", "www-authenticate", "content-type", "proxy-agent", "x-cache")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a handshake was answered. `status` 0: nothing came, and `error` says how that ended.

    `error` is also what is wrong with a 101. `own` says whether it is in the form of isthmus's own refusals,
    `asked` whether there was a connection to ask over, `silent` whether that stood and nothing came.
    """

    offered: str
    status: int = 0
    reason: str = ""
    fields: tuple[tuple[str, str], ...] = ()
    chosen: str | None = None
    error: str = ""
    own: bool = False
    seconds: float = 0.0
    asked: bool = True
    silent: bool = False

    @property
    def opened(self) -> bool:
        return self.status == 101 and not self.error

    def get(self, name: str) -> str:
        return next((value for key, value in self.fields if key == name), "")


@dataclass(frozen=True, slots=True)
class Mirror:
    """What the gateway said of a request. `status` is that of its answer: 200 with `told`, or without."""

    status: int
    told: dict[str, Any]
    asked_at: float = 0.0
    answered_at: float = 0.0
    date: str = ""

    def field(self, name: str) -> str:
        fields = self.told.get("fields")
        return str(fields.get(name, "")) if isinstance(fields, dict) else ""


@dataclass(frozen=True, slots=True)
class Upgrade:
    """All that was asked: `span` and `probed` are handshakes with those subprotocols, `plain` one without
    (where the others were refused). `mirror` is of a request that looks like a handshake, `ordinary` of one
    that does not. None: not asked, or nobody answered. `spoke`: a server that chose span said its HELLO,
    which comes first. `unsealed`: why it is not sealed to the gateway of `--seal-pin`; empty: it is; None:
    that was not asked for.
    """

    address: Address
    span: Answer
    probed: Answer | None = None
    plain: Answer | None = None
    mirror: Mirror | None = None
    ordinary: Mirror | None = None
    credentials: bool = False
    spoke: bool = True
    unsealed: str | None = None

    @property
    def best(self) -> Answer:
        """The answer that counts: one that opened, else the first."""
        answers = [each for each in (self.span, self.probed, self.plain) if each is not None]
        return next((each for each in answers if each.opened), self.span)

    @property
    def opened(self) -> bool:
        return self.best.opened

    @property
    def has_span(self) -> bool:
        return self.span.opened and self.span.chosen in _SPAN and self.spoke

    @property
    def can_probe(self) -> bool:
        """Whether the far side's WebSocket answers probes."""
        return self.probed is not None and self.probed.opened and self.probed.chosen == probe.SUBPROTOCOL

    @property
    def told(self) -> Mirror | None:
        """What the gateway said, if it did."""
        return next((each for each in (self.mirror, self.ordinary) if each is not None and each.told), None)

    @property
    def stripped(self) -> str:
        """Which field did not arrive that a handshake must have; empty where that is not known."""
        if self.mirror is None or not self.mirror.told:
            return ""
        if not self.mirror.field("upgrade"):
            return "Upgrade"
        if "upgrade" not in self.mirror.field("connection").lower():
            return "Connection: Upgrade"
        return "" if self.mirror.field("sec-websocket-version") else "Sec-WebSocket-Version"

    @property
    def blocked(self) -> bool:
        """Whether a WebSocket may be blocked on the way, where other requests of HTTP are answered."""
        answer, ordinary = self.span, self.ordinary
        if self.opened or not answer.asked or (self.told is None and ordinary is None):
            return False
        if self.stripped or answer.status in (0, 101):
            return True
        if answer.own or (answer.status == 401 and ordinary is not None and ordinary.status == 401):
            return answer.status == 426
        reaches = ordinary is not None and bool(ordinary.told)
        return reaches or answer.status == 403 or self.falls_back

    @property
    def falls_back(self) -> bool:
        """Whether a connect that gets this answer emulates the WebSocket at once, by itself."""
        if self.span.status in (0, 101):
            return not self.span.silent
        return blocks(self.span.status, self.span.fields)


def judge(upgrade: Upgrade) -> Finding:
    if upgrade.opened:
        return _opened(upgrade)
    verdict, seen, advice = _refused(upgrade)
    return Finding("upgrade", verdict, seen, advice, _facts(upgrade))


def emulated(finding: Finding) -> Finding:
    """Return what is found where the WebSocket is emulated instead: it is no end any more."""
    return replace(finding, verdict=Verdict.WARNING, advice="it is emulated instead: see emulation")


def _opened(upgrade: Upgrade) -> Finding:
    facts = _facts(upgrade)
    notes = []
    if (
        upgrade.mirror is not None
        and upgrade.mirror.told
        and not upgrade.mirror.field("sec-websocket-extensions")
    ):
        notes.append("extensions are stripped (isthmus uses none)")
    more = f"; {'; '.join(notes)}" if notes else ""
    if upgrade.unsealed:
        seen = f"a WebSocket opens, and nothing is sent over it: {upgrade.unsealed}"
        return Finding("upgrade", Verdict.FAILED, seen + more, ADVICE, facts)
    if upgrade.unsealed is not None:
        seen = f"a WebSocket opens and is sealed to the gateway of --seal-pin: streams outlive it{more}"
        return Finding("upgrade", Verdict.OK, seen, "", facts)
    if upgrade.has_span:
        seen = f"a WebSocket opens, subprotocol kept; span is spoken: streams outlive it{more}"
        return Finding("upgrade", Verdict.OK, seen, "", facts)
    if not upgrade.spoke:
        seen = f"a WebSocket opens and span is chosen, but nothing follows within {_HELLO:g} s{more}"
        advice = (
            "the server takes any subprotocol (then: span.mode never), or what it says first is held back"
        )
        return Finding("upgrade", Verdict.WARNING, seen, advice, facts)
    told = upgrade.told
    lost = "each connection gets a WebSocket of its own, and is lost with it"
    if told is not None and told.told.get("span"):
        request = (
            upgrade.mirror is not None
            and upgrade.mirror.told
            and not upgrade.mirror.field("sec-websocket-protocol")
        )
        where = "the request" if request else "the answer, or the handshake that offers it is refused"
        seen = f"a WebSocket opens, but the gateway speaks span and the subprotocol is stripped from {where}"
        advice = f"{lost}; ask for Sec-WebSocket-Protocol to be let through"
        return Finding("upgrade", Verdict.WARNING, seen + more, advice, facts)
    if not upgrade.span.opened:
        seen = f"a WebSocket opens, but one that offers span is refused with {_status(upgrade.span)}"
        return Finding("upgrade", Verdict.WARNING, seen + more, lost, facts)
    why = "span.mode is never there" if told is not None else "the server is no isthmus, or an older one"
    return Finding(
        "upgrade", Verdict.NOTE, f"a WebSocket opens, without span ({why}): {lost}{more}", "", facts
    )


def _refused(upgrade: Upgrade) -> tuple[Verdict, str, str]:
    answer, address = upgrade.span, upgrade.address
    blocked = when_blocked(address)
    status = _status(answer)
    failed = Verdict.FAILED
    if stripped := upgrade.stripped:
        seen = f"{stripped} is stripped on the way: the gateway got a request without it (answered {status})"
        return failed, seen, blocked
    if answer.status == 0:
        seen = f"no answer to the handshake: {answer.error}"
        if upgrade.ordinary is not None and upgrade.ordinary.told:
            return (
                failed,
                f"{seen}; an ordinary request reaches the gateway: WebSocket is cut on the way",
                blocked,
            )
        advice = "check that a WebSocket server listens there"
        if address.kind.secure:  # the alert that says so is often lost in a reset
            advice += "; one that asks for a client certificate ends it so, too: --keystore"
        return failed, seen, advice
    if answer.status == 101:
        return failed, f"the answer was changed: {answer.error}", blocked
    reaches = upgrade.ordinary is not None and bool(upgrade.ordinary.told)
    if answer.own or (
        answer.status == 401 and upgrade.ordinary is not None and upgrade.ordinary.status == 401
    ):
        return _by_gateway(upgrade, answer, status)
    who = _who(answer)
    if reaches:
        seen = f"refused with {status} {who}, but an ordinary request reaches the gateway: blocked on the way"
        return failed, seen, blocked
    match answer.status:
        case 401:
            return _by_gateway(upgrade, answer, status)
        case 404:
            return (
                failed,
                f"refused with {status} {who}: nothing is known by this name and path",
                (f"check {address.authority} and {address.resource} against the gateway's accept"),
            )
        case 403:
            seen = f"refused with {status} {who}: by the server, or a filter on the way"
            return failed, seen, blocked
        case 502 | 503 | 504:
            seen = f"refused with {status} {who}: the server there is not reached by whoever answers"
            return failed, seen, "ask the gateway's operator: it, or what stands before it, is not up"
        case found if 300 <= found < 400:
            seen = f"redirected with {status} to {quoted(answer.get('location'))}"
            return (
                failed,
                seen,
                "a login page of this network, or set http.maximum.redirects, or connect there",
            )
        case found if found < 300:
            seen = (
                f"answered {status} {who} as if it were an ordinary request: Upgrade is stripped on the way"
            )
            seen += ", or there is no WebSocket"
            return failed, seen, blocked
        case _:
            return failed, f"refused with {status} {who}", blocked


def _by_gateway(upgrade: Upgrade, answer: Answer, status: str) -> tuple[Verdict, str, str]:
    """What the gateway itself, or the server behind it, refuses: nothing on the way does."""
    seen = f"the gateway itself refuses with {status}"
    match answer.status:
        case 401:
            asks = quoted(answer.get("www-authenticate"))
            if not upgrade.address.kind.secure:
                advice = "use wss: isthmus shows who we are over TLS only"
            elif upgrade.credentials:
                advice = "what --credentials holds is not taken there"
            else:
                advice = "put a token, or user:password, into a file and name it with --credentials"
            return Verdict.FAILED, f"{seen}: it asks who we are ({asks})", advice
        case 403:
            return Verdict.FAILED, f"{seen}: who we are may not come in", "ask its operator to be let in"
        case 404:
            seen += ": it has no accept with this name and path"
            return Verdict.FAILED, seen, "check name, port and path; --proxy and Host change neither"
        case 426:
            seen += ": the request came without Upgrade, which is stripped on the way"
            return Verdict.FAILED, seen, when_blocked(upgrade.address)
        case 429 | 503:
            return Verdict.FAILED, f"{seen}: too many logins or probes now", "try again in a minute"
        case _:
            return Verdict.FAILED, seen, "the way is free; ask the gateway's operator about its service"


def _status(answer: Answer) -> str:
    return f"{answer.status} {quoted(answer.reason, 40)}".rstrip()


def _who(answer: Answer) -> str:
    for name in ("via", "server", "proxy-agent"):
        if value := answer.get(name):
            return f"by {quoted(value, 40)!r}"
    return "by somebody who does not say who"


def _facts(upgrade: Upgrade) -> dict[str, object]:
    told = upgrade.told
    return {
        "opened": upgrade.opened,
        "span": upgrade.has_span,
        "probes": upgrade.can_probe,
        "sealed": upgrade.unsealed == "",
        "stripped": upgrade.stripped,
        "gateway says": None if told is None else told.told,
        "answers": [
            {
                "offered": each.offered,
                "status": each.status,
                "reason": quoted(each.reason),
                "chosen": each.chosen,
                "error": each.error,
                "fields": {name: quoted(value) for name, value in each.fields},
                "by the gateway": each.own,
                "seconds": round(each.seconds, 4),
            }
            for each in (upgrade.span, upgrade.probed, upgrade.plain)
            if each is not None
        ],
    }


async def look(line: Line, seconds: float) -> Upgrade:
    """Ask for a WebSocket with each subprotocol, and for what arrives of a request; `seconds` for each."""
    credentials = line.options.authorization_file is not None and line.trusted
    span, spoke, unsealed = await _offer_span(line, seconds)
    probed = plain = None
    if span.opened or span.status not in (0, 401, 404):
        probed = await _handshake(line, (probe.SUBPROTOCOL,), seconds)
        if not span.opened and not probed.opened:
            plain = await _handshake(line, (), seconds)
    # A login that is wrong is not repeated: logins are counted.
    mirror = await _mirror(line, True, seconds) if span.status != 401 else None
    ordinary = None
    if mirror is None or not mirror.told:
        ordinary = await _mirror(line, False, seconds)
    return Upgrade(line.address, span, probed, plain, mirror, ordinary, credentials, spoke, unsealed)


async def _offer_span(line: Line, seconds: float) -> tuple[Answer, bool, str | None]:
    """Return the answer to a handshake that offers span, whether a server that chose it spoke then, and
    `unsealed`, see `Upgrade`.
    """
    offered, unsealed = span_of(line), None
    try:
        conversation = await line.talk(seconds)
    except ConnectError as error:
        return _unreached(line, offered, error), True, None
    answer, rest = await shake_hands(line, conversation, (offered,), seconds)
    spoke = True
    if answer.opened and offered == SEALED_SUBPROTOCOL:
        unsealed = await seal(line, conversation.transport, answer.chosen, rest, seconds)
    elif answer.opened and answer.chosen == SUBPROTOCOL:
        try:
            async with asyncio.timeout(_HELLO):
                spoke = (rest or (await conversation.read()).data)[:1] == _BINARY
        except (TimeoutError, Ended):
            spoke = False
    conversation.close()
    return answer, spoke, unsealed


def _unreached(line: Line, offered: str, error: ConnectError) -> Answer:
    words = str(error).removeprefix(f"Unable to connect to {line.address}: ")
    return Answer(offered, error=words, asked=False)


async def _handshake(line: Line, subprotocols: Sequence[str], seconds: float) -> Answer:
    try:
        conversation = await line.talk(seconds)
    except ConnectError as error:
        return _unreached(line, " ".join(subprotocols), error)
    answer, _ = await shake_hands(line, conversation, subprotocols, seconds)
    conversation.close()
    return answer


async def shake_hands(
    line: Line, conversation: Conversation, subprotocols: Sequence[str], seconds: float
) -> tuple[Answer, bytes]:
    """Ask for a WebSocket over a connection; return the answer and what came behind it.

    Never raises for what the other side does.
    """
    offered = " ".join(subprotocols)
    asking = line.door().handshake(line.asked, subprotocols, ())
    began = conversation.now()
    conversation.write(asking.request())
    try:
        async with asyncio.timeout(seconds):
            response, when, rest = await conversation.head()
    except TimeoutError:
        return Answer(offered, error=f"nothing came within {seconds:g} s", silent=True), b""
    except Ended:
        how = quoted(str(conversation.error), 120) if conversation.error else "the connection was ended"
        return Answer(offered, error=how), b""
    except HandshakeError as error:
        return Answer(offered, error=f"what came is no HTTP: {error.reason}"), b""
    fields = tuple((name, _told(name, value)) for name, value in response.headers if name in _TOLD_OF)
    chosen, wrong, own = None, "", False
    if response.status == 101:
        try:
            chosen = asking.verify(response)
        except HandshakeError as error:
            wrong = error.reason.rpartition("wrongly: ")[2]
    else:
        own = _is_own(response, await conversation.body(response, rest, 200, 1.0))
    seconds = when - began
    return Answer(offered, response.status, response.reason, fields, chosen, wrong, own, seconds), rest


def _told(name: str, value: str) -> str:
    """Return what may be shown of a field: where a redirect leads to without its query, which is a secret."""
    place, mark, _ = value.partition("?")
    return f"{place}?..." if name == "location" and mark else value


def _is_own(response: ResponseHead, body: bytes) -> bool:
    """Whether a refusal has the form that isthmus gives to its own."""
    return (
        response.get("server") is None
        and response.get("via") is None
        and response.get("x-content-type-options") == "nosniff"
        and body.startswith(b"%d " % response.status)
    )


async def _mirror(line: Line, upgrading: bool, seconds: float) -> Mirror | None:
    """Ask the gateway what arrives of a request, which may look like a handshake."""
    try:
        conversation = await line.talk(seconds)
    except ConnectError:
        return None
    extra = []
    if upgrading:
        extra = [
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Protocol: {SUBPROTOCOL}",
            "Sec-WebSocket-Extensions: permessage-deflate",
        ]
    try:
        async with asyncio.timeout(seconds):
            asked_at = time.time()
            conversation.write(request(line, probe.MIRROR, extra))
            response, _, rest = await conversation.head()
            answered_at = time.time()
            body = await conversation.body(response, rest, _MOST, seconds)
    except (TimeoutError, Ended, HandshakeError):
        return None
    finally:
        conversation.close()
    told = _read(body) if response.status == 200 else {}
    return Mirror(response.status, told, asked_at, answered_at, response.get("date") or "")


def request(line: Line, name: str, extra: Sequence[str] = ()) -> bytes:
    """Return the request for one of the probes of the accept at the line's address."""
    asking = line.door().handshake(line.asked, (), ())
    first, *fields = asking.request().decode("latin-1").rstrip("\r\n").split("\r\n")
    path, _, query = first.split(" ")[1].partition("?")
    own = ("upgrade:", "connection:", "sec-websocket-")
    kept = [each for each in fields if not each.lower().startswith(own)]
    target = path.rstrip("/") + probe.PLACE + name + (f"?{query}" if query else "")
    connection = [] if extra else ["Connection: close"]
    return "\r\n".join([f"GET {target} HTTP/1.1", *kept, *connection, *extra, "", ""]).encode("latin-1")


def _read(body: bytes) -> dict[str, Any]:
    try:
        told = json.loads(body)
    except ValueError:
        return {}
    return told if isinstance(told, dict) and told.get("probe") == 1 else {}
