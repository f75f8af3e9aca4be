"""Does an emulated WebSocket get through: facts in, finding out. What boxes do is in test_examination.py."""

from __future__ import annotations

import pytest

from isthmus.doctor.emulation import Emulation, judge
from isthmus.doctor.finding import Verdict
from isthmus.transports.ways import Way
from isthmus.uri import parse

ADDRESS = parse("wss://gw.example.com/x")


@pytest.mark.parametrize(
    ("way", "words", "buffers"),
    [(Way.STREAMING, "with a long answer (a ping takes 20 ms)", False), (Way.SHORT, "short answers", True)],
)
@pytest.mark.parametrize("fallback", ["", "short"])
def test_it_gets_through(way: Way, words: str, buffers: bool, fallback: str) -> None:
    found = judge(Emulation(ADDRESS, way, 0.1, 0.02), fallback)
    assert found.verdict is Verdict.WARNING
    assert words in found.seen
    assert "it is slower" in found.seen
    assert "let through unchanged" in found.advice
    assert ("to be passed on as they come" in found.advice) == buffers
    assert ("set ws.fallback to short (in the file only)" in found.advice) == bool(fallback)
    assert found.facts["ws.fallback"] == (fallback or "auto")


@pytest.mark.parametrize(
    ("status", "advice"), [(0, "let through unchanged"), (401, "--credentials"), (404, "ws.emulation")]
)
def test_it_does_not(status: int, advice: str) -> None:
    found = judge(Emulation(ADDRESS, error="no", status=status))
    assert found.verdict is Verdict.FAILED
    assert advice in found.advice
    assert found.facts["way"] == ""
