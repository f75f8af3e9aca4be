"""What the builder says about names, values and shapes: each message once, word for word."""

from __future__ import annotations

import pytest
from tests.config.conftest import PROXY, Load, Problems, gateway, proxy

from isthmus.config.model import Bind, DirectoryProperties

ACCEPT_OPTIONS = (
    "ssl.protocols, ssl.ciphers, span.mode, span.grace, span.ping.deadline, span.maximum.streams, "
    "span.maximum.window, span.seal.key, ws.emulation, ws.emulation.maximum, ws.emulation.timeout, "
    "ws.emulation.heartbeat, udp.interface, udp.multicast.ttl, udp.multicast.loop, "
    "udp.inactivity.timeout, udp.maximum.flows, udp.maximum.flow.rate, udp.maximum.delay, udp.bind, "
    "tcp.bind, ssl.bind, tls.bind, ws.bind, wss.bind, http.bind, https.bind, "
    "ws.maximum.message.size, ws.close.timeout, ws.ping.interval, ws.inactivity.timeout, "
    "http.keepalive.timeout, tcp.maximum.outbound.rate, ssl.verify-client, proxy.protocol, "
    "http.forwarded, span.seal.clients, trusted.sources, doctor.probe"
)
SERVICE = (
    "name, type, description, accept, connect, properties, accept-options, connect-options, "
    "realm-name, authorization-constraint, cross-site-constraint, mime-mapping"
)
DURATION = "seconds (30) or a number with ms, s, min or h (500 ms, 0.5 h), at most 366 days"
SIZE = "bytes (65536), kilobytes (64k or 64kB) or megabytes (1m or 1MB), at most 2147483647 bytes"
BIND = "a port (8050) or host:port (10.0.0.1:8050)"


def accept_option(text: str, accept: str = "ws://localhost:1/") -> str:
    return proxy(f"\n<accept-options>{text}</accept-options>", accept=accept)


def properties(text: str) -> str:
    return proxy(f"\n<properties>{text}</properties>")


def service(kind: str, text: str) -> str:
    return f"<service><type>{kind}</type>\n{text}</service>"


CASES: list[tuple[str, str, str]] = [
    # -- names --
    (
        "<servce/>",
        ":2: <servce>: 'servce' is not known here",
        "properties, service, service-defaults, security, gateway-options\n    did you mean: service",
    ),
    (
        proxy("\n<acept>tcp://a:1</acept>"),
        ":3: <service/acept>: 'acept' is not known here",
        f"{SERVICE}\n    did you mean: accept",
    ),
    (
        accept_option("<ws.bnd>80</ws.bnd>"),
        ":3: <service/accept-options/ws.bnd>: 'ws.bnd' is not known here",
        f"{ACCEPT_OPTIONS}\n    did you mean: ws.bind",
    ),
    (
        proxy("\n<ws.bind>80</ws.bind>"),
        ":3: <service/ws.bind>: ws.bind does not belong here",
        "in accept-options",
    ),
    (
        properties("<ssl.protocols>x</ssl.protocols>"),
        ":3: <service/properties/ssl.protocols>: ssl.protocols does not belong here",
        "in accept-options or in connect-options",
    ),
    (
        properties("<welcome-file>x</welcome-file>"),
        ":3: <service/properties/welcome-file>: welcome-file does not belong here",
        "in the properties of a directory",
    ),
    # -- given twice --
    (
        proxy("<name>a</name>\n<name>b</name>"),
        ":3: <service/name>: is given twice, in line 2 and here",
        "once",
    ),
    (
        accept_option("<ws.bind>1</ws.bind>\n<ws.bind>2</ws.bind>"),
        ":4: <service/accept-options/ws.bind>: is given twice, in line 3 and here",
        "once",
    ),
    (
        accept_option(
            "<ssl.ciphers>HIGH</ssl.ciphers>\n<tls.ciphers>HIGH</tls.ciphers>", "wss://localhost:1"
        ),
        ":4: <service/accept-options/tls.ciphers>: is given twice, as ssl.ciphers in line 3 and here",
        "once",
    ),
    ("<security/>\n<security/>", ":3: <security>: is given twice, in line 2 and here", "once"),
    # -- shape --
    (
        proxy("\n<accept-options>80</accept-options>"),
        ":3: <service/accept-options>: '80' stands where elements are expected",
        ACCEPT_OPTIONS,
    ),
    (proxy("\n<name><b/></name>"), ":3: <service/name>: has elements inside", "a text"),
    (proxy("\n<name/>"), ":3: <service/name>: is empty", "a text"),
    (
        accept_option("<ws.bind><b/></ws.bind>"),
        ":3: <service/accept-options/ws.bind>: has elements inside",
        "a value",
    ),
    (
        accept_option("<ws.bind/>"),
        ":3: <service/accept-options/ws.bind>: is empty",
        "a value, or leave it out",
    ),
    (
        "<security><keystore/></security>",
        ":2: <security/keystore>: <file> is missing",
        "",
    ),
    # -- service types --
    ("<service/>", ":2: <service>: <type> is missing", "proxy, echo, directory"),
    (
        service("prxy", ""),
        ":2: <service/type>: unknown service type 'prxy'",
        "proxy, echo, directory\n    did you mean: proxy",
    ),
    (
        service("my-extension", ""),
        (
            ":2: <service/type>: the service type my-extension cannot be used: Kaazing's extension services "
            "are Java programs"
        ),
        "proxy, echo, directory",
    ),
    (
        service("echo", ""),
        ":2: <service>: an echo service needs an accept: where clients reach it",
        "one or more <accept>",
    ),
    (
        service("proxy", "<accept>tcp://a:1</accept>"),
        ":2: <service>: a proxy service needs a connect: where its traffic goes",
        "one <connect>",
    ),
    (
        proxy("\n<connect>tcp://b:1</connect>"),
        ":3: <service/connect>: a second connect, beside line 2; Kaazing would use the first only",
        "one <connect>, or one for streams and one that is udp; a proxy does not balance",
    ),
    (
        properties("<connect>tcp://b:1</connect>"),
        ":3: <service/properties/connect>: connect stands inside properties and beside it (line 2)",
        "one of the two",
    ),
    (
        service("echo", "<accept>tcp://a:1</accept><connect>tcp://a:2</connect>"),
        ":3: <service/connect>: an echo service connects to nothing",
        "leave it out",
    ),
    (
        service(
            "directory",
            "<accept>http://a:1</accept><connect-options/><properties><directory>/</directory></properties>",
        ),
        ":3: <service/connect-options>: a directory service connects to nothing",
        "leave it out",
    ),
    (
        service("directory", "<accept>http://a:1</accept>"),
        ":2: <service>: <directory> is missing",
        "",
    ),
    # -- values --
    (
        proxy("\n<accept>tcp://a</accept>"),
        ":3: <service/accept>: 'tcp://a' has no port; a tcp address needs one: tcp://a:PORT",
        "",
    ),
    (
        accept_option("<http.keepalive.timeout>-1</http.keepalive.timeout>"),
        ":3: <service/accept-options/http.keepalive.timeout>: '-1' is not a time",
        DURATION,
    ),
    (
        properties("<maximum.pending.bytes>64q</maximum.pending.bytes>"),
        ":3: <service/properties/maximum.pending.bytes>: '64q' is not a size",
        SIZE,
    ),
    (
        properties("<maximum.pending.bytes>0</maximum.pending.bytes>"),
        ":3: <service/properties/maximum.pending.bytes>: '0' is too small",
        "more than 0",
    ),
    (
        properties("<prepared.connection.count>10001</prepared.connection.count>"),
        ":3: <service/properties/prepared.connection.count>: '10001' is too large",
        "at most 10000",
    ),
    (
        properties("<connect.strategy>preparad</connect.strategy>"),
        ":3: <service/properties/connect.strategy>: 'preparad' is not one of the choices",
        "immediate, deferred, prepared\n    did you mean: prepared",
    ),
    (
        service("echo", "<accept>tcp://a:1</accept><properties><repeat>0</repeat></properties>"),
        ":3: <service/properties/repeat>: '0' is too small",
        "at least 1",
    ),
    (
        service(
            "directory", "<accept>http://a:1</accept><properties><directory>/../etc</directory></properties>"
        ),
        ":3: <service/properties/directory>: '/../etc' leads out of the web folder",
        "a path below the home's web folder, without ..",
    ),
    (
        accept_option("<ws.bind>70000</ws.bind>"),
        (
            ":3: <service/accept-options/ws.bind>: '70000': '70000' is not a port; write a number from 0 to "
            "65535"
        ),
        BIND,
    ),
    (
        accept_option("<ws.bind>localhost</ws.bind>"),
        (
            ":3: <service/accept-options/ws.bind>: 'localhost' is not a bind; "
            "write a port (8050) or host:port (10.0.0.1:8050)"
        ),
        BIND,
    ),
    (
        "<gateway-options><event.loop>uv</event.loop></gateway-options>",
        ":2: <gateway-options/event.loop>: 'uv' is not one of the choices",
        "auto, isthmus, uvloop, asyncio",
    ),
    (
        "<service-defaults><connect-options><connect.timeout>0</connect.timeout></connect-options></service-defaults>",
        ":2: <service-defaults/connect-options/connect.timeout>: '0' is too small",
        "more than 0",
    ),
]


@pytest.mark.parametrize(("body", "headline", "allowed"), CASES, ids=[case[1][:60] for case in CASES])
def test_messages(problems_of: Problems, body: str, headline: str, allowed: str) -> None:
    block = f"gateway.xml{headline}" + (f"\n    allowed: {allowed}" if allowed else "")
    rest = "" if body.startswith("<service>") else PROXY
    assert problems_of(gateway(body, rest)) == [block]


def test_there_is_a_service(problems_of: Problems) -> None:
    block = "gateway.xml:1: <gateway-config>: there is no service\n    allowed: at least one <service>"
    assert problems_of(gateway()) == [block]


def test_all_problems_are_told_at_once_in_the_order_of_the_file(problems_of: Problems) -> None:
    problems = problems_of(
        gateway(
            proxy("<name>a</name>", accept="ws://localhost:1/a"),
            '<cluster x="1"/>',
            proxy("<name>a</name>", accept="ws://localhost:1/a"),
            "<security><keystore><type>BKS</type><file>k</file></keystore></security>",
            service("echo", "<accept>tcp://${host}:1</accept>"),
            "<gateway-options><stop.timeout>never</stop.timeout></gateway-options>",
        )
    )
    lines = [int(problem.split(":")[1]) for problem in problems]
    assert lines == [3, 3, 4, 4, 5, 7, 8]


def test_one_wrong_value_does_not_bring_others(problems_of: Problems) -> None:
    """A default that is wrong is told once, not for each service that inherits it."""
    body = gateway(
        "<service-defaults><accept-options><tcp.bind>x</tcp.bind></accept-options></service-defaults>",
        PROXY,
        PROXY.replace(":1<", ":3<"),
    )
    assert len(problems_of(body)) == 1


def test_defaults_reach_the_services_they_apply_to(load_text: Load) -> None:
    loaded = load_text(
        gateway(
            "<service-defaults>",
            "<accept-options><ws.bind>8001</ws.bind><tls.protocols>TLSv1.3</tls.protocols></accept-options>",
            "<connect-options><connect.timeout>3</connect.timeout></connect-options>",
            "</service-defaults>",
            proxy(accept="ws://a:1/"),
            proxy("<accept-options><ws.bind>b:8002</ws.bind></accept-options>", accept="ws://a:1/"),
            proxy(accept="tcp://a:3"),
            proxy(
                "<accept-options><ssl.protocols>TLSv1.2</ssl.protocols></accept-options>"
                "<connect-options><connect.timeout>4</connect.timeout></connect-options>",
                accept="wss://a:4/",
            ),
            proxy(accept="ssl://a:5"),
        )
    )
    services = loaded.config.services
    binds = [service.accept_options.ws_bind for service in services]
    assert binds == [Bind("0.0.0.0", 8001), Bind("b", 8002), None, None, None]
    assert [service.accept_options.protocols for service in services[2:]] == [(), ("TLSv1.2",), ("TLSv1.3",)]
    assert [service.connect_options.connect_timeout for service in services] == [3, 3, 3, 4, 3]


FILES = "<accept>http://localhost:8000/</accept>"
LOCATION = "<location>{}</location>"


@pytest.mark.parametrize(
    ("inside", "headline", "allowed"),
    [
        ("<location/>", ":3: <service/properties/location>: <patterns> is missing", ""),
        (
            LOCATION.format("<patterns>*</patterns><cache-control>max-age</cache-control>"),
            ":3: <service/properties/location/cache-control>: 'max-age' has no time",
            "seconds (600) or a number with min, h, d, w or y",
        ),
        (
            LOCATION.format("<patterns>\\</patterns><cache-control>public</cache-control>"),
            ":3: <service/properties/location/patterns>: '\\\\' are not patterns",
            "**/*.css images/* with blanks between",
        ),
        (
            LOCATION.format(f"<patterns>{'* ' * 101}</patterns><cache-control>public</cache-control>"),
            ":3: <service/properties/location/patterns>: there are too many patterns",
            "at most 100 in one location",
        ),
        (
            LOCATION.format(
                "<pattern>*</pattern><patterns>*</patterns><cache-control>public</cache-control>"
            ),
            ":3: <service/properties/location/pattern>: 'pattern' is not known here",
            "patterns, cache-control\n    did you mean: patterns",
        ),
        (
            "<symbolic-links>all</symbolic-links>",
            ":3: <service/properties/symbolic-links>: 'all' is not one of the choices",
            "restricted, follow",
        ),
    ],
)
def test_what_is_wrong_in_a_directory(
    problems_of: Problems, inside: str, headline: str, allowed: str
) -> None:
    body = f"<properties><directory>/</directory>{inside}</properties>"
    problems = problems_of(gateway(service("directory", FILES + body)))
    assert f"gateway.xml{headline}" + (f"\n    allowed: {allowed}" if allowed else "") in problems


@pytest.mark.parametrize(
    ("extension", "kind", "headline"),
    [
        (".css", "text/css", "extension>: '.css' is not an extension"),
        ("a/b", "text/css", "extension>: 'a/b' is not an extension"),
        ("css", "css", "mime-type>: 'css' is not a media type"),
        ("css", "text/css&#10;X-Header: y", "mime-type>: "),
        ("css", "text/css; charset", "mime-type>: "),
    ],
)
def test_what_is_wrong_in_a_mime_mapping(
    problems_of: Problems, extension: str, kind: str, headline: str
) -> None:
    mapping = f"<extension>{extension}</extension><mime-type>{kind}</mime-type>"
    body = f"<mime-mapping>{mapping}</mime-mapping><properties><directory>/</directory></properties>"
    (problem,) = problems_of(gateway(service("directory", FILES + body)))
    assert f"<service/mime-mapping/{headline}" in problem


def test_mime_mappings_of_a_service_win_over_the_defaults(load_text: Load) -> None:
    def mapping(extension: str, kind: str) -> str:
        inside = f"<extension>{extension}</extension><mime-type>{kind}</mime-type>"
        return f"<mime-mapping>{inside}</mime-mapping>"

    own = mapping("CSS", "text/own") + mapping("b", "text/b")
    services = load_text(
        gateway(
            f"<service-defaults>{mapping('css', 'text/default')}{mapping('A', 'text/a')}</service-defaults>",
            service("directory", f"{FILES}{own}<properties><directory>/</directory></properties>"),
            PROXY,
        )
    ).config.services
    found = [{each.extension: each.mime_type for each in every.mime_mappings} for every in services]
    assert found == [{"css": "text/own", "a": "text/a", "b": "text/b"}, {}]


def test_locations_are_kept_in_order(load_text: Load) -> None:
    locations = "".join(
        LOCATION.format(f"<patterns>{patterns}</patterns><cache-control>{control}</cache-control>")
        for patterns, control in (("**/*.css  *.js\n*.x", "public, max-age=1h"), ("**/*", "max-age=m+5"))
    )
    body = f"{FILES}<properties><directory>/</directory>{locations}</properties>"
    (found,) = load_text(gateway(service("directory", body))).config.services
    assert isinstance(found.properties, DirectoryProperties)
    assert [str(each) for each in found.properties.locations] == [
        "**/*.css *.js *.x: public, max-age=3600",
        "**/*: max-age=m+5",
    ]
    assert found.properties.symbolic_links == "restricted"


def test_unnamed_services_are_called_by_type_and_place(load_text: Load) -> None:
    loaded = load_text(
        gateway(
            proxy(accept="tcp://a:1"),
            "<service><type>echo</type><accept>tcp://a:2</accept></service>",
            proxy("<name>proxy-3</name>", accept="tcp://a:3"),
            proxy(accept="tcp://a:4"),
        )
    )
    names = [service.name for service in loaded.config.services]
    assert names == ["proxy-1", "echo-1", "proxy-3", "proxy-4"]


def test_toml_says_what_xml_says(load_text: Load) -> None:
    xml = load_text(
        gateway(
            "<properties><property><name>host</name><value>a</value></property></properties>",
            "<service><name>n</name><description>d</description><type>proxy</type><accept>wss://${host}/x</accept>",
            "<accept>tcp://${host}:1</accept><connect>ssl://b:2</connect>",
            "<properties><maximum.pending.bytes>1m</maximum.pending.bytes></properties>",
            "<accept-options><wss.bind>8443</wss.bind></accept-options>",
            "<connect-options><ssl.verify-server>none</ssl.verify-server></connect-options></service>",
            "<security><keystore><type>PKCS12</type><file>k.p12</file><password-file>p</password-file></keystore>",
            "<truststore><file>ca.pem</file></truststore></security>",
            "<gateway-options><stop.timeout>1 min</stop.timeout></gateway-options>",
        )
    )
    toml = load_text(
        """
        [properties]
        host = "a"
        [[service]]
        name = "n"
        description = "d"
        type = "proxy"
        accept = ["wss://${host}/x", "tcp://${host}:1"]
        connect = "ssl://b:2"
        properties = { "maximum.pending.bytes" = 1048576 }
        accept-options = { "wss.bind" = 8443 }
        connect-options = { "ssl.verify-server" = "none" }
        [security]
        keystore = { type = "PKCS12", file = "k.p12", password-file = "p" }
        truststore.file = "ca.pem"
        [gateway]
        "stop.timeout" = 60
        """,
        "gateway.toml",
    )
    assert toml.config == xml.config
