"""What a gateway does with connections.

`TYPES` is what runs each type of service; the next services go there, and into `config.service_types`, which
says what their configuration looks like.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from isthmus.config.model import Service
from isthmus.services.base import DatagramService, HttpService, StreamService
from isthmus.services.echo import EchoService
from isthmus.services.flows import FlowService
from isthmus.services.proxy import ProxyService
from isthmus.services.streams_and_flows import StreamsAndFlows
from isthmus.transports.base import Connector
from isthmus.transports.datagrams import DatagramConnector, DatagramCounters

AnyService = StreamService | DatagramService | HttpService


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the gateway hands to the services it makes."""

    home: Path
    """The GATEWAY_HOME, whose `web` folder is served."""
    connector: Callable[[Service], Connector]
    """Makes what reaches a service's destination."""
    datagram_connector: Callable[[Service, DatagramCounters], DatagramConnector]
    """Makes what makes the far sides of a service's flows."""


def _proxy(service: Service, around: Surroundings) -> ProxyService | FlowService | StreamsAndFlows:
    streams = ProxyService(service, around.connector(service)) if service.streams else None
    if not service.datagrams:
        assert streams is not None
        return streams
    counters = DatagramCounters()
    flows = FlowService(service, around.datagram_connector(service, counters), counters)
    return flows if streams is None else StreamsAndFlows(streams, flows)


def _echo(service: Service, around: Surroundings) -> EchoService:
    return EchoService(service)


def _directory(service: Service, around: Surroundings) -> HttpService:
    # aiohttp takes a noticeable time to import: only a configuration that needs it pays.
    from isthmus.services.directory import DirectoryService

    return DirectoryService(service, around.home)


TYPES: dict[str, Callable[[Service, Surroundings], AnyService]] = {
    "proxy": _proxy,
    "echo": _echo,
    "directory": _directory,
}
