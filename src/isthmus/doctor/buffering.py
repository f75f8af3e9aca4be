"""Do answers come as they are sent, or are they held back until they are whole?

A WebSocket is not held back once it is open; what streams in ordinary answers is.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from isthmus.doctor.conversation import Ended, HandshakeError
from isthmus.doctor.finding import Finding, Verdict, left_out, milliseconds
from isthmus.doctor.line import Line
from isthmus.doctor.upgrade import request
from isthmus.errors import ConnectError
from isthmus.transports import probe

_HELD_BACK = 0.5
"""Pieces that come within this share of the time in which they were sent were gathered on the way."""


@dataclass(frozen=True, slots=True)
class Streamed:
    """When the pieces of an answer came, in seconds since the first. `error`: there was no such answer."""

    arrivals: tuple[float, ...] = ()
    error: str = ""

    @property
    def held_back(self) -> bool:
        """Whether the pieces came nearer to each other than they were sent."""
        return bool(self.arrivals) and self.arrivals[-1] < _HELD_BACK * _SENT_IN


_SENT_IN = probe.GAP * (probe.PIECES - 1)


def judge(streamed: Streamed) -> Finding:
    if streamed.error:
        return left_out("buffering", streamed.error)
    spread = streamed.arrivals[-1] if streamed.arrivals else 0.0
    facts = {
        "arrivals": [round(each, 4) for each in streamed.arrivals],
        "sent within": _SENT_IN,
        "buffered": streamed.held_back,
    }
    if len(streamed.arrivals) < probe.PIECES:
        seen = f"an answer in pieces is cut short: {len(streamed.arrivals)} of {probe.PIECES} pieces came"
        advice = "what streams in ordinary answers will not do here"
        return Finding("buffering", Verdict.WARNING, seen, advice, facts)
    if streamed.held_back:
        seen = f"answers are held back: {probe.PIECES} pieces sent within {_SENT_IN:g} s came within "
        advice = (
            "an open WebSocket is not touched by it; what streams in ordinary answers waits until it is whole"
        )
        return Finding("buffering", Verdict.WARNING, seen + milliseconds(spread), advice, facts)
    seen = f"answers come as they are sent ({probe.PIECES} pieces within {spread:.1f} s)"
    return Finding("buffering", Verdict.OK, seen, "", facts)


async def look(line: Line, seconds: float) -> Streamed:
    """Ask the gateway for an answer in pieces, and note when each comes."""
    try:
        conversation = await line.talk(seconds)
    except ConnectError as error:
        return Streamed(error=str(error))
    pieces = _Pieces()
    try:
        async with asyncio.timeout(seconds):
            conversation.write(request(line, probe.STREAM))
            response, when, rest = await conversation.head()
            if response.status != 200:
                return Streamed(error=f"the gateway gives no answer in pieces ({response.status})")
            pieces.came(when, rest)
            while not pieces.whole:
                arrival = await conversation.read()
                pieces.came(arrival.when, arrival.data)
    except HandshakeError as error:
        return Streamed(error=f"the answer is no HTTP: {error.reason}")
    except (TimeoutError, Ended):
        pass
    finally:
        conversation.close()
    return Streamed(pieces.arrivals)


class _Pieces:
    """Finds the pieces in an answer, whatever coding of transfer somebody on the way has given it."""

    def __init__(self) -> None:
        self._text = b""
        self._when: list[float] = []

    def came(self, when: float, data: bytes) -> None:
        self._text = (self._text + data)[:8192]
        while len(self._when) < probe.PIECES and b"piece %d\n" % len(self._when) in self._text:
            self._when.append(when)

    @property
    def whole(self) -> bool:
        return len(self._when) == probe.PIECES

    @property
    def arrivals(self) -> tuple[float, ...]:
        return tuple(each - self._when[0] for each in self._when)
