"""May a WebSocket be opened: facts in, finding out. What boxes do is in test_examination.py."""

from __future__ import annotations

from typing import Any

import pytest

from isthmus.doctor.finding import Verdict
from isthmus.doctor.upgrade import Answer, Mirror, Upgrade, judge
from isthmus.span.frames import SUBPROTOCOL
from isthmus.uri import parse

ADDRESS = parse("wss://gw.example.com/x")
ALL = {
    "upgrade": "websocket",
    "connection": "Upgrade",
    "sec-websocket-version": "13",
    "sec-websocket-protocol": SUBPROTOCOL,
    "sec-websocket-extensions": "permessage-deflate",
}
SPAN = Answer(SUBPROTOCOL, 101, chosen=SUBPROTOCOL)
PLAIN = Answer("", 101)


def mirror(*missing: str, span: bool = True) -> Mirror:
    fields = {name: value for name, value in ALL.items() if name not in missing}
    return Mirror(200, {"probe": 1, "fields": fields, "span": span})


def refused(status: int, own: bool = False, **fields: str) -> Answer:
    return Answer(SUBPROTOCOL, status, "No", tuple(fields.items()), own=own)


@pytest.mark.parametrize(
    ("facts", "verdict", "words"),
    [
        ({"span": SPAN, "mirror": mirror()}, Verdict.OK, "streams outlive it"),
        ({"span": SPAN, "mirror": mirror("sec-websocket-extensions")}, Verdict.OK, "extensions are stripped"),
        ({"span": SPAN, "spoke": False}, Verdict.WARNING, "span is chosen, but nothing follows"),
        ({"span": PLAIN}, Verdict.NOTE, "the server is no isthmus, or an older one"),
        ({"span": PLAIN, "mirror": mirror(span=False)}, Verdict.NOTE, "span.mode is never there"),
        ({"span": PLAIN, "mirror": mirror()}, Verdict.WARNING, "stripped from the answer"),
        (
            {"span": PLAIN, "mirror": mirror("sec-websocket-protocol")},
            Verdict.WARNING,
            "stripped from the request",
        ),
        (
            {"span": refused(400), "plain": PLAIN},
            Verdict.WARNING,
            "one that offers span is refused with 400 No",
        ),
        (
            {"span": refused(426), "mirror": mirror("upgrade")},
            Verdict.FAILED,
            "Upgrade is stripped on the way",
        ),
        (
            {"span": refused(426, own=True)},
            Verdict.FAILED,
            "the request came without Upgrade, which is stripped on the way",
        ),
        ({"span": refused(404, own=True)}, Verdict.FAILED, "it has no accept with this name and path"),
        ({"span": refused(403, own=True)}, Verdict.FAILED, "may not come in"),
        ({"span": refused(429, own=True)}, Verdict.FAILED, "too many logins"),
        ({"span": refused(502, own=True)}, Verdict.FAILED, "the gateway itself refuses with 502"),
        (
            {"span": refused(403, server="box"), "ordinary": mirror()},
            Verdict.FAILED,
            "by 'box', but an ordin",
        ),
        ({"span": refused(418)}, Verdict.FAILED, "refused with 418 No by somebody who does not say who"),
        ({"span": Answer("", 101, error="no Accept")}, Verdict.FAILED, "the answer was changed: no Accept"),
        ({"span": Answer("", error="it was reset")}, Verdict.FAILED, "no answer to the handshake: it was"),
    ],
)
def test_judgement(facts: dict[str, Any], verdict: Verdict, words: str) -> None:
    found = judge(Upgrade(ADDRESS, **facts))
    assert found.verdict is verdict
    assert words in found.seen
    assert bool(found.advice) == (verdict in (Verdict.FAILED, Verdict.WARNING))


HTML = {"content-type": "text/html"}


@pytest.mark.parametrize(
    ("facts", "blocked", "falls_back"),
    [
        ({"span": SPAN, "mirror": mirror()}, False, False),
        ({"span": refused(426), "mirror": mirror("upgrade")}, True, True),
        ({"span": refused(426, own=True), "ordinary": Mirror(404, {})}, True, True),
        ({"span": refused(404, own=True), "ordinary": mirror()}, False, False),
        ({"span": refused(404), "ordinary": mirror()}, True, False),
        ({"span": refused(404), "ordinary": Mirror(404, {})}, False, False),
        ({"span": refused(403), "ordinary": Mirror(404, {})}, True, False),
        ({"span": refused(403, False, **HTML), "ordinary": Mirror(404, {})}, True, True),
        ({"span": refused(401), "ordinary": Mirror(401, {})}, False, False),
        ({"span": refused(502), "ordinary": Mirror(502, {})}, False, False),
        ({"span": refused(501), "ordinary": Mirror(404, {})}, True, True),
        ({"span": Answer("", 101, error="no Accept"), "ordinary": mirror()}, True, True),
        ({"span": Answer("", error="it was reset"), "ordinary": mirror()}, True, True),
        ({"span": Answer("", error="it was reset")}, False, True),
        ({"span": Answer("", error="silence", silent=True), "ordinary": mirror()}, True, False),
        ({"span": Answer("", error="refused", asked=False), "ordinary": mirror()}, False, True),
    ],
)
def test_what_counts_as_blocked(facts: dict[str, Any], blocked: bool, falls_back: bool) -> None:
    upgrade = Upgrade(ADDRESS, **facts)
    assert upgrade.blocked == blocked
    if not upgrade.opened:
        assert upgrade.falls_back == falls_back


@pytest.mark.parametrize(("given", "advice"), [(False, "name it with --credentials"), (True, "is not taken")])
def test_a_login(given: bool, advice: str) -> None:
    answer = refused(401, own=True, **{"www-authenticate": "Bearer"})
    found = judge(Upgrade(ADDRESS, answer, credentials=given))
    assert "it asks who we are (Bearer)" in found.seen
    assert advice in found.advice
