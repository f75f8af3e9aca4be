"""Emulated WebSockets in memory: a gateway's accept, a client, and a middlebox between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.transports.memory import Wire
from tests.transports.span.world import ADDRESS, ORIGIN, Client, Network, World

from isthmus.config.model import AcceptOptions, ConnectOptions
from isthmus.errors import ConnectError
from isthmus.transports.base import Dial, Incoming, Receiver, Transport
from isthmus.transports.cross_site import CrossSite
from isthmus.transports.door import Door
from isthmus.transports.front import Front, Router, WebSocketRoute
from isthmus.transports.listen import Quota
from isthmus.transports.ways import Ways
from isthmus.transports.ws_connect import WebSocketConnector
from isthmus.transports.wse.accept import EmulationAccept
from isthmus.websocket.heads import HeadReader, ResponseHead, parse_response_head
from isthmus.wse.bodies import BodyReader


def named(options: dict[str, Any]) -> dict[str, Any]:
    return {name.replace("_", "."): value for name, value in options.items()}


class Gateway:
    """An accept that serves emulated WebSockets; each is accepted at once unless `answers` is false."""

    def __init__(
        self, world: World, *, maximum: int = 1000, cross_site: CrossSite | None = None, **options: Any
    ):
        self.world = world
        self.answers = True
        self.offers: list[Incoming] = []
        self.accepted: list[Client] = []
        self.options = AcceptOptions.model_validate(named(options))
        self.quota = Quota(maximum)
        sites = cross_site or CrossSite()
        self.emulation = EmulationAccept(ADDRESS, self.options, sites, self.quota)
        router = Router()
        route = WebSocketRoute(ADDRESS, self.options, self._offer, sites, emulation=self.emulation)
        router.websockets.append(route)
        self.front = Front(router, head_timeout=10.0, maximum_head_size=16_384)

    def receiver(self) -> Receiver:
        return self.front.receiver()

    def _offer(self, incoming: Incoming) -> None:
        self.offers.append(incoming)
        if self.answers:
            client = Client()
            self.accepted.append(client)
            incoming.accept(client)


class Browser:
    """A connection to the gateway on which requests are written by hand."""

    def __init__(self, world: World, gateway: Gateway) -> None:
        self.world = world
        self.wire: Wire = world.wire()
        self.client = Client()
        self.wire.right.start(gateway.receiver())
        self.wire.left.start(self.client)
        self._seen = 0

    def send(self, data: bytes) -> bytes:
        """Send bytes; return what came since this was called last."""
        self.wire.left.write(data)
        return self.read()

    def read(self) -> bytes:
        self.world.settle()
        data = bytes(self.client.data)
        new, self._seen = data[self._seen :], len(data)
        return new

    def ask(
        self, method: str, target: str, *fields: str, body: bytes = b"", sequence: int | None = None
    ) -> bytes:
        lines = [f"{method} {target} HTTP/1.1", "Host: gate.example.com", *fields]
        if sequence is not None:
            lines.append(f"X-Sequence-No: {sequence}")
        if method == "POST":
            lines.append(f"Content-Length: {len(body)}")
        return self.send("\r\n".join([*lines, "", ""]).encode() + body)

    @property
    def ended(self) -> bool:
        return "eof" in self.client.events or "lost" in self.client.events


class Emulated:
    """One emulated WebSocket, spoken by hand."""

    def __init__(
        self, world: World, gateway: Gateway, suffix: str = "bm", *fields: str, sequence: int = 5
    ) -> None:
        self.world = world
        self.gateway = gateway
        self.up = Browser(world, gateway)
        self.sent = self.asked = sequence
        version = "X-WebSocket-Version: wseb-1.0"
        fields = fields or ("X-Accept-Commands: ping",)
        answer = self.up.ask("POST", f"/service/;e/c{suffix}", version, *fields, sequence=sequence)
        self.answer = answer
        urls = answer.partition(b"\r\n\r\n")[2].decode().split("\n")
        self.targets = [url.removeprefix("http://gate.example.com") for url in urls[:2]]

    @property
    def server(self) -> Client:
        """What the service of the gateway has."""
        return self.gateway.accepted[-1]

    def post(self, body: bytes, *fields: str) -> bytes:
        self.sent += 1
        return self.up.ask("POST", self.targets[0], *fields, body=body, sequence=self.sent)

    def get(self, query: str = "", *fields: str, on: Browser | None = None) -> tuple[Browser, bytes]:
        self.asked += 1
        browser = on or Browser(self.world, self.gateway)
        return browser, browser.ask("GET", self.targets[1] + query, *fields, sequence=self.asked)


class Box:
    """A middlebox: it refuses WebSockets, and may hold answers until they are complete."""

    def __init__(self, world: World, inner: Callable[[], Receiver | None], *, hold: bool = False) -> None:
        self.world = world
        self.inner = inner
        self.hold = hold
        self.collects = 0
        """It hands on an answer in pieces of so many bytes, until it ends."""
        self.refuses: bytes | None = b"HTTP/1.1 400 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        self.refused = 0

    def receiver(self) -> Receiver:
        return _Side(self)


class _Side:
    """The side of the box that the client is on."""

    def __init__(self, box: Box) -> None:
        self._box = box
        self._heads = HeadReader()
        self._first = True
        self._far: Wire | None = None
        self.transport: Transport | None = None

    def connection_made(self, transport: Transport) -> None:
        self.transport = transport

    def data_received(self, data: memoryview) -> None:
        assert self.transport is not None
        box = self._box
        if self._far is None:
            if box.refuses is not None and b"upgrade: websocket" in bytes(data).lower():
                box.refused += 1
                self.transport.write(box.refuses)
                self.transport.close()
                return
            met = box.inner()
            if met is None:
                self.transport.close()
                return
            self._far = box.world.wire()
            self._far.right.start(met)
            self._far.left.start(_Far(self, box))
        self._far.left.write(bytes(data))

    def eof_received(self) -> None:
        if self._far is not None:
            self._far.left.close()
        elif self.transport is not None:
            self.transport.close()

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...

    def connection_lost(self, error: Exception | None) -> None:
        if self._far is not None:
            self._far.left.abort()


class _Far:
    """The side of the box that the gateway is on."""

    def __init__(self, near: _Side, box: Box) -> None:
        self._near = near
        self._hold = box.hold
        self._collects = box.collects
        self._heads = HeadReader()
        self._reader: BodyReader | None = None
        self._held = b""

    def connection_made(self, transport: Transport) -> None: ...

    def data_received(self, data: memoryview) -> None:
        assert self._near.transport is not None
        self._held += bytes(data)
        self._hold = self._hold and b"101 Switching" not in self._held
        if self._collects and b"101 Switching" not in self._held:
            if self._complete(data) or len(self._held) >= self._collects:
                self._near.transport.write(self._held)
                self._held = b""
            return
        if not self._hold or self._complete(data):
            self._near.transport.write(self._held)
            self._held = b""

    def _complete(self, data: memoryview) -> bool:
        """Whether what is held ends with an answer."""
        if self._reader is None:
            found = self._heads.feed(data)
            if found is None:
                return False
            head: ResponseHead = parse_response_head(found)
            self._reader = BodyReader(head)
            data = memoryview(self._heads.rest)
        while data and not self._reader.ended:
            _, data = self._reader.read(data)
        if not self._reader.ended:
            return False
        self._reader = None
        return True

    def eof_received(self) -> None:
        self.connection_lost(None)

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...

    def connection_lost(self, error: Exception | None) -> None:
        if self._near.transport is not None:
            if self._held:
                self._near.transport.write(self._held)
                self._held = b""
            self._near.transport.close() if error is None else self._near.transport.abort()


class Pair:
    """A client that connects through a box, and the gateway behind it."""

    def __init__(
        self, world: World, *, hold: bool = False, gateway: dict[str, Any] | None = None, **options: Any
    ):
        self.world = world
        self.gateway = Gateway(world, **(gateway or {}))
        self.box = Box(world, self.gateway.receiver, hold=hold)
        self.network = Network(world, self.box.receiver)
        self.options = ConnectOptions.model_validate(named(options))
        self.door = Door(self.network, self.options)
        self.door.ways = Ways(self.options.fallback_retry, clock=lambda: world.now, where=lambda: "here")
        self.connector = WebSocketConnector(self.door, self.options)
        self.failures: list[ConnectError] = []
        self.dial: Dial | None = None

    def connect(self) -> Client:
        client = Client()
        self.dial = self.connector.connect(client, client.failed, origin=ORIGIN)
        return client

    def open(self, seconds: float = 5.0) -> tuple[Client, Client]:
        """Connect: return both ends."""
        before = len(self.gateway.accepted)
        client = self.connect()
        self.world.advance(seconds)
        assert not client.failures, client.failures
        assert client.made
        return client, self.gateway.accepted[before]
