"""What a configuration will do, for `isthmus check`: first as data (`explain`), then as text (`render`).

Nothing is started, nothing is resolved and nothing is connected to; files are looked at, not read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from isthmus.config import Loaded
from isthmus.config.applies import applies
from isthmus.config.checks import listens_on
from isthmus.config.headers import split_field
from isthmus.config.machine import Machine
from isthmus.config.model import (
    DirectoryProperties,
    EchoProperties,
    Option,
    ProxyProperties,
    Service,
    options_of,
)
from isthmus.config.proxies import way_to
from isthmus.errors import ConfigurationError, Problem
from isthmus.uri import Address, is_multicast

Level = Literal["ERROR", "WARN", "HINT"]
_LEVELS: tuple[Level, ...] = ("ERROR", "WARN", "HINT")


@dataclass(frozen=True, slots=True)
class Note:
    """Something to know before a start: ERROR (it fails), WARN (look at it) or HINT (it has no effect)."""

    level: Level
    problem: Problem


@dataclass(frozen=True, slots=True)
class Accept:
    """The address the world knows, and where the gateway listens for it ("" for a local one)."""

    public: str
    listens: str


@dataclass(frozen=True, slots=True)
class Row:
    """One service. `options` are those in force that are not at their default, or all, as was asked for."""

    name: str
    type: str
    accepts: tuple[Accept, ...]
    goes_to: str
    options: tuple[Option, ...]


@dataclass(frozen=True, slots=True)
class CertificateRow:
    """One certificate of a store, as text."""

    store: str
    subject: str
    names: tuple[str, ...]
    issuer: str
    valid: str
    left: str


@dataclass(frozen=True, slots=True)
class Report:
    """What `isthmus check` shows. `notes` are ordered: errors, warnings, hints, each in the order of the
    file.
    """

    path: Path
    rows: tuple[Row, ...]
    gateway: tuple[Option, ...]
    notes: tuple[Note, ...]
    certificates: tuple[CertificateRow, ...] = ()

    def plus(self, certificates: Sequence[CertificateRow], notes: Sequence[Note]) -> Report:
        """Return this report with certificates, and with more notes put in order among its own."""
        return replace(self, certificates=tuple(certificates), notes=_ordered([*self.notes, *notes]))

    @property
    def failed(self) -> bool:
        """Tell whether a start with this configuration on this machine would fail."""
        return any(note.level == "ERROR" for note in self.notes)


def explain(loaded: Loaded, machine: Machine, *, verbose: bool = False) -> Report:
    """Say what `loaded` would do on `machine`; with `verbose`, options at their default are listed, too."""
    rows = tuple(_row(service, verbose, machine) for service in loaded.config.services)
    gateway = tuple(
        option for option in options_of(loaded.config.options) if verbose or not option.is_default
    )
    notes = [Note("WARN", problem) for problem in loaded.warnings]
    notes += _Notes(loaded, machine).all()
    return Report(loaded.path, rows, gateway, _ordered(notes))


def _ordered(notes: Sequence[Note]) -> tuple[Note, ...]:
    return tuple(sorted(notes, key=lambda note: (_LEVELS.index(note.level), note.problem.line)))


def _row(service: Service, verbose: bool, machine: Machine) -> Row:
    accepts = tuple(
        Accept(str(accept), "" if accept.kind.local else str(listens_on(service, accept)))
        for accept in service.accepts
    )
    options = list(options_of(service.properties))
    if isinstance(service.properties, ProxyProperties):
        strategy = service.properties.strategy
        options = [
            replace(each, value=strategy) if each.name == "connect.strategy" else each for each in options
        ]
    if isinstance(service.properties, DirectoryProperties):
        options = [each for each in options if each.name != "location"]
        options += [Option("location", str(each), False) for each in service.properties.locations]
        options += [Option("mime-mapping", str(each), False) for each in service.mime_mappings]
    options += [each for each in options_of(service.accept_options) if applies(each.name, service.accepts)]
    options += [
        each
        for each in options_of(service.connect_options)
        if applies(each.name, service.connects, connecting=True)
    ]
    if service.realm_name:
        options.append(Option("realm-name", service.realm_name, False))
    options += [
        Option(f"authorization-constraint {place}", str(each), False)
        for place, each in enumerate(service.authorization, 1)
    ]
    options += [
        Option(f"cross-site-constraint {place}", ", ".join(each.allow_origin), False)
        for place, each in enumerate(service.cross_site, 1)
    ]
    # What a header field says may be a secret.
    options = [
        replace(each, value=tuple(split_field(line)[0] for line in each.value))
        if each.name == "http.headers" and isinstance(each.value, tuple)
        else each
        for each in options
    ]
    shown = tuple(option for option in options if verbose or not option.is_default)
    return Row(service.name, service.type, accepts, _goes_to(service, machine), shown)


def _goes_to(service: Service, machine: Machine) -> str:
    if isinstance(service.properties, DirectoryProperties):
        return f"the files in {service.properties.directory}"
    if isinstance(service.properties, EchoProperties):
        return "back to the client"
    lines: list[str] = []
    for connect in service.connects:
        lines.append(str(connect))
        try:
            way = way_to(connect, service.connect_options, machine.environment)
        except ConfigurationError:  # told as an error
            continue
        if way.reason:
            lines.append(f"  {way}")
    return "\n".join(lines)


class _Notes:
    """Looks for what will not work, or not as it seems."""

    def __init__(self, loaded: Loaded, machine: Machine) -> None:
        self.loaded = loaded
        self.machine = machine
        self.services = loaded.config.services

    def all(self) -> Iterator[Note]:
        for index, service in enumerate(self.services):
            for place, accept in enumerate(service.accepts):
                yield from self.accept(service, accept, self.loaded.line("service", index, "accept", place))
            yield from self.loop(service, index)
            yield from self.origin(service, index)
            yield from self.way(service, index)
            if service.mime_mappings and not isinstance(service.properties, DirectoryProperties):
                line = self.loaded.line("service", index, "mime-mapping", 0)
                what = "it has no effect: only directory services have files"
                yield self.note("HINT", line, "service/mime-mapping", what)
        yield from self.own_options()
        yield from self.defaults()
        yield from self.certificates()
        yield from self.realms()

    def note(self, level: Level, line: int, element: str, what: str, allowed: str = "") -> Note:
        return Note(level, Problem(str(self.loaded.path), line, element, what, allowed))

    def accept(self, service: Service, accept: Address, line: int) -> Iterator[Note]:
        """Can it be listened on?"""
        element = "service/accept"
        if accept.kind.secure and self.loaded.config.security.keystore is None:
            what = f"{accept} needs a certificate and there is no keystore"
            yield self.note(
                "ERROR", line, element, what, "a security/keystore with the certificate and its key"
            )
        if accept.kind.local:
            return
        bind = listens_on(service, accept)
        bound = service.accept_options.bind_for(accept.scheme) is not None
        if not self.machine.has(bind.host) and not (accept.kind.datagrams and is_multicast(bind.host)):
            via = f" @ {bind}" if bound else " and no bind maps it"
            what = f"this machine does not have the address {bind.host} of {accept}{via}"
            allowed = (
                f"{accept.scheme}.bind with an address of this machine, or {accept.port} for all of them"
            )
            yield self.note("WARN", line, element, what, allowed)
        if 0 < bind.port < self.machine.lowest_port:
            what = f"{accept} listens on port {bind.port}, which this user may not"
            lowest = self.machine.lowest_port
            allowed = (
                f"the capability CAP_NET_BIND_SERVICE, or {accept.scheme}.bind with a port from {lowest}"
            )
            yield self.note("WARN", line, element, what, allowed)

    def loop(self, service: Service, index: int) -> Iterator[Note]:
        """Does a proxy connect to itself?"""
        for place, connect in enumerate(service.connects):
            for accept in service.accepts:
                same = (accept.host, accept.port, accept.resource) == (
                    connect.host,
                    connect.port,
                    connect.resource,
                )
                if same and accept.kind.local == connect.kind.local:
                    line = self.loaded.line("service", index, "connect", place)
                    what = f"{connect} is this service's own accept: a connection would go round in circles"
                    yield self.note("HINT", line, "service/connect", what, "the address of the server behind")

    def origin(self, service: Service, index: int) -> Iterator[Note]:
        """Can a connect come from where it should, and do constraints mean anything?"""
        options = service.connect_options
        for name, local in (("tcp.bind", options.tcp_bind), ("udp.bind", options.udp_bind)):
            if local is not None and not self.machine.has(local.host):
                line = self.loaded.line("service", index, "connect-options", name)
                what = (
                    f"this machine does not have the address {local.host}, which connections are to come from"
                )
                element = f"service/connect-options/{name}"
                yield self.note("WARN", line, element, what, "an address of this machine")
        if service.cross_site and not any(accept.kind.web for accept in service.accepts):
            line = self.loaded.line("service", index, "cross-site-constraint", 0, "allow-origin")
            what = "the constraint has no effect: no accept of this service is for browsers"
            yield self.note("HINT", line, "service/cross-site-constraint", what)

    def way(self, service: Service, index: int) -> Iterator[Note]:
        """Can the proxies be known?"""
        options = service.connect_options
        try:
            for connect in service.connects:
                way_to(connect, options, self.machine.environment)
        except ConfigurationError as error:
            line = self.loaded.line("service", index, "connect", 0)
            yield self.note("ERROR", line, "service/connect", str(error), error.hint)

    def own_options(self) -> Iterator[Note]:
        """Which options of a service itself have no effect?"""
        for key, line in self.loaded.lines.items():
            if key[0] != "service" or len(key) != 4 or key[2] not in ("accept-options", "connect-options"):
                continue
            service, section, name = self.services[int(key[1])], key[2], str(key[3])
            accepting = section == "accept-options"
            if not applies(
                name, service.accepts if accepting else service.connects, connecting=not accepting
            ):
                side = "accept" if accepting else "connect"
                what = f"{name} has no effect: no {side} of this service uses it"
                yield self.note("HINT", line, f"service/{section}/{name}", what)

    def defaults(self) -> Iterator[Note]:
        """Which service-defaults have no effect?"""
        for key, line in self.loaded.lines.items():
            if key[0] != "service-defaults" or len(key) != 3:
                continue
            _, section, name = key
            if section == "mime-mapping":
                if not any(isinstance(service.properties, DirectoryProperties) for service in self.services):
                    what = "the default has no effect: there is no directory service"
                    yield self.note("HINT", line, "service-defaults/mime-mapping", what)
                continue
            used = any(
                applies(
                    str(name),
                    service.accepts if section == "accept-options" else service.connects,
                    connecting=section == "connect-options",
                )
                and ("service", index, section, name) not in self.loaded.lines
                for index, service in enumerate(self.services)
            )
            if not used:
                what = f"the default {name} has no effect: no service uses it"
                yield self.note("HINT", line, f"service-defaults/{section}/{name}", what)

    def certificates(self) -> Iterator[Note]:
        """Are the keystores there, and needed?"""
        sides = {
            "keystore": [accept for service in self.services for accept in service.accepts],
            "truststore": [connect for service in self.services for connect in service.connects],
        }
        for name, addresses in sides.items():
            store = getattr(self.loaded.config.security, name)
            if store is None:
                continue
            if not any(address.kind.secure for address in addresses):
                side = "accept" if name == "keystore" else "connect"
                what = f"the {name} has no effect: no {side} uses TLS"
                yield self.note("HINT", self.loaded.line("security", name, "file"), f"security/{name}", what)
            for option in options_of(store):
                line = self.loaded.line("security", name, option.name)
                yield from self.readable(option, line, f"security/{name}/{option.name}")

    def realms(self) -> Iterator[Note]:
        """Are the realms used, and their files there?"""
        for index, realm in enumerate(self.loaded.config.security.realms):
            if not any(service.realm_name == realm.name for service in self.services):
                line = self.loaded.line("security", "realm", index, "name")
                what = f"the realm {realm.name} has no effect: no service names it"
                yield self.note("HINT", line, "security/realm", what)
            for place, module in enumerate(realm.modules):
                for option in options_of(module.options):
                    key = ("security", "realm", index, "login-module", place, "options", option.name)
                    element = (
                        f"security/realm/authentication/login-modules/login-module/options/{option.name}"
                    )
                    yield from self.readable(option, self.loaded.line(*key), element)
        for index, service in enumerate(self.services):
            for option in options_of(service.connect_options):
                line = self.loaded.line("service", index, "connect-options", option.name)
                yield from self.readable(option, line, f"service/connect-options/{option.name}")

    def readable(self, option: Option, line: int, element: str) -> Iterator[Note]:
        """Is the file that an option names there?"""
        if not isinstance(option.value, Path):
            return
        path = self.loaded.directory / option.value
        if not (path.is_file() and os.access(path, os.R_OK)):
            what = f"{path} is not a file that can be read"
            allowed = f"a path relative to {self.loaded.directory}, readable by this user"
            yield self.note("ERROR", line, element, what, allowed)


def _place(address: Address) -> tuple[bool, str, int, str]:
    """What two addresses have in common that reach the same thing, whatever their schemes."""
    return address.kind.local, address.host, address.port, address.resource


# -- text --

_STYLES: dict[Level, str] = {"ERROR": "bold red", "WARN": "yellow", "HINT": "cyan"}


def render(report: Report, console: Console) -> None:
    """Print `report`: the services, their options, then errors, warnings and hints. Nothing is cut off."""
    services = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for heading in ("Service", "Accepts @ listens on", "Goes to"):
        services.add_column(heading, overflow="fold")
    for row in report.rows:
        name = Text(row.name, "bold").append(f"\n{row.type}", "dim not bold")
        services.add_row(name, Text("\n".join(_accept_lines(row))), Text(row.goes_to))
    console.print(services)
    options = [(row.name, option) for row in report.rows for option in row.options]
    options += [("gateway", option) for option in report.gateway]
    if options:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        for heading in ("Options of", "Option", "Value"):
            table.add_column(heading, overflow="fold")
        before = ""
        for owner, option in options:
            table.add_row(
                Text(owner if owner != before else ""), Text(option.name), Text(_value(option.value))
            )
            before = owner
        console.print()
        console.print(table)
    if report.certificates:
        console.print()
        console.print(_certificates_table(report.certificates))
    for note in report.notes:
        console.print()
        text = Text(note.level, _STYLES[note.level]).append(f" {note.problem}", "not bold default")
        console.print(text, soft_wrap=not console.is_terminal)


def _certificates_table(certificates: Sequence[CertificateRow]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for heading in ("Certificates in", "Subject", "For", "Issued by", "Valid", "Left"):
        table.add_column(heading, overflow="fold")
    before = ""
    for row in certificates:
        store = row.store if row.store != before else ""
        texts = (store, row.subject, "\n".join(row.names) or "-", row.issuer, row.valid, row.left)
        table.add_row(*map(Text, texts))
        before = row.store
    return table


def _accept_lines(row: Row) -> Iterator[str]:
    for accept in row.accepts:
        yield accept.public
        if accept.listens and f"//{accept.listens}/" not in accept.public:
            yield f"  @ {accept.listens}"


def _value(value: object) -> str:
    if value is None or value == ():
        return "-"
    if isinstance(value, tuple):
        return ", ".join(str(item) for item in value)
    if isinstance(value, float):
        return f"{value} s"
    return str(value)
