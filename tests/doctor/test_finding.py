"""How findings are worded."""

from __future__ import annotations

from isthmus.doctor.finding import EXAMINATIONS, Verdict, left_out, milliseconds, quoted


def test_words() -> None:
    assert milliseconds(0.0234) == "23 ms"
    assert milliseconds(0.0042) == "4.2 ms"
    assert milliseconds(0.00001) == "under 0.1 ms"
    assert quoted("a\r\nb\x1b[31m" + "c" * 100, 10) == "a b?[31mcc..."
    assert left_out("idle", "why").verdict is Verdict.LEFT_OUT
    assert len(set(EXAMINATIONS)) == len(EXAMINATIONS)
