from __future__ import annotations

import pytest
from pydantic import ValidationError

from isthmus.config.model import (
    MAXIMUM_CARRIERS,
    AcceptOptions,
    Bind,
    ConnectOptions,
    CrossSiteConstraint,
    GatewayOptions,
    Keystore,
    ProxyProperties,
    options_of,
)
from isthmus.config.units import NotAllowed
from isthmus.errors import UriError
from isthmus.span.limits import MAXIMUM_SLOTS
from isthmus.uri import SCHEMES


def test_a_bind_is_for_its_own_scheme_only() -> None:
    options = AcceptOptions(ws_bind=Bind("a", 1))
    assert options.bind_for("ws") == Bind("a", 1)
    assert [options.bind_for(scheme) for scheme in SCHEMES if scheme != "ws"] == [None] * (len(SCHEMES) - 1)


def test_every_network_scheme_has_a_bind() -> None:
    names = {option.name for option in options_of(AcceptOptions())}
    assert {f"{name}.bind" for name, scheme in SCHEMES.items() if not scheme.local} <= names


def test_nothing_unknown_is_accepted_and_nothing_changes() -> None:
    with pytest.raises(ValidationError):
        AcceptOptions.model_validate({"ws.bnd": 1})
    with pytest.raises(ValidationError):
        GatewayOptions().stop_timeout = 1  # type: ignore[misc]
    with pytest.raises(ValidationError, match="JKS"):
        Keystore.model_validate({"type": "BKS", "file": "x"})


def test_the_strategy_follows_the_count() -> None:
    assert ProxyProperties().strategy == "immediate"
    assert ProxyProperties(prepared_connection_count=2).strategy == "prepared"
    assert ProxyProperties(connect_strategy="deferred").strategy == "deferred"


def test_options_are_shown_as_a_file_writes_them() -> None:
    options = {option.name: option for option in options_of(ProxyProperties(maximum_pending_bytes=1024))}
    assert (options["maximum.pending.bytes"].value, options["maximum.pending.bytes"].is_default) == (
        "1k",
        False,
    )
    assert (options["connect.strategy"].value, options["connect.strategy"].is_default) == (None, True)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("10.0.0.1", "10.0.0.1", 0),
        ("10.0.0.1:4000", "10.0.0.1", 4000),
        ("::1", "::1", 0),
        ("[::1]:4000", "::1", 4000),
        ("4000", "0.0.0.0", 4000),
    ],
)
def test_a_local_address(text: str, host: str, port: int) -> None:
    assert Bind.parse_local(text) == Bind(host, port)
    assert Bind.parse_local(str(Bind(host, port))) == Bind(host, port)


@pytest.mark.parametrize("text", ["", "gw.example.com", "10.0.0.1:x", "10.0.0.1:70000", "300.0.0.1"])
def test_what_is_no_local_address(text: str) -> None:
    with pytest.raises(UriError):
        Bind.parse_local(text)


@pytest.mark.parametrize(
    "origin", ["", "www.example.com", "http://", "http://a/path", "http://*.example.com", "http://u@a"]
)
def test_what_is_no_origin(origin: str) -> None:
    with pytest.raises(ValidationError):
        CrossSiteConstraint.model_validate({"allow-origin": origin})


# --- span


@pytest.mark.parametrize(
    ("value", "carriers", "shown"),
    [("auto", 0, "auto"), (0, 0, "auto"), (1, 1, "1"), ("4", 4, "4"), (16, 16, "16"), ("16", 16, "16")],
)
def test_carriers(value: object, carriers: int, shown: str) -> None:
    options = ConnectOptions.model_validate({"span.carriers": value})
    assert options.span_carriers == carriers
    (option,) = [option for option in options_of(options) if option.name == "span.carriers"]
    assert str(option.value) == shown
    assert ConnectOptions.model_validate({"span.carriers": option.value}) == options


@pytest.mark.parametrize("value", [-1, 17, "17", "many", "", 1.5, None, [], True, "0x4"])
def test_what_is_no_number_of_carriers(value: object) -> None:
    with pytest.raises((ValidationError, NotAllowed)):
        ConnectOptions.model_validate({"span.carriers": value})


def test_a_session_has_as_many_slots_as_there_may_be_carriers() -> None:
    assert MAXIMUM_CARRIERS == MAXIMUM_SLOTS


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("span.maximum.streams", 1, 1_000_000),
        ("span.maximum.window", 64 * 1024, 1 << 30),
        ("span.ping.deadline", 0.1, 3600),
        ("span.grace", 1, 86_400),
    ],
)
def test_the_bounds_of_span(name: str, least: float, most: float) -> None:
    for kind in (AcceptOptions, ConnectOptions):
        for value in (least, most):
            kind.model_validate({name: value})
        for value in (0, -1, most + 1):
            with pytest.raises(ValidationError):
                kind.model_validate({name: value})


@pytest.mark.parametrize("mode", ["auto", "required", "never"])
def test_the_modes_of_span(mode: str) -> None:
    assert AcceptOptions.model_validate({"span.mode": mode}).span_mode == mode
    assert ConnectOptions.model_validate({"span.mode": mode}).span_mode == mode


def test_what_is_no_mode() -> None:
    for name in ("span.mode", "ws.mask"):
        with pytest.raises(ValidationError):
            ConnectOptions.model_validate({name: "sometimes"})


def test_only_a_connect_has_carriers() -> None:
    with pytest.raises(ValidationError):
        AcceptOptions.model_validate({"span.carriers": 2})


@pytest.mark.parametrize("value", ["eth0", "10.0.0.1", "fe80::1", "br-lan", "eth0.100"])
def test_an_interface_is_a_name_or_an_address(value: str) -> None:
    assert AcceptOptions.model_validate({"udp.interface": value}).udp_interface == value


@pytest.mark.parametrize("value", ["", "eth 0", "-", "a" * 65, 7])
def test_what_is_no_interface(value: object) -> None:
    with pytest.raises(ValidationError):
        AcceptOptions.model_validate({"udp.interface": value})
