from __future__ import annotations

import pytest

from isthmus.config.tls_names import ciphers, protocols
from isthmus.config.units import NotAllowed

CIPHERS = "TLS 1.2 cipher suites by OpenSSL or Java name, for example ECDHE-RSA-AES128-GCM-SHA256"


@pytest.mark.parametrize("names", [(), ("TLSv1.2",), ("TLSv1.3", "TLSv1.2")])
def test_protocols(names: tuple[str, ...]) -> None:
    assert protocols(names) == names


@pytest.mark.parametrize(
    ("name", "what", "nearest"),
    [
        ("TLSv1.1", "TLSv1.1 is refused: TLS 1.2 is the least isthmus speaks", ""),
        ("TLSv12", "'TLSv12' is not a TLS version", "TLSv1.2"),
        ("x", "'x' is not a TLS version", ""),
    ],
)
def test_protocols_that_are_refused(name: str, what: str, nearest: str) -> None:
    with pytest.raises(NotAllowed) as caught:
        protocols(("TLSv1.3", name))
    assert (str(caught.value), caught.value.allowed, caught.value.nearest) == (
        what,
        "TLSv1.2, TLSv1.3",
        nearest,
    )


@pytest.mark.parametrize(
    ("java", "openssl"),
    [
        ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"),
        ("TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384", "ECDHE-ECDSA-AES256-SHA384"),
        ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"),
        ("TLS_DHE_RSA_WITH_AES_128_CBC_SHA256", "DHE-RSA-AES128-SHA256"),
        ("TLS_RSA_WITH_AES_128_CBC_SHA", "AES128-SHA"),
        ("SSL_RSA_WITH_AES_128_CBC_SHA", "AES128-SHA"),
    ],
)
def test_ciphers_by_java_name(java: str, openssl: str) -> None:
    assert ciphers((java,)) == (openssl,)
    assert ciphers(("TLS_EMPTY_RENEGOTIATION_INFO_SCSV", java, "HIGH")) == (openssl, "HIGH")


def test_only_signals_select_nothing() -> None:
    assert ciphers(("TLS_EMPTY_RENEGOTIATION_INFO_SCSV",)) == ()


@pytest.mark.parametrize(
    "names",
    [
        (),
        ("ECDHE-RSA-AES128-GCM-SHA256",),
        ("HIGH", "!aNULL", "!RC4"),
        ("HIGH:!aNULL:!MD5",),
        ("ECDHE+AESGCM",),
    ],
)
def test_ciphers(names: tuple[str, ...]) -> None:
    assert ciphers(names) == names


@pytest.mark.parametrize(
    ("names", "what", "nearest"),
    [
        (
            ("HIGH", "TLS_AES_128_GCM_SHA256"),
            (
                "TLS_AES_128_GCM_SHA256 is a TLS 1.3 suite, which Python 3.11 to 3.13 cannot select; leave "
                "it out"
            ),
            "",
        ),
        (
            ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA265",),
            "'TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA265' is not a cipher suite that this machine has",
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        ),
        (
            ("SSL_RSA_WITH_RC4_128_MD5",),
            "SSL_RSA_WITH_RC4_128_MD5 is refused: RC4 does not protect what it carries",
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        ),
        (
            ("HIGH", "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA"),
            "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA is refused: 3DES does not protect what it carries",
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        ),
        (("NULL-SHA256",), "NULL-SHA256 selects no cipher suite that protects what it carries", ""),
        (("aNULL",), "aNULL selects no cipher suite that protects what it carries", ""),
        (("HIGH@SECLEVEL=0",), "'HIGH@SECLEVEL=0' is not a cipher suite", ""),
        (("HIGH", "!ALL"), "the list names no cipher suite that this machine has", ""),
    ],
)
def test_ciphers_that_are_refused(names: tuple[str, ...], what: str, nearest: str) -> None:
    with pytest.raises(NotAllowed) as caught:
        ciphers(names)
    assert (str(caught.value), caught.value.allowed) == (what, CIPHERS)
    if nearest:
        assert caught.value.nearest == nearest
