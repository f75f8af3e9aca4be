"""The names in `ssl.protocols` and `ssl.ciphers`: which may stand, and why the others may not."""

from __future__ import annotations

import re
import ssl
from functools import cache

from isthmus.config.nearest import nearest
from isthmus.config.units import NotAllowed, shown
from isthmus.config.unsupported import VALUES

PROTOCOLS = ("TLSv1.2", "TLSv1.3")

_TLS13_SUITES = frozenset(
    (
        "TLS_AES_128_GCM_SHA256",
        "TLS_AES_256_GCM_SHA384",
        "TLS_CHACHA20_POLY1305_SHA256",
        "TLS_AES_128_CCM_SHA256",
        "TLS_AES_128_CCM_8_SHA256",
    )
)
_CIPHERS_ALLOWED = "TLS 1.2 cipher suites by OpenSSL or Java name, for example ECDHE-RSA-AES128-GCM-SHA256"
_NO_SUITES = ("TLS_EMPTY_RENEGOTIATION_INFO_SCSV", "TLS_FALLBACK_SCSV")
"""Java lists these signals among suites (RFC 5746, RFC 7507); OpenSSL sends them by itself."""
_EXCHANGES = ("ECDHE_ECDSA", "ECDHE_RSA", "DHE_RSA", "RSA")
_PROTECTIONS = (
    "CHACHA20_POLY1305_SHA256",
    *(
        f"AES_{bits}_{rest}"
        for bits in (128, 256)
        for rest in ("GCM_SHA256", "GCM_SHA384", "CBC_SHA", "CBC_SHA256", "CBC_SHA384", "CCM", "CCM_8")
    ),
)
_WEAK = re.compile(r"NULL|anon|EXPORT|RC4|RC2|3DES|DES|IDEA|MD5|SEED|KRB5|DSS")


def protocols(value: tuple[str, ...]) -> tuple[str, ...]:
    """Check names of TLS versions. Raises `NotAllowed`."""
    for name in value:
        if name in VALUES["TLS protocol"]:
            raise NotAllowed(f"{name} is refused: {VALUES['TLS protocol'][name]}", ", ".join(PROTOCOLS))
        if name not in PROTOCOLS:
            raise NotAllowed(
                f"{shown(name)} is not a TLS version", ", ".join(PROTOCOLS), nearest(name, PROTOCOLS)
            )
    return value


def ciphers(value: tuple[str, ...]) -> tuple[str, ...]:
    """Check cipher suites against the OpenSSL in use. Raises `NotAllowed`."""
    value = tuple(openssl_name(name) for name in value if name not in _NO_SUITES)
    for name in value:
        if name in _TLS13_SUITES:
            what = f"{name} is a TLS 1.3 suite, which Python 3.11 to 3.13 cannot select; leave it out"
            raise NotAllowed(what, _CIPHERS_ALLOWED)
        if not re.fullmatch(r"[!+-]?[A-Za-z0-9_+-]+(:[!+-]?[A-Za-z0-9_+-]+)*", name):
            raise NotAllowed(f"{shown(name)} is not a cipher suite", _CIPHERS_ALLOWED)
        if name[0] not in "!+-":
            _select(name, name)
    if value:
        _select(":".join(value), "the list")
    return value


def openssl_name(name: str) -> str:
    """Return what OpenSSL calls a suite that is written as in Java and the RFCs; other names as they are.

    Raises `NotAllowed` for a suite that is unknown or does not protect what it carries.
    """
    if "_WITH_" not in name:
        return name
    guess = _as_openssl(name)
    weak = _WEAK.search(name)
    if weak:
        what = f"{name} is refused: {weak[0].strip('_')} does not protect what it carries"
        key = "ECDSA" if "ECDSA" in name else "RSA"
        raise NotAllowed(what, _CIPHERS_ALLOWED, f"TLS_ECDHE_{key}_WITH_AES_128_GCM_SHA256")
    if guess not in _java_names().values():
        raise NotAllowed(
            f"{shown(name)} is not a cipher suite that this machine has",
            _CIPHERS_ALLOWED,
            nearest(name, _java_names()),
        )
    return guess


@cache
def _context() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


@cache
def _java_names() -> dict[str, str]:
    """Return the suites of TLS 1.2 that this machine has: by Java's names, what OpenSSL calls them."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:!aNULL:!eNULL:!aPSK:!kPSK:!aDSS:!aSRP:!3DES:!RC4")
    there = {cipher["name"] for cipher in context.get_ciphers() if _protects(cipher)}
    names = {f"TLS_{exchange}_WITH_{rest}" for exchange in _EXCHANGES for rest in _PROTECTIONS}
    return {name: found for name in sorted(names) if (found := _as_openssl(name)) in there}


@cache
def _usual() -> tuple[str, ...]:
    return tuple(cipher["name"] for cipher in ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).get_ciphers())


def _select(rule: str, blamed: str) -> None:
    context = _context()
    try:
        context.set_ciphers(rule)
    except ssl.SSLError:
        what = f"{blamed} names no cipher suite that this machine has"
        raise NotAllowed(what, _CIPHERS_ALLOWED, nearest(_as_openssl(blamed), _usual())) from None
    # OpenSSL at its security level 1 or above, which Python sets, never uses the others.
    if not any(_protects(cipher) for cipher in context.get_ciphers() if cipher["name"] not in _TLS13_SUITES):
        raise NotAllowed(f"{blamed} selects no cipher suite that protects what it carries", _CIPHERS_ALLOWED)


def _protects(cipher: ssl._Cipher) -> bool:
    return cipher["strength_bits"] >= 112 and "Au=None" not in cipher["description"]


def _as_openssl(name: str) -> str:
    """Return about what OpenSSL calls a suite that is written as Java does (TLS_..._WITH_...)."""
    guess = re.sub(r"^(TLS|SSL)_", "", name).replace("_WITH_", "_").replace("_CBC", "")
    guess = guess.replace("POLY1305_SHA256", "POLY1305")
    return re.sub(r"^RSA_", "", re.sub(r"AES_(\d+)", r"AES\1", guess)).replace("_", "-")
