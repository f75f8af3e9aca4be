"""The keys of sealed carriers (docs/span.md section 2): made, read, pinned, and made TLS contexts of.

A key is known by its pin, as in RFC 7469: `sha256/` and the SHA-256 of its SubjectPublicKeyInfo in base64.
The certificate around it carries it and says nothing: names, dates and issuers do not count.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import os
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from isthmus.errors import KeystoreError

_FOREVER = dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC)  # no well-defined expiry (RFC 5280, 4.1.2.5)
_SINCE = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)  # whatever the clocks say
_MAXIMUM_SIZE = 1024 * 1024


def make_key(file: Path) -> str:
    """Write a new key with its certificate to `file`, readable by its owner alone, and return its pin.

    Raises KeystoreError, also where there is something already.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    pin = _pin(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    # A name of its own: several certificates of one name cannot be told apart by OpenSSL.
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"isthmus seal {pin[7:31]}")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_SINCE)
        .not_valid_after(_FOREVER)
        .sign(key, hashes.SHA256())
    )
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    text += certificate.public_bytes(Encoding.PEM)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(text)
    except OSError as error:
        raise KeystoreError(f"{file} cannot be written: {error.strerror}") from error
    return pin


def pin_of_file(file: Path) -> str:
    """Return the pin of the key in `file`. Raises KeystoreError for one that cannot be used."""
    server_context(file)
    return pin_of(x509.load_pem_x509_certificate(_read(file)).public_bytes(Encoding.DER))


def pin_of(certificate: bytes) -> str:
    """Return the pin of the key in a certificate (DER). Raises ValueError where there is none."""
    key = x509.load_der_x509_certificate(certificate).public_key()
    return _pin(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def server_context(file: Path, clients: Path | None = None) -> ssl.SSLContext:
    """Return what speaks TLS as the server whose key is in `file`.

    `clients` has the certificates of the keys that may come, one of which each client must then prove; None:
    anybody may. Raises KeystoreError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0  # each handshake is a whole one
    _load(context, file)
    if clients is not None:
        try:
            context.load_verify_locations(cadata=_read(clients).decode("ascii"))
        except (ssl.SSLError, ValueError) as error:
            raise KeystoreError(
                f"{clients} has no certificates that can be used", hint="isthmus seal --certificate FILE"
            ) from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(file: Path | None = None) -> ssl.SSLContext:
    """Return what speaks TLS as a client, which shows the key in `file`, if there is one.

    The server proves that it has the key it shows; whether that is the right one is for the caller to look at
    (`pin_of`), before anything else. Raises KeystoreError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if file is not None:
        _load(context, file)
    return context


def certificate_of_file(file: Path) -> str:
    """Return the certificate (PEM) of the key in `file`, which is no secret. Raises KeystoreError."""
    server_context(file)
    return x509.load_pem_x509_certificate(_read(file)).public_bytes(Encoding.PEM).decode()


def _load(context: ssl.SSLContext, file: Path) -> None:
    _read(file)
    try:
        context.load_cert_chain(file, password=lambda: "")
    except (ssl.SSLError, OSError) as error:
        raise KeystoreError(
            f"{file} has no key and certificate that can be used: {getattr(error, 'reason', None) or error}",
            hint=f"make one: isthmus seal {file.name}",
        ) from error


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(_MAXIMUM_SIZE)
    except OSError as error:
        raise KeystoreError(
            f"{file} cannot be read: {error.strerror}", hint=f"make one: isthmus seal {file.name}"
        ) from error


def _pin(public_key: bytes) -> str:
    return f"sha256/{base64.b64encode(hashlib.sha256(public_key).digest()).decode()}"
