"""Do answers come as they are sent: facts in, finding out."""

from __future__ import annotations

import pytest

from isthmus.doctor.buffering import Streamed, _Pieces, judge
from isthmus.doctor.finding import Verdict


@pytest.mark.parametrize(
    ("arrivals", "verdict", "buffered"),
    [
        ((0.0, 0.2, 0.4, 0.6, 0.8, 1.0), Verdict.OK, False),
        ((0.0, 0.0, 0.3, 0.7, 0.8, 0.9), Verdict.OK, False),
        ((0.0, 0.0, 0.0, 0.0, 0.0, 0.001), Verdict.WARNING, True),
        ((0.0, 0.2), Verdict.WARNING, True),
    ],
)
def test_judgement(arrivals: tuple[float, ...], verdict: Verdict, buffered: bool) -> None:
    found = judge(Streamed(arrivals))
    assert found.verdict is verdict
    assert found.facts["buffered"] == buffered


def test_there_was_no_answer() -> None:
    assert judge(Streamed(error="503")).verdict is Verdict.LEFT_OUT


def test_pieces_in_any_cuts() -> None:
    pieces = _Pieces()
    text = b"".join(b"8\r\npiece %d\n\r\n" % each for each in range(6))
    for when, place in enumerate(range(0, len(text), 5)):
        pieces.came(float(when), text[place : place + 5])
    assert pieces.whole
    assert list(pieces.arrivals) == sorted(pieces.arrivals)
