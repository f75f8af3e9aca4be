"""The report: one screen for people, or one JSON object for machines."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Sequence

from isthmus.doctor.finding import Finding, Verdict
from isthmus.doctor.recommendation import Recommendation
from isthmus.uri import Address

VERSION = 1
"""Of the JSON: what is there keeps its meaning, more may come."""
WIDTH = 100
_MARKS = {
    Verdict.OK: "ok",
    Verdict.NOTE: "note",
    Verdict.WARNING: "WARN",
    Verdict.FAILED: "FAIL",
    Verdict.LEFT_OUT: "-",
}
_INDENT = " " * 18


def screen(
    address: Address, findings: Sequence[Finding], recommendation: Recommendation, seconds: float
) -> str:
    """Return the lines for a terminal of `WIDTH` columns."""
    lines = [f"{address}, looked at for {seconds:.1f} s", ""]
    for finding in findings:
        if finding.verdict is Verdict.LEFT_OUT:
            continue
        first = f"{_MARKS[finding.verdict]:<6}{finding.examination:<12}"
        lines += _wrapped(finding.seen, first, _INDENT)
        if finding.advice:
            lines += _wrapped(finding.advice, f"{_INDENT}-> ", f"{_INDENT}   ")
    for why in dict.fromkeys(each.seen for each in findings if each.verdict is Verdict.LEFT_OUT):
        names = [
            each.examination for each in findings if (each.verdict, each.seen) == (Verdict.LEFT_OUT, why)
        ]
        mark = f"{_MARKS[Verdict.LEFT_OUT]:<6}"
        if len(names) == 1:
            lines += _wrapped(why, f"{mark}{names[0]:<12}", _INDENT)
        else:
            lines += _wrapped(f"{', '.join(names)}: {why}", mark, _INDENT)
    lines.append("")
    for words in recommendation.words:
        lines += _wrapped(words, "", "  ")
    # What is to be pasted is not wrapped.
    lines += ["", f"  {recommendation.command}", "", "The same as a file:", ""]
    lines += [f"  {line}".rstrip() for line in recommendation.toml.splitlines() if line]
    return "\n".join(lines) + "\n"


def _wrapped(text: str, first: str, others: str) -> Iterator[str]:
    yield from textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=others, break_on_hyphens=False
    ) or [first]


def machine(
    address: Address, findings: Sequence[Finding], recommendation: Recommendation, seconds: float
) -> str:
    """Return the report as JSON, as docs/doctor.md describes it."""
    report = {
        "version": VERSION,
        "address": str(address),
        "verdict": recommendation.verdict,
        "code": recommendation.code,
        "seconds": round(seconds, 3),
        "findings": [
            {
                "examination": each.examination,
                "verdict": each.verdict.value,
                "seen": each.seen,
                "advice": each.advice,
                "facts": dict(each.facts),
            }
            for each in findings
        ],
        "recommendation": {
            "words": list(recommendation.words),
            "command": recommendation.command,
            "toml": recommendation.toml,
        },
    }
    return json.dumps(report, indent=2, ensure_ascii=False) + "\n"
