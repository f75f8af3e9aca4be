"""What answers at each address: facts in, finding out. Real networks are in tests/system/test_doctor.py."""

from __future__ import annotations

import socket

import pytest
from tests.system.process import free_port

from isthmus.doctor import routes
from isthmus.doctor.finding import Verdict
from isthmus.doctor.routes import Outcome, Route, best, judge

V4, V6 = "203.0.113.7", "2001:db8::7"


def of(v4: Outcome | None, v6: Outcome | None = None) -> list[Route]:
    made = [Route(V6, v6, 5.0 if v6 == "silent" else 0.03, "2001:db8::1", "eth0", 1500, "why")] if v6 else []
    return made + (
        [Route(V4, v4, 5.0 if v4 == "silent" else 0.02, "10.0.0.5", "eth0", 1500, "why")] if v4 else []
    )


@pytest.mark.parametrize(
    ("facts", "verdict", "words", "advice"),
    [
        (of("connected"), Verdict.OK, "answers in 20 ms, from 10.0.0.5 (eth0, MTU 1500)", ""),
        (of("connected", "connected"), Verdict.OK, f"[{V6}]:443 (the gateway) answers", ""),
        (of("connected", "silent"), Verdict.WARNING, "IPv6 is broken: no answer", "loses 250 ms"),
        (of("connected", "no route"), Verdict.NOTE, "IPv6: no route (why), which costs nothing", ""),
        (of("connected", "refused"), Verdict.NOTE, "IPv6: connection refused", ""),
        (of("silent"), Verdict.FAILED, "no answer within 5 s", "a firewall drops it"),
        (of("refused"), Verdict.FAILED, "connection refused", "nothing listens there"),
        (of("no route"), Verdict.FAILED, "no route (why)", "no way there"),
        (of("failed"), Verdict.FAILED, "why", "check the address"),
        (of("silent", "no route"), Verdict.FAILED, "no answer", "a firewall drops it"),
        ([*of("connected"), Route("203.0.113.8", "silent")], Verdict.WARNING, "203.0.113.8 not", "is away"),
    ],
)
def test_judgement(facts: list[Route], verdict: Verdict, words: str, advice: str) -> None:
    found = judge(facts, 443, "the gateway")
    assert found.verdict is verdict
    assert words in found.seen
    assert advice in found.advice
    assert bool(found.advice) == bool(advice)
    assert ("--proxy" in found.advice) == (verdict is Verdict.FAILED and "check the address" not in advice)


def test_a_proxy_is_not_to_be_gone_around() -> None:
    assert "--proxy" not in judge(of("silent"), 3128, "the proxy").advice


def test_the_best() -> None:
    assert best(of("refused", "silent")) is None
    chosen = best(of("connected", "connected"))
    assert chosen is not None
    assert chosen.ip == V6
    slow = best([Route(V6, "connected", 1.0), Route(V4, "connected", 0.1)])
    assert slow is not None
    assert slow.ip == V4


async def test_a_look() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        (there,) = await routes.look(["127.0.0.1"], port, 5.0)
    assert there.outcome == "connected"
    assert there.local == "127.0.0.1"
    assert there.interface in ("lo", "loopback")
    (gone,) = await routes.look(["127.0.0.1"], free_port(), 5.0)
    assert gone.outcome == "refused"
