"""SOCKS 5 and 4A as values: however answers are cut, whatever a proxy may answer."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.config.proxies import Credential
from isthmus.transports.negotiation import Negotiation, Refused
from isthmus.transports.socks import Socks4a, Socks5

ALICE = Credential("alice", "sesame")
OPEN = b"\5\0\0\1\0\0\0\0\0\0"


def play(talk: Negotiation, *answers: bytes, cuts: int = 1 << 16) -> list[bytes]:
    """Give each answer in pieces of `cuts` bytes; return what was said, answer by answer."""
    said = [talk.start()]
    for answer in answers:
        told = b""
        for start in range(0, len(answer), cuts):
            if talk.opened:
                talk.rest += answer[start : start + cuts]
            else:
                told += talk.receive(memoryview(bytearray(answer[start : start + cuts])))
        said.append(told)
    return said


@pytest.mark.parametrize(
    ("host", "written"),
    [
        ("gw.example.com", b"\3\x0egw.example.com"),
        ("10.0.0.7", b"\1\x0a\0\0\7"),
        ("::1", b"\4" + b"\0" * 15 + b"\1"),
    ],
)
def test_the_way_to_a_host(host: str, written: bytes) -> None:
    talk = Socks5(host, 443, None)
    assert play(talk, b"\5\0", OPEN) == [b"\5\1\0", b"\5\1\0" + written + b"\1\xbb", b""]
    assert talk.opened
    assert talk.rest == b""


def test_user_name_and_password() -> None:
    talk = Socks5("gw", 1, ALICE)
    said = play(talk, b"\5\2", b"\1\0", OPEN)
    assert said[:2] == [b"\5\2\0\2", b"\1\5alice\6sesame"]
    assert talk.opened
    unasked = Socks5("gw", 1, ALICE)
    assert play(unasked, b"\5\0", OPEN)[1].startswith(b"\5\1\0\3")


@pytest.mark.parametrize(
    "bound", [b"\1\0\0\0\0\0\0", b"\4" + bytes(18), b"\3\x04name\0\0", b"\3\0\0\0"], ids=repr
)
@given(cuts=st.integers(1, 30), rest=st.binary(max_size=20))
def test_however_it_is_cut(bound: bytes, cuts: int, rest: bytes) -> None:
    """What is behind the answer is the destination's, SSH's banner for one."""
    talk = Socks5("gw", 1, None)
    play(talk, b"\5\0" + b"\5\0\0" + bound + rest, cuts=cuts)
    assert talk.opened
    assert talk.rest == rest


@pytest.mark.parametrize(
    ("talk", "answers", "message"),
    [
        (
            lambda: Socks5("gw", 1, None),
            [b"HTTP/1.1 400 Bad Request\r\n"],
            "no SOCKS 5 answer (it looks like HTTP)",
        ),
        (lambda: Socks5("gw", 1, None), [b"\5\xff"], "it wants to know who we are"),
        (lambda: Socks5("gw", 1, ALICE), [b"\5\xff"], "it takes neither nobody nor a user name and password"),
        (lambda: Socks5("gw", 1, None), [b"\5\2"], "it takes neither nobody nor a user name and password"),
        (lambda: Socks5("gw", 1, ALICE), [b"\5\2", b"\1\1"], "the user name and password of 'alice'"),
        (lambda: Socks5("gw", 1, None), [b"\5\0", b"\5\1"], "it answers: general failure"),
        (lambda: Socks5("gw", 1, None), [b"\5\0", b"\5\5\0\1"], "it answers: connection refused"),
        (lambda: Socks5("gw", 1, None), [b"\5\0", b"\5\x63"], "it answers: error 99"),
        (lambda: Socks5("gw", 1, None), [b"\5\0", b"\5\0\0\x09\0"], "its answer is no SOCKS answer"),
        (lambda: Socks5("gw", 1, Credential("", "x")), [b"\5\2"], "1 to 255 bytes"),
        (lambda: Socks5("gw", 1, Credential("x" * 256, "x")), [b"\5\2"], "1 to 255 bytes"),
        (lambda: Socks4a("gw", 1), [b"HTTP/1.1 400"], "no SOCKS 4 answer (it looks like HTTP)"),
        (lambda: Socks4a("gw", 1), [b"\0\x5b"], "it answers: request rejected or failed"),
        (lambda: Socks4a("gw", 1), [b"\0\x5d"], "it does not believe who we are"),
        (lambda: Socks4a("gw", 1), [b"\0\1"], "it answers: error 1"),
        (lambda: Socks4a("::1", 1), [], "SOCKS 4A has no IPv6 addresses"),
        (lambda: Socks4a("gw", 1, "x" * 256), [], "255 bytes"),
    ],
)
@pytest.mark.parametrize("cuts", [1, 100])
def test_refusals(talk: Callable[[], Negotiation], answers: list[bytes], message: str, cuts: int) -> None:
    with pytest.raises(Refused) as caught:
        play(talk(), *answers, cuts=cuts)
    assert message in str(caught.value)


def test_an_end_in_the_middle() -> None:
    talk = Socks5("gw", 1, ALICE)
    for answers, during in (
        ([], "without an answer"),
        ([b"\5\2"], "when it was told"),
        ([b"\5\0"], "the request"),
    ):
        play(talk, *answers)
        with pytest.raises(Refused, match=f"it ended the connection .*{during}"):
            talk.ended()


@pytest.mark.parametrize(
    ("host", "user", "written"),
    [
        ("gw.example.com", "", b"\0\0\0\1\0gw.example.com\0"),
        ("10.0.0.7", "alice", b"\x0a\0\0\7alice\0"),
    ],
)
@given(cuts=st.integers(1, 12), rest=st.binary(max_size=20))
def test_socks_4a(host: str, user: str, written: bytes, cuts: int, rest: bytes) -> None:
    talk = Socks4a(host, 443, user)
    assert play(talk, b"\0\x5a" + bytes(6) + rest, cuts=cuts)[0] == b"\4\1\1\xbb" + written
    assert talk.opened
    assert talk.rest == rest


@given(
    st.binary(max_size=300), st.integers(1, 40), st.sampled_from([Socks5("gw", 1, ALICE), Socks4a("gw", 1)])
)
def test_whatever_is_answered(answer: bytes, cuts: int, talk: Negotiation) -> None:
    talk.opened, talk.rest = False, b""
    try:
        play(talk, answer, cuts=cuts)
    except Refused:
        pass
