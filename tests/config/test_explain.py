"""What `isthmus check` says: as data, and as it is shown."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console
from tests.config.conftest import Load, gateway, proxy
from tests.config.realms import TOKEN, echo, realm

from isthmus.config.explain import Accept, Report, explain, render
from isthmus.config.machine import Machine

HERE = Machine(frozenset(("10.0.0.1",)), lowest_port=1024)
BOTH = gateway(
    "<service><name>home</name><accept>http://gw.example.com:8000</accept><type>directory</type>",
    "<properties><directory>/base</directory></properties></service>",
    "<service><name>ssh</name><accept>ws://gw.example.com/ssh</accept><accept>unix:///run/ssh</accept>",
    "<type>proxy</type><connect>tcp://10.0.0.9:22</connect>",
    "<accept-options><ws.bind>10.0.0.1:8001</ws.bind></accept-options>",
    "<properties><maximum.pending.bytes>1m</maximum.pending.bytes></properties></service>",
    "<service><name>echo</name><accept>tcp://10.0.0.1:7</accept><type>echo</type></service>",
    "<gateway-options><stop.timeout>5</stop.timeout></gateway-options>",
)


def notes(load_text: Load, *lines: str, machine: Machine = HERE) -> list[str]:
    report = explain(load_text(gateway(*lines)), machine)
    return [f"{note.level} {note.problem}" for note in report.notes]


def test_rows(load_text: Load) -> None:
    report = explain(load_text(BOTH), HERE)
    home, ssh, echo = report.rows
    assert (home.name, home.type, home.goes_to) == ("home", "directory", "the files in /base")
    assert ssh.accepts == (
        Accept("ws://gw.example.com:80/ssh", "10.0.0.1:8001"),
        Accept("unix:///run/ssh", ""),
    )
    assert (ssh.goes_to, echo.goes_to) == ("tcp://10.0.0.9:22/", "back to the client")
    assert [(option.name, str(option.value)) for option in ssh.options] == [
        ("maximum.pending.bytes", "1m"),
        ("ws.bind", "10.0.0.1:8001"),
    ]
    assert [(option.name, option.value) for option in report.gateway] == [("stop.timeout", "5 s")]


def test_the_way_out_is_shown(load_text: Load) -> None:
    text = gateway(
        "<service><name>one</name><accept>tcp://10.0.0.1:1</accept><type>proxy</type>",
        "<connect>wss://gw.example.com/</connect></service>",
        "<service><name>two</name><accept>tcp://10.0.0.1:2</accept><type>proxy</type>",
        "<connect>wss://gw.example.com/</connect>",
        "<connect-options><http.transport>socks+ssl://p</http.transport></connect-options></service>",
    )
    machine = Machine(HERE.addresses, 0, {"HTTPS_PROXY": "http://alice:sesame@proxy:3128"})
    one, two = explain(load_text(text), machine).rows
    assert one.goes_to == "wss://gw.example.com:443/\n  through http://proxy:3128 (HTTPS_PROXY)"
    assert two.goes_to == "wss://gw.example.com:443/\n  through socks+ssl://p:1443 (http.transport)"
    machine = Machine(HERE.addresses, 0, {**machine.environment, "NO_PROXY": "example.com"})
    one, _ = explain(load_text(text), machine).rows
    assert one.goes_to == "wss://gw.example.com:443/\n  directly (NO_PROXY: example.com)"
    report = explain(load_text(text), Machine(HERE.addresses, 0, {"HTTPS_PROXY": "ftp://alice:sesame@p"}))
    assert report.failed
    assert "the variable HTTPS_PROXY of the environment: ftp:// is no kind of proxy" in str(report.notes)
    assert "sesame" not in str(report)


def test_what_a_header_field_says_is_not_shown(load_text: Load) -> None:
    fields = "<http.headers>X-Tenant: blue || Authorization: Bearer sesame</http.headers>"
    text = gateway(proxy(f"<connect-options>{fields}</connect-options>", connect="ws://gw/"))
    report = explain(load_text(text), HERE)
    values = {option.name: option.value for option in report.rows[0].options}
    assert values["http.headers"] == ("X-Tenant", "Authorization")
    assert "sesame" not in str(report)


def test_verbose_lists_what_is_at_its_default(load_text: Load) -> None:
    brief, full = (
        explain(load_text(BOTH), HERE, verbose=verbose).rows[1].options for verbose in (False, True)
    )
    assert set(brief) < set(full)
    values = {option.name: option.value for option in full}
    assert values["connect.strategy"] == "immediate"
    assert values["ws.maximum.message.size"] == "128k"
    assert "ssl.verify-server" not in values  # its connect is not TLS
    assert "tls.bind" not in values


@pytest.mark.parametrize(
    ("service", "note"),
    [
        (
            proxy(accept="wss://gw.example.com:8443/"),
            (
                "ERROR gateway.xml:2: <service/accept>: wss://gw.example.com:8443/ needs a certificate "
                "and there is "
                "no keystore\n    allowed: a security/keystore with the certificate and its key"
            ),
        ),
        (
            proxy(accept="tcp://192.0.2.0:50505"),
            (
                "WARN gateway.xml:2: <service/accept>: this machine does not have the address 192.0.2.0 of "
                "tcp://192.0.2.0:50505/ and no bind maps it\n"
                "    allowed: tcp.bind with an address of this machine, or 50505 for all of them"
            ),
        ),
        (
            proxy("<accept-options><ws.bind>10.0.0.2:8001</ws.bind></accept-options>", accept="ws://a/"),
            (
                "WARN gateway.xml:2: <service/accept>: this machine does not have the address 10.0.0.2 of "
                "ws://a:80/ @ 10.0.0.2:8001\n"
                "    allowed: ws.bind with an address of this machine, or 80 for all of them"
            ),
        ),
        (
            proxy(accept="ws://gw.example.com/"),
            (
                "WARN gateway.xml:2: <service/accept>: ws://gw.example.com:80/ listens on port 80, which "
                "this user "
                "may not\n    allowed: the capability CAP_NET_BIND_SERVICE, or ws.bind with a port from 1024"
            ),
        ),
        (
            proxy(accept="ws://gw.example.com:8001/", connect="tcp://gw.example.com:8001"),
            (
                "HINT gateway.xml:2: <service/connect>: tcp://gw.example.com:8001/ is this service's own "
                "accept: "
                "a connection would go round in circles\n    allowed: the address of the server behind"
            ),
        ),
        (
            proxy("\n<accept-options><ws.bind>8001</ws.bind></accept-options>", accept="tcp://a:8001"),
            (
                "HINT gateway.xml:3: <service/accept-options/ws.bind>: ws.bind has no effect: "
                "no accept of this service uses it"
            ),
        ),
        (
            proxy(
                "\n<connect-options><tls.ciphers>HIGH</tls.ciphers></connect-options>", accept="tcp://a:8001"
            ),
            (
                "HINT gateway.xml:3: <service/connect-options/ssl.ciphers>: ssl.ciphers has no effect: "
                "no connect of this service uses it"
            ),
        ),
    ],
)
def test_notes_on_a_service(load_text: Load, service: str, note: str) -> None:
    assert notes(load_text, service) == [note]


QUIET = proxy(accept="tcp://a:8001")
MAPPING = "\n<mime-mapping><extension>x</extension><mime-type>text/x</mime-type></mime-mapping>"


def test_what_a_directory_has_several_of_is_shown_line_by_line(load_text: Load) -> None:
    locations = "".join(
        f"<location><patterns>{patterns}</patterns><cache-control>no-store</cache-control></location>"
        for patterns in ("*.a", "*.b *.c")
    )
    properties = f"<properties><directory>/</directory>{locations}</properties>"
    files = f"<service><accept>http://a:8001</accept><type>directory</type>{properties}{MAPPING}</service>"
    for verbose in (False, True):
        (row,) = explain(load_text(gateway(files)), HERE, verbose=verbose).rows
        several = [
            (each.name, each.value) for each in row.options if each.name in ("location", "mime-mapping")
        ]
        assert several == [
            ("location", "*.a: no-store"),
            ("location", "*.b *.c: no-store"),
            ("mime-mapping", "x: text/x"),
        ]


def test_a_mime_mapping_without_files_has_no_effect(load_text: Load) -> None:
    files = "<service><accept>http://a:8001</accept><type>directory</type>{}</service>".format(
        "<properties><directory>/</directory></properties>"
    )
    no_effect = "HINT gateway.xml:3: <{}/mime-mapping>: {}"
    assert notes(load_text, proxy(MAPPING, accept="tcp://a:8001")) == [
        no_effect.format("service", "it has no effect: only directory services have files")
    ]
    defaults = f"<service-defaults>{MAPPING}</service-defaults>"
    assert notes(load_text, defaults, QUIET) == [
        no_effect.format("service-defaults", "the default has no effect: there is no directory service")
    ]
    assert notes(load_text, defaults, files) == []


def test_a_bind_that_maps_the_address_is_quiet(load_text: Load) -> None:
    options = "<accept-options><tcp.bind>50505</tcp.bind></accept-options>"
    assert notes(load_text, proxy(options, accept="tcp://192.0.2.0:50505")) == []
    assert notes(load_text, proxy(accept="tcp://10.0.0.1:8001"), proxy(accept="tcp://127.0.0.9:8001")) == []
    assert notes(load_text, proxy(accept="ws://gw.example.com/"), machine=Machine()) == []


def test_defaults_that_nothing_uses(load_text: Load) -> None:
    found = notes(
        load_text,
        QUIET,
        proxy("<accept-options><tcp.bind>8003</tcp.bind></accept-options>", accept="tcp://a:8002"),
        proxy("<accept-options><ws.bind>8004</ws.bind></accept-options>", accept="ws://a:8002/"),
        "<service-defaults><accept-options>",
        "<tcp.bind>8005</tcp.bind>",
        "<ws.bind>80</ws.bind>",
        "<wss.bind>443</wss.bind>",
        "</accept-options><connect-options>",
        "<ssl.verify-server>none</ssl.verify-server>",
        "</connect-options></service-defaults>",
    )
    assert found == [
        (
            "HINT gateway.xml:7: <service-defaults/accept-options/ws.bind>: "
            "the default ws.bind has no effect: no service uses it"
        ),
        (
            "HINT gateway.xml:8: <service-defaults/accept-options/wss.bind>: "
            "the default wss.bind has no effect: no service uses it"
        ),
        (
            "HINT gateway.xml:10: <service-defaults/connect-options/ssl.verify-server>: "
            "the default ssl.verify-server has no effect: no service uses it"
        ),
    ]


def test_keystores(load_text: Load) -> None:
    found = notes(
        load_text,
        proxy(accept="wss://gw.example.com:8443/"),
        "<security><keystore><file>none.pem</file>",
        "<password-file>gateway.xml</password-file></keystore>",
        "<truststore>",
        "<file>gateway.xml</file></truststore></security>",
    )
    assert found == [
        (
            "ERROR gateway.xml:3: <security/keystore/file>: none.pem is not a file that can be read\n"
            "    allowed: a path relative to ., readable by this user"
        ),
        "HINT gateway.xml:6: <security/truststore>: the truststore has no effect: no connect uses TLS",
    ]


def test_a_keystore_that_nothing_uses(load_text: Load) -> None:
    found = notes(load_text, QUIET, "<security><keystore><file>gateway.xml</file></keystore></security>")
    assert found == [
        "HINT gateway.xml:3: <security/keystore>: the keystore has no effect: no accept uses TLS"
    ]


def test_the_warnings_of_loading_come_along_in_order(load_text: Load) -> None:
    report = explain(
        load_text(
            gateway(
                proxy(
                    "<connect-options><ws.close.timeout>1</ws.close.timeout></connect-options>",
                    accept="ws://a:1/",
                    connect="tcp://b:1",
                ),
                proxy(
                    "<connect-options><ssl.verify-server>none</ssl.verify-server></connect-options>",
                    accept="wss://a:2/",
                    connect="wss://b",
                ),
            )
        ),
        Machine(),
    )
    assert [(note.level, note.problem.line) for note in report.notes] == [
        ("ERROR", 3),
        ("WARN", 3),
        ("HINT", 2),
    ]
    assert report.failed
    assert not explain(load_text(gateway(QUIET)), Machine()).failed


def shown(report: Report, width: int) -> list[str]:
    """Return what is printed into a pipe that is `width` wide."""
    stream = io.StringIO()
    render(report, Console(file=stream, width=width))
    return [line.rstrip() for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize("width", [80, 120])
def test_the_table(load_text: Load, width: int) -> None:
    lines = shown(explain(load_text(BOTH), HERE), width)
    assert "\x1b" not in "".join(lines)
    cells = [line.split() for line in lines]
    assert cells[0] == ["Service", "Accepts", "@", "listens", "on", "Goes", "to"]
    assert cells[2:9] == [
        ["home", "http://gw.example.com:8000/", "the", "files", "in", "/base"],
        ["directory"],
        ["ssh", "ws://gw.example.com:80/ssh", "tcp://10.0.0.9:22/"],
        ["proxy", "@", "10.0.0.1:8001"],
        ["unix:///run/ssh"],
        ["echo", "tcp://10.0.0.1:7/", "back", "to", "the", "client"],
        ["echo"],
    ]
    assert ["Options", "of", "Option", "Value"] in cells
    assert ["ssh", "maximum.pending.bytes", "1m"] in cells
    assert ["gateway", "stop.timeout", "5", "s"] in cells
    assert lines[-2].startswith("WARN gateway.xml:8: <service/accept>: tcp://10.0.0.1:7/ listens on port 7")
    before_notes = lines[: lines.index(next(line for line in lines if line.startswith("WARN")))]
    assert max(map(len, before_notes)) <= width


@pytest.mark.parametrize("width", [80, 120])
def test_nothing_is_cut_off(load_text: Load, width: int) -> None:
    host = ".".join(["gateway"] * 8) + ".example.com"
    lines = shown(
        explain(
            load_text(gateway(proxy(accept=f"ws://{host}:8001/{'path/' * 10}", connect=f"wss://{host}/"))),
            HERE,
        ),
        width,
    )
    assert max(map(len, lines)) <= width
    text = "".join("".join(lines).split())
    for part in (host[:20], host[-20:], "path/path/"):
        assert part in text or width == 80
    assert "…" not in text


def test_a_terminal_gets_colours_and_names_are_no_markup(load_text: Load) -> None:
    stream = io.StringIO()
    report = explain(load_text(gateway(proxy("<name>[red]x[/red]</name>", accept="wss://a:8001/"))), HERE)
    render(report, Console(file=stream, width=80, force_terminal=True, color_system="standard"))
    assert "[red]x[/red]" in stream.getvalue()
    assert "\x1b[1;31mERROR" in stream.getvalue()


def test_paths_are_those_of_the_file(load_text: Load) -> None:
    assert explain(load_text(BOTH), HERE).path == Path("gateway.xml")


def test_realms(load_text: Load, tmp_path: Path) -> None:
    """A realm that nobody names, files that are not there, and what a service asks of its clients."""
    named = echo(
        "<realm-name>demo</realm-name>",
        "<authorization-constraint><require-role>A</require-role></authorization-constraint>",
        accept="wss://localhost:8443/",
    )
    keystore = "<security><keystore><file>users</file></keystore>"
    (tmp_path / "users").touch()
    used = realm().replace("<security>", keystore)
    assert notes(load_text, named, used) == []
    (unused,) = notes(load_text, echo(accept="ws://localhost:8000/"), realm(TOKEN, "Bearer"))
    assert unused.startswith("HINT")
    assert "the realm demo has no effect: no service names it" in unused
    (tmp_path / "users").rename(tmp_path / "other")
    found = notes(load_text, named, used)
    assert len(found) == 2
    assert all("users is not a file that can be read" in each for each in found)
    client = proxy(
        "<connect-options><http.authorization.file>none</http.authorization.file></connect-options>",
        accept="tcp://localhost:8001",
        connect="wss://localhost:2/",
    )
    (missing,) = notes(load_text, client)
    assert "none is not a file that can be read" in missing
    rows = explain(load_text(gateway(named, used)), HERE).rows
    options = {option.name: option.value for option in rows[0].options}
    assert options == {"realm-name": "demo", "authorization-constraint 1": "role A"}
