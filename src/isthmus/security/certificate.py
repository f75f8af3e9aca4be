"""What a certificate says about itself, in words for people."""

from __future__ import annotations

import datetime as dt
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

_LONGEST_TEXT = 200


@dataclass(frozen=True, slots=True)
class Certificate:
    """The facts of one X.509 certificate that a user needs. All texts are printable and of bounded length.

    `names` are the DNS names and IP addresses it is valid for (subjectAltName). The times are in UTC.
    `file` is where it was read from, None for a certificate that a peer presented.
    """

    subject: str
    issuer: str
    names: tuple[str, ...]
    not_before: dt.datetime
    not_after: dt.datetime
    self_issued: bool = False
    file: Path | None = None

    @classmethod
    def of(cls, certificate: x509.Certificate, file: Path | None = None) -> Certificate:
        """Read a parsed certificate. Raises `ValueError` where a field cannot be decoded."""
        names = _alternative_names(certificate)
        return cls(
            subject=_shown(certificate.subject) or (names[0] if names else "(without a subject)"),
            issuer=_shown(certificate.issuer) or "(without a name)",
            names=names,
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
            self_issued=certificate.issuer == certificate.subject,
            file=file,
        )

    @classmethod
    def from_der(cls, der: bytes) -> Certificate:
        """Read a certificate as TLS carries it. Raises `ValueError` where it cannot be decoded."""
        return cls.of(x509.load_der_x509_certificate(der))

    def days_left(self, now: dt.datetime | None = None) -> int:
        """Return for how many whole days it stays valid; negative once it has expired."""
        return (self.not_after - (now or utc_now())).days

    def __str__(self) -> str:
        """Subject and dates, as every message about a certificate has them."""
        return f"{self.subject} (valid {day(self.not_before)} to {day(self.not_after)})"


def covers(certificate: Certificate, host: str) -> bool:
    """Tell whether `certificate` is valid for `host`, a DNS name or an IP address (RFC 9525, section 6).

    A wildcard stands for exactly one label, the leftmost. The common name does not count: no client reads it.
    """
    host = host.lower().rstrip(".")
    try:
        address = str(ipaddress.ip_address(host))
    except ValueError:
        _, _, parent = host.partition(".")
        names = {name.lower().rstrip(".") for name in certificate.names}
        return host in names or ("." in parent and f"*.{parent}" in names)
    return address in certificate.names


def utc_now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def day(moment: dt.datetime) -> str:
    """`2031-05-01`."""
    return f"{moment:%Y-%m-%d}"


def minute(moment: dt.datetime) -> str:
    """`2031-05-01 12:00 UTC`."""
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def printable(text: str) -> str:
    """Return `text`, which a peer may have chosen, so that it can neither forge nor flood a log."""
    clean = "".join(letter if letter.isprintable() else "?" for letter in text[: _LONGEST_TEXT + 1])
    return clean if len(clean) <= _LONGEST_TEXT else f"{clean[:_LONGEST_TEXT]}..."


def _shown(name: x509.Name) -> str:
    return printable(name.rfc4514_string())


def dns_names(certificate: Certificate) -> tuple[str, ...]:
    """Return the names that a client may ask for: in lower case, without addresses."""
    return tuple(name.lower().rstrip(".") for name in certificate.names if not _is_address(name))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _alternative_names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    dns = [printable(name) for name in names.get_values_for_type(x509.DNSName)]
    return (*dns, *(str(address) for address in names.get_values_for_type(x509.IPAddress)))
