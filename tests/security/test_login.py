from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.security.realms import basic, bearer, realm

from isthmus.identity import Asked
from isthmus.security.login import Credentials, LoginFailed, checked_name, credentials_of

BASIC = realm(scheme="Basic").authentication
APPLICATION = realm(scheme="Application Basic").authentication
TOKEN = realm(
    scheme="Application Token",
    asked={"http-header": ("X-Auth",), "http-query-parameter": ("auth",), "http-cookie": ("sid",)},
).authentication
CERTIFICATE = realm(("certificate", "required", {}), scheme="Certificate").authentication
BEARER = realm(scheme="Bearer").authentication


@pytest.mark.parametrize(
    ("asked", "authentication", "found"),
    [
        (basic("joe", "welcome"), BASIC, Credentials("joe", "welcome")),
        (basic("joe", "a:b c"), BASIC, Credentials("joe", "a:b c")),
        (basic("jörg", "ü"), BASIC, Credentials("jörg", "ü")),
        (Asked(headers=(("authorization", "basic am9lOuk="),)), BASIC, Credentials("joe", "é")),
        (basic("joe", "w"), APPLICATION, Credentials("joe", "w")),
        (basic("joe", "w", "Application Basic"), APPLICATION, Credentials("joe", "w")),
        (bearer("abc", "Token"), TOKEN, Credentials(tokens=("abc",))),
        (bearer("abc", "Application Token"), TOKEN, Credentials(tokens=("abc",))),
        (Asked(headers=(("x-auth", "abc"),)), TOKEN, Credentials(tokens=("abc",))),
        (Asked(query="a=b&auth=a%2Bc&other=1"), TOKEN, Credentials(tokens=("a+c",))),
        (Asked(headers=(("cookie", "a=b; sid=abc; c=d"),)), TOKEN, Credentials(tokens=("abc",))),
        (Asked(headers=(("cookie", "sid=abc"), ("x-auth", "abc"))), TOKEN, Credentials(tokens=("abc",))),
        (bearer("a.b.c"), BEARER, Credentials(tokens=("a.b.c",))),
        (Asked(headers=(("x-auth", "abc"),)), BEARER, Credentials()),
        (Asked(query="auth=abc"), BASIC, Credentials()),
        (Asked(certificate=b"der"), BASIC, Credentials()),
        (Asked(certificate=b"der"), CERTIFICATE, Credentials(certificate=b"der")),
        (Asked(query="&".join(["a=b"] * 1000)), TOKEN, Credentials()),
        (bearer("x" * 20_000), BEARER, Credentials()),
        (Asked(), BASIC, Credentials()),
    ],
)
def test_what_a_request_shows(asked: Asked, authentication: object, found: Credentials) -> None:
    assert credentials_of(asked, authentication) == found  # type: ignore[arg-type]
    assert bool(found) == (found != Credentials())


@pytest.mark.parametrize(
    ("asked", "authentication"),
    [
        (Asked(headers=(("authorization", "Basic !!!"),)), BASIC),
        (Asked(headers=(("authorization", "Basic am9l"),)), BASIC),
        (Asked(headers=(("authorization", "Basic"),)), BASIC),
        (Asked(headers=(("authorization", "Basic OmE="),)), BASIC),
        (basic("joe", "x" * 5000), BASIC),
        (basic("j\x00e", "x"), BASIC),
        (bearer("abc"), BASIC),
        (basic("joe", "w"), BEARER),
        (Asked(headers=(("authorization", "Bearer a"), ("authorization", "Bearer b"))), BEARER),
        (Asked(headers=(("x-auth", "a"), ("x-auth", "b"))), TOKEN),
        (Asked(headers=(("x-auth", "a"),), query="auth=b"), TOKEN),
    ],
)
def test_what_is_malformed_or_ambiguous_fails(asked: Asked, authentication: object) -> None:
    with pytest.raises(LoginFailed) as caught:
        credentials_of(asked, authentication)  # type: ignore[arg-type]
    assert "abc" not in str(caught.value)


def test_a_secret_in_the_place_of_the_scheme_is_not_quoted() -> None:
    with pytest.raises(LoginFailed) as caught:
        credentials_of(Asked(headers=(("authorization", "s3cret"),)), BEARER)
    assert "s3cret" not in str(caught.value)


def test_credentials_do_not_show_their_secrets() -> None:
    shown = repr(Credentials("joe", "s3cret", ("s3cret",), b"s3cret"))
    assert "joe" in shown
    assert "s3cret" not in shown


@given(st.text(max_size=300))
def test_names_have_no_control_characters(name: str) -> None:
    try:
        assert checked_name(name) == name
    except LoginFailed:
        return
    assert 0 < len(name) <= 256
    assert not any(ord(each) < 32 or ord(each) == 127 for each in name)


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_field_is_read_or_refused(field: str, query: str) -> None:
    for authentication in (BASIC, TOKEN, BEARER):
        try:
            credentials_of(
                Asked(headers=(("authorization", field), ("cookie", field)), query=query), authentication
            )
        except LoginFailed:
            pass
