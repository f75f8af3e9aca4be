"""heads.py against RFC 9112, in tables and in any cuts."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.websocket.recorder import cut, cuts, single_bytes

from isthmus.websocket.heads import (
    MAXIMUM_FIELDS,
    MAXIMUM_HEAD_SIZE,
    HandshakeError,
    HeadReader,
    parse_request_head,
    parse_response_head,
)


def head(*lines: bytes) -> bytes:
    return b"\r\n".join(lines) + b"\r\n\r\n"


def request(*fields: bytes, first: bytes = b"GET / HTTP/1.1", host: bytes | None = b"h") -> bytes:
    return head(first, *([] if host is None else [b"Host: " + host]), *fields)


def test_a_request() -> None:
    parsed = parse_request_head(
        head(
            b"GET /a%20b?q=1&r HTTP/1.1",
            b"HOST: Example.COM:8080",
            b"Connection: keep-alive,Upgrade",
            b"connection:\t close \t",
            b"Empty:",
            b"Latin: \xe9",
        )
    )
    assert parsed.method == "GET"
    assert (parsed.target, parsed.path, parsed.query) == ("/a%20b?q=1&r", "/a%20b", "q=1&r")
    assert parsed.version == (1, 1)
    assert parsed.host == "example.com:8080"
    assert parsed.headers[0] == ("host", "Example.COM:8080")
    assert parsed.get("connection") == "keep-alive,Upgrade"
    assert parsed.get_all("connection") == ["keep-alive,Upgrade", "close"]
    assert parsed.tokens("connection") == ["keep-alive", "Upgrade", "close"]
    assert parsed.has_token("connection", "upgrade")
    assert not parsed.has_token("connection", "keep")
    assert parsed.get("empty") == ""
    assert parsed.get("latin") == "é"
    assert parsed.get("absent") is None
    assert parsed.tokens("absent") == []


@pytest.mark.parametrize(
    ("first", "path", "query", "host"),
    [
        (b"GET / HTTP/1.1", "/", "", "h"),
        (b"GET //x HTTP/1.1", "//x", "", "h"),
        (b"GET /?a?b HTTP/1.1", "/", "a?b", "h"),
        (b"GET /a|b?{c}[d]^`e HTTP/1.1", "/a|b", "{c}[d]^`e", "h"),  # as browsers send it
        (b"GET http://Other:81/p?q HTTP/1.1", "/p", "q", "other:81"),  # 3.2.2: wins over Host
        (b"GET https://[::1] HTTP/1.1", "/", "", "[::1]"),
        (b"GET http://other?q HTTP/1.1", "/", "q", "other"),
        (b"OPTIONS * HTTP/1.1", "*", "", "h"),
        (b"CONNECT x:443 HTTP/1.1", "", "", "x:443"),
        (b"GET / HTTP/1.0", "/", "", "h"),
        (b"GET / HTTP/1.2", "/", "", "h"),
    ],
)
def test_targets(first: bytes, path: str, query: str, host: str) -> None:
    """RFC 9112 3.2."""
    parsed = parse_request_head(request(first=first))
    assert (parsed.path, parsed.query, parsed.host) == (path, query, host)


WRONG_REQUESTS = [
    ("no version", 400, request(first=b"GET /")),
    ("two spaces", 400, request(first=b"GET  / HTTP/1.1")),
    ("tab instead of space", 400, request(first=b"GET\t/ HTTP/1.1")),
    ("space at the end", 400, request(first=b"GET / HTTP/1.1 ")),
    ("lower-case http", 400, request(first=b"GET / http/1.1")),
    ("two digits of version", 400, request(first=b"GET / HTTP/1.10")),
    ("9110 9.1 method is no token", 400, request(first=b"G(T / HTTP/1.1")),
    ("empty first line", 400, request(first=b"")),
    ("target with control character", 400, request(first=b"GET /\x01 HTTP/1.1")),
    ("target with NUL", 400, request(first=b"GET /\x00 HTTP/1.1")),
    ("target beyond ASCII", 400, request(first=b"GET /\xe9 HTTP/1.1")),
    ("target with no-break space", 400, request(first=b"GET /\xa0 HTTP/1.1")),
    ("target with fragment", 400, request(first=b"GET /#f HTTP/1.1")),
    ("target with backslash", 400, request(first=b"GET /\\x HTTP/1.1")),
    ("target without slash", 400, request(first=b"GET x HTTP/1.1")),
    ("target of another scheme", 400, request(first=b"GET ftp://x/ HTTP/1.1")),
    ("asterisk with GET", 400, request(first=b"GET * HTTP/1.1")),
    ("absolute target without host", 400, request(first=b"GET http:///x HTTP/1.1")),
    ("absolute target with user", 400, request(first=b"GET http://u@h/ HTTP/1.1")),
    ("CONNECT without port", 400, request(first=b"CONNECT x HTTP/1.1")),
    ("2.3 HTTP/2.0", 505, request(first=b"GET / HTTP/2.0")),
    ("HTTP/0.9", 505, request(first=b"GET / HTTP/0.9")),
    ("3 long target", 414, request(first=b"GET /" + b"a" * 8192 + b" HTTP/1.1")),
    ("3.2 no Host", 400, request(host=None)),
    ("3.2 two Hosts", 400, request(b"Host: h")),
    ("3.2 Host as a list", 400, request(host=b"a, b")),
    ("Host with user", 400, request(host=b"u@h")),
    ("Host with path", 400, request(host=b"h/x")),
    ("Host with space", 400, request(host=b"a b")),
    ("Host with a wrong port", 400, request(host=b"h:x")),
    ("Host with a large port", 400, request(host=b"h:65536")),
    ("Host with a port only", 400, request(host=b":80")),
    ("Host with an open bracket", 400, request(host=b"[::1")),
    ("Host with a bare IPv6 address", 400, request(host=b"::1")),
    ("2.2 bare CR", 400, request(b"A: b\rc")),
    ("2.2 bare LF", 400, request(b"A: b\nC: d")),
    ("5.2 folded line", 400, request(b"A: b", b" c")),
    ("5.2 folded by tab", 400, request(b"A: b", b"\tc")),
    ("folded first field", 400, head(b"GET / HTTP/1.1", b" Host: h")),
    ("5.1 space before colon", 400, request(b"A : b")),
    ("no colon", 400, request(b"A")),
    ("empty name", 400, request(b": b")),
    ("name beyond ASCII", 400, request(b"\xe9: b")),
    ("NUL in value", 400, request(b"A: b\x00c")),
    ("DEL in value", 400, request(b"A: \x7f")),
    ("6.3 two lengths", 400, request(b"Content-Length: 1", b"Content-Length: 2")),
    ("6.3 the same length twice", 400, request(b"Content-Length: 1", b"Content-Length: 1")),
    ("6.3 a list of lengths", 400, request(b"Content-Length: 1, 1")),
    ("negative length", 400, request(b"Content-Length: -1")),
    ("length with sign", 400, request(b"Content-Length: +1")),
    ("superscript length", 400, request(b"Content-Length: \xb2")),
    ("empty length", 400, request(b"Content-Length:")),
    ("6.1 length and encoding", 400, request(b"Content-Length: 1", b"Transfer-Encoding: chunked")),
    ("6.1 encoding in 1.0", 400, request(b"Transfer-Encoding: chunked", first=b"GET / HTTP/1.0")),
    ("too many fields", 431, request(*[b"a: b"] * MAXIMUM_FIELDS)),
    ("too large", 431, request(b"a: " + b"b" * MAXIMUM_HEAD_SIZE)),
    ("no empty line", 400, b"GET / HTTP/1.1\r\nHost: h\r\n"),
    ("nothing", 400, b""),
]


@pytest.mark.parametrize(("name", "status", "data"), WRONG_REQUESTS, ids=[row[0] for row in WRONG_REQUESTS])
def test_wrong_requests(name: str, status: int, data: bytes) -> None:
    with pytest.raises(HandshakeError) as caught:
        parse_request_head(data)
    assert caught.value.status == status
    assert caught.value.reason == str(caught.value) != ""


def test_as_much_as_is_allowed() -> None:
    fields = [b"f: v"] * (MAXIMUM_FIELDS - 1)
    assert len(parse_request_head(request(*fields)).headers) == MAXIMUM_FIELDS
    filling = MAXIMUM_HEAD_SIZE - len(request(b"a: "))
    assert len(parse_request_head(request(b"a: " + b"b" * filling)).headers) == 2


@pytest.mark.parametrize(
    "host", [b"", b"h", b"h:", b"h:0", b"a.b-c_d~%41:65535", b"[fe80::1%25eth0]:1", b"1.2.3.4"]
)
def test_hosts(host: bytes) -> None:
    """RFC 9112 3.2, RFC 9110 7.2."""
    assert parse_request_head(request(host=host)).host == host.decode().lower()


def test_http_1_0_needs_no_host() -> None:
    assert parse_request_head(request(first=b"GET / HTTP/1.0", host=None)).host == ""


def test_a_wrong_line_takes_no_quadratic_time() -> None:
    """Sixteen times the spaces may take some sixteen times as long, not 256 times."""

    def duration(size: int) -> float:
        data = request(b"a:" + b" " * size + b"\x00")
        best = 1.0
        for _ in range(5):
            start = time.perf_counter()
            with pytest.raises(HandshakeError):
                parse_request_head(data)
            best = min(best, time.perf_counter() - start)
        return best

    assert duration(16_000) < 100 * duration(1_000)


def test_a_response() -> None:
    parsed = parse_response_head(head(b"HTTP/1.1 101 Switching Protocols", b"Upgrade: websocket"))
    assert (parsed.version, parsed.status, parsed.reason) == ((1, 1), 101, "Switching Protocols")
    assert parsed.headers == (("upgrade", "websocket"),)
    assert not parsed.interim


@pytest.mark.parametrize(
    ("line", "status", "reason", "interim"),
    [
        (b"HTTP/1.1 200", 200, "", False),
        (b"HTTP/1.1 200 ", 200, "", False),
        (b"HTTP/1.0 404 Not Found", 404, "Not Found", False),
        (b"HTTP/1.1 502 Pas l\xe0", 502, "Pas là", False),
        (b"HTTP/1.1 100 Continue", 100, "Continue", True),
        (b"HTTP/1.1 103 Early Hints", 103, "Early Hints", True),
        (b"HTTP/1.1 101 Switching Protocols", 101, "Switching Protocols", False),
    ],
)
def test_status_lines(line: bytes, status: int, reason: str, interim: bool) -> None:
    """RFC 9112 4."""
    parsed = parse_response_head(head(line))
    assert (parsed.status, parsed.reason, parsed.interim) == (status, reason, interim)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        head(b""),
        head(b"SSH-2.0-OpenSSH"),
        head(b"HTTP/1.1 2000 OK"),
        head(b"HTTP/1.1 099 Low"),
        head(b"HTTP/1.1  200 OK"),
        head(b"HTTP/2.0 200 OK"),
        head(b"HTTP/1.1 200 O\x00K"),
        head(b"HTTP/1.1 200 OK", b"a : b"),
        head(b"HTTP/1.1 200 OK", b"Content-Length: 1", b"Content-Length: 1"),
        head(b"HTTP/1.1 200 OK", *[b"a: b"] * 101),
        head(b"HTTP/1.1 200 OK", b"a: " + b"b" * MAXIMUM_HEAD_SIZE),
    ],
)
def test_wrong_responses_are_a_bad_gateway(data: bytes) -> None:
    with pytest.raises(HandshakeError) as caught:
        parse_response_head(data)
    assert caught.value.status == 502


# --- HeadReader -------------------------------------------------------------------------------------------


JUST_100 = head(b"GET / HTTP/1.1", b"a: " + b"b" * 77)


def read(pieces: list[bytearray], maximum: int = MAXIMUM_HEAD_SIZE) -> tuple[bytes | None, bytes] | int:
    """Return the head and everything behind it, or the status of the error."""
    reader = HeadReader(maximum)
    for number, piece in enumerate(pieces):
        try:
            found = reader.feed(piece)
        except HandshakeError as error:
            return error.status
        if found is not None:
            return found, bytes(reader.rest) + b"".join(pieces[number + 1 :])
    return None, b""


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (request() + b"\x82\x00", (request(), b"\x82\x00")),
        (request(), (request(), b"")),
        (request() + b"\n\x00", (request(), b"\n\x00")),  # what follows is not looked at
        (b"\r\n" + request(), (request(), b"")),  # RFC 9112 2.2
        (b"\r\n\r\n" + request(), 400),
        (b"\n" + request(), 400),
        (b"\r" + request(), 400),
        (b"GET / HTTP/1.1\nHost: h\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00", 400),
        (b"\x00", 400),
        (b"GET / HTTP/1.1\r\n", (None, b"")),
        (b"", (None, b"")),
        (b"G" * 200, 414),
        (b"GET / HTTP/1.1\r\na: " + b"b" * 200, 431),
        (JUST_100, (JUST_100, b"")),
        (JUST_100[:-4] + b"b\r\n\r\n", 431),
    ],
)
def test_head_reader(data: bytes, expected: tuple[bytes | None, bytes] | int) -> None:
    assert read([bytearray(data)], 100) == expected
    assert read(single_bytes(data), 100) == expected


def test_tls_on_a_plain_port_is_named() -> None:
    with pytest.raises(HandshakeError, match="TLS"):
        HeadReader().feed(b"\x16\x03\x01")


def test_rest_is_writable_because_a_server_unmasks_it_in_place() -> None:
    reader = HeadReader()
    assert reader.feed(request() + b"rest") == request()
    assert reader.rest == b"rest"
    assert isinstance(reader.rest, bytearray)


def test_one_head_after_another() -> None:
    """An interim response comes before the final one."""
    reader = HeadReader()
    hints, final = head(b"HTTP/1.1 103 Early Hints"), head(b"HTTP/1.1 101 Switching Protocols")
    assert reader.feed(hints + final + b"x") == hints
    assert reader.feed(reader.rest) == final
    assert reader.rest == b"x"


heads = st.one_of(
    st.binary(max_size=120),
    st.lists(
        st.sampled_from(
            [b"GET / HTTP/1.1", b"\r\n", b"\r\n", b"\r", b"\n", b"Host: h", b"a:", b"\x00", b"x" * 30]
        ),
        max_size=10,
    ).map(b"".join),
    st.just(request() + b"rest"),
)


@given(data=heads, places=cuts)
def test_cuts_change_nothing(data: bytes, places: list[int]) -> None:
    whole = read([bytearray(data)], 80)
    assert read(cut(data, places), 80) == whole
    assert read(single_bytes(data), 80) == whole


pieces = st.sampled_from(
    [
        b"GET ",
        b"/ ",
        b"HTTP/1.1",
        b"HTTP/1.1 101 x",
        b"\r\n",
        b"Host",
        b":",
        b" h",
        b"Content-Length: 1",
        b"[",
        b"%",
    ]
)


@given(data=st.one_of(st.binary(max_size=200), st.lists(pieces, max_size=12).map(b"".join)))
def test_nothing_but_a_handshake_error_comes_out(data: bytes) -> None:
    statuses = set()
    for parse in (parse_request_head, parse_response_head):
        for wire in (data, data + b"\r\n\r\n", b"GET / HTTP/1.1\r\nHost: h\r\n" + data + b"\r\n\r\n"):
            try:
                parse(wire)
            except HandshakeError as error:
                statuses.add(error.status)
    assert statuses <= {400, 414, 431, 502, 505}
