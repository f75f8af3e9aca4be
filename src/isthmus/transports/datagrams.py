"""The contract of datagrams: messages that arrive whole, perhaps not at all, perhaps in another order.

It is the counterpart of `transports.base` for UDP. A *flow* is the conversation with one client; each of its
two sides is a `DatagramTransport`: an address behind a bound UDP socket, a connected UDP socket, a WebSocket
whose messages are datagrams. Datagrams come in batches, because the kernel gives them so.

Rules every such transport keeps:

1. `datagrams_made` comes first and once. `datagrams_lost` comes at most once, last, never from inside `send`
   or `close`, and not at all after `close`.
2. A datagram is an immutable `bytes` of 0 to `MAXIMUM_DATAGRAM` bytes.
3. `send` never raises and never waits: what cannot be sent fresh is dropped and counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from isthmus.errors import ConnectError
from isthmus.layer import Layer
from isthmus.transports.base import Dial
from isthmus.uri import Address

MAXIMUM_DATAGRAM = 65_527
"""Bytes of the largest payload over IPv6 (RFC 768: 65,535 less the header of UDP); over IPv4 it is 65,507."""


class DatagramCounters:
    """What happened to the flows and datagrams of one service since it started."""

    __slots__ = (  # noqa: RUF023 - in the order in which the log has them
        "flows",
        "idle",
        "evicted",
        "failed",
        "lost",
        "from_client",
        "to_client",
        "unreachable",
        "dropped_new",
        "dropped_waiting",
        "dropped_failed",
        "dropped_late",
        "dropped_buffer",
        "dropped_oversized",
        "dropped_unsent",
    )

    def __init__(self, **counted: int) -> None:
        self.flows = 0
        """Flows begun."""
        self.idle = 0
        """Flows that ended because nothing came for `udp.inactivity.timeout`."""
        self.evicted = 0
        """Flows, each the idlest, that ended because `udp.maximum.flows` was reached."""
        self.failed = 0
        """Flows whose far side could not be connected."""
        self.lost = 0
        """Flows that ended because a WebSocket was lost."""
        self.from_client = 0
        """Datagrams that came from clients."""
        self.to_client = 0
        """Datagrams that came from the far side."""
        self.unreachable = 0
        """Times the server's machine, or one on the way, said that nobody is there (ICMP)."""
        self.dropped_new = 0
        """Dropped: would have begun a flow, above `udp.maximum.flow.rate` or while the gateway stops."""
        self.dropped_waiting = 0
        """Dropped, the oldest first: more waited for a connection than `maximum.pending.bytes`."""
        self.dropped_failed = 0
        """Dropped: the far side could not be connected."""
        self.dropped_late = 0
        """Dropped, the oldest first: waited for a WebSocket that took no more, too long or too many."""
        self.dropped_buffer = 0
        """Dropped: the kernel's send buffer was full."""
        self.dropped_oversized = 0
        """Dropped: larger than a datagram may be."""
        self.dropped_unsent = 0
        """Dropped: the kernel refused to send it for another reason (no route, a firewall)."""
        for name, count in counted.items():
            setattr(self, name, count)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DatagramCounters):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    __hash__ = None  # type: ignore[assignment]

    @property
    def dropped(self) -> int:
        """Datagrams dropped here, for whatever reason."""
        return sum(getattr(self, name) for name in self.__slots__ if name.startswith("dropped_"))

    def __str__(self) -> str:
        """Return what is not 0, for the log: `flows 3, from client 12, ...`."""
        counted = ((name.replace("_", " "), getattr(self, name)) for name in self.__slots__)
        return ", ".join(f"{name} {count}" for name, count in counted if count) or "nothing happened"

    def __repr__(self) -> str:
        return f"DatagramCounters({self})"


@dataclass(frozen=True, slots=True)
class Freshness:
    """How long (seconds) and how much (bytes) may wait of a flow for a WebSocket that takes no more."""

    maximum_delay: float
    maximum_bytes: int


class DatagramReceiver(Protocol):
    """Who is told what happens on one side of a flow."""

    def datagrams_made(self, transport: DatagramTransport) -> None:
        """The side is there; `transport` stays the same until it is lost or closed."""

    def datagrams_received(self, datagrams: list[bytes]) -> None:
        """At least one datagram came, in this order."""

    def datagrams_lost(self, error: Exception | None) -> None:
        """The side is gone: its peer ended it (None), or it broke."""


class DatagramTransport(Protocol):
    """One side of a flow."""

    def send(self, datagrams: list[bytes]) -> None:
        """Send, in this order; the list is not kept. Drops and counts what cannot be sent now or soon."""

    def close(self) -> None:
        """End this side; the receiver is told nothing any more. Calling it again changes nothing."""

    def info(self, name: str) -> Any:
        """Return what is known, or None: peername, sockname, socket."""


class DatagramLayer(Layer):
    """What is called directly (see `layer`): a `DatagramReceiver`, a `DatagramTransport`, or both."""

    __slots__ = ()

    def datagrams_received(self, datagrams: list[bytes]) -> None:
        """Datagrams came: see `DatagramReceiver`."""
        raise NotImplementedError

    def send(self, datagrams: list[bytes]) -> None:
        """Send: see `DatagramTransport`."""
        raise NotImplementedError


def deliver(receiver: DatagramReceiver, datagrams: list[bytes]) -> None:
    """Call `receiver.datagrams_received`."""
    if isinstance(receiver, DatagramLayer):
        layer: DatagramLayer = receiver
        layer.datagrams_received(datagrams)
    else:
        receiver.datagrams_received(datagrams)


def send(transport: DatagramTransport, datagrams: list[bytes]) -> None:
    """Call `transport.send`."""
    if isinstance(transport, DatagramLayer):
        layer: DatagramLayer = transport
        layer.send(datagrams)
    else:
        transport.send(datagrams)


class DatagramIncoming(Protocol):
    """A new flow that an accept offers to its service. Exactly one of `accept` and `refuse` is called, once,
    now or later.
    """

    @property
    def address(self) -> Address:
        """The accept's public address."""

    @property
    def peer(self) -> str:
        """Who sends, for the log: `10.0.0.7:51324`."""

    @property
    def early(self) -> bool:
        """Whether it may be accepted before its far side is known to be there; else it waits for that."""

    def accept(self, receiver: DatagramReceiver) -> None:
        """Take it on; calls `receiver.datagrams_made` before it returns."""

    def refuse(self, error: ConnectError) -> None:
        """Do not: a Web client is told `error.status`, a UDP client nothing."""


class DatagramConnector(Protocol):
    """Makes the far side of a flow, again and again."""

    address: Address

    def connect(
        self, receiver: DatagramReceiver, failed: Callable[[ConnectError], None], *, origin: str = ""
    ) -> Dial:
        """Begin to connect. Either `receiver.datagrams_made` or `failed` comes, once, and not before this
        returns. `origin` is the address of the client it is for, where the far side wants to know.
        """

    def close(self) -> None:
        """Let go of what is kept for flows to come."""
