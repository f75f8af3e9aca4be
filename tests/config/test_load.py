"""A file from beginning to end: the whitepaper's own, and any bytes at all."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.config.conftest import PROXY, Load, gateway, proxy

from isthmus.config import Loaded, load
from isthmus.errors import ConfigurationError

SEED = Path(__file__).parents[3] / "shared" / "seed"


def whitepaper(name: str) -> str:
    """Return one of the whitepaper's own files, which are not part of this repository."""
    path = SEED / name
    if not path.exists():
        message = f"the whitepaper's file {name} is not there: this test proves nothing without it"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return path.read_text(encoding="utf-8")


def shape(loaded: Loaded) -> list[tuple[str, list[str], list[str]]]:
    return [
        (
            service.name,
            [str(accept) for accept in service.accepts],
            [str(connect) for connect in service.connects],
        )
        for service in loaded.config.services
    ]


@pytest.mark.parametrize("slash", ["", "/"])
def test_the_client_gateway_of_the_whitepaper(load_text: Load, slash: str) -> None:
    text = whitepaper("appendix-a-client.xml")
    for uri in (
        "http://${gateway.hostname}:${gateway.base.port}",
        "tcp://192.0.2.0:50505",
        "ws://192.0.2.21:80",
    ):
        assert f">{uri}<" in text
        text = text.replace(f">{uri}<", f">{uri}{slash}<")
    loaded = load_text(text)
    assert shape(loaded) == [
        ("directory-1", ["http://192.0.2.1:8000/"], []),
        ("proxy-1", ["tcp://192.0.2.0:50505/"], ["ws://192.0.2.21:80/"]),
    ]
    directory, proxy = loaded.config.services
    assert str(directory.accept_options.http_bind) == "0.0.0.0:8000"
    assert proxy.accept_options.bind_for("tcp") is None
    assert loaded.warnings == ()
    assert loaded.line("service", 1, "connect", 0) == 41


@pytest.mark.parametrize("slash", ["", "/"])
def test_the_server_gateway_of_the_whitepaper(load_text: Load, slash: str) -> None:
    text = whitepaper("appendix-b-server.xml")
    for uri in (
        "http://${gateway.hostname}:${gateway.base.port}",
        "ws://192.0.2.21:80",
        "tcp://192.0.2.20:50505",
    ):
        assert f">{uri}<" in text
        text = text.replace(f">{uri}<", f">{uri}{slash}<")
    loaded = load_text(text, settings={"gateway.base.port": "8001"})
    assert shape(loaded) == [
        ("directory-1", ["http://192.0.2.21:8001/"], []),
        ("proxy-1", ["ws://192.0.2.21:80/"], ["tcp://192.0.2.20:50505/"]),
    ]
    assert str(loaded.config.services[1].accept_options.ws_bind) == "0.0.0.0:80"
    assert loaded.warnings == ()


def test_what_is_loaded_knows_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "gateway.xml"
    path.write_text(gateway(PROXY))
    loaded = load(path)
    assert (loaded.path, loaded.directory) == (path, tmp_path)


MANY = 3_500
"""Services in a file of nearly the largest size."""


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        # One port, told apart by path.
        ([proxy(accept=f"ws://a/{n}", connect="tcp://b:1") for n in range(MANY)], 0),
        # One port for all of them.
        ([proxy(accept="tcp://a:1", connect="tcp://b:1") for _ in range(MANY)], MANY - 1),
        ([f"<ws.bnd{n}/>" for n in range(15_000)], 15_001),
        ([f"<property>{n}</property>" for n in range(15_000)], 15_001),
        # Names that are like each other, none of them defined.
        ([proxy(accept=f"${{{'x' * 60}{n}}}") for n in range(MANY)], MANY),
        # Long names, so many that comparing them all would take minutes.
        (
            [
                "<properties>",
                *(f"<property><name>{'x' * 250}{n}</name><value/></property>" for n in range(2000)),
                "</properties>",
                *(proxy(accept=f"${{{'x' * 250}{n}y}}") for n in range(100)),
            ],
            100,
        ),
        # Cipher suites that there are not.
        (
            [
                proxy(f"<accept-options><ssl.ciphers>ECDHE{n}</ssl.ciphers></accept-options>")
                for n in range(1000)
            ],
            1999,
        ),
    ],
    ids=["one port", "bound twice", "unknown", "wrong place", "undefined", "long names", "ciphers"],
)
def test_a_full_file_takes_time_in_proportion(tmp_path: Path, lines: list[str], expected: int) -> None:
    """What grows with the square of the file would pass the time limit of the test."""
    path = tmp_path / "gateway.xml"
    path.write_text(gateway(*lines))
    try:
        found = len(load(path).config.services) - MANY
    except ConfigurationError as error:
        found = int(str(error).split()[-2])
    assert found == expected


XML_PIECES = [
    "<",
    ">",
    "/",
    "</",
    "/>",
    "<!--",
    "-->",
    "<![CDATA[",
    "]]>",
    "<?xml ",
    "?>",
    "<!DOCTYPE a [",
    "]>",
    "&a;",
]
XML_PIECES += [
    "<gateway-config>",
    gateway(""),
    "<service>",
    "</service>",
    "<accept>ws://a/</accept>",
    '="',
    "${",
    "}",
]
XML_PIECES += [
    "<type>proxy</type>",
    "<connect>tcp://a:1</connect>",
    "<properties>",
    "</properties>",
    "\0",
    "\x9b",
    "é",
]
TOML_PIECES = [
    "[[service]]\n",
    "[gateway]\n",
    'type="echo"\n',
    'accept="tcp://a:1"\n',
    "[",
    "]",
    "=",
    '"',
    "'''",
    "1e999",
]
TOML_PIECES += [
    "accept-options={",
    "}",
    '"ws.bind"=',
    "nan",
    "-1",
    "[service.properties]\n",
    "repeat=",
    "\n",
    ".",
    "#",
]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.one_of(
        st.binary(),
        st.text().map(str.encode),
        st.lists(st.sampled_from(XML_PIECES)).map(lambda pieces: "".join(pieces).encode()),
        st.lists(st.sampled_from(XML_PIECES)).map(lambda pieces: gateway(*pieces).encode()),
        st.lists(st.sampled_from(TOML_PIECES)).map(lambda pieces: "".join(pieces).encode()),
    ),
    st.sampled_from(["f", "f.xml", "f.toml"]),
)
@example(b"\xff\xfe<\x00", "f")
@example(b'<?xml version="1.0" encoding="utf-16"?><a/>', "f")
@example(b"<a>&#x110000;</a>", "f")
@example(b"a = 0x" + b"f" * 10_000, "f")
@example("<a><!--\x80\n".encode(), "f")
def test_any_bytes_are_a_configuration_or_a_configuration_error(
    tmp_path: Path, data: bytes, name: str
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    try:
        loaded = load(path, {"a": "b"})
    except ConfigurationError as error:
        problems = error.problems
    else:
        assert loaded.config.services
        return
    assert problems
    for problem in problems:
        assert str(problem).startswith(f"{path}:")
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", str(problem))
