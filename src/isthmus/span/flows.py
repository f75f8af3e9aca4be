"""The flows of one session: which there are, what they have to send, and on which carrier (docs/span.md 7).

    Flows.send     -> waiting, by flow -> fill, by turns           -> one carrier
    Handler.datagrams <- deliver       <- arrived, by flow         <- any carrier

What waits is fresh or dropped, the oldest first: after `flow_delay`, or where a flow or all of them have more
waiting than they may. Nothing is sent again, but the fields of its opening until the peer has answered.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from isthmus.errors import SpanError
from isthmus.span import frames
from isthmus.span.flow import Flow
from isthmus.span.frames import MAXIMUM_DATAGRAM, Code, wrong
from isthmus.span.limits import FLOWS_BEHIND, FLOWS_REMEMBERED, OVERHEAD
from isthmus.span.message import Message
from isthmus.websocket.frames import Role

if TYPE_CHECKING:
    from isthmus.span.carrier import Carrier
    from isthmus.span.session import Session

_AT_ONCE = 64
_MAXIMUM_ID = 0xFFFFFFFF
_DATAGRAM = 0x17
_FLOW = 0x18
_FLOWING = 0x19
_HEADER = 8


class Flows:
    """All flows of a session. `table` has them by id; `slot` is that of the carrier they go on."""

    __slots__ = (
        "_arrived",
        "_delay",
        "_ended",
        "_late",
        "_newest",
        "_overflowed",
        "_pending",
        "_pending_of_all",
        "_session",
        "_turn",
        "_turns",
        "count_of_peer",
        "next_id",
        "slot",
        "table",
        "waiting",
    )

    def __init__(self, session: Session) -> None:
        self._session = session
        limits = session.limits
        self._delay = limits.flow_delay
        self._pending = limits.flow_pending
        self._pending_of_all = limits.flows_pending
        self.table: dict[int, Flow] = {}
        self.count_of_peer = 0
        self.next_id = 1 if session.role is Role.CLIENT else 2
        self.slot = -1
        self.waiting = 0  # what all that waits counts for, in bytes
        self._turns: list[Flow] = []
        self._turn = 0  # of the first that is still to come
        self._arrived: list[Flow] = []  # which have something in `arrived`
        self._ended: OrderedDict[int, None] = OrderedDict()
        self._newest = 0  # of the peer's
        self._late = 0  # dropped since that was told
        self._overflowed = 0

    def __len__(self) -> int:
        return len(self.table)

    # --- for the application

    def open(self, origin: str = "") -> Flow:
        """Open a flow; its first datagram tells the peer.

        Raises SpanError: REFUSED where the peer takes none, OVERLOAD at its limit, GOING or EXPIRED where
        there are no new ones.
        """
        session = self._session
        if session.over:
            raise SpanError(Code.EXPIRED, "the session has ended")
        if session.going or self.next_id > _MAXIMUM_ID:
            raise SpanError(Code.GOING, "the session takes no new flows")
        maximum: int = session.peer.maximum_flows
        if maximum == 0:
            raise SpanError(Code.REFUSED, "the other gateway takes no datagrams here")
        if len(self.table) - self.count_of_peer >= maximum:
            raise SpanError(Code.OVERLOAD, "the session has as many flows as it may have")
        flow = Flow(self.next_id, ours=True, origin=origin)
        self.next_id += 2
        self.table[flow.id] = flow
        session.counters.flows_opened_by_us += 1
        return flow

    def accept(self, flow: Flow) -> None:
        """Accept a flow that the peer opened; nothing happens if it is over."""
        if flow.over or flow.accepted:
            return
        flow.accepted = True
        self._say(flow.id, frames.flowing(flow.id))

    def send(self, flow: Flow, datagrams: list[bytes], now: float) -> None:
        """Send datagrams, which stay unchanged, in this order; the oldest are dropped for what is too much.

        Where more waits of a flow than may, the transport is asked to take it at once. Nothing is kept of a
        flow that is over. Raises ValueError for one of more than 65,527 bytes.
        """
        if flow.over:
            return
        if flow.waiting is not None:
            self._drop_late(flow, flow.waiting, now)
        carrier = self.carrier()
        came = now  # one object for all of them
        for data in datagrams:
            size = len(data) + OVERHEAD
            if size > MAXIMUM_DATAGRAM + OVERHEAD:
                raise ValueError("a datagram has at most 65,527 bytes")
            if carrier is not None and flow.size + size > self._pending and flow.waiting:
                left = flow.size
                carrier.handler.output_now()
                if flow.size == left:
                    carrier = None  # it takes no more
            if flow.waiting is None:
                flow.waiting = [(came, data)]
            else:
                flow.waiting.append((came, data))
            flow.size += size
            self.waiting += size
            if not flow.queued:
                flow.queued = True
                self._turns.append(flow)
        # The newest may wait in any case.
        waiting = flow.waiting
        while flow.size > self._pending and waiting is not None and len(waiting) > 1:
            self._drop_oldest(flow, waiting)
            self._overflowed += 1
        if self.waiting > self._pending_of_all:
            self._drop_from_the_fattest(self._pending_of_all)
        self.wake()
        if self._late or self._overflowed:
            self._tell_dropped()

    def end(self, flow: Flow, code: int = Code.CANCEL, text: str = "") -> None:
        """End a flow; the handler hears nothing more of it, and what waits is dropped."""
        if flow.over:
            return
        self._forget(flow)
        self._say(flow.id, frames.ended(flow.id, code, text))
        self._session.end_if_done()

    # --- for the engine's own modules

    def carrier(self) -> Carrier | None:
        """Return the carrier that flows go on: the same as long as it is good for that."""
        carriers = self._session.in_order
        carrier = None
        for each in carriers:
            if each.slot == self.slot:
                carrier = each
        if carrier is not None and carrier.good_for_flows():
            return carrier
        other = None
        for each in carriers:
            if each.good_for_flows() and (other is None or each.slot > other.slot):
                other = each
        if other is None:
            if carrier is not None:
                return carrier
            for each in carriers:
                other = each
        self.slot = -1 if other is None else other.slot
        return other

    def attached(self, carrier: Carrier) -> None:
        """A carrier lives: the second of a session is for its flows."""
        if len(self._session.carriers) == 2:
            self.slot = carrier.slot
        self.wake()

    def reserve(self, carrier: Carrier) -> bool:
        """Whether streams should leave a carrier to the flows: another can take them."""
        return carrier.slot == self.slot and len(self.table) > 0 and self._session.has_other(carrier)

    def wake(self) -> None:
        """Have the carrier of the flows send, where something waits."""
        if self._turn < len(self._turns):
            carrier = self.carrier()
            if carrier is not None:
                carrier.wake()

    def fill(self, carrier: Carrier, message: Message, most: int) -> bool:
        """Add what waits to `message`, by turns, about `most` bytes; return whether nothing is left."""
        turns = self._turns
        now = self._session.now
        sent = added = 0
        while self._turn < len(turns):
            flow = turns[self._turn]
            waiting = flow.waiting
            if waiting is not None:
                self._drop_late(flow, waiting, now)
            if not waiting:
                self._turn += 1
                flow.queued = False
                flow.waiting = None
                continue
            data: bytes = waiting[0][1]
            size = len(data)
            header = None
            if flow.ours and not flow.accepted:
                header = frames.flow_header(flow.id, flow.origin, size)
            whole = size + (_HEADER if header is None else len(header))
            if message.size and (added >= most or whole > message.room):
                break
            if header is None:
                message.add_frame(_DATAGRAM << 56 | size << 32 | flow.id, data)
            else:
                message.put(header, 0, len(header))
                message.put(data, 0, size)
            flow.size -= size + OVERHEAD
            self.waiting -= size + OVERHEAD
            added += whole
            sent += 1
            self._turn += 1
            if len(waiting) > 1:
                waiting.pop(0)
                turns.append(flow)
            else:
                flow.queued = False
                flow.waiting = None
        if self._turn == len(turns):
            turns.clear()
            self._turn = 0
        elif 2 * self._turn >= len(turns):
            del turns[: self._turn]
            self._turn = 0
        if sent:
            self._session.counters.datagrams_sent += sent
            carrier.ping_if_due(now)
        if self._late:
            self._tell_dropped()
        return not turns

    def datagram_received(self, carrier: Carrier, flow_id: int, data: bytes) -> None:
        """Take a DATAGRAM. Raises SpanError for a flow of ours that was never opened."""
        flow = self.table.get(flow_id)
        if flow is None:
            self._forgotten(carrier, flow_id, answered=True)
            return
        self.slot = carrier.slot
        if flow.arrived is None:
            flow.arrived = [data]
            self._arrived.append(flow)
        else:
            flow.arrived.append(data)

    def frame_received(self, carrier: Carrier, kind: int, flow_id: int, payload: bytes) -> None:
        """Take a FLOW, FLOWING or ENDED."""
        if kind == _FLOW:
            self._flow_received(carrier, flow_id, payload)
            return
        flow = self.table.get(flow_id)
        if kind == _FLOWING:
            if not self._session.is_ours(flow_id):
                raise wrong(f"FLOWING for flow {flow_id}, which is not ours")
            if flow is None:
                self._forgotten(carrier, flow_id, answered=False)
            else:
                flow.accepted = True
            return
        code, text = frames.parse_reset(payload)
        if flow is None:
            self._forgotten(carrier, flow_id, answered=False)
            if not self._session.is_ours(flow_id):
                self._remember(flow_id)  # its FLOW comes later, or was lost
            return
        self.deliver()
        if not flow.over:
            self._forget(flow)
            self._session.counters.flows_ended_by_peer += 1
            self._session.handler.flow_ended(flow, code, text)
            self._session.end_if_done()

    def deliver(self) -> None:
        """Hand on what arrived."""
        session = self._session
        handler = session.handler
        while self._arrived:
            flows, self._arrived = self._arrived, []
            for flow in flows:
                datagrams, flow.arrived = flow.arrived, None
                if datagrams is not None and not flow.over:
                    session.counters.datagrams_received += len(datagrams)
                    handler.datagrams(flow, datagrams)

    def lose(self, carrier: Carrier) -> None:
        """A carrier is gone, or silent: what waits goes elsewhere, what was on it is lost."""
        if self.slot == carrier.slot:
            self.slot = -1
        self.wake()

    def clear(self, code: int, text: str) -> None:
        """The session is over."""
        self._arrived.clear()
        for flow in list(self.table.values()):
            if not flow.over:
                self._forget(flow)
                self._session.handler.flow_ended(flow, code, text)
        self._turns.clear()
        self._turn = 0

    # --- openings and ends

    def _flow_received(self, carrier: Carrier, flow_id: int, payload: bytes) -> None:
        session = self._session
        origin, data = frames.parse_flow(payload)
        if session.is_ours(flow_id):
            raise wrong(f"FLOW of flow {flow_id}, which is not the peer's to open")
        flow = self.table.get(flow_id)
        if flow is None:
            if flow_id in self._ended or flow_id + FLOWS_BEHIND < self._newest:
                self._forgotten(carrier, flow_id, answered=True)
                return
            if session.going:
                carrier.answer(-flow_id, frames.ended(flow_id, Code.GOING))
                return
            maximum: int = session.limits.maximum_flows
            if self.count_of_peer >= maximum:
                session.counters.flows_overloaded += 1
                code = Code.OVERLOAD if maximum else Code.REFUSED
                carrier.answer(-flow_id, frames.ended(flow_id, code))
                return
            self._newest = max(self._newest, flow_id)
            flow = Flow(flow_id, ours=False, origin=origin)
            self.table[flow_id] = flow
            self.count_of_peer += 1
            self.slot = carrier.slot
            session.counters.flows_opened_by_peer += 1
            session.handler.flow_opened(flow)
        elif flow.accepted:
            carrier.answer(-flow_id, frames.flowing(flow_id))
        if not flow.over:
            self.datagram_received(carrier, flow_id, data)

    def _forgotten(self, carrier: Carrier, flow_id: int, *, answered: bool) -> None:
        """Drop a frame of a flow that is not in the table. Raises SpanError if it is ours and never was."""
        session = self._session
        if session.is_ours(flow_id) and flow_id >= self.next_id:
            raise wrong(f"a frame of flow {flow_id}, which was never opened")
        session.counters.datagrams_forgotten += 1
        if answered:
            carrier.answer(-flow_id, frames.ended(flow_id, Code.EXPIRED))

    def _forget(self, flow: Flow) -> None:
        flow.over = True
        self.table.pop(flow.id, None)
        if not flow.ours:
            self.count_of_peer -= 1
            self._remember(flow.id)
        waiting, flow.waiting = flow.waiting, None
        if waiting:
            self.waiting -= flow.size
            self._session.counters.datagrams_unsent += len(waiting)
            self._session.handler.datagrams_dropped(len(waiting))
        flow.size = 0
        if len(self._turns) > 2 * len(self.table) + _AT_ONCE:
            self._turns = [each for each in self._turns[self._turn :] if not each.over]
            self._turn = 0

    def _remember(self, flow_id: int) -> None:
        self._ended[flow_id] = None
        if len(self._ended) > FLOWS_REMEMBERED:
            self._ended.popitem(last=False)

    def _say(self, flow_id: int, frame: bytes) -> None:
        """Say something of a flow where flows go; without a carrier it is found out later."""
        carrier = self.carrier()
        if carrier is not None:
            carrier.answers[-flow_id] = frame
            carrier.wake()

    # --- dropping

    def _tell_dropped(self) -> None:
        session = self._session
        late, overflowed = self._late, self._overflowed
        self._late = self._overflowed = 0
        session.counters.datagrams_late += late
        session.counters.datagrams_overflowed += overflowed
        session.handler.datagrams_dropped(late + overflowed)

    def _drop_oldest(self, flow: Flow, waiting: list[tuple[float, bytes]]) -> None:
        size = len(waiting.pop(0)[1]) + OVERHEAD
        flow.size -= size
        self.waiting -= size

    def _drop_late(self, flow: Flow, waiting: list[tuple[float, bytes]], now: float) -> None:
        since = now - self._delay
        while waiting and _oldest_came(waiting) < since:
            self._drop_oldest(flow, waiting)
            self._late += 1

    def _drop_from_the_fattest(self, most: int) -> None:
        """Make room at whose cost there is most, many at a time (as RFC 8290 does, section 4.1)."""
        while self.waiting > most:
            fattest = max(self._turns[self._turn :], key=_size_of, default=None)
            if fattest is None or not fattest.waiting:
                return
            half = fattest.size // 2
            for _ in range(_AT_ONCE):
                self._drop_oldest(fattest, fattest.waiting)
                self._overflowed += 1
                if not fattest.waiting or fattest.size <= half:
                    break


def _oldest_came(waiting: list[tuple[float, bytes]]) -> float:
    oldest = waiting[0]
    return oldest[0]


def _size_of(flow: Flow) -> int:
    return flow.size
