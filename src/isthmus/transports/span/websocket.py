"""The WebSocket of one span carrier: what drives a `span.Carrier` over a connection (docs/span.md section 2).

    connection -> data_received -> websocket.Connection -> message_part -> Carrier.receive -> streams
    streams -> output_ready -> flush, once in each round of the loop -> Carrier.message_to_send -> connection

All that the streams of a session have written in one round of the loop leaves in as few messages as may be.
Little is left waiting in the socket, so that what is urgent does not queue behind what is not: when the
kernel has enough, `message_to_send` is not asked until it wants more.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Protocol

from isthmus import layer
from isthmus.span.carrier import Carrier
from isthmus.span.message import Message
from isthmus.transports.base import Transport, peer_name
from isthmus.transports.poller import poller_of
from isthmus.transports.span.farewells import farewells_of
from isthmus.transports.stream_socket import keep_queue_short
from isthmus.transports.tcp import in_flight
from isthmus.websocket.connection import Connection, Handler
from isthmus.websocket.frames import CloseCode, ProtocolError, Role

if TYPE_CHECKING:
    from isthmus.transports.span.session import SessionDriver

log = logging.getLogger(__name__)

NOT_SENT_LOW_WATER = 128 * 1024
"""Bytes the kernel may hold that it has not sent yet (TCP_NOTSENT_LOWAT, tcp(7)). As many as a frame, if that
is more: what goes in 10 ms is no queue, and to cut it into smaller pieces costs time.
"""
_LEAST_QUEUE = NOT_SENT_LOW_WATER  # for the inner loop, where it is an integer of C
WRITE_LIMIT = 16 * 1024
"""Bytes the connection may hold that the kernel has not taken, before it says that it is full."""
NOT_SENT_BESIDE_FLOWS = 32 * 1024
"""The same, once datagrams have gone on it."""
LEAST_MESSAGE = 16 * 1024
LARGEST_OF_DATAGRAMS = 64 * 1024
"""A message grows up to this where datagrams wait for it."""
SMALL = 1_024
FAREWELL_SECONDS = 5.0
"""How long a carrier that is closed in order may take until it is cut."""


class CarrierOwner(Protocol):
    """Who is told what becomes of a carrier's WebSocket."""

    def carrier_established(self, websocket: CarrierWebSocket) -> None:
        """It belongs to a session now: `websocket.carrier.session`."""

    def carrier_refused(self, websocket: CarrierWebSocket, code: int, retry_after: float, text: str) -> None:
        """The server refused it; `carrier_lost` follows. `retry_after` is in seconds."""

    def carrier_lost(self, websocket: CarrierWebSocket, reason: str) -> None:
        """It is over. Told once, as the last."""


class CarrierWebSocket(Handler):
    """One open WebSocket as a carrier. It is the receiver of `below` and the handler of its `Carrier`.

    `maximum_message` is the largest message, in bytes, that the peer may send. `begin` starts it.
    """

    __slots__ = (
        "_below",
        "_blocked",
        "_close_with",
        "_connection",
        "_farewell",
        "_filling",
        "_flush_asked",
        "_fresh",
        "_loop",
        "_lost",
        "_low_water",
        "_mask_key",
        "_owner",
        "_poller",
        "_queued",
        "_written",
        "carrier",
        "cut",
        "driver",
        "heard",
        "peer",
    )

    def __init__(self, below: Transport, role: Role, maximum_message: int, owner: CarrierOwner) -> None:
        self._below = below
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._poller = poller_of(self._loop)
        self._connection = Connection(role, self, maximum_message_size=maximum_message)
        self.carrier: Carrier | None = None
        self.driver: SessionDriver | None = None  # of its session, once it has one
        self.peer = "unknown"
        """Who is at the other end, for the log."""
        self.cut = False
        """Whether it ended without Close."""
        self.heard = False
        """Whether any message came."""
        self._mask_key: bytes | None = None  # None: a fresh one for each message
        self._blocked = False  # the connection has enough
        self._fresh = False  # datagrams have gone on it
        self._low_water = 0  # what the kernel may hold
        self._flush_asked = False
        self._filling = False  # the carrier is asked for a message
        self._close_with: tuple[int, str] | None = None  # what to close with, once that is sent
        self._lost = False
        self._queued = 0  # bytes in the queue to the peer when it was last looked at
        self._written = 0  # bytes that were added to it since
        self._farewell: asyncio.TimerHandle | None = None

    def begin(self, carrier: Carrier, rest: bytearray | None = None) -> None:
        """Drive `carrier` from now on; `rest` is what the peer has sent already."""
        self.carrier = carrier
        self.peer = peer_name(self._below.info("peername"))
        self._below.set_receiver(self)
        self._below.set_write_limit(WRITE_LIMIT)
        self._set_low_water(NOT_SENT_LOW_WATER)
        self._below.resume_reading()
        if rest:
            self.data_received(memoryview(rest))

    def mask_with(self, key: bytes | None) -> None:
        """Mask with this key from now on, None for a fresh one each time (a client's)."""
        self._mask_key = key

    @property
    def over(self) -> bool:
        """Whether it is over, as its owner was told."""
        return self._lost

    def info(self, name: str) -> Any:
        """Return what the connection knows, as `Transport.info` does."""
        return self._below.info(name)

    def look_for_life(self, now: float) -> None:
        """Take it as a sign of life if something has left the queue to the peer, ours and the kernel's.

        An empty one is none: what was in it has arrived somewhere, and is to be answered in time.
        """
        queued = self._below.unsent() + in_flight(self._below.info("socket"))
        if 0 < queued < self._queued + self._written and self.carrier is not None:
            self.carrier.alive(now)
        self._queued = queued
        self._written = 0

    # --- from below

    def connection_made(self, transport: Transport) -> None:
        """Not called: a carrier begins on a connection that is there."""

    def data_received(self, data: memoryview) -> None:
        if self._lost:
            return
        try:
            self._connection.receive(data)
        except ProtocolError as error:
            log.info("%s: %s; closing with %d", self.peer, error, error.code)
            self._say_farewell(self._connection.fail(error))
            self._lose(str(error))
            return
        if self.driver is not None and not self._flush_asked:
            self.driver.moved()

    def eof_received(self) -> None:
        self.cut = not self._lost
        self._say_farewell(b"")
        self._lose("the WebSocket connection ended without Close")

    def pause_writing(self) -> None:
        self._blocked = True
        self._connection.pause_control()

    def resume_writing(self) -> None:
        self._blocked = False
        self._connection.resume_control()
        if self.carrier is not None and not self._lost:
            self.carrier.alive(self._poller.now())
            self.flush()

    def connection_lost(self, error: Exception | None) -> None:
        self._connection.transport_lost()
        if self._farewell is not None:
            self._farewell.cancel()
            self._farewell = None
            farewells_of(self._loop).end(self)
        self.cut = self.cut or not self._lost
        self._lose("the WebSocket connection ended" if error is None else str(error))

    # --- from the WebSocket connection (connection.Handler)

    def message_part(self, data: memoryview, start: int, size: int, final: bool) -> None:
        carrier = self.carrier
        if carrier is None or self._lost:
            return
        self.heard = True
        if self._connection.reader.text:
            carrier.text_received(self._poller.now())
        else:
            carrier.receive(data, final, self._poller.now(), start, size)

    def pong_received(self, payload: bytes) -> None:
        """Span has pings of its own."""

    def close_received(self, code: int | None, reason: str) -> None:
        if self._connection.may_send:
            self._say_farewell(self._connection.send_close(CloseCode.NORMAL))
        else:
            self._say_farewell(b"")
        self._lose(f"the peer closed the WebSocket with {code or 'no code'}{f': {reason}' if reason else ''}")

    def control(self, buffer: bytes) -> None:
        self._below.write(buffer)

    # --- from the carrier (span.CarrierHandler)

    def output_ready(self) -> None:
        if not self._flush_asked and not self._lost:
            self._flush_asked = True
            self._poller.tell_after_round(self)

    def output_now(self) -> None:
        if not self._blocked and not self._filling:
            asked = self._flush_asked
            self.flush()
            self._flush_asked = asked  # the round still has its end

    def established(self) -> None:
        self._owner.carrier_established(self)

    def refused(self, code: int, retry_after: float, text: str) -> None:
        self._owner.carrier_refused(self, code, retry_after, text)

    def close(self, code: int, text: str) -> None:
        if self._lost:
            return
        if self._filling:
            self._close_with = code, text
            return
        if code == CloseCode.GOING_AWAY and self._silent():
            self._below.abort()  # nobody is there to read a farewell
            self._lose(text)
            return
        self._flush_asked = False
        self.flush()
        if not self._lost and self._connection.may_send:
            reason = text.encode()[:120].decode(errors="ignore")
            self._say_farewell(self._connection.send_close(code, reason))
        self._lose(text or "closed")

    # --- sending

    def round_over(self) -> None:
        self.flush()

    def flush(self) -> None:
        """Send what the carrier has, until it has nothing or the connection has enough."""
        self._flush_asked = False
        carrier = self.carrier
        if carrier is None or self._lost:
            return
        if not self._fresh:
            self._follow_frames(carrier.pacing.frame_size)
        while not self._blocked:
            room = carrier.pacing.frame_size + SMALL
            session = carrier.session
            if session is not None and session.flows.waiting:
                waiting = session.flows.waiting + SMALL
                room = max(room, min(waiting, LARGEST_OF_DATAGRAMS))
                if not self._fresh:
                    self._fresh = True
                    self._set_low_water(NOT_SENT_BESIDE_FLOWS)
            self._filling = True
            try:
                message = carrier.message_to_send(
                    room if room > LEAST_MESSAGE else LEAST_MESSAGE, self._poller.now()
                )
            finally:
                self._filling = False
            if message.size == 0 or self._lost or not self._connection.may_send:
                break
            self._send(message)
            if carrier.drained:
                break
        if self._close_with is not None:
            code, text = self._close_with
            self._close_with = None
            self.close(code, text)
        if self.driver is not None:
            self.driver.moved()

    def _send(self, message: Message) -> None:
        if message.is_gathered():
            frame = self._connection.send_gathered(message.gathered, message.used, self._mask_key)
            self._written += len(frame)
            layer.send(self._below, frame)
        else:
            buffers = self._connection.send_message(message.buffers(), self._mask_key)
            for buffer in buffers:
                self._written += len(buffer)
            self._below.writelines(buffers)

    def _follow_frames(self, size: int) -> None:
        """Have the kernel's queue hold a frame of `size` bytes, but not much more."""
        if size < _LEAST_QUEUE:
            size = _LEAST_QUEUE
        if size > self._low_water or size * 2 <= self._low_water:
            self._set_low_water(size)

    def _set_low_water(self, size: int) -> None:
        self._low_water = size
        keep_queue_short(self._below.info("socket"), size)

    # --- ending

    def _silent(self) -> bool:
        """Whether this carrier is given up, not its session, because nobody answers."""
        carrier = self.carrier
        if carrier is None or carrier.session is None:
            return False
        return carrier.pinged and not carrier.session.over

    def _say_farewell(self, close: bytes) -> None:
        """Send the last frame, if any, and end; a peer that does not read it is cut after a while."""
        if close:
            self._below.write(close)
        self._below.close()
        if self._farewell is None:
            self._farewell = self._loop.call_later(FAREWELL_SECONDS, self._below.abort)
            farewells_of(self._loop).begin(self)

    def _lose(self, reason: str) -> None:
        if self._lost:
            return
        self._lost = True
        carrier = self.carrier
        if carrier is not None:
            carrier.lost(self._poller.now())
        self._owner.carrier_lost(self, reason)

    def abort(self) -> None:
        """Cut it at once."""
        self._below.abort()
        self._lose("the connection was aborted by this gateway")
