"""XML: namespaces, order, lines, and everything hostile."""

from __future__ import annotations

import subprocess
import sys
from itertools import permutations

import pytest
from tests.config.conftest import NAMESPACE, PROXY, Load, Problems, gateway, proxy

from isthmus.config.document import MAXIMUM_ELEMENTS, MAXIMUM_VALUE
from isthmus.config.xml import NAMESPACES

KNOWN = "\n             ".join(NAMESPACES)


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_all_eight_namespaces_mean_the_same(load_text: Load, namespace: str) -> None:
    text = gateway(PROXY)
    assert load_text(text.replace(NAMESPACE, namespace)).config == load_text(text).config


def test_a_prefix_may_be_used(load_text: Load) -> None:
    text = gateway(PROXY).replace("</", "</k:").replace("xmlns=", "xmlns:k=")
    text = "".join(
        f"<k:{part}" if index and not part.startswith("/") else (f"<{part}" if index else part)
        for index, part in enumerate(text.split("<"))
    )
    assert load_text(text).config == load_text(gateway(PROXY)).config


def test_elements_come_in_any_order_and_comments_anywhere(load_text: Load) -> None:
    parts = (
        "<!-- a --><properties><property><value>1<!-- b --></value><name>port</name></property></properties>",
        (
            "<service-defaults><accept-options><tcp.bind>9<!-- c -->0</tcp.bind></accept-options>"
            "</service-defaults>"
        ),
        "<service><connect>ws://a:2/</connect><type>pro<!-- -- -->xy</type><accept>tcp://a:${port}</accept></service>".replace(
            "-- -- --", "-- d --"
        ),
        "<gateway-options><stop.timeout>5</stop.timeout></gateway-options>",
    )
    expected = load_text(gateway(*parts)).config
    assert str(expected.services[0].accept_options.tcp_bind) == "0.0.0.0:90"
    for order in permutations(parts):
        assert load_text(gateway(*order)).config == expected


def test_connect_inside_properties_and_beside_is_the_same(load_text: Load) -> None:
    inside = "<service><accept>tcp://localhost:1</accept><type>proxy</type><properties><connect>ws://localhost:2/</connect></properties></service>"
    assert load_text(gateway(inside)).config == load_text(gateway(PROXY)).config


def test_white_space_and_cdata(load_text: Load) -> None:
    text = PROXY.replace("tcp://localhost:1", "\n   <![CDATA[tcp://localhost:1]]>\n  ").replace(
        "proxy", " proxy\t"
    )
    assert load_text(gateway(text)).config == load_text(gateway(PROXY)).config


def test_a_schema_location_is_harmless(load_text: Load) -> None:
    attribute = 'xmlns:x="http://www.w3.org/2001/XMLSchema-instance" x:schemaLocation="a b" xmlns='
    assert load_text(gateway(PROXY).replace("xmlns=", attribute)).config


def test_lines(load_text: Load) -> None:
    loaded = load_text(
        '<?xml version="1.0"\n encoding="UTF-8"?>\n'
        + gateway(PROXY, "<service>", "<type>echo</type>", "<accept>", "tcp://a:9</accept>", "</service>")
    )
    assert loaded.line("service", 0) == 4
    assert loaded.line("service", 1) == 5
    assert loaded.line("service", 1, "accept", 0) == 7
    assert loaded.line("service", 1, "accept-options", "ws.bind") == 5
    assert loaded.line("security", "keystore") == 0


def test_lines_past_65535(problems_of: Problems) -> None:
    text = gateway("\n" * 70_000 + "<nothing/>", PROXY)
    (problem,) = problems_of(text)
    line = int(problem.split(":")[1])
    assert abs(line - 70_002) <= 1  # libxml2 counts so far exactly to 65535


@pytest.mark.parametrize(
    ("text", "block"),
    [
        (
            f'<gateway xmlns="{NAMESPACE}"/>',
            (
                ":1: <gateway>: is not a gateway configuration\n    allowed: <gateway-config> as the "
                "outermost element"
            ),
        ),
        (
            '<gateway-config xmlns="http://xmlns.kaazing.org/2016/07/gateway"/>',
            (
                ":1: <gateway-config>: unknown namespace 'http://xmlns.kaazing.org/2016/07/gateway'\n"
                f"    allowed: {KNOWN}\n    did you mean: {NAMESPACE}"
            ),
        ),
        (
            '<gateway-config xmlns="urn:x"/>',
            f":1: <gateway-config>: unknown namespace 'urn:x'\n    allowed: {KNOWN}",
        ),
        ("<gateway-config/>", f":1: <gateway-config>: the element has no namespace\n    allowed: {KNOWN}"),
        (
            gateway('<?xml-stylesheet href="http://example.com/x.xsl"?>'),
            ":2: a processing instruction (<?...?>) is not allowed\n    allowed: remove it",
        ),
        (
            f"<!DOCTYPE gateway-config>\n{gateway()}",
            (
                ":1: <!DOCTYPE is not allowed: no document type and no entities\n"
                "    allowed: remove it; a value used twice goes to <properties> and is written ${name}"
            ),
        ),
        (
            f'<?xml version="1.0"?>\n<!-- x -->\n<!doctype x SYSTEM "file:///etc/passwd">\n{gateway()}',
            (
                ":3: <!DOCTYPE is not allowed: no document type and no entities\n"
                "    allowed: remove it; a value used twice goes to <properties> and is written ${name}"
            ),
        ),
        (
            gateway('<!ENTITY a "b">'),
            (
                ":2: <!ENTITY is not allowed: no document type and no entities\n"
                "    allowed: remove it; a value used twice goes to <properties> and is written ${name}"
            ),
        ),
        (
            gateway("<a/>" * MAXIMUM_ELEMENTS),
            (
                f": has {MAXIMUM_ELEMENTS + 1} elements, which is too many\n    allowed: at most "
                f"{MAXIMUM_ELEMENTS}"
            ),
        ),
        (
            gateway("<a>" * 300, "</a>" * 300),
            ":2: elements are nested too deeply\n    allowed: at most 16 levels",
        ),
        (
            gateway(PROXY, "<a>" * 16, "</a>" * 16),
            f":3: <{'/'.join('a' * 16)}>: elements are nested too deeply\n    allowed: at most 16 levels",
        ),
        (
            gateway(PROXY, '<service-defaults a="1"/>'),
            (
                ":3: <service-defaults>: unknown attribute 'a'\n    allowed: no attributes; write it as an "
                "element"
            ),
        ),
        (
            gateway(PROXY, '<security xmlns="urn:y"/>'),
            f":3: <security>: the namespace is 'urn:y'\n    allowed: {NAMESPACE}, as the root has",
        ),
        (
            gateway(PROXY, "<service-defaults>x<accept-options/></service-defaults>"),
            ":3: <service-defaults>: text between elements: 'x'\n    allowed: elements only",
        ),
        (
            gateway(PROXY, "<service-defaults>x</service-defaults>"),
            (
                ":3: <service-defaults>: 'x' stands where elements are expected\n"
                "    allowed: accept-options, connect-options, mime-mapping"
            ),
        ),
        (
            gateway(PROXY, "<properties>x</properties>"),
            ":3: <properties>: text between elements: 'x'\n    allowed: property",
        ),
        (
            gateway(proxy(f"<description>{'x' * (MAXIMUM_VALUE + 1)}</description>")),
            (
                f":2: <service/description>: the value is too long\n    allowed: at most {MAXIMUM_VALUE} "
                "characters"
            ),
        ),
    ],
)
def test_refusals(problems_of: Problems, text: str, block: str) -> None:
    problems = problems_of(text)
    if "<a>" in text:
        problems = problems[:1]  # the outer <a> is not known either
    assert problems == [f"gateway.xml{block}"]


@pytest.mark.parametrize(
    ("text", "block"),
    [
        ("", ":1: is not well-formed XML: "),
        (gateway("<service>"), ":3: is not well-formed XML: "),
        (gateway("&copy;"), ":2: is not well-formed XML: "),
        (gateway("<!-- "), ":3: is not well-formed XML: "),
    ],
)
def test_what_is_not_xml(problems_of: Problems, text: str, block: str) -> None:
    """The reason is the parser's."""
    (problem,) = problems_of(text)
    assert problem.startswith(f"gateway.xml{block}")


def test_doctype_inside_a_comment_or_cdata_is_only_text(load_text: Load) -> None:
    description = "<description><![CDATA[<!DOCTYPE <?x]]></description>"
    loaded = load_text(gateway("<!-- <!DOCTYPE x> <? <a> -->", proxy(description)))
    assert loaded.config.services[0].description == "<!DOCTYPE <?x"


def test_a_billion_laughs(problems_of: Problems) -> None:
    entities = "\n".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    text = f'<!DOCTYPE lolz [<!ENTITY l0 "lol">{entities}]>\n{gateway("<service>&l9;</service>")}'
    (problem,) = problems_of(text)
    assert problem.startswith("gateway.xml:1: <!DOCTYPE is not allowed")


@pytest.mark.parametrize("opening", ["<!--", "<![CDATA[", "<", "</", "<a ", '<a b="', "&", "]]>"])
def test_a_megabyte_of_openings_takes_no_quadratic_time(problems_of: Problems, opening: str) -> None:
    """A quadratic scan of a megabyte would not end within the test's time limit."""
    text = gateway(opening * ((1024 * 1024 - 200) // len(opening)))
    assert len(problems_of(text)) == 1


def test_lxml_is_loaded_for_xml_only() -> None:
    program = "import sys, isthmus.config, isthmus.config.toml; sys.exit('lxml' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
