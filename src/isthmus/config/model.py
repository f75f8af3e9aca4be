"""What a configuration says, typed: the one model that every reader fills and every part of isthmus reads.

Every option has one dotted name: an element in XML, a quoted key in TOML, the `alias` of a field here. The
readers (`config.xml`, `config.toml`) keep names and lines; `config.build` reads each section against its
class here and turns each complaint into a `Problem` with file, line and element.

A service's accepts and connects, its options and its properties are immutable once read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic.fields import FieldInfo

from isthmus import uri
from isthmus.config import tls_names, units, words
from isthmus.config.bind import Bind as Bind
from isthmus.config.cache_control import CacheControl
from isthmus.config.emulation import EmulationAcceptOptions, EmulationConnectOptions
from isthmus.config.headers import parse_fields, parse_host, parse_server_name, parse_target
from isthmus.config.networks import Network, parse_networks
from isthmus.config.proxies import Proxy, parse_chain
from isthmus.config.realm import AuthorizationConstraint, Realm
from isthmus.config.section import Count, Duration, File, Names
from isthmus.config.section import Section as Section
from isthmus.config.units import NotAllowed, shown
from isthmus.errors import UriError
from isthmus.uri import Address

MAXIMUM_CARRIERS = 16
"""WebSockets that one span session may have (docs/span.md section 8)."""


def _address(value: Any) -> Address:
    if isinstance(value, Address):
        return value
    if not isinstance(value, str):
        raise NotAllowed(f"{shown(value)} is not a URI", "scheme://host:port/path")
    try:
        return uri.parse(value)
    except UriError as error:
        raise NotAllowed(str(error)) from error


def _bind(value: Any) -> Bind:
    if isinstance(value, Bind):
        return value
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise NotAllowed(f"{shown(value)} is not a bind", "a port (8050) or host:port (10.0.0.1:8050)")
    try:
        return Bind.parse(str(value))
    except UriError as error:
        raise NotAllowed(str(error), "a port (8050) or host:port (10.0.0.1:8050)") from error


def _local_bind(value: Any) -> Bind:
    if isinstance(value, Bind):
        return value
    allowed = "an IP address of this machine (10.0.0.1), or address:port"
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise NotAllowed(f"{shown(value)} is not a local address", allowed)
    try:
        return Bind.parse_local(str(value))
    except UriError as error:
        raise NotAllowed(str(error), allowed) from error


def _web_path(value: str) -> str:
    if ".." in value.split("/"):
        raise NotAllowed(
            f"{shown(value)} leads out of the web folder", "a path below the home's web folder, without .."
        )
    return value


def _patterns(value: Any) -> tuple[str, ...]:
    words = value.split() if isinstance(value, str) else value
    if isinstance(words, (list, tuple)) and words and all(isinstance(word, str) and word for word in words):
        patterns = tuple(words)
        if len(patterns) > units.MAXIMUM_NAMES:
            raise NotAllowed("there are too many patterns", f"at most {units.MAXIMUM_NAMES} in one location")
        if not any(re.search(r"[\s\x00-\x1f\x7f\\]", pattern) for pattern in patterns):
            return patterns
    raise NotAllowed(f"{shown(value)} are not patterns", "**/*.css images/* with blanks between")


def _cache_control(value: Any) -> CacheControl:
    if isinstance(value, CacheControl):
        return value
    if not isinstance(value, str):
        raise NotAllowed(f"{shown(value)} is not a text", "max-age=600")
    return CacheControl.parse(value)


def _carriers(value: Any) -> int:
    if value == "auto":
        return 0
    if not isinstance(value, (int, str)) or not 0 <= units.count(value) <= MAXIMUM_CARRIERS:
        raise NotAllowed(f"{shown(value)} is no number of WebSockets", f"auto, or 1 to {MAXIMUM_CARRIERS}")
    return units.count(value)


Uri = Annotated[Address, BeforeValidator(_address)]
BindValue = Annotated[Bind, BeforeValidator(_bind)]
LocalBindValue = Annotated[Bind, BeforeValidator(_local_bind)]
WebPath = Annotated[str, AfterValidator(_web_path)]
"""A path below the home's `web` folder; a leading `/` means that folder."""
Size = Annotated[int, BeforeValidator(units.size)]
"""Bytes."""
Rate = Annotated[int, BeforeValidator(units.rate)]
"""Bytes a second."""
Proxies = Annotated[tuple[Proxy, ...], BeforeValidator(parse_chain)]
"""A chain of proxies, the nearest first."""
Networks = Annotated[tuple[Network, ...], BeforeValidator(parse_networks)]
Patterns = Annotated[tuple[str, ...], BeforeValidator(_patterns)]
"""Globs with blanks between: `*` and `?` within a name, `**` any number of folders."""


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a section: its dotted name, its value, and whether that is the default.

    The value is what a file would say (a size or time with its unit); None is an option that is not set.
    """

    name: str
    value: object
    is_default: bool


def readers_of(info: FieldInfo) -> list[object]:
    """Return the functions that read the value of an option, also of one that may be left out."""
    metadata = list(info.metadata)
    for member in get_args(info.annotation):
        metadata += get_args(member)[1:]
    return [getattr(each, "func", None) for each in metadata]


def options_of(section: Section) -> Iterator[Option]:
    """Yield what `section` holds, by the names a file uses."""
    for name, info in type(section).model_fields.items():
        value = getattr(section, name)
        default = not info.is_required() and value == info.get_default(call_default_factory=True)
        readers = readers_of(info)
        if value is not None and units.size in readers:
            value = units.format_size(value)
        elif value is not None and units.duration in readers:
            value = units.format_duration(value)
        elif value is not None and units.rate in readers:
            value = units.format_rate(value)
        elif _carriers in readers:
            value = value or "auto"
        yield Option(info.alias or name, value, default)


def nested(model: type[Section]) -> dict[str, type[Section]]:
    """Return the sections that may stand in `model`, each any number of times, by the names a file uses."""
    found: dict[str, type[Section]] = {}
    for name, info in model.model_fields.items():
        inner = get_args(info.annotation)[:1]
        if (
            get_origin(info.annotation) is tuple
            and isinstance(inner[0], type)
            and issubclass(inner[0], Section)
        ):
            found[info.alias or name] = inner[0]
    return found


class TlsOptions(Section):
    """TLS options that an accept and a connect share (`ssl.*`; `tls.*` is read as the same option)."""

    protocols: Annotated[Names, AfterValidator(tls_names.protocols)] = Field((), alias="ssl.protocols")
    """TLS versions, by Java or OpenSSL name: TLSv1.2 and TLSv1.3. Empty: both."""
    ciphers: Annotated[Names, AfterValidator(tls_names.ciphers)] = Field((), alias="ssl.ciphers")
    """Cipher suites of TLS 1.2 by OpenSSL name; a Java name is read as the same suite.

    Empty: the safe default of the Python in use.
    """


class SpanOptions(TlsOptions):
    """Options of span (docs/span.md) that an accept and a connect share; for ws and wss (isthmus)."""

    span_mode: Literal["auto", "required", "never"] = Field("auto", alias="span.mode")
    """Whether streams outlive their WebSocket: where the peer can, always (others are refused), never."""
    span_grace: Duration = Field(300.0, alias="span.grace", gt=0, le=86_400)
    """How long streams wait for a WebSocket to come back; the smaller of both sides holds."""
    span_ping_deadline: Duration = Field(10.0, alias="span.ping.deadline", ge=0.1, le=3_600)
    """After how long without a sign of life a WebSocket is given up; it is pinged at half of that."""
    span_maximum_streams: Count = Field(10_000, alias="span.maximum.streams", ge=1, le=1_000_000)
    """How many streams the peer may have open at once in one session; one more is reset."""
    span_maximum_window: Size = Field(16 * 1024 * 1024, alias="span.maximum.window", ge=64 * 1024, le=1 << 30)
    """The most that one stream may have under way towards this side."""
    span_seal_key: File | None = Field(None, alias="span.seal.key")
    """The key (PEM, with its certificate) by which carriers are sealed: of an accept, then it takes sealed
    ones; of a connect, who it is.
    """


class UdpOptions(Section):
    """Options of udp that an accept and a connect share (docs/udp.md)."""

    udp_interface: Annotated[str, BeforeValidator(words.interface)] | None = Field(
        None, alias="udp.interface"
    )
    """The network interface for a multicast group: a name or an address of it. None: the kernel chooses."""
    udp_multicast_ttl: Count = Field(1, alias="udp.multicast.ttl", ge=0, le=255)
    """How many networks a datagram to a group may cross (isthmus)."""
    udp_multicast_loop: Literal["enabled", "disabled"] = Field("enabled", alias="udp.multicast.loop")
    """Whether this machine sees what it sends to a group (isthmus)."""
    udp_inactivity_timeout: Duration = Field(60.0, alias="udp.inactivity.timeout", gt=0)
    """After how long without a datagram, either way, a flow ends (isthmus)."""
    udp_maximum_flows: Count = Field(10_000, alias="udp.maximum.flows", ge=1, le=1_000_000)
    """Flows of one service; one more ends the idlest (isthmus)."""
    udp_maximum_flow_rate: Count = Field(1_000, alias="udp.maximum.flow.rate", ge=1, le=1_000_000)
    """New flows in a second, and at once; datagrams that would begin more are dropped (isthmus)."""
    udp_maximum_delay: Duration = Field(0.05, alias="udp.maximum.delay", gt=0)
    """How long a datagram may wait for a WebSocket that takes no more; then it is dropped (isthmus)."""


class AcceptOptions(UdpOptions, EmulationAcceptOptions, SpanOptions):
    """`accept-options` of a service (or of `service-defaults`)."""

    udp_bind: BindValue | None = Field(None, alias="udp.bind")
    tcp_bind: BindValue | None = Field(None, alias="tcp.bind")
    ssl_bind: BindValue | None = Field(None, alias="ssl.bind")
    tls_bind: BindValue | None = Field(None, alias="tls.bind")
    ws_bind: BindValue | None = Field(None, alias="ws.bind")
    wss_bind: BindValue | None = Field(None, alias="wss.bind")
    http_bind: BindValue | None = Field(None, alias="http.bind")
    https_bind: BindValue | None = Field(None, alias="https.bind")
    websocket_maximum_message_size: Size = Field(128 * 1024, alias="ws.maximum.message.size", gt=0)
    """The largest message a WebSocket client may send; a larger one is answered with Close 1009."""
    websocket_close_timeout: Duration = Field(30.0, alias="ws.close.timeout", gt=0)
    """How long the other direction may go on after one direction of a WebSocket has ended (isthmus)."""
    websocket_ping_interval: Duration = Field(20.0, alias="ws.ping.interval", ge=0)
    """After how long without anything a WebSocket is pinged, so that nothing on the way cuts it. 0: never."""
    websocket_inactivity_timeout: Duration = Field(0.0, alias="ws.inactivity.timeout", ge=0)
    """After how long without a sign of life a WebSocket is reset; it is pinged at half of that. 0: never."""
    http_keepalive_timeout: Duration = Field(30.0, alias="http.keepalive.timeout", ge=0)
    tcp_maximum_outbound_rate: Rate | None = Field(None, alias="tcp.maximum.outbound.rate")
    """The most that is sent to each client. None: as much as goes."""

    verify_client: Literal["none", "optional", "required"] = Field("none", alias="ssl.verify-client")
    """Whether clients are asked for a certificate, and must show one; the truststore says who is believed."""
    proxy_protocol: Literal["none", "required"] = Field("none", alias="proxy.protocol")
    """Whether connections from `trusted_sources` begin with a header of the PROXY protocol (isthmus)."""
    http_forwarded: Literal["none", "x-forwarded-for", "forwarded"] = Field("none", alias="http.forwarded")
    """Which header of `trusted_sources` says who a Web client is (isthmus)."""
    span_seal_clients: File | None = Field(None, alias="span.seal.clients")
    """Certificates (PEM) of the keys of which a client must prove one where it seals. None: anybody may."""
    trusted_sources: Networks = Field((), alias="trusted.sources")
    """The balancers in front of this gateway (isthmus)."""
    doctor_probe: Literal["enabled", "disabled"] = Field("enabled", alias="doctor.probe")
    """Whether `isthmus doctor` is helped to examine the way here; for ws and wss (isthmus)."""

    def bind_for(self, scheme: str) -> Bind | None:
        """Return the bind for accepts of `scheme`; a bind applies to its own scheme only."""
        bind: Bind | None = getattr(self, f"{scheme}_bind", None)
        return bind


class ConnectOptions(UdpOptions, EmulationConnectOptions, SpanOptions):
    """`connect-options` of a service (or of `service-defaults`)."""

    span_carriers: Annotated[int, BeforeValidator(_carriers)] = Field(0, alias="span.carriers")
    """How many WebSockets carry one session. 0, written `auto`: one, and up to four where it is the limit."""
    span_seal_pins: Annotated[Names, AfterValidator(words.pins)] = Field((), alias="span.seal.pin")
    """Carriers must be sealed to a gateway that proves one of these keys. Empty: nothing is sealed."""
    websocket_mask: Literal["always", "agreed"] = Field("always", alias="ws.mask")
    """`agreed` spares the work of masking where the peer is an isthmus that ended the TLS itself."""

    connect_timeout: Duration = Field(10.0, alias="connect.timeout", gt=0)
    """How long reaching the far side may take in all: name, TCP, TLS and handshake (isthmus)."""
    authorization_file: File | None = Field(None, alias="http.authorization.file")
    """What the gateway shows a WebSocket server that asks who it is: a token, or user:password (isthmus)."""
    authorization_scheme: Literal["auto", "basic", "bearer", "token"] = Field(
        "auto", alias="http.authorization.scheme"
    )
    """How: `auto` is basic where there is a colon, else bearer; `token` is Kaazing's (isthmus)."""
    authorization_insecure: Literal["refused", "allowed"] = Field(
        "refused", alias="http.authorization.insecure"
    )
    """Whether it may be sent to a `ws` address, for everybody on the way to read (isthmus)."""
    verify_server: Literal["required", "none"] = Field("required", alias="ssl.verify-server")
    """Whether a server's certificate chain and name must be right (isthmus). `none` is warned about at each
    start.
    """
    websocket_maximum_message_size: Size = Field(128 * 1024, alias="ws.maximum.message.size", gt=0)
    """The largest message a WebSocket server may send (isthmus)."""
    websocket_close_timeout: Duration = Field(30.0, alias="ws.close.timeout", gt=0)
    websocket_ping_interval: Duration = Field(20.0, alias="ws.ping.interval", ge=0)
    """As for an accept; learned to be shorter where something cuts sooner. 0: never."""
    websocket_inactivity_timeout: Duration = Field(0.0, alias="ws.inactivity.timeout", ge=0)
    tcp_bind: LocalBindValue | None = Field(None, alias="tcp.bind")
    """The local address of outgoing connections. None: the kernel chooses."""
    udp_bind: LocalBindValue | None = Field(None, alias="udp.bind")
    """The local address of outgoing flows; with a port there can be one flow at a time (isthmus)."""
    tcp_transport: Proxies | None = Field(None, alias="tcp.transport")
    """Proxies on the way; see `config.proxies.way_to`. None: what the environment says."""
    ssl_transport: Proxies | None = Field(None, alias="ssl.transport")
    http_transport: Proxies | None = Field(None, alias="http.transport")
    proxy_credentials_file: File | None = Field(None, alias="proxy.credentials-file")
    """Who we are to proxies, in the form of netrc (isthmus)."""
    proxy_protocol: Literal["none", "v1", "v2"] = Field("none", alias="proxy.protocol")
    """Whether the destination is told first who a connection is made for (isthmus)."""
    http_forwarded: Literal["none", "x-forwarded-for", "forwarded"] = Field("none", alias="http.forwarded")
    """With which header a WebSocket server is told so (isthmus)."""
    server_name: Annotated[str, BeforeValidator(parse_server_name)] | None = Field(
        None, alias="ssl.server-name"
    )
    """The name that a server is asked for (SNI) and must prove, if not that of the URI (isthmus)."""
    http_host: Annotated[str, BeforeValidator(parse_host)] | None = Field(None, alias="http.host")
    http_path: Annotated[str, BeforeValidator(parse_target)] | None = Field(None, alias="http.path")
    http_headers: Annotated[tuple[str, ...], BeforeValidator(parse_fields)] = Field((), alias="http.headers")
    """More fields of the WebSocket handshake, `Name: value` each (isthmus)."""
    http_maximum_redirects: Count = Field(0, alias="http.maximum.redirects", ge=0, le=20)
    http_maximum_cookies: Count = Field(50, alias="http.maximum.cookies", ge=0, le=1000)
    """Cookies that are kept for the balancers of a WebSocket server; 0: none (isthmus)."""

    @property
    def tells_origin(self) -> bool:
        """Whether the destination is told who each connection is made for."""
        return self.proxy_protocol != "none" or self.http_forwarded != "none"

    proxy_credentials_keyring: Annotated[str, AfterValidator(words.keyring)] | None = Field(
        None, alias="proxy.credentials-keyring"
    )
    """The same from the keyring of this user: `USER@SERVICE` (isthmus)."""


class ProxyProperties(Section):
    """`properties` of a `proxy` service."""

    maximum_pending_bytes: Size = Field(64 * 1024, alias="maximum.pending.bytes", gt=0)
    """Unsent bytes towards one side above which the other side is no longer read; it resumes at half of that.
    """
    connect_strategy: Literal["immediate", "deferred", "prepared"] | None = Field(
        None, alias="connect.strategy"
    )
    """When to connect: before the accept is answered, at its first event, or ahead of it.

    None: `prepared` where `prepared_connection_count` is above 0, else `immediate`.
    """
    prepared_connection_count: Count = Field(0, alias="prepared.connection.count", ge=0, le=10_000)
    maximum_recovery_interval: Duration = Field(0.0, alias="maximum.recovery.interval", ge=0)
    """The longest pause between two attempts to reach a destination that was lost; until it is back, clients
    are turned away at once (404). 0: each client is connected, and told, for itself.
    """

    @property
    def strategy(self) -> Literal["immediate", "deferred", "prepared"]:
        return self.connect_strategy or ("prepared" if self.prepared_connection_count else "immediate")


class EchoProperties(Section):
    """`properties` of an `echo` service."""

    repeat: Count = Field(1, ge=1, le=1000)
    maximum_pending_bytes: Size = Field(64 * 1024, alias="maximum.pending.bytes", gt=0)


class Location(Section):
    """`location` of a `directory` service: which files may be kept by caches, and for how long."""

    patterns: Patterns
    """Against the path below the folder, whatever the case of letters; the most specific pattern decides."""
    cache_control: Annotated[CacheControl, BeforeValidator(_cache_control)] = Field(alias="cache-control")

    def __str__(self) -> str:
        return f"{' '.join(self.patterns)}: {self.cache_control}"


class DirectoryProperties(Section):
    """`properties` of a `directory` service. Paths lie below the home's `web` folder."""

    directory: WebPath
    welcome_file: WebPath | None = Field(None, alias="welcome-file")
    error_pages_directory: WebPath | None = Field(None, alias="error-pages-directory")
    options: Literal["indexes"] | None = None
    symbolic_links: Literal["restricted", "follow"] = Field("restricted", alias="symbolic-links")
    """`restricted` follows those that stay inside the folder, `follow` all."""
    locations: tuple[Location, ...] = Field((), alias="location")


class MimeMapping(Section):
    """`mime-mapping` of a service or of `service-defaults`: the Content-Type of files by the end of their
    names.
    """

    extension: Annotated[str, AfterValidator(words.extension)]
    """What follows the last dot, in lower case; any case of a file's name fits."""
    mime_type: Annotated[str, AfterValidator(words.mime_type)] = Field(alias="mime-type")

    def __str__(self) -> str:
        return f"{self.extension}: {self.mime_type}"


class CrossSiteConstraint(Section):
    """One `cross-site-constraint` of a service: pages of which other sites a browser may let in."""

    allow_origin: Annotated[Names, AfterValidator(words.origins)] = Field(alias="allow-origin")
    """Origins, `*` for every one."""
    allow_methods: Annotated[Names, AfterValidator(words.tokens)] = Field((), alias="allow-methods")
    """For HTTP: methods; empty: GET, HEAD and POST."""
    allow_headers: Annotated[Names, AfterValidator(words.tokens)] = Field((), alias="allow-headers")
    """For HTTP: request headers beyond those that every page may send."""
    maximum_age: Duration | None = Field(None, alias="maximum-age", ge=0)
    """For HTTP: how long a browser may remember the answer."""


class Service(Section):
    """One `service`."""

    name: str
    type: str
    description: str = ""
    accepts: tuple[Uri, ...] = Field((), alias="accept")
    connects: tuple[Uri, ...] = Field((), alias="connect")
    properties: ProxyProperties | EchoProperties | DirectoryProperties
    mime_mappings: tuple[MimeMapping, ...] = Field((), alias="mime-mapping")
    accept_options: AcceptOptions = Field(default_factory=AcceptOptions, alias="accept-options")
    connect_options: ConnectOptions = Field(default_factory=ConnectOptions, alias="connect-options")
    realm_name: str = Field("", alias="realm-name")
    """The realm that says who its clients are. Empty: nobody asks."""
    authorization: tuple[AuthorizationConstraint, ...] = Field((), alias="authorization-constraint")
    cross_site: tuple[CrossSiteConstraint, ...] = Field((), alias="cross-site-constraint")

    @property
    def datagrams(self) -> bool:
        """Whether a proxy carries datagrams; without streams, each plain WebSocket of it is a flow."""
        return self.type == "proxy" and any(each.kind.datagrams for each in (*self.accepts, *self.connects))

    @property
    def streams(self) -> bool:
        """Whether a proxy carries streams."""
        return self.type == "proxy" and all(
            any(not each.kind.datagrams for each in side) for side in (self.accepts, self.connects)
        )

    @property
    def udp(self) -> UdpOptions:
        """The options of its flows: those of the side that is udp, of the accept where both are."""
        return (
            self.accept_options if any(each.kind.datagrams for each in self.accepts) else self.connect_options
        )


class Keystore(Section):
    """`security/keystore` or `security/truststore`. Files are relative to the configuration file's folder."""

    type: Literal["PEM", "PKCS12", "JKS", "JCEKS"] = "PEM"
    """PKCS12, JKS and JCEKS are told apart by what is in the file, as Java does."""
    file: File
    key_file: File | None = Field(None, alias="key-file")
    """PEM only: the private key, where it is not in `file` (isthmus)."""
    password_file: File | None = Field(None, alias="password-file")
    key_password_file: File | None = Field(None, alias="key-password-file")
    """JKS and JCEKS only: the password of the private keys, where it is not that of the file (isthmus)."""


class Security(Section):
    """`security`: certificates for what we accept (keystore), whom we believe (truststore), who comes."""

    keystore: Keystore | None = None
    truststore: Keystore | None = None
    realms: tuple[Realm, ...] = Field((), alias="realm")


class GatewayOptions(Section):
    """`gateway-options` (isthmus): what holds for the whole process."""

    stop_timeout: Duration = Field(30.0, alias="stop.timeout", ge=0)
    """How long a stop waits for what is in flight."""
    maximum_connections: Count = Field(10_000, alias="maximum.connections", ge=1)
    """Accepted connections, all services together; more wait in the kernel's backlog until one ends."""
    accept_backlog: Count = Field(4096, alias="accept.backlog", ge=1, le=65535)
    http_head_timeout: Duration = Field(10.0, alias="http.head.timeout", gt=0)
    """How long a client may take for TLS and its first request head."""
    http_maximum_head_size: Size = Field(16 * 1024, alias="http.maximum.head.size", ge=1024, le=1024 * 1024)
    event_loop: Literal["auto", "isthmus", "uvloop", "asyncio"] = Field("auto", alias="event.loop")
    event_loop_spin: Literal["auto", "on", "off"] = Field("auto", alias="event.loop.spin")
    """Whether isthmus's own loop polls for 100 us before it sleeps, while messages follow each other quickly.

    auto: where the process may use two processors or more.
    """
    span_node: str | None = Field(None, alias="span.node", max_length=200)
    """What tells this gateway from others behind one balancer, the same after a restart (isthmus).

    None: made of this machine's identity and the addresses that are listened on.
    """
    span_maximum_sessions: Count = Field(10_000, alias="span.maximum.sessions", ge=1)
    """Span sessions of one accept; one more is told to come later."""
    span_receive_budget: Size = Field(64 * 1024 * 1024, alias="span.receive.budget", ge=0)
    """What the windows of all streams may take together, beyond 64 KiB for each."""
    span_send_budget: Size = Field(64 * 1024 * 1024, alias="span.send.budget", ge=0)
    """What may be kept of all streams until it is acknowledged, beyond 64 KiB for each."""
    login_timeout: Duration = Field(10.0, alias="login.timeout", gt=0)
    """How long finding out who a client is may take; then it is told to come later."""
    login_workers: Count = Field(2, alias="login.workers", ge=1, le=64)
    """Logins that are worked on at once; an argon2 entry takes 64 MiB for each."""
    login_maximum_pending: Count = Field(256, alias="login.maximum.pending", ge=1, le=100_000)
    """Logins that wait or are worked on; one more is told to come later."""
    login_failure_delay: Duration = Field(0.5, alias="login.failure.delay", ge=0, le=30)
    """The least time that a failed login takes."""
    login_failure_limit: Count = Field(10, alias="login.failure.limit", ge=0, le=1_000_000)
    """Failed logins from one address in a minute; then it is told to come later. 0: as many as there are."""
    login_cache_time: Duration = Field(60.0, alias="login.cache.time", ge=0, le=3_600)
    """How long a right password is known again without the work of checking it."""
    doctor_maximum_probes: Count = Field(8, alias="doctor.maximum.probes", ge=0, le=1_000)
    """Examinations of the way here that may be under way at once; 0: none (isthmus)."""
    doctor_maximum_rate: Rate = Field(4 * 1024 * 1024, alias="doctor.maximum.rate")
    """What all of them together may move, beyond four seconds' worth at once (isthmus)."""
    tls_transport: Literal["aiofastnet", "layer"] = Field("aiofastnet", alias="tls.transport")
    """What speaks TLS for ws, wss, http and https: aiofastnet, or isthmus's own layer over the ssl module."""


class GatewayConfig(Section):
    """A whole configuration, resolved: `${}` replaced, `service-defaults` merged into every service."""

    services: tuple[Service, ...] = Field((), alias="service")
    security: Security = Field(default_factory=Security)
    options: GatewayOptions = Field(default_factory=GatewayOptions, alias="gateway-options")
