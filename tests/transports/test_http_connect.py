"""CONNECT as values: answers in any pieces, pages behind a 407, and connections that do not stay."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.config.proxies import Credential
from isthmus.transports.http_authentication import Authentication
from isthmus.transports.http_connect import MAXIMUM_BODY, HttpConnect
from isthmus.transports.negotiation import Refused

ALICE = Credential("alice", "sesame")
TARGET = "gw.example.com:443"
OPEN = b"HTTP/1.1 200 Connection established\r\n\r\n"
ASKED = b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=x\r\n"
EMPTY = b"Content-Length: 0\r\n\r\n"
BASIC = b"Proxy-Authorization: Basic YWxpY2U6c2VzYW1l\r\n"


def talk(credential: Credential | None = ALICE) -> HttpConnect:
    return HttpConnect(TARGET, Authentication("http://proxy:1", "proxy", lambda: credential).begin())


def give(connect: HttpConnect, answer: bytes, cuts: int = 1 << 16) -> bytes:
    """Give an answer in pieces; return what was said."""
    said = b""
    for start in range(0, len(answer), cuts):
        piece = answer[start : start + cuts]
        if connect.opened:
            connect.rest += piece
        else:
            said += connect.receive(memoryview(bytearray(piece)))
    return said


def test_the_request() -> None:
    connect = talk()
    request = connect.start()
    assert request.startswith(
        b"CONNECT gw.example.com:443 HTTP/1.1\r\nHost: gw.example.com:443\r\nUser-Agent: "
    )
    assert request.endswith(b"\r\n\r\n")
    assert b"Authorization" not in request


@pytest.mark.parametrize(
    "answer",
    [
        OPEN,
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\n",  # it means nothing here (RFC 9110 9.3.6)
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + OPEN,
    ],
)
@given(cuts=st.integers(1, 60), rest=st.binary(max_size=20))
def test_the_way_is_open(answer: bytes, cuts: int, rest: bytes) -> None:
    connect = talk()
    connect.start()
    assert give(connect, answer + rest, cuts) == b""
    assert connect.opened
    assert connect.rest == rest


@pytest.mark.parametrize(
    "body",
    [
        EMPTY,
        b"Content-Length: 6\r\n\r\n<html>",
        b"Transfer-Encoding: chunked\r\n\r\n6;a=b\r\n<html>\r\n0\r\nTrailer: x\r\n\r\n",
        b"Transfer-Encoding: Chunked\r\n\r\n0\r\n\r\n",
    ],
)
@given(cuts=st.integers(1, 60))
def test_a_407_over_the_same_connection(body: bytes, cuts: int) -> None:
    connect = talk()
    connect.start()
    assert BASIC in give(connect, ASKED + body, cuts)
    assert not connect.again
    give(connect, OPEN, cuts)
    assert connect.opened


@pytest.mark.parametrize(
    "answer",
    [
        ASKED + b"Connection: close\r\n" + EMPTY,
        ASKED + b"Proxy-Connection: close\r\n" + EMPTY,
        ASKED.replace(b"1.1", b"1.0") + EMPTY,
        ASKED + b"Content-Length: 99999999\r\n\r\n",
        ASKED + b"\r\n",  # until the connection ends
        ASKED + b"Transfer-Encoding: gzip\r\n\r\n",
        ASKED + b"Transfer-Encoding: chunked\r\n\r\nnonsense\r\n",
        ASKED + b"Transfer-Encoding: chunked\r\n\r\n" + b"1" * 2000,
        ASKED
        + b"Transfer-Encoding: chunked\r\n\r\n"
        + b"8000\r\n"
        + b"x" * 0x8000
        + b"\r\n"
        + b"8000\r\n"
        + b"x" * 0x8000
        + b"\r\n1\r\nx",
    ],
    ids=lambda answer: repr(answer[70:120]),
)
def test_a_407_over_another_connection(answer: bytes) -> None:
    connect = talk()
    connect.start()
    assert give(connect, answer) == b""
    assert connect.again
    assert BASIC in connect.start()
    assert not connect.again
    give(connect, OPEN)
    assert connect.opened


def test_an_old_proxy_that_keeps_the_connection() -> None:
    connect = talk()
    connect.start()
    answer = ASKED.replace(b"1.1", b"1.0") + b"Proxy-Connection: keep-alive\r\n" + EMPTY
    assert BASIC in give(connect, answer)


def test_the_end_comes_in_the_middle_of_the_page() -> None:
    connect = talk()
    connect.start()
    give(connect, ASKED + b"Content-Length: 100\r\n\r\n<html>")
    connect.ended()
    assert connect.again


def test_a_proxy_that_always_ends_the_connection() -> None:
    connect = talk()
    connect.start()
    give(
        connect,
        ASKED.replace(b"Basic realm=x", b'Digest realm="x", nonce="n", stale=true')
        + b"Connection: close\r\n"
        + EMPTY,
    )
    connect.start()
    give(
        connect,
        ASKED.replace(b"Basic realm=x", b'Digest realm="x", nonce="m", stale=true')
        + b"Connection: close\r\n"
        + EMPTY,
    )
    with pytest.raises(Refused, match="after each 407"):
        connect.start()


@pytest.mark.parametrize(
    ("answer", "message", "hint"),
    [
        (
            b"HTTP/1.1 403 Forbidden\r\n\r\n",
            "it answers 403 Forbidden",
            "its rules do not allow gw.example.com:443",
        ),
        (b"HTTP/1.1 403 \x1b[31m\r\n\r\n", "its answer is no HTTP answer", "check scheme"),
        (b"HTTP/1.1 403 " + b"x" * 500 + b"\r\n\r\n", "it answers 403 " + "x" * 100, "rules"),
        (b"HTTP/1.1 405\r\n\r\n", "it answers 405 Method Not Allowed", "it has CONNECT"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "it answers 502 Bad Gateway", "does not reach gw.example.com"),
        (
            b"HTTP/1.1 302 Found\r\nLocation: http://login/\r\n\r\n",
            "it answers 302 Found",
            "sign in with a browser",
        ),
        (b"HTTP/1.1 401 Unauthorized\r\n\r\n", "it answers 401", "a Web server, not a proxy"),
        (b"HTTP/1.1 418 I\r\n\r\n", "it answers 418 I", ""),
        (b"SSH-2.0-OpenSSH\r\n", "its answer is no HTTP answer", "http://, https:// or socks://"),
        (b"\x15\x03\x01\0\2\2\x46", "its answer is no HTTP answer", ""),
        (b"\5\xff", "its answer is no HTTP answer", ""),
        (b"HTTP/2 200\r\n\r\n", "its answer is no HTTP answer", ""),
        (b"x" * 20_000, "its answer is no HTTP answer: it begins otherwise", ""),
        (ASKED + b"Content-Length: 1\r\n\r\n<HTTP", "it answers more than it was asked", ""),
    ],
    ids=lambda value: repr(value[:30]),
)
def test_refusals(answer: bytes, message: str, hint: str) -> None:
    connect = talk()
    connect.start()
    with pytest.raises(Refused) as caught:
        give(connect, answer)
    assert str(caught.value).startswith(message)
    assert hint in caught.value.hint
    assert caught.value.status == 502


def test_a_proxy_that_waits_for_the_destination() -> None:
    connect = talk()
    connect.start()
    with pytest.raises(Refused) as caught:
        give(connect, b"HTTP/1.1 504 Gateway Timeout\r\n\r\n")
    assert caught.value.status == 504


def test_nobody_said_who_we_are() -> None:
    connect = talk(None)
    connect.start()
    with pytest.raises(Refused) as caught:
        give(connect, ASKED + EMPTY)
    assert str(caught.value) == "it answers 407 Proxy Authentication Required; it offers Basic"
    assert "proxy.credentials-file" in caught.value.hint


def test_no_answer_at_all() -> None:
    connect = talk()
    connect.start()
    with pytest.raises(Refused, match="it ended the connection without an answer to CONNECT"):
        connect.ended()


@given(st.binary(max_size=300), st.integers(1, 100))
def test_whatever_is_answered(answer: bytes, cuts: int) -> None:
    for begin in (b"", b"HTTP/1.1 ", ASKED, ASKED + b"Transfer-Encoding: chunked\r\n\r\n"):
        connect = talk()
        connect.start()
        text = ""
        try:
            said = give(connect, begin + answer, cuts)
        except Refused as error:
            said, text = b"", str(error)
        assert text.isprintable()
        assert len(said) < 10_000


def test_a_page_costs_no_memory() -> None:
    connect = talk()
    connect.start()
    give(connect, ASKED + f"Content-Length: {MAXIMUM_BODY}\r\n\r\n".encode())
    for _ in range(MAXIMUM_BODY // 1024 - 1):
        assert give(connect, bytes(1024)) == b""
    assert BASIC in give(connect, bytes(1024))
