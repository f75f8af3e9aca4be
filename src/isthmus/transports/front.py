"""One port, many services: reads one request head and decides by Host, path and Upgrade whose it is.

    asked for                        there is                  answered with
    ------------------------------------------------------------------------------------------------
    a WebSocket that offers span     a ws accept, same path    101: it carries a session (span.mode)
    a WebSocket                      a ws accept, same path    the service's answer: 101, 502, 503, 504
    a WebSocket, foreign Origin      a ws accept               403, unless a cross-site-constraint allows it
    a WebSocket, of a realm          a ws accept               401, 403, 429 or 503, until a login is right
    a WebSocket, wrongly             a ws accept               400, 405, 426 or 505, as RFC 6455 4.2.2 says
    a WebSocket over HTTP (/;e/)     a ws accept               as for a WebSocket, with 201 instead of 101
    a probe                          a ws accept               what `transports.probe` says (doctor.probe)
    anything else                    an http accept above it   whatever that service says
    anything                         neither                   404

Host must be the accept's own, default ports left out on both sides; an accept on 0.0.0.0 or [::] takes any
Host. A ws accept matches its whole path, an http accept all paths below its own, the longest first.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from isthmus.config.model import AcceptOptions
from isthmus.errors import ConnectError
from isthmus.identity import ANONYMOUS, Identity
from isthmus.span.frames import SUBPROTOCOL
from isthmus.transports import probe
from isthmus.transports.authentication import Authentication, Guard, believed
from isthmus.transports.base import HttpHandler, Incoming, Origin, Receiver, Transport, peer_name
from isthmus.transports.cross_site import CrossSite, without_default_port
from isthmus.transports.keep_alive import IdleLimit
from isthmus.transports.probe import Probes
from isthmus.transports.rate import limited
from isthmus.transports.told import told
from isthmus.transports.ws import WebSocketTransport
from isthmus.uri import Address
from isthmus.websocket.frames import Role
from isthmus.websocket.handshake import (
    HandshakeError,
    HeadReader,
    RequestHead,
    Upgrade,
    accept_upgrade,
    is_upgrade,
    parse_request_head,
    refusal,
)

if TYPE_CHECKING:
    from isthmus.transports.http import HttpBridge
    from isthmus.transports.span.accept import SpanAccept
    from isthmus.transports.wse.accept import EmulatedHandshake, EmulationAccept
    from isthmus.wse.requests import Place

log = logging.getLogger(__name__)

Taken = Callable[[Transport, Identity], None]

_REFUSED = {
    404: "",  # as if the accept were not there
    502: "the service behind this gateway cannot be reached",
    504: "the service behind this gateway did not answer in time",
}

Handshake: TypeAlias = "Upgrade | EmulatedHandshake"
"""What a client asks for a WebSocket with, which is right and not answered yet."""


@dataclass(frozen=True, slots=True)
class WebSocketRoute:
    """A ws or wss accept: where it is known, and who is offered its connections."""

    address: Address
    options: AcceptOptions
    offer: Callable[[Incoming], None]
    cross_site: CrossSite = field(default_factory=CrossSite)
    """Pages of which other sites may come in: of none."""
    span: SpanAccept | None = None
    """Who takes WebSockets that carry span; None: span is not spoken here."""
    guard: Guard | None = None
    """Who decides who comes in. None: everybody does."""
    idle: IdleLimit | None = None
    """After how long idle WebSockets are pinged. None: never."""
    emulation: EmulationAccept | None = None
    """Who takes WebSockets that are emulated over HTTP; None: they are not served here."""
    probes: Probes | None = None
    """What examinations of the way here may take. None: there are none."""

    @property
    def subprotocols(self) -> tuple[str, ...]:
        spoken = () if self.span is None else self.span.subprotocols
        return spoken if self.probes is None else (*spoken, probe.SUBPROTOCOL)


@dataclass(frozen=True, slots=True)
class HttpRoute:
    """An http or https accept."""

    address: Address
    service: HttpHandler
    rate: int | None = None
    """The most that is sent to a client whose connection begins here, in bytes a second."""
    options: AcceptOptions = field(default_factory=AcceptOptions)


class Router:
    """Finds the route of a request. One for each listening port."""

    def __init__(self) -> None:
        self.websockets: list[WebSocketRoute] = []
        self.https: list[HttpRoute] = []

    def find_websocket(self, host: str, path: str) -> WebSocketRoute | None:
        """Return the ws accept for a Host field and a path without its query."""
        for route in self.websockets:
            if route.address.resource == path and _same_host(route.address, host):
                return route
        return None

    def find_emulated(self, host: str, place: Place) -> WebSocketRoute | None:
        """Return the ws accept that a path of the emulation belongs to."""
        for path in (place.path, f"{place.path}/"):
            route = self.find_websocket(host, path)
            if route is not None and route.emulation is not None:
                return route
        return None

    def find_http(self, host: str, path: str) -> HttpRoute | None:
        """Return the http accept with the longest path at or above `path`."""
        best: HttpRoute | None = None
        for route in self.https:
            if not _same_host(route.address, host) or not _is_below(path, route.address.resource):
                continue
            if best is None or len(route.address.resource) > len(best.address.resource):
                best = route
        return best


class Front:
    """What becomes of the connections of one listening port.

    `head_timeout` (seconds) and `maximum_head_size` (bytes) bound what a client can hold before it is known.
    `bridge` speaks HTTP for the http accepts; None where there are none. `certificates` tells what TLS shows
    here (SHA-256 of each), for probes.
    """

    def __init__(
        self,
        router: Router,
        *,
        head_timeout: float,
        maximum_head_size: int,
        bridge: HttpBridge | None = None,
        certificates: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self.router = router
        self.certificates = certificates
        self.head_timeout = head_timeout
        self.maximum_head_size = maximum_head_size
        self.bridge = bridge

    def receiver(self, origin: Origin | None = None) -> Receiver:
        """Return the receiver for a new connection; `origin` is who a balancer says it is from, if one
        does.
        """
        return FirstRequest(self, origin)

    def upgrade(self, transport: Transport, received: bytes) -> bool:
        """Take over a connection whose next bytes, already read, ask for a WebSocket (the bridge's hook)."""
        request = FirstRequest(self)
        transport.set_receiver(request)
        request.connection_made(transport)
        request.data_received(memoryview(bytearray(received)))
        return True

    def again(self, idle: float, transport: Transport, received: bytearray) -> None:
        """Take a connection for another request, which may be `idle` seconds until it comes; 0: none may.

        `received` is what has come of it.
        """
        if not idle:
            transport.close()
            return
        request = FirstRequest(self, idle=idle)
        transport.set_receiver(request)
        request.connection_made(transport)
        if received:  # not from here: many of them may be in there
            transport.pause_reading()
            asyncio.get_running_loop().call_soon(request.go_on, transport, received)


class FirstRequest:
    """Reads the first request head of a connection and hands the connection on.

    Where it is not the very first, `idle` is how many seconds it may be until it begins.
    """

    __slots__ = ("_front", "_idle", "_origin", "_reader", "_timer", "_transport")

    def __init__(self, front: Front, origin: Origin | None = None, idle: float = 0.0) -> None:
        self._front = front
        self._idle = idle
        self._origin = origin
        self._reader = HeadReader(front.maximum_head_size)
        self._timer: asyncio.TimerHandle | None = None
        self._transport: Transport | None = None

    def connection_made(self, transport: Transport) -> None:
        self._transport = transport if self._origin is None else told(transport, self._origin)
        timeout = self._idle or self._front.head_timeout
        self._timer = asyncio.get_running_loop().call_later(timeout, self._too_slow)

    def go_on(self, transport: Transport, received: bytearray) -> None:
        """Read on with what had come, unless the connection was lost."""
        if self._transport is not None:
            transport.resume_reading()
            self.data_received(memoryview(received))

    def data_received(self, data: memoryview) -> None:
        if self._transport is None:
            return
        if self._idle and self._timer is not None:
            self._idle = 0.0
            self._timer.cancel()
            self._timer = asyncio.get_running_loop().call_later(self._front.head_timeout, self._too_slow)
        try:
            head = self._reader.feed(data)
            if head is not None:
                self._route(parse_request_head(head), head)
        except HandshakeError as error:
            self._refuse(error)

    def eof_received(self) -> None:
        if self._transport is not None:
            self._end().close()

    def pause_writing(self) -> None:
        """Only one small refusal is ever written."""

    def resume_writing(self) -> None:
        """See `pause_writing`."""

    def connection_lost(self, error: Exception | None) -> None:
        if self._transport is not None:
            self._end()

    def _route(self, request: RequestHead, head: bytes) -> None:
        router = self._front.router
        if any(route.emulation is not None for route in router.websockets) and self._emulate(request):
            return
        websocket = router.find_websocket(request.host, request.path)
        if websocket is not None and (_is_meant(request) or self._front.bridge is None):
            upgrade = accept_upgrade(request, subprotocols=websocket.subprotocols)
            if upgrade.subprotocol is None and websocket.options.span_mode == "required":
                spoken = SUBPROTOCOL if websocket.span is None else websocket.span.subprotocols[0]
                raise HandshakeError(400, f"only {spoken} is spoken here")
            self._admit(websocket, request, partial(_take, websocket, upgrade))
        elif (asked := probe.asked_for(request)) is not None and (probed := self._probed(request, asked[0])):
            self._admit(probed, request, partial(self._answer_probe, probed, request, asked[1]))
        elif self._front.bridge is not None:
            route = router.find_http(request.host, request.path)
            transport = limited(self._end(), None if route is None else route.rate)
            receiver = self._front.bridge.take(transport, head + bytes(self._reader.rest))
            transport.set_receiver(receiver)
        else:
            raise HandshakeError(404, "")

    def _emulate(self, request: RequestHead) -> bool:
        """Take a request of WebSocket emulation; return False if it is none."""
        # With an accept that has it these are imported; others do without.
        from isthmus.transports.wse.exchange import Exchange
        from isthmus.wse.requests import place_of

        front, place = self._front, place_of(request.path)
        route = None if place is None else front.router.find_emulated(request.host, place)
        if route is None or route.emulation is None or place is None:
            return False
        again = partial(front.again, route.options.http_keepalive_timeout)
        exchange = Exchange(self._end(), request, self._reader.rest, again)

        def created(handshake: EmulatedHandshake, transport: Transport) -> None:
            _admit(route, handshake.request, transport, partial(_take, route, handshake))

        route.emulation.take(exchange, place, created, front.head_timeout, route.subprotocols)
        return True

    def _admit(self, route: WebSocketRoute, request: RequestHead, taken: Taken) -> None:
        """Give the connection to `taken` when it is known who asks, and that they may."""
        if not route.cross_site.allows(request.get("origin"), request.host):
            raise HandshakeError(403, "pages of other sites may not connect here")
        if self._reader.rest:
            raise HandshakeError(400, "data before the handshake was answered")
        _admit(route, request, self._end(), taken)

    def _probed(self, request: RequestHead, path: str) -> WebSocketRoute | None:
        router, host = self._front.router, request.host
        route = router.find_websocket(host, path) or router.find_websocket(host, f"{path}/")
        return route if route is not None and route.probes is not None else None

    def _answer_probe(
        self, route: WebSocketRoute, request: RequestHead, name: str, transport: Transport, _: Identity
    ) -> None:
        assert route.probes is not None
        client = believed(request.headers, route.options, transport.info("peername"))
        log.debug("%s: a probe, %s", peer_name(client), name)
        shown = self._front.certificates()
        try:
            probe.answer(
                name,
                request,
                transport,
                route.probes,
                client=client,
                span=route.span is not None,
                certificates=shown,
            )
        except HandshakeError as error:
            _turn_away(transport, error)

    def _refuse(self, error: HandshakeError) -> None:
        _turn_away(self._end(), error)

    def _too_slow(self) -> None:
        self._timer = None
        if self._idle and self._transport is not None:
            self._end().close()
        elif self._transport is not None:
            self._refuse(HandshakeError(408, "the request head took too long"))

    def _end(self) -> Transport:
        transport, self._transport = self._transport, None
        assert transport is not None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return transport


def _is_meant(request: RequestHead) -> bool:
    """Whether a request asks for a WebSocket, or did until a proxy on the way has taken Upgrade out of it."""
    return is_upgrade(request) or request.get("sec-websocket-key") is not None


def _turn_away(transport: Transport, error: HandshakeError) -> None:
    log.info(
        "%s: refused with %d: %s",
        peer_name(transport.info("peername")),
        error.status,
        error.reason or "no such path",
    )
    transport.write(refusal(error.status, error.reason, error.headers))
    transport.close()


def _admit(route: WebSocketRoute, request: RequestHead, transport: Transport, taken: Taken) -> None:
    """Find out whether who asks may come in, and give the connection to `taken` if so."""
    if route.guard is None:
        taken(transport, ANONYMOUS)
    else:
        peer = believed(request.headers, route.options, transport.info("peername"))
        Authentication(transport, taken).start(route.guard, request, peer)


def _take(route: WebSocketRoute, handshake: Handshake, transport: Transport, identity: Identity) -> None:
    """Give a WebSocket of somebody who may come in to span or to a probe, or offer it to the service."""
    if route.probes is not None and handshake.subprotocol == probe.SUBPROTOCOL:
        try:
            talk = probe.talk(route.probes)
        except HandshakeError as error:
            _turn_away(transport, error)
        else:
            # Without pings: whether the way cuts what is silent is one of the questions.
            WebSocketIncoming(route, handshake, transport, identity).open(talk, 0.0, None)
        return
    transport.pause_reading()
    if route.span is not None and handshake.subprotocol is not None:
        opened = _open(handshake, transport)
        below = limited(opened, route.options.tcp_maximum_outbound_rate)
        route.span.take(below, identity, handshake.subprotocol)
        return
    incoming = WebSocketIncoming(route, handshake, transport, identity)
    transport.set_receiver(incoming)
    route.offer(incoming)


def _open(handshake: Handshake, transport: Transport) -> Transport:
    """Answer a handshake that came on `transport`: return what the WebSocket is on."""
    if isinstance(handshake, Upgrade):
        transport.write(handshake.response())
        return transport
    return handshake.open()


class WebSocketIncoming:
    """A right WebSocket handshake, offered to a service, not answered yet."""

    __slots__ = ("_gone", "_handshake", "_lost", "_route", "_transport", "address", "gone", "identity")

    early = False

    def __init__(
        self,
        route: WebSocketRoute,
        handshake: Handshake,
        transport: Transport,
        identity: Identity = ANONYMOUS,
    ) -> None:
        self.address = route.address
        self.gone: Callable[[], None] | None = None
        self.identity = identity
        self._route = route
        self._handshake = handshake
        self._transport = transport
        self._gone = False
        self._lost: Exception | None = None

    @property
    def peer(self) -> str:
        headers = self._handshake.request.headers
        return peer_name(believed(headers, self._route.options, self._transport.info("peername")))

    def accept(self, receiver: Receiver) -> None:
        self.open(receiver, self._route.options.websocket_inactivity_timeout, self._route.idle)

    def open(self, receiver: Receiver, inactivity_timeout: float, idle: IdleLimit | None) -> None:
        """Answer it; a client that is silent is pinged as these two say."""
        options = self._route.options
        below = _open(self._handshake, self._transport)
        opened = WebSocketTransport(
            limited(below, options.tcp_maximum_outbound_rate),
            Role.SERVER,
            options.websocket_maximum_message_size,
            options.websocket_close_timeout,
            inactivity_timeout,
            idle,
        )
        if not self._gone:
            below.resume_reading()  # before the receiver is told, which may want to pause
        opened.start(receiver)
        if self._route.guard is not None:
            self._route.guard.watch(self.identity, opened)
        if self._gone:
            asyncio.get_running_loop().call_soon(opened.connection_lost, self._lost)

    def refuse(self, error: ConnectError) -> None:
        # Names of hosts behind the gateway are nobody's business in front of it.
        reason = _REFUSED.get(error.status, _REFUSED[502])
        self._transport.write(refusal(error.status, reason))
        self._transport.close()

    # --- the receiver until the service has answered (a paused transport may have had something in hands)

    def connection_made(self, transport: Transport) -> None:
        """Not called: the connection is there."""

    def data_received(self, data: memoryview) -> None:
        # A client must wait for the answer (RFC 6455 4.1), so nothing is queued for one that does not.
        self._transport.abort()

    def eof_received(self) -> None:
        self._transport.abort()

    def pause_writing(self) -> None:
        """Nothing is written before the answer."""

    def resume_writing(self) -> None:
        """See `pause_writing`."""

    def connection_lost(self, error: Exception | None) -> None:
        """The client is gone, which is told to whoever accepts it; the transport drops what it is given."""
        self._gone = True
        self._lost = error
        gone, self.gone = self.gone, None
        if gone is not None:
            gone()


def _same_host(address: Address, host: str) -> bool:
    if address.host in ("0.0.0.0", "::"):
        return True
    return without_default_port(address.host_port) == without_default_port(host)


def _is_below(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(prefix if prefix.endswith("/") else prefix + "/")
