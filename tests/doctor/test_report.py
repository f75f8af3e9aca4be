"""The report: what fits on a screen, and what a machine reads."""

from __future__ import annotations

import json
from pathlib import Path

from isthmus.config.model import ConnectOptions, Security
from isthmus.doctor.finding import EXAMINATIONS, Finding, Verdict, left_out
from isthmus.doctor.line import Line
from isthmus.doctor.recommendation import Needs, recommend
from isthmus.doctor.report import WIDTH, machine, screen
from isthmus.uri import parse

ADDRESS = parse("wss://gw.example.com/x?token=secret")
FINDINGS = [Finding(name, Verdict.FAILED, "seen " * 30, "advice " * 10, {"a": [1]}) for name in EXAMINATIONS]


def test_a_screen(tmp_path: Path) -> None:
    line = Line(ADDRESS, ConnectOptions(), Security(), tmp_path, {})
    advice = recommend(line, parse("tcp://127.0.0.1:2222"), FINDINGS, Needs())
    text = screen(ADDRESS, FINDINGS, advice, 1.25)
    assert text.startswith("wss://gw.example.com:443/x?..., looked at for 1.2 s\n")
    assert all(len(each) <= WIDTH for each in text.splitlines() if "isthmus proxy" not in each)
    assert "FAIL  round trip  seen seen" in text
    assert "\n                  -> advice" in text


def test_what_was_left_out_is_told_once(tmp_path: Path) -> None:
    line = Line(ADDRESS, ConnectOptions(), Security(), tmp_path, {})
    findings = [left_out("tls", "no way"), left_out("upgrade", "no way"), left_out("idle", "not asked for")]
    advice = recommend(line, parse("tcp://127.0.0.1:2222"), findings, Needs())
    text = screen(ADDRESS, findings, advice, 1.0)
    assert "\n-     tls, upgrade: no way\n-     idle        not asked for\n" in text


def test_a_machine(tmp_path: Path) -> None:
    line = Line(ADDRESS, ConnectOptions(), Security(), tmp_path, {})
    advice = recommend(line, parse("tcp://127.0.0.1:2222"), FINDINGS, Needs())
    told = json.loads(machine(ADDRESS, FINDINGS, advice, 1.25))
    assert list(told) == ["version", "address", "verdict", "code", "seconds", "findings", "recommendation"]
    assert told["verdict"] == "unreachable"
    assert set(told["findings"][0]) == {"examination", "verdict", "seen", "advice", "facts"}
    assert set(told["recommendation"]) == {"words", "command", "toml"}
