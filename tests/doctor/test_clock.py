"""Is it the same time here and there: facts in, finding out."""

from __future__ import annotations

import pytest

from isthmus.doctor.clock import Clock, from_upgrade, judge
from isthmus.doctor.finding import Verdict
from isthmus.doctor.upgrade import Answer, Mirror, Upgrade
from isthmus.uri import parse


@pytest.mark.parametrize(
    ("offset", "verdict", "words"),
    [
        (0.2, Verdict.OK, "right within 0.2 s"),
        (-29, Verdict.OK, "right within 29.0 s"),
        (90, Verdict.WARNING, "clock is 90 s behind"),
        (-3600, Verdict.WARNING, "clock is 60 minutes ahead"),
        (86_400 * 400, Verdict.WARNING, "clock is 400 days behind"),
    ],
)
def test_judgement(offset: float, verdict: Verdict, words: str) -> None:
    found = judge(Clock(offset, 0.1, "the gateway"))
    assert found.verdict is verdict
    assert words in found.seen


def test_a_certificate_that_is_not_valid_yet() -> None:
    assert "that is why the certificate is not valid yet" in judge(Clock(1e5, 0.1, "Date"), True).advice
    assert judge(None, True).verdict is Verdict.WARNING
    assert judge(None).verdict is Verdict.LEFT_OUT


def told(mirror: Mirror) -> Clock | None:
    return from_upgrade(Upgrade(parse("ws://gw/x"), Answer(""), mirror=mirror))


def test_whose_word_counts() -> None:
    exact = told(Mirror(200, {"time": 1_000_100.0}, 1_000_000.0, 1_000_000.5))
    assert exact == Clock(99.75, 0.25, "the gateway")
    date = told(Mirror(404, {}, 1_000_000.0, 1_000_000.5, "Mon, 12 Jan 1970 13:48:20 GMT"))
    assert date is not None
    assert date.source == "Date"
    assert abs(date.offset - 100.25) < 1e-6
    assert told(Mirror(404, {}, 1_000_000.0, 1_000_000.5, "yesterday")) is None
    assert told(Mirror(404, {}, 1_000_000.0, 1_000_000.5)) is None
