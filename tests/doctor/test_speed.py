"""Round trip and throughput: facts in, findings out."""

from __future__ import annotations

from isthmus.doctor.finding import Verdict
from isthmus.doctor.speed import Speed, judge_round_trip, judge_throughput

GOOD = Speed(0.02, 0.04, 0.02, 3, (0.02, 0.021, 0.05), True, (2_000_000, 0.5), (1_000_000, 1.0))


def test_round_trip() -> None:
    assert judge_round_trip(Speed()).verdict is Verdict.LEFT_OUT
    found = judge_round_trip(GOOD)
    assert found.verdict is Verdict.OK
    assert found.seen == ("21 ms (median of 3 pings, worst 50 ms); connect 20 ms, TLS 40 ms, handshake 20 ms")
    silent = judge_round_trip(Speed(asked=1))
    assert silent.verdict is Verdict.WARNING
    assert "not answered" in silent.seen
    stalled = judge_round_trip(Speed(asked=4, pings=(0.02,) * 3))
    assert stalled.verdict is Verdict.WARNING
    assert "1 pings came to nothing" in stalled.seen


def test_throughput() -> None:
    assert judge_throughput(Speed()).verdict is Verdict.LEFT_OUT
    assert judge_throughput(GOOD).seen == "down 4.00 MB/s, up 1.00 MB/s (one connection, 3.0 MB moved)"
    assert "grants no bytes now" in judge_throughput(Speed(probed=True, limited=True)).seen
