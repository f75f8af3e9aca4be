"""`Document` -> `GatewayConfig`: every name, every value and every rule is checked, and all problems are told
at once.

The order is: replace `${}`; read each section against its class of the model (unknown and unsupported names,
double ones, values); merge `service-defaults`; name the services; then `config.checks` looks at them
together.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pydantic import ValidationError

from isthmus import uri
from isthmus.config import checks, realm_checks
from isthmus.config.applies import applies
from isthmus.config.build_realm import read_realms
from isthmus.config.document import Document, Node, failure
from isthmus.config.model import (
    AcceptOptions,
    ConnectOptions,
    CrossSiteConstraint,
    GatewayConfig,
    GatewayOptions,
    Keystore,
    Location,
    MimeMapping,
    ProxyProperties,
    Section,
    Security,
    Service,
    nested,
)
from isthmus.config.nearest import nearest
from isthmus.config.realm import OPTIONS, Authentication, AuthorizationConstraint, LoginModule, Realm
from isthmus.config.service_types import SERVICE_TYPES, ServiceType
from isthmus.config.substitution import substitute
from isthmus.config.units import NotAllowed, shown
from isthmus.config.unsupported import ELEMENTS, VALUES
from isthmus.errors import Problem, UriError
from isthmus.uri import Address

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Lines = Mapping[tuple[str | int, ...], int]
"""Where each part of a configuration was written: ("service", 0, "accept-options", "ws.bind") -> line."""

AnySection = TypeVar("AnySection", bound=Section)

_ROOT = ("properties", "service", "service-defaults", "security", "gateway-options")
_SERVICE = (
    "name",
    "type",
    "description",
    "accept",
    "connect",
    "properties",
    "accept-options",
    "connect-options",
    "realm-name",
    "authorization-constraint",
    "cross-site-constraint",
    "mime-mapping",
)
_DEFAULTS = ("accept-options", "connect-options", "mime-mapping")
_REPEATED = (
    "service",
    "accept",
    "connect",
    "cross-site-constraint",
    "location",
    "mime-mapping",
    "realm",
    "authorization-constraint",
    "require-role",
    "require-user",
    "login-module",
    "http-header",
    "http-query-parameter",
    "http-cookie",
    "user-principal-class",
    "audience",
    "role",
)
_MAY_BE_EMPTY = ("require-valid-user",)


@dataclass(frozen=True)
class Built:
    """A configuration and what is known about where it came from."""

    config: GatewayConfig
    lines: Lines
    warnings: tuple[Problem, ...]


def build(document: Document, settings: Mapping[str, str]) -> Built:
    """Give a document its meaning. Raises `ConfigurationError` with every problem there is."""
    builder = Builder(document)
    config = builder.gateway(settings)
    if document.problems:
        raise failure(document.file, document.problems)
    return Built(config, builder.lines, tuple(builder.warnings))


@dataclass
class _Defaults:
    """The valid values of `service-defaults`, by name."""

    accept: dict[str, Any] = field(default_factory=dict)
    connect: dict[str, Any] = field(default_factory=dict)
    mime_mappings: tuple[MimeMapping, ...] = ()


class Builder:
    """Reads one document; what is wrong becomes problems of it."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.lines: dict[tuple[str | int, ...], int] = {}
        self.warnings: list[Problem] = []

    def gateway(self, settings: Mapping[str, str]) -> GatewayConfig:
        sections = self.children(self.document.root, "gateway-config", _ROOT)
        self.warnings += substitute(self.document, settings)
        defaults = self.service_defaults(sections)
        security = self.security(sections)
        options = GatewayOptions()
        for node in sections.get("gateway-options", []):
            options = self.section(GatewayOptions, node, "gateway-options", ("gateway-options",))[0]
        nodes = sections.get("service", [])
        services = [self.service(node, index, defaults) for index, node in enumerate(nodes)]
        services = checks.named(services)
        if not nodes:
            self.document.wrong(self.document.root, "there is no service", "at least one <service>")
        self.document.problems += checks.check(services, self.document.file, self.lines)
        realms = realm_checks.RealmChecks(services, security.realms, self.document.file, self.lines)
        self.document.problems += realms.problems()
        self.warnings += realms.warnings()
        self.warnings += checks.warn(services, self.document.file, self.lines)
        return GatewayConfig.model_construct(services=tuple(services), security=security, options=options)

    # -- sections --

    def service_defaults(self, sections: Mapping[str, list[Node]]) -> _Defaults:
        defaults = _Defaults()
        for node in sections.get("service-defaults", []):
            for name, found in self.children(node, "service-defaults", _DEFAULTS).items():
                place = ("service-defaults", name)
                if name == "accept-options":
                    defaults.accept = self.section(AcceptOptions, found[0], name, place)[1]
                elif name == "mime-mapping":
                    defaults.mime_mappings = self.repeated(MimeMapping, found, name, place)
                else:
                    defaults.connect = self.section(ConnectOptions, found[0], name, place)[1]
        return defaults

    def security(self, sections: Mapping[str, list[Node]]) -> Security:
        stores: dict[str, Keystore] = {}
        realms: tuple[Realm, ...] = ()
        for node in sections.get("security", []):
            for name, found in self.children(node, "security", ("keystore", "truststore", "realm")).items():
                if name == "realm":
                    realms = read_realms(self, found)
                else:
                    stores[name] = self.section(Keystore, found[0], "keystore", ("security", name))[0]
        return Security(**stores, realms=realms)

    def service(self, node: Node, index: int, defaults: _Defaults) -> Service:
        """Read one service. Where parts of it are wrong, what is right is kept for the checks that follow."""
        key = ("service", index)
        self.lines[key] = node.line
        found = self.children(node, "service", _SERVICE)
        kind = self.service_type(node, found.get("type", []))
        properties = _first(found, "properties", node)
        inside = [child for child in properties.children if child.name == "connect"]
        properties.children = [child for child in properties.children if child.name != "connect"]
        beside = found.get("connect", [])
        if inside and beside:
            what = f"connect stands inside properties and beside it (line {beside[0].line})"
            self.document.wrong(inside[0], what, "one of the two")
        if kind:
            connect_options = found.get("connect-options", [])
            self.counts(node, kind, found.get("accept", []), beside or inside, connect_options)
            values = self.section(kind.properties, properties, kind.name, (*key, "properties"))[0]
        else:
            values = ProxyProperties()
        accepts = self.addresses(found.get("accept", []), (*key, "accept"))
        connects = self.addresses(beside or inside, (*key, "connect"))
        accept_defaults = {name: value for name, value in defaults.accept.items() if applies(name, accepts)}
        connect_defaults = {
            name: value
            for name, value in defaults.connect.items()
            if applies(name, connects, connecting=True)
        }
        mappings = self.repeated(
            MimeMapping, found.get("mime-mapping", []), "mime-mapping", (*key, "mime-mapping")
        )
        if kind and kind.name == "directory":
            mappings = tuple({each.extension: each for each in (*defaults.mime_mappings, *mappings)}.values())
        return Service.model_construct(
            name=self.text(found.get("name", []), (*key, "name")),
            type=kind.name if kind else "service",
            description=self.text(found.get("description", []), (*key, "description"), may_be_empty=True),
            accepts=accepts,
            connects=connects,
            properties=values,
            mime_mappings=mappings,
            accept_options=self.section(
                AcceptOptions,
                _first(found, "accept-options", node),
                "accept-options",
                (*key, "accept-options"),
                accept_defaults,
            )[0],
            connect_options=self.section(
                ConnectOptions,
                _first(found, "connect-options", node),
                "connect-options",
                (*key, "connect-options"),
                connect_defaults,
            )[0],
            realm_name=self.text(found.get("realm-name", []), (*key, "realm-name")),
            authorization=self.repeated(
                AuthorizationConstraint,
                found.get("authorization-constraint", []),
                "authorization-constraint",
                (*key, "authorization-constraint"),
            ),
            cross_site=self.repeated(
                CrossSiteConstraint,
                found.get("cross-site-constraint", []),
                "cross-site-constraint",
                (*key, "cross-site-constraint"),
            ),
        )

    def service_type(self, service: Node, nodes: list[Node]) -> ServiceType | None:
        known = ", ".join(SERVICE_TYPES)
        if not nodes:
            self.document.wrong(service, "<type> is missing", known)
            return None
        name = self.text(nodes, ())
        if not name or name in SERVICE_TYPES:
            return SERVICE_TYPES.get(name)
        reason = VALUES["service type"].get(name)
        if reason is None and name.endswith("-extension"):
            reason = "Kaazing's extension services are Java programs"
        if reason is not None:
            self.document.wrong(nodes[0], f"the service type {name} cannot be used: {reason}", known)
        else:
            self.document.wrong(
                nodes[0],
                f"unknown service type {shown(name)}",
                known,
                self.document.nearest(name, SERVICE_TYPES),
            )
        return None

    def counts(
        self, node: Node, kind: ServiceType, accepts: list[Node], connects: list[Node], options: list[Node]
    ) -> None:
        """Check how many accepts and connects a service of this type has."""
        if not accepts:
            self.document.wrong(
                node,
                f"{_a(kind.name)} service needs an accept: where clients reach it",
                "one or more <accept>",
            )
        if not kind.connects:
            for extra in (*connects, *options):
                self.document.wrong(extra, f"{_a(kind.name)} service connects to nothing", "leave it out")
        elif not connects:
            self.document.wrong(
                node, "a proxy service needs a connect: where its traffic goes", "one <connect>"
            )
        elif not self.streams_and_datagrams(connects):
            for extra in connects[1:]:
                what = f"a second connect, beside line {connects[0].line}; Kaazing would use the first only"
                allowed = "one <connect>, or one for streams and one that is udp; a proxy does not balance"
                self.document.wrong(extra, what, allowed)

    @staticmethod
    def streams_and_datagrams(connects: list[Node]) -> bool:
        """Whether these are two, one for each."""
        datagrams = [str(node.value).startswith("udp:") for node in connects]
        return sorted(datagrams) == [False, True]

    def addresses(self, nodes: list[Node], key: tuple[str | int, ...]) -> tuple[Address, ...]:
        found: list[Address] = []
        for node in nodes:
            if text := self.text([node], ()):
                try:
                    address = uri.parse(text)
                except UriError as error:
                    self.document.wrong(node, str(error))
                    continue
                self.lines[(*key, len(found))] = node.line
                found.append(address)
        return tuple(found)

    # -- one section, one leaf --

    def section(
        self,
        model: type[AnySection],
        node: Node,
        place: str,
        key: tuple[str | int, ...],
        inherited: Mapping[str, Any] | None = None,
    ) -> tuple[AnySection, dict[str, Any]]:
        """Read `node` as `model`, `inherited` values below its own.

        Returns the section and the values written in it that are valid. What is not valid is a problem of the
        document, and left at its default.
        """
        found = self.children(node, place, _names(model))
        inner = nested(model)
        values: dict[str, Any] = {
            name: self.repeated(inner[name], nodes, name, (*key, name))
            for name, nodes in found.items()
            if name in inner
        }
        leaves = {name: _joined(nodes) for name, nodes in found.items() if name not in inner}
        for name, leaf in leaves.items():
            self.lines[(*key, name)] = leaf.line
            if leaf.children:
                self.document.wrong(leaf, "has elements inside", "a value")
            elif leaf.value == "" and name not in _MAY_BE_EMPTY:
                self.document.wrong(leaf, "is empty", "a value, or leave it out")
            elif leaf.value is not None:
                values[name] = leaf.value
        while True:
            try:
                return model.model_validate({**(inherited or {}), **values}), values
            except ValidationError as error:
                wrong = {str(each["loc"][0]): each for each in error.errors(include_url=False)}
            removable = wrong.keys() & values.keys()
            for name, each in wrong.items():
                if name in removable:
                    self.document.wrong(leaves[name], *_explain(each, leaves[name].value))
                    del values[name]
                elif name not in leaves:
                    self.document.wrong(node, f"<{name}> is missing")
            if not removable:
                return cast(AnySection, model.model_construct()), values

    def repeated(
        self, model: type[AnySection], nodes: list[Node], place: str, key: tuple[str | int, ...]
    ) -> tuple[AnySection, ...]:
        """Read sections of one kind, those that are wrong left out."""
        read: list[AnySection] = []
        for index, node in enumerate(nodes):
            self.lines[(*key, index)] = node.line
            problems = len(self.document.problems)
            section = self.section(model, node, place, (*key, index))[0]
            if len(self.document.problems) == problems:
                read.append(section)
        return tuple(read)

    def text(self, nodes: list[Node], key: tuple[str | int, ...], *, may_be_empty: bool = False) -> str:
        """Return the text of a leaf, "" where it is missing or wrong."""
        if not nodes:
            return ""
        node = nodes[0]
        if key:
            self.lines[key] = node.line
        if node.children:
            self.document.wrong(node, "has elements inside", "a text")
        elif node.value is not None and not isinstance(node.value, str):
            self.document.wrong(node, f"{shown(node.value)} is not a text", "a text")
        elif node.value == "" and not may_be_empty:
            self.document.wrong(node, "is empty", "a text")
        elif isinstance(node.value, str):
            return node.value
        return ""

    def children(self, node: Node, place: str, allowed: Iterable[str]) -> dict[str, list[Node]]:
        """Return the children of `node` by name; object to those that may not stand there."""
        allowed = tuple(allowed)
        found: dict[str, list[Node]] = {}
        if node.value not in (None, ""):
            self.document.wrong(
                node, f"{shown(node.value)} stands where elements are expected", ", ".join(allowed)
            )
        for child in node.children:
            name = _canonical(child.name, place)
            if name not in allowed:
                self.stranger(child, name, place, allowed)
            elif name in found and name not in _REPEATED:
                first = found[name][0]
                other = f"as {first.path.rpartition('/')[2]} " if first.name != child.name else ""
                self.document.wrong(child, f"is given twice, {other}in line {first.line} and here", "once")
            else:
                found.setdefault(name, []).append(child)
        return found

    def stranger(self, node: Node, name: str, place: str, allowed: tuple[str, ...]) -> None:
        """Object to an element that this place does not have, unless it asks for nothing."""
        refusal = ELEMENTS.get(place, {}).get(name)
        if refusal is not None:
            if isinstance(node.value, list) or not refusal.harmless(str(node.value)):
                self.document.wrong(node, f"{node.name} is not supported: {refusal.reason}")
            return
        homes = [home for home, names in _HOMES.items() if name in names and home != place]
        if homes:
            self.document.wrong(node, f"{node.name} does not belong here", f"in {' or in '.join(homes)}")
        else:
            near = self.document.nearest(name, allowed)
            self.document.wrong(node, f"{shown(node.name)} is not known here", ", ".join(allowed), near)


def _first(found: Mapping[str, list[Node]], name: str, service: Node) -> Node:
    """Return the section `name` of a service; an empty one where it is not written."""
    return found[name][0] if name in found else Node(name, service.line, service.path)


def _joined(nodes: list[Node]) -> Node:
    """Return one leaf for those of a name that may be repeated, with all their values."""
    first = nodes[0]
    if len(nodes) == 1:
        return first
    values = [
        value for node in nodes for value in (node.value if isinstance(node.value, list) else [node.value])
    ]
    children = [child for node in nodes for child in node.children]
    return Node(
        first.name, first.line, first.path, [value for value in values if value is not None], children
    )


def _names(model: type[Section]) -> tuple[str, ...]:
    return tuple(field.alias or name for name, field in model.model_fields.items())


def _canonical(name: str, place: str) -> str:
    """`tls.*` and `ssl.*` are one option, except for binds: those belong to their own scheme."""
    if place in ("accept-options", "connect-options") and name.startswith("tls.") and name != "tls.bind":
        return f"ssl.{name.removeprefix('tls.')}"
    if place == "service" and name == "auth-constraint":  # what Kaazing called it before 2012/09
        return "authorization-constraint"
    return name


def _a(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


_HOMES: dict[str, tuple[str, ...]] = {
    "gateway-config": _ROOT,
    "service": _SERVICE,
    "accept-options": _names(AcceptOptions),
    "connect-options": _names(ConnectOptions),
    "cross-site-constraint": _names(CrossSiteConstraint),
    "gateway-options": _names(GatewayOptions),
    "location": _names(Location),
    "mime-mapping": _names(MimeMapping),
    "realm": _names(Realm),
    "authentication": _names(Authentication),
    "login-module": _names(LoginModule),
    "authorization-constraint": _names(AuthorizationConstraint),
    **{f"the options of {kind}": _names(options) for kind, options in OPTIONS.items()},
    **{f"the properties of {_a(kind.name)}": _names(kind.properties) for kind in SERVICE_TYPES.values()},
}

_LIMITS = {
    "greater_than": ("too small", "more than", "gt"),
    "greater_than_equal": ("too small", "at least", "ge"),
    "less_than_equal": ("too large", "at most", "le"),
}


def _explain(error: ErrorDetails, value: object) -> tuple[str, str, str]:
    """Return what is wrong with `value`, what is allowed, and the nearest valid value."""
    kind, context = error["type"], error.get("ctx", {})
    reason = context.get("error")
    if isinstance(reason, NotAllowed):
        return str(reason), reason.allowed, reason.nearest
    if kind in _LIMITS:
        what, allowed, limit = _LIMITS[kind]
        return f"{shown(value)} is {what}", f"{allowed} {int(context[limit])}", ""
    if kind == "literal_error":
        choices = re.findall(r"'([^']*)'", context["expected"])
        return f"{shown(value)} is not one of the choices", ", ".join(choices), nearest(value, choices)
    if kind == "string_type":
        return f"{shown(value)} is not a text", "a text", ""
    return f"{shown(value)}: {error['msg']}", "", ""
