"""What must hold between services."""

from __future__ import annotations

import pytest
from tests.config.conftest import Load, Problems, gateway, proxy

from isthmus import uri
from isthmus.config import proxy_config
from isthmus.config.model import AcceptOptions, Bind, ConnectOptions, ProxyProperties, Security
from isthmus.errors import ConfigurationError


def bound(accept: str, bind: str = "") -> str:
    scheme = accept.partition(":")[0]
    return proxy(
        f"<accept-options><{scheme}.bind>{bind}</{scheme}.bind></accept-options>" if bind else "",
        accept=accept,
    )


def directory(accept: str) -> str:
    properties = "<properties><directory>/base</directory></properties>"
    return f"<service><accept>{accept}</accept><type>directory</type>{properties}</service>"


STREAMS = "ssl, tcp, tls, udp, unix, ws, wss"


@pytest.mark.parametrize(
    ("service", "block"),
    [
        (
            proxy(accept="http://a:1"),
            (
                "<service/accept>: http://a:1/: proxy services have no http accept; for a stream over "
                "the Web write ws://"
                f"\n    allowed: {STREAMS}"
            ),
        ),
        (
            proxy(connect="https://a:1/x"),
            (
                "<service/connect>: https://a:1/x: proxy services have no https connect; "
                f"for a stream over the Web write wss://\n    allowed: {STREAMS}"
            ),
        ),
        (
            directory("ws://a:1"),
            "<service/accept>: ws://a:1/: directory services have no ws accept\n    allowed: http, https",
        ),
        (
            proxy(accept="-"),
            (
                "<service/accept>: - (standard input and output) is for the command line only"
                "\n    allowed: isthmus proxy - URI, without a configuration file"
            ),
        ),
        (
            proxy(connect="stdio:"),
            (
                "<service/connect>: - (standard input and output) is for the command line only"
                "\n    allowed: isthmus proxy - URI, without a configuration file"
            ),
        ),
        (
            proxy(connect="tcp://a:0"),
            (
                "<service/connect>: tcp://a:0/: port 0 cannot be connected to\n    allowed: a port from 1 to "
                "65535"
            ),
        ),
        (
            proxy(
                "<properties><connect.strategy>deferred</connect.strategy>"
                "<prepared.connection.count>2</prepared.connection.count></properties>"
            ),
            (
                "<service/properties/connect.strategy>: connect.strategy deferred prepares no connections, "
                "but prepared.connection.count is 2\n    allowed: prepared, or a count of 0"
            ),
        ),
        (
            proxy("<properties><connect.strategy>prepared</connect.strategy></properties>"),
            (
                "<service/properties/connect.strategy>: connect.strategy prepared needs to know how many "
                "connections "
                "to prepare\n    allowed: a prepared.connection.count above 0"
            ),
        ),
    ],
)
def test_one_service(problems_of: Problems, service: str, block: str) -> None:
    assert problems_of(gateway(service)) == [f"gateway.xml:2: {block}"]


def test_names_are_unique(problems_of: Problems) -> None:
    services = proxy("<name>x</name>"), proxy("\n<name>x</name>", accept="tcp://a:2")
    what = "gateway.xml:4: <service/name>: the name 'x' is used twice, in line 2 and here"
    assert problems_of(gateway(*services)) == [f"{what}\n    allowed: a name of its own"]


TWO_SOCKETS = "one accept for each port; only http with ws, and https with wss, share one"
TWO_ROUTES = "another path or host, or another bind"
TWO_PORTS = "another port for one of them (a bind such as 8443 does that)"


@pytest.mark.parametrize(
    ("first", "second", "what", "allowed"),
    [
        (
            bound("tcp://a:1"),
            bound("tcp://a:1"),
            "tcp://a:1/ is bound twice: tcp://a:1/ (line 2) listens on a:1 too",
            TWO_SOCKETS,
        ),
        (
            bound("tcp://a:1", "5"),
            bound("ws://b:2", "5"),
            "ws://b:2/ is bound twice: tcp://a:1/ (line 2) listens on 0.0.0.0:5 too",
            TWO_SOCKETS,
        ),
        (
            bound("ws://a:1/x", "5"),
            bound("ws://a:1/x/", "5"),
            "ws://a:1/x/ is bound twice: ws://a:1/x (line 2) has the same bind 0.0.0.0:5, host and path",
            TWO_ROUTES,
        ),
        (
            bound("ws://[::1]:1"),
            bound("ws://[0:0:0:0:0:0:0:1]:1/"),
            "ws://[::1]:1/ is bound twice: ws://[::1]:1/ (line 2) has the same bind [::1]:1, host and path",
            TWO_ROUTES,
        ),
        (
            directory("http://a:80/"),
            directory("http://A"),
            "http://a:80/ is bound twice: http://a:80/ (line 2) has the same bind a:80, host and path",
            TWO_ROUTES,
        ),
        (
            bound("ws://a:1", "5"),
            bound("wss://a:2", "5"),
            "wss://a:2/ and ws://a:1/ (line 2) share 0.0.0.0:5, but only one of them is TLS",
            TWO_PORTS,
        ),
        (
            bound("tcp://a:1", "5"),
            bound("ssl://a:2", "5"),
            "ssl://a:2/ and tcp://a:1/ (line 2) share 0.0.0.0:5, but only one of them is TLS",
            TWO_PORTS,
        ),
        (
            bound("ws://10.0.0.1:5"),
            bound("ws://b:1", "5"),
            "ws://b:1/ listens on 0.0.0.0:5, ws://10.0.0.1:5/ (line 2) on 10.0.0.1:5: one is every address",
            "the same bind for both, or another port",
        ),
        (
            bound("ws://b:1", "[::]:5"),
            bound("tcp://[::1]:5"),
            "tcp://[::1]:5/ listens on [::1]:5, ws://b:1/ (line 2) on [::]:5: one is every address",
            "the same bind for both, or another port",
        ),
        (
            proxy(accept="unix:///run/a"),
            proxy(accept="unix:///run/a"),
            "unix:///run/a is bound twice, also in line 2",
            "each accept once",
        ),
    ],
)
def test_two_accepts_that_cannot_be_together(
    problems_of: Problems, first: str, second: str, what: str, allowed: str
) -> None:
    assert problems_of(gateway(first, second)) == [
        f"gateway.xml:3: <service/accept>: {what}\n    allowed: {allowed}"
    ]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (bound("ws://a:1/x", "5"), bound("ws://a:1/y", "5")),
        (bound("ws://a:1/", "5"), bound("ws://b:1/", "5")),
        (bound("ws://a:80/"), directory("http://a/")),
        (bound("wss://a/"), directory("https://a/")),
        (bound("tcp://a:1"), bound("tcp://b:1")),
        (bound("tcp://127.0.0.1:1"), bound("tcp://[::]:1")),
        (bound("tcp://127.0.0.1:0"), bound("tcp://127.0.0.1:0")),
        (bound("tcp://a:1", "5"), bound("tcp://a:1", "6")),
        (bound("tcp://localhost:5"), bound("tcp://a:1", "5")),
        (proxy(accept="unix:///run/a"), proxy(accept="unix:///run/b")),
    ],
)
def test_two_accepts_that_can_be_together(load_text: Load, first: str, second: str) -> None:
    assert len(load_text(gateway(first, second)).config.services) == 2


def test_two_accepts_of_one_service_are_compared_too(problems_of: Problems) -> None:
    (problem,) = problems_of(gateway(proxy("\n<accept>tcp://localhost:1</accept>")))
    assert problem.startswith("gateway.xml:3: <service/accept>: tcp://localhost:1/ is bound twice")


def test_a_connect_that_verifies_nothing_is_warned_about(load_text: Load) -> None:
    options = "\n<connect-options><ssl.verify-server>none</ssl.verify-server></connect-options>"
    loaded = load_text(gateway(proxy(options, connect="wss://a/"), proxy(options, accept="tcp://b:1")))
    assert [str(warning) for warning in loaded.warnings] == [
        (
            "gateway.xml:3: <service/connect-options/ssl.verify-server>: proxy-1 does not verify the server "
            "it connects to: anyone on the way can read and change the traffic\n"
            "    allowed: required; a private certificate authority goes to security/truststore"
        )
    ]


def test_the_one_liner() -> None:
    config = proxy_config(
        uri.parse("-"),
        uri.parse("wss://gw.example.com/ssh"),
        connect_options=ConnectOptions(connect_timeout=3),
        accept_options=AcceptOptions(tcp_bind=Bind("0.0.0.0", 1)),
        properties=ProxyProperties(maximum_pending_bytes=1),
        security=Security(),
    )
    (service,) = config.services
    assert (service.name, service.type) == ("proxy-1", "proxy")
    assert [str(address) for address in (*service.accepts, *service.connects)] == [
        "-",
        "wss://gw.example.com:443/ssh",
    ]
    assert service.connect_options.connect_timeout == 3


def test_the_one_liner_is_checked() -> None:
    with pytest.raises(ConfigurationError) as caught:
        proxy_config(uri.parse("http://localhost/"), uri.parse("tcp://localhost:0"))
    assert str(caught.value) == "cannot use command line: 2 problems"
    assert [problem.element for problem in caught.value.problems] == ["service/accept", "service/connect"]


def sharing(options: str) -> str:
    """Return two wss accepts on one port, the second with more options."""
    accept = "<service><name>{0}</name><type>echo</type><accept>wss://h:1/{0}</accept>"
    accept += "<accept-options><wss.bind>1</wss.bind>{1}</accept-options></service>"
    return gateway(accept.format("a", ""), accept.format("b", options))


@pytest.mark.parametrize(
    "option",
    [
        "<ssl.verify-client>required</ssl.verify-client>",
        "<ssl.protocols>TLSv1.3</ssl.protocols>",
        "<ssl.ciphers>HIGH</ssl.ciphers>",
    ],
)
def test_accepts_that_share_a_port_share_tls(problems_of: Problems, load_text: Load, option: str) -> None:
    """The handshake comes before the path is known: what one accept demands would not hold for the other."""
    (problem,) = problems_of(sharing(option))
    assert "share 0.0.0.0:1, but their ssl options differ" in problem
    load_text(sharing(""))


PREPARED = "<properties><prepared.connection.count>1</prepared.connection.count></properties>"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            "<accept-options><proxy.protocol>required</proxy.protocol></accept-options>",
            "proxy.protocol is required, and no trusted.sources say whose word is taken",
        ),
        (
            "<accept-options><http.forwarded>forwarded</http.forwarded></accept-options>",
            "http.forwarded is forwarded, and no trusted.sources say whose word is taken",
        ),
        (
            f"{PREPARED}<connect-options><proxy.protocol>v2</proxy.protocol></connect-options>",
            "proxy.protocol tells of a client, and connect.strategy prepared connects before there is one",
        ),
        (
            f"{PREPARED}<connect-options><http.forwarded>forwarded</http.forwarded></connect-options>",
            "http.forwarded tells of a client, and connect.strategy prepared connects before there is one",
        ),
    ],
)
def test_whose_word_is_taken(problems_of: Problems, options: str, message: str) -> None:
    (problem,) = problems_of(gateway(proxy(options)))
    assert message in problem


def test_a_shared_session_cannot_tell_clients_apart(problems_of: Problems) -> None:
    options = (
        "<connect-options><span.mode>required</span.mode>"
        "<http.forwarded>forwarded</http.forwarded></connect-options>"
    )
    (problem,) = problems_of(gateway(proxy(options, connect="ws://gw/")))
    assert "http.forwarded tells of each client, and the session of span.mode required" in problem


def test_accepts_of_one_port_are_told_alike(problems_of: Problems) -> None:
    told = (
        "<accept-options><proxy.protocol>required</proxy.protocol>"
        "<trusted.sources>10.0.0.1</trusted.sources></accept-options>"
    )
    (problem,) = problems_of(gateway(proxy(told, accept="ws://a:8000/one"), proxy(accept="ws://a:8000/two")))
    assert "share a:8000, but their proxy.protocol or trusted.sources differ" in problem


DATAGRAMS = ["udp", "ws", "wss"]


@pytest.mark.parametrize("connect", ["udp", "tcp", "ssl", "ws", "wss", "unix"])
@pytest.mark.parametrize("accept", ["udp", "tcp", "tls", "ws", "wss", "unix"])
def test_datagrams_and_streams_are_not_joined(
    accept: str, connect: str, load_text: Load, problems_of: Problems
) -> None:
    def address(scheme: str, port: int) -> str:
        return f"unix:///run/{port}" if scheme == "unix" else f"{scheme}://127.0.0.1:{port}"

    text = gateway(proxy(accept=address(accept, 1), connect=address(connect, 2)))
    if "udp" not in (accept, connect) or (accept in DATAGRAMS and connect in DATAGRAMS):
        load_text(text)
        return
    (problem,) = problems_of(text)
    assert "datagrams and byte streams are different things" in problem
    assert "allowed: udp to udp, udp to ws or wss, ws or wss to udp" in problem


def test_a_proxy_of_datagrams_takes_streams_beside_them(load_text: Load) -> None:
    both = "<accept>tcp://localhost:3</accept>"
    text = gateway(proxy(both, accept="udp://localhost:1", connect="ws://localhost:2/"))
    (service,) = load_text(text).config.services
    assert service.datagrams
    assert service.streams
    text = gateway(
        proxy("<connect>udp://localhost:3</connect>", accept="ws://a:1/", connect="tcp://localhost:2")
    )
    (service,) = load_text(text).config.services
    assert service.datagrams
    assert service.streams


def test_a_connect_that_nothing_leads_to_is_refused(problems_of: Problems) -> None:
    more = "<connect>udp://localhost:3</connect>"
    (problem,) = problems_of(gateway(proxy(more, accept="tcp://localhost:1", connect="tcp://localhost:2")))
    assert "no accept of this service leads to udp://localhost:3" in problem


@pytest.mark.parametrize("side", ["accept", "connect"])
def test_streams_beside_datagrams_need_span(side: str, problems_of: Problems) -> None:
    options = f"<{side}-options><span.mode>never</span.mode></{side}-options>"
    if side == "accept":
        text = proxy(
            options + "<connect>udp://localhost:3</connect>", accept="ws://a:1/", connect="tcp://b:2"
        )
    else:
        text = proxy(options + "<accept>udp://localhost:3</accept>", accept="tcp://b:2", connect="ws://a:1/")
    (problem,) = problems_of(gateway(text))
    assert "share a WebSocket, which only span can" in problem


def test_who_each_client_is_cannot_be_told_by_a_shared_websocket(problems_of: Problems) -> None:
    options = "<connect-options><http.forwarded>forwarded</http.forwarded></connect-options>"
    text = proxy(options + "<accept>udp://localhost:3</accept>", accept="tcp://b:2", connect="ws://a:1/")
    (problem,) = problems_of(gateway(text))
    assert "streams and datagrams share one WebSocket of span" in problem


def test_datagrams_may_come_both_ways(load_text: Load) -> None:
    both = "<accept>ws://localhost:3/</accept>"
    text = gateway(proxy(both, accept="udp://localhost:1", connect="udp://localhost:2"))
    (service,) = load_text(text).config.services
    assert service.datagrams


def test_udp_and_tcp_have_ports_of_their_own(load_text: Load, problems_of: Problems) -> None:
    tcp = proxy(accept="tcp://localhost:53", connect="tcp://localhost:1")
    udp = proxy(accept="udp://localhost:53", connect="udp://localhost:1")
    load_text(gateway(tcp, udp))
    (problem,) = problems_of(gateway(udp, udp))
    assert "is bound twice" in problem


@pytest.mark.parametrize(
    "name", ["connect.strategy=deferred", "prepared.connection.count=3", "maximum.recovery.interval=5"]
)
def test_what_means_nothing_for_datagrams_is_refused(name: str, problems_of: Problems) -> None:
    option, value = name.split("=")
    properties = f"<properties><{option}>{value}</{option}></properties>"
    problems = problems_of(gateway(proxy(properties, accept="udp://localhost:1")))
    assert any(f"{option} means nothing for datagrams" in problem for problem in problems)


def test_the_options_of_flows_are_those_of_the_udp_side(load_text: Load) -> None:
    options = "<{0}-options><udp.maximum.flows>{1}</udp.maximum.flows></{0}-options>"
    sides = options.format("accept", 7) + options.format("connect", 8)
    for accept, connect, flows in (
        ("udp://localhost:1", "ws://localhost:2/", 7),
        ("udp://localhost:1", "udp://localhost:2", 7),
        ("ws://localhost:1/", "udp://localhost:2", 8),
    ):
        (service,) = load_text(gateway(proxy(sides, accept=accept, connect=connect))).config.services
        assert service.udp.udp_maximum_flows == flows


@pytest.mark.parametrize("side", ["accept", "connect"])
def test_span_may_be_required_of_datagrams(side: str, load_text: Load) -> None:
    addresses = ("ws://localhost:1/", "udp://localhost:2")
    accept, connect = addresses if side == "accept" else addresses[::-1]
    options = f"<{side}-options><span.mode>{{}}</span.mode></{side}-options>"
    for mode in ("auto", "required", "never"):
        load_text(gateway(proxy(options.format(mode), accept=accept, connect=connect)))


PIN = f"sha256/{'A' * 43}="


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("<span.seal.pin>abc</span.seal.pin>", "'abc' is not the pin of a key"),
        (
            f"<span.seal.pin>{PIN}</span.seal.pin><span.mode>never</span.mode>",
            "span.seal.pin seals span, and span.mode is never",
        ),
        (
            f"<span.seal.pin>{PIN}</span.seal.pin><http.forwarded>forwarded</http.forwarded>",
            "span.seal.pin seals span, and http.forwarded or proxy.protocol keep from it",
        ),
        ("<span.seal.key>a.pem</span.seal.key>", "span.seal.key seals nothing by itself"),
    ],
)
def test_a_connect_is_sealed_or_refused(problems_of: Problems, options: str, told: str) -> None:
    text = gateway(proxy(f"<connect-options>{options}</connect-options>", connect="ws://a:1/x"))
    (problem,) = problems_of(text)
    assert told in problem


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            "<span.seal.key>a.pem</span.seal.key><span.mode>never</span.mode>",
            "span.seal.key seals span, and span.mode is never",
        ),
        ("<span.seal.clients>a.pem</span.seal.clients>", "span.seal.clients seals nothing by itself"),
    ],
)
def test_an_accept_seals_what_it_can(problems_of: Problems, options: str, told: str) -> None:
    text = gateway(proxy(f"<accept-options>{options}</accept-options>", accept="ws://a:1/x"))
    (problem,) = problems_of(text)
    assert told in problem


@pytest.mark.parametrize("side", ["accept", "connect"])
def test_datagrams_may_be_sealed(load_text: Load, side: str) -> None:
    if side == "accept":
        options = "<accept-options><span.seal.key>a.pem</span.seal.key></accept-options>"
        load_text(gateway(proxy(options, accept="ws://a:1/x", connect="udp://a:2")))
    else:
        options = f"<connect-options><span.seal.pin>{PIN}</span.seal.pin></connect-options>"
        load_text(gateway(proxy(options, accept="udp://a:1", connect="wss://a:2/x")))
