"""A `proxy` that carries streams and datagrams: two services under one name, with the same accepts."""

from __future__ import annotations

import asyncio

from isthmus.services.flows import FlowService
from isthmus.services.proxy import ProxyService
from isthmus.transports.base import Incoming
from isthmus.transports.datagrams import DatagramCounters, DatagramIncoming


class StreamsAndFlows:
    """Hands streams to one service and flows to the other."""

    def __init__(self, streams: ProxyService, flows: FlowService) -> None:
        self.streams = streams
        self.flows = flows
        self.name = streams.name
        self.counters: DatagramCounters = flows.counters

    def incoming(self, incoming: Incoming) -> None:
        self.streams.incoming(incoming)

    def flow(self, incoming: DatagramIncoming) -> None:
        self.flows.flow(incoming)

    async def start(self) -> None:
        await self.streams.start()
        await self.flows.start()

    async def stop(self, deadline: float) -> None:
        await asyncio.gather(self.streams.stop(deadline), self.flows.stop(deadline))

    def connections(self) -> int:
        return self.streams.connections() + self.flows.connections()
