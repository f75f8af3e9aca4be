"""What drives one span session on the event loop: its timer, and the way to its streams' transports.

Both roles have it: `client` for each session that this side opens, `accept` for each that comes.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from typing import TYPE_CHECKING, Any

from isthmus.span.carrier import Carrier
from isthmus.span.flow import Flow
from isthmus.span.frames import Code
from isthmus.span.session import Handler, Session
from isthmus.span.stream import Stream
from isthmus.transports.poller import poller_of
from isthmus.transports.span.limits import FlowTerms
from isthmus.transports.span.stream import SpanStream
from isthmus.transports.span.websocket import CarrierWebSocket
from isthmus.uri import Address
from isthmus.websocket.octets import Octets

if TYPE_CHECKING:
    from isthmus.transports.span.flow import SpanFlow

log = logging.getLogger(__name__)

_EARLIER = 0.001
"""A timer is set anew only for a time that is earlier by this much, in seconds."""


class SessionDriver(Handler):
    """The `span.Handler` of one session. Derive from it for what a role does with new streams and ends."""

    session: Session
    """Set by whoever derives, before anything else."""

    def __init__(self, address: Address, flow_terms: FlowTerms | None = None) -> None:
        self.flow_terms = flow_terms
        self.loop = asyncio.get_running_loop()
        self.poller = poller_of(self.loop)
        self.address = address
        self.websockets: dict[Carrier, CarrierWebSocket] = {}
        self.peer = ""
        """Who is at the other end, as its last carrier said."""
        self._timer: asyncio.TimerHandle | None = None
        self._due = math.inf  # when the timer rings, by the monotonic clock

    def info(self, name: str) -> Any:
        """Return what the carriers' connections know, or None."""
        for websocket in self.websockets.values():
            return websocket.info(name)
        return None

    def stop(self) -> None:
        """End it, in order: the peer is told of each stream, so that it need not wait for its return."""
        session = self.session
        for stream in list(session.streams.values()):
            if not stream.over:
                session.reset(stream, Code.GOING)
                stream.owner.was_reset(Code.GOING, "")
        self.end_flows(Code.GOING)
        for websocket in list(self.websockets.values()):
            websocket.flush()
        session.end(Code.GOING, "the gateway is stopping")

    def end_flows(self, code: int) -> None:
        """End every flow: the peer is told, if there is a way, and so is whoever has it here."""
        flows = self.session.flows
        for flow in list(flows.table.values()):
            flows.end(flow, code)
            self.flow_ended(flow, code, "")

    # --- the timer

    def moved(self) -> None:
        """Something came or went: have the timer ring when the session next wants to be called."""
        session = self.session
        if session.over:
            self._stop_timer()
            return
        due = session.next_deadline()
        if due < self._due - _EARLIER:
            self._stop_timer()
            self._set_timer(due)

    def _set_timer(self, due: float) -> None:
        if due < math.inf:
            self._due = due
            self._timer = self.loop.call_later(max(0.0, due - time.monotonic()), self.ring)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._due = math.inf

    def ring(self) -> None:
        """It is time: let the session do what is due."""
        self._timer = None
        self._due = math.inf
        session = self.session
        if session.over:
            return
        now = time.monotonic()
        for websocket in list(self.websockets.values()):
            websocket.look_for_life(now)
        session.timeout(now)
        self.moved()

    # --- from the session (span.Handler)

    def stream_opened(self, stream: Stream) -> None:
        """A server's peer opens streams; a client's may not, in this version."""
        raise NotImplementedError

    def opened(self, stream: Stream) -> None:
        """Nothing waits for it: whoever does overrides this."""

    def data(self, stream: Stream, data: Octets) -> None:
        owner: SpanStream = stream.owner
        owner.deliver(data)

    def eof(self, stream: Stream) -> None:
        owner: SpanStream = stream.owner
        owner.end_input()

    def writable(self, stream: Stream) -> None:
        owner: SpanStream = stream.owner
        owner.may_write()

    def reset(self, stream: Stream, code: int, text: str) -> None:
        stream.owner.was_reset(code, text)

    def closed(self, stream: Stream) -> None:
        owner: SpanStream = stream.owner
        owner.was_closed()

    def flow_opened(self, flow: Flow) -> None:
        """As `stream_opened`."""
        raise NotImplementedError

    def datagrams(self, flow: Flow, datagrams: list[bytes]) -> None:
        owner: SpanFlow | None = flow.owner
        if owner is not None:
            owner.deliver(datagrams)

    def flow_ended(self, flow: Flow, code: int, text: str) -> None:
        if flow.owner is not None:
            flow.owner.was_ended(code, text)

    def datagrams_dropped(self, count: int) -> None:
        if self.flow_terms is not None:
            self.flow_terms.counters.dropped_late += count

    def carrier_going(self, carrier: Carrier, code: int, seconds: float) -> None:
        """The peer asks for another carrier; only a client opens carriers."""

    def going(self, code: int) -> None:
        """The peer takes no new streams."""

    def ended(self, code: int, text: str) -> None:
        self._stop_timer()

    # --- streams

    def stream_over(self, stream: SpanStream) -> None:
        """A stream's transport is done."""
