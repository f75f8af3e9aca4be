"""The contract of services, and what the gateway hands them.

A service never sees a concrete transport: it is given `Incoming` connections and a `Connector`, and meets
both through `transports.base`. An HTTP service is given requests instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from isthmus.transports.base import Incoming
from isthmus.transports.datagrams import DatagramCounters, DatagramIncoming

if TYPE_CHECKING:
    from aiohttp import web


class StreamService(Protocol):
    """A service whose accepts are streams: `proxy`, `echo`."""

    def incoming(self, incoming: Incoming) -> None:
        """Answer a new connection, now or later (see `Incoming`). Must not block."""

    async def start(self) -> None:
        """Get ready before the accepts listen. Raises an `IsthmusError` if that cannot be."""

    async def stop(self, deadline: float) -> None:
        """Finish what is in flight. `deadline` is in seconds from now; what is left then is aborted.

        May be called again to cut an earlier call short.
        """

    def connections(self) -> int:
        """Return how many connections are open."""


@runtime_checkable
class DatagramService(Protocol):
    """A service whose accepts are udp, or WebSockets that carry datagrams: `proxy`, `echo`."""

    @property
    def counters(self) -> DatagramCounters:
        """What its transports count into."""

    def flow(self, incoming: DatagramIncoming) -> None:
        """Answer a new flow, now or later (see `DatagramIncoming`). Must not block."""

    async def start(self) -> None:
        """As `StreamService.start`."""

    async def stop(self, deadline: float) -> None:
        """As `StreamService.stop`; flows have no end of their own, so a silence of all of them is one."""

    def connections(self) -> int:
        """Return how many flows there are."""


@runtime_checkable
class HttpService(Protocol):
    """A service whose accepts are `http` or `https`: `directory`."""

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request whose Host and path prefix are already known to be this service's."""

    async def start(self) -> None:
        """Get ready before the accepts listen. Raises an `IsthmusError` if that cannot be."""

    async def stop(self, deadline: float) -> None:
        """Release what `start` took."""
