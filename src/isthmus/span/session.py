"""A session: streams that outlive the carriers they travel on (docs/span.md).

    application  ->  open, write, write_eof, reset, consumed, accept     ->  Session -> Carrier.data_to_send
    application  <-  Handler: data, eof, reset, writable, opened, closed <-  Session <- Carrier.receive

No input or output happens here and no clock is read: `now` is in seconds of any clock that does not go back,
and `next_deadline` says when to call `timeout`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

from isthmus.errors import SpanError
from isthmus.span import frames, resume
from isthmus.span.carrier import Carrier, CarrierHandler, Phase
from isthmus.span.counters import Counters
from isthmus.span.flow import Flow
from isthmus.span.flows import Flows
from isthmus.span.frames import Code, Goaway, Scope, Settings
from isthmus.span.handshake import ClientHandshake
from isthmus.span.limits import EARLY_DATA, MAXIMUM_AHEAD, Budget, Limits
from isthmus.span.opened import OpenedStreams
from isthmus.span.outbox import Outbox
from isthmus.span.receive_side import ReceiveSide
from isthmus.span.recent import RecentStreams
from isthmus.span.send_side import SendSide
from isthmus.span.stream import NEEDS_ACK, NEEDS_OPEN, NEEDS_OPENED, NEEDS_RESET, Stream
from isthmus.websocket.frames import Role
from isthmus.websocket.octets import Octets

_MAXIMUM_ID = 0xFFFFFFFF


class Handler:
    """What a session tells whoever owns its streams, and derives from this. A call may call the session back.

    Of each stream `reset` or `closed` is told, once, as the last; neither, if this side reset it.
    """

    __slots__ = ()

    def stream_opened(self, stream: Stream) -> None:
        """Take a stream of the peer: `accept` it, now or later, or `reset` it. `stream.origin` is told."""

    def opened(self, stream: Stream) -> None:
        """The peer accepted a stream of ours. Its data may come before."""

    def data(self, stream: Stream, data: Octets) -> None:
        """Take bytes; say `consumed` when they are gone. A view is valid until this call returns."""

    def eof(self, stream: Stream) -> None:
        """The peer's data has ended; ours may go on."""

    def writable(self, stream: Stream) -> None:
        """Go on writing, after `write` gave no room."""

    def reset(self, stream: Stream, code: int, text: str) -> None:
        """The stream is over, and bytes may be missing; `code` is a Code, or one of a newer peer."""

    def closed(self, stream: Stream) -> None:
        """The stream is over, and whole: both directions were received to their end."""

    def flow_opened(self, flow: Flow) -> None:
        """Take a flow of the peer: `accept` it, now or later, or `end` it. `flow.origin` is told."""

    def datagrams(self, flow: Flow, datagrams: list[bytes]) -> None:
        """Take datagrams, also of a flow of the peer that was not accepted yet."""

    def flow_ended(self, flow: Flow, code: int, text: str) -> None:
        """The peer has ended a flow, or the session has; not told, if this side ended it."""

    def datagrams_dropped(self, count: int) -> None:
        """So many datagrams of any flows were not sent; the counters tell why."""

    def carrier_going(self, carrier: Carrier, code: int, seconds: float) -> None:
        """The peer asks for another carrier in place of this one, which it closes after `seconds`."""

    def going(self, code: int) -> None:
        """The peer takes no new streams any more; open them in a new session."""

    def ended(self, code: int, text: str) -> None:
        """The session is over, after all its streams; this is told once, as the last."""


class Session:
    """One end of a session. A client makes it; a server's are made by `Sessions`.

    All carriers of a client are opened with `carrier_opened`. `budget`s may be shared between sessions.
    Attributes are for the engine's own modules, except `streams`, `carriers` (by slot), `counters`, `limits`,
    `peer` (its settings), `over`, `owner` and the identifiers, which may be read.
    """

    __slots__ = (
        "_deadline_grace",
        "_handshake_timeout",
        "_lowest",
        "_ping_deadline",
        "_round_trip",
        "acknowledge_within",
        "carriers",
        "counters",
        "epochs",
        "flows",
        "founder",
        "given_up",
        "going",
        "handler",
        "handshakes",
        "id",
        "in_order",
        "limits",
        "next_epoch",
        "next_stream",
        "now",
        "on_end",
        "opened",
        "opened_by_peer",
        "outbox",
        "over",
        "owner",
        "peer",
        "ping_after",
        "place",
        "random_bytes",
        "receive_budget",
        "recent",
        "resumes_left",
        "resumes_since",
        "role",
        "secret",
        "send_budget",
        "streams",
        "unanswered",
    )

    def __init__(
        self,
        role: Role,
        handler: Handler,
        now: float,
        limits: Limits | None = None,
        *,
        random_bytes: Callable[[int], bytes] = os.urandom,
        receive_budget: Budget | None = None,
        send_budget: Budget | None = None,
    ) -> None:
        self.role = role
        self.handler = handler
        self.limits = limits or Limits()
        self.random_bytes = random_bytes
        self.receive_budget = receive_budget or Budget(self.limits.receive_budget)
        self.send_budget = send_budget or Budget(self.limits.send_budget)
        self.acknowledge_within = self.limits.acknowledge_within
        self.ping_after = self.limits.ping_deadline / 2
        """After how many seconds in which nothing came a carrier is pinged."""
        self._handshake_timeout = self.limits.handshake_timeout
        self._ping_deadline = self.limits.ping_deadline
        self.counters = Counters()
        self.owner: Any = None
        self.now = now
        self.over = False
        self.going = False  # no new streams, and the end when the last has ended
        self.on_end: Callable[[Session], None] | None = None  # of the table that has this session
        # Who it is; empty on a client until WELCOME.
        self.id = b""
        self.secret = b""
        self.place = b""
        self.peer = Settings()
        # Carriers.
        self.carriers: dict[int, Carrier] = {}
        self.in_order: list[Carrier] = []  # the same, as they came
        self.handshakes: list[Carrier] = []  # of a client, not established yet
        self.founder: Carrier | None = None  # which has sent NEW
        self.given_up: set[int] = set()  # slots of a client that the server has to fence
        self.next_epoch = 1
        self.epochs: dict[int, int] = {}  # on a server: the last of each slot
        self.resumes_left = 0.0
        self.resumes_since = now
        self._deadline_grace = math.inf
        self._round_trip = 0.0
        # Streams.
        self.streams: dict[int, Stream] = {}
        self.recent = RecentStreams(self.streams)
        self.next_stream = 1 if role is Role.CLIENT else 2
        self.opened = OpenedStreams(2 if role is Role.CLIENT else 1)
        self.opened_by_peer = 0  # how many of the table
        self.unanswered: dict[int, Stream] = {}  # ours, without OPENED
        self._lowest = self.next_stream  # no stream below it is unanswered
        self.outbox = Outbox(self.in_order)
        self.flows = Flows(self)

    # --- for the application

    def open(self, origin: str = "") -> Stream:
        """Open a stream; data may be written at once.

        Raises SpanError: OVERLOAD at the limit of streams, GOING or EXPIRED where there are no new ones.
        """
        if self.over:
            raise SpanError(Code.EXPIRED, "the session has ended")
        if self.going:
            raise SpanError(Code.GOING, "the session takes no new streams")
        stream_id = self.next_stream
        most: int = self.peer.maximum_streams
        ahead = stream_id - self._lowest_unanswered()
        ours = len(self.streams) - self.opened_by_peer
        if most == 0:
            raise SpanError(Code.REFUSED, "the other gateway takes no streams here, only datagrams")
        if ours >= most or ahead >= MAXIMUM_AHEAD // 2 or stream_id + 2 > _MAXIMUM_ID:
            raise SpanError(Code.OVERLOAD, "the session has as many streams as it may have")
        self.next_stream += 2
        stream = self.add_stream(stream_id, True, EARLY_DATA)
        stream.origin = origin
        stream.receive.admit(self.now)
        self.unanswered[stream_id] = stream
        self.counters.opened_by_us += 1
        self.outbox.say(stream, NEEDS_OPEN)
        return stream

    def accept(self, stream: Stream) -> None:
        """Accept a stream that the peer opened; nothing happens if it is over."""
        if stream.over or stream.opened:
            return
        stream.opened = True
        stream.receive.admit(self.now)
        self.outbox.say(stream, NEEDS_OPENED)
        self.outbox.ready(stream)

    def write(self, stream: Stream, data: bytes | bytearray | memoryview) -> int:
        """Send `data`: return how many bytes more may be written; if not positive, wait for `writable`.

        Immutable bytes are kept as they are, anything else is copied. A stream that is over takes nothing.
        Raises RuntimeError after `write_eof`.
        """
        if stream.over:
            return 0
        if stream.send.fin:
            raise RuntimeError("write after write_eof")
        kept = data if type(data) is bytes else bytes(data)
        if kept:
            stream.send.write(kept)
            stream.charge()
            if stream.scheduler is None:
                self.outbox.ready(stream)
        room = stream.room()
        if room <= 0 and not stream.blocked:
            stream.blocked = True
            self.counters.writes_blocked += 1
        return room

    def write_eof(self, stream: Stream) -> None:
        """End our data; the peer's may go on. Nothing happens the second time."""
        if not stream.over and not stream.send.fin:
            stream.send.fin = True
            stream.blocked = False
            self.outbox.ready(stream)

    def consumed(self, stream: Stream, size: int) -> None:
        """Say that `size` bytes given to `Handler.data` are gone, so that the peer may send more.

        Raises ValueError for more than were given.
        """
        if stream.over:
            return
        told = stream.receive.consume(size, self.now, self._round_trip)
        if (told and stream.opened) or stream.receive.done():
            self.outbox.say(stream, NEEDS_ACK)

    def reset(self, stream: Stream, code: int = Code.CANCEL, text: str = "") -> None:
        """End both directions at once; the handler hears nothing more of the stream."""
        if stream.over:
            return
        stream.over = True
        self.outbox.remove(stream)
        self._drop_bytes(stream)
        stream.resetting = True
        stream.reset_code = int(code)
        stream.reset_text = text
        self.outbox.say(stream, NEEDS_RESET)  # also if OPEN did not go yet: no id is left out

    def end(self, code: int, text: str = "", *, tell: bool = True) -> None:
        """End the session: reset all streams, and close all carriers. Nothing happens the second time."""
        if self.over:
            return
        self.over = True
        self.outbox.clear()
        goaway = frames.goaway(Goaway(Scope.SESSION, max(0, self.opened.below - 2), int(code), 0))
        close = 1002 if code == Code.PROTOCOL else 1001 if code == Code.GOING else 1000
        for carrier in [*self.carriers.values(), *self.handshakes]:
            if tell and carrier.phase in (Phase.LIVE, Phase.EXCHANGE):
                carrier.send(goaway)
            carrier.close(close, text)
        for stream in list(self.streams.values()):
            if not stream.over:
                self.drop(stream, code, text)
        self.streams.clear()
        self.recent.clear()
        self.unanswered.clear()
        self.flows.clear(code, text)
        self._deadline_grace = math.inf
        self.counters.sessions_ended += 1
        if self.on_end is not None:
            self.on_end(self)
        self.handler.ended(int(code), text)

    def go_away(self, code: int = Code.GOING, deadline: float = 0.0) -> None:
        """Take no new streams, tell the peer so, and end after the last stream; `deadline` is only told."""
        if self.going or self.over:
            return
        self.going = True
        message = frames.goaway(Goaway(Scope.SESSION, self._last_taken(), int(code), round(deadline * 1000)))
        for carrier in self.carriers.values():
            carrier.send(message)
        self.end_if_done()

    def replace_carrier(self, carrier: Carrier, code: int = Code.GOING, deadline: float = 30.0) -> None:
        """Ask the peer for another carrier in place of this one within `deadline` seconds."""
        if carrier.phase == Phase.LIVE and not carrier.draining:
            carrier.draining = True
            carrier.send(frames.goaway(Goaway(Scope.CARRIER, 0, int(code), round(deadline * 1000))))

    # --- for the transport

    def carrier_opened(self, handler: CarrierHandler, now: float) -> Carrier:
        """Return the carrier of a WebSocket that a client has opened; it sends nothing before HELLO."""
        carrier = Carrier(handler, self.limits.maximum_message, now)
        carrier.session = self
        carrier.handshake = ClientHandshake(self, carrier)
        self.handshakes.append(carrier)
        return carrier

    def next_deadline(self) -> float:
        """Return when `timeout` has something to do, infinity for never."""
        handshake, ping = self._handshake_timeout, self._ping_deadline
        deadline = min(self._deadline_grace, self.outbox.acknowledge_at)
        others = len(self.in_order) > 1
        for carrier in self.in_order:
            deadline = min(deadline, carrier.next_deadline(handshake, ping))
            if others:
                stall = carrier.stalls_at()
                if stall < deadline and self.has_other(carrier):
                    deadline = stall
        for carrier in self.handshakes:
            deadline = min(deadline, carrier.next_deadline(handshake, ping))
        return deadline

    def timeout(self, now: float) -> None:
        """Do what is due: acknowledge, send PING, give carriers up, expire."""
        self.now = now
        self.outbox.flush(now)
        limits = self.limits
        for carrier in [*self.carriers.values(), *self.handshakes]:
            carrier.check(now, limits.handshake_timeout, limits.ping_deadline)
            if now >= carrier.stalls_at() and self.has_other(carrier):
                self._send_elsewhere(carrier)
        if now >= self._deadline_grace:
            self.end(Code.EXPIRED, "no carrier came back within the grace")

    def round_trip(self) -> float:
        """Return the shortest round trip of the carriers in seconds, 0 if none is known."""
        return self._round_trip

    # --- carriers; the rest of this class is for the engine's own modules

    def attach(self, carrier: Carrier, slot: int, epoch: int, *, exchange: bool) -> None:
        """Take a carrier in whose handshake is complete; with `exchange`, STATE comes first."""
        if carrier in self.handshakes:
            self.handshakes.remove(carrier)
        carrier.session = self
        carrier.handshake = None
        carrier.slot = slot
        carrier.epoch = epoch
        carrier.reader.handshaking = False
        carrier.phase = Phase.EXCHANGE if exchange else Phase.LIVE
        self.carriers[slot] = carrier
        self.in_order[:] = self.carriers.values()
        self.now = max(self.now, carrier.now)
        self._deadline_grace = math.inf
        self.measure()
        self.counters.carriers_opened += 1
        if exchange:
            for frame in resume.state_to_send(self):
                carrier.send(frame)
        self.flows.attached(carrier)
        carrier.handler.established()
        carrier.wake()

    def exchanged(self, carrier: Carrier) -> None:
        """Let a carrier live: both sides have said their STATE."""
        carrier.phase = Phase.LIVE
        for stream in list(self.streams.values()):
            self.outbox.ready(stream)
        if self.going:
            carrier.send(frames.goaway(Goaway(Scope.SESSION, self._last_taken(), Code.GOING, 0)))
        carrier.wake()

    def carrier_gone(self, carrier: Carrier) -> None:
        """Put back what was sent on a carrier that is lost or fenced."""
        slot = carrier.slot
        if self.carriers.get(slot) is not carrier:
            return
        del self.carriers[slot]
        self.in_order.remove(carrier)
        self.now = max(self.now, carrier.now)
        self.counters.carriers_lost += 1
        if self.over:
            return
        if self.role is Role.CLIENT:
            self.given_up.add(slot)
        if not self.carriers:
            self._deadline_grace = self.now + min(self.limits.grace, self.peer.grace / 1000)
        self.measure()
        self.outbox.lose(carrier)
        for stream in list(self.streams.values()):
            stream.send.lose(slot)
            if stream.answer_slot == slot:
                stream.answer_slot = -1
                if not stream.over and stream.opened:
                    self.outbox.say(stream, NEEDS_ACK)
            if stream.state_slot == slot:
                stream.state_slot = -1
                if stream.resetting:
                    self.outbox.say(stream, NEEDS_RESET)
                elif stream.opened and not stream.ours:
                    self.outbox.say(stream, NEEDS_OPENED)
                elif not stream.opened and stream.ours:
                    self.outbox.say(stream, NEEDS_OPEN)
            self.outbox.ready(stream)
        self.outbox.again()
        self.flows.lose(carrier)
        self.end_if_done()

    def _send_elsewhere(self, carrier: Carrier) -> None:
        """Put back what was sent on a carrier that is silent; what comes twice is dropped by the peer."""
        carrier.stalled = True
        self.counters.carriers_stalled += 1
        for stream in self.streams.values():
            carrier.pacing.forget(stream.send.lose(carrier.slot))
            self.outbox.ready(stream)
        self.outbox.again()
        self.flows.lose(carrier)

    def measure(self) -> None:
        """Find the shortest round trip."""
        known = [carrier.round_trip for carrier in self.carriers.values() if carrier.round_trip]
        self._round_trip = min(known, default=0.0)

    def free_slot(self, slots: int) -> int:
        """Return the lowest slot that is nobody's, -1 if all are taken."""
        taken = {*self.carriers, *self.given_up, *(carrier.slot for carrier in self.handshakes)}
        return next((slot for slot in range(slots) if slot not in taken), -1)

    def is_elsewhere(self, slot: int, carrier: Carrier) -> bool:
        """Whether another carrier than this has the slot and can send."""
        other = self.outbox.carrier(slot)
        return other is not None and other is not carrier

    def has_other(self, carrier: Carrier) -> bool:
        """Whether another carrier could send instead."""
        for each in self.in_order:
            if each is not carrier and each.phase is Phase.LIVE and not each.draining and not each.stalled:
                return True
        return False

    # --- streams

    def is_ours(self, stream_id: int) -> bool:
        """Whether this side opens streams of that parity."""
        return (stream_id ^ self.next_stream) & 1 == 0

    def add_stream(self, stream_id: int, ours: bool, limit: int) -> Stream:
        """Return a new stream of the table; `limit` is the peer's."""
        receive = ReceiveSide(self.receive_budget, self.limits.largest_window)
        stream = Stream(stream_id, ours, receive, SendSide(limit), self.send_budget)
        self.streams[stream_id] = stream
        if not ours:
            self.opened_by_peer += 1
        return stream

    def answered(self, stream: Stream) -> None:
        """Note that OPEN needs not be said again."""
        self.unanswered.pop(stream.id, None)
        stream.needs &= ~NEEDS_OPEN

    def _lowest_unanswered(self) -> int:
        """Return the lowest of our streams that is unanswered, or the next that is opened."""
        while self._lowest < self.next_stream and self._lowest not in self.unanswered:
            self._lowest += 2
        return self._lowest

    def drop(self, stream: Stream, code: int, text: str) -> None:
        """Remove a stream that the peer or the session has ended, and tell the application."""
        self._drop_bytes(stream)
        self._take_out(stream)
        self.handler.reset(stream, int(code), text)
        self.end_if_done()

    def forget(self, stream: Stream) -> None:
        """Remove a stream that is complete."""
        self._drop_bytes(stream)
        self._take_out(stream)
        self.handler.closed(stream)
        self.end_if_done()

    def remove(self, stream: Stream) -> None:
        """Remove a stream of which the application hears nothing more: its RESET was answered."""
        self._take_out(stream)
        self.end_if_done()

    def _drop_bytes(self, stream: Stream) -> None:
        for slot, size in stream.drop():
            carrier = self.carriers.get(slot)
            if carrier is not None:
                carrier.pacing.forget(size)

    def _take_out(self, stream: Stream) -> None:
        if self.streams.get(stream.id) is stream:
            del self.streams[stream.id]
            self.recent.forget(stream)
            if not stream.ours:
                self.opened_by_peer -= 1
        stream.over = True
        self.unanswered.pop(stream.id, None)
        self.outbox.remove(stream)

    def peer_is_going(self, last_stream: int, code: int) -> None:
        """Reset what the peer did not take, and open nothing more."""
        first = not self.going
        self.going = True
        for stream in list(self.unanswered.values()):
            if stream.id > last_stream and not stream.over:
                self.drop(stream, code, "the peer is stopping")
        if first and not self.over:
            self.handler.going(code)
        self.end_if_done()

    def _last_taken(self) -> int:
        above = self.opened.above()
        return above[-1] if above else max(0, self.opened.below - 2)

    def end_if_done(self) -> None:
        """End a session that takes nothing new and has nothing left."""
        if self.going and not self.streams and not self.flows.table and not self.over:
            self.end(Code.GOING, "the last stream has ended", tell=False)
