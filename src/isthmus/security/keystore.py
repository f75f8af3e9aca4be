"""Keystores and truststores: from files (PEM, PKCS12) to TLS contexts that are safe by default.

A keystore holds our certificate, what leads up to its issuer, and the private key. A truststore holds the
certificates of those we believe; as in Java, a truststore that is given replaces the system's list and is not
added to it. Whatever is wrong with a file is a `KeystoreError` that names it, and the certificate's subject
and dates where one was found. A certificate that has expired is no error but a warning: a gateway that still
serves the clients who do not look is worth more than one that does not start.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import re
import ssl
import stat
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import pkcs12

from isthmus.config.model import Keystore, Security, TlsOptions
from isthmus.errors import KeystoreError
from isthmus.security.certificate import Certificate, minute, utc_now

EXPIRES_SOON_DAYS = 21
"""A certificate with fewer days left is warned about."""
_MAXIMUM_FILE_SIZE = 4 * 1024 * 1024
_PEM_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----(?:[^-]|-(?!----))*-----END \1-----")
_JAVA_MAGIC = {b"\xfe\xed\xfe\xed": "JKS", b"\xce\xce\xce\xce": "JCEKS"}
_VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}


def server_context(
    keystore: Keystore, directory: Path, *, options: TlsOptions | None = None, alpn: Sequence[str] = ()
) -> ssl.SSLContext:
    """Return the context of an accept that shows the keystore's certificate.

    `directory` is what the files are relative to: the configuration file's folder. Raises `KeystoreError` for
    a file that cannot be used. That `options` name what OpenSSL has, the model sees to.
    """
    file = _File("keystore", keystore, directory)
    contents = file.load()
    context = _context(ssl.PROTOCOL_TLS_SERVER, options, alpn)
    _use_key(context, file, contents)
    return context


def client_context(
    security: Security,
    directory: Path,
    *,
    options: TlsOptions | None = None,
    verify: bool = True,
    alpn: Sequence[str] = (),
) -> ssl.SSLContext:
    """Return the context of a connect: it verifies chain and host name, unless `verify` is False.

    Believed are the certificates of the truststore, or those of the system where none is configured. Any
    certificate of a truststore is believed for itself, also one that is neither self-signed nor an
    authority's. Raises as `server_context` does.
    """
    context = _context(ssl.PROTOCOL_TLS_CLIENT, options, alpn)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif security.truststore is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        file = _File("truststore", security.truststore, directory)
        der = [
            certificate.public_bytes(serialization.Encoding.DER) for certificate in file.load_certificates()
        ]
        context.load_verify_locations(cadata=b"".join(der))
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def describe(keystore: Keystore, directory: Path, *, role: str = "keystore") -> tuple[Certificate, ...]:
    """Return the certificates of a keystore, our own first, or of a truststore (`role` says which in
    messages).

    Raises `KeystoreError`.
    """
    file = _File(role, keystore, directory)
    return tuple(file.facts(certificate) for certificate in file.load_certificates())


def warnings(keystore: Keystore, directory: Path, now: dt.datetime | None = None) -> tuple[str, ...]:
    """Return what is no error yet but should be looked at, one line each: dates, and files open to too many.

    Raises `KeystoreError` as `describe` does.
    """
    now = now or utc_now()
    file = _File("keystore", keystore, directory)
    lines = [
        line for certificate in describe(keystore, directory) if (line := _date_warning(certificate, now))
    ]
    secret = {file.password_path, file.key_path or (file.path if file.holds_key() else None)}
    open_files = sorted(path for path in secret if path is not None and _open_to_others(path))
    lines += [
        f"{path} holds a secret and other users may read or change it: chmod 600 {path}"
        for path in open_files
    ]
    return tuple(lines)


# --- contexts


def _context(protocol: int, options: TlsOptions | None, alpn: Sequence[str]) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    options = options or TlsOptions()
    versions = [_VERSIONS[name] for name in options.protocols] or list(_VERSIONS.values())
    context.minimum_version = min(versions)
    context.maximum_version = max(versions)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    if options.ciphers:
        # Level 2 is what Python asks for where nothing is chosen: 112 bits, no signatures with SHA-1.
        context.set_ciphers(":".join([*options.ciphers, "!aNULL", "!eNULL", "@SECLEVEL=2"]))
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def _use_key(context: ssl.SSLContext, file: _File, contents: _Contents) -> None:
    pem = [certificate.public_bytes(serialization.Encoding.PEM) for certificate in contents.certificates]
    pem.append(
        contents.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    try:
        with _unreadable_file(b"".join(pem)) as path:
            context.load_cert_chain(path)
    except (OSError, ssl.SSLError) as error:
        certificate = file.facts(contents.certificates[0])
        reason = getattr(error, "reason", None) or error.strerror or str(error)
        raise KeystoreError(
            f"keystore {file.path}: the certificate {certificate} cannot be used: {reason}",
            hint="a key of at least 2048 bits (RSA) or 256 bits (EC), signed with SHA-256, is needed",
        ) from error


@contextlib.contextmanager
def _unreadable_file(content: bytes) -> Iterator[str]:
    """Give `content` a path for as long as the block runs, because `ssl` loads a key from nothing but a path.

    The file lives in memory and has no name that another process could open; where the system has no such
    files, it is one that only this user may read, and that is removed at once.
    """
    if hasattr(os, "memfd_create"):
        with os.fdopen(os.memfd_create("isthmus-keystore"), "wb") as file:
            file.write(content)
            file.flush()
            yield f"/proc/self/fd/{file.fileno()}"
    else:  # pragma: no cover -- not on Linux
        with tempfile.NamedTemporaryFile() as named:
            named.write(content)
            named.flush()
            yield named.name


# --- files


@dataclass(frozen=True, slots=True)
class _Contents:
    """What a keystore must hold: the key, its certificate first, then the others in the order of the file."""

    certificates: list[x509.Certificate]
    key: PrivateKeyTypes


class _File:
    """One configured keystore or truststore (`role`) and how to read it."""

    def __init__(self, role: str, keystore: Keystore, directory: Path) -> None:
        self.role = role
        self.type = keystore.type
        self.directory = directory
        self.path = directory / keystore.file
        self.key_path = directory / keystore.key_file if keystore.key_file else None
        self.password_path = directory / keystore.password_file if keystore.password_file else None

    def load(self) -> _Contents:
        """Read certificates and key, and see that they belong together."""
        if self.type == "PKCS12":
            certificates, key = self._read_pkcs12()
            if key is None:
                raise self._error("it holds no private key", "export it together with its key")
        else:
            certificates = self._read_pem_certificates()
            key = self._read_pem_key()
        self._need_certificate(certificates)
        public = _public_bytes(key.public_key())
        own = [
            certificate for certificate in certificates if _public_bytes(certificate.public_key()) == public
        ]
        if not own:
            where = f"the private key in {self.key_path}" if self.key_path else "its private key"
            raise self._error(
                f"{where} does not belong to the certificate {self.facts(certificates[0])}",
                "give the key that the certificate was requested with, or request a new certificate",
            )
        return _Contents([own[0], *(other for other in certificates if other is not own[0])], key)

    def load_certificates(self) -> list[x509.Certificate]:
        """Read the certificates only; the one that issued none of the others comes first."""
        certificates = self._read_pkcs12()[0] if self.type == "PKCS12" else self._read_pem_certificates()
        self._need_certificate(certificates)
        issuers = {each.issuer for each in certificates if each.issuer != each.subject}
        return sorted(certificates, key=lambda each: each.subject in issuers)

    def facts(self, certificate: x509.Certificate) -> Certificate:
        try:
            return Certificate.of(certificate, self.path)
        except ValueError as error:
            raise self._error(f"a certificate cannot be decoded: {error}") from error

    def holds_key(self) -> bool:
        """Tell whether `path` itself holds a private key that needs no password."""
        if self.type == "PKCS12":
            return self.password_path is None
        return any(label.endswith(b"PRIVATE KEY") for label, _ in self._pem_blocks(self.path))

    def _error(self, what: str, hint: str = "") -> KeystoreError:
        return KeystoreError(f"{self.role} {self.path}: {what}", hint=hint)

    def _need_certificate(self, certificates: list[x509.Certificate]) -> None:
        if not certificates:
            hint = "put in the certificates to believe, or leave the truststore out to believe the system's"
            if self.role == "keystore":
                hint = "put the certificate, its issuers' and the private key into it"
            raise self._error("it holds no certificate", hint)

    # PEM

    def _read_pem_certificates(self) -> list[x509.Certificate]:
        certificates = []
        for label, block in self._pem_blocks(self.path):
            if label in (b"CERTIFICATE", b"X509 CERTIFICATE"):
                try:
                    certificates.append(x509.load_pem_x509_certificate(block))
                except ValueError as error:
                    raise self._error(
                        f"certificate {len(certificates) + 1} in it is damaged",
                        "copy the file again, in whole",
                    ) from error
        return certificates

    def _read_pem_key(self) -> PrivateKeyTypes:
        path = self.key_path or self.path
        keys = [block for label, block in self._pem_blocks(path) if label.endswith(b"PRIVATE KEY")]
        if len(keys) != 1:
            found = f"holds {len(keys)} private keys" if keys else "holds no private key"
            raise self._error(
                f"{path} {found}" if self.key_path else f"it {found}",
                "put exactly one private key (PEM) into it"
                + ("" if self.key_path else ", or name its file in key-file"),
            )
        password = self._password()
        try:
            return _load_pem_key(keys[0], password)
        except TypeError as error:
            raise self._error(
                f"the private key in {path} is encrypted",
                "put its password into a file and name it in password-file",
            ) from error
        except UnsupportedAlgorithm as error:
            raise self._error(
                f"the private key in {path} is of a kind that is not supported: {error}"
            ) from error
        except ValueError as error:
            if b"ENCRYPTED" in keys[0]:
                raise self._wrong_password() from error
            raise self._error(
                f"the private key in {path} is damaged", "copy the file again, in whole"
            ) from error

    def _pem_blocks(self, path: Path) -> list[tuple[bytes, bytes]]:
        data = self._read(path, self.role if path == self.path else "private key")
        blocks = [(match[1], match[0]) for match in _PEM_BLOCK.finditer(data)]
        if not blocks and data.strip():
            java = _JAVA_MAGIC.get(data[:4])
            what = f"{path} is" if path != self.path else "it is"
            if java:
                raise self._error(f"{what} a Java keystore ({java}), not PEM", _convert_hint(path))
            if data[:1] == b"\x30":
                raise self._error(
                    f"{what} not PEM but binary", "if it is PKCS12 (.p12, .pfx) write <type>PKCS12</type>"
                )
            raise self._error(
                f"{what} not PEM: it has no -----BEGIN line", "give a PEM file, or set its type"
            )
        return blocks

    # PKCS12

    def _read_pkcs12(self) -> tuple[list[x509.Certificate], PrivateKeyTypes | None]:
        data = self._read(self.path, self.role)
        java = _JAVA_MAGIC.get(data[:4])
        if java:
            raise self._error(f"it is a Java keystore ({java}), not PKCS12", _convert_hint(self.path))
        if data.lstrip().startswith(b"-----BEGIN"):
            raise self._error("it is PEM, not PKCS12", "write <type>PEM</type>, or leave the type out")
        try:
            store = pkcs12.load_pkcs12(data, self._password())
        except (ValueError, UnsupportedAlgorithm) as error:
            if not str(error).startswith("Invalid password"):
                raise self._error(
                    "it is not PKCS12, or it is damaged", "make it again, or copy it again"
                ) from error
            if self.password_path is None:
                raise self._error(
                    "it needs a password", "put its password into a file and name it in password-file"
                ) from error
            raise self._wrong_password() from error
        certificates = [
            entry.certificate for entry in (store.cert, *store.additional_certs) if entry is not None
        ]
        return certificates, store.key

    # reading

    def _wrong_password(self) -> KeystoreError:
        if self.password_path is None:
            return self._error(
                "it needs a password", "put its password into a file and name it in password-file"
            )
        return self._error(
            f"the password in {self.password_path} is wrong",
            "the file's first line is taken, without the line's end; check it for spaces",
        )

    def _password(self) -> bytes | None:
        if self.password_path is None:
            return None
        return self._read(self.password_path, "password file").partition(b"\n")[0].rstrip(b"\r")

    def _read(self, path: Path, role: str) -> bytes:
        try:
            with path.open("rb") as file:
                data = file.read(_MAXIMUM_FILE_SIZE + 1)
        except FileNotFoundError as error:
            hint = f"a relative path begins at the configuration file's folder, {self.directory}"
            raise KeystoreError(f"{role} {path}: there is no such file", hint=hint) from error
        except PermissionError as error:
            hint = f"give user {os.geteuid()}, whom the gateway runs as, the right to read it"
            raise KeystoreError(f"{role} {path}: permission denied", hint=hint) from error
        except OSError as error:
            raise KeystoreError(f"{role} {path}: it cannot be read: {error.strerror}") from error
        if len(data) > _MAXIMUM_FILE_SIZE:
            raise KeystoreError(
                f"{role} {path}: it is larger than {_MAXIMUM_FILE_SIZE >> 20} MiB; is it the right file?"
            )
        if not data.strip():
            raise KeystoreError(f"{role} {path}: it is empty")
        return data


def _load_pem_key(block: bytes, password: bytes | None) -> PrivateKeyTypes:
    if password is not None:
        try:
            return serialization.load_pem_private_key(block, password)
        except TypeError:  # it is not encrypted: the password is for another file, or for nothing
            pass
    return serialization.load_pem_private_key(block, None)


def _public_bytes(key: object) -> bytes:
    encoded: bytes = key.public_bytes(  # type: ignore[attr-defined]
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return encoded


def _convert_hint(path: Path) -> str:
    return (
        f"convert it: keytool -importkeystore -srckeystore {path.name} "
        f"-destkeystore {path.stem}.p12 -deststoretype PKCS12"
    )


def _date_warning(certificate: Certificate, now: dt.datetime) -> str:
    days = certificate.days_left(now)
    told = f"{certificate.file}: the certificate {certificate.subject}"
    if certificate.not_after < now:
        return f"{told} expired on {minute(certificate.not_after)}; no client that verifies it connects"
    if certificate.not_before > now:
        return (
            f"{told} is not valid before {minute(certificate.not_before)}; "
            f"no client that verifies it connects until then; is this machine's clock right ({minute(now)})?"
        )
    if days < EXPIRES_SOON_DAYS:
        left = f"{days} days" if days != 1 else "1 day"
        return f"{told} expires on {minute(certificate.not_after)}, in {left}: renew it"
    return ""


def _open_to_others(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except OSError:
        return False  # what reads the file says so
    return bool(mode & (stat.S_IRWXO | stat.S_IWGRP))
