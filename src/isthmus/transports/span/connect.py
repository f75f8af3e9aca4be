"""Connecting over span: many streams of one destination on one session, where the peer speaks it.

peer       how it is found out                                  a connect then is
---------------------------------------------------------------------------------------------------------
unknown    nobody has connected yet                             one WebSocket is opened, all wait for it
span       the server chose the subprotocol and said HELLO      a stream of the session
plain      the server chose none, or refused the offer          a WebSocket of its own, which offers again

A server that refuses a handshake outright is asked once more without the offer, and one that chooses the
subprotocol but never says HELLO (some choose whatever is offered) is not offered it again for a while.

Streams of a session wait for a carrier to come back; a new connect does not: it has one opened at once, and
is told when that fails.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from enum import Enum

from isthmus.config.model import ConnectOptions
from isthmus.errors import ConnectError
from isthmus.transports.base import Connector, Dial, Receiver, Transport
from isthmus.transports.keep_alive import IdleLimit
from isthmus.transports.poller import poller_of
from isthmus.transports.span.client import ClientSession
from isthmus.transports.span.limits import Budgets, FlowTerms
from isthmus.transports.span.offer import Offer
from isthmus.transports.span.request import Request

log = logging.getLogger(__name__)

Failed = Callable[[ConnectError], None]


class Peer(Enum):
    """What is known of the server."""

    UNKNOWN = "unknown"
    SPAN = "span"
    PLAIN = "plain"


class SpanConnector:
    """Connects ws and wss addresses, over `below`, as streams of a session where that can be."""

    def __init__(self, below: Connector, options: ConnectOptions, budgets: Budgets) -> None:
        self.address = below.address
        self.loop = asyncio.get_running_loop()
        self.poller = poller_of(self.loop)
        self.options = options
        self.budgets = budgets
        self.offer = Offer(below, options)
        self.idle = IdleLimit(str(self.address), options.websocket_ping_interval)
        self.peer = Peer.UNKNOWN
        self.downgrades = 0
        """How often a server that spoke span did not any more."""
        self.flow_terms: FlowTerms | None = None  # where it connects flows, too
        self._session: ClientSession | None = None
        self._going: set[ClientSession] = set()  # which take no new streams and wait for their last
        self._waiting: dict[Request, None] = {}  # for a carrier of the session
        self._closed = False

    def connect(self, receiver: Receiver, failed: Failed, *, origin: str = "", early: bool = False) -> Dial:
        return self.begin(Request(self, receiver, failed, origin, early))

    def begin(self, request: Request) -> Request:
        """Begin a connect, of a stream or a flow, and return it."""
        request.begin()
        return request

    def close(self) -> None:
        self._closed = True
        self._tell_waiting(ConnectError(f"{self.address}: the gateway is stopping", status=503))
        for session in (*self._going, self._session):
            if session is not None:
                session.stop()
        self.offer.below.close()

    def start(self, request: Request) -> None:
        """A connect begins."""
        session = self._session
        if session is not None and session.is_ready():
            request.open(session)
        elif self.peer is Peer.PLAIN and session is None:
            self._dial_for(request)
        else:
            self._wait(request).dial_now()
            request.limit(self.options.connect_timeout)  # behind that of the dial, which knows more to say

    def _wait(self, request: Request) -> ClientSession:
        """Have a connect wait for a carrier of the session, which is returned."""
        self._waiting[request] = None
        if self._session is None:
            self._session = ClientSession(self)
        return self._session

    def _dial_for(self, request: Request) -> None:
        """Open a WebSocket for one connect alone; should the server speak span now, it founds a session."""

        def opened(below: Transport, subprotocol: str | None, rest: bytearray) -> None:
            if subprotocol is None:
                request.use_plain(below, rest)
            else:
                request.dial = None
                if self._session is not None and not self._session.missing:
                    below.abort()  # another connect has found the same at the same time
                    self.start(request)
                    return
                self._wait(request).take(below, rest)
                request.limit(self.options.connect_timeout)

        request.dial = self.offer.dial(opened, request.fail)

    @property
    def spoke_span(self) -> bool:
        """Whether the server is known to speak span."""
        return self.peer is Peer.SPAN

    @property
    def waiting(self) -> bool:
        """Whether anybody waits for a carrier."""
        return bool(self._waiting)

    def forget(self, request: Request) -> None:
        """A connect waits no more."""
        if self._waiting:
            self._waiting.pop(request, None)

    # --- from the session

    def established(self, session: ClientSession) -> None:
        """A carrier lives: open what waits."""
        if self.peer is not Peer.SPAN:
            self.peer = Peer.SPAN
            log.info("%s: streams outlive their WebSocket (span) from now on", self.address)
        if session is not self._session:
            return  # it has its carrier back for the streams it has
        waiting, self._waiting = self._waiting, {}
        for request in waiting:
            request.open(session)

    def plain(self, below: Transport, rest: bytearray) -> None:
        """The server speaks no span: the WebSocket that was opened is for the first who waits."""
        if self.offer.required:
            below.abort()
            self._tell_waiting(self.offer.no_span())
            return
        if self.peer is Peer.SPAN:
            self.downgrades += 1
            log.warning(
                "%s: the server does not speak span any more; connections end with their WebSocket",
                self.address,
            )
        elif self.peer is Peer.UNKNOWN:
            log.info("%s: the server speaks no span; each connection has its own WebSocket", self.address)
        self.peer = Peer.PLAIN
        waiting, self._waiting = list(self._waiting), {}
        if not waiting:
            below.close()
            return
        waiting[0].use_plain(below, rest)
        for request in waiting[1:]:
            request.unlimited()
            self._dial_for(request)

    def failed(self, session: ClientSession, error: ConnectError) -> None:
        """No carrier could be opened: tell who waits for it."""
        if session is self._session:
            self._tell_waiting(error)

    def session_going(self, session: ClientSession) -> None:
        """A session takes no new streams: the next connect founds another."""
        self._going.add(session)
        if self._session is session:
            self._session = None

    def session_elsewhere(self, session: ClientSession) -> None:
        """Another node than the balancer chooses holds a session: its streams wait, but nobody else does."""
        if self._session is session and self._waiting:
            self._going.add(session)
            self._session = ClientSession(self)
            session.session.go_away()
            self._session.dial_now()

    def session_over(self, session: ClientSession) -> None:
        """A session has ended; those who wait get the next one."""
        self._going.discard(session)
        if self._session is session:
            self._session = None
            if self._waiting and not self._closed:
                self._session = ClientSession(self)
                self._session.dial_now()

    def _tell_waiting(self, error: ConnectError) -> None:
        waiting, self._waiting = self._waiting, {}
        for request in waiting:
            request.fail(error)
