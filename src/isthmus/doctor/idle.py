"""Is a WebSocket that stays silent cut, and after how long?"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from isthmus.doctor.finding import Finding, Verdict, left_out
from isthmus.doctor.websocket import WebSocket

SPAN_PING = 5.0
"""Seconds after which span pings by itself: half of span.ping.deadline's default."""
_PONG_PATIENCE = 5.0


@dataclass(frozen=True, slots=True)
class Silence:
    """How a silent WebSocket fared. `ended` says how it was cut after `seconds`; empty: it was not.

    `deaf`: it looked as if it stood, and a ping at the end was not answered.
    """

    asked: float = 0.0
    seconds: float = 0.0
    ended: str = ""
    deaf: bool = False
    own: bool = True
    """Whether it was a probe's, which the gateway itself never cuts."""


def timeout_for(silence: Silence) -> float:
    """Return the `ws.inactivity.timeout` (or `span.ping.deadline`) that keeps a WebSocket here; 0: any does.

    It is half of what was borne: the ping may come as late as that.
    """
    if not silence.ended and not silence.deaf:
        return 0.0
    half = silence.seconds / 2
    return max(0.5, float(int(half)) if half >= 2 else round(half, 1))


def judge(silence: Silence, span: bool) -> Finding:
    """`span` says whether streams go over span, which pings by itself."""
    if not silence.asked:
        return left_out("idle", "not asked for: --idle 300 keeps a WebSocket silent for 300 s at most")
    facts = {
        "asked": silence.asked,
        "seconds": round(silence.seconds, 2),
        "cut": bool(silence.ended) or silence.deaf,
        "how": silence.ended or ("silently" if silence.deaf else ""),
        "ws.inactivity.timeout": timeout_for(silence),
    }
    if not silence.ended and not silence.deaf:
        return Finding(
            "idle", Verdict.OK, f"a silent WebSocket still stands after {silence.seconds:g} s", "", facts
        )
    if silence.deaf:
        seen = f"a WebSocket that was silent for {silence.seconds:.0f} s is dead, and nobody was told"
    else:
        seen = f"a silent WebSocket is cut after {silence.seconds:.1f} s ({silence.ended})"
    if not silence.own:
        seen += ", by the way or by the server itself"
    if span and silence.seconds > SPAN_PING:
        return Finding(
            "idle", Verdict.NOTE, f"{seen}; span pings every {SPAN_PING:g} s, so it stays", "", facts
        )
    name = "span.ping.deadline" if span else "ws.inactivity.timeout"
    advice = f"set {name} to {timeout_for(silence):g} s, so that it is pinged in time (in the file only)"
    return Finding("idle", Verdict.WARNING, seen, advice, facts)


async def look(socket: WebSocket, seconds: float, *, own: bool) -> Silence:
    """Say nothing for `seconds`, and note when it ends; at the end see whether it still answers."""
    began = socket.now()
    try:
        async with asyncio.timeout(seconds):
            while not socket.ended:
                when = await socket.hear()
    except TimeoutError:
        stood = await socket.ping(b"still there", _PONG_PATIENCE) is not None
        return Silence(seconds, seconds, socket.ended, not stood and not socket.ended, own)
    return Silence(seconds, when - began, socket.ended, False, own)
