"""Is what is silent cut: facts in, finding out."""

from __future__ import annotations

import pytest

from isthmus.doctor.finding import Verdict
from isthmus.doctor.idle import Silence, judge, timeout_for


@pytest.mark.parametrize(
    ("facts", "span", "verdict", "words", "timeout"),
    [
        (Silence(), True, Verdict.LEFT_OUT, "not asked for: --idle 300", 0),
        (Silence(300, 300), True, Verdict.OK, "still stands after 300 s", 0),
        (Silence(300, 60.4, "reset"), True, Verdict.NOTE, "span pings every 5 s, so it stays", 30),
        (Silence(300, 60.4, "reset"), False, Verdict.WARNING, "is cut after 60.4 s (reset)", 30),
        (Silence(300, 3.9, "reset"), True, Verdict.WARNING, "is cut after 3.9 s", 1.9),
        (Silence(300, 300, deaf=True), False, Verdict.WARNING, "is dead, and nobody was told", 150),
        (Silence(300, 60, "reset", own=False), False, Verdict.WARNING, "or by the server itself", 30),
    ],
)
def test_judgement(facts: Silence, span: bool, verdict: Verdict, words: str, timeout: float) -> None:
    found = judge(facts, span)
    assert found.verdict is verdict
    assert words in found.seen
    assert timeout_for(facts) == timeout
