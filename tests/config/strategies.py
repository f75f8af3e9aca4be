"""Hypothesis strategies: any configuration that isthmus could hold."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any, get_args

from hypothesis import strategies as st

from isthmus import uri
from isthmus.config import checks, units
from isthmus.config.cache_control import CacheControl
from isthmus.config.model import (
    AcceptOptions,
    Bind,
    ConnectOptions,
    CrossSiteConstraint,
    DirectoryProperties,
    EchoProperties,
    GatewayConfig,
    GatewayOptions,
    Keystore,
    Location,
    MimeMapping,
    ProxyProperties,
    Security,
    Service,
)
from isthmus.config.proxies import DIRECT, Proxy
from isthmus.config.realm import (
    AuthorizationConstraint,
    FileLogin,
    LdapLogin,
    LoginModule,
    Realm,
)
from isthmus.config.service_types import SERVICE_TYPES
from isthmus.uri import Address

# What a configuration file can hold: no control characters. ${} is there to be escaped.
printable = st.characters(codec="utf-8", exclude_categories=["C", "Z"], include_characters=" ${}")
texts = st.text(printable, max_size=20)
filled = st.text(printable, min_size=1, max_size=20)
paths = filled.filter(lambda text: ".." not in text.split("/"))
files = st.text("abc./-_ ", min_size=1, max_size=20).map(Path)
sizes = st.integers(1, units.MAXIMUM_SIZE)
durations = st.floats(0, units.MAXIMUM_DURATION) | st.integers(0, 10**6).map(lambda n: n / 1000)
positive_durations = durations.filter(bool)
rates = st.integers(1, units.MAXIMUM_RATE)
ports = st.integers(1, 65535)
hosts = st.one_of(
    st.from_regex(r"[a-z][a-z0-9]{0,8}(\.[a-z]{2,3})?", fullmatch=True),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda address: str(ipaddress.IPv6Address(address.packed))),
)
binds = st.none() | st.builds(Bind, st.just("0.0.0.0") | hosts, ports)
ciphers = st.lists(
    st.sampled_from(["HIGH", "!aNULL", "ECDHE-RSA-AES128-GCM-SHA256"]), max_size=2, unique=True
).map(lambda names: tuple(name for name in ("HIGH", *names) if names))
protocols = st.sampled_from([(), ("TLSv1.2",), ("TLSv1.3",), ("TLSv1.2", "TLSv1.3")])


@st.composite
def addresses(draw: st.DrawFn, schemes: frozenset[str]) -> Address:
    scheme = draw(st.sampled_from(sorted(schemes - {"stdio"})))
    if scheme == "unix":
        return uri.parse(f"unix:///{draw(st.text('abc/', min_size=1, max_size=20))}x")
    web = uri.SCHEMES[scheme].web
    path = draw(st.text("ab/.~!", max_size=8)) if web else ""
    query = draw(st.text("ab=&", max_size=5)) if web else ""
    slash = "/" if path else draw(st.sampled_from(["", "/"]))
    return Address(scheme, draw(hosts), draw(ports), f"{slash}{path}", query)


chains = st.just((DIRECT,)) | st.lists(
    st.builds(Proxy, st.sampled_from(["http", "https", "socks", "socks4a", "socks+ssl"]), hosts, ports),
    min_size=1,
    max_size=3,
).map(tuple)
tls: dict[str, Any] = {"protocols": protocols, "ciphers": ciphers}
span: dict[str, Any] = {
    "span_mode": st.sampled_from(["auto", "required", "never"]),
    "span_grace": st.sampled_from([1.0, 300.0]),
    "span_ping_deadline": st.sampled_from([0.1, 10.0, 3_600.0]),
    "span_maximum_streams": st.integers(1, 1_000_000),
    "span_maximum_window": st.sampled_from([64 * 1024, 1 << 30]),
}
accept_options = st.builds(
    AcceptOptions,
    **tls,
    **span,
    **{f"{scheme}_bind": binds for scheme in ("tcp", "ssl", "tls", "ws", "wss", "http", "https")},
    websocket_maximum_message_size=sizes,
    websocket_close_timeout=positive_durations,
    websocket_ping_interval=durations,
    websocket_inactivity_timeout=durations,
    http_keepalive_timeout=durations,
    tcp_maximum_outbound_rate=st.none() | rates,
    proxy_protocol=st.sampled_from(["none", "required"]),
    http_forwarded=st.sampled_from(["none", "x-forwarded-for", "forwarded"]),
    trusted_sources=st.lists(st.ip_addresses().map(ipaddress.ip_network), max_size=3).map(tuple),
)
connect_options = st.builds(
    ConnectOptions,
    **tls,
    **span,
    span_carriers=st.integers(0, 16),
    span_seal_pins=st.just(()),  # it asks for more than a choice of values: see test_checks
    websocket_mask=st.sampled_from(["always", "agreed"]),
    connect_timeout=positive_durations,
    verify_server=st.sampled_from(["required", "none"]),
    websocket_maximum_message_size=sizes,
    websocket_close_timeout=positive_durations,
    websocket_ping_interval=durations,
    websocket_inactivity_timeout=durations,
    tcp_bind=st.none() | st.builds(Bind, st.ip_addresses().map(str), st.integers(0, 65535)),
    authorization_file=st.none() | files,
    authorization_scheme=st.sampled_from(["auto", "basic", "bearer", "token"]),
    authorization_insecure=st.just("allowed"),
    tcp_transport=st.none() | chains,
    ssl_transport=st.none() | chains,
    http_transport=st.none() | chains,
    proxy_protocol=st.sampled_from(["none", "v1", "v2"]),
    http_forwarded=st.sampled_from(["none", "x-forwarded-for", "forwarded"]),
    server_name=st.none() | st.just("front.example.com"),
    http_host=st.none() | st.sampled_from(["gw.example.com", "[::1]:8443"]),
    http_path=st.none() | st.sampled_from(["/", "/a?b=c"]),
    http_headers=st.sampled_from([(), ("X-Tenant: blue", "Authorization: Bearer ${x}")]),
    http_maximum_redirects=st.integers(0, 20),
    http_maximum_cookies=st.integers(0, 1000),
    proxy_credentials_file=st.none() | files,
    proxy_credentials_keyring=st.none() | st.just("alice@proxy.example.com"),
)
cross_sites = st.builds(
    CrossSiteConstraint,
    allow_origin=st.lists(
        st.sampled_from(["*", "null", "https://www.example.com", "http://[::1]:8000"]), min_size=1, max_size=3
    ).map(tuple),
    allow_methods=st.lists(st.sampled_from(["GET", "PUT"]), max_size=2).map(tuple),
    allow_headers=st.lists(st.sampled_from(["X-One", "x-two"]), max_size=2).map(tuple),
    maximum_age=st.none() | durations,
)
locations = st.builds(
    Location,
    patterns=st.lists(st.text("a*?/.", min_size=1, max_size=8), min_size=1, max_size=3).map(tuple),
    cache_control=st.sampled_from(
        ["max-age=5", "max-age=m+600, max-age=1000", "no-store", "public, s-maxage=0"]
    ).map(CacheControl.parse),
)
mime_mappings = st.lists(
    st.builds(
        MimeMapping,
        extension=st.text("abc1_", min_size=1, max_size=5),
        mime_type=st.sampled_from(["text/css", 'text/html; charset="utf-8"']),
    ),
    max_size=3,
    unique_by=lambda mapping: mapping.extension,
).map(tuple)
properties = {
    "proxy": st.builds(
        ProxyProperties,
        maximum_pending_bytes=sizes,
        connect_strategy=st.sampled_from([None, "immediate", "deferred", "prepared"]),
        prepared_connection_count=st.integers(0, 10_000),
        maximum_recovery_interval=durations,
    ),
    "echo": st.builds(EchoProperties, repeat=st.integers(1, 1000), maximum_pending_bytes=sizes),
    "directory": st.builds(
        DirectoryProperties,
        directory=paths,
        welcome_file=st.none() | paths,
        error_pages_directory=st.none() | paths,
        options=st.sampled_from([None, "indexes"]),
        symbolic_links=st.sampled_from(["restricted", "follow"]),
        locations=st.lists(locations, max_size=2).map(tuple),
    ),
}
keystores = st.builds(
    Keystore,
    type=st.sampled_from(["PEM", "PKCS12"]),
    file=files,
    key_file=st.none() | files,
    password_file=st.none() | files,
)


LDAP = LdapLogin.model_validate(
    {"userProvider": "ldaps://h/dc=a", "userFilter": "(uid={USERNAME})", "useSSL": False, "timeout": "1.5"}
)
REALMS = [
    Realm.model_validate(
        {
            "name": name,
            "description": description,
            "user-principal-class": ["com.example.User"],
            "authentication": {
                "http-challenge-scheme": scheme,
                "http-header": ["X-One", "x-two"],
                "session-timeout": "0.5 h",
                "login-modules": [
                    LoginModule(type="file", success="sufficient", options=FileLogin(file=Path("a b"))),
                    LoginModule(type="ldap", success="required", options=LDAP),
                ],
            },
        }
    )
    for name, description, scheme in (("a", "", "Basic"), ("ü b", 'a ${b} "c"', "Application Basic"))
]
CONSTRAINTS = [
    AuthorizationConstraint(require_roles=("A", "b, c")),
    AuthorizationConstraint(require_users=("joe", "ann")),
    AuthorizationConstraint(require_valid_user=True),
]


def choices(field: str) -> list[str]:
    return list(get_args(GatewayOptions.model_fields[field].annotation))


gateway_options = st.builds(
    GatewayOptions,
    stop_timeout=durations,
    maximum_connections=st.integers(1, 10**6),
    accept_backlog=st.integers(1, 65535),
    http_head_timeout=positive_durations,
    http_maximum_head_size=st.integers(1024, 1024 * 1024),
    event_loop=st.sampled_from(choices("event_loop")),
    event_loop_spin=st.sampled_from(choices("event_loop_spin")),
    span_node=st.none() | filled,
    span_maximum_sessions=st.integers(1, 10**6),
    span_receive_budget=sizes,
    span_send_budget=sizes,
    login_timeout=positive_durations,
    login_failure_delay=st.floats(0, 30),
    login_failure_limit=st.integers(0, 1000),
    tls_transport=st.sampled_from(choices("tls_transport")),
)


@st.composite
def services(draw: st.DrawFn) -> Service:
    kind = draw(st.sampled_from(list(SERVICE_TYPES.values())))
    streams = addresses(kind.accepts)
    return Service(
        name=draw(filled),
        type=kind.name,
        description=draw(texts),
        accepts=tuple(draw(st.lists(streams, min_size=1, max_size=3))),
        connects=(draw(streams),) if kind.connects else (),
        properties=draw(properties[kind.name]),
        mime_mappings=draw(mime_mappings),
        accept_options=draw(accept_options),
        connect_options=draw(connect_options) if kind.connects else ConnectOptions(),
        cross_site=tuple(draw(st.lists(cross_sites, max_size=2))),
    )


def with_realm(service: Service, realm: Realm) -> Service:
    """Return a service whose clients log in, where its accepts can ask them."""
    if not all(accept.kind.web for accept in service.accepts):
        return service
    return service.model_copy(update={"realm_name": realm.name, "authorization": tuple(CONSTRAINTS)})


@st.composite
def configurations(draw: st.DrawFn) -> GatewayConfig:
    """Any configuration that has no problems."""
    found: list[Service] = []
    for service in draw(st.lists(services(), min_size=1, max_size=4)):
        if not checks.check([*found, service], "", {}):
            found.append(service)
    if not found:
        found = [
            Service(name="a", type="echo", accepts=(uri.parse("tcp://a:1"),), properties=EchoProperties())
        ]
    security = Security(
        keystore=draw(st.none() | keystores),
        truststore=draw(st.none() | keystores),
        realms=draw(st.sampled_from([(), tuple(REALMS)])),
    )
    if security.realms:
        found = [with_realm(service, security.realms[0]) for service in found]
    return GatewayConfig(services=tuple(found), security=security, options=draw(gateway_options))
