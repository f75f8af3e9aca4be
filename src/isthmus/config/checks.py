"""What must hold between the parts of a configuration: names, schemes, and who listens where."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from isthmus.config.model import Bind, ProxyProperties, Service
from isthmus.config.service_types import SERVICE_TYPES
from isthmus.config.traffic import joins, leads_to
from isthmus.errors import Problem
from isthmus.uri import Address

Lines = Mapping[tuple[str | int, ...], int]


def line_of(lines: Lines, *key: str | int) -> int:
    """Return where `key` was written: the part itself, else the service-default it comes from, else what it
    is in.
    """
    if key in lines:
        return lines[key]
    if len(key) == 4 and ("service-defaults", *key[2:]) in lines:
        return lines[("service-defaults", *key[2:])]
    return line_of(lines, *key[:-1]) if key else 0


def named(services: Sequence[Service]) -> list[Service]:
    """Return the services, each unnamed one named by its type and its place among those of the type:
    `proxy-1`.
    """
    taken = {service.name for service in services}
    places: dict[str, int] = {}
    result: list[Service] = []
    for service in services:
        place = places[service.type] = places.get(service.type, 0) + 1
        if not service.name:
            name = f"{service.type}-{place}"
            while name in taken:
                place += 1
                name = f"{service.type}-{place}"
            taken.add(name)
            service = service.model_copy(update={"name": name})
        result.append(service)
    return result


def listens_on(service: Service, accept: Address) -> Bind:
    """Return where `accept` of `service` really listens. Only for network schemes."""
    return service.accept_options.bind_for(accept.scheme) or Bind(accept.host, accept.port)


def check(services: Sequence[Service], file: str, lines: Lines, *, stdio: bool = False) -> list[Problem]:
    """Return every problem between the parts. `stdio` allows `-` as an address, which only a command line
    has.
    """
    problems = [*_names(services, file, lines)]
    for index, service in enumerate(services):
        problems += _schemes(service, index, file, lines, stdio)
        problems += _strategy(service, index, file, lines)
        problems += _trust(service, index, file, lines)
        problems += _datagrams(service, index, file, lines)
        problems += _sealing(service, index, file, lines)
    problems += _listeners(services, file, lines)
    return problems


def warn(services: Sequence[Service], file: str, lines: Lines) -> list[Problem]:
    """Return what is allowed but should be said at every start."""
    warnings: list[Problem] = []
    for index, service in enumerate(services):
        if service.connect_options.verify_server == "none" and any(to.kind.secure for to in service.connects):
            line = line_of(lines, "service", index, "connect-options", "ssl.verify-server")
            what = (
                f"{service.name} does not verify the server it connects to: "
                "anyone on the way can read and change the traffic"
            )
            allowed = "required; a private certificate authority goes to security/truststore"
            warnings.append(Problem(file, line, "service/connect-options/ssl.verify-server", what, allowed))
    return warnings


def _names(services: Sequence[Service], file: str, lines: Lines) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for index, service in enumerate(services):
        if service.name in first:
            line = line_of(lines, "service", first[service.name], "name")
            what = f"the name {service.name!r} is used twice, in line {line} and here"
            yield Problem(
                file, line_of(lines, "service", index, "name"), "service/name", what, "a name of its own"
            )
        first.setdefault(service.name, index)


def _schemes(service: Service, index: int, file: str, lines: Lines, stdio: bool) -> Iterator[Problem]:
    kind = SERVICE_TYPES.get(service.type)
    if kind is None:
        return
    sides = (("accept", service.accepts), ("connect", service.connects if kind.connects else ()))
    for side, addresses in sides:
        for place, address in enumerate(addresses):
            line = line_of(lines, "service", index, side, place)
            what = allowed = ""
            if address.scheme == "stdio" and not stdio:
                what = "- (standard input and output) is for the command line only"
                allowed = "isthmus proxy - URI, without a configuration file"
            elif address.scheme not in kind.accepts:
                what = f"{address}: {service.type} services have no {address.scheme} {side}"
                allowed = ", ".join(sorted(kind.accepts - {"stdio"}))
                if kind.accepts >= {"ws"} and address.kind.web:
                    what += f"; for a stream over the Web write ws{'s' if address.kind.secure else ''}://"
            elif side == "connect" and address.port == 0 and not address.kind.local:
                what, allowed = f"{address}: port 0 cannot be connected to", "a port from 1 to 65535"
            if what:
                yield Problem(file, line, f"service/{side}", what, allowed)


def _strategy(service: Service, index: int, file: str, lines: Lines) -> Iterator[Problem]:
    properties = service.properties
    if not isinstance(properties, ProxyProperties):
        return
    count, strategy = properties.prepared_connection_count, properties.connect_strategy
    line = line_of(lines, "service", index, "properties", "connect.strategy")
    if count and strategy in ("immediate", "deferred"):
        what = (
            f"connect.strategy {strategy} prepares no connections, but prepared.connection.count is {count}"
        )
        yield Problem(file, line, "service/properties/connect.strategy", what, "prepared, or a count of 0")
    if not count and strategy == "prepared":
        what = "connect.strategy prepared needs to know how many connections to prepare"
        yield Problem(
            file, line, "service/properties/connect.strategy", what, "a prepared.connection.count above 0"
        )


def _trust(service: Service, index: int, file: str, lines: Lines) -> Iterator[Problem]:
    """Whoever says who a client is must be named, and a client must be there to be told of."""
    accepting, connecting = service.accept_options, service.connect_options
    for name, value in (
        ("proxy.protocol", accepting.proxy_protocol),
        ("http.forwarded", accepting.http_forwarded),
    ):
        if value != "none" and not accepting.trusted_sources:
            line = line_of(lines, "service", index, "accept-options", name)
            what = f"{name} is {value}, and no trusted.sources say whose word is taken"
            allowed = "trusted.sources with the addresses of the balancers (10.0.0.0/8)"
            yield Problem(file, line, f"service/accept-options/{name}", what, allowed)
    prepared = isinstance(service.properties, ProxyProperties) and service.properties.strategy == "prepared"
    for name, told in (
        ("proxy.protocol", connecting.proxy_protocol),
        ("http.forwarded", connecting.http_forwarded),
    ):
        if told == "none":
            continue
        line = line_of(lines, "service", index, "connect-options", name)
        what = allowed = ""
        if prepared:
            what = f"{name} tells of a client, and connect.strategy prepared connects before there is one"
            allowed = "connect.strategy immediate or deferred"
        elif connecting.span_mode == "required" and any(connect.kind.web for connect in service.connects):
            what = f"{name} tells of each client, and the session of span.mode required is shared by all"
            allowed = "one of the two; span tells of each stream by itself"
        if what:
            yield Problem(file, line, f"service/connect-options/{name}", what, allowed)


def _datagrams(service: Service, index: int, file: str, lines: Lines) -> Iterator[Problem]:
    """Datagrams are joined to datagrams and streams to streams; beside each other they need span."""
    properties = service.properties
    if not service.datagrams or not isinstance(properties, ProxyProperties):
        return
    for place, accept in enumerate(service.accepts):
        if any(joins(accept, connect) for connect in service.connects):
            continue
        what = (
            f"{accept} cannot be joined to {service.connects[0]}: "
            "datagrams and byte streams are different things"
        )
        allowed = "udp to udp, udp to ws or wss, ws or wss to udp; streams to anything but udp"
        line = line_of(lines, "service", index, "accept", place)
        yield Problem(file, line, "service/accept", what, allowed)
    for place, connect in enumerate(service.connects):
        if len(service.connects) > 1 and not leads_to(service, connect):
            line = line_of(lines, "service", index, "connect", place)
            what = f"no accept of this service leads to {connect}"
            yield Problem(file, line, "service/connect", what, "leave it out, or accept that kind of traffic")
    if service.streams:
        yield from _streams_beside_datagrams(service, index, file, lines)
        return
    for name, value in (
        ("connect.strategy", properties.connect_strategy not in (None, "immediate")),
        ("prepared.connection.count", properties.prepared_connection_count),
        ("maximum.recovery.interval", properties.maximum_recovery_interval),
    ):
        if value:
            line = line_of(lines, "service", index, "properties", name)
            what = f"{name} means nothing for datagrams: a flow begins with its first one"
            yield Problem(file, line, f"service/properties/{name}", what, "leave it out")


def _streams_beside_datagrams(service: Service, index: int, file: str, lines: Lines) -> Iterator[Problem]:
    """A plain WebSocket does not say which of the two it carries."""
    sides = (
        ("accept-options", service.accepts, service.accept_options),
        ("connect-options", service.connects, service.connect_options),
    )
    for section, addresses, options in sides:
        if not any(each.scheme in ("ws", "wss") for each in addresses):
            continue
        if options.span_mode == "never":
            line = line_of(lines, "service", index, section, "span.mode")
            what = "streams and datagrams of one service share a WebSocket, which only span can"
            yield Problem(file, line, f"service/{section}/span.mode", what, "auto or required")
    told = service.connect_options
    for name, value in (("proxy.protocol", told.proxy_protocol), ("http.forwarded", told.http_forwarded)):
        if value != "none" and any(each.scheme in ("ws", "wss") for each in service.connects):
            line = line_of(lines, "service", index, "connect-options", name)
            what = f"{name} tells of each client, and streams and datagrams share one WebSocket of span"
            allowed = "leave it out: span tells of each stream and flow by itself"
            yield Problem(file, line, f"service/connect-options/{name}", what, allowed)


def _sealing(service: Service, index: int, file: str, lines: Lines) -> Iterator[Problem]:
    """Only span is sealed, so what asks for sealing may use nothing else."""
    accepting, connecting = service.accept_options, service.connect_options
    for section, name, wanted, mode in (
        ("accept-options", "span.seal.key", accepting.span_seal_key is not None, accepting.span_mode),
        ("connect-options", "span.seal.pin", bool(connecting.span_seal_pins), connecting.span_mode),
    ):
        if not wanted:
            continue
        what = allowed = ""
        if mode == "never":
            what, allowed = f"{name} seals span, and span.mode is never", "span.mode auto or required"
        elif section == "connect-options" and connecting.tells_origin:
            what = f"{name} seals span, and http.forwarded or proxy.protocol keep from it"
            allowed = "one of them; span tells of each stream's client by itself"
        if what:
            line = line_of(lines, "service", index, section, name)
            yield Problem(file, line, f"service/{section}/{name}", what, allowed)
    for section, name, lonely, beside in (
        (
            "accept-options",
            "span.seal.clients",
            accepting.span_seal_clients is not None and accepting.span_seal_key is None,
            "span.seal.key",
        ),
        (
            "connect-options",
            "span.seal.key",
            connecting.span_seal_key is not None and not connecting.span_seal_pins,
            "span.seal.pin",
        ),
    ):
        if lonely:
            line = line_of(lines, "service", index, section, name)
            what = f"{name} seals nothing by itself"
            yield Problem(file, line, f"service/{section}/{name}", what, f"{beside} beside it")


@dataclass(frozen=True, slots=True)
class _Listener:
    accept: Address
    bind: Bind
    line: int
    tls: tuple[object, ...] = ()
    header: tuple[object, ...] = ()

    @property
    def route(self) -> tuple[bool, str, str]:
        """What tells web accepts of one port apart: Upgrade, Host and path."""
        return self.accept.scheme in ("ws", "wss"), self.accept.authority, self.accept.path.rstrip("/")

    @property
    def family(self) -> int:
        """4 or 6 for a bind to an IP address, 0 for a name."""
        if ":" in self.bind.host:
            return 6
        return 4 if self.bind.host.replace(".", "").isdigit() else 0

    @property
    def wild(self) -> bool:
        """Whether this is every address of its family."""
        return self.bind.host in ("0.0.0.0", "::")

    def __str__(self) -> str:
        return f"{self.accept} (line {self.line})" if self.line else str(self.accept)


class _Listeners:
    """Finds accepts that cannot listen beside each other, in one pass over them."""

    def __init__(self) -> None:
        self._local: dict[str, _Listener] = {}
        self._binds: dict[tuple[bool, Bind], _Listener] = {}
        self._routes: dict[tuple[bool, Bind, bool, str, str], _Listener] = {}
        self._families: dict[tuple[bool, int, int, bool], _Listener] = {}

    def add(self, mine: _Listener) -> tuple[str, str] | None:
        """Add one more; return what is wrong and what is allowed where it cannot be with those before."""
        accept, bind = mine.accept, mine.bind
        if accept.kind.local:
            other = self._local.setdefault(str(accept), mine)
            if other is not mine:
                return f"{accept} is bound twice, also in line {other.line}", "each accept once"
            return None
        if bind.port == 0:  # each gets a port of its own
            return None
        datagrams = accept.kind.datagrams  # the ports of UDP are others than those of TCP
        other = self._binds.setdefault((datagrams, bind), mine)
        same_route = self._routes.setdefault((datagrams, bind, *mine.route), mine)
        if other is mine:
            return self._beside(mine)
        if accept.kind.secure != other.accept.kind.secure:
            what = f"{accept} and {other} share {bind}, but only one of them is TLS"
            return what, "another port for one of them (a bind such as 8443 does that)"
        if not (accept.kind.web and other.accept.kind.web):
            what = f"{accept} is bound twice: {other} listens on {bind} too"
            return what, "one accept for each port; only http with ws, and https with wss, share one"
        if mine.tls != other.tls:
            what = f"{accept} and {other} share {bind}, but their ssl options differ"
            return what, "the same ssl.verify-client, ssl.protocols and ssl.ciphers, or another port"
        if mine.header != other.header:
            what = f"{accept} and {other} share {bind}, but their proxy.protocol or trusted.sources differ"
            return what, "the same of both, or another port"
        if same_route is not mine:
            what = f"{accept} is bound twice: {same_route} has the same bind {bind}, host and path"
            return what, "another path or host, or another bind"
        return None

    def _beside(self, mine: _Listener) -> tuple[str, str] | None:
        """Every address and one of them cannot be listened on at once."""
        if not mine.family:
            return None
        place = mine.accept.kind.datagrams, mine.bind.port, mine.family
        self._families.setdefault((*place, mine.wild), mine)
        other = self._families.get((*place, not mine.wild))
        if other is None:
            return None
        what = f"{mine.accept} listens on {mine.bind}, {other} on {other.bind}: one is every address"
        return what, "the same bind for both, or another port"


def _listeners(services: Sequence[Service], file: str, lines: Lines) -> Iterator[Problem]:
    listeners = _Listeners()
    for index, service in enumerate(services):
        for place, accept in enumerate(service.accepts):
            line = line_of(lines, "service", index, "accept", place)
            bind = Bind("", 0) if accept.kind.local else listens_on(service, accept)
            options = service.accept_options
            tls = (options.verify_client, options.protocols, options.ciphers) if accept.kind.secure else ()
            told = options.proxy_protocol != "none"
            header = (options.proxy_protocol, options.trusted_sources) if told else ()
            if problem := listeners.add(_Listener(accept, bind, line, tls, header)):
                yield Problem(file, line, "service/accept", *problem)
