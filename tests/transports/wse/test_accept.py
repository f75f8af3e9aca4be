"""The emulated WebSockets of an accept: who may have one, how many, and what pages of other sites may do."""

from __future__ import annotations

import re

import pytest
from tests.transports.span.world import World
from tests.transports.wse.scene import Browser, Emulated, Gateway

from isthmus.config.model import CrossSiteConstraint
from isthmus.errors import ConnectError, StreamReset
from isthmus.transports.cross_site import CrossSite
from isthmus.wse.frames import RECONNECT

RIGHT = ("X-WebSocket-Version: wseb-1.0", "X-Accept-Commands: ping")
CREATE = "/service/;e/cbm"
SITES = CrossSite([CrossSiteConstraint(allow_origin=("http://www.example.com",), allow_headers=("x-own",))])


def create(world: World, gateway: Gateway, *fields: str, method: str = "POST", target: str = CREATE) -> bytes:
    return Browser(world, gateway).ask(method, target, *RIGHT, *fields, sequence=1)


def test_a_name_that_nobody_can_guess(world: World) -> None:
    gateway = Gateway(world)
    names = []
    for _ in range(3):
        emulated = Emulated(world, gateway)
        up, down = (re.fullmatch(r"/service/;e/[ud]bm/([A-Za-z0-9_-]{32})", url) for url in emulated.targets)
        assert up is not None
        assert down is not None
        assert up[1] == down[1]
        names.append(up[1])
    assert len(set(names)) == 3
    assert set(gateway.emulation.streams) == set(names)


def test_who_is_not_known(world: World) -> None:
    gateway = Gateway(world)
    emulated = Emulated(world, gateway)
    for target in ("/service/;e/ubm/nobody", emulated.targets[0].replace("ubm", "ub"), "/else/;e/cbm"):
        assert Browser(world, gateway).ask("POST", target, *RIGHT, sequence=6).startswith(b"HTTP/1.1 404 ")
    assert gateway.emulation.streams


def test_wrong_creations(world: World) -> None:
    gateway = Gateway(world)
    for method, target in (("PUT", CREATE), ("POST", "/service/;e/cxx")):
        status = b"400" if target == CREATE else b"4"
        assert create(world, gateway, method=method, target=target).startswith(b"HTTP/1.1 " + status)
    assert not gateway.offers


def test_a_body_is_read_over_within_limits(world: World) -> None:
    gateway = Gateway(world)
    browser = Browser(world, gateway)
    answer = browser.ask("POST", CREATE, *RIGHT, body=b"x" * 1000, sequence=1)
    assert answer.startswith(b"HTTP/1.1 201 ")
    answer = browser.ask("POST", CREATE, *RIGHT, body=b"x" * 100_000, sequence=1)
    assert answer.startswith(b"HTTP/1.1 413 ")
    slow = Browser(world, gateway)
    slow.send(
        f"POST {CREATE} HTTP/1.1\r\nHost: gate.example.com\r\n{RIGHT[0]}\r\nX-Sequence-No: 1\r\n"
        "Content-Length: 9\r\n\r\n".encode()
    )
    world.advance(11.0)
    assert slow.read().startswith(b"HTTP/1.1 408 ")


def test_no_more_than_may_be(world: World) -> None:
    gateway = Gateway(world, ws_emulation_maximum=2)
    for _ in range(2):
        Emulated(world, gateway)
    answer = create(world, gateway)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After" in answer
    next(iter(gateway.emulation.streams.values())).abort()
    assert create(world, gateway).startswith(b"HTTP/1.1 201 ")


def test_no_more_than_the_process_may_have(world: World) -> None:
    gateway = Gateway(world, maximum=1)
    Emulated(world, gateway)
    assert create(world, gateway).startswith(b"HTTP/1.1 503 ")
    world.settle()
    assert isinstance(gateway.accepted[1].error, StreamReset)
    assert gateway.quota.used == len(gateway.emulation.streams) == 1
    assert gateway.quota.times_reached == 1


def test_stopping_ends_them(world: World) -> None:
    gateway = Gateway(world)
    emulated = Emulated(world, gateway)
    down, _ = emulated.get()
    gateway.emulation.stop()
    world.settle()
    assert RECONNECT not in down.read()
    assert down.ended
    assert not gateway.emulation.streams
    assert gateway.quota.used == 0


def test_a_service_that_refuses(world: World) -> None:
    gateway = Gateway(world)
    gateway.answers = False
    browser = Browser(world, gateway)
    assert browser.ask("POST", CREATE, *RIGHT, sequence=1) == b""
    assert gateway.offers[0].peer.startswith("192.0.2.7")
    gateway.offers[0].refuse(ConnectError("no", status=502))
    answer = browser.read()
    assert answer.startswith(b"HTTP/1.1 502 ")
    assert not gateway.emulation.streams


def test_a_client_that_leaves_before_its_answer(world: World) -> None:
    gateway = Gateway(world)
    gateway.answers = False
    browser = Browser(world, gateway)
    browser.ask("POST", CREATE, *RIGHT, sequence=1)
    gone: list[int] = []
    gateway.offers[0].gone = lambda: gone.append(1)
    browser.wire.left.abort()
    world.settle()
    assert gone == [1]


def test_the_connection_goes_on_behind_each_answer(world: World) -> None:
    gateway = Gateway(world)
    emulated = Emulated(world, gateway)
    two = b"".join(
        f"POST {emulated.targets[0]} HTTP/1.1\r\nHost: gate.example.com\r\nX-Sequence-No: {number}\r\n"
        "Content-Length: 4\r\n\r\n".encode()
        + RECONNECT
        for number in (6, 7)
    )
    assert emulated.up.send(two).count(b"HTTP/1.1 200 OK") == 2
    world.advance(31.0)
    assert emulated.up.ended
    assert b"408" not in emulated.up.read()
    once = Emulated(world, Gateway(world, http_keepalive_timeout="0"))
    assert once.up.ended


def test_a_connection_that_ends_with_the_answer(world: World) -> None:
    """As nginx has it, which speaks HTTP/1.0 to what is behind it."""
    emulated = Emulated(world, Gateway(world), "bm", "X-Accept-Commands: ping", "Connection: close")
    world.advance(1.0)
    assert emulated.up.ended
    assert emulated.server.events == ["made"]
    emulated.up = Browser(world, emulated.gateway)
    assert emulated.post(b"\x80\x01x" + RECONNECT).startswith(b"HTTP/1.1 200 ")
    assert emulated.server.data == b"x"


def test_pages_of_other_sites(world: World) -> None:
    closed, open_ = Gateway(world), Gateway(world, cross_site=SITES)
    origin = "Origin: http://www.example.com"
    assert create(world, closed, origin).startswith(b"HTTP/1.1 403 ")
    assert create(world, open_, "Origin: http://other.example.com").startswith(b"HTTP/1.1 403 ")
    assert create(world, closed, "Origin: http://gate.example.com").startswith(b"HTTP/1.1 201 ")
    answer = create(world, open_, origin)
    assert answer.startswith(b"HTTP/1.1 201 ")
    assert b"Access-Control-Allow-Origin: http://www.example.com\r\n" in answer + b"\r\n"
    target = answer.decode().split("gate.example.com")[1].split("\n")[0]
    browser = Browser(world, open_)
    answer = browser.ask("POST", target, "Origin: http://other.example.com", body=RECONNECT, sequence=2)
    assert answer.startswith(b"HTTP/1.1 403 ")
    answer = Browser(world, open_).ask("POST", target, origin, body=RECONNECT, sequence=2)
    assert b"Access-Control-Allow-Origin" in answer


def test_what_a_browser_asks_first(world: World) -> None:
    def ask(gateway: Gateway, headers: str, origin: str = "http://www.example.com") -> bytes:
        return Browser(world, gateway).ask(
            "OPTIONS",
            CREATE,
            f"Origin: {origin}",
            "Access-Control-Request-Method: POST",
            f"Access-Control-Request-Headers: {headers}",
        )

    gateway = Gateway(world, cross_site=SITES)
    answer = ask(gateway, "x-websocket-version, X-Sequence-No, x-own")
    assert answer.startswith(b"HTTP/1.1 204 ")
    assert b"x-sequence-no" in answer
    assert b"x-own" in answer
    assert ask(gateway, "x-else").startswith(b"HTTP/1.1 403 ")
    assert ask(gateway, "x-sequence-no", "http://other.example.com").startswith(b"HTTP/1.1 403 ")
    assert ask(Gateway(world), "x-sequence-no").startswith(b"HTTP/1.1 403 ")


@pytest.mark.parametrize("trusted", [True, False])
def test_behind_a_balancer_that_ends_tls(world: World, trusted: bool) -> None:
    sources = "192.0.2.7" if trusted else "198.51.100.1"
    gateway = Gateway(world, http_forwarded="x-forwarded-for", trusted_sources=sources)
    answer = create(world, gateway, "X-Forwarded-Proto: https", "X-Forwarded-For: 203.0.113.9")
    assert (b"\r\n\r\nhttps://gate" in answer) == trusted
    assert ("203.0.113.9" in gateway.offers[0].peer) == trusted
