"""The service types a configuration may name, and what each takes."""

from __future__ import annotations

from dataclasses import dataclass

from isthmus.config.model import DirectoryProperties, EchoProperties, ProxyProperties
from isthmus.uri import SCHEMES


@dataclass(frozen=True, slots=True)
class ServiceType:
    """`accepts` are the schemes it can be reached by; `connects` says whether it has a connect."""

    name: str
    properties: type[ProxyProperties | EchoProperties | DirectoryProperties]
    accepts: frozenset[str]
    connects: bool


_CARRIED = frozenset(name for name, scheme in SCHEMES.items() if scheme.stream or scheme.datagrams)

SERVICE_TYPES: dict[str, ServiceType] = {
    kind.name: kind
    for kind in (
        ServiceType("proxy", ProxyProperties, _CARRIED, connects=True),
        ServiceType("echo", EchoProperties, _CARRIED, connects=False),
        ServiceType("directory", DirectoryProperties, frozenset(("http", "https")), connects=False),
    )
}
