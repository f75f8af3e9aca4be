"""A flow of a span session as one side of a flow of datagrams.

    session             what is above is told
    ----------------------------------------------------------------
    datagrams           datagrams_received
    flow_ended          datagrams_lost: None where the peer ended it

It goes on over another carrier, or waits for one; what it sends meanwhile is dropped when it is not fresh any
more (`udp.maximum.delay`), by the session, which counts it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from isthmus.errors import ConnectError, SpanError, StreamReset
from isthmus.span.flow import Flow
from isthmus.span.flows import Flows
from isthmus.span.frames import Code
from isthmus.transports import datagrams as sides
from isthmus.transports.base import Dial, Transport
from isthmus.transports.datagrams import DatagramLayer, DatagramReceiver
from isthmus.transports.span.limits import FlowTerms
from isthmus.transports.span.request import Request
from isthmus.transports.ws_connect import start_plain
from isthmus.transports.ws_datagrams import WebSocketDatagrams
from isthmus.uri import Address

if TYPE_CHECKING:
    from isthmus.transports.span.client import ClientSession
    from isthmus.transports.span.connect import SpanConnector
    from isthmus.transports.span.session import SessionDriver


_REASONS = {
    int(Code.REFUSED): "the other gateway takes no datagrams here",
    int(Code.OVERLOAD): "the other gateway has as many flows as it may have",
    int(Code.EXPIRED): "the session was lost",
    int(Code.GOING): "the other gateway is stopping",
    int(Code.ELSEWHERE): "another node of the balancer holds the session",
}


class SpanFlow(DatagramLayer):
    """One flow over its session: a `DatagramTransport`. `begin` gives it its receiver."""

    __slots__ = ("_driver", "_flow", "_flows", "_poller", "_receiver")

    def __init__(self, driver: SessionDriver, flow: Flow) -> None:
        self._driver = driver
        self._poller = driver.poller
        self._flows: Flows = driver.session.flows
        self._flow = flow
        self._receiver: DatagramReceiver | None = None
        flow.owner = self

    def begin(self, receiver: DatagramReceiver) -> None:
        """Tell `receiver` `datagrams_made`, then all that comes."""
        self._receiver = receiver
        receiver.datagrams_made(self)

    # --- from the session

    def deliver(self, datagrams: list[bytes]) -> None:
        """Datagrams came."""
        if self._receiver is not None:
            sides.deliver(self._receiver, datagrams)

    def was_ended(self, code: int, text: str) -> None:
        """The flow is over."""
        receiver, self._receiver = self._receiver, None
        if receiver is None:
            return
        reason = _REASONS.get(code, f"the flow was ended with {code}")
        receiver.datagrams_lost(None if code == Code.CANCEL else StreamReset(reason))

    # --- from above

    def send(self, datagrams: list[bytes]) -> None:
        self._flows.send(self._flow, datagrams, self._poller.now())

    def close(self) -> None:
        self._receiver = None
        self._flows.end(self._flow)

    def info(self, name: str) -> Any:
        return self._driver.info(name)


class SpanFlowIncoming:
    """A flow that the peer opened, offered to a service of datagrams: a `DatagramIncoming`."""

    __slots__ = ("_driver", "_flow", "address")

    early = True

    def __init__(self, address: Address, driver: SessionDriver, flow: Flow) -> None:
        self.address = address
        self._driver = driver
        self._flow = flow

    @property
    def peer(self) -> str:
        return self._flow.origin or self._driver.peer

    def accept(self, receiver: DatagramReceiver) -> None:
        self._driver.session.flows.accept(self._flow)
        SpanFlow(self._driver, self._flow).begin(receiver)

    def refuse(self, error: ConnectError) -> None:
        code = Code.OVERLOAD if error.status == 503 else Code.UNREACHABLE
        self._driver.session.flows.end(self._flow, code)


class FlowRequest(Request):
    """One connect of a flow under way. Where the server speaks no span it has a WebSocket of its own."""

    __slots__ = ("_flow_receiver", "_terms")

    def __init__(
        self,
        connector: SpanConnector,
        receiver: DatagramReceiver,
        failed: Callable[[ConnectError], None],
        origin: str,
        terms: FlowTerms,
    ) -> None:
        plain = WebSocketDatagrams(receiver, terms.freshness, terms.counters)
        super().__init__(connector, plain, failed, origin, early=True)
        self._flow_receiver = receiver
        self._terms = terms

    def open(self, session: ClientSession) -> None:
        """Open a flow on `session`."""
        if self.over:
            return
        try:
            flow = session.open_flow(self.origin)
        except SpanError as error:
            self.refused(error)
            return
        self.end()
        flow.begin(self._flow_receiver)

    def use_plain(self, below: Transport, rest: bytearray) -> None:
        if self._terms.with_streams:
            below.abort()
            self.fail(
                ConnectError(
                    f"Unable to connect to {self._connector.address}: the server does not speak span, "
                    "and datagrams beside streams need it",
                    hint="check that an isthmus gateway listens there, or give the datagrams a service "
                    "and an address of their own",
                )
            )
            return
        self.end()
        start_plain(below, self._connector.options, self.receiver, rest, self._connector.idle)


class SpanFlowConnector:
    """Makes the flows of one destination, on the session that its streams have: a `DatagramConnector`."""

    def __init__(self, below: SpanConnector, terms: FlowTerms) -> None:
        self.address: Address = below.address
        self._below = below
        self._terms = terms
        below.flow_terms = terms

    def connect(
        self, receiver: DatagramReceiver, failed: Callable[[ConnectError], None], *, origin: str = ""
    ) -> Dial:
        return self._below.begin(FlowRequest(self._below, receiver, failed, origin, self._terms))

    def close(self) -> None:
        """What is below is closed by whoever made it."""
