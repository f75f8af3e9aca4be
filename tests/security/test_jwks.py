from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from tests.security.realms import write

from isthmus.errors import KeystoreError
from isthmus.security import jwks
from isthmus.security.jwks import FetchedKeys, FileKeys, fetcher, matching, parse

RSA = RSAKey.generate_key(2048)
EC = ECKey.generate_key("P-256")
OKP = OKPKey.generate_key("Ed25519")


def entry(key: Any, **more: str) -> dict[str, Any]:
    return {**key.as_dict(private=False), **more}


def document(*entries: dict[str, Any]) -> bytes:
    return json.dumps({"keys": entries}).encode()


def test_keys_are_pinned_to_the_algorithms_of_their_kind() -> None:
    keys = parse(
        document(
            entry(RSA, kid="r"), entry(EC, kid="e"), entry(OKP, kid="o"), entry(RSA, kid="p", alg="PS256")
        ),
        "here",
    )
    assert {key.identifier: key.algorithms for key in keys} == {
        "r": ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
        "e": ("ES256",),
        "o": ("EdDSA", "Ed25519"),
        "p": ("PS256",),
    }
    assert [key.identifier for key in matching(keys, None, "PS256")] == ["r", "p"]
    assert [key.identifier for key in matching(keys, "p", "PS256")] == ["p"]
    for algorithm in ("none", "HS256", "ES384", ""):
        assert not matching(keys, "r", algorithm)
        assert not matching(keys, None, algorithm)


def test_secrets_and_other_keys_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    secret = {**OctKey.generate_key(256).as_dict(), "kid": "s"}
    keys = parse(
        document(
            secret,
            entry(EC, use="enc"),
            entry(RSA, alg="HS256"),
            {"kty": "EC", "crv": "secp256k1"},
            entry(EC),
        ),
        "here",
    )
    assert len(keys) == 1
    assert str(secret["k"]) not in caplog.text
    with pytest.raises(KeystoreError, match="no key that can verify"):
        parse(document(secret), "here")


def test_a_private_key_is_taken_as_its_public_one() -> None:
    (key,) = parse(json.dumps(RSA.as_dict(private=True)).encode(), "here")
    assert not key.key.is_private


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b'"keys"',
        b'{"keys": 5}',
        b'{"keys": ["x"]}',
        b"[" * 100_000,
        document({"kty": "RSA", "n": "!", "e": "AQAB"}),
        document({"kty": "RSA", "n": entry(RSA)["n"][:171], "e": "AQAB"}),
        document(*[{"kty": "RSA"}] * 101),
    ],
)
def test_what_is_no_jwks_is_refused(data: bytes) -> None:
    with pytest.raises(KeystoreError, match="here"):
        parse(data, "here")


def test_keys_of_a_file(tmp_path: Path) -> None:
    path = write(tmp_path / "keys", document(entry(EC, kid="a")).decode())
    assert len(FileKeys(path).find("a", "ES256")) == 1
    assert not FileKeys(path).find("b", "ES256")


class Issuer:
    """Serves keys, or fails; counts how often it was asked. Its clock only moves when it is told."""

    def __init__(self) -> None:
        self.answer: bytes | None = document(entry(EC, kid="a"))
        self.asked = 0
        self.now = 0.0
        self.keys = FetchedKeys("https://issuer/keys", 300.0, self.fetch, clock=lambda: self.now)

    def fetch(self) -> bytes:
        self.asked += 1
        if self.answer is None:
            raise KeystoreError("it cannot be fetched")
        return self.answer

    def found(self, identifier: str = "a") -> int:
        return len(self.keys.find(identifier, "ES256"))


def test_keys_are_fetched_when_needed_and_kept() -> None:
    issuer = Issuer()
    assert issuer.asked == 0
    assert [issuer.found() for _ in range(5)] == [1] * 5
    assert issuer.asked == 1
    issuer.now = 301.0
    assert issuer.found() == 1
    assert issuer.asked == 2


def test_an_unknown_key_asks_again_but_not_often() -> None:
    issuer = Issuer()
    issuer.found()
    for _ in range(20):
        assert issuer.found("b") == 0
    assert issuer.asked == 1, "somebody who makes up keys makes no traffic"
    issuer.now = jwks.AGAIN_SECONDS
    issuer.answer = document(entry(EC, kid="b"))
    assert issuer.found("b") == 1
    assert issuer.found("a") == 0
    assert issuer.asked == 2


def test_a_failure_leaves_the_keys_of_before_for_a_day(caplog: pytest.LogCaptureFixture) -> None:
    issuer = Issuer()
    issuer.found()
    issuer.answer = None
    issuer.now = 400.0
    assert issuer.found() == 1
    assert "the keys of before stay in use" in caplog.text
    issuer.now = jwks.STALE_SECONDS + 1
    with pytest.raises(KeystoreError, match="no keys from"):
        issuer.found()


def test_without_any_keys_it_is_an_error() -> None:
    issuer = Issuer()
    issuer.answer = None
    for _ in range(5):
        with pytest.raises(KeystoreError):
            issuer.found()
    assert issuer.asked == 1


class Web(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        size = 300_000 if self.path == "/large" else 10
        self.send_response({"/moved": 302, "/none": 404}.get(self.path, 200))
        self.send_header("Location", "/keys")
        self.end_headers()
        self.wfile.write(b"x" * size)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def web() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Web) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(10)


def test_a_fetch_is_bounded_and_follows_nobody(web: str) -> None:
    assert fetcher(f"{web}/keys", 5.0, None)() == b"x" * 10
    for path, why in (("/large", "larger than 256"), ("/moved", "302"), ("/none", "404")):
        with pytest.raises(KeystoreError, match=why):
            fetcher(f"{web}{path}", 5.0, None)()
    with pytest.raises(KeystoreError, match="cannot be fetched"):
        fetcher("http://127.0.0.1:1/", 5.0, None)()


def test_authorities_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(KeystoreError, match="no certificates"):
        fetcher("https://x/", 5.0, write(tmp_path / "ca.pem", "x"))


def test_keys_of_a_file_that_are_gone(tmp_path: Path) -> None:
    path = write(tmp_path / "keys", document(entry(EC, kid="a")).decode())
    keys = FileKeys(path)
    (key,) = keys.find("a", "ES256")
    assert keys.holds(key.stamp)
    assert not keys.holds("another")
    renamed = parse(document(entry(EC, kid="b")), "here")
    assert renamed[0].stamp == key.stamp, "a name is no key"


def test_fetched_keys_are_asked_for_again_while_something_is_open() -> None:
    """In time, off the loop, and a failure revokes nothing."""
    issuer = Issuer()
    (key,) = issuer.keys.find("a", "ES256")
    assert issuer.keys.holds(key.stamp)
    assert issuer.asked == 1

    def until_asked(times: int) -> None:
        for _ in range(500):
            issuer.keys.holds(key.stamp)
            if issuer.asked >= times and not issuer.keys._lock.locked():
                return
            time.sleep(0.01)
        raise AssertionError(f"asked {issuer.asked} times")

    issuer.now, issuer.answer = 301.0, None
    until_asked(2)
    assert issuer.keys.holds(key.stamp)
    issuer.now, issuer.answer = 340.0, document(entry(ECKey.generate_key("P-256"), kid="a"))
    until_asked(3)
    assert not issuer.keys.holds(key.stamp)
    for _ in range(100):
        issuer.keys.holds(key.stamp)
    assert issuer.asked == 3
