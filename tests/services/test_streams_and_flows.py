"""A proxy of streams and datagrams: each goes to its own service, and both are one to the gateway."""

from __future__ import annotations

from typing import Any

from isthmus.services.base import DatagramService
from isthmus.services.streams_and_flows import StreamsAndFlows
from isthmus.transports.datagrams import DatagramCounters


class Half:
    def __init__(self, name: str) -> None:
        self.name = name
        self.counters = DatagramCounters()
        self.told: list[Any] = []

    def incoming(self, incoming: Any) -> None:
        self.told.append(incoming)

    def flow(self, incoming: Any) -> None:
        self.told.append(incoming)

    async def start(self) -> None:
        self.told.append("start")

    async def stop(self, deadline: float) -> None:
        self.told.append(deadline)

    def connections(self) -> int:
        return 2


async def test_each_has_its_own() -> None:
    streams, flows = Half("both"), Half("flows")
    both = StreamsAndFlows(streams, flows)  # type: ignore[arg-type]
    assert isinstance(both, DatagramService)
    assert both.name == "both"
    assert both.counters is flows.counters
    await both.start()
    both.incoming("stream")  # type: ignore[arg-type]
    both.flow("flow")  # type: ignore[arg-type]
    assert both.connections() == 4
    await both.stop(3.0)
    assert streams.told == ["start", "stream", 3.0]
    assert flows.told == ["start", "flow", 3.0]
