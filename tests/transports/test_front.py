"""One port, many services: what is asked for, and what is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.transports.conformance import Recorder
from tests.transports.memory import Watcher, Wire
from tests.websocket.recorder import KEY, cut, cuts, frame

from isthmus.config.model import AcceptOptions, CrossSiteConstraint
from isthmus.errors import ConnectError, StreamReset
from isthmus.identity import ANONYMOUS, Identity
from isthmus.span.frames import SUBPROTOCOL
from isthmus.transports.base import Incoming, Origin, Receiver, Transport
from isthmus.transports.cross_site import CrossSite
from isthmus.transports.front import Front, HttpRoute, Router, WebSocketRoute
from isthmus.transports.span.accept import SpanAccept
from isthmus.uri import parse
from isthmus.websocket.handshake import accept_value

SAMPLE = "dGhlIHNhbXBsZSBub25jZQ=="
UPGRADE = {
    "Host": "gw.example.com:8000",
    "Upgrade": "websocket",
    "Connection": "keep-alive, Upgrade",
    "Sec-WebSocket-Key": SAMPLE,
    "Sec-WebSocket-Version": "13",
}
REASONS = {502: "cannot be reached", 503: "cannot be reached", 504: "did not answer in time"}


class Client(Watcher):
    def data_received(self, data: memoryview) -> None:
        self.data += data


class Bridge:
    """Stands for the HTTP bridge: takes connections over and keeps what was read of them."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.receivers: list[Recorder] = []

    def take(self, transport: Transport, received: bytes) -> Receiver:
        self.taken.append(received)
        receiver = Recorder()
        receiver.connection_made(transport)
        self.receivers.append(receiver)
        return receiver


class Port:
    """A front, the services behind it, and one client."""

    def __init__(
        self,
        *accepts: str,
        http: Sequence[str] = (),
        bridge: bool = False,
        maximum: int = 16384,
        options: AcceptOptions | None = None,
        origin: Origin | None = None,
    ) -> None:
        self.offers: list[Incoming] = []
        router = Router()
        for accept in accepts or ("ws://gw.example.com:8000/echo",):
            route = WebSocketRoute(parse(accept), options or AcceptOptions(), self.offers.append)
            router.websockets.append(route)
        for accept in http:
            router.https.append(HttpRoute(parse(accept), accept))  # type: ignore[arg-type]
        self.bridge = Bridge() if http or bridge else None
        self.front = Front(
            router,
            head_timeout=10.0,
            maximum_head_size=maximum,
            bridge=self.bridge,  # type: ignore[arg-type]
        )
        self.wire = Wire()
        self.client = Client()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(asyncio, "get_running_loop", lambda: self.wire.clock.loop)
        try:
            self.wire.right.start(self.client)
            self.wire.left.start(self.front.receiver(origin))
        finally:
            self.patch.undo()

    def settle(self) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(asyncio, "get_running_loop", lambda: self.wire.clock.loop)
            self.wire.settle()

    def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            if not self.wire.right.over:
                self.wire.right.write(piece)
            self.settle()

    def accept(self, receiver: Receiver) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(asyncio, "get_running_loop", lambda: self.wire.clock.loop)
            self.offers[0].accept(receiver)

    def advance(self, seconds: float) -> None:
        self.wire.clock.advance(seconds)
        self.settle()

    @property
    def status(self) -> int:
        return int(self.client.data.split(b" ", 2)[1])

    @property
    def body(self) -> str:
        return bytes(self.client.data).partition(b"\r\n\r\n")[2].decode()


def request(line: str = "GET /echo HTTP/1.1", **changes: str | None) -> bytes:
    fields: dict[str, str | None] = dict(UPGRADE)
    fields |= {name.replace("_", "-"): value for name, value in changes.items()}
    lines = [line, *(f"{name}: {value}" for name, value in fields.items() if value is not None)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


# --- a WebSocket


ORIGIN = Origin(("198.51.100.7", 4711), ("203.0.113.1", 443))


@pytest.mark.parametrize(
    ("kind", "trusted", "origin", "client"),
    [
        ("none", "192.0.2.0/24", None, "192.0.2.7:50000"),
        ("x-forwarded-for", "192.0.2.0/24", None, "203.0.113.99"),
        ("x-forwarded-for", "10.0.0.0/8", None, "192.0.2.7:50000"),
        ("forwarded", "192.0.2.0/24", None, "192.0.2.7:50000"),
        ("none", "192.0.2.0/24", ORIGIN, "198.51.100.7:4711"),
        ("x-forwarded-for", "192.0.2.0/24", ORIGIN, "198.51.100.7:4711"),
        ("x-forwarded-for", "198.51.100.0/24", ORIGIN, "203.0.113.99"),
    ],
)
def test_who_a_client_is(kind: str, trusted: str, origin: Origin | None, client: str) -> None:
    """A header is believed only of who is trusted: of the socket, or of whom the PROXY protocol names."""
    options = AcceptOptions.model_validate({"http.forwarded": kind, "trusted.sources": trusted})
    port = Port(options=options, origin=origin)
    port.send(request(X_Forwarded_For="203.0.113.99"))
    (incoming,) = port.offers
    assert incoming.peer == client


def test_a_websocket_is_offered_and_accepted() -> None:
    port = Port()
    port.send(request())
    (incoming,) = port.offers
    assert incoming.address == parse("ws://gw.example.com:8000/echo")
    assert incoming.peer == "192.0.2.7:50000"
    assert not port.client.data
    above = Recorder()
    port.accept(above)
    assert above.events == ["made"]
    port.settle()
    assert port.status == 101
    assert f"Sec-WebSocket-Accept: {accept_value(SAMPLE)}".encode() in port.client.data
    port.send(frame(2, b"hello", key=KEY))
    assert above.data == b"hello"


@given(cuts)
@settings(max_examples=60, deadline=None)
def test_a_request_in_any_cuts_gives_the_same(places: list[int]) -> None:
    port = Port()
    port.send(*(bytes(piece) for piece in cut(request(), places)))
    assert len(port.offers) == 1
    assert not port.client.data


@given(cuts, st.sampled_from(["GET /no HTTP/1.1", "POST /echo HTTP/1.1", "GET /echo HTTP/1.0", "nonsense"]))
@settings(max_examples=60, deadline=None)
def test_a_refusal_in_any_cuts_is_the_same(places: list[int], line: str) -> None:
    whole, parts = Port(), Port()
    whole.send(request(line))
    parts.send(*(bytes(piece) for piece in cut(request(line), places)))
    assert whole.client.data == parts.client.data
    assert whole.status >= 400


def test_a_receiver_that_pauses_at_once_stays_paused() -> None:
    port = Port()
    port.send(request())
    above = Recorder()
    above.pause_at_start = True
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio, "get_running_loop", lambda: port.wire.clock.loop)
        port.offers[0].accept(above)
    port.settle()
    port.send(frame(2, b"held back", key=KEY))
    assert not above.data


# --- Host and path


@pytest.mark.parametrize(
    ("accept", "host", "matches"),
    [
        ("ws://gw.example.com:8000/echo", "gw.example.com:8000", True),
        ("ws://gw.example.com:8000/echo", "GW.Example.COM:8000", True),
        ("ws://gw.example.com:8000/echo", "gw.example.com", False),
        ("ws://gw.example.com:8000/echo", "gw.example.com:8001", False),
        ("ws://gw.example.com:8000/echo", "other.example.com:8000", False),
        ("ws://gw.example.com/echo", "gw.example.com", True),
        ("ws://gw.example.com/echo", "gw.example.com:80", True),
        ("ws://gw.example.com/echo", "gw.example.com:", True),
        ("ws://gw.example.com/echo", "gw.example.com:8080", False),
        ("wss://gw.example.com/echo", "gw.example.com", True),
        ("wss://gw.example.com/echo", "gw.example.com:443", True),
        ("ws://10.0.0.1:8000/echo", "10.0.0.1:8000", True),
        ("ws://[2001:db8::1]:8000/echo", "[2001:DB8::1]:8000", True),
        ("ws://[2001:db8::1]/echo", "[2001:db8::1]", True),
        ("ws://[2001:db8::1]/echo", "[2001:db8::1]:80", True),
        ("ws://[2001:db8::80]/echo", "[2001:db8::80]", True),
        ("ws://[2001:db8::1]:8000/echo", "[2001:db8::1]", False),
        ("ws://0.0.0.0:8000/echo", "whatever.example.com:99", True),
        ("ws://[::]:8000/echo", "whatever.example.com", True),
    ],
)
def test_host(accept: str, host: str, matches: bool) -> None:
    port = Port(accept)
    port.send(request(Host=host))
    assert bool(port.offers) == matches
    assert matches or port.status == 404


@pytest.mark.parametrize(
    ("accept", "target", "matches"),
    [
        ("/echo", "/echo", True),
        ("/echo", "/echo?token=1", True),
        ("/echo", "/echo/", False),
        ("/echo", "/ech", False),
        ("/echo", "/echoes", False),
        ("/echo", "/Echo", False),
        ("/echo", "/", False),
        ("/", "/", True),
        ("", "/", True),
        ("/", "/x", False),
        ("/echo", "http://gw.example.com:8000/echo", True),
        ("/echo", "http://other.example.com:8000/echo", False),
    ],
)
def test_path(accept: str, target: str, matches: bool) -> None:
    port = Port(f"ws://gw.example.com:8000{accept}")
    port.send(request(f"GET {target} HTTP/1.1"))
    assert bool(port.offers) == matches
    assert matches or port.status == 404


def test_services_share_a_port() -> None:
    accepts = [f"ws://gw.example.com:8000/{name}" for name in ("one", "two")] + [
        "ws://other.example.com:8000/one"
    ]
    for accept in accepts:
        port = Port(*accepts)
        address = parse(accept)
        port.send(request(f"GET {address.path} HTTP/1.1", Host=address.host_port))
        assert [incoming.address for incoming in port.offers] == [address]


# --- the table: who answers


def refused(port: Port, status: int) -> None:
    assert not port.offers
    assert port.status == status
    assert b"\r\nConnection: " in port.client.data
    assert "eof" in port.client.events
    assert "192.0.2" not in port.body


@pytest.mark.parametrize(
    ("line", "changes", "status"),
    [
        ("POST /echo HTTP/1.1", {}, 405),
        ("GET /echo HTTP/1.0", {}, 505),
        ("GET /echo HTTP/2.0", {}, 505),
        ("GET /echo HTTP/1.1", {"Upgrade": None}, 426),
        ("GET /echo HTTP/1.1", {"Upgrade": "h2c"}, 426),
        ("GET /echo HTTP/1.1", {"Connection": "keep-alive"}, 400),
        ("GET /echo HTTP/1.1", {"Sec_WebSocket_Version": "8"}, 400),
        ("GET /echo HTTP/1.1", {"Sec_WebSocket_Version": None}, 400),
        ("GET /echo HTTP/1.1", {"Sec_WebSocket_Key": None}, 400),
        ("GET /echo HTTP/1.1", {"Sec_WebSocket_Key": "short"}, 400),
        ("GET /echo HTTP/1.1", {"Content_Length": "5"}, 400),
        ("GET /echo HTTP/1.1", {"Host": None}, 400),
        ("GET /echo HTTP/1.1", {"Host": "a b"}, 400),
        ("GET /else HTTP/1.1", {}, 404),
        ("GET /" + "x" * 9000 + " HTTP/1.1", {}, 414),
    ],
)
@pytest.mark.parametrize("with_http", [False, True])
def test_a_wrong_handshake(line: str, changes: dict[str, str | None], status: int, with_http: bool) -> None:
    port = Port(bridge=with_http)
    port.send(request(line, **changes))
    # What is not for a ws accept is for an http accept, if there is one on this port.
    if port.bridge is not None and status == 404:
        assert port.bridge.taken == [request(line, **changes)]
        assert not port.offers
    else:
        refused(port, status)


def test_a_wrong_version_is_told_the_right_one() -> None:
    port = Port()
    port.send(request(Sec_WebSocket_Version="8"))
    assert b"Sec-WebSocket-Version: 13\r\n" in port.client.data


@pytest.mark.parametrize(
    ("junk", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01", 400),
        (b"GET /echo HTTP/1.1\nHost: x\n\n", 400),
        (b"SSH-2.0-OpenSSH\r\n\r\n", 400),
        (b"\x00" * 10, 400),
        (b"GET /" + b"x" * 20_000, 414),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000, 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 101 + b"\r\n", 431),
    ],
)
def test_what_is_no_request(junk: bytes, status: int) -> None:
    port = Port()
    port.send(junk)
    refused(port, status)


@given(st.binary(max_size=200), cuts)
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_answered_or_waited_for(junk: bytes, places: list[int]) -> None:
    port = Port()
    port.send(*(bytes(piece) for piece in cut(junk, places)))
    assert not port.offers
    assert not port.client.data or port.status >= 400
    port.wire.right.write_eof()
    port.settle()
    assert "eof" in port.client.events


def test_the_maximum_size_of_a_head() -> None:
    head = request()
    exact, short = Port(maximum=len(head)), Port(maximum=len(head) - 1)
    exact.send(head)
    assert len(exact.offers) == 1
    short.send(head)
    refused(short, 431)


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (None, True),
        ("http://gw.example.com:8000", True),
        ("https://GW.example.com:8000", True),
        ("http://gw.example.com", False),
        ("http://evil.example.com:8000", False),
        ("http://gw.example.com:8000.evil.example.com", False),
        ("http://evil.example.com/gw.example.com:8000", False),
        ("null", False),
        ("", False),
        ("file://", False),
    ],
)
def test_origin(origin: str | None, allowed: bool) -> None:
    port = Port()
    port.send(request(Origin=origin))
    assert bool(port.offers) == allowed
    if not allowed:
        refused(port, 403)


@pytest.mark.parametrize("origin", ["https://gw.example.com", "https://gw.example.com:443"])
def test_the_default_port_of_an_origin(origin: str) -> None:
    port = Port("wss://gw.example.com/echo")
    port.send(request(Origin=origin, Host="gw.example.com"))
    assert port.offers


def test_data_before_the_answer_is_refused() -> None:
    port = Port()
    port.send(request() + frame(2, b"too early", key=KEY))
    refused(port, 400)


# --- time


def test_a_head_that_takes_too_long() -> None:
    port = Port()
    port.send(request()[:-1])
    port.advance(9.9)
    assert not port.client.data
    port.advance(0.2)
    refused(port, 408)
    port.send(b"\n")
    assert not port.offers


def test_a_client_that_says_nothing() -> None:
    port = Port()
    port.advance(10.1)
    refused(port, 408)


def test_the_time_ends_with_the_head() -> None:
    port = Port()
    port.send(request())
    port.advance(100)
    assert not port.client.data
    assert len(port.offers) == 1


@pytest.mark.parametrize("received", [0, 10])
def test_a_client_that_ends_before_its_head_is_complete(received: int) -> None:
    port = Port()
    port.send(request()[:received])
    port.wire.right.write_eof()
    port.settle()
    assert "eof" in port.client.events
    assert not port.client.data
    port.advance(20)
    assert not port.client.data


def test_a_client_that_is_lost_before_its_head_is_complete() -> None:
    port = Port()
    port.send(request()[:10])
    port.wire.left.lose()
    port.settle()
    port.advance(20)
    assert not port.offers


# --- while the service connects


def test_nothing_is_read_before_the_service_answers() -> None:
    port = Port()
    port.send(request())
    port.send(frame(2, b"early", key=KEY))
    above = Recorder()
    port.accept(above)
    port.settle()
    assert above.data == b"early"


@pytest.mark.parametrize("then", ["accept", "refuse"])
def test_a_client_that_goes_away_meanwhile(then: str) -> None:
    port = Port()
    port.send(request())
    port.wire.left.lose()
    port.settle()
    if then == "refuse":
        port.offers[0].refuse(ConnectError("no"))
        return
    above = Recorder()
    port.accept(above)
    assert above.events == ["made"]
    port.settle()
    assert above.events == ["made", "lost"]
    assert isinstance(above.error, StreamReset)


@pytest.mark.parametrize("event", ["data", "eof"])
def test_what_a_layer_had_in_hands_ends_an_impatient_client(event: str) -> None:
    """TLS may deliver what came in the same record, although it is paused (rule 4)."""
    port = Port()
    port.send(request())
    waiting: Any = port.wire.left._receiver
    waiting.data_received(memoryview(bytearray(b"x"))) if event == "data" else waiting.eof_received()
    port.settle()
    above = Recorder()
    port.accept(above)
    port.settle()
    assert isinstance(above.error, StreamReset)


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_refusal_names_nothing_that_lies_behind(status: int) -> None:
    port = Port()
    port.send(request())
    port.offers[0].refuse(
        ConnectError("Unable to connect to tcp://inner.example.com:5432/: secret", status=status)
    )
    port.settle()
    assert port.status == status
    assert REASONS[status] in port.body
    for secret in ("inner", "5432", "secret"):
        assert secret.encode() not in port.client.data
    assert "eof" in port.client.events


# --- http beside it


def test_anything_else_is_for_the_bridge() -> None:
    port = Port(http=["http://gw.example.com:8000/"])
    assert port.bridge is not None
    head = request("GET /echo HTTP/1.1", Upgrade=None, Sec_WebSocket_Key=None)
    port.send(head + b"and what")
    assert port.bridge.taken == [head + b"and what"]
    port.send(b" follows")
    assert port.bridge.receivers[0].data == b" follows"
    port.advance(100)
    assert not port.client.data


def test_a_request_that_a_bridge_reads_may_ask_for_a_websocket() -> None:
    port = Port(bridge=True)
    port.send(request(Upgrade=None))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio, "get_running_loop", lambda: port.wire.clock.loop)
        assert port.front.upgrade(port.wire.left, request())
    assert len(port.offers) == 1


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/", "http://h:1/"),
        ("/a", "http://h:1/a"),
        ("/a/", "http://h:1/a"),
        ("/a/b/c", "http://h:1/a/b"),
        ("/a/bc", "http://h:1/a"),
        ("/ab", "http://h:1/"),
        ("/s/x", "http://h:1/s/"),
        ("/s", "http://h:1/"),
    ],
)
def test_the_longest_http_accept_wins(path: str, found: str) -> None:
    port = Port(http=["http://h:1/a", "http://h:1/", "http://h:1/a/b", "http://h:1/s/"])
    route = port.front.router.find_http("h:1", path)
    assert route is not None
    assert str(route.service) == found
    assert port.front.router.find_http("other:1", path) is None


def test_a_constraint_lets_pages_of_its_origin_in() -> None:
    port = Port()
    allowed = CrossSiteConstraint.model_validate({"allow-origin": "https://shop.example.com"})
    (route,) = port.front.router.websockets
    port.front.router.websockets[:] = [replace(route, cross_site=CrossSite([allowed]))]
    port.send(request(Origin="https://shop.example.com"))
    assert len(port.offers) == 1


def test_a_destination_that_is_away_looks_like_no_accept() -> None:
    away, nobody = Port(), Port()
    away.send(request())
    away.offers[0].refuse(ConnectError("proxy-1: tcp://10.0.0.9:22 is away", status=404))
    away.settle()
    nobody.send(request("GET /nothing HTTP/1.1"))
    assert away.client.data == nobody.client.data
    assert away.status == 404


def test_a_rate_lies_below_the_websocket() -> None:
    port = Port()
    (route,) = port.front.router.websockets
    options = AcceptOptions.model_validate({"tcp.maximum.outbound.rate": 1000})
    port.front.router.websockets[:] = [replace(route, options=options)]
    port.send(request())
    above = Recorder()
    port.accept(above)
    port.settle()
    port.client.data.clear()
    above.call("write", bytes(10_000))
    port.settle()
    assert len(port.client.data) == 250
    port.advance(1.0)
    port.advance(1.0)
    assert 500 <= len(port.client.data) <= 2250


# --- span


class Span:
    """Stands for the sessions of an accept: keeps the WebSockets that are to carry them."""

    def __init__(self, port: Port, **options: Any) -> None:
        self.taken: list[Transport] = []
        self.identities: list[Identity] = []
        (route,) = port.front.router.websockets
        values = {name.replace("_", "."): value for name, value in options.items()}
        accept = AcceptOptions.model_validate(values)
        span = None if accept.span_mode == "never" else cast("SpanAccept", self)
        port.front.router.websockets[:] = [replace(route, options=accept, span=span)]

    subprotocols = (SUBPROTOCOL,)

    def take(self, below: Transport, identity: Identity, subprotocol: str | None) -> None:
        assert subprotocol == SUBPROTOCOL
        self.taken.append(below)
        self.identities.append(identity)


@pytest.mark.parametrize("offer", [SUBPROTOCOL, f"chat, {SUBPROTOCOL}"])
def test_a_websocket_that_offers_span_carries_a_session(offer: str) -> None:
    port = Port()
    span = Span(port)
    port.send(request(Sec_WebSocket_Protocol=offer))
    assert port.status == 101
    assert f"\r\nSec-WebSocket-Protocol: {SUBPROTOCOL}\r\n".encode() in port.client.data
    assert not port.offers
    (taken,) = span.taken
    assert span.identities == [ANONYMOUS]
    # It is paused until somebody has it, who then gets whatever comes.
    port.send(frame(2, b"early", key=KEY))
    above = Recorder()
    above.connection_made(taken)
    taken.set_receiver(above)
    taken.resume_reading()
    port.settle()
    assert above.data == frame(2, b"early", key=KEY)
    port.advance(100)  # the time of the head is over with it
    assert above.events == ["made"]


@pytest.mark.parametrize("offer", [None, "chat", f"{SUBPROTOCOL}.x", SUBPROTOCOL.upper()])
def test_any_other_websocket_is_for_the_service(offer: str | None) -> None:
    port = Port()
    span = Span(port)
    port.send(request(Sec_WebSocket_Protocol=offer))
    assert len(port.offers) == 1
    assert not span.taken
    port.accept(Recorder())
    port.settle()
    assert port.status == 101
    assert b"Sec-WebSocket-Protocol" not in port.client.data


def test_where_span_is_not_spoken_the_offer_is_ignored() -> None:
    port = Port()
    span = Span(port, span_mode="never")
    port.send(request(Sec_WebSocket_Protocol=SUBPROTOCOL))
    assert len(port.offers) == 1
    assert not span.taken
    port.accept(Recorder())
    port.settle()
    assert b"Sec-WebSocket-Protocol" not in port.client.data


@pytest.mark.parametrize("offer", [None, "chat"])
def test_where_span_is_required_nothing_else_is_taken(offer: str | None) -> None:
    port = Port()
    span = Span(port, span_mode="required")
    port.send(request(Sec_WebSocket_Protocol=offer))
    refused(port, 400)
    assert not span.taken
    assert SUBPROTOCOL in port.body
    good = Port()
    span = Span(good, span_mode="required")
    good.send(request(Sec_WebSocket_Protocol=SUBPROTOCOL))
    assert len(span.taken) == 1


def test_span_from_a_page_of_another_site_is_refused() -> None:
    port = Port()
    span = Span(port)
    port.send(request(Sec_WebSocket_Protocol=SUBPROTOCOL, Origin="https://evil.example.com"))
    refused(port, 403)
    assert not span.taken


def test_span_data_before_the_answer_is_refused() -> None:
    port = Port()
    span = Span(port)
    port.send(request(Sec_WebSocket_Protocol=SUBPROTOCOL) + frame(2, b"too early", key=KEY))
    refused(port, 400)
    assert not span.taken


def test_a_rate_lies_below_span() -> None:
    port = Port()
    span = Span(port, tcp_maximum_outbound_rate=1000)
    port.send(request(Sec_WebSocket_Protocol=SUBPROTOCOL))
    (taken,) = span.taken
    assert taken is not port.wire.left
    port.client.data.clear()
    taken.set_receiver(Recorder())
    taken.write(bytes(10_000))
    port.settle()
    assert 0 < len(port.client.data) <= 1000


# --- who leaves before the answer


def test_who_offers_is_told_once_that_the_client_has_left() -> None:
    port = Port()
    port.send(request())
    told: list[str] = []
    (incoming,) = port.offers
    assert not incoming.early  # a Web client waits for the right answer
    incoming.gone = lambda: told.append("gone")
    port.wire.left.lose()
    port.settle()
    assert told == ["gone"]
    assert incoming.gone is None


def test_nobody_is_told_of_a_client_that_was_answered() -> None:
    port = Port()
    port.send(request())
    told: list[str] = []
    port.offers[0].gone = lambda: told.append("gone")
    above = Recorder()
    port.accept(above)
    port.wire.left.lose()
    port.settle()
    assert above.events == ["made", "lost"]
    assert not told
