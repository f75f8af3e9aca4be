"""Which proxies are on the way: facts in, finding out. Real ones are in tests/system/test_doctor.py."""

from __future__ import annotations

import pytest

from isthmus.config.proxies import Way, parse_proxy
from isthmus.doctor.finding import Verdict
from isthmus.doctor.proxy import Asked, judge

PROXY = "http://proxy.example.com:3128"
WAY = Way((parse_proxy(PROXY),), None, "HTTPS_PROXY")


@pytest.mark.parametrize(
    ("asked", "verdict", "words", "advice"),
    [
        (Asked(PROXY, True, 0.02), Verdict.OK, "opens the way in 20 ms", ""),
        (
            Asked(PROXY, True, 0.02, ("ntlm", "basic"), True),
            Verdict.OK,
            "knows who we are (offers NTLM, Basic)",
            "",
        ),
        (Asked(PROXY, False, error="403", hint="ask"), Verdict.FAILED, "(HTTPS_PROXY): 403", "ask"),
        (Asked(PROXY, False, 0, ("basic",), False, "407"), Verdict.FAILED, "407", "isthmus can do Basic"),
        (
            Asked(PROXY, False, 0, ("basic",), True, "407; wrong", "check it"),
            Verdict.FAILED,
            "wrong",
            "check it",
        ),
        (
            Asked(PROXY, False, 0, ("negotiate",), False, "407", missing=("negotiate",)),
            Verdict.FAILED,
            "407",
            "Negotiate needs one more package: pip install 'isthmus[spnego]'",
        ),
        (
            Asked(PROXY, False, 0, ("ntlm", "basic"), False, "407", missing=("ntlm",)),
            Verdict.FAILED,
            "407",
            "NTLM would need pip install 'isthmus[spnego]'",
        ),
        (Asked(PROXY, False, 0, ("bearer",), False, "407"), Verdict.FAILED, "407", "ask for one of them"),
    ],
)
def test_judgement(asked: Asked, verdict: Verdict, words: str, advice: str) -> None:
    found = judge(WAY, [asked])
    assert found.verdict is verdict
    assert words in found.seen
    assert advice in found.advice


def test_none() -> None:
    assert "neither an option nor the environment" in judge(Way(), []).seen
    assert judge(Way(reason="NO_PROXY: .corp"), []).seen == "none is used (NO_PROXY: .corp)"
    assert "10.0.0.1:443" in judge(Way((), ("10.0.0.1", 443), "tcp.transport"), []).seen
