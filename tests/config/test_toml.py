"""TOML: what is wrong with a file, and that what is written reads back equal."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from tests.config.conftest import Load, Problems, gateway, proxy
from tests.config.strategies import configurations

from isthmus.config import Loaded, load
from isthmus.config.model import GatewayConfig, Keystore, Security
from isthmus.config.toml import dumps

ECHO = '[[service]]\ntype = "echo"\naccept = "tcp://localhost:1"\n'


@pytest.mark.parametrize(
    ("text", "block"),
    [
        ("a = 1\nb =", ":2: is not valid TOML: Invalid value"),
        ("a = 1\na = 2\n", ":2: is not valid TOML: Cannot overwrite a value"),
        ('a = """\nx', ":2: is not valid TOML: Unterminated string"),
        (f"a = {'9' * 5000}", ": is not valid TOML: a number is too long"),
        ("a = " + "[" * 5000, ":1: tables or arrays are nested too deeply\n    allowed: at most 16 levels"),
        ("a." * 17 + "b = 1", ":1: tables or arrays are nested too deeply\n    allowed: at most 16 levels"),
        (
            "\n".join(f"a{n} = 1" for n in range(20_001)),
            ":20001: has too many keys\n    allowed: at most 20000",
        ),
        (
            f"{ECHO}[service.accept-options]\ntcp.bind = 80",
            (
                ":5: <service/accept-options/tcp.bind>: the key tcp.bind needs quotes\n"
                '    allowed: "tcp.bind" = ...'
            ),
        ),
        (
            f"{ECHO}[properties]\ngateway.host.name = 'x'",
            (
                ":5: <properties/gateway.host.name>: the key gateway.host.name needs quotes\n"
                '    allowed: "gateway.host.name" = ...'
            ),
        ),
        (f"{ECHO}name = 5", ":4: <service/name>: 5 is not a text\n    allowed: a text"),
        (
            f'{ECHO}name = "a\\u001b[31m"',
            ":4: <service/name>: 'a\\x1b[31m' has a control character\n    allowed: printable characters",
        ),
        (
            f"{ECHO}description = 1979-05-27",
            (
                ":4: <service/description>: '1979-05-27' is neither a text nor a number\n"
                "    allowed: a text or a number"
            ),
        ),
        (
            f'{ECHO}description = "{"x" * 4097}"',
            ":4: <service/description>: the value is too long\n    allowed: at most 4096 characters",
        ),
        (
            f"{ECHO}properties = {{ repeat = 0x{'f' * 5000} }}",
            (
                ":4: <service/properties/repeat>: the number is out of range\n    allowed: a number of at "
                "most 64 bits"
            ),
        ),
        (
            f"{ECHO}properties = {{ repeat = true }}",
            ":4: <service/properties/repeat>: True is not a number\n    allowed: a whole number",
        ),
        (
            f"{ECHO}properties = {{ repeat = 0 }}",
            ":4: <service/properties/repeat>: 0 is too small\n    allowed: at least 1",
        ),
        (
            '[[service]]\ntype = "echo"\naccept = [\n "tcp://localhost:1",\n ["tcp://localhost:2"],\n]',
            ":3: <service/accept>: an array inside an array\n    allowed: an array of texts",
        ),
        (
            '[[service]]\ntype = "echo"\naccept = [\n "tcp://localhost:1",\n # no\n 7,\n]',
            ":6: <service/accept>: 7 is not a text\n    allowed: a text",
        ),
        (
            f"{ECHO}[service.accept-options]\n'tcp.bind' = 1.5",
            (
                ":5: <service/accept-options/tcp.bind>: 1.5 is not a bind\n"
                "    allowed: a port (8050) or host:port (10.0.0.1:8050)"
            ),
        ),
        (
            f"{ECHO}[security.keystore]\nfile = 5",
            (
                ":5: <security/keystore/file>: 5 is not a file name\n"
                "    allowed: a path, relative to this file's folder"
            ),
        ),
        (
            f'{ECHO}[security.keystore]\nfile = "k"\nalias = "x"',
            (
                ":6: <security/keystore/alias>: 'alias' is not known here\n"
                "    allowed: type, file, key-file, password-file, key-password-file"
            ),
        ),
        (
            f'{ECHO}[gateway]\n"stop.timeut" = 5',
            (
                ":5: <gateway/stop.timeut>: 'stop.timeut' is not known here\n"
                "    allowed: stop.timeout, maximum.connections, accept.backlog, http.head.timeout, "
                "http.maximum.head.size, event.loop, event.loop.spin, span.node, "
                "span.maximum.sessions, span.receive.budget, span.send.budget, login.timeout, "
                "login.workers, login.maximum.pending, login.failure.delay, login.failure.limit, "
                "login.cache.time, doctor.maximum.probes, doctor.maximum.rate, tls.transport\n"
                "    did you mean: stop.timeout"
            ),
        ),
        (
            f'"a\\u001bb" = 1\n{ECHO}',
            (
                ":1: <'a\\x1bb'>: 'a\\x1bb' is not known here\n"
                "    allowed: properties, service, service-defaults, security, gateway-options"
            ),
        ),
    ],
)
def test_refusals(problems_of: Problems, text: str, block: str) -> None:
    assert problems_of(text, "gateway.toml") == [f"gateway.toml{block}"]


def test_a_megabyte_of_key_is_refused_before_the_parser_sees_it(problems_of: Problems) -> None:
    """`tomllib` would take time that grows with the square of it."""
    assert len(problems_of("a." * 500_000, "gateway.toml")) == 1
    assert len(problems_of("x = = 1\n" + "a." * 500_000, "gateway.toml")) == 1


@pytest.mark.parametrize("name", ["gateway.toml", "gateway.conf", "gateway"])
def test_what_does_not_begin_like_xml_is_toml(load_text: Load, name: str) -> None:
    assert load_text(ECHO, name).config.services[0].type == "echo"
    assert load_text(gateway(proxy()), name).config.services[0].type == "proxy"


def test_a_file_called_xml_is_xml(problems_of: Problems) -> None:
    (problem,) = problems_of(ECHO)
    assert "is not well-formed XML" in problem


WRITTEN = """\
# Written from gateway.xml by isthmus convert.
# ${} is replaced and service-defaults are merged into the services; defaults are left out.
# The files of keystores are relative to the folder this file is in.

[gateway]
"stop.timeout" = "1 min"
"maximum.connections" = 5

[security.keystore]
type = "PKCS12"
file = "../keys/a.p12"

[[service]]
name = "proxy-1"
type = "proxy"
accept = ["wss://gw.example.com:443/ssh", "tcp://gw.example.com:22"]
connect = "unix:///run/ssh"

[service.properties]
"maximum.pending.bytes" = "1m"
"prepared.connection.count" = 3

[service.accept-options]
"ssl.protocols" = ["TLSv1.3"]
"tcp.bind" = 2222
"wss.bind" = "[::1]:8443"

[service.connect-options]
"connect.timeout" = "500 ms"
"""


def test_what_is_written_can_be_read(load_text: Load) -> None:
    loaded = load_text(
        gateway(
            "<service><accept>wss://gw.example.com/ssh</accept><accept>tcp://gw.example.com:22</accept>",
            "<type>proxy</type><connect>unix:///run/ssh</connect>",
            "<properties><maximum.pending.bytes>1024k</maximum.pending.bytes>",
            "<prepared.connection.count>3</prepared.connection.count></properties>",
            "<accept-options><tls.protocols>TLSv1.3</tls.protocols><wss.bind>[::1]:8443</wss.bind></accept-options>",
            "<connect-options><connect.timeout>0.5</connect.timeout></connect-options></service>",
            "<service-defaults><accept-options><tcp.bind>2222</tcp.bind></accept-options></service-defaults>",
            "<security><keystore><type>PKCS12</type><file>../keys/a.p12</file></keystore></security>",
            "<gateway-options><stop.timeout>60</stop.timeout><maximum.connections>5</maximum.connections>",
            "</gateway-options>",
        )
    )
    assert dumps(loaded) == WRITTEN
    assert load_text(WRITTEN, "gateway.toml").config == loaded.config


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(configurations())
def test_any_model_reads_back_equal(tmp_path: Path, config: GatewayConfig) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text(dumps(Loaded(config, tmp_path / "gateway-config.xml")))
    assert load(path).config == config


def test_a_text_with_a_reference_in_it_stays_a_text(load_text: Load) -> None:
    text = gateway(
        "<properties><property><name>d</name><value>$</value></property></properties>",
        proxy("<description>${d}{home}</description>"),
    )
    loaded = load_text(text)
    assert loaded.config.services[0].description == "${home}"
    assert load_text(dumps(loaded), "gateway.toml").config == loaded.config


def test_keystores_stay_right_in_another_folder(tmp_path: Path) -> None:
    conf, other = tmp_path / "home" / "conf", tmp_path / "other"
    conf.mkdir(parents=True)
    other.mkdir()
    keystore = Keystore(file=Path("keys/a.pem"), key_file=Path("/etc/a.key"), password_file=Path("../secret"))
    loaded = Loaded(GatewayConfig(security=Security(keystore=keystore)), conf / "gateway-config.xml")
    assert 'file = "keys/a.pem"' in dumps(loaded)
    assert 'file = "keys/a.pem"' in dumps(loaded, conf)
    moved = dumps(loaded, other)
    assert 'file = "../home/conf/keys/a.pem"' in moved
    assert 'key-file = "/etc/a.key"' in moved
    assert 'password-file = "../home/secret"' in moved
