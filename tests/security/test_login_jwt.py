"""Tokens: made here with real keys, and in all the ways in which they can be wrong."""

from __future__ import annotations

import base64
import hmac
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import ECKey, OKPKey, RSAKey
from tests.security.realms import write

from isthmus.config.realm import JwtLogin
from isthmus.errors import ConfigurationError, KeystoreError
from isthmus.security import login_jwt
from isthmus.security.jwks import SigningKey, matching, parse
from isthmus.security.login import Credentials, Entry, LoginFailed, LoginUnavailable
from isthmus.security.login_jwt import JwtModule

NOW = 1_800_000_000.0
RSA = RSAKey.generate_key(2048, {"kid": "rsa"})
EC = ECKey.generate_key("P-256", {"kid": "ec"})
EC521 = ECKey.generate_key("P-521", {"kid": "ec521"})
ED = OKPKey.generate_key("Ed25519", {"kid": "ed"})
OTHER = ECKey.generate_key("P-256", {"kid": "ec"})
CLAIMS: dict[str, Any] = {
    "iss": "https://issuer",
    "aud": "gateway",
    "sub": "joe",
    "exp": NOW + 60,
    "nbf": NOW,
    "roles": ["A", "B"],
}


class Keys:
    def __init__(self) -> None:
        public = [each.as_dict(private=False) for each in (RSA, EC, EC521, ED)]
        self.keys: tuple[SigningKey, ...] = parse(json.dumps({"keys": public}).encode(), "here")
        self.away = False

    def find(self, identifier: str | None, algorithm: str) -> Sequence[SigningKey]:
        if self.away:
            raise KeystoreError("there are no keys")
        return matching(self.keys, identifier, algorithm)

    def holds(self, stamp: str) -> bool:
        return any(key.stamp == stamp for key in self.keys)


KEYS = Keys()


def module(**options: Any) -> JwtModule:
    given = {"issuer": "https://issuer", "audience": "gateway", "jwks-file": "keys", **options}
    return JwtModule(JwtLogin.model_validate(given), Path(), keys=KEYS, clock=lambda: NOW)


def token(
    algorithm: str = "ES256", key: Any = EC, header: dict[str, Any] | None = None, **claims: Any
) -> str:
    payload = {name: value for name, value in {**CLAIMS, **claims}.items() if value is not None}
    said = {"alg": algorithm, "kid": key.kid, **(header or {})}
    said = {name: value for name, value in said.items() if value is not None}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return jws.serialize_compact(said, json.dumps(payload), key, algorithms=[algorithm])


def login(text: str, **options: Any) -> Entry:
    return module(**options).login(Credentials(tokens=(text,)))


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [
        ("RS256", RSA),
        ("RS512", RSA),
        ("PS256", RSA),
        ("PS384", RSA),
        ("ES256", EC),
        ("ES512", EC521),
        ("EdDSA", ED),
        ("Ed25519", ED),
    ],
)
@pytest.mark.parametrize("named", [True, False])
def test_a_right_token(algorithm: str, key: Any, named: bool) -> None:
    found = login(token(algorithm, key, None if named else {"kid": None}))
    assert (found.subject, found.roles, found.expires) == ("joe", frozenset({"A", "B"}), NOW + 90)
    assert module().vouches(found.subject, found.stamp)


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"iss": "https://other"}, "issued by somebody else"),
        ({"iss": None}, "issued by somebody else"),
        ({"iss": ["https://issuer"]}, "issued by somebody else"),
        ({"aud": "other"}, "for somebody else"),
        ({"aud": None}, "for somebody else"),
        ({"aud": ["other", 5, {"gateway": 1}]}, "for somebody else"),
        ({"exp": None}, "does not say when"),
        ({"exp": NOW - 31}, "expired"),
        ({"exp": NOW - 30}, "expired"),
        ({"exp": "tomorrow"}, "not a time"),
        ({"exp": True}, "not a time"),
        ({"exp": 1e300}, "not a time"),
        ({"nbf": NOW + 31}, "not valid yet"),
        ({"iat": NOW + 31}, "not valid yet"),
        ({"nbf": "x"}, "not a time"),
        ({"sub": None}, "no sub"),
        ({"sub": 5}, "no sub"),
        ({"sub": "a\nb"}, "characters"),
    ],
)
def test_claims_that_are_not_right(claims: dict[str, Any], why: str) -> None:
    with pytest.raises(LoginFailed, match=why):
        login(token(**claims))


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": ["other", "gateway"]},
        {"exp": NOW - 29},
        {"nbf": NOW + 30, "iat": NOW + 30},
        {"nbf": None},
    ],
)
def test_what_the_leeway_and_lists_allow(claims: dict[str, Any]) -> None:
    assert login(token(**claims)).subject == "joe"


def forged(header: dict[str, Any], signature: bytes = b"", **claims: Any) -> str:
    def part(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).decode().rstrip("=")

    payload = part(json.dumps({**CLAIMS, **claims}).encode())
    return f"{part(json.dumps(header).encode())}.{payload}.{part(signature)}"


def confused() -> str:
    """Return a token whose HMAC has the issuer's public key as its secret (RFC 8725, 2.1)."""
    unsigned = forged({"alg": "HS256", "kid": "rsa"})[:-1]
    signature = hmac.digest(RSA.as_pem(private=False), unsigned.encode(), "sha256")
    return forged({"alg": "HS256", "kid": "rsa"}, signature)


@pytest.mark.parametrize(
    "text",
    [
        forged({"alg": "none"}),
        forged({"alg": "None"}),
        forged({"alg": "ES256", "kid": "ec"}),
        forged({"alg": "ES256", "kid": "ec"}, b"x" * 64),
        forged({"alg": "ES256", "kid": 5}),
        forged({"alg": 5}),
        forged({}),
        confused(),
        token("ES256", OTHER),
        token("ES256", EC, {"kid": "unknown"}),
        token("ES256", EC, {"kid": "rsa"}),
        token("ES512", EC521, {"kid": "ec"}),
        token() + "x",
        token().replace(".", "..", 1),
        "a.b",
        "a.b.c.d.e",
        "...",
        "",
        "é.é.é",
        "W10.W10.W10",
    ],
)
def test_what_nobody_signed_is_refused(text: str) -> None:
    with pytest.raises(LoginFailed):
        login(text)


def test_a_changed_token_is_refused() -> None:
    head, payload, signature = token().split(".")
    other = token(sub="admin").split(".")[1]
    with pytest.raises(LoginFailed, match="signature"):
        login(f"{head}.{other}.{signature}")
    assert login(f"{head}.{payload}.{signature}").subject == "joe"


def test_critical_headers_are_not_passed_over() -> None:
    with pytest.raises(LoginFailed, match="critical"):
        login(forged({"alg": "ES256", "kid": "ec", "crit": ["b64"], "b64": False}))


@pytest.mark.parametrize(
    ("claims", "options", "subject", "roles"),
    [
        ({"email": "j@x"}, {"subject-claim": "email"}, "j@x", {"A", "B"}),
        ({"scope": "a b"}, {"role-claim": "scope"}, "joe", {"a", "b"}),
        (
            {"realm_access": {"roles": ["R"]}},
            {"role-claim": "realm_access.roles"},
            "joe",
            {"R"},
        ),
        ({"https://x.y/roles": ["R"]}, {"role-claim": "https://x.y/roles"}, "joe", {"R"}),
        ({"roles": None}, {}, "joe", set()),
        ({"roles": {"A": 1}}, {}, "joe", set()),
        ({"roles": ["A", 5, "", None]}, {}, "joe", {"A"}),
    ],
)
def test_where_subject_and_roles_are(
    claims: dict[str, Any], options: dict[str, Any], subject: str, roles: set[str]
) -> None:
    found = login(token(**claims), **options)
    assert (found.subject, set(found.roles)) == (subject, roles)


def test_without_a_token_or_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LoginFailed):
        module().login(Credentials("joe", "x"))
    monkeypatch.setattr(KEYS, "away", True)
    with pytest.raises(LoginUnavailable, match="no keys"):
        login(token())


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda data: data.decode("latin-1")))
def test_any_text_is_no_token(text: str) -> None:
    with pytest.raises(LoginFailed):
        login(text)


def test_keys_come_from_a_file_or_a_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "keys", json.dumps(EC.as_dict(private=False)))
    options = {"issuer": "https://issuer", "audience": "gateway"}
    file = JwtModule(JwtLogin.model_validate({**options, "jwks-file": "keys"}), tmp_path, clock=lambda: NOW)
    assert file.login(Credentials(tokens=(token(),))).subject == "joe"
    url = JwtLogin.model_validate({**options, "jwks-url": "http://127.0.0.1:1/", "timeout": 1})
    with pytest.raises(LoginUnavailable):
        JwtModule(url, tmp_path).login(Credentials(tokens=(token(),)))

    def missing(*_: str) -> None:
        raise ConfigurationError("joserfc is not installed")

    monkeypatch.setattr(login_jwt, "library", missing)
    with pytest.raises(ConfigurationError):
        JwtModule(url, tmp_path)


def test_a_key_that_is_gone_vouches_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever its tokens let in has to go; the others stay."""
    made = module()
    by_ec = made.login(Credentials(tokens=(token(),)))
    by_ed = made.login(Credentials(tokens=(token("EdDSA", ED),)))
    assert by_ec.stamp != by_ed.stamp
    assert made.vouches("joe", by_ec.stamp)
    monkeypatch.setattr(KEYS, "keys", tuple(key for key in KEYS.keys if key.identifier != "ec"))
    assert not made.vouches("joe", by_ec.stamp)
    assert made.vouches("joe", by_ed.stamp)
