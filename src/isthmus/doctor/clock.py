"""Is it the same time here and there?"""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Literal

from isthmus.doctor.finding import Finding, Verdict
from isthmus.doctor.upgrade import Upgrade

_TOLERANCE = 30.0
"""Seconds by which tokens may be off (`leeway` of a jwt module)."""


@dataclass(frozen=True, slots=True)
class Clock:
    """By how many seconds the far side's clock is ahead of ours, give or take `uncertain`; whose it is."""

    offset: float
    uncertain: float
    source: Literal["the gateway", "Date"]


def judge(clock: Clock | None, not_yet_valid: bool = False) -> Finding:
    """`not_yet_valid`: the server's certificate is one of the future, or this clock is one of the past."""
    if clock is None:
        verdict = Verdict.WARNING if not_yet_valid else Verdict.LEFT_OUT
        advice = "set this machine's clock (NTP), if that is so" if not_yet_valid else ""
        seen = "nobody over there tells the time"
        if not_yet_valid:
            seen += "; a certificate that is not valid yet says that this clock is behind"
        return Finding("clock", verdict, seen, advice)
    facts = {"offset": round(clock.offset, 3), "uncertain": round(clock.uncertain, 3), "source": clock.source}
    off = abs(clock.offset)
    by = "by the gateway's own" if clock.source == "the gateway" else "by the Date of an answer"
    if off <= _TOLERANCE + clock.uncertain:
        return Finding(
            "clock", Verdict.OK, f"right within {max(off, clock.uncertain):.1f} s, {by}", "", facts
        )
    which = "behind" if clock.offset > 0 else "ahead"
    seen = f"this machine's clock is {_span(off)} {which}, {by}"
    advice = "set it (NTP): certificates and tokens are refused for it"
    if not_yet_valid:
        advice = "set it (NTP): that is why the certificate is not valid yet"
    return Finding("clock", Verdict.WARNING, seen, advice, facts)


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.0f} hours" if seconds < 172_800 else f"{seconds / 86_400:.0f} days"


def from_upgrade(upgrade: Upgrade) -> Clock | None:
    """Return what the answers to requests say: the gateway's word, which is exact, else a Date."""
    for mirror in (upgrade.mirror, upgrade.ordinary):
        if mirror is None or not mirror.asked_at:
            continue
        middle = (mirror.asked_at + mirror.answered_at) / 2
        uncertain = (mirror.answered_at - mirror.asked_at) / 2
        there = mirror.told.get("time")
        if isinstance(there, (int, float)):
            return Clock(there - middle, uncertain, "the gateway")
        try:
            date = parsedate_to_datetime(mirror.date).timestamp()
        except (TypeError, ValueError, OverflowError, OSError):
            continue
        return Clock(date + 0.5 - middle, uncertain + 0.5, "Date")  # whole seconds
    return None
