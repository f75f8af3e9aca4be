"""Span in memory, on a clock of its own: a connector, the network below it, and the servers it meets."""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import Callable
from typing import Any

import pytest
from tests.transports.memory import Clock, Watcher, Wire

from isthmus.config.model import AcceptOptions, ConnectOptions, GatewayOptions
from isthmus.errors import ConnectError
from isthmus.transports.base import Incoming, Receiver, Transport
from isthmus.transports.datagrams import DatagramCounters, DatagramIncoming, DatagramTransport, Freshness
from isthmus.transports.front import Front, Router, WebSocketRoute
from isthmus.transports.listen import Quota
from isthmus.transports.poller import LoopPoller
from isthmus.transports.span.accept import ServerSession, SpanAccept
from isthmus.transports.span.client import ClientSession
from isthmus.transports.span.connect import SpanConnector
from isthmus.transports.span.limits import Budgets, FlowTerms
from isthmus.transports.span.place import place_of
from isthmus.uri import parse
from isthmus.websocket.handshake import HeadReader, accept_value, parse_request_head

ADDRESS = parse("ws://gate.example.com/service")
ORIGIN = "198.51.100.4:40000"
FRESHNESS = Freshness(0.05, 64 * 1024)


class World:
    """A clock that everything runs on, and the wires between."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.clock = Clock()
        self.clock.now = 1000.0
        self.wires: list[Wire] = []
        poller = LoopPoller(self.clock.loop)
        patch.setattr(asyncio, "get_running_loop", lambda: self.clock.loop)
        patch.setattr(time, "monotonic", self.clock.time)
        patch.setattr(self.clock.loop, "poller", poller, raising=False)
        patch.setattr(random, "uniform", lambda low, high: high)

    @property
    def now(self) -> float:
        return self.clock.now

    def wire(self) -> Wire:
        wire = Wire(self.clock)
        self.wires.append(wire)
        return wire

    def settle(self) -> None:
        """Let everything happen that takes no time."""
        for _ in range(10_000):
            self.clock.run()
            moved = [end.deliver() for wire in self.wires for end in (wire.left, wire.right)]
            if not any(moved):
                assert not self.clock.failures, self.clock.failures
                return
        raise AssertionError("it never comes to rest")

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.settle()
        end = self.clock.now + seconds
        while (due := self.clock.due()) is not None and due <= end:
            self.clock.ring()
            self.settle()
        self.clock.now = end
        self.settle()


class Client(Watcher):
    """A watcher whose data may be anything."""

    def __init__(self) -> None:
        super().__init__()
        self.failures: list[ConnectError] = []

    def failed(self, error: ConnectError) -> None:
        assert not self.events
        assert not self.failures
        self.failures.append(error)

    @property
    def made(self) -> bool:
        return bool(self.events)

    @property
    def lost(self) -> bool:
        return "lost" in self.events


class FlowEnd:
    """Who has one side of a flow: writes down what comes."""

    def __init__(self, peer: str = "") -> None:
        self.peer = peer
        self.transport: DatagramTransport | None = None
        self.came: list[bytes] = []
        self.events: list[object] = []

    def datagrams_made(self, transport: DatagramTransport) -> None:
        self.transport = transport
        self.events.append("made")

    def datagrams_received(self, datagrams: list[bytes]) -> None:
        self.came += datagrams

    def datagrams_lost(self, error: Exception | None) -> None:
        self.events.append(error)

    def failed(self, error: ConnectError) -> None:
        self.events.append(error)

    def send(self, *datagrams: bytes) -> None:
        assert self.transport is not None
        self.transport.send(list(datagrams))


class Server:
    """A gateway's accept with a service that answers; when `answers` is false it keeps what it is offered."""

    def __init__(
        self,
        world: World,
        *,
        mode: str = "auto",
        node: str = "one",
        maximum: int = 1000,
        seal: ssl.SSLContext | None = None,
        flows: int = 0,
        streams: bool = True,
        **options: Any,
    ) -> None:
        self.world = world
        self.answers = True
        self.offers: list[Incoming] = []
        self.accepted: list[Client] = []
        gateway = GatewayOptions()
        values = {"span.mode": mode, **{name.replace("_", "."): value for name, value in options.items()}}
        self.options = AcceptOptions.model_validate(values)
        self.quota = Quota(maximum)
        self.flows: list[FlowEnd] = []
        self.flow_counters = DatagramCounters()
        self.accept = SpanAccept(
            ADDRESS,
            self.options,
            gateway,
            self._offer if streams else None,
            quota=self.quota,
            budgets=Budgets.of(gateway),
            seal=seal,
            offer_flow=self._offer_flow if flows else None,
            flow_terms=FlowTerms(FRESHNESS, self.flow_counters, flows, streams) if flows else None,
        )
        self.accept.sessions.place = place_of(node, ())
        router = Router()
        span = self.accept if mode != "never" else None
        router.websockets.append(WebSocketRoute(ADDRESS, self.options, self._offer, span=span))
        self._front = Front(router, head_timeout=10.0, maximum_head_size=16_384)

    def receiver(self) -> Receiver:
        return self._front.receiver()

    def _offer(self, incoming: Incoming) -> None:
        self.offers.append(incoming)
        if self.answers:
            self.answer(incoming)

    def _offer_flow(self, incoming: DatagramIncoming) -> None:
        end = FlowEnd(incoming.peer)
        self.flows.append(end)
        if self.answers:
            incoming.accept(end)
        else:
            incoming.refuse(ConnectError("no", status=503))

    def answer(self, incoming: Incoming) -> Client:
        """Accept what was offered."""
        client = Client()
        self.accepted.append(client)
        incoming.accept(client)
        return client

    @property
    def session(self) -> ServerSession:
        """The only session."""
        (driver,) = self.accept.drivers
        return driver


class Script(Watcher):
    """A server that answers a handshake with what `answer` makes of it, and writes down what follows."""

    def __init__(self, answer: Callable[[str], bytes]) -> None:
        super().__init__()
        self.head = ""
        self._answer = answer
        self._reader = HeadReader()

    def data_received(self, data: memoryview) -> None:
        if self.head:
            self.data += data
            return
        head = self._reader.feed(data)
        if head is not None:
            assert self.transport is not None
            self.head = head.decode()
            answer = self._answer(self.head)
            if answer:
                self.transport.write(answer)


def switching(subprotocol: str = "") -> Callable[[str], bytes]:
    """Return what answers a handshake with 101, and a subprotocol whatever was offered."""

    def answer(head: str) -> bytes:
        key = parse_request_head(head.encode()).get("sec-websocket-key")
        assert key is not None
        chosen = f"Sec-WebSocket-Protocol: {subprotocol}\r\n" if subprotocol else ""
        return (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept_value(key)}\r\n{chosen}\r\n"
        ).encode()

    return answer


class Network:
    """What a connector connects over: each attempt meets what `meets` returns, None if it is refused."""

    def __init__(self, world: World, meets: Callable[[], Receiver | None]) -> None:
        self.address = ADDRESS
        self.meets = meets
        self.silent = False
        """Whether nothing answers at all."""
        self.times: list[float] = []
        """When each attempt was made."""
        self.cancelled = 0
        self.closed = 0
        self.wires: list[Wire] = []
        self.world = world

    def connect(
        self,
        receiver: Receiver,
        failed: Callable[[ConnectError], None],
        *,
        origin: str = "",
        early: bool = False,
    ) -> Attempt:
        self.times.append(self.world.now)
        attempt = Attempt(self, receiver, failed)
        self.world.clock.call_soon(attempt.begin)
        return attempt

    def close(self) -> None:
        self.closed += 1

    @property
    def open(self) -> list[Wire]:
        return [wire for wire in self.wires if not wire.left.over]

    def cut(self) -> None:
        """Every connection that stands breaks, and is noticed."""
        for wire in self.open:
            wire.left.lose()


class Attempt:
    """One attempt of `Network`."""

    def __init__(self, network: Network, receiver: Receiver, failed: Callable[[ConnectError], None]) -> None:
        self._network = network
        self._receiver = receiver
        self._failed = failed
        self._over = False

    def begin(self) -> None:
        if self._over or self._network.silent:
            return
        self._over = True
        met = self._network.meets()
        if met is None:
            error = ConnectError(f"Unable to connect to {ADDRESS}: Connection refused")
            error.__cause__ = ConnectionRefusedError(111, "Connection refused")
            self._failed(error)
            return
        wire = self._network.world.wire()
        self._network.wires.append(wire)
        wire.right.start(met)
        wire.left.start(self._receiver)

    def cancel(self) -> None:
        if not self._over:
            self._over = True
            self._network.cancelled += 1


class Scene:
    """A connector with its network and, at first, one server."""

    def __init__(self, world: World, *, server: dict[str, Any] | None = None, **options: Any) -> None:
        self.world = world
        self.server = Server(world, **(server or {}))
        self.network = Network(world, self.server.receiver)
        values = {name.replace("_", "."): value for name, value in options.items()}
        self.options = ConnectOptions.model_validate(values)
        self.connector = SpanConnector(self.network, self.options, Budgets.of(GatewayOptions()))

    @property
    def session(self) -> ClientSession:
        session = self.connector._session
        assert session is not None
        return session

    def connect(self, *, early: bool = False, origin: str = ORIGIN) -> Client:
        """Begin to connect."""
        client = Client()
        self.dial = self.connector.connect(client, client.failed, origin=origin, early=early)
        assert not client.events, "told before `connect` returned"
        return client

    def pair(self, *, early: bool = False) -> tuple[Client, Client]:
        """Connect, and return both ends."""
        before = len(self.server.accepted)
        client = self.connect(early=early)
        self.world.settle()
        assert not client.failures, client.failures
        (accepted,) = self.server.accepted[before:]
        assert client.made
        return client, accepted

    def script(self, answer: Callable[[str], bytes]) -> list[Script]:
        """Let a script stand in the server's place; return those that were met."""
        met: list[Script] = []

        def meets() -> Script:
            met.append(Script(answer))
            return met[-1]

        self.network.meets = meets
        return met

    def refuse(self) -> None:
        """Let nobody listen any more."""
        self.network.meets = lambda: None

    def serve(self, server: Server | None = None) -> None:
        """Let a server listen, the first again or another."""
        if server is not None:
            self.server = server
        self.network.meets = self.server.receiver


def transport_of(client: Client) -> Transport:
    assert client.transport is not None
    return client.transport
