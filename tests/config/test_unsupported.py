"""Every line of the table is refused by name, and what asks for nothing is not."""

from __future__ import annotations

import pytest
from tests.config.conftest import PROXY, Load, Problems, gateway, proxy

from isthmus.config.service_types import SERVICE_TYPES
from isthmus.config.unsupported import ELEMENTS, VALUES, Refusal
from isthmus.uri import LATER_SCHEMES, SCHEMES

SERVICES = {
    "proxy": PROXY,
    "echo": "<service><accept>tcp://localhost:1</accept><type>echo</type></service>",
    "directory": "<service><accept>http://localhost:1</accept><type>directory</type>"
    "<properties><directory>/base</directory></properties></service>",
}
ROWS = [(place, name, refusal) for place, names in ELEMENTS.items() for name, refusal in names.items()]


def written(place: str, element: str) -> str:
    """Return a configuration with `element` in `place`, on line 3."""
    element = f"\n{element}\n"
    if place == "gateway-config":
        return gateway(f"{PROXY}{element}")
    if place in ("service-defaults", "security"):
        return gateway(f"{PROXY}<{place}>{element}</{place}>")
    if place == "service":
        return gateway(proxy(element))
    if place in ("accept-options", "connect-options"):
        return gateway(proxy(f"<{place}>{element}</{place}>"))
    service = SERVICES[place]
    if "<properties>" in service:
        return gateway(service.replace("<properties>", f"<properties>{element}"))
    return gateway(service.replace("</service>", f"<properties>{element}</properties></service>"))


@pytest.mark.parametrize(
    ("place", "name", "refusal"), ROWS, ids=[f"{place}-{name}" for place, name, _ in ROWS]
)
def test_an_element_is_refused_by_name(
    problems_of: Problems, place: str, name: str, refusal: Refusal
) -> None:
    (problem,) = problems_of(written(place, f"<{name}>something</{name}>"))
    assert problem.startswith("gateway.xml:3: <")
    assert problem.endswith(f"{name}>: {name} is not supported: {refusal.reason}")


@pytest.mark.parametrize("name", [name for name in ELEMENTS["accept-options"] if name.startswith("ssl.")])
def test_the_tls_spelling_is_refused_as_it_was_written(problems_of: Problems, name: str) -> None:
    tls = name.replace("ssl.", "tls.")
    (problem,) = problems_of(written("accept-options", f"<{tls}>something</{tls}>"))
    assert f"{tls} is not supported" in problem


@pytest.mark.parametrize(
    ("place", "name", "value"),
    [
        ("accept-options", "http.maximum.redirects", "0 seconds"),
        ("accept-options", "ssl.encryption", "enabled"),
        ("accept-options", "http.server.header", "enabled"),
        ("accept-options", "http.maximum.redirects", "0"),
        ("connect-options", "ssl.encryption", "enabled"),
        ("connect-options", "ws.version", "rfc6455"),
        ("connect-options", "http.keepalive", "enabled"),
        ("connect-options", "http.keepalive.timeout", "30"),
        ("connect-options", "http.keepalive.connections", "2"),
        ("connect-options", "http.maximum.redirects", "0"),
        ("connect-options", "http.max.authentication.attempts", "0"),
        ("connect-options", "socks.mode", "forward"),
    ],
)
def test_a_value_that_asks_for_nothing_is_harmless(
    load_text: Load, place: str, name: str, value: str
) -> None:
    assert load_text(written(place, f"<{name}>{value}</{name}>")).config == load_text(gateway(PROXY)).config


def test_a_harmless_value_is_harmless_in_toml(load_text: Load) -> None:
    echo = 'type = "echo", accept = "tcp://localhost:1"'
    text = f'service = [{{ {echo}, accept-options = {{ "http.maximum.redirects" = 0 }} }}]'
    assert load_text(text, "gateway.toml").config


@pytest.mark.parametrize(("name", "reason"), VALUES["service type"].items())
def test_a_service_type_is_refused_by_name(problems_of: Problems, name: str, reason: str) -> None:
    """Its properties, which isthmus knows nothing about, bring no further problems."""
    service = f"<service><accept>ws://localhost:1</accept><type>{name}</type><properties><x>1</x></properties></service>"
    known = ", ".join(SERVICE_TYPES)
    block = (
        f"gateway.xml:2: <service/type>: the service type {name} cannot be used: {reason}\n    "
        f"allowed: {known}"
    )
    assert problems_of(gateway(service)) == [block]


@pytest.mark.parametrize(("name", "reason"), VALUES["TLS protocol"].items())
def test_an_old_protocol_is_refused_by_name(problems_of: Problems, name: str, reason: str) -> None:
    (problem,) = problems_of(written("accept-options", f"<ssl.protocols>TLSv1.2,{name}</ssl.protocols>"))
    what = f"{name} is refused: {reason}\n    allowed: TLSv1.2, TLSv1.3"
    assert problem == f"gateway.xml:3: <service/accept-options/ssl.protocols>: {what}"


@pytest.mark.parametrize("scheme", LATER_SCHEMES)
def test_a_scheme_is_refused_by_name(problems_of: Problems, scheme: str) -> None:
    (problem,) = problems_of(gateway(proxy(accept=f"{scheme}://localhost:1")))
    assert f"the scheme {scheme} cannot be used: {LATER_SCHEMES[scheme]}" in problem


def test_nothing_is_both_supported_and_refused() -> None:
    assert not SERVICE_TYPES.keys() & VALUES["service type"].keys()
    assert not SCHEMES.keys() & LATER_SCHEMES.keys()
