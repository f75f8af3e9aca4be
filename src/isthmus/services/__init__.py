"""What a gateway does with connections.

`TYPES` is what runs each type of service; the next services go there, and into `config.service_types`, which
says what their configuration looks like.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from isthmus.config.model import Service
from isthmus.services.base import HttpService, StreamService
from isthmus.services.echo import EchoService
from isthmus.services.proxy import ProxyService
from isthmus.transports.base import Connector


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the gateway hands to the services it makes."""

    home: Path
    """The GATEWAY_HOME, whose `web` folder is served."""
    connector: Callable[[Service], Connector]
    """Makes what reaches a service's destination."""


def _proxy(service: Service, around: Surroundings) -> ProxyService:
    return ProxyService(service, around.connector(service))


def _echo(service: Service, around: Surroundings) -> EchoService:
    return EchoService(service)


def _directory(service: Service, around: Surroundings) -> HttpService:
    # aiohttp takes a noticeable time to import: only a configuration that needs it pays.
    from isthmus.services.directory import DirectoryService

    return DirectoryService(service, around.home)


TYPES: dict[str, Callable[[Service, Surroundings], StreamService | HttpService]] = {
    "proxy": _proxy,
    "echo": _echo,
    "directory": _directory,
}
