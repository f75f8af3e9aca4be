"""One session that this side has opened: its carriers, and getting them back when they are lost.

Streams wait for a carrier to come back, as long as the grace lasts. Attempts are made after pauses with full
jitter; whoever newly connects has one made at once.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import ssl
import time
from typing import TYPE_CHECKING

from isthmus.errors import ConnectError
from isthmus.span import Carrier, Code, Flow
from isthmus.span.session import Session
from isthmus.span.stream import Stream
from isthmus.transports.base import Dial, Transport
from isthmus.transports.span.admitted import RENEWAL_SECONDS
from isthmus.transports.span.climb import Climb
from isthmus.transports.span.flow import SpanFlow
from isthmus.transports.span.limits import limits_of
from isthmus.transports.span.session import SessionDriver
from isthmus.transports.span.stream import SpanStream
from isthmus.transports.span.websocket import CarrierWebSocket
from isthmus.websocket.connection import UNMASKED
from isthmus.websocket.frames import CloseCode, Role
from isthmus.websocket.handshake import HandshakeError

if TYPE_CHECKING:
    from isthmus.transports.span.connect import SpanConnector

log = logging.getLogger(__name__)

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 5.0
LONGEST_PAUSE_WITHOUT_STREAMS = 30.0
"""Seconds between attempts to get a carrier back: full jitter below a bound that doubles (docs/span.md 6)."""
DIALS_APART = 0.5
"""Seconds between two attempts that new connects have made at least."""
OFTEN_ELSEWHERE = 10
"""So many answers of other nodes in a row are no bad luck: pauses grow from then on."""
UNHEARD = 2
"""So many WebSockets in a row that open and bring nothing are taken for blocked ones."""
AUTOMATIC_CARRIERS = 4
SATURATED_SECONDS = 2.0
"""How long data has to wait for carriers until another one is opened, where their number is automatic."""
JUDGED_AFTER = 3.0
"""Seconds after which another carrier must have made the whole faster."""
WORTH_IT = 1.2
_FAR_AWAY = 0.005
"""Seconds of round trip below which more carriers bring nothing."""


class ClientSession(SessionDriver):
    """One session with the server, and the WebSockets that it is opened on."""

    def __init__(self, connector: SpanConnector) -> None:
        super().__init__(connector.address, connector.flow_terms)
        self._connector = connector
        self.offer = connector.offer
        self._climb = Climb(self)
        options, budgets = connector.options, connector.budgets
        self.session = Session(
            Role.CLIENT,
            self,
            time.monotonic(),
            limits_of(
                options,
                handshake_timeout=min(10.0, options.connect_timeout / 2),
                flows=connector.flow_terms,
            ),
            receive_budget=budgets.receive,
            send_budget=budgets.send,
        )
        self._ping_in_time()
        self._dial: Dial | None = None
        self._dialled_at = -1e9
        self._retry: asyncio.TimerHandle | None = None
        self._unheard = 0  # carriers in a row that were opened, and nothing came
        self._failures = 0  # attempts in a row
        self._refused: CarrierWebSocket | None = None  # the last one that was, which is an answer
        self._elsewhere = 0  # of them, how many another node has answered
        self._denied_since = math.inf  # that the server does not take who we are
        self._retry_after = 0.0  # what the server asked for
        self._more = 0  # carriers beyond the first, where their number is automatic
        self._saturated_since = math.inf
        self._judged_at = -math.inf  # when it is seen whether the last of them brought anything
        self._rate_before = 0.0
        self._enough = False  # one more brought nothing
        self._one_for_flows = 0  # a carrier beside those of the streams, where their number is automatic

    def is_ready(self) -> bool:
        """Whether a stream can be opened on it now."""
        session = self.session
        return not session.over and not session.going and bool(session.carriers)

    @property
    def missing(self) -> bool:
        """Whether another WebSocket is of use."""
        return self._missing()

    def open(self, origin: str) -> SpanStream:
        """Open a stream. Raises SpanError where there may be no more."""
        stream = SpanStream(self, self.session, self.session.open(origin))
        if self.session.flows.table:
            self._open_one_for_flows()
        return stream

    def open_flow(self, origin: str) -> SpanFlow:
        """Open a flow. Raises SpanError where there may be no more."""
        flow = SpanFlow(self, self.session.flows.open(origin))
        self._open_one_for_flows()
        return flow

    def _ping_in_time(self) -> None:
        """Have carriers pinged before what is on the way takes them for idle."""
        interval = self._connector.idle.interval
        if interval:
            self.session.ping_after = min(self._connector.options.span_ping_deadline / 2, interval)

    def stop(self) -> None:
        self._stop_dialling()
        self._climb.stop()
        super().stop()

    # --- opening carriers

    def dial_now(self) -> None:
        """Open a carrier for somebody who waits: at once, at most twice a second."""
        if self._dial is not None or self.session.handshakes:
            return
        wait = self._dialled_at + DIALS_APART - time.monotonic()
        if wait > 0:
            if self._retry is None or self._retry.when() - self.loop.time() > wait:
                self._retry_in(wait)
        else:
            self._open_carrier()

    def take(self, below: Transport, rest: bytearray) -> None:
        """Use a WebSocket that was opened with the subprotocol."""
        session = self.session
        if session.over:
            below.abort()
            return
        websocket = CarrierWebSocket(below, Role.CLIENT, session.limits.maximum_message, self)
        carrier = session.carrier_opened(websocket, time.monotonic())
        self.websockets[carrier] = websocket
        websocket.driver = self
        self.peer = websocket.peer
        if self._connector.offer.context is not None:
            websocket.mask_with(UNMASKED)  # inside TLS there is nobody to protect from what it says
        websocket.begin(carrier, rest)
        self.moved()

    def _open_carrier(self) -> None:
        self._cancel_retry()
        self._dialled_at = time.monotonic()
        options = self._connector.options
        # Streams wait: a way that swallows the handshake is to be noticed as soon as one that falls silent.
        seconds = options.span_ping_deadline if self.session.id else options.connect_timeout
        self._dial = self._connector.offer.dial(self._opened, self._failed, seconds)

    def _opened(self, below: Transport, subprotocol: str | None, rest: bytearray) -> None:
        self._dial = None
        self._denied_since = math.inf
        if subprotocol is not None:
            self.take(below, rest)
            return
        self._connector.plain(below, rest)
        if not self.session.id:
            self._give_up()
        elif not self.session.over:
            self._again()

    def _failed(self, error: ConnectError) -> None:
        self._dial = None
        self._connector.failed(self, error)
        if self.session.over:
            return
        if not self.session.id:
            self._give_up()
            return
        wrong_key = isinstance(error.__cause__, ssl.SSLCertVerificationError)
        log.log(logging.WARNING if wrong_key else logging.DEBUG, "%s: no carrier: %s", self.address, error)
        if isinstance(error.__cause__, HandshakeError) and error.__cause__.status in (401, 403):
            now = time.monotonic()
            self._denied_since = min(self._denied_since, now)
            if now - self._denied_since >= RENEWAL_SECONDS:
                self._stop_dialling()
                self.session.end(Code.EXPIRED, "the server does not take this gateway's login any more")
                return
        self._again()

    def _give_up(self) -> None:
        """A session that was never founded has nothing to wait for."""
        self._stop_dialling()
        self.session.end(Code.CANCEL)

    def _again(self) -> None:
        """Open a carrier after a while."""
        live = self.session.streams or self.session.flows.table
        longest = LONGEST_PAUSE if live else LONGEST_PAUSE_WITHOUT_STREAMS
        pause = random.uniform(0, min(longest, FIRST_PAUSE * 2 ** min(self._failures, 10)))
        self._failures += 1
        self._retry_in(max(pause, self._retry_after))
        self._retry_after = 0.0

    def _retry_in(self, seconds: float) -> None:
        self._cancel_retry()
        self._retry = self.loop.call_later(seconds, self._retry_now)

    def _retry_now(self) -> None:
        self._retry = None
        if self._dial is None and not self.session.over and self._missing():
            self._open_carrier()

    def _cancel_retry(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    def _stop_dialling(self) -> None:
        self._cancel_retry()
        dial, self._dial = self._dial, None
        if dial is not None:
            dial.cancel()

    def _missing(self) -> bool:
        """Whether there are fewer carriers than there should be."""
        session = self.session
        usable = sum(1 for carrier in session.carriers.values() if not carrier.draining)
        return usable + len(session.handshakes) < self._wanted()

    def _wanted(self) -> int:
        return self._connector.options.span_carriers or 1 + self._more + self._one_for_flows

    def _open_one_for_flows(self) -> None:
        """Where a session has streams and flows, datagrams do not queue behind streams on one connection."""
        session = self.session
        if (
            not self._connector.options.span_carriers
            and not self._one_for_flows
            and session.streams
            and session.flows.table
        ):
            self._one_for_flows = 1
            log.info("%s: streams and datagrams meet; opening a carrier for datagrams", self.address)
            if self._dial is None and self._retry is None and self._missing():
                self._open_carrier()

    def ring(self) -> None:
        super().ring()
        if not self._connector.options.span_carriers and not self.session.over:
            self._consider_more(time.monotonic())

    def _consider_more(self, now: float) -> None:
        """Open another carrier where they are the limit, and give it up again where it brought nothing.

        Beside flows none is tried: for a while it would only make a queue longer that datagrams wait in.
        """
        session = self.session
        rate = sum(carrier.rate for carrier in session.carriers.values())
        if now < self._judged_at:
            return
        if self._judged_at > -math.inf:
            self._judged_at = -math.inf
            if rate < self._rate_before * WORTH_IT and len(session.carriers) > 1:
                # They share what limits them: another only makes its queue longer.
                self._more -= 1
                self._enough = True
                last = max(slot for slot in session.carriers if slot != session.flows.slot)
                session.carriers[last].close(CloseCode.NORMAL, "one carrier is enough")
        if self._enough or self._more + 1 >= AUTOMATIC_CARRIERS or session.flows.table:
            return
        if len(session.outbox.scheduler) == 0 or session.round_trip() < _FAR_AWAY:
            self._saturated_since = math.inf
        elif self._saturated_since == math.inf:
            self._saturated_since = now
        elif now - self._saturated_since > SATURATED_SECONDS:
            self._saturated_since = math.inf
            self._rate_before, self._judged_at = rate, now + JUDGED_AFTER
            self._more += 1
            log.info("%s: the carriers are the limit; opening carrier %d", self.address, self._more + 1)
            if self._dial is None and self._missing():
                self._open_carrier()

    # --- from carriers (CarrierOwner)

    def carrier_established(self, websocket: CarrierWebSocket) -> None:
        self._failures = self._elsewhere = self._unheard = 0
        self._connector.offer.borne()
        agreed = self._connector.options.websocket_mask == "agreed" and self.address.kind.secure
        if agreed and websocket.carrier is not None and websocket.carrier.peer_ended_tls:
            websocket.mask_with(UNMASKED)
        self.moved()
        self._climb.established(websocket)
        self._connector.established(self)
        if self._missing() and self._dial is None:
            self._open_carrier()

    def carrier_refused(self, websocket: CarrierWebSocket, code: int, retry_after: float, text: str) -> None:
        log.info("%s: a carrier was refused: %s", self.address, text)
        self._refused = websocket
        self._retry_after = retry_after
        if code == Code.ELSEWHERE:
            self._elsewhere += 1
            if self._elsewhere < OFTEN_ELSEWHERE:
                self._failures = 0  # the balancer may choose another node the next time
            if self._elsewhere > 1:
                self.end_flows(Code.ELSEWHERE)  # they lose less by another session than by waiting
                self._connector.session_elsewhere(self)
        elif not self.session.id:
            self._connector.failed(
                self, ConnectError(f"Unable to connect to {self.address}: {text}", status=503)
            )

    def carrier_lost(self, websocket: CarrierWebSocket, reason: str) -> None:
        carrier = websocket.carrier
        if carrier is not None:
            self.websockets.pop(carrier, None)
        session = self.session
        if session.over:
            return
        if websocket.cut and carrier is not None and carrier.quiet:
            now = time.monotonic()
            if self._connector.idle.cut(now - carrier.heard, now):
                self._ping_in_time()
        if websocket is not self._refused and carrier is not None and carrier.heard == carrier.opened_at:
            self._unheard += 1
            if self._unheard >= UNHEARD:
                self.offer.suspect(websocket.info("emulation"))
        if not session.id and not session.handshakes:
            # It never said HELLO, or took no session.
            offer = self._connector.offer
            if offer.required:
                self._connector.failed(self, offer.no_span())
            elif self._speaks_no_span(websocket):
                offer.withdraw("the server chose span and does not speak it")
                if self._connector.waiting:
                    self._open_carrier()
                    return
            self._connector.failed(self, ConnectError(f"Unable to connect to {self.address}: {reason}"))
            self._give_up()
            return
        if session.carriers:
            log.info("%s: lost one of %d carriers: %s", self.address, len(session.carriers) + 1, reason)
        else:
            log.info(
                "%s: lost the carrier of %d streams: %s; connecting again",
                self.address,
                len(session.streams),
                reason,
            )
        self.moved()
        if self._dial is None and self._retry is None and self._missing():
            self._again()

    def _speaks_no_span(self, websocket: CarrierWebSocket) -> bool:
        """Whether a server that chose span has shown that it only echoes what is offered."""
        carrier, connector = websocket.carrier, self._connector
        if carrier is not None and carrier.close_code == CloseCode.PROTOCOL_ERROR:
            return True
        said_something = websocket.heard or connector.spoke_span
        return not said_something and connector.offer.ended_in_silence(websocket.cut)

    # --- from the session

    def opened(self, stream: Stream) -> None:
        owner: SpanStream = stream.owner
        request = owner.request
        if request is not None:
            owner.request = None
            request.answered()

    def stream_opened(self, stream: Stream) -> None:
        # Streams go from client to server in this version of isthmus.
        self.session.reset(stream, Code.REFUSED)

    def flow_opened(self, flow: Flow) -> None:
        self.session.flows.end(flow, Code.REFUSED)

    def carrier_going(self, carrier: Carrier, code: int, seconds: float) -> None:
        if self._dial is None and self._missing():
            self._open_carrier()

    def going(self, code: int) -> None:
        log.info("%s: the other gateway takes no new connections on this session", self.address)
        self._connector.session_going(self)

    def ended(self, code: int, text: str) -> None:
        super().ended(code, text)
        self._stop_dialling()
        self._climb.stop()
        if code == Code.PROTOCOL:
            log.error("%s: the session ended: %s", self.address, text)
        elif code != Code.GOING and self.session.id:
            log.warning("%s: the session ended: %s", self.address, text)
        self._connector.session_over(self)
