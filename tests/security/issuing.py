"""Certificates of every kind, also wrong ones, for tests."""

from __future__ import annotations

import datetime as dt
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
DAY = dt.timedelta(days=1)
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class Issued:
    """A certificate with its key, and the one who issued it (None: itself)."""

    certificate: x509.Certificate
    key: Key
    issuer: Issued | None

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    def key_pem(self, password: bytes | None = None, *, traditional: bool = False) -> bytes:
        form = serialization.PrivateFormat
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            form.TraditionalOpenSSL if traditional else form.PKCS8,
            serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption(),
        )

    def pkcs12(self, password: bytes | None = None) -> bytes:
        return pkcs12.serialize_key_and_certificates(
            b"gateway",
            self.key,
            self.certificate,
            [self.issuer.certificate] if self.issuer else None,
            serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption(),
        )


def issue(
    common_name: str,
    *names: str,
    issuer: Issued | None = None,
    begin: dt.datetime = NOW - DAY,
    end: dt.datetime = NOW + 365 * DAY,
    authority: bool = False,
    key: Key | None = None,
    more: tuple[x509.ExtensionType, ...] = (),
) -> Issued:
    """Issue a certificate for host names and IP addresses, with `more` extensions; without `issuer` it is
    self-signed.
    """
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False
        )
    for extension in more:
        builder = builder.add_extension(extension, critical=False)
    signer = issuer.key if issuer else key
    return Issued(builder.sign(signer, hashes.SHA256()), key, issuer)


def write(path: Path, *parts: bytes, mode: int = 0o600) -> Path:
    """Write a file with these parts and this mode."""
    path.write_bytes(b"".join(parts))
    path.chmod(mode)
    return path


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
