from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.config.conftest import Load, Problems, gateway, proxy

from isthmus.config.document import MAXIMUM_VALUE
from isthmus.config.substitution import MAXIMUM_CHAIN, Properties
from isthmus.config.units import NotAllowed


def test_values_are_replaced_and_a_setting_wins() -> None:
    properties = Properties({"a": "1", "b": "${a}-${a}", "c": "3"}, {"c": "three"})
    assert properties.replace("x${b}y ${ c }z$") == "x1-1y threez$"
    assert properties.used == {"a", "b", "c"}


def test_a_setting_is_taken_as_it_is() -> None:
    assert Properties({"a": "1"}, {"b": "${a}"}).replace("${b}") == "${a}"


@pytest.mark.parametrize(
    ("text", "what", "allowed"),
    [
        ("${hots}", "${hots} is not defined", "a name from <properties> or --set: host, loop, loop2"),
        ("${}", "${} is not defined", "a name from <properties> or --set: host, loop, loop2"),
        ("${host", "'${host' has no closing brace", "${name}"),
        ("${loop}", "the property 'loop' uses itself: 'loop' -> 'loop2' -> 'loop'", ""),
        ("x" * 4097, "the value is too long", "at most 4096 characters"),
        ("a\x9bb", "'a\\x9bb' has a control character", "printable characters"),
        ("a\u202eb", "'a\\u202eb' has a control character", "printable characters"),
    ],
)
def test_refusals(text: str, what: str, allowed: str) -> None:
    properties = Properties({"host": "h", "loop": "${loop2}", "loop2": "${loop}"}, {})
    with pytest.raises(NotAllowed) as caught:
        properties.replace(text)
    assert (str(caught.value), caught.value.allowed) == (what, allowed)


def test_without_properties_the_message_says_so() -> None:
    with pytest.raises(NotAllowed) as caught:
        Properties({}, {}).replace("${a}")
    assert caught.value.allowed == "a name from <properties> or --set: there are no properties"


def test_a_chain_ends() -> None:
    chain = {f"p{n}": f"${{p{n + 1}}}" for n in range(100)} | {"p100": "end"}
    assert Properties(chain, {}).replace(f"${{p{101 - MAXIMUM_CHAIN}}}") == "end"
    with pytest.raises(NotAllowed, match="uses properties in too long a chain"):
        Properties(chain, {}).replace("${p0}")


def test_what_comes_out_is_bounded() -> None:
    """The billion laughs, in properties."""
    laughs = {"p0": "ha" * 100} | {f"p{n}": f"${{p{n - 1}}}" * 10 for n in range(1, 12)}
    properties = Properties(laughs, {})
    with pytest.raises(NotAllowed, match="the value is too long"):
        properties.replace("${p11}")
    assert len(properties.replace("${p1}")) == 2000 < MAXIMUM_VALUE


names = st.sampled_from(["a", "b", "c", "d"])
texts = st.lists(st.one_of(st.text(max_size=5), names.map(lambda name: f"${{{name}}}"))).map("".join)


@given(st.dictionaries(names, texts), st.dictionaries(names, texts), texts)
def test_any_properties_are_replaced_or_refused(
    written: dict[str, str], settings: dict[str, str], text: str
) -> None:
    try:
        assert len(Properties(written, settings).replace(text)) <= MAXIMUM_VALUE
    except NotAllowed:
        pass


def prop(name: str, value: str) -> str:
    return f"<property><name>{name}</name><value>{value}</value></property>"


SERVICE = proxy(accept="tcp://${host}:${port}")


def test_in_xml_properties_may_come_last_and_set_wins(load_text: Load) -> None:
    text = gateway(SERVICE, f"<properties>{prop('host', 'h')}{prop('port', '1')}</properties>")
    assert str(load_text(text).config.services[0].accepts[0]) == "tcp://h:1/"
    assert str(load_text(text, settings={"host": "g"}).config.services[0].accepts[0]) == "tcp://g:1/"


def test_in_toml_a_property_may_be_a_number(load_text: Load) -> None:
    text = """
        properties = { host = "h", port = 1 }
        service = [{ type = "echo", accept = "tcp://${host}:${port}" }]
    """
    assert str(load_text(text, "gateway.toml").config.services[0].accepts[0]) == "tcp://h:1/"


def test_every_undefined_name_is_told(problems_of: Problems) -> None:
    assert problems_of(gateway(SERVICE, "", proxy(connect="ws://${hots}:2/")), settings={"host": "h"}) == [
        (
            "gateway.xml:2: <service/accept>: ${port} is not defined\n"
            "    allowed: a name from <properties> or --set: host"
        ),
        (
            "gateway.xml:4: <service/connect>: ${hots} is not defined\n"
            "    allowed: a name from <properties> or --set: host\n"
            "    did you mean: host"
        ),
    ]


def test_properties_that_are_wrong(problems_of: Problems) -> None:
    assert problems_of(
        gateway(
            "<properties>",
            prop("a", "1"),
            prop("a", "2"),
            "<property><name>b</name></property>",
            "<property><name></name><value>1</value></property>",
            "<property><nam>b</nam><value/><value/></property>",
            "<prop/>",
            "</properties>",
            proxy("<description>${a}</description>"),
        )
    ) == [
        "gateway.xml:4: <properties/property>: the property 'a' is defined twice\n    allowed: once (line 3)",
        (
            "gateway.xml:5: <properties/property>: a property has one name and one value\n"
            "    allowed: <name>gateway.port</name><value>8000</value>"
        ),
        (
            "gateway.xml:6: <properties/property>: a property has one name and one value\n"
            "    allowed: <name>gateway.port</name><value>8000</value>"
        ),
        "gateway.xml:7: <properties/property/nam>: 'nam' is not known here\n    allowed: name, value",
        (
            "gateway.xml:7: <properties/property>: a property has one name and one value\n"
            "    allowed: <name>gateway.port</name><value>8000</value>"
        ),
        "gateway.xml:8: <properties/prop>: 'prop' is not known here\n    allowed: property",
    ]
    assert problems_of('properties = { a = ["x"] }', "gateway.toml") == [
        (
            "gateway.toml:1: <properties/a>: the property 'a' has no single value\n    allowed: a text or a "
            "number"
        ),
        "gateway.toml:1: there is no service\n    allowed: at least one <service>",
    ]


def test_what_is_not_used_is_warned_about(load_text: Load) -> None:
    text = gateway(
        "<properties>", prop("host", "h"), prop("hots", "h"), "</properties>", proxy(accept="tcp://${host}:1")
    )
    loaded = load_text(text, settings={"hosst": "x"})
    assert [str(warning) for warning in loaded.warnings] == [
        "gateway.xml: --set hosst has no effect: nothing in the file uses ${hosst}\n    did you mean: host",
        "gateway.xml:4: <properties/property>: the property 'hots' is not used",
    ]


def test_properties_that_are_no_section(problems_of: Problems) -> None:
    (problem, *_) = problems_of("properties = 5", "gateway.toml")
    what = "5 stands where properties are expected\n    allowed: name = value"
    assert problem == f"gateway.toml:1: <properties>: {what}"


def test_a_property_of_toml_is_written_as_toml_does(load_text: Load) -> None:
    text = """
        properties = { on = true, n = 1.5 }
        service = [{ type = "echo", accept = "tcp://a:1", description = "${on} ${n}" }]
    """
    assert load_text(text, "gateway.toml").config.services[0].description == "true 1.5"


def test_a_setting_has_no_control_characters(problems_of: Problems) -> None:
    (problem,) = problems_of(gateway(proxy(accept="tcp://${host}:1")), settings={"host": "a\x1bb"})
    assert problem.startswith("gateway.xml:2: <service/accept>: 'tcp://a\\x1bb:1' has a control character")
