"""What the streams of a session have to send, and where it may go.

pending, of a carrier     answers: on the carrier that brought what they answer, so that who asked
                          sees the loss of both at once
pending, of the session   OPEN and RESET: on any carrier
scheduler, of a carrier   data of a stream that waits for OPENED: behind its OPEN
scheduler, of the session all other data: on any carrier
owing                     acknowledgements that may wait, so that one stands for many
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from isthmus.span.limits import ACKNOWLEDGE_EVERY
from isthmus.span.scheduler import Scheduler
from isthmus.span.stream import ANSWERS, NEEDS_ACK, Stream

if TYPE_CHECKING:
    from isthmus.span.carrier import Carrier


class Outbox:
    """The queues of one session; `in_order` is its own list of carriers.

    `acknowledge_at` is when the acknowledgements that are owed have to go. `awake` says that all carriers
    were woken; each takes that back when it makes a message.
    """

    __slots__ = (
        "_in_order",
        "_owing",
        "_unacknowledged",
        "acknowledge_at",
        "awake",
        "pending",
        "scheduler",
    )

    def __init__(self, in_order: list[Carrier]) -> None:
        self._in_order = in_order
        self.pending: dict[Stream, None] = {}
        self.scheduler = Scheduler()
        self._owing: dict[Stream, None] = {}
        self._unacknowledged = 0  # bytes that came since ACKs went
        self.acknowledge_at = math.inf
        self.awake = False

    def carrier(self, slot: int) -> Carrier | None:
        """Return the carrier in a slot: to look at each is cheaper than to look the number up."""
        for carrier in self._in_order:
            if carrier.slot == slot:
                return carrier
        return None

    def ready(self, stream: Stream) -> None:
        """Queue a stream that has data or FIN to send, where it may be sent."""
        if stream.over or stream.scheduler is not None:
            return
        if stream.opened:
            if stream.send.sendable(stream.send.limit):
                self.scheduler.add(stream)
                if not self.awake:
                    self.wake()
        elif stream.ours and stream.send.sendable(stream.send_limit()):
            carrier = self.carrier(stream.state_slot)
            if carrier is not None:
                carrier.scheduler.add(stream)
                carrier.wake()

    def again(self) -> None:
        """Let what was lost go first: it is not held where the rest is."""
        self.scheduler.lost()
        self.wake()

    def unpin(self, stream: Stream) -> None:
        """Let a stream that is opened now use all carriers."""
        if stream.scheduler is not None:
            stream.scheduler.remove(stream)
        self.ready(stream)

    def say(self, stream: Stream, needs: int) -> None:
        """Queue state frames of a stream."""
        stream.needs |= needs
        if needs & NEEDS_ACK and stream.owed:
            stream.owed = False
            del self._owing[stream]
        carrier = self.carrier(stream.answer_slot)
        if carrier is not None and stream.needs & ~ANSWERS == 0:
            carrier.pending[stream] = None
            carrier.wake()
        else:
            self.pending[stream] = None
            self.wake()

    def owe(self, stream: Stream, size: int, now: float, within: float) -> None:
        """Owe an ACK for `size` bytes; the first that is owed sets the time for all."""
        if stream.needs & NEEDS_ACK == 0:
            if not self._owing:
                self.acknowledge_at = now + within
            if not stream.owed:
                stream.owed = True
                self._owing[stream] = None
        self._unacknowledged += size
        if self._unacknowledged >= ACKNOWLEDGE_EVERY:
            self.acknowledge_at = now
            self.flush(now)

    def flush(self, now: float) -> None:
        """Queue the ACKs that are owed, if it is time."""
        if now >= self.acknowledge_at:
            self.acknowledge_at = math.inf
            self._unacknowledged = 0
            owing, self._owing = self._owing, {}
            for stream in owing:
                stream.owed = False
                self.say(stream, NEEDS_ACK)
            if len(self._in_order) > 1:
                self._tell_arrived()

    def _tell_arrived(self) -> None:
        """Have each carrier say what it brought: what one waits for holds no other up."""
        for carrier in self._in_order:
            if carrier.arrived != carrier.arrived_told:
                carrier.tells_arrived = True
                carrier.wake()

    def lose(self, carrier: Carrier) -> None:
        """Take back what waited for a carrier that is gone."""
        self.pending.update(carrier.pending)
        carrier.pending.clear()
        carrier.scheduler.clear()

    def remove(self, stream: Stream) -> None:
        """Take a stream out of every queue."""
        stream.needs = 0
        self.pending.pop(stream, None)
        if stream.owed:
            stream.owed = False
            del self._owing[stream]
        for carrier in self._in_order:
            carrier.pending.pop(stream, None)
        if stream.scheduler is not None:
            stream.scheduler.remove(stream)

    def clear(self) -> None:
        """Forget everything: the session is over."""
        self.pending.clear()
        for stream in self._owing:
            stream.owed = False
        self._owing.clear()
        for carrier in self._in_order:
            carrier.scheduler.clear()
        self.scheduler.clear()
        self.acknowledge_at = math.inf

    def wake(self) -> None:
        """Let every carrier that can send do so."""
        if not self.awake:
            self.awake = True
            for carrier in self._in_order:
                carrier.wake()
