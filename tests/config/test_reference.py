"""docs/configuration.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest
from annotated_types import Le
from pydantic.fields import FieldInfo
from tests.config.conftest import Load

from isthmus.config import headers, networks, proxies, units
from isthmus.config.model import (
    AcceptOptions,
    BindValue,
    ConnectOptions,
    CrossSiteConstraint,
    DirectoryProperties,
    EchoProperties,
    GatewayOptions,
    Keystore,
    LocalBindValue,
    Location,
    MimeMapping,
    ProxyProperties,
    Section,
    Service,
    nested,
    readers_of,
)
from isthmus.config.realm import OPTIONS, Authentication, AuthorizationConstraint, LoginModule, Realm
from isthmus.config.section import Switch, Texts
from isthmus.config.unsupported import ELEMENTS, VALUES
from isthmus.config.xml import NAMESPACES
from isthmus.uri import LATER_SCHEMES, SCHEMES

TEXT = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text(encoding="utf-8")
SECTIONS = {
    heading.strip(): text
    for heading, text in re.findall(r"^##+ (.*)\n((?:(?!^##).*\n)*)", TEXT, re.MULTILINE)
}
DOCUMENTED: list[tuple[str, type[Section]]] = [
    ("service", Service),
    ("properties of proxy", ProxyProperties),
    ("properties of echo", EchoProperties),
    ("properties of directory", DirectoryProperties),
    ("location", Location),
    ("mime-mapping", MimeMapping),
    ("accept-options", AcceptOptions),
    ("connect-options", ConnectOptions),
    ("cross-site-constraint", CrossSiteConstraint),
    ("security: keystore and truststore", Keystore),
    ("security: realm", Realm),
    ("authentication", Authentication),
    ("login-module", LoginModule),
    *((f"options of {kind}", options) for kind, options in OPTIONS.items()),
    ("authorization-constraint", AuthorizationConstraint),
    ("gateway-options", GatewayOptions),
]


def rows(heading: str) -> dict[str, list[str]]:
    """Return the rows of the table below a heading, by the name in their first column."""
    lines = [line for line in SECTIONS[heading].splitlines() if line.startswith("| `")]
    cells = [
        [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip("|"))]
        for line in lines
    ]
    return {row[0].strip("`"): row for row in cells}


def default_of(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    value = info.get_default(call_default_factory=True)
    readers = readers_of(info)
    if value is None or value == ():
        return "-"
    if units.size in readers:
        value = units.format_size(value)
    elif units.duration in readers:
        value = units.format_duration(value)
    elif info.alias == "span.carriers":
        value = value or "auto"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


@pytest.mark.parametrize(("heading", "model"), DOCUMENTED, ids=[heading for heading, _ in DOCUMENTED])
def test_every_option_is_documented(heading: str, model: type[Section]) -> None:
    fields = {info.alias or name: info for name, info in model.model_fields.items()}
    found = rows(heading)
    assert set(found) == set(fields)
    for name, info in fields.items():
        _, key, kind, default, since, meaning = found[name]
        assert key == (f'`"{name}"`' if "." in name else f"`{name}`"), name
        assert since in ("Kaazing", "isthmus"), name
        assert meaning, name
        if model is not Service:
            assert default == default_of(info), name
            assert kind == type_of(info) or (kind in ("web path", "path", "text", "patterns", "section")), (
                name
            )
        for limit in (each.le for each in info.metadata if isinstance(each, Le)):
            shown = units.format_size(limit) if kind == "size" else f"{limit:,}"  # type: ignore[arg-type]
            assert shown.replace(",", "") in meaning.replace(",", ""), name


def type_of(info: FieldInfo) -> str:
    if info.alias == "span.carriers":
        return "`auto`, number"
    if info.alias in nested(DirectoryProperties):
        return "sections"
    if info.alias == "login-modules":
        return "sections"
    readers = readers_of(info)
    for reader, kind in (
        (get_args(Texts)[1].func, "texts"),
        (get_args(Switch)[1].func, "`true`, `false`"),
        (units.size, "size"),
        (units.duration, "time"),
        (units.count, "number"),
        (units.names, "names"),
        (units.rate, "rate"),
    ):
        if reader in readers:
            return kind
    if BindValue in get_args(info.annotation):
        return "bind"
    if LocalBindValue in get_args(info.annotation):
        return "local address"
    if proxies.parse_chain in readers:
        return "proxies"
    if networks.parse_networks in readers:
        return "networks"
    if headers.parse_fields in readers:
        return "fields"
    if {headers.parse_host, headers.parse_server_name, headers.parse_target} & set(readers):
        return "text"
    for each in (info.annotation, *get_args(info.annotation)):
        if get_origin(each) is Literal:
            return ", ".join(f"`{value}`" for value in get_args(each))
    return "web path"


@pytest.mark.parametrize("place", ELEMENTS)
def test_every_refusal_is_documented(place: str) -> None:
    refused: dict[str, str] = {}
    for line in SECTIONS["Not supported yet"].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 3:
            refused[cells[0].strip("`")] = refused.get(cells[0].strip("`"), "") + cells[1]
    listed = refused.get(place, "")
    if place in ("accept-options", "connect-options"):
        listed += refused["both options"]
    assert set(re.findall(r"`([^`]+)`", listed)) == set(ELEMENTS[place])


def test_every_value_that_is_refused_is_documented() -> None:
    for names in (*VALUES.values(), LATER_SCHEMES):
        for name in names:
            assert f"`{name}`" in SECTIONS["Not supported yet"], name


def test_schemes_and_namespaces_are_documented() -> None:
    for name, scheme in SCHEMES.items():
        if name == "stdio":
            continue
        (line,) = (line for line in SECTIONS["URIs"].splitlines() if f"`{name}://" in line)
        assert (str(scheme.port) in line) if scheme.port else ("| none |" in line or scheme.local)
    for namespace in NAMESPACES:
        assert f"`{namespace}`" in SECTIONS["The two forms"]


def test_the_two_forms_are_the_same(load_text: Load) -> None:
    xml, toml = (re.findall(rf"```{form}\n(.*?)```", TEXT, re.DOTALL)[0] for form in ("xml", "toml"))
    assert load_text(xml).config == load_text(toml, "gateway.toml").config
