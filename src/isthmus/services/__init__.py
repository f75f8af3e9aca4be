"""What a gateway does with connections. `TYPES` is the list of all there is; the next services go here."""

from __future__ import annotations

from isthmus.config.model import DirectoryProperties, EchoProperties, ProxyProperties, Section

TYPES: dict[str, type[Section]] = {
    "proxy": ProxyProperties,
    "echo": EchoProperties,
    "directory": DirectoryProperties,
}
