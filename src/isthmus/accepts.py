"""Every accept of a gateway: what is bound, and what becomes of the connections that come there.

scheme           a new connection becomes
------------------------------------------------------------------------------------------
tcp, unix        a `SocketIncoming`, offered to the service at once
ssl, tls         TLS, then a `StreamIncoming`
udp              each new sender an `UdpPeer`, offered to the service at once
ws, http         a `Front`, shared by all accepts of the same port, told apart by Host and path
wss, https       TLS, then the same
stdio            one `SocketIncoming`, when the gateway starts

Over span a WebSocket brings streams, flows, or both, as its service takes them. A plain one is a connection,
and a flow where its service has nothing but datagrams (`WebSocketFlowIncoming`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import cached_property, partial
from typing import TYPE_CHECKING, Protocol, cast

from isthmus.config.model import AcceptOptions, Bind, GatewayOptions, ProxyProperties, Service
from isthmus.identity import Identity
from isthmus.services import AnyService
from isthmus.services.base import DatagramService, HttpService, StreamService
from isthmus.transports import listen, stdio, udp_accept
from isthmus.transports.accept import SocketIncoming, StreamIncoming
from isthmus.transports.base import (
    HttpHandler,
    Incoming,
    Origin,
    Receiver,
    Transport,
    peer_name,
)
from isthmus.transports.cross_site import CrossSite, CrossSiteHttp
from isthmus.transports.datagrams import Freshness
from isthmus.transports.forwarded import client_of
from isthmus.transports.keep_alive import IdleLimit
from isthmus.transports.listen import Listening, Quota
from isthmus.transports.span.limits import Budgets, FlowTerms
from isthmus.transports.span.place import place_of
from isthmus.transports.stream_socket import PlainStreamSocket
from isthmus.transports.tcp import TcpTransport
from isthmus.transports.udp_accept import UdpAccept
from isthmus.transports.ws_datagrams import WebSocketFlowIncoming
from isthmus.uri import Address

if TYPE_CHECKING:
    from aiohttp import web

    from isthmus.security.contexts import Certificates
    from isthmus.transports.authentication import Guard
    from isthmus.transports.front import Front
    from isthmus.transports.http import HttpBridge
    from isthmus.transports.probe import Probes
    from isthmus.transports.span.accept import SpanAccept
    from isthmus.transports.wse.accept import EmulationAccept

# What only an accept from the Web or a login needs is imported there: a start must not wait for the rest.

Accepted = Callable[[PlainStreamSocket], None]

_SPARE_FLOWS = 256
"""A session takes so many flows more than their service, which is to choose the one that ends."""


class Begin(Protocol):
    """Takes a socket, and who a balancer says it is from."""

    def __call__(self, accepted: PlainStreamSocket, origin: Origin | None = None) -> None: ...


ServerTls = Callable[[Address, AcceptOptions], "Callable[[], Certificates]"]


class Accepts:
    """The accepts of one gateway: `add` each service (which binds), then `listen`, later `stop_listening`.

    `server_tls` returns what a secure accept is to ask, at each connection, for the certificates to show;
    `guard` who decides who may use a service, None where everybody may.
    Must be used on the running loop.
    """

    def __init__(
        self,
        options: GatewayOptions,
        server_tls: ServerTls,
        guard: Callable[[Service], Guard | None] = lambda _: None,
    ) -> None:
        self.lines: list[str] = []
        """One for each accept, as start-up shows them: `uri` or `uri @ bind`."""
        self.bridges: list[HttpBridge] = []
        self.quota = Quota(options.maximum_connections)
        self.spans: list[SpanAccept] = []
        self.emulations: list[EmulationAccept] = []
        self.budgets = Budgets.of(options)
        """What the streams of all accepts and connects share."""
        self._options = options
        self._server_tls = server_tls
        self._guard = guard
        self._loop = asyncio.get_running_loop()
        self._fronts: dict[tuple[str, int], Front] = {}
        self._listening: list[tuple[Listening, Address, Bind | None]] = []
        self._udp: list[UdpAccept] = []
        self._standard: SocketIncoming | None = None
        self._standard_service: StreamService | None = None

    @cached_property
    def probes(self) -> Probes | None:
        """What examinations of the way to all accepts may take together; None: there are none."""
        from isthmus.transports.probe import Probes

        maximum = self._options.doctor_maximum_probes
        return Probes(maximum, self._options.doctor_maximum_rate) if maximum else None

    def add(self, service: Service, running: AnyService) -> None:
        """Bind the accepts of one service. Raises `BindError`, `KeystoreError` or `ConfigurationError`."""
        for address in service.accepts:
            at = service.accept_options.bind_for(address.scheme)
            if address.kind.datagrams:
                self._add_udp(address, at, service, cast("DatagramService", running))
                continue
            self.lines.append(f"{address} @ {at}" if at is not None else str(address))
            if address.scheme == "stdio":
                self._standard = SocketIncoming(self._loop, address, stdio.open_socket())
                self._standard_service = cast("StreamService", running)
            elif address.kind.web:
                place = (at.host, at.port) if at is not None else (address.host, address.port)
                front = self._fronts.get(place)
                if front is None:
                    from isthmus.transports.front import Front, Router

                    front = Front(
                        Router(),
                        head_timeout=self._options.http_head_timeout,
                        maximum_head_size=self._options.http_maximum_head_size,
                    )
                    begin = self._web(front, address, service.accept_options)
                    self._bind(address, at, self._told(address, service.accept_options, begin))
                    self._fronts[place] = front
                self._route(front, address, service, running)
            else:
                begin = self._stream(address, service, cast("StreamService", running))
                self._bind(address, at, self._told(address, service.accept_options, begin))

    def listen(self) -> None:
        """Accept connections from now on. Raises `BindError`."""
        place = place_of(self._options.span_node, self.lines)
        for span in self.spans:
            span.sessions.place = place
        for listening, address, at in self._listening:
            try:
                listening.start(self._options.accept_backlog)
            except OSError as error:
                # Two sockets may be bound to one port, but only one of them can listen.
                raise listen.bind_error(address, at, error) from error
        for udp in self._udp:
            udp.start()
        if self._standard is not None and self._standard_service is not None:
            self._standard_service.incoming(self._standard)

    def stop_listening(self) -> None:
        """Close every listening socket, also those that were only bound, and one of udp with its last flow;
        sessions take no new streams.
        """
        for listening, _, _ in self._listening:
            listening.stop()
        self._listening.clear()
        for udp in self._udp:
            udp.stop()
        self._udp.clear()
        for span in self.spans:
            span.go_away()

    def stop(self) -> None:
        """End what outlives the connections that services know: sessions of span, emulated WebSockets."""
        for span in self.spans:
            span.stop()
        for emulation in self.emulations:
            emulation.stop()

    def _bind(self, address: Address, at: Bind | None, accepted: Accepted) -> None:
        self._listening += [
            (Listening(bound, self.quota, accepted), address, at) for bound in listen.bind(address, at)
        ]

    def _told(self, address: Address, options: AcceptOptions, begin: Begin) -> Accepted:
        """Return what takes the sockets of an accept: first of all a balancer may say who they are from."""
        if options.proxy_protocol == "none" or address.kind.local:
            return begin
        from isthmus.transports.original import told_by

        return told_by(options.trusted_sources, self._options.http_head_timeout, begin)

    def _add_udp(self, address: Address, at: Bind | None, service: Service, running: DatagramService) -> None:
        for bound in udp_accept.bind(address, at, service.accept_options):
            udp = UdpAccept(address, bound, running.flow, running.counters)
            self._udp.append(udp)
            port = at.port if at is not None else address.port
            place = at if port else udp.bound  # the kernel chose the port
            self.lines.append(f"{address} @ {place}" if place is not None else str(address))

    def _stream(self, address: Address, configured: Service, service: StreamService) -> Begin:
        options = configured.accept_options
        loop, rate = self._loop, options.tcp_maximum_outbound_rate
        if address.kind.local:
            rate = None
        if not address.kind.secure:
            return lambda accepted, origin=None: service.incoming(
                SocketIncoming(loop, address, accepted, rate, origin)
            )
        from isthmus.transports.sni import accept_secure  # with its libraries: only TLS pays

        certificates = self._server_tls(address, options)
        timeout, guard = self._options.http_head_timeout, self._guard(configured)

        def admitted(origin: Origin | None, transport: Transport, identity: Identity) -> None:
            incoming = StreamIncoming(address, service.incoming, rate, origin, identity)
            transport.set_receiver(incoming)
            incoming.connection_made(transport)

        def secure(accepted: PlainStreamSocket, origin: Origin | None = None) -> None:
            receiver: Receiver = StreamIncoming(address, service.incoming, rate, origin)
            if guard is not None:
                from isthmus.transports.authentication import StreamAuthentication

                receiver = StreamAuthentication(guard, partial(admitted, origin), origin)
            # A stream needs half-close, which only the layer has.
            accept_secure(accepted.detach(), certificates, receiver, handshake_timeout=timeout, kind="layer")

        return secure

    def _web(self, front: Front, address: Address, options: AcceptOptions) -> Begin:
        loop = self._loop
        if not address.kind.secure:
            return lambda accepted, origin=None: TcpTransport(loop, accepted).start(front.receiver(origin))
        from isthmus.transports.sni import accept_secure

        certificates = self._server_tls(address, options)
        timeout, kind = self._options.http_head_timeout, self._options.tls_transport
        front.certificates = lambda: certificates().fingerprints

        def secure(accepted: PlainStreamSocket, origin: Origin | None = None) -> None:
            receiver = front.receiver(origin)
            accept_secure(accepted.detach(), certificates, receiver, handshake_timeout=timeout, kind=kind)

        return secure

    def _route(self, front: Front, address: Address, service: Service, running: AnyService) -> None:
        from isthmus.transports.authentication import GuardedHttp
        from isthmus.transports.front import HttpRoute, WebSocketRoute

        cross_site, guard = CrossSite(service.cross_site), self._guard(service)
        if address.kind.stream:
            options = service.accept_options
            idle = IdleLimit(str(address), options.websocket_ping_interval)
            emulation = self._emulation(address, options, cross_site)
            probes = self.probes if options.doctor_probe == "enabled" else None
            span = self._span(address, service, running, guard) if options.span_mode != "never" else None
            stream = cast("StreamService", running)
            plain = _flows(service, running) if _only_flows(service) else stream.incoming
            front.router.websockets.append(
                WebSocketRoute(address, options, plain, cross_site, span, guard, idle, emulation, probes)
            )
            return
        options, http = service.accept_options, cast("HttpService", running)
        if guard is not None:
            http = GuardedHttp(http, guard, options)
        if cross_site:  # outside, as a browser asks what it may do before anybody has logged in
            http = CrossSiteHttp(http, cross_site)
        front.router.https.append(HttpRoute(address, http, options.tcp_maximum_outbound_rate, options))
        if front.bridge is None:
            front.bridge = self._bridge(front, options.http_keepalive_timeout)
        else:
            front.bridge.keep_alive_for(options.http_keepalive_timeout)

    def _span(
        self, address: Address, service: Service, running: AnyService, guard: Guard | None
    ) -> SpanAccept:
        options, seal = service.accept_options, None
        if options.span_seal_key is not None:
            from isthmus.security.seal import server_context  # with its libraries: only sealing pays

            seal = server_context(options.span_seal_key, options.span_seal_clients)
        offer_flow, terms = None, None
        if service.datagrams:
            flows = cast("DatagramService", running)
            most = service.udp.udp_maximum_flows + _SPARE_FLOWS
            offer_flow = flows.flow
            terms = FlowTerms(freshness_of(service), flows.counters, most, service.streams)
        from isthmus.transports.span.accept import SpanAccept

        span = SpanAccept(
            address,
            options,
            self._options,
            None if _only_flows(service) else cast("StreamService", running).incoming,
            quota=self.quota,
            budgets=self.budgets,
            guard=guard,
            seal=seal,
            offer_flow=offer_flow,
            flow_terms=terms,
        )
        self.spans.append(span)
        return span

    def _emulation(
        self, address: Address, options: AcceptOptions, cross_site: CrossSite
    ) -> EmulationAccept | None:
        if options.emulation == "disabled":
            return None
        from isthmus.transports.wse.accept import EmulationAccept  # only where a WebSocket is accepted

        emulation = EmulationAccept(address, options, cross_site, self.quota)
        self.emulations.append(emulation)
        return emulation

    def _bridge(self, front: Front, keepalive_timeout: float) -> HttpBridge:
        # aiohttp takes a noticeable time to import: only a configuration that needs it pays.
        from isthmus.transports.http import HttpBridge

        def resolve(request: web.BaseRequest) -> HttpHandler | None:
            route = front.router.find_http(request.host, request.rel_url.raw_path)
            return None if route is None else route.service

        def client(request: web.BaseRequest, peer: object) -> str:
            route = front.router.find_http(request.host, request.rel_url.raw_path)
            if route is None or route.options.http_forwarded == "none" or not isinstance(peer, tuple):
                return peer_name(peer)
            headers = [(name.lower(), value) for name, value in request.headers.items()]
            options = route.options
            return peer_name(client_of(headers, options.http_forwarded, options.trusted_sources, peer[:2]))

        bridge = HttpBridge(
            resolve,
            client=client,
            keepalive_timeout=keepalive_timeout,
            maximum_head_size=self._options.http_maximum_head_size,
            upgrade=front.upgrade,
        )
        self.bridges.append(bridge)
        return bridge


def _only_flows(service: Service) -> bool:
    return service.datagrams and not service.streams


def _flows(service: Service, running: AnyService) -> Callable[[Incoming], None]:
    """Return what offers a WebSocket to a service of datagrams."""
    flows, freshness = cast("DatagramService", running), freshness_of(service)

    def offer(incoming: Incoming) -> None:
        flows.flow(WebSocketFlowIncoming(incoming, freshness, flows.counters))

    return offer


def freshness_of(service: Service) -> Freshness:
    """Return how long and how much the flows of a proxy may have waiting for a WebSocket."""
    assert isinstance(service.properties, ProxyProperties)
    return Freshness(service.udp.udp_maximum_delay, service.properties.maximum_pending_bytes)
