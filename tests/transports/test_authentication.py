"""Who a Web client is, found out before a service sees it: the test plays the guard and the connection."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from isthmus.config.model import AcceptOptions
from isthmus.errors import AccessDenied
from isthmus.identity import ANONYMOUS, Asked, Identity
from isthmus.transports.authentication import (
    Authentication,
    GuardedHttp,
    address_of,
    believed,
    certificate_of,
)
from isthmus.transports.base import Receiver
from isthmus.websocket.handshake import parse_request_head

JOE = Identity("demo", "joe")
REQUEST = parse_request_head(
    b"GET /echo?token=s3cret HTTP/1.1\r\nHost: gw\r\nAuthorization: Basic s3cret\r\n\r\n"
)


class Guard:
    """Decides when the test says so."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.cancelled = 0
        self.answer: asyncio.Future[Identity] = asyncio.get_running_loop().create_future()

    async def admit(self, asked: Asked) -> Identity:
        self.asked.append(asked)
        try:
            return await asyncio.shield(self.answer)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    def still_allowed(self, identity: Identity) -> bool:
        return True

    def watch(self, identity: Identity, opened: Any) -> None:
        raise AssertionError("nothing is opened here")


class Connection:
    def __init__(self) -> None:
        self.receiver: Receiver | None = None
        self.written = b""
        self.calls: list[str] = []

    def set_receiver(self, receiver: Receiver) -> None:
        self.receiver = receiver

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.calls.append("close")

    def abort(self) -> None:
        self.calls.append("abort")

    def info(self, name: str) -> Any:
        return ("10.0.0.7", 5000) if name == "peername" else None


class Scene:
    def __init__(self) -> None:
        self.guard: Guard = Guard()
        self.connection = Connection()
        self.admitted: list[Identity] = []
        mine: Any = self.connection
        self.authentication = Authentication(mine, lambda _, identity: self.admitted.append(identity))

    async def start(self) -> None:
        self.authentication.start(self.guard, REQUEST, ("10.0.0.7", 5000))
        await asyncio.sleep(0)

    async def settle(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)


async def test_who_is_admitted_goes_on() -> None:
    scene = Scene()
    await scene.start()
    assert scene.connection.receiver is scene.authentication
    (asked,) = scene.guard.asked
    assert (asked.client, asked.query, asked.websocket) == ("10.0.0.7", "token=s3cret", True)
    assert list(asked.values("authorization")) == ["Basic s3cret"]
    assert scene.admitted == []
    scene.guard.answer.set_result(JOE)
    await scene.settle()
    assert scene.admitted == [JOE]
    assert (scene.connection.written, scene.connection.calls) == (b"", [])


async def test_who_is_denied_is_told_why(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    scene = Scene()
    await scene.start()
    challenge = (("WWW-Authenticate", 'Basic realm="Demo"'),)
    scene.guard.answer.set_exception(AccessDenied(401, "credentials are needed", challenge))
    await scene.settle()
    assert scene.connection.written.startswith(b"HTTP/1.1 401 Unauthorized\r\n")
    assert b'WWW-Authenticate: Basic realm="Demo"\r\n' in scene.connection.written
    assert scene.connection.written.endswith(b"401 Unauthorized: credentials are needed\n")
    assert (scene.connection.calls, scene.admitted) == (["close"], [])
    assert "refused with 401" in caplog.text
    assert "s3cret" not in caplog.text


async def test_a_fault_lets_nobody_in(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    await scene.start()
    scene.guard.answer.set_exception(ZeroDivisionError())
    await scene.settle()
    assert scene.connection.written.startswith(b"HTTP/1.1 503 ")
    assert (scene.connection.calls, scene.admitted) == (["close"], [])
    assert "could not be decided" in caplog.text


@pytest.mark.parametrize("how", ["lost", "ended", "data"])
async def test_who_leaves_or_does_not_wait_frees_its_place(how: str) -> None:
    scene = Scene()
    await scene.start()
    match how:
        case "lost":
            scene.authentication.connection_lost(None)
        case "ended":
            scene.authentication.eof_received()
        case "data":
            scene.authentication.data_received(memoryview(bytearray(b"\x81\x01x")))
            scene.authentication.data_received(memoryview(bytearray(b"\x81\x01x")))
    await scene.settle()
    assert scene.guard.cancelled == 1
    assert scene.connection.calls == ([] if how == "lost" else ["abort"])
    scene.authentication.connection_lost(None)
    scene.guard.answer.set_result(JOE)
    await scene.settle()
    assert (scene.admitted, scene.connection.written) == ([], b"")


class Stubborn(Guard):
    """Answers although nobody waits any more, as `asyncio.wait_for` of Python 3.11 may."""

    async def admit(self, asked: Asked) -> Identity:
        try:
            return await super().admit(asked)
        except asyncio.CancelledError:
            return JOE


async def test_an_answer_that_comes_too_late_is_nobodys() -> None:
    scene = Scene()
    scene.guard = Stubborn()
    await scene.start()
    scene.authentication.connection_lost(None)
    await scene.settle()
    assert scene.guard.cancelled == 1
    assert (scene.admitted, scene.connection.written) == ([], b"")


class Pages:
    """An HTTP service that says who asks."""

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text=str(getattr(request, "user", ANONYMOUS)))


def http(path: str = "/") -> Any:
    request: Any = make_mocked_request("GET", path, {"Authorization": "Basic s3cret"})
    request.answer_fields, request.user = {"Vary": "Origin"}, ANONYMOUS
    return request


async def test_requests_are_guarded_as_well(caplog: pytest.LogCaptureFixture) -> None:
    guard = Guard()
    pages = GuardedHttp(Pages(), guard, AcceptOptions())
    guard.answer.set_result(JOE)
    request = http("/a?b=c")
    response: Any = await pages.handle(request)
    assert response.text == "demo/joe"
    assert request.answer_fields == {"Vary": "Origin", "Cache-Control": "private"}
    assert (guard.asked[0].query, guard.asked[0].websocket) == ("b=c", False)
    guard.answer = asyncio.get_running_loop().create_future()
    guard.answer.set_exception(AccessDenied(429, "too many", (("Retry-After", "5"),)))
    response = await pages.handle(http())
    assert (response.status, response.headers["Retry-After"]) == (429, "5")
    assert (response.text, response.headers["Cache-Control"]) == (
        "429 Too Many Requests\nToo many.\n",
        "no-store",
    )
    guard.answer = asyncio.get_running_loop().create_future()
    guard.answer.set_exception(ZeroDivisionError())
    assert (await pages.handle(http())).status == 503
    assert "s3cret" not in caplog.text
    await pages.start()
    await pages.stop(0.0)


def test_who_a_client_is_behind_its_balancers() -> None:
    """Failed logins are counted for the client, not for the balancer."""
    values = {"http.forwarded": "x-forwarded-for", "trusted.sources": "10.0.0.0/8"}
    options = AcceptOptions.model_validate(values)
    headers = (("x-forwarded-for", "192.0.2.7"),)
    assert address_of(believed(headers, options, ("10.0.0.1", 5000))) == "192.0.2.7"
    assert address_of(believed(headers, options, ("192.0.2.9", 5000))) == "192.0.2.9"
    assert address_of(believed(headers, AcceptOptions(), ("10.0.0.1", 5000))) == "10.0.0.1"
    assert believed(headers, options, "/run/socket") == "/run/socket"


def test_facts_of_a_connection() -> None:
    assert address_of(("10.0.0.7", 1)) == "10.0.0.7"
    assert address_of(("::1", 1, 0, 0)) == "::1"
    assert address_of("/run/socket") == address_of(None) == "local"

    class Tls:
        def __init__(self, certificate: bytes | None) -> None:
            self.certificate = certificate

        def getpeercert(self, binary_form: bool) -> bytes | None:
            assert binary_form
            return self.certificate

    assert certificate_of(None) is None
    assert certificate_of(Tls(None)) is None
    assert certificate_of(Tls(b"der")) == b"der"
