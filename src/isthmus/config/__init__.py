"""Configuration: a file, Kaazing's XML or isthmus's TOML, becomes one typed model.

    loaded = load(Path("conf/gateway-config.xml"), {"gateway.hostname": "gw.example.com"})
    loaded.config.services[0].accepts

A file goes through `document` (text within limits), `xml` or `toml` (names and lines), `build` (meaning, all
problems at once). `explain` says what a configuration will do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from isthmus.config import checks, realm_checks
from isthmus.config.build import build
from isthmus.config.checks import Lines, line_of
from isthmus.config.document import failure, read_text
from isthmus.config.model import (
    AcceptOptions,
    ConnectOptions,
    GatewayConfig,
    GatewayOptions,
    ProxyProperties,
    Security,
    Service,
)
from isthmus.errors import Problem
from isthmus.uri import Address

__all__ = ["Loaded", "load", "proxy_config"]


@dataclass(frozen=True)
class Loaded:
    """A configuration and where it came from.

    `directory` is the folder that keystores and password files are relative to. `lines` says where each part
    was written: `("service", 0)`, `("service", 0, "accept", 0)`, `("service", 0, "accept-options",
    "ws.bind")`,
    `("service-defaults", "accept-options", "ws.bind")`, `("security", "keystore", "file")`.
    """

    config: GatewayConfig
    path: Path
    warnings: tuple[Problem, ...] = ()
    lines: Lines = field(default_factory=lambda: MappingProxyType({}), repr=False)

    @property
    def directory(self) -> Path:
        return self.path.parent

    def line(self, *key: str | int) -> int:
        """Return the line where `key` was written, or what it belongs to; 0 where nothing in the file says
        it.
        """
        return line_of(self.lines, *key)


def load(path: Path, settings: Mapping[str, str] | None = None) -> Loaded:
    """Read a configuration file: XML where it begins with `<` or is named so, else TOML.

    `settings` are the values given by `--set name=value`; they win over the file's `properties`.
    Raises `ConfigurationError`, whose `problems` are all there are, in the order of the file.
    """
    text = read_text(path)
    if text.lstrip().startswith("<") or path.suffix.lower() == ".xml":
        from isthmus.config.xml import read  # lxml takes its time to load; only XML pays for it
    else:
        from isthmus.config.toml import read
    built = build(read(str(path), text), settings or {})
    return Loaded(built.config, path, built.warnings, MappingProxyType(built.lines))


def proxy_config(
    accept: Address,
    connect: Address,
    *,
    accept_options: AcceptOptions | None = None,
    connect_options: ConnectOptions | None = None,
    properties: ProxyProperties | None = None,
    security: Security | None = None,
    options: GatewayOptions | None = None,
) -> GatewayConfig:
    """Return the configuration of `isthmus proxy ACCEPT CONNECT`: one proxy service, checked as a file's
    would be.

    Raises `ConfigurationError`.
    """
    service = Service(
        name="proxy-1",
        type="proxy",
        accepts=(accept,),
        connects=(connect,),
        properties=properties or ProxyProperties(),
        accept_options=accept_options or AcceptOptions(),
        connect_options=connect_options or ConnectOptions(),
    )
    problems = checks.check([service], "command line", {}, stdio=True)
    problems += realm_checks.RealmChecks([service], [], "command line", {}).problems()
    if problems:
        raise failure("command line", problems)
    return GatewayConfig(
        services=(service,), security=security or Security(), options=options or GatewayOptions()
    )
