"""Accepting span: the sessions that clients hold with one ws or wss accept (docs/span.md).

A session belongs to one accept and one identity. Its streams are offered to the accept's service like any
other connection, and each holds a place among `maximum.connections`, from its OPEN until its end.
"""

from __future__ import annotations

import asyncio
import logging
import math
import ssl
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from isthmus.config.model import AcceptOptions, GatewayOptions
from isthmus.identity import ANONYMOUS, Identity
from isthmus.span import Code, Flow, Session, Sessions
from isthmus.span.frames import SEALED_SUBPROTOCOL, SUBPROTOCOL
from isthmus.span.stream import Stream
from isthmus.transports.authentication import Guard
from isthmus.transports.base import Incoming, Transport, peer_name
from isthmus.transports.datagrams import DatagramIncoming
from isthmus.transports.listen import Quota
from isthmus.transports.span.admitted import RENEWAL_SECONDS, AdmittedCarrier
from isthmus.transports.span.flow import SpanFlowIncoming
from isthmus.transports.span.incoming import SpanIncoming
from isthmus.transports.span.limits import Budgets, FlowTerms, limits_of
from isthmus.transports.span.session import SessionDriver
from isthmus.transports.span.stream import SpanStream
from isthmus.transports.span.websocket import CarrierWebSocket
from isthmus.uri import Address
from isthmus.websocket.frames import Role

if TYPE_CHECKING:
    from isthmus.transports.span.seal import Sealing

log = logging.getLogger(__name__)


class SpanAccept:
    """The sessions of one accept. `sessions.place` is to be set before the first comes.

    Streams go to `offer`, flows to `offer_flow`; None: there are none.
    """

    def __init__(
        self,
        address: Address,
        options: AcceptOptions,
        gateway: GatewayOptions,
        offer: Callable[[Incoming], None] | None,
        *,
        quota: Quota,
        budgets: Budgets,
        guard: Guard | None = None,
        seal: ssl.SSLContext | None = None,
        offer_flow: Callable[[DatagramIncoming], None] | None = None,
        flow_terms: FlowTerms | None = None,
    ) -> None:
        self.address = address
        self.loop = asyncio.get_running_loop()
        self.quota = quota
        self.offer = offer
        self.offer_flow = offer_flow
        self.flow_terms = flow_terms
        self.drivers: set[ServerSession] = set()
        self.guard = guard
        self._handshaking: dict[CarrierWebSocket, Identity] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._going = False
        self._seal = seal
        self._sealing: set[Sealing] = set()
        self._handshake_timeout = gateway.http_head_timeout
        self._ping_interval = options.websocket_ping_interval
        self.subprotocols: tuple[str, ...] = (SUBPROTOCOL,)
        """Which kinds of span are spoken here, the best first."""
        if seal is not None:
            only = options.span_mode == "required"
            self.subprotocols = (SEALED_SUBPROTOCOL,) if only else (SEALED_SUBPROTOCOL, SUBPROTOCOL)
        self.sessions = Sessions(
            self._accepted,
            limits_of(
                options,
                handshake_timeout=gateway.http_head_timeout,
                flows=flow_terms,
                streams=offer is not None,
            ),
            maximum=gateway.span_maximum_sessions,
            maximum_handshakes=gateway.maximum_connections,
            receive_budget=budgets.receive,
            send_budget=budgets.send,
        )

        self.sessions.ends_tls = address.kind.secure  # here by this gateway, as the accept is wss

    def take(
        self, below: Transport, identity: Identity = ANONYMOUS, subprotocol: str | None = SUBPROTOCOL
    ) -> None:
        """Use a WebSocket of `identity` that was accepted with one of `subprotocols`; it is paused."""
        if subprotocol != SEALED_SUBPROTOCOL:
            self._begin(below, identity)
            return
        assert self._seal is not None
        peer = peer_name(below.info("peername"))

        def sealed(inside: Transport) -> None:
            self._sealing.discard(sealing)
            self._begin(inside, identity)

        def failed(why: str, cause: BaseException) -> None:
            self._sealing.discard(sealing)
            log.info("%s: %s: %s", self.address, peer, why)

        from isthmus.transports.span.seal import Sealing

        sealing = Sealing(Role.SERVER, self._seal, sealed, failed, self._handshake_timeout)
        self._sealing.add(sealing)
        sealing.start(below)

    def _begin(self, below: Transport, identity: Identity) -> None:
        websocket = CarrierWebSocket(below, Role.SERVER, self.sessions.limits.maximum_message, self)
        self._handshaking[websocket] = identity
        carrier = self.sessions.carrier_opened(str(self.address), str(identity), websocket, time.monotonic())
        websocket.begin(carrier)
        self._set_timer()

    def go_away(self) -> None:
        """Take no new streams; a session ends with its last one."""
        self._going = True
        for driver in list(self.drivers):
            driver.session.go_away()

    def stop(self) -> None:
        """End every session."""
        for driver in list(self.drivers):
            driver.stop()
        for websocket in list(self._handshaking):
            websocket.abort()
        for sealing in self._sealing:
            sealing.cancel()
        self._sealing.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _accepted(self, session: Session) -> ServerSession:
        if self._ping_interval:
            session.ping_after = min(session.ping_after, self._ping_interval)
        driver = ServerSession(self, session)
        self.drivers.add(driver)
        return driver

    # --- carriers that belong to no session yet

    def _set_timer(self) -> None:
        if self._timer is None:
            due = self.sessions.next_deadline()
            if due < math.inf:
                wait = max(0.0, due - time.monotonic())
                self._timer = self.loop.call_later(wait, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self.sessions.timeout(time.monotonic())
        self._set_timer()

    # --- from carriers (CarrierOwner)

    def carrier_established(self, websocket: CarrierWebSocket) -> None:
        identity = self._handshaking.pop(websocket, ANONYMOUS)
        carrier = websocket.carrier
        assert carrier is not None
        assert carrier.session is not None
        driver = carrier.session.handler
        assert isinstance(driver, ServerSession)
        driver.add(websocket, identity)
        if self._going:
            driver.session.go_away()

    def carrier_refused(self, websocket: CarrierWebSocket, code: int, retry_after: float, text: str) -> None:
        """Only a client is refused."""

    def carrier_lost(self, websocket: CarrierWebSocket, reason: str) -> None:
        self._handshaking.pop(websocket, None)
        carrier = websocket.carrier
        if carrier is None or carrier.session is None:
            log.debug("%s: %s: a carrier without a session ended: %s", self.address, websocket.peer, reason)
            return
        driver = carrier.session.handler
        if isinstance(driver, ServerSession):
            driver.remove(websocket, reason)


class ServerSession(SessionDriver):
    """One session that a client holds."""

    def __init__(self, accept: SpanAccept, session: Session) -> None:
        super().__init__(accept.address, accept.flow_terms)
        self.session = session
        self.identity = ANONYMOUS
        """Who holds it: as the last carrier's login has it."""
        self._accept = accept
        self._quota = accept.quota
        self._login: asyncio.TimerHandle | None = None

    def add(self, websocket: CarrierWebSocket, identity: Identity) -> None:
        """A carrier belongs to it now."""
        assert websocket.carrier is not None
        self.websockets[websocket.carrier] = websocket
        websocket.driver = self
        self.peer = websocket.peer
        self.identity = identity
        self._stop_waiting()
        if self._accept.guard is not None:
            self._accept.guard.watch(identity, AdmittedCarrier(self, websocket, identity))
        self.moved()

    def remove(self, websocket: CarrierWebSocket, reason: str) -> None:
        """A carrier is gone."""
        assert websocket.carrier is not None
        self.websockets.pop(websocket.carrier, None)
        session = self.session
        if session.over:
            return
        log.info(
            "%s: %s: a carrier of %d streams ended: %s; %d left",
            self.address,
            websocket.peer,
            len(session.streams),
            reason,
            len(session.carriers),
        )
        self.moved()

    def login_ended(self) -> None:
        """The login of a carrier has ended, and so has the carrier: wait for another login, not for ever."""
        if not self.websockets and not self.session.over and self._login is None:
            self._login = self.loop.call_later(RENEWAL_SECONDS, self._login_is_missing)

    def _login_is_missing(self) -> None:
        self._login = None
        if not self.websockets:
            log.info("%s: %s: %s has not logged in again", self.address, self.peer, self.identity)
            self.session.end(Code.EXPIRED, "the login has ended")

    def _stop_waiting(self) -> None:
        if self._login is not None:
            self._login.cancel()
            self._login = None

    def stream_opened(self, stream: Stream) -> None:
        guard, quota = self._accept.guard, self._quota
        if guard is not None and not guard.still_allowed(self.identity):
            self.session.reset(stream, Code.REFUSED, "the login has ended")
            return
        if not quota.take():
            quota.times_reached += 1
            self.session.counters.overloaded += 1
            self.session.reset(stream, Code.OVERLOAD, "the gateway has as many connections as it may have")
            return
        offer = self._accept.offer
        assert offer is not None  # else the session refuses streams itself
        offer(SpanIncoming(self.address, SpanStream(self, self.session, stream), self.identity))

    def flow_opened(self, flow: Flow) -> None:
        guard = self._accept.guard
        if guard is not None and not guard.still_allowed(self.identity):
            self.session.flows.end(flow, Code.REFUSED, "the login has ended")
            return
        assert self._accept.offer_flow is not None  # else the session refuses flows itself
        self._accept.offer_flow(SpanFlowIncoming(self._accept.address, self, flow))

    def stream_over(self, stream: SpanStream) -> None:
        self._quota.release()

    def ended(self, code: int, text: str) -> None:
        super().ended(code, text)
        self._stop_waiting()
        self._accept.drivers.discard(self)
        if code == Code.PROTOCOL:
            log.warning("%s: %s: the session ended: %s", self.address, self.peer, text)
        elif code != Code.GOING:
            log.info("%s: %s: the session ended: %s", self.address, self.peer, text)
