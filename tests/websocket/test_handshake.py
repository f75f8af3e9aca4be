"""handshake.py against RFC 6455 section 4, both roles, and with an independent peer."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.http11 import Request
from websockets.protocol import OPEN
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from isthmus.websocket.frames import LocalError
from isthmus.websocket.handshake import (
    ClientHandshake,
    HandshakeError,
    RequestHead,
    accept_upgrade,
    accept_value,
    is_upgrade,
    parse_request_head,
    parse_response_head,
    refusal,
)

# RFC 6455 1.3, the example
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

RIGHT: list[tuple[str, str]] = [
    ("Host", "server.example.com"),
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Key", KEY),
    ("Sec-WebSocket-Version", "13"),
]
ANSWER: list[tuple[str, str]] = [
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Accept", "{accept}"),
]


def changed(
    fields: list[tuple[str, str]], name: str, *values: str, keep: bool = False
) -> list[tuple[str, str]]:
    """Return `fields` with those called `name` replaced by others (or with the others added)."""
    return [f for f in fields if keep or f[0] != name] + [(name, value) for value in values]


def request(fields: list[tuple[str, str]], first: str = "GET /chat HTTP/1.1") -> RequestHead:
    lines = [first, *(f"{name}: {value}" for name, value in fields), "", ""]
    return parse_request_head("\r\n".join(lines).encode())


# --- server -----------------------------------------------------------------------------------------------


def test_the_example_of_section_1_3() -> None:
    assert accept_value(KEY) == ACCEPT
    response = parse_response_head(accept_upgrade(request(RIGHT)).response())
    assert response.status == 101
    assert response.get("sec-websocket-accept") == ACCEPT
    assert response.get("sec-websocket-protocol") is None


GOOD = [
    ("as Firefox sends it", changed(RIGHT, "Connection", "keep-alive, Upgrade")),
    ("over two lines", changed(RIGHT, "Connection", "keep-alive", "UPGRADE")),
    ("with empty elements", changed(RIGHT, "Connection", ",, Upgrade ,")),
    ("Upgrade in another case", changed(RIGHT, "Upgrade", "WebSocket")),
    ("Upgrade among others", changed(RIGHT, "Upgrade", "h2c, websocket")),
    ("names in another case", [(name.swapcase(), value) for name, value in RIGHT]),
    ("unknown extensions", [*RIGHT, ("Sec-WebSocket-Extensions", 'permessage-deflate; x="a" ;z, y')]),
    ("an empty body", [*RIGHT, ("Content-Length", "0")]),
]


@pytest.mark.parametrize(("name", "fields"), GOOD, ids=[row[0] for row in GOOD])
def test_right_requests(name: str, fields: list[tuple[str, str]]) -> None:
    assert is_upgrade(request(fields))
    response = parse_response_head(accept_upgrade(request(fields)).response())
    assert response.get("sec-websocket-accept") == ACCEPT
    assert response.get("sec-websocket-extensions") is None


SHORT_KEY = base64.b64encode(bytes(15)).decode()
LONG_KEY = base64.b64encode(bytes(17)).decode()
SPEAKS = ("Sec-WebSocket-Version", "13")
WRONG: list[tuple[str, int, tuple[str, str] | None, RequestHead]] = [
    ("4.2.1-1 POST", 405, ("Allow", "GET"), request(RIGHT, "POST / HTTP/1.1")),
    ("4.2.1-1 HTTP/1.0", 505, None, request(RIGHT, "GET / HTTP/1.0")),
    ("4.2.1-3 no Upgrade", 426, ("Upgrade", "websocket"), request(changed(RIGHT, "Upgrade"))),
    (
        "4.2.1-3 other Upgrade",
        426,
        ("Upgrade", "websocket"),
        request(changed(RIGHT, "Upgrade", "websockets")),
    ),
    ("4.2.1-4 no Connection", 400, None, request(changed(RIGHT, "Connection"))),
    ("4.2.1-4 other Connection", 400, None, request(changed(RIGHT, "Connection", "keep-alive"))),
    ("4.2.1-5 no key", 400, None, request(changed(RIGHT, "Sec-WebSocket-Key"))),
    ("4.2.1-5 empty key", 400, None, request(changed(RIGHT, "Sec-WebSocket-Key", ""))),
    ("11.3.1 two keys", 400, None, request(changed(RIGHT, "Sec-WebSocket-Key", KEY, keep=True))),
    ("4.2.1-5 key of 15 bytes", 400, None, request(changed(RIGHT, "Sec-WebSocket-Key", SHORT_KEY))),
    ("4.2.1-5 key of 17 bytes", 400, None, request(changed(RIGHT, "Sec-WebSocket-Key", LONG_KEY))),
    (
        "4.2.1-5 key not base64",
        400,
        None,
        request(changed(RIGHT, "Sec-WebSocket-Key", KEY.replace("d", "_"))),
    ),
    ("4.4 no version", 400, SPEAKS, request(changed(RIGHT, "Sec-WebSocket-Version"))),
    ("4.4 version 8", 400, SPEAKS, request(changed(RIGHT, "Sec-WebSocket-Version", "8"))),
    ("4.4 version 013", 400, SPEAKS, request(changed(RIGHT, "Sec-WebSocket-Version", "013"))),
    ("4.4 a list", 400, SPEAKS, request(changed(RIGHT, "Sec-WebSocket-Version", "13, 8"))),
    ("11.3.5 the same twice", 400, SPEAKS, request(changed(RIGHT, "Sec-WebSocket-Version", "13", keep=True))),
    ("a body", 400, None, request([*RIGHT, ("Content-Length", "5")])),
    ("a chunked body", 400, None, request([*RIGHT, ("Transfer-Encoding", "chunked")])),
    ("malformed subprotocol", 400, None, request([*RIGHT, ("Sec-WebSocket-Protocol", "a b")])),
]


@pytest.mark.parametrize(("name", "status", "header", "head"), WRONG, ids=[row[0] for row in WRONG])
def test_wrong_requests(name: str, status: int, header: tuple[str, str] | None, head: RequestHead) -> None:
    with pytest.raises(HandshakeError) as caught:
        accept_upgrade(head)
    error = caught.value
    assert error.status == status
    assert header is None or header in error.headers
    answer = refusal(error.status, error.reason, error.headers)
    parsed = parse_response_head(answer.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
    assert parsed.status == status
    assert header is None or parsed.get(header[0].lower()) == header[1]
    assert parsed.has_token("connection", "close")


def test_is_upgrade() -> None:
    assert not is_upgrade(request(changed(RIGHT, "Upgrade")))
    assert not is_upgrade(request(RIGHT, "GET / HTTP/1.0"))
    assert is_upgrade(request(changed(RIGHT, "Sec-WebSocket-Version", "8"))), "asked for, though wrongly"


@pytest.mark.parametrize(
    ("offered", "spoken", "chosen"),
    [
        ([], ["a"], None),
        (["a, b"], [], None),
        (["x, y"], ["a"], None),
        (["a, b"], ["b", "a"], "a"),  # the client's order
        (["x", "b"], ["b"], "b"),
        (["A"], ["a"], None),  # 11.3.4: compared as they are
    ],
)
def test_subprotocols(offered: list[str], spoken: list[str], chosen: str | None) -> None:
    head = request(changed(RIGHT, "Sec-WebSocket-Protocol", *offered))
    upgrade = accept_upgrade(head, subprotocols=spoken)
    assert upgrade.subprotocol == chosen
    assert parse_response_head(upgrade.response()).get("sec-websocket-protocol") == chosen


def test_refusals_are_complete() -> None:
    answer = refusal(502, "the backend é is down", [("Retry-After", "5")])
    start, _, body = answer.partition(b"\r\n\r\n")
    parsed = parse_response_head(start + b"\r\n\r\n")
    assert start.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
    assert body.decode() == "502 Bad Gateway: the backend é is down\n"
    assert parsed.get("content-length") == str(len(body))
    assert parsed.get("connection") == "close"
    assert parsed.get("retry-after") == "5"
    assert refusal(404).endswith(b"\r\n\r\n404 Not Found\n")
    assert refusal(599, "x").startswith(b"HTTP/1.1 599 \r\n")


# --- client -----------------------------------------------------------------------------------------------


def answer(handshake: ClientHandshake, fields: list[tuple[str, str]], first: str = "HTTP/1.1 101 Go") -> Any:
    sent = parse_request_head(handshake.request())
    accept = accept_value(sent.get("sec-websocket-key") or "")
    lines = [first, *(f"{name}: {value}".replace("{accept}", accept) for name, value in fields), "", ""]
    return parse_response_head("\r\n".join(lines).encode("latin-1"))


def test_the_request_is_right_and_its_key_is_new() -> None:
    """RFC 6455 4.1."""
    keys = set()
    for _ in range(20):
        handshake = ClientHandshake("h:81", "/p?q", subprotocols=["a", "b"], headers=[("Origin", "http://o")])
        assert handshake.request() == handshake.request()
        sent = parse_request_head(handshake.request())
        assert (sent.host, sent.target, sent.get("origin")) == ("h:81", "/p?q", "http://o")
        assert accept_upgrade(sent, subprotocols=["b"]).subprotocol == "b"
        keys.add(sent.get("sec-websocket-key"))
    assert len(keys) == 20


ANSWERS = [
    ("as it should be", ANSWER, None),
    (
        "other case, lists",
        [("UPGRADE", "WebSocket"), ("connection", "keep-alive, UPGRADE"), ANSWER[2]],
        None,
    ),
    ("a subprotocol", [*ANSWER, ("Sec-WebSocket-Protocol", "b")], "b"),
]


@pytest.mark.parametrize(("name", "fields", "chosen"), ANSWERS, ids=[row[0] for row in ANSWERS])
def test_right_answers(name: str, fields: list[tuple[str, str]], chosen: str | None) -> None:
    handshake = ClientHandshake("h", "/", subprotocols=["a", "b"])
    assert handshake.verify(answer(handshake, fields)) == chosen


WRONG_ANSWERS = [
    ("4.1-2 no Upgrade", changed(ANSWER, "Upgrade"), "Upgrade"),
    ("4.1-2 other Upgrade", changed(ANSWER, "Upgrade", "h2c"), "Upgrade"),
    ("4.1-2 Upgrade among others", changed(ANSWER, "Upgrade", "h2c, websocket"), "Upgrade"),
    ("4.1-3 no Connection", changed(ANSWER, "Connection"), "Connection"),
    ("4.1-4 no accept", changed(ANSWER, "Sec-WebSocket-Accept"), "Accept"),
    ("4.1-4 accept of another key", changed(ANSWER, "Sec-WebSocket-Accept", ACCEPT), "cache"),
    ("4.1-4 two accepts", changed(ANSWER, "Sec-WebSocket-Accept", "{accept}", keep=True), "Accept"),
    ("4.1-5 extension", [*ANSWER, ("Sec-WebSocket-Extensions", "permessage-deflate")], "extension"),
    ("9.1 an empty list of extensions", [*ANSWER, ("Sec-WebSocket-Extensions", "")], "extension"),
    ("4.1-6 subprotocol", [*ANSWER, ("Sec-WebSocket-Protocol", "c")], "subprotocol"),
    ("4.1-6 in another case", [*ANSWER, ("Sec-WebSocket-Protocol", "A")], "subprotocol"),
    ("4.1-6 empty", [*ANSWER, ("Sec-WebSocket-Protocol", "")], "subprotocol"),
    ("4.1-6 two", changed(ANSWER, "Sec-WebSocket-Protocol", "a", "b"), "subprotocol"),
]


@pytest.mark.parametrize(("name", "fields", "word"), WRONG_ANSWERS, ids=[row[0] for row in WRONG_ANSWERS])
def test_wrong_answers(name: str, fields: list[tuple[str, str]], word: str) -> None:
    handshake = ClientHandshake("h", "/", subprotocols=["a", "b"])
    with pytest.raises(HandshakeError, match=word) as caught:
        handshake.verify(answer(handshake, fields))
    assert caught.value.status == 502


@pytest.mark.parametrize(
    ("first", "fields", "status", "text"),
    [
        ("HTTP/1.1 502 Bad Gateway", [], 502, "answered 502 Bad Gateway"),
        ("HTTP/1.1 404", [], 404, "answered 404 Not Found"),
        ("HTTP/1.1 200 OK", ANSWER, 200, "answered 200 OK"),
        ("HTTP/1.0 403 No", [], 403, "answered 403 No"),
        (
            "HTTP/1.1 302 No",
            [("Location", "/x")],
            302,
            "answered 302 No, a redirect to /x, which is not followed",
        ),
    ],
)
def test_refusals_are_told(first: str, fields: list[tuple[str, str]], status: int, text: str) -> None:
    handshake = ClientHandshake("h", "/")
    with pytest.raises(HandshakeError) as caught:
        handshake.verify(answer(handshake, fields, first))
    assert (caught.value.status, caught.value.reason) == (status, text)
    assert len(caught.value.headers) == len(fields)


def test_http_1_0_cannot_switch() -> None:
    handshake = ClientHandshake("h", "/")
    with pytest.raises(HandshakeError, match="is not HTTP"):
        handshake.verify(answer(handshake, ANSWER, "HTTP/1.0 101 Go"))


# --- values of our own ------------------------------------------------------------------------------------

INJECTIONS: list[tuple[str, Callable[[], Any]]] = [
    ("host", lambda: ClientHandshake("h\r\nA: b", "/")),
    ("empty host", lambda: ClientHandshake("", "/")),
    ("target", lambda: ClientHandshake("h", "/ HTTP/1.1\r\nA: b")),
    ("target with a space", lambda: ClientHandshake("h", "/a b")),
    ("target with a newline at its end", lambda: ClientHandshake("h", "/\n")),
    ("target with a fragment", lambda: ClientHandshake("h", "/#f")),
    ("target beyond ASCII", lambda: ClientHandshake("h", "/é")),
    ("relative target", lambda: ClientHandshake("h", "x")),
    ("subprotocol", lambda: ClientHandshake("h", "/", subprotocols=["a, b"])),
    ("subprotocol twice", lambda: ClientHandshake("h", "/", subprotocols=["a", "a"])),
    ("header value", lambda: ClientHandshake("h", "/", headers=[("A", "b\r\nC: d")])),
    ("header value with LF", lambda: ClientHandshake("h", "/", headers=[("A", "b\n")])),
    ("header value with NUL", lambda: ClientHandshake("h", "/", headers=[("A", "\0")])),
    ("header value beyond Latin-1", lambda: ClientHandshake("h", "/", headers=[("A", "€")])),
    ("header name", lambda: ClientHandshake("h", "/", headers=[("A: b\r\nC", "d")])),
    ("empty header name", lambda: ClientHandshake("h", "/", headers=[("", "d")])),
    ("the handshake's own header", lambda: ClientHandshake("h", "/", headers=[("HOST", "other")])),
    ("in a response", lambda: accept_upgrade(request(RIGHT)).response([("A", "b\r\n")])),
    ("own header in a response", lambda: accept_upgrade(request(RIGHT)).response([("Upgrade", "h2c")])),
    ("in a refusal", lambda: refusal(403, "", [("A", "b\r\n")])),
    ("a length in a refusal", lambda: refusal(403, "", [("content-length", "9")])),
    ("in the Connection of a refusal", lambda: refusal(403, "", [("Connection", "a\r\nb: c")])),
]


@pytest.mark.parametrize(("name", "call"), INJECTIONS, ids=[row[0] for row in INJECTIONS])
def test_values_cannot_inject(name: str, call: Callable[[], Any]) -> None:
    with pytest.raises(LocalError):
        call()


values = st.text(alphabet=st.characters(max_codepoint=0x17F), max_size=20)


@given(name=values, value=values)
def test_any_header_is_one_header_or_refused(name: str, value: str) -> None:
    try:
        sent = ClientHandshake("h", "/", headers=[(name, value)]).request()
    except LocalError:
        return
    parsed = parse_request_head(sent)
    assert len(parsed.headers) == 6
    assert parsed.headers[-1] == (name.lower(), value.strip(" \t"))


# --- together ---------------------------------------------------------------------------------------------


@given(
    offered=st.lists(st.sampled_from(["a", "b", "span.isthmus.v1"]), unique=True),
    spoken=st.lists(st.sampled_from(["b", "span.isthmus.v1", "c"]), unique=True),
)
def test_both_sides_agree(offered: list[str], spoken: list[str]) -> None:
    client = ClientHandshake("h", "/", subprotocols=offered)
    upgrade = accept_upgrade(parse_request_head(client.request()), subprotocols=spoken)
    assert client.verify(parse_response_head(upgrade.response([("Server", "x")]))) == upgrade.subprotocol


def test_an_independent_client_is_accepted() -> None:
    other = ClientProtocol(parse_uri("ws://h/chat?q"), subprotocols=[Subprotocol("a"), Subprotocol("b")])
    other.send_request(other.connect())
    head = parse_request_head(b"".join(other.data_to_send()))
    assert is_upgrade(head)
    other.receive_data(accept_upgrade(head, subprotocols=["b"]).response())
    assert other.state is OPEN
    assert other.subprotocol == "b"


def test_an_independent_server_accepts() -> None:
    other = ServerProtocol(subprotocols=[Subprotocol("b")])
    ours = ClientHandshake("h", "/chat?q", subprotocols=["a", "b"])
    other.receive_data(ours.request())
    (received,) = other.events_received()
    assert isinstance(received, Request)
    other.send_response(other.accept(received))
    head = b"".join(other.data_to_send())
    assert ours.verify(parse_response_head(head)) == "b"
    assert re.match(rb"HTTP/1.1 101", head)
