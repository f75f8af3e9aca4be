"""Requests of the emulation: paths, sequence numbers, what a server takes and what a client believes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.websocket.handshake import HandshakeError, RequestHead, parse_request_head, parse_response_head
from isthmus.wse.encodings import BINARY, ENCODINGS
from isthmus.wse.requests import (
    MAXIMUM_SEQUENCE,
    Asking,
    accept_creation,
    begins_emulation,
    downstream_head,
    number_of,
    parameters_of,
    place_of,
    query_without,
    sequence_of,
    upstream_answer,
)

RIGHT = ("X-WebSocket-Version: wseb-1.0", "X-Sequence-No: 5", "X-Accept-Commands: ping")


def head(*fields: str, method: str = "POST", target: str = "/path/;e/cbm?query") -> RequestHead:
    lines = [f"{method} {target} HTTP/1.1", "Host: host.example.com:8080", *fields, "", ""]
    return parse_request_head("\r\n".join(lines).encode())


@pytest.mark.parametrize("suffix", sorted(ENCODINGS))
def test_places(suffix: str) -> None:
    place = place_of(f"/a/b/;e/c{suffix}")
    assert place is not None
    assert (place.path, place.kind, place.encoding, place.name) == ("/a/b", "create", ENCODINGS[suffix], "")
    place = place_of(f"/%3Be/d{suffix}/Aa0_-")
    assert place is not None
    assert (place.path, place.kind, place.name) == ("", "downstream", "Aa0_-")
    assert place_of(f"/;e/u{suffix}/x") is not None


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/;e/",
        "/;e/cx",
        "/;e/cbm/x",
        "/;e/db",
        "/;e/db/",
        "/;e/ub/a/b",
        "/;e/ub/a.b",
        "/x;e/cb",
        "/;e/cookies",
    ],
)
def test_no_places(path: str) -> None:
    assert place_of(path) is None


@given(st.text(max_size=60))
def test_any_path_is_a_place_or_none(path: str) -> None:
    place_of(path)


def test_a_request_that_begins() -> None:
    assert begins_emulation(b"GET /a/;e/dbm/x HTTP/1.1\r\nHost: a")
    assert begins_emulation(b"POST /a/%3Be/cbm HT")
    assert not begins_emulation(b"GET /a HTTP/1.1\r\nReferer: /;e/\r\n")


def test_parameters() -> None:
    query = ".kb=5&a=b&.ki=p&.kb=9&c"
    assert parameters_of(query) == {".kb": "5", ".ki": "p"}
    assert query_without(query) == "a=b&c"
    assert number_of({".kb": "70"}, ".kb", 64) == 64
    assert number_of({".kb": "x"}, ".kb", 64) is None


@pytest.mark.parametrize("number", [0, 1, MAXIMUM_SEQUENCE])
def test_sequence_numbers(number: int) -> None:
    assert sequence_of(head(f"X-Sequence-No: {number}"), {}) == number
    assert sequence_of(head(), {".ksn": str(number)}) == number


@pytest.mark.parametrize("value", ["-1", "1.5", "a", "", str(MAXIMUM_SEQUENCE + 1), "9" * 40])
def test_no_sequence_numbers(value: str) -> None:
    for request, parameters in ((head(f"X-Sequence-No: {value}"), {}), (head(), {".ksn": value})):
        with pytest.raises(HandshakeError) as caught:
            sequence_of(request, parameters)
        assert caught.value.status == 400


def create(*fields: str, method: str = "POST", target: str = "/path/;e/cbm?query") -> object:
    request = head(*fields, method=method, target=target)
    place = place_of(request.path)
    assert place is not None
    return accept_creation(request, place, subprotocols=("x", "y"))


def test_a_right_creation() -> None:
    request = head(*RIGHT, "X-WebSocket-Protocol: a, y, x", target="/path/;e/ctm?q=1&.ksn=5")
    place = place_of(request.path)
    assert place is not None
    creation = accept_creation(request, place, subprotocols=("x", "y"))
    assert (creation.sequence, creation.subprotocol, creation.pings) == (5, "y", True)
    answer = creation.response("https://host.example.com", "name")
    first, _, body = answer.partition(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 201 Created\r\n")
    assert b"X-WebSocket-Protocol: y" in first.split(b"\r\n")
    assert body.decode().split("\n") == [
        "https://host.example.com/path/;e/utm/name?q=1",
        "https://host.example.com/path/;e/dtm/name?q=1",
        "",
    ]


def test_what_kaazing_sends_unless_told_to_keep_to_the_specification() -> None:
    assert create("X-Sequence-No: 0", "X-Accept-Commands: ping", method="GET")


@pytest.mark.parametrize(
    "fields",
    [
        RIGHT[1:],
        (*RIGHT[:1], *RIGHT[2:]),
        ("X-WebSocket-Version: wseb-1.1", *RIGHT[1:]),
        (*RIGHT[:2], "X-Accept-Commands: pong"),
        (*RIGHT, "X-WebSocket-Protocol: a b"),
        (*RIGHT, "X-Sequence-No: 6"),
    ],
)
def test_wrong_creations(fields: tuple[str, ...]) -> None:
    with pytest.raises(HandshakeError) as caught:
        create(*fields)
    assert caught.value.status == 400


def test_a_wrong_method() -> None:
    with pytest.raises(HandshakeError) as caught:
        create(*RIGHT, method="PUT")
    assert caught.value.status == 400


def test_answers() -> None:
    long, short = downstream_head(BINARY, 20.0, None), downstream_head(ENCODINGS["te"], 0.2, 7)
    assert b"Connection: close" in long
    assert b"Content-Length" not in long
    assert b"X-Accel-Buffering: no" in long
    assert b"no-transform" in long
    assert b"Content-Length: 7" in short
    assert b"charset=windows-1252" in short
    assert b"X-Idle-Timeout: 1\r\n" in short
    assert b"Content-Length: 0" in upstream_answer()


# --- the client's side

ASKING = Asking("host.example.com:8080", "/path?query", (("Cookie", "a=b"),))


def test_requests() -> None:
    request = parse_request_head(ASKING.create(0, ("x",)))
    assert (request.method, request.target, request.host) == (
        "POST",
        "/path/;e/cbm?query",
        "host.example.com:8080",
    )
    assert request.get("x-websocket-version") == "wseb-1.0"
    assert request.get("x-accept-commands") == "ping"
    assert request.get("content-length") == "0"
    assert request.get("x-websocket-protocol") == "x"
    assert request.get("cookie") == "a=b"
    assert create(*(f"{name}: {value}" for name, value in request.headers if name != "host"))
    request = parse_request_head(ASKING.upstream("/p", 7, 12))
    assert (request.get("x-sequence-no"), request.get("content-length")) == ("7", "12")
    request = parse_request_head(ASKING.downstream("/p?q", 8, short=True))
    assert (request.method, request.target) == ("GET", "/p?q&.ki=p")
    assert parse_request_head(Asking("a", "/").create(0, ())).path == "/;e/cbm"


def verify(
    body: str, *fields: str, status: int = 201, asking: Asking = ASKING
) -> tuple[str, str, str | None]:
    fields = fields or ("Content-Type: text/plain; charset=UTF-8",)
    text = "\r\n".join([f"HTTP/1.1 {status} Some", *fields, "", ""])
    return asking.verify(parse_response_head(text.encode()), body.encode(), ("x",))


def test_a_right_answer() -> None:
    up, down = "http://host.example.com:8080/path/abc", "https://host.example.com:8443/path/def?q"
    assert verify(f"{up}\n{down}\n") == ("/path/abc", "/path/def?q", None)
    kind = "Content-Type: text/plain;charset=utf-8"
    assert verify(f"{up}\n{down}\n", kind, "X-WebSocket-Protocol: x")[2] == "x"


def test_a_path_that_a_proxy_has_changed() -> None:
    url = "http://host.example.com/inner/;e/ubm/abc"
    assert verify(f"{url}\n{url}\n")[0] == "/path/;e/ubm/abc"


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ("", ()),
        ("http://host.example.com/path/a", ()),
        ("http://other.example.com/path/a\n" * 2, ()),
        ("ftp://host.example.com/path/a\n" * 2, ()),
        ("http://host.example.com/other/a\n" * 2, ()),
        ("http://host.example.com/path/a b\n" * 2, ()),
        ("http://[host.example.com/path/a\n" * 2, ()),
        ("http://host.example.com/path/a\n" * 2, ("Content-Type: text/html",)),
        (
            "http://host.example.com/path/a\n" * 2,
            ("Content-Type: text/plain;charset=utf-8", "X-WebSocket-Protocol: y"),
        ),
        (
            "http://host.example.com/path/a\n" * 2,
            ("Content-Type: text/plain;charset=utf-8", "X-WebSocket-Extensions: y"),
        ),
    ],
)
def test_wrong_answers(body: str, fields: tuple[str, ...]) -> None:
    with pytest.raises(HandshakeError) as caught:
        verify(body, *fields)
    assert caught.value.status == 502


def test_a_refusal_keeps_its_status() -> None:
    with pytest.raises(HandshakeError, match="answered 403 Some") as caught:
        verify("", status=403)
    assert caught.value.status == 403
