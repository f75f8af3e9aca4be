"""Whose certificate it is: each finding with real TLS, and what is said of facts alone."""

from __future__ import annotations

import datetime as dt
import re
import ssl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from tests.doctor.middleboxes import Box, refusal
from tests.doctor.scene import Seen, Serving, examine
from tests.security.issuing import DAY, NOW, Issued, issue

from isthmus.config.model import Keystore, Security
from isthmus.doctor.finding import Verdict
from isthmus.doctor.recommendation import REACHABLE, TRUSTSTORE, UNREACHABLE
from isthmus.doctor.tls import Shown, Tls, judge
from isthmus.security.certificate import Certificate

pytestmark = pytest.mark.timeout(120)

SCTS = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2"), b"\x04\x02\x00\x00")
HOST = "localhost"


@pytest.fixture(scope="module")
def authority() -> Issued:
    return issue("Gateway Authority", authority=True)


@pytest.fixture(scope="module")
def inspector() -> Issued:
    return issue("Corporate Inspection", authority=True)


def write(file: Path, *issued: Issued, key: bool = True) -> Path:
    file.write_bytes(b"".join([each.pem for each in issued]) + (issued[0].key_pem() if key else b""))
    return file


def context(file: Path) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(file)
    return made


def anybody() -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    return made


def believes(folder: Path, *issued: Issued) -> Security:
    return Security(truststore=Keystore(file=write(folder / "trusted.pem", *issued, key=False)))


@pytest.fixture
def secure(serving: Serving, tmp_path: Path, authority: Issued) -> Callable[..., object]:
    """Return what runs a gateway with a certificate of `authority`."""
    write(tmp_path / "server.pem", issue("gw", HOST, "127.0.0.1", issuer=authority))

    def serve(**options: object) -> object:
        return serving("wss", gateway='[security.keystore]\nfile = "server.pem"', **options)

    return serve


async def test_nobody_intercepts(secure: Callable[..., object], tmp_path: Path, authority: Issued) -> None:
    async with secure() as port:  # type: ignore[attr-defined]
        seen = await examine(f"wss://{HOST}:{port}/x", security=believes(tmp_path, authority))
    assert seen["tls"].verdict is Verdict.OK, seen.text
    assert seen["tls"].seen.endswith("the gateway says that it is its own: not intercepted")
    assert seen["tls"].seen.startswith("TLSv1.3 ")
    assert seen.recommendation.code == REACHABLE
    assert "TLS " in seen["round trip"].seen


async def test_a_box_intercepts_and_is_not_believed(
    secure: Callable[..., object], tmp_path: Path, authority: Issued, inspector: Issued
) -> None:
    own = context(write(tmp_path / "box.pem", issue("gw", HOST, issuer=inspector)))
    async with secure() as port, Box(port, tls=own, to_tls=anybody()) as box:  # type: ignore[attr-defined]
        seen = await examine(f"wss://{HOST}:{box.port}/x", security=believes(tmp_path, authority))
    assert seen["tls"].verdict is Verdict.FAILED
    assert "issued by CN=Corporate Inspection, whom this gateway does not trust" in seen["tls"].seen
    assert "a box on the way intercepts TLS" in seen["tls"].advice
    assert seen["upgrade"].verdict is Verdict.OK, "the rest is examined all the same"
    assert seen.recommendation.code == UNREACHABLE


async def test_a_box_intercepts_and_is_believed(
    secure: Callable[..., object], tmp_path: Path, authority: Issued, inspector: Issued
) -> None:
    own = context(write(tmp_path / "box.pem", issue("gw", HOST, issuer=inspector)))
    async with secure() as port, Box(port, tls=own, to_tls=anybody()) as box:  # type: ignore[attr-defined]
        seen = await examine(f"wss://{HOST}:{box.port}/x", security=believes(tmp_path, inspector))
    assert seen["tls"].verdict is Verdict.WARNING
    assert "but the gateway shows another: TLS ends on the way" in seen["tls"].seen
    assert seen["tls"].facts["other than the gateway says"]


async def test_a_private_authority_that_is_not_believed(
    secure: Callable[..., object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inspector: Issued
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(write(tmp_path / "roots.pem", inspector, key=False)))
    async with secure() as port:  # type: ignore[attr-defined]
        seen = await examine(f"wss://{HOST}:{port}/x")
    assert seen["tls"].verdict is Verdict.FAILED
    assert "it is the gateway's own" in seen["tls"].advice
    assert seen.needs.authority
    assert f"--truststore {TRUSTSTORE}" in seen.recommendation.command


@pytest.mark.parametrize("public", [False, True])
async def test_the_system_believes_a_root_that_was_added(
    public: bool, serving: Serving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inspector: Issued
) -> None:
    """The box's authority is among the system's roots, as in a company's network; there are no probes."""
    monkeypatch.setenv("SSL_CERT_FILE", str(write(tmp_path / "roots.pem", inspector, key=False)))
    leaf = issue("gw", HOST, issuer=inspector, more=(SCTS,) if public else ())
    own = context(write(tmp_path / "box.pem", leaf))
    async with serving(accept={"doctor.probe": "disabled"}) as port, Box(port, tls=own) as box:
        seen = await examine(f"wss://{HOST}:{box.port}/x")
    if public:
        assert seen["tls"].verdict is Verdict.OK
        assert seen["tls"].seen.endswith("a public issuer: not intercepted")
    else:
        assert seen["tls"].verdict is Verdict.WARNING
        assert "its issuer is no public one (CN=Corporate Inspection)" in seen["tls"].seen


async def _behind(serving: Serving, folder: Path, leaf: Issued, trusted: Issued, **options: object) -> Seen:
    own = context(write(folder / "box.pem", leaf))
    async with serving() as port, Box(port, tls=own) as box:
        uri = f"wss://{HOST}:{box.port}/x"
        return await examine(uri, security=believes(folder, trusted), **options)  # type: ignore[arg-type]


async def test_the_pin(serving: Serving, tmp_path: Path, authority: Issued) -> None:
    leaf = issue("gw", HOST, issuer=authority)
    seen = await _behind(serving, tmp_path, leaf, authority)
    key = str(seen["tls"].facts["chain"][0]["key"])  # type: ignore[index]
    right = await _behind(serving, tmp_path, leaf, authority, pin=key)
    assert right["tls"].seen.endswith("the key is the pinned one: not intercepted")
    other = issue("gw", HOST, issuer=authority)
    wrong = await _behind(serving, tmp_path, other, authority, pin=key)
    assert wrong["tls"].verdict is Verdict.FAILED
    assert "its key is not the one of --pin" in wrong["tls"].seen


async def test_a_server_that_is_not_trusted_is_shown_nothing(
    serving: Serving, tmp_path: Path, authority: Issued, inspector: Issued
) -> None:
    secret = tmp_path / "credentials"
    secret.write_text("alice:sesame\n")
    own = context(write(tmp_path / "box.pem", issue("gw", HOST, issuer=inspector)))
    async with serving() as port, Box(port, tls=own) as box:
        uri = f"wss://{HOST}:{box.port}/x?token=query"
        trusted = believes(tmp_path, authority)
        seen = await examine(uri, security=trusted, authorization_file=secret, directory=tmp_path)
        assert seen["tls"].verdict is Verdict.FAILED
        assert box.heads
        assert not any(b"authorization" in head.lower() or b"query" in head for head in box.heads)
        box.heads.clear()
        trusted = believes(tmp_path, inspector)
        seen = await examine(uri, security=trusted, authorization_file=secret, directory=tmp_path)
        assert seen["tls"].verdict is Verdict.OK
        assert all(b"authorization" in head.lower() and b"?token=query" in head for head in box.heads)
    assert not re.search("sesame|query[^ ]", seen.text + repr(seen.findings))
    assert "--credentials credentials" in seen.recommendation.command


@pytest.mark.parametrize(
    ("names", "begin", "end", "words", "advice"),
    [
        (("other.example.com",), NOW - DAY, NOW + DAY, "is for other.example.com, not for", "a name it has"),
        ((HOST,), NOW - 9 * DAY, NOW - DAY, "has expired", "must renew it"),
        ((HOST,), NOW + DAY, NOW + 9 * DAY, "is not valid yet", "see the clock below"),
    ],
)
async def test_a_certificate_that_is_wrong(
    names: tuple[str, ...],
    begin: dt.datetime,
    end: dt.datetime,
    words: str,
    advice: str,
    serving: Serving,
    tmp_path: Path,
    authority: Issued,
) -> None:
    leaf = issue("gw", *names, issuer=authority, begin=begin, end=end)
    seen = await _behind(serving, tmp_path, leaf, authority)
    assert seen["tls"].verdict is Verdict.FAILED
    assert words in seen["tls"].seen
    assert advice in seen["tls"].advice
    assert seen["upgrade"].verdict is Verdict.OK


async def test_a_certificate_of_tomorrow_and_a_clock_of_yesterday(tmp_path: Path, authority: Issued) -> None:
    leaf = issue("gw", HOST, issuer=authority, begin=NOW + DAY)
    own = context(write(tmp_path / "box.pem", leaf))
    async with Box(1, tls=own, request=lambda head: None, refusal=refusal("404 Not Found")) as box:
        seen = await examine(f"wss://{HOST}:{box.port}/x", security=believes(tmp_path, authority))
    assert seen["clock"].verdict is Verdict.WARNING
    assert "a certificate that is not valid yet says that this clock is behind" in seen["clock"].seen


async def test_it_expires_soon(serving: Serving, tmp_path: Path, authority: Issued) -> None:
    leaf = issue("gw", HOST, issuer=authority, end=NOW + 5 * DAY)
    seen = await _behind(serving, tmp_path, leaf, authority)
    assert seen["tls"].verdict is Verdict.WARNING
    assert "it expires in 4 days" in seen["tls"].seen


async def test_only_tls_1_2(serving: Serving, tmp_path: Path, authority: Issued) -> None:
    own = context(write(tmp_path / "box.pem", issue("gw", HOST, issuer=authority)))
    own.maximum_version = ssl.TLSVersion.TLSv1_2
    async with serving() as port, Box(port, tls=own) as box:
        seen = await examine(f"wss://{HOST}:{box.port}/x", security=believes(tmp_path, authority))
    assert seen["tls"].verdict is Verdict.NOTE
    assert "TLS 1.2 only, an old server, or a box on the way that cannot do 1.3" in seen["tls"].seen


async def test_nothing_is_verified(serving: Serving, tmp_path: Path, inspector: Issued) -> None:
    own = context(write(tmp_path / "box.pem", issue("gw", HOST, issuer=inspector)))
    async with serving() as port, Box(port, tls=own) as box:
        seen = await examine(f"wss://{HOST}:{box.port}/x", verify_server="none")
    assert seen["tls"].verdict is Verdict.WARNING
    assert "nothing was verified (--insecure)" in seen["tls"].seen
    assert "--insecure" in seen.recommendation.command


async def test_no_tls_at_all(serving: Serving) -> None:
    async with serving() as port:
        seen = await examine(f"wss://{HOST}:{port}/x")
    assert seen["tls"].verdict is Verdict.FAILED
    assert "does not speak TLS" in seen["tls"].seen
    assert seen["upgrade"].verdict is Verdict.LEFT_OUT


REALM = """\
[[security.realm]]
name = "people"
[security.realm.authentication]
http-challenge-scheme = "Basic"
[[security.realm.authentication.login-modules.login-module]]
type = "file"
success = "required"
[security.realm.authentication.login-modules.login-module.options]
file = "users"
[security.keystore]
file = "server.pem"
"""


@pytest.mark.parametrize("given", ["", "alice:wrong", "alice:sesame"])
async def test_the_gateway_asks_who_we_are(
    given: str, serving: Serving, tmp_path: Path, authority: Issued
) -> None:
    from isthmus.security.password_file import set_password

    write(tmp_path / "server.pem", issue("gw", HOST, issuer=authority))
    set_password(tmp_path / "users", "alice", "sesame")
    options: dict[str, object] = {}
    if given:
        (tmp_path / "who").write_text(given)
        options["authorization_file"] = tmp_path / "who"
    async with serving("wss", more='realm-name = "people"', gateway=REALM) as port:
        trusted = believes(tmp_path, authority)
        uri = f"wss://{HOST}:{port}/x"
        seen = await examine(uri, security=trusted, directory=tmp_path, patience=10, **options)  # type: ignore[arg-type]
    if given.endswith("sesame"):
        assert seen.recommendation.code == REACHABLE, seen.text
        assert seen["throughput"].verdict is Verdict.OK
        return
    assert seen["upgrade"].seen.startswith(
        "the gateway itself refuses with 401 Unauthorized: it asks who we are"
    )
    if given:
        assert seen["upgrade"].advice == "what --credentials holds is not taken there"
    else:
        assert seen.needs.credentials
        assert "--credentials credentials" in seen.recommendation.command
    assert seen["buffering"].verdict is Verdict.LEFT_OUT, "probes ask for the same login"


async def test_a_client_certificate_is_asked_for(serving: Serving, tmp_path: Path, authority: Issued) -> None:
    write(tmp_path / "server.pem", issue("gw", HOST, issuer=authority))
    write(tmp_path / "authority.pem", authority, key=False)
    stores = '[security.keystore]\nfile = "server.pem"\n[security.truststore]\nfile = "authority.pem"'
    own = write(tmp_path / "own.pem", issue("me", issuer=authority))
    trusted = believes(tmp_path, authority)
    async with serving("wss", accept={"ssl.verify-client": "required"}, gateway=stores) as port:
        uri = f"wss://{HOST}:{port}/x"
        without = await examine(uri, security=trusted)
        both = trusted.model_copy(update={"keystore": Keystore(file=own)})
        shown = await examine(uri, security=both)
    assert without["upgrade"].verdict is Verdict.FAILED
    assert "--keystore" in without["upgrade"].advice
    assert shown.recommendation.code == REACHABLE, shown.text
    assert "--keystore" in shown.recommendation.command


def test_facts_alone() -> None:
    certificate = Certificate(
        "CN=gw", "CN=Public", ("gw.example.com",), dt.datetime(2026, 1, 1, tzinfo=dt.UTC), NOW + 99 * DAY
    )
    shown = Shown(certificate, "aa", "bb", True)
    good = Tls("gw.example.com", (shown,), "CN=Root", "TLSv1.3", "AES", 0.1)
    assert judge(good, NOW).verdict is Verdict.OK
    assert judge(good.heard(["bb"], "TLSv1.3"), NOW).verdict is Verdict.OK
    assert judge(good.heard(["cc"], None), NOW).verdict is Verdict.WARNING
    assert judge(good.heard([], None), NOW).verdict is Verdict.OK, "a gateway without TLS: a balancer ends it"
    assert judge(replace(good, pin="cc"), NOW).verdict is Verdict.FAILED
    assert judge(replace(good, chain=(replace(shown, published=False),)), NOW).verdict is Verdict.WARNING
    assert judge(Tls("gw", error="it does not speak TLS", hint="x"), NOW).advice == "x"
