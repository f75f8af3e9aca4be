"""What answers a 407: vectors of the RFCs, a real NTLM on the other side, and what is not tried twice."""

from __future__ import annotations

import base64
import logging
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import spnego
from hypothesis import given
from hypothesis import strategies as st

from isthmus.config.proxies import Credential
from isthmus.transports.http_authentication import (
    Attempt,
    Authentication,
    AuthenticationFailed,
    Challenge,
    Digest,
    parse_challenges,
)

ALICE = Credential("alice", "open sesame")
TARGET = "gw.example.com:443"
DIGEST = 'Digest realm="r", nonce="n1", qop="auth"'


def begin(credential: Credential | None = ALICE, **settings: Any) -> Attempt:
    return shared(credential, **settings).begin()


def shared(credential: Credential | None = ALICE, **settings: Any) -> Authentication:
    return Authentication("http://proxy:1", "proxy", lambda: credential, **settings)


def ask(attempt: Attempt) -> str:
    return attempt.authorization("CONNECT", TARGET)


# -- challenges --


@pytest.mark.parametrize(
    ("values", "challenges"),
    [
        (['Basic realm="the web"'], [Challenge("basic", "", {"realm": "the web"})]),
        (["NTLM"], [Challenge("ntlm")]),
        (["NTLM TlRMTVNT=="], [Challenge("ntlm", "TlRMTVNT==")]),
        (
            ["Negotiate, NTLM,Basic realm=x"],
            [Challenge("negotiate"), Challenge("ntlm"), Challenge("basic", "", {"realm": "x"})],
        ),
        (["Negotiate abc=, NTLM"], [Challenge("negotiate", "abc="), Challenge("ntlm")]),
        (
            [r'Digest realm="a \"b\" \\c" , qop = "auth, auth-int",stale=TRUE', "Basic"],
            [
                Challenge("digest", "", {"realm": r'a "b" \c', "qop": "auth, auth-int", "stale": "TRUE"}),
                Challenge("basic"),
            ],
        ),
        ([""], []),
        (['realm="x"'], []),
        (['Basic realm="not ended'], [Challenge("basic")]),
    ],
)
def test_challenges(values: list[str], challenges: list[Challenge]) -> None:
    assert parse_challenges(values) == challenges


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=200))
def test_whatever_a_proxy_asks(value: str) -> None:
    try:
        begin().challenged([value])
    except AuthenticationFailed:
        pass


# -- Basic --


def test_basic_is_asked_for_once() -> None:
    authentication = shared()
    attempt = authentication.begin()
    assert ask(attempt) == ""
    attempt.challenged(['Basic realm="x"'])
    assert ask(attempt) == "Basic " + base64.b64encode(b"alice:open sesame").decode()
    attempt.accepted(None)
    assert ask(authentication.begin()).startswith("Basic ")


def test_what_is_rejected_is_not_sent_again() -> None:
    authentication = shared()
    for _ in range(2):
        attempt = authentication.begin()
        assert ask(attempt) == ""
        attempt.challenged(["Basic realm=x"])
        ask(attempt)
        with pytest.raises(
            AuthenticationFailed, match=r"user name and password of 'alice' \(Basic\)"
        ) as caught:
            attempt.challenged(["Basic realm=x", DIGEST])
        assert "locked" in caught.value.hint


def test_a_password_in_clear_is_warned_about_once(caplog: pytest.LogCaptureFixture) -> None:
    authentication = shared(clear=True)
    for _ in range(3):
        attempt = authentication.begin()
        if not ask(attempt):
            attempt.challenged(["Basic realm=x"])
        attempt.accepted(None)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "sesame" not in caplog.text


def test_a_colon_in_a_user_name() -> None:
    attempt = begin(Credential("a:b", "c"))
    attempt.challenged(["Basic realm=x"])
    with pytest.raises(AuthenticationFailed, match="no user names with a colon"):
        ask(attempt)


def test_a_password_that_changed_is_taken_from_the_next_connect_on() -> None:
    now = ALICE
    authentication = Authentication("http://proxy:1", "proxy", lambda: now)
    attempt = authentication.begin()
    attempt.challenged(["Basic realm=x"])
    ask(attempt)
    attempt.accepted(None)
    now = Credential("alice", "new")
    assert ask(authentication.begin()) == "Basic " + base64.b64encode(b"alice:new").decode()


# -- Digest --

RFC = (
    'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={}, '
    'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", '
    'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
)


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
    ],
)
def test_the_example_of_rfc_7616(algorithm: str, response: str) -> None:
    digest = Digest.best(parse_challenges([RFC.format(algorithm)]))
    assert digest is not None
    answer = digest.answer(
        Credential("Mufasa", "Circle of Life"),
        "GET",
        "/dir/index.html",
        "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
    )
    assert f'response="{response}"' in answer
    assert "qop=auth, nc=00000001" in answer
    assert f"algorithm={algorithm}" in answer
    assert 'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"' in answer


def test_the_strongest_digest() -> None:
    attempt = begin()
    attempt.challenged([RFC.format("MD5"), RFC.format("SHA-256"), RFC.format("SHA-512-256"), "Basic realm=x"])
    assert "algorithm=SHA-256" in ask(attempt)


@pytest.mark.parametrize("given", ['Digest realm="r"', 'Digest nonce="n"', RFC.format("SHA-1"), DIGEST])
def test_a_digest_that_cannot_be_answered(given: str) -> None:
    given = given.replace('qop="auth"', 'qop="auth-int"')
    with pytest.raises(AuthenticationFailed, match="it offers Digest"):
        begin().challenged([given])
    attempt = begin()
    attempt.challenged([given, "Basic realm=x"])
    assert ask(attempt).startswith("Basic ")


def test_a_nonce_is_used_again_and_counted() -> None:
    authentication = shared()
    counts = []
    for _ in range(3):
        attempt = authentication.begin()
        if not (answer := ask(attempt)):
            attempt.challenged([DIGEST])
            answer = ask(attempt)
        counts += re.findall("nc=([0-9a-f]{8})", answer)
        attempt.accepted(None)
    assert counts == ["00000001", "00000002", "00000003"]


def test_a_nonce_that_is_too_old() -> None:
    authentication = shared()
    first = authentication.begin()
    first.challenged([DIGEST])
    ask(first)
    first.accepted('nextnonce="n2"')
    second = authentication.begin()
    assert 'nonce="n2"' in ask(second)
    second.challenged([DIGEST.replace("n1", "n3") + ", stale=true"])
    assert 'nonce="n3"' in ask(second)
    with pytest.raises(AuthenticationFailed, match="Digest"):
        second.challenged([DIGEST])


def test_a_nonce_that_the_proxy_has_forgotten() -> None:
    authentication = shared()
    first = authentication.begin()
    first.challenged([DIGEST])
    first.accepted(None)
    second = authentication.begin()
    ask(second)
    second.challenged([DIGEST.replace("n1", "n9")])
    assert 'nonce="n9"' in ask(second)


def test_a_proxy_that_goes_on_asking() -> None:
    attempt = begin()
    for _ in range(4):
        attempt.challenged([DIGEST + ", stale=true"])
    with pytest.raises(AuthenticationFailed, match="it goes on asking"):
        attempt.challenged([DIGEST + ", stale=true"])


@pytest.mark.parametrize(
    ("more", "written"),
    [
        (", userhash=true", 'username="'),
        (", charset=UTF-8", "username*=UTF-8''J%C3%A4s%C3%B8n"),
        (", algorithm=MD5-sess", "algorithm=MD5-sess"),
    ],
)
def test_rare_digests(more: str, written: str) -> None:
    attempt = begin(Credential("Jäsøn", "x"))
    attempt.challenged([DIGEST + more])
    assert written in ask(attempt)


def test_a_digest_of_rfc_2069() -> None:
    attempt = begin()
    attempt.challenged(['Digest realm="r", nonce="n"'])
    assert "qop" not in ask(attempt)


# -- NTLM and Negotiate --


class Domain:
    """A proxy's side of NTLM, which believes ALICE."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: str) -> None:
        users = tmp_path / "users"
        users.write_text(f"CORP:{ALICE.user}:{ALICE.password}\n")
        monkeypatch.setenv("NTLM_USER_FILE", str(users))
        self.scheme = {"ntlm": "NTLM", "negotiate": "Negotiate"}[protocol]
        kinds = {"ntlm": spnego.NegotiateOptions.use_ntlm, "negotiate": spnego.NegotiateOptions.use_negotiate}
        self._server = spnego.server(protocol=protocol, options=kinds[protocol])

    def answer(self, authorization: str) -> str | None:
        """Return the challenge that follows, or None: let in. Raises where it is not."""
        scheme, _, token = authorization.partition(" ")
        assert scheme == self.scheme
        made = self._server.step(base64.b64decode(token))
        return None if self._server.complete else f"{scheme} {base64.b64encode(made or b'').decode()}"


@pytest.mark.parametrize("protocol", ["ntlm", "negotiate"])
def test_ntlm(protocol: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authentication = shared(Credential(f"CORP\\{ALICE.user}", ALICE.password))
    for asked in (True, False):
        domain = Domain(tmp_path, monkeypatch, protocol)
        attempt = authentication.begin()
        if asked:
            assert ask(attempt) == ""
            attempt.challenged([domain.scheme, "Basic realm=x"])
        challenge = domain.answer(ask(attempt))
        assert challenge is not None
        attempt.challenged([challenge])
        assert attempt.continues
        assert domain.answer(ask(attempt)) is None
        attempt.accepted(None)


def test_ntlm_with_a_wrong_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    domain = Domain(tmp_path, monkeypatch, "ntlm")
    attempt = begin(Credential("CORP\\alice", "open barley"))
    attempt.challenged(["NTLM"])
    challenge = domain.answer(ask(attempt))
    assert challenge is not None
    attempt.challenged([challenge])
    with pytest.raises(spnego.exceptions.SpnegoError):
        domain.answer(ask(attempt))
    with pytest.raises(AuthenticationFailed, match=r"of 'CORP\\\\alice' \(NTLM\)"):
        attempt.challenged(["NTLM", "Basic realm=x"])


def test_a_connection_that_ends_in_the_middle_of_ntlm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    domain = Domain(tmp_path, monkeypatch, "ntlm")
    attempt = begin()
    attempt.challenged(["NTLM"])
    attempt.lost()  # after the first 407 another connection is as good
    challenge = domain.answer(ask(attempt))
    assert challenge is not None
    attempt.challenged([challenge])
    with pytest.raises(AuthenticationFailed, match="it ends the connection in the middle of NTLM"):
        attempt.lost()


@pytest.mark.parametrize("token", ["AAAA", "!!!", base64.b64encode(b"NTLMSSP\0\2\0\0\0").decode()])
def test_a_token_that_is_nonsense(token: str) -> None:
    attempt = begin()
    attempt.challenged(["NTLM"])
    ask(attempt)
    with pytest.raises(AuthenticationFailed):
        attempt.challenged([f"NTLM {token}"])


def test_there_is_no_pyspnego(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spnego", None)
    with pytest.raises(AuthenticationFailed, match="it offers NTLM, Negotiate") as caught:
        begin().challenged(["NTLM", "Negotiate"])
    assert "isthmus[spnego]" in caught.value.hint
    attempt = begin()
    attempt.challenged(["NTLM", "Basic realm=x"])
    assert ask(attempt).startswith("Basic ")


def test_nobody_said_who_we_are() -> None:
    for values in (["Basic realm=x"], ["NTLM"], [DIGEST], ["Bearer"], []):
        with pytest.raises(AuthenticationFailed) as caught:
            begin(None).challenged(values)
        assert "proxy.credentials-file" in caught.value.hint


def test_a_scheme_that_nobody_here_has() -> None:
    with pytest.raises(AuthenticationFailed, match="it offers bearer") as caught:
        begin().challenged(["Bearer"])
    assert caught.value.hint == "isthmus has Negotiate, NTLM, Digest and Basic"
