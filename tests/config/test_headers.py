"""What a request may be given by a configuration."""

from __future__ import annotations

import pytest

from isthmus.config.headers import (
    MAXIMUM_FIELDS,
    parse_fields,
    parse_host,
    parse_server_name,
    parse_target,
    split_field,
)
from isthmus.config.units import NotAllowed


def test_fields() -> None:
    fields = parse_fields("  X-Tenant:blue || Authorization: Bearer a:b||")
    assert fields == ("X-Tenant: blue", "Authorization: Bearer a:b")
    assert parse_fields(list(fields)) == fields
    assert [split_field(each) for each in fields] == [("X-Tenant", "blue"), ("Authorization", "Bearer a:b")]
    assert parse_fields("X-Empty:") == ("X-Empty: ",) or parse_fields("X-Empty:") == ("X-Empty:",)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("no colon and a secret", "field 1 is not Name: value"),
        ("X: a||secret\x01: b", "field 2 is not Name: value"),
        ("X: sécret", "field 1 is not Name: value"),
        (["X: a", 7], "field 2 is not a text"),
        (7, "this is no list of header fields"),
        ("Host: a", "the field Host belongs to the handshake itself"),
        ("upgrade: secret", "the field upgrade belongs"),
        ("Sec-WebSocket-Key: secret", "belongs to the handshake"),
        ("Proxy-Authorization: secret", "belongs to the handshake"),
        ("X: secret||" * (MAXIMUM_FIELDS + 1), "51 header fields are too many"),
    ],
)
def test_what_is_no_field(value: object, message: str) -> None:
    with pytest.raises(NotAllowed, match=message) as caught:
        parse_fields(value)
    assert "secret" not in f"{caught.value} {caught.value.allowed}"


def test_host_name_and_path() -> None:
    assert parse_host("GW.example.com:8443") == "gw.example.com:8443"
    assert parse_server_name("GW.example.com") == "gw.example.com"
    assert parse_server_name("2001:db8::7") == "2001:db8::7"
    assert parse_target("/a/b?c=d") == "/a/b?c=d"
    for wrong in ("", "a b", "a:b:c", 7):
        with pytest.raises(NotAllowed):
            parse_host(wrong)
    for wrong in ("gw:443", "", 7):
        with pytest.raises(NotAllowed):
            parse_server_name(wrong)
    for wrong in ("a", "", "/a b", "/a#b", 7, "//"):
        if wrong != "//":
            with pytest.raises(NotAllowed):
                parse_target(wrong)
