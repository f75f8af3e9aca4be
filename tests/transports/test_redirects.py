"""Where a redirect leads, and which are not followed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.errors import ConnectError
from isthmus.transports.redirects import follow, location_of, same_origin
from isthmus.uri import parse
from isthmus.websocket.handshake import HandshakeError

HERE = parse("wss://gw.example.com/a/b?c=d")


@pytest.mark.parametrize(
    ("location", "address"),
    [
        ("https://other.example.com/x", "wss://other.example.com/x"),
        ("wss://other.example.com:8443", "wss://other.example.com:8443"),
        ("HTTPS://OTHER.example.com/x?y=z", "wss://other.example.com/x?y=z"),
        ("/x", "wss://gw.example.com/x"),
        ("x", "wss://gw.example.com/a/x"),
        ("//other/x", "wss://other/x"),
        ("?e=f", "wss://gw.example.com/a/b?e=f"),
    ],
)
def test_where_it_leads(location: str, address: str) -> None:
    assert follow(HERE, location) == parse(address)


def test_tls_may_be_taken_up() -> None:
    assert follow(parse("ws://gw/"), "https://gw/") == parse("wss://gw/")
    assert follow(parse("ws://gw/"), "/x") == parse("ws://gw/x")


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("http://gw.example.com/", "which would leave TLS"),
        ("ws://gw.example.com/", "which would leave TLS"),
        ("ftp://gw/", "which is no address of a WebSocket"),
        ("tcp://10.0.0.1:22", "which is no address of a WebSocket"),
        ("https://user:sesame@gw/", "which is no address of a WebSocket"),
        ("https://[::1", "which is no address of a WebSocket"),
        ("https://gw:99999/", "which is no address of a WebSocket"),
        ("https://gw/a b", "which is no address of a WebSocket"),
        ("javascript:alert(1)", "which is no address of a WebSocket"),
    ],
)
def test_what_is_not_followed(location: str, why: str) -> None:
    with pytest.raises(ConnectError) as caught:
        follow(HERE, location)
    assert why in str(caught.value)
    assert str(caught.value).startswith(
        "Unable to connect to wss://gw.example.com:443/a/b?...: it redirects to "
    )


@given(st.text(max_size=60))
def test_whatever_is_answered(location: str) -> None:
    text, scheme = "", "wss"
    try:
        scheme = follow(HERE, location).scheme
    except ConnectError as error:
        text = str(error)
    assert scheme == "wss"
    assert "\n" not in text


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 300, 304, 305, 200, 404])
def test_what_is_a_redirect(status: int) -> None:
    error = HandshakeError(status, "", (("server", "x"), ("location", "/x")))
    assert location_of(error) == ("/x" if status in (301, 302, 303, 307, 308) else None)
    assert location_of(HandshakeError(status, "")) is None
    assert location_of(None) is None


def test_origins() -> None:
    assert same_origin(HERE, parse("wss://gw.example.com:443/x"))
    for other in ("ws://gw.example.com:443/", "wss://gw.example.com:444/", "wss://other.example.com/"):
        assert not same_origin(HERE, parse(other))
