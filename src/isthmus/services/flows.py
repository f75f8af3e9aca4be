"""`proxy` and `echo` for datagrams: joins each flow that an accept offers to a far side made for it.

A flow is one client: an address and port at a udp accept, or a WebSocket whose messages are datagrams. It
ends when nothing came from either side for `udp.inactivity.timeout`, when one of its sides is lost, or, the
idlest first, when `udp.maximum.flows` is reached. Nothing waits here but the first datagrams of a flow whose
far side is being connected.

    what happens                                       the flow
    ------------------------------------------------------------------------------------------
    the far side cannot be connected, client is UDP    drops for a second, then ends
    the far side cannot be connected, client is Web    is refused: 502 or 504
    the server is not there (ICMP)                     goes on
    a WebSocket is closed or lost                      ends; a UDP client's next datagram begins another
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque

from isthmus import access
from isthmus.config.model import EchoProperties, ProxyProperties, Service, UdpOptions
from isthmus.errors import ConnectError
from isthmus.services.idle import IdleQueue
from isthmus.transports import datagrams as sides
from isthmus.transports.base import Dial
from isthmus.transports.datagrams import (
    DatagramConnector,
    DatagramCounters,
    DatagramIncoming,
    DatagramLayer,
    DatagramTransport,
)

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
"""How long the datagrams of a client are dropped whose far side could not be connected."""
QUIET_SECONDS = 1.0
"""A stop waits until no datagram has come for so long."""
REPORT_SECONDS = 60.0
WARN_SECONDS = 10.0
"""The least time between two warnings of one service: a flood of clients must not flood the log."""
_OVERHEAD = 64
"""What a datagram that waits counts for beside its bytes."""
_SWEEP_SECONDS = 0.05
"""The least time between two sweeps."""


class FlowService:
    """Runs the flows of one service. `connector` makes their far sides. Must be used on the running loop."""

    def __init__(self, service: Service, connector: DatagramConnector, counters: DatagramCounters) -> None:
        properties = service.properties
        assert isinstance(properties, (ProxyProperties, EchoProperties))
        self.name = service.name
        self.connector = connector
        self.counters = counters
        self.options: UdpOptions = service.udp
        self.maximum_pending_bytes = properties.maximum_pending_bytes
        self.loop = asyncio.get_running_loop()
        # The clock of asyncio's own loops, which compiled code reads without a call of Python.
        self._monotonic = getattr(type(self.loop), "time", None) is asyncio.BaseEventLoop.time
        self.last_active = self.now()
        self._flows: IdleQueue[Flow] = IdleQueue()
        self._open: set[Flow] = set()
        self._allowance = float(self.options.udp_maximum_flow_rate)
        self._allowance_at = self.last_active
        self._stopping = False
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._report_timer: asyncio.TimerHandle | None = None
        self._reported = 0
        self._reported_drops = 0
        self._warned_at = float("-inf")

    async def start(self) -> None:
        """Nothing is connected ahead."""

    def flow(self, incoming: DatagramIncoming) -> None:
        """Answer a new flow."""
        if self._stopping:
            incoming.refuse(ConnectError(f"{self.name}: the gateway is stopping", status=503))
            return
        if not self._take_allowance():
            self._warn("more new flows than udp.maximum.flow.rate; they are dropped")
            incoming.refuse(ConnectError(f"{self.name}: too many new flows", status=503))
            return
        if len(self._flows) >= self.options.udp_maximum_flows:
            idlest = self._flows.idlest()
            if idlest is not None:
                self.counters.evicted += 1
                idlest.end()
                self._warn("udp.maximum.flows is reached; the idlest flows end")
        self.counters.flows += 1
        flow = Flow(self)
        self._flows.add(flow)
        self._open.add(flow)
        if self._sweep_timer is None:
            self._sweep_timer = self.loop.call_later(self.options.udp_inactivity_timeout, self._sweep)
        if self._report_timer is None:
            self._report_timer = self.loop.call_later(REPORT_SECONDS, self._report)
        flow.begin(incoming)

    async def stop(self, deadline: float) -> None:
        self._stopping = True
        until = self.loop.time() + deadline
        while self._open:
            left = min(until, self.last_active + QUIET_SECONDS) - self.loop.time()
            if left <= 0:
                break
            await asyncio.sleep(left)
        for flow in list(self._open):
            flow.end()
        for timer in (self._sweep_timer, self._report_timer):
            if timer is not None:
                timer.cancel()
        self._sweep_timer = self._report_timer = None
        if self.counters.flows:
            log.info("%s: %s", self.name, self.counters)
        self.connector.close()
        await asyncio.sleep(0)

    def connections(self) -> int:
        return len(self._open)

    def now(self) -> float:
        """Return what the loop's `time` does."""
        return time.monotonic() if self._monotonic else self.loop.time()

    def flow_ended(self, flow: Flow) -> None:
        """A flow is over; called by it."""
        self._open.discard(flow)
        self._flows.ended(flow)

    def flow_failed(self, error: ConnectError) -> None:
        """A far side could not be connected."""
        self.counters.failed += 1
        self._warn(f"{error}{f' ({error.hint})' if error.hint else ''}")

    def _take_allowance(self) -> bool:
        """Count one more new flow; False where there may be none now. A second's worth may come at once."""
        now, rate = self.loop.time(), self.options.udp_maximum_flow_rate
        self._allowance = min(float(rate), self._allowance + (now - self._allowance_at) * rate)
        self._allowance_at = now
        if self._allowance < 1:
            return False
        self._allowance -= 1
        return True

    def _sweep(self) -> None:
        """End what is idle for too long, and come back when the next may be."""
        self._sweep_timer = None
        timeout, now = self.options.udp_inactivity_timeout, self.loop.time()
        while (idlest := self._flows.idlest()) is not None:
            left = idlest.last_active + timeout - now
            if left > 0:
                self._sweep_timer = self.loop.call_later(max(left, _SWEEP_SECONDS), self._sweep)
                return
            self.counters.idle += 1
            idlest.end()

    def _report(self) -> None:
        """Say what was counted, where there is news; loudly where datagrams were dropped."""
        counters = self.counters
        moved, drops = counters.flows + counters.from_client + counters.to_client, counters.dropped
        news, dropped = moved != self._reported, drops != self._reported_drops
        self._reported, self._reported_drops = moved, drops
        if news or dropped:
            level = logging.INFO if dropped else logging.DEBUG
            log.log(level, "%s: %d flows now; so far: %s", self.name, len(self._open), counters)
        self._report_timer = None
        if self._open:
            self._report_timer = self.loop.call_later(REPORT_SECONDS, self._report)

    def _warn(self, text: str) -> None:
        now = self.loop.time()
        level = logging.DEBUG if now < self._warned_at + WARN_SECONDS else logging.WARNING
        if level == logging.WARNING:
            self._warned_at = now
        log.log(level, "%s: %s", self.name, text)


class Flow:
    """One client and the far side made for it."""

    __slots__ = (
        "_began",
        "_client",
        "_dial",
        "_error",
        "_failed",
        "_incoming",
        "_retry",
        "_waiting",
        "_waiting_size",
        "client",
        "ended",
        "far",
        "last_active",
        "service",
    )

    def __init__(self, service: FlowService) -> None:
        self.service = service
        self.last_active = service.loop.time()
        self.ended = False
        self.client = FlowSide(self)
        self.far = FlowSide(self)
        self.client.other, self.far.other = self.far, self.client
        self._incoming: DatagramIncoming | None = None
        self._dial: Dial | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._failed = False
        self._error: Exception | None = None
        self._waiting: deque[bytes] | None = None
        self._waiting_size = 0
        self._client = ""  # only known where access lines are wanted
        self._began = self.last_active

    def begin(self, incoming: DatagramIncoming) -> None:
        """Take on what a client offers, and connect."""
        if access.on():
            self._client = incoming.peer
        if incoming.early:
            incoming.accept(self.client)
        else:
            self._incoming = incoming
        self._dial = self.service.connector.connect(self.far, self._connect_failed, origin=incoming.peer)

    def side_made(self, side: FlowSide) -> None:
        """A side has its transport."""
        if side is not self.far:
            return
        self._dial = None
        incoming, self._incoming = self._incoming, None
        if incoming is not None:
            incoming.accept(self.client)
        waiting, self._waiting = self._waiting, None
        if waiting and side.transport is not None:
            side.transport.send(list(waiting))

    def wait(self, datagrams: list[bytes]) -> None:
        """Keep what a client sent before there is a far side."""
        counters = self.service.counters
        if self._failed or self.ended:
            counters.dropped_failed += len(datagrams)
            return
        if self._waiting is None:
            self._waiting = deque()
        waiting = self._waiting
        for data in datagrams:
            waiting.append(data)
            self._waiting_size += len(data) + _OVERHEAD
        # The newest may wait in any case.
        while self._waiting_size > self.service.maximum_pending_bytes and len(waiting) > 1:
            self._waiting_size -= len(waiting.popleft()) + _OVERHEAD
            counters.dropped_waiting += 1

    def side_lost(self, error: Exception | None) -> None:
        """A side is gone, and the flow with it."""
        if error is not None:
            self.service.counters.lost += 1
            self._error = error
        self.end()

    def end(self) -> None:
        """End both sides. Calling it again changes nothing."""
        if self.ended:
            return
        self.ended = True
        if self._dial is not None:
            self._dial.cancel()
            self._dial = None
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        incoming, self._incoming = self._incoming, None
        if incoming is not None:
            incoming.refuse(ConnectError(f"{self.service.name}: the flow was given up", status=503))
        self._drop_waiting()
        for side in (self.client, self.far):
            transport, side.transport = side.transport, None
            if transport is not None:
                transport.close()
        self.service.flow_ended(self)
        if self._client:
            access.connection(
                self.service.name,
                self._client,
                str(self.service.connector.address),
                received=self.client.bytes,
                sent=self.far.bytes,
                seconds=self.service.loop.time() - self._began,
                error=self._error,
                refused=self._failed,
            )

    def _connect_failed(self, error: ConnectError) -> None:
        self._dial = None
        self._failed = True
        self._error = error
        self.service.flow_failed(error)
        self._drop_waiting()
        incoming, self._incoming = self._incoming, None
        if incoming is None:
            # Else each of his datagrams would begin a new attempt.
            self._retry = self.service.loop.call_later(RETRY_SECONDS, self.end)
        else:
            incoming.refuse(error)
            self.end()

    def _drop_waiting(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting:
            self.service.counters.dropped_failed += len(waiting)


class FlowSide(DatagramLayer):
    """One side of a flow: the receiver of its transport."""

    __slots__ = ("bytes", "flow", "other", "transport")

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.other: FlowSide = self
        self.transport: DatagramTransport | None = None
        self.bytes = 0
        """What came from this side, where that is counted."""

    def datagrams_made(self, transport: DatagramTransport) -> None:
        self.transport = transport
        self.flow.side_made(self)

    def datagrams_received(self, datagrams: list[bytes]) -> None:
        flow = self.flow
        service = flow.service
        counters = service.counters
        service.last_active = flow.last_active = service.now()
        if self is flow.client:
            counters.from_client += len(datagrams)
        else:
            counters.to_client += len(datagrams)
        if flow._client:
            self.bytes += sum(map(len, datagrams))
        target = self.other.transport
        if target is not None:
            sides.send(target, datagrams)
        else:
            flow.wait(datagrams)

    def datagrams_lost(self, error: Exception | None) -> None:
        self.transport = None
        self.flow.side_lost(error)
