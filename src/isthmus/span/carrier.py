"""One carrier: its WebSocket messages in and out, whether it lives, and how fast it is.

phase       what goes on it
HANDSHAKE   HELLO, NEW, JOIN, RESUME, WELCOME, REFUSED
EXCHANGE    STATE of both sides, after RESUME
LIVE        everything else
CLOSED      nothing more; what is still to be sent says why
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Protocol

from isthmus import layer
from isthmus.errors import SpanError
from isthmus.span import incoming, outgoing
from isthmus.span.frames import LEAST_MAXIMUM_MESSAGE, Type, frame, wrong
from isthmus.span.limits import LEAST_DATA
from isthmus.span.message import Message
from isthmus.span.pacing import Pacing
from isthmus.span.reader import FrameReader, FrameSink
from isthmus.span.scheduler import Scheduler
from isthmus.span.stream import Stream
from isthmus.websocket.mask import Buffer

if TYPE_CHECKING:
    from isthmus.span.session import Session

SPARE_ANSWERS = 4_096  # beside two for each stream, when the peer does not read
_NEVER = math.inf
_ROUND_TRIP_EVERY = 1.0
_LEAST_STALL = 0.2
_ANSWER_WITHIN = 0.05  # what an ACK may wait at the peer, and a little more
_DATA_HEADER = 16


class Phase(IntEnum):
    """Where a carrier is; the table in the module's docstring says what goes on it there."""

    HANDSHAKE = 0
    EXCHANGE = 1
    LIVE = 2
    CLOSED = 3


_HANDSHAKE = Phase.HANDSHAKE
_EXCHANGE = Phase.EXCHANGE
_LIVE = Phase.LIVE
_CLOSED = Phase.CLOSED
# And plain integers.
_PING = int(Type.PING)
_PONG = int(Type.PONG)
_ARRIVED = int(Type.ARRIVED)


_message = Message(0)


class CarrierHandler(Protocol):
    """What a carrier tells the transport that drives it. None of these calls may come back into the engine,
    except `established`, which may use the session, and `output_now`."""

    def output_ready(self) -> None:
        """Call `data_to_send` soon, until it gives nothing: there is something to send.

        It is said once, and again after the next call to `data_to_send`.
        """

    def output_now(self) -> None:
        """Call `data_to_send` at once, until it gives nothing or the connection has enough: what is not taken
        now is dropped.
        """

    def established(self) -> None:
        """The carrier belongs to a session now (`carrier.session`)."""

    def refused(self, code: int, retry_after: float, text: str) -> None:
        """The server refused; LATER and ELSEWHERE ask to try again, after `retry_after` seconds."""

    def close(self, code: int, text: str) -> None:
        """Send what `data_to_send` still gives, then close the WebSocket with this close code."""


class Handshake(Protocol):
    """One side of section 4 and 6: takes frames until the carrier belongs to a session."""

    def frame_received(self, kind: int, payload: bytes) -> None:
        """Take a frame; raises SpanError."""

    def ended(self) -> None:
        """The carrier is gone before the handshake was complete."""


class Carrier(FrameSink):
    """One WebSocket of a session. Made by `Session.carrier_opened` or `Sessions.carrier_opened`."""

    __slots__ = (
        "_awake",
        "_ping_sent",
        "_pings",
        "_round_trip_at",
        "answers",
        "arrived",
        "arrived_told",
        "close_code",
        "control",
        "drained",
        "draining",
        "epoch",
        "handler",
        "handshake",
        "heard",
        "maximum_message",
        "now",
        "opened_at",
        "owner",
        "pacing",
        "peer_ended_tls",
        "pending",
        "phase",
        "pinged",
        "pong",
        "reader",
        "scheduler",
        "session",
        "slot",
        "stalled",
        "state",
        "tells_arrived",
    )

    def __init__(self, handler: CarrierHandler, maximum_message: int, now: float) -> None:
        self.handler = handler
        self.owner: Any = None
        self.session: Session | None = None
        self.handshake: Handshake | None = None
        self.reader = FrameReader(self, maximum_message=maximum_message)
        self.phase = Phase.HANDSHAKE
        self.slot = -1
        self.epoch = 0
        self.maximum_message = LEAST_MAXIMUM_MESSAGE  # of the peer
        self.peer_ended_tls = False  # the TLS of this carrier ends in the peer itself, as it says
        self.draining = False  # the peer or we asked not to use it for new data
        self.close_code: int | None = None
        self.control: deque[bytes] = deque()  # frames of the handshake, STATE, GOAWAY: few
        self.answers: OrderedDict[int, bytes] = OrderedDict()  # for streams that are forgotten
        self.pending: dict[Stream, None] = {}  # streams whose answers go here
        self.scheduler = Scheduler()  # of streams that have to stay here
        self.state = bytearray()  # the peer's STATE so far
        self.pong = b""
        self.arrived = 0  # bytes of DATA
        self.arrived_told = 0
        self.tells_arrived = False  # that has to be said
        self.now = now
        self.opened_at = now
        self.heard = now
        self.pinged = False  # since something was heard
        self.stalled = False  # silent, and what was sent here went elsewhere
        self.pacing = Pacing(now)
        self.drained = False  # there is nothing to send, but what came since the last message
        self._awake = False
        self._pings = 0
        self._ping_sent = 0.0
        self._round_trip_at = now

    @property
    def round_trip(self) -> float:
        """The smallest round trip of the last 10 s in seconds, 0 if unknown."""
        return self.pacing.round_trip

    @property
    def rate(self) -> float:
        """What this carrier moves, in bytes a second, 0 if unknown."""
        return self.pacing.rate

    @property
    def quiet(self) -> bool:
        """Whether nothing that was sent waits for an answer."""
        return not self.pinged and self.pacing.in_flight == 0

    # --- bytes in and out

    def receive(self, data: Buffer, final: bool, now: float, start: int = 0, size: int = -1) -> None:
        """Read the next piece of a binary message, `size` bytes of `data` from `start`, or all of it.

        `final` says that the message ends with it. `data` may be used again when this returns. Nothing is
        raised: a peer that breaks the protocol ends the session, or this carrier while it is in its
        handshake, and the handlers are told.
        """
        if self.phase is _CLOSED:
            return
        self.heard = now
        self.now = now
        self.pinged = False
        session = self.session
        if session is not None:
            session.now = now
            if self.stalled:
                self.stalled = False
                self.wake()
        arrived = self.arrived
        try:
            self.reader.receive(data, final, start, size)
        except SpanError as error:
            self.fail(error)
        if self.arrived != arrived and self.phase is _LIVE and now - self._round_trip_at > _ROUND_TRIP_EVERY:
            self.ping()
        session = self.session
        if session is not None:
            session.flows.deliver()

    def text_received(self, now: float) -> None:
        """Take note of a text message, which is an error."""
        self.now = now
        if self.phase != Phase.CLOSED:
            self.fail(wrong("a text message"))

    def alive(self, now: float) -> None:
        """Note a sign of life that is no message: the queue of the kernel has drained."""
        self.heard = now

    def data_to_send(self, budget: int, now: float) -> list[Buffer]:
        """Return the buffers of the next message, none if there is nothing to send.

        It is as `message_to_send` says. Write the buffers in order; they stay unchanged.
        """
        return self.message_to_send(budget, now).buffers()

    def message_to_send(self, budget: int, now: float) -> Message:
        """Return the next message, empty if there is nothing to send.

        A message has about `budget` bytes at most, never above what the peer takes; at least one frame goes,
        so that give no less than a few KiB. It is that of all carriers: it is over when one is asked for the
        next. `drained` says that it would be empty.
        """
        # Who is told that a stream is over may close a carrier, which asks for its last message.
        message = Message(0) if _message.growing else _message
        message.begin(min(max(budget, LEAST_DATA + _DATA_HEADER), self.maximum_message))
        message.growing = True
        try:
            self._fill(message, now)
        finally:
            message.growing = False
        return message

    def _fill(self, message: Message, now: float) -> None:
        self._awake = False
        session = self.session
        if session is not None:
            session.outbox.awake = False
        self.drained = False
        self.now = now
        control = self.control
        while control:
            if not message.add(control[0]):
                return
            control.popleft()
        if self.pong:
            message.add(frame(Type.PONG, 0, self.pong))
            self.pong = b""
        if self.phase is _LIVE or self.phase is _EXCHANGE:
            assert session is not None
            if now > session.now:
                session.now = now
            if outgoing.fill(session, self, message):
                self.pacing.limited = True
                self.drained = True

    def lost(self, now: float) -> None:
        """Note that the WebSocket ended, however it did; calling it again does nothing."""
        self.now = now
        if self.phase != Phase.CLOSED:
            self._gone()

    # --- the engine's own

    def wake(self) -> None:
        """Ask the transport to call `data_to_send`, unless it was asked."""
        if not self._awake:
            self._awake = True
            layer.wake(self.handler)

    def send(self, frame: bytes) -> None:
        """Queue a frame before everything else."""
        self.control.append(frame)
        self.wake()

    def answer(self, stream: int, frame: bytes) -> None:
        """Queue the answer to a frame of a stream that is forgotten, once for each stream.

        That of a flow has its id below 0.
        """
        assert self.session is not None
        self.answers[stream] = frame
        limits = self.session.limits
        if len(self.answers) > 2 * (limits.maximum_streams + limits.maximum_flows) + SPARE_ANSWERS:
            self.session.counters.carriers_flooded += 1
            self.close(1008, "the peer does not read the answers to what it asks")
        else:
            self.wake()

    def fail(self, error: SpanError) -> None:
        """End what a peer has broken: the session, or in the handshake only this carrier."""
        session = self.session
        if self.phase == Phase.HANDSHAKE or session is None:
            if session is not None:
                session.counters.handshakes_failed += 1
            self.close(1002, str(error))
        else:
            session.counters.protocol_errors += 1
            session.end(error.code, str(error))

    def close(self, code: int, text: str) -> None:
        """Give this carrier up."""
        if self.phase != Phase.CLOSED:
            self.close_code = code
            self._gone()
            self.handler.close(code, text)

    def _gone(self) -> None:
        before = self.phase
        self.phase = Phase.CLOSED
        self.reader.stop()
        if before == Phase.HANDSHAKE:
            if self.handshake is not None:
                self.handshake.ended()
        elif self.session is not None:
            self.session.carrier_gone(self)
        self.control.extend(self.answers.values())
        self.answers.clear()
        self.handshake = None

    # --- what the reader says

    def data_received(self, stream: int, offset: int, data: memoryview, start: int, size: int) -> None:
        """Take a piece of DATA; called by the reader."""
        if self.phase is not _LIVE:
            raise wrong("DATA before STATE")
        self.arrived += size
        incoming.data_received(self, stream, offset, data, start, size)

    def ack_received(self, stream: int, received: int, limit: int) -> None:
        """Take an ACK; called by the reader."""
        if self.phase is not _LIVE:
            raise wrong("ACK before STATE")
        incoming.ack_received(self, stream, received, limit)

    def datagram_received(self, flow: int, data: bytes) -> None:
        """Take a DATAGRAM; called by the reader."""
        if self.phase is not _LIVE:
            raise wrong("DATAGRAM before STATE")
        assert self.session is not None
        self.session.flows.datagram_received(self, flow, data)

    def frame_received(self, kind: int, stream: int, payload: bytes) -> None:
        """Take any other frame; called by the reader."""
        if self.phase is _HANDSHAKE:
            assert self.handshake is not None
            self.handshake.frame_received(kind, payload)
            return
        assert self.session is not None
        if kind == _PING:
            self.session.counters.pings_received += 1
            self.pong = payload
            self.wake()
        elif kind == _PONG:
            self._pong_received(payload)
        elif kind == _ARRIVED:
            if not self.pacing.arrived(int.from_bytes(payload, "big"), self.now):
                raise wrong("ARRIVED of what was not sent")
            self._moved()
        else:
            incoming.frame_received(self.session, self, kind, stream, payload)

    # --- life and speed

    def ping(self) -> None:
        """Send a PING, which also measures the round trip."""
        self._pings += 1
        self._ping_sent = self._round_trip_at = self.now
        self.pinged = True
        if self.session is not None:
            self.session.counters.pings_sent += 1
        self.send(frame(Type.PING, 0, self._pings.to_bytes(8, "big")))

    def ping_if_due(self, now: float) -> None:
        """Send a PING if the last went some time ago: nothing else tells whether datagrams arrive."""
        if now - self._round_trip_at > _ROUND_TRIP_EVERY:
            self.now = now
            self.ping()

    def _pong_received(self, payload: bytes) -> None:
        if payload == self._pings.to_bytes(8, "big"):
            self.measured_round_trip(self.now - self._ping_sent)

    def measured_round_trip(self, seconds: float) -> None:
        """Take a new measurement into account."""
        self.pacing.measured(seconds, self.now)
        if self.session is not None:
            self.session.measure()

    def next_deadline(self, handshake_timeout: float, ping_deadline: float) -> float:
        """Return when `check` has something to do."""
        if self.phase is _HANDSHAKE:
            return self.opened_at + handshake_timeout
        session = self.session
        if self.pinged or session is None:
            return self.heard + ping_deadline
        return self.heard + session.ping_after

    def check(self, now: float, handshake_timeout: float, ping_deadline: float) -> None:
        """Send a PING or give the carrier up, where it is time."""
        self.now = now
        if now < self.next_deadline(handshake_timeout, ping_deadline) or self.phase == Phase.CLOSED:
            return
        if self.phase == Phase.HANDSHAKE:
            if self.session is not None:
                self.session.counters.handshakes_failed += 1
            self.close(1002, f"no handshake within {handshake_timeout:g} s")
        elif self.pinged:
            assert self.session is not None
            self.session.counters.carriers_silent += 1
            self.close(1001, f"nothing came for {ping_deadline:g} s")
        else:
            self.ping()

    def stalls_at(self) -> float:
        """Return when what is in flight here, or a PING beside flows, has waited in silence for too long,
        infinity for never.
        """
        pacing = self.pacing
        if self.stalled or self.phase is not _LIVE:
            return _NEVER
        if pacing.in_flight:
            since = max(self.heard, pacing.flying_since)
        elif self.pinged and self.session is not None and len(self.session.flows.table):
            since = max(self.heard, self._ping_sent)
        else:
            return _NEVER
        return since + max(_LEAST_STALL, 2 * pacing.smoothed) + _ANSWER_WITHIN

    def exchanges(self) -> bool:
        """Whether the peer's STATE is still to come."""
        return self.phase is _EXCHANGE

    def is_live(self) -> bool:
        """Whether everything may go here."""
        return self.phase is _LIVE

    def good_for_flows(self) -> bool:
        """Whether datagrams may go here: they need not wait for the peer's STATE."""
        return (self.phase is _LIVE or self.phase is _EXCHANGE) and not self.draining and not self.stalled

    def delivered(self, size: int, now: float) -> None:
        """Note that so much of what went out here was acknowledged."""
        self.pacing.delivered(size, now)
        self.now = now
        self._moved()

    def _moved(self) -> None:
        """Less is in flight here: go on, and measure the way now and then."""
        pacing = self.pacing
        if pacing.held and not pacing.full():
            pacing.held = False
            self.wake()
        if pacing.probes() or self.now - self._round_trip_at > _ROUND_TRIP_EVERY:
            self.ping()
