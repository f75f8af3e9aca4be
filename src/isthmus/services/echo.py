"""`echo`: sends back what it receives (Kaazing's `echo`), `repeat` times each.

Datagrams go to and fro as those of a proxy do (`services.flows`), with the gateway itself as the far side.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque

from isthmus import access
from isthmus.config.model import EchoProperties, Service
from isthmus.errors import ConnectError
from isthmus.services.flows import FlowService
from isthmus.services.loopback import LoopbackConnector
from isthmus.transports.base import Incoming, Transport
from isthmus.transports.datagrams import DatagramCounters, DatagramIncoming


class EchoService:
    """Runs one `echo` service."""

    def __init__(self, service: Service) -> None:
        properties = service.properties
        assert isinstance(properties, EchoProperties)
        self.name = service.name
        self.properties = properties
        self.echoes: set[Echo] = set()
        self._stopping = False
        self._idle = asyncio.Event()
        self._idle.set()
        self.counters = DatagramCounters()
        address = next((each for each in service.accepts if each.kind.datagrams), None)
        loopback = None if address is None else LoopbackConnector(address, properties.repeat)
        self._flows = None if loopback is None else FlowService(service, loopback, self.counters)

    async def start(self) -> None:
        """Nothing to prepare."""

    def flow(self, incoming: DatagramIncoming) -> None:
        if self._flows is None:
            incoming.refuse(ConnectError(f"{self.name}: it has no udp accept"))
        else:
            self._flows.flow(incoming)

    def incoming(self, incoming: Incoming) -> None:
        if self._stopping:
            incoming.refuse(ConnectError(f"{self.name}: the gateway is stopping", status=503))
            return
        echo = Echo(self, *((incoming.peer, str(incoming.identity)) if access.on() else ()))
        self.echoes.add(echo)
        self._idle.clear()
        incoming.accept(echo)

    async def stop(self, deadline: float) -> None:
        self._stopping = True
        if self._flows is not None:
            await self._flows.stop(deadline)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), deadline)
        for echo in list(self.echoes):
            echo.abort()
        await asyncio.sleep(0)

    def connections(self) -> int:
        return len(self.echoes) + (0 if self._flows is None else self._flows.connections())

    def echo_finished(self, echo: Echo) -> None:
        """A connection is over."""
        self.echoes.discard(echo)
        if not self.echoes:
            self._idle.set()


class Echo:
    """One connection whose bytes go back where they came from. While it cannot be written to it is not read.

    What a read brought is kept until it was written `repeat` times: with many repeats, that waits for the
    other side many times.
    """

    __slots__ = (
        "_began",
        "_blocked",
        "_client",
        "_ended",
        "_received",
        "_service",
        "_transport",
        "_waiting",
        "_who",
    )

    def __init__(self, service: EchoService, client: str = "", who: str = "") -> None:
        self._service = service
        self._who = who
        self._client = client  # only known where access lines are wanted
        self._began = asyncio.get_running_loop().time() if client else 0.0
        self._received = 0
        self._transport: Transport | None = None
        self._blocked = False
        self._ended = False
        self._waiting: deque[tuple[bytes, int]] = deque()  # what is to be written, and how often

    def connection_made(self, transport: Transport) -> None:
        self._transport = transport
        transport.set_write_limit(self._service.properties.maximum_pending_bytes)

    def data_received(self, data: memoryview) -> None:
        repeat = self._service.properties.repeat
        self._received += len(data)
        if repeat == 1 and self._transport is not None:
            self._transport.write(data)
            return
        self._waiting.append((bytes(data), repeat))
        self._write_waiting()

    def eof_received(self) -> None:
        self._ended = True
        self._write_waiting()

    def pause_writing(self) -> None:
        self._blocked = True
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._blocked = False
        self._write_waiting()
        if self._transport is not None and not self._blocked and not self._ended:
            self._transport.resume_reading()

    def _write_waiting(self) -> None:
        """Write what waits until the transport has enough; then, at the end of input, end."""
        waiting = self._waiting
        while waiting and self._transport is not None and not self._blocked:
            data, times = waiting.popleft()
            if times > 1:
                waiting.appendleft((data, times - 1))
            self._transport.write(data)
        if self._ended and not waiting and self._transport is not None:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if self._client:
            access.connection(
                self._service.name,
                self._client,
                "echo",
                received=self._received,
                sent=self._received * self._service.properties.repeat,
                seconds=asyncio.get_running_loop().time() - self._began,
                error=error,
                who=self._who,
            )
        self._service.echo_finished(self)

    def abort(self) -> None:
        """Reset the connection."""
        if self._transport is not None:
            self._transport.abort()
