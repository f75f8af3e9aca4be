"""What an examination has found: the one kind of result that all of them have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from isthmus.security.certificate import printable

EXAMINATIONS = (
    "names",
    "routes",
    "proxy",
    "tls",
    "upgrade",
    "emulation",
    "buffering",
    "round trip",
    "throughput",
    "idle",
    "clock",
)
"""In the order of the report."""
ESSENTIAL = ("names", "routes", "proxy", "tls", "upgrade")
"""Without one of these the gateway is not reached."""


class Verdict(Enum):
    """How good it is. Only `WARNING` and `FAILED` ask for something to be done."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    FAILED = "failed"
    LEFT_OUT = "left out"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one examination says: `seen` in words, `advice` where there is something to do.

    `facts` are what a machine reads: texts, numbers, truth values and lists of them, never a secret.
    """

    examination: str
    verdict: Verdict
    seen: str
    advice: str = ""
    facts: Mapping[str, object] = field(default_factory=dict)


def left_out(examination: str, why: str) -> Finding:
    """Say that an examination could not be made, and why."""
    return Finding(examination, Verdict.LEFT_OUT, why)


def milliseconds(seconds: float) -> str:
    """`23 ms`, `0.4 ms`."""
    value = seconds * 1000
    if value < 0.1:
        return "under 0.1 ms"
    return f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms"


def quoted(text: str, most: int = 80) -> str:
    """Return what somebody on the way has said, so that it can be shown."""
    clean = printable(" ".join(text.split()))
    return clean if len(clean) <= most else f"{clean[:most]}..."
