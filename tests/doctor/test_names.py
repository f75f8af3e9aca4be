"""Is the name known: facts in, finding out; and the resolver that never answers."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from isthmus.doctor import names
from isthmus.doctor.finding import Verdict
from isthmus.doctor.names import Names, judge

FOUND = Names("gw", ipv4=("203.0.113.7",), ipv6=("2001:db8::7",))


@pytest.mark.parametrize(
    ("facts", "verdict", "words"),
    [
        (FOUND, Verdict.OK, "gw is 203.0.113.7 (IPv4) and 2001:db8::7 (IPv6), found in"),
        (Names("gw", ipv4=("203.0.113.7",)), Verdict.OK, "; no IPv6"),
        (Names("gw", ipv6=("2001:db8::7",)), Verdict.NOTE, "it has no IPv4 address"),
        (replace(FOUND, seconds=3.0), Verdict.WARNING, "that is slow, at each connect"),
        (Names("gw", error="no such name"), Verdict.FAILED, "gw (the gateway) is not found: no such name"),
        (Names("px", "the proxy"), Verdict.FAILED, "px (the proxy) is not found"),
        (Names("::1", ipv6=("::1",), literal=True), Verdict.OK, "::1 is an address"),
    ],
)
def test_judgement(facts: Names, verdict: Verdict, words: str) -> None:
    found = judge(facts)
    assert found.verdict is verdict
    assert words in found.seen
    assert bool(found.advice) == (verdict is not Verdict.OK)


async def test_both_families(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(host: str, port: None, family: int, kind: int) -> list[Any]:
        if family == socket.AF_INET6:
            raise socket.gaierror(socket.EAI_NONAME, "none")
        return [(family, kind, 0, "", (f"203.0.113.{each}", 0)) for each in range(9)] * 2

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    found = await names.look("gw.example.com", "the gateway", 5.0)
    assert found.ipv4 == tuple(f"203.0.113.{each}" for each in range(names.MAXIMUM_ADDRESSES))
    assert found.ipv6 == ()
    assert found.error == ""


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: over.wait(30) and [])
    yield
    over.set()
    for thread in threading.enumerate():
        if thread.name == "doctor-names":
            thread.join(5)


async def test_a_resolver_that_never_answers(hanging: None) -> None:
    found = await names.look("gw.example.com", "the gateway", 0.2)
    assert found.addresses == ()
    assert found.error == "the resolver does not answer within 0.2 s"


async def test_a_name_that_cannot_be_one() -> None:
    assert (await names.look("x" * 300, "the gateway", 5.0)).error
