"""Cookies of balancers: what is kept, for how long, and to whom it goes back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.transports.cookies import MAXIMUM_HEADER, MAXIMUM_SIZE, CookieJar
from isthmus.uri import parse

SECURE = parse("wss://gw.example.com/app/chat")
PLAIN = parse("ws://gw.example.com/app/chat")


class Jar(CookieJar):
    def __init__(self, maximum: int = 50) -> None:
        self.now = 1_000_000_000.0
        super().__init__(maximum, clock=lambda: self.now)


def test_what_was_set_goes_back() -> None:
    jar = Jar()
    assert jar.header(SECURE) == ""
    jar.learn(SECURE, ["SRV=a1; Path=/; HttpOnly", 'other="x y"'])
    assert jar.header(SECURE) == 'other="x y"; SRV=a1'
    jar.learn(SECURE, ["SRV=b2; path=/"])
    assert jar.header(SECURE) == 'other="x y"; SRV=b2'
    assert jar.header(parse("wss://other.example.com/app/chat")) == ""
    assert jar.header(parse("wss://gw.example.com:8443/app/chat")) == 'other="x y"; SRV=b2'


@pytest.mark.parametrize(
    ("path", "sent_to"),
    [
        ("", {"/app/chat", "/app/", "/app"}),
        ("/", {"/app/chat", "/app/", "/app", "/", "/application"}),
        ("/app", {"/app/chat", "/app/", "/app"}),
        ("/app/", {"/app/chat", "/app/"}),
        ("app", {"/app/chat", "/app/", "/app"}),
        ("/other", set()),
    ],
)
def test_paths(path: str, sent_to: set[str]) -> None:
    jar = Jar()
    jar.learn(SECURE, [f"a=b; Path={path}"])
    found = {
        each
        for each in ("/app/chat", "/app/", "/app", "/", "/application")
        if jar.header(parse(f"wss://gw.example.com{each}"))
    }
    assert found == sent_to


@pytest.mark.parametrize(
    ("attributes", "seconds"),
    [
        ("Max-Age=10", 10),
        ("Max-Age=10; Expires=Thu, 01 Jan 1970 00:00:00 GMT", 10),
        ("Expires=Sun, 09 Sep 2001 01:46:50 GMT", 10),
        ("max-age=0", 0),
        ("Max-Age=-5", 0),
        ("Expires=Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("Expires=nonsense", 10**9),
        ("Max-Age=nonsense", 10**9),
        ("", 10**9),
    ],
)
def test_how_long(attributes: str, seconds: int) -> None:
    jar = Jar()
    jar.learn(SECURE, ["a=old; Path=/", f"a=b; Path=/; {attributes}"])
    assert jar.header(SECURE) == ("a=b" if seconds else "")
    jar.now += seconds - 1
    assert bool(jar.header(SECURE)) == (seconds > 0)
    jar.now += 1
    assert bool(jar.header(SECURE)) == (seconds > 10)


def test_secure() -> None:
    jar = Jar()
    jar.learn(SECURE, ["a=b; Secure; Path=/"])
    jar.learn(PLAIN, ["c=d; Secure; Path=/"])
    assert jar.header(SECURE) == "a=b"
    assert jar.header(PLAIN) == ""


@pytest.mark.parametrize("value", ["", "novalue", "=x", "a b=c", "a=b\x01", f"a={'x' * MAXIMUM_SIZE}", "ä=b"])
def test_what_is_passed_over(value: str) -> None:
    jar = Jar()
    jar.learn(SECURE, [value])
    assert len(jar) == 0


def test_it_does_not_grow() -> None:
    jar = Jar(3)
    jar.learn(SECURE, [f"c{number}=x; Path=/" for number in range(5)])
    assert jar.header(SECURE) == "c2=x; c3=x; c4=x"
    nothing = Jar(0)
    nothing.learn(SECURE, ["a=b"])
    assert len(nothing) == 0
    full = Jar()
    full.learn(SECURE, [f"c{number}={'x' * 4000}" for number in range(5)])
    assert len(full.header(SECURE)) <= MAXIMUM_HEADER


@given(st.lists(st.text(st.characters(max_codepoint=255), max_size=100), max_size=5))
def test_whatever_is_set(values: list[str]) -> None:
    jar = Jar(3)
    jar.learn(SECURE, values)
    assert jar.header(SECURE).isprintable()
