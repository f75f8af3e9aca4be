"""Keystores and truststores as files: PEM, PKCS12, JKS and JCEKS.

A keystore holds private keys, each with its certificate and what leads up to its issuer. A truststore holds
the certificates of those we believe; as in Java, a truststore that is given replaces the system's list and is
not added to it. Whatever is wrong with a file is a `KeystoreError` that names it, and the certificate's
subject and dates where one was found. A certificate that has expired is no error but a warning: a gateway
that still serves the clients who do not look is worth more than one that does not start.
"""

from __future__ import annotations

import datetime as dt
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import pkcs12

from isthmus.config.model import Keystore
from isthmus.errors import KeystoreError
from isthmus.security import jks
from isthmus.security.certificate import Certificate, minute, utc_now

EXPIRES_SOON_DAYS = 21
"""A certificate with fewer days left is warned about."""
_MAXIMUM_FILE_SIZE = 4 * 1024 * 1024
_MAXIMUM_CHAIN = 20
_PEM_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----(?:[^-]|-(?!----))*-----END \1-----")
_PKCS12_KEY = bytes.fromhex("060b2a864886f70d010c0a0102")
"""What begins an encrypted private key in PKCS12 (RFC 7292, section 4.2.2), which itself is in the open."""


def describe(keystore: Keystore, directory: Path, *, role: str = "keystore") -> tuple[Certificate, ...]:
    """Return the certificates of a keystore, our own first, or of a truststore (`role` says which in
    messages).

    Raises `KeystoreError`.
    """
    store = Store(role, keystore, directory)
    return tuple(store.facts(certificate) for certificate in store.certificates())


def warnings(
    keystore: Keystore, directory: Path, now: dt.datetime | None = None, *, role: str = "keystore"
) -> tuple[str, ...]:
    """Return what is no error yet but should be looked at, one line each: dates, and files open to too many.

    Raises `KeystoreError` as `describe` does.
    """
    now = now or utc_now()
    store = Store(role, keystore, directory)
    lines = [
        line
        for certificate in describe(keystore, directory, role=role)
        if (line := _date_warning(certificate, now))
    ]
    secret = {path for path in store.paths if path != store.path}
    if store.holds_open_key():
        secret.add(store.path)
    open_files = sorted(path for path in secret if _open_to_others(path))
    lines += [
        f"{path} holds a secret and other users may read or change it: chmod 600 {path}"
        for path in open_files
    ]
    return tuple(lines)


# --- files


@dataclass(frozen=True, slots=True)
class Identity:
    """A private key and its certificates, its own first, then those that lead up to its issuer."""

    certificate: Certificate
    chain: tuple[x509.Certificate, ...]
    key: PrivateKeyTypes


class Store:
    """One configured keystore or truststore (`role`) and how to read it. Every method may raise
    `KeystoreError`.

    Of PKCS12, JKS and JCEKS the content decides which it is, as in Java: keytool has written PKCS12 since
    Java 9, whatever the file is called.
    """

    def __init__(self, role: str, keystore: Keystore, directory: Path) -> None:
        self.role = role
        self.type = keystore.type
        self.directory = directory
        self.path = directory / keystore.file
        self.key_path = directory / keystore.key_file if keystore.key_file else None
        self.password_path = directory / keystore.password_file if keystore.password_file else None
        self.key_password_path = (
            directory / keystore.key_password_file if keystore.key_password_file else None
        )

    @property
    def paths(self) -> list[Path]:
        """The files that it is made of."""
        paths = (self.path, self.key_path, self.password_path, self.key_password_path)
        return [path for path in paths if path is not None]

    def identities(self) -> list[Identity]:
        """Read keys and certificates, at least one of each, and see that they belong together."""
        if self.type == "PEM":
            certificates = self._read_pem_certificates()
            return self._matched(self._read_pem_keys(), certificates)
        data = self._read_binary()
        if data[:4] in jks.MAGIC:
            return [self._decrypted(entry) for entry in self._read_java_keys(data)]
        certificates, key = self._read_pkcs12(data)
        if key is None:
            raise self._error("it holds no private key", "export it together with its key")
        return self._matched([key], certificates)

    def certificates(self) -> list[x509.Certificate]:
        """Read the certificates only. Of a keystore those of its keys come first, then their issuers'."""
        if self.type == "PEM":
            found = self._read_pem_certificates()
        else:
            data = self._read_binary()
            found = self._java_certificates(data) if data[:4] in jks.MAGIC else self._read_pkcs12(data)[0]
        self._need_certificate(found)
        issuers = {each.issuer for each in found if each.issuer != each.subject}
        return sorted(dict.fromkeys(found), key=lambda each: each.subject in issuers)

    def facts(self, certificate: x509.Certificate) -> Certificate:
        """Return what a user needs to know of a certificate."""
        try:
            return Certificate.of(certificate, self.path)
        except ValueError as error:
            raise self._error(f"a certificate cannot be decoded: {error}") from error

    def holds_open_key(self) -> bool:
        """Tell whether `path` itself holds a private key that needs no password."""
        if self.type != "PEM":
            return self.password_path is None
        return self.key_path is None and any(
            label.endswith(b"PRIVATE KEY") for label, _ in self._pem_blocks(self.path)
        )

    def _matched(
        self, keys: Sequence[PrivateKeyTypes], certificates: list[x509.Certificate]
    ) -> list[Identity]:
        self._need_certificate(certificates)
        owners: dict[bytes, x509.Certificate] = {}
        for certificate in certificates:
            owners.setdefault(_public_bytes(certificate.public_key()), certificate)
        found: list[Identity] = []
        for key in keys:
            own = owners.get(_public_bytes(key.public_key()))
            if own is None:
                where = f"the private key in {self.key_path}" if self.key_path else "its private key"
                if len(keys) > 1:
                    raise self._error("it holds a private key that belongs to none of its certificates")
                raise self._error(
                    f"{where} does not belong to the certificate {self.facts(certificates[0])}",
                    "give the key that the certificate was requested with, or request a new certificate",
                )
            if len(keys) == 1:
                chain = [own, *(other for other in certificates if other is not own)]
            else:
                chain = _issuers(own, certificates)
            found.append(Identity(self.facts(own), tuple(chain), key))
        return found

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
                except (ValueError, x509.InvalidVersion) as error:
                    raise self._error(
                        f"certificate {len(certificates) + 1} in it is damaged",
                        "copy the file again, in whole",
                    ) from error
        return certificates

    def _read_pem_keys(self) -> list[PrivateKeyTypes]:
        path = self.key_path or self.path
        blocks = [block for label, block in self._pem_blocks(path) if label.endswith(b"PRIVATE KEY")]
        if not blocks:
            raise self._error(
                f"{path} holds no private key" if self.key_path else "it holds no private key",
                "put a private key (PEM) into it"
                + ("" if self.key_path else ", or name its file in key-file"),
            )
        password = self._password()
        return [self._pem_key(path, block, password) for block in blocks]

    def _pem_key(self, path: Path, block: bytes, password: bytes | None) -> PrivateKeyTypes:
        try:
            return _load_pem_key(block, password)
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
            if b"ENCRYPTED" in block:
                raise self._wrong_password() from error
            raise self._error(
                f"the private key in {path} is damaged", "copy the file again, in whole"
            ) from error

    def _pem_blocks(self, path: Path) -> list[tuple[bytes, bytes]]:
        data = self._read(path, self.role if path == self.path else "private key")
        blocks = [(match[1], match[0]) for match in _PEM_BLOCK.finditer(data)]
        if not blocks and data.strip():
            java = jks.MAGIC.get(data[:4])
            what = f"{path} is" if path != self.path else "it is"
            if java:
                raise self._error(f"{what} a Java keystore ({java}), not PEM", f"write <type>{java}</type>")
            if data[:1] == b"\x30":
                raise self._error(
                    f"{what} not PEM but binary", "if it is PKCS12 (.p12, .pfx) write <type>PKCS12</type>"
                )
            raise self._error(
                f"{what} not PEM: it has no -----BEGIN line", "give a PEM file, or set its type"
            )
        return blocks

    # PKCS12, JKS, JCEKS

    def _read_binary(self) -> bytes:
        data = self._read(self.path, self.role)
        if data.lstrip().startswith(b"-----BEGIN"):
            raise self._error(f"it is PEM, not {self.type}", "write <type>PEM</type>")
        return data

    def _read_pkcs12(self, data: bytes) -> tuple[list[x509.Certificate], PrivateKeyTypes | None]:
        try:
            store = pkcs12.load_pkcs12(data, self._password())
        except (ValueError, UnsupportedAlgorithm) as error:
            if not str(error).startswith("Invalid password"):
                raise self._error(
                    f"it is not {self.type}, or it is damaged", "make it again, or copy it again"
                ) from error
            raise self._wrong_password() from error
        if self.role == "keystore" and (keys := data.count(_PKCS12_KEY)) > 1:
            raise self._error(
                f"it is PKCS12 with {keys} private keys, and isthmus reads one from PKCS12",
                f"convert it: keytool -importkeystore -srckeystore {self.path.name} "
                f"-destkeystore {self.path.stem}.jks -deststoretype JKS, and write <type>JKS</type>",
            )
        certificates = [
            entry.certificate for entry in (store.cert, *store.additional_certs) if entry is not None
        ]
        return certificates, store.key

    def _read_java(self, data: bytes) -> tuple[jks.Entry, ...]:
        password = self._text(self._password())
        try:
            return jks.read(data, password)
        except jks.WrongPassword as error:
            raise self._wrong_password() from error
        except KeystoreError as error:
            raise self._error(str(error), error.hint) from error

    def _read_java_keys(self, data: bytes) -> list[jks.KeyEntry]:
        keys = [entry for entry in self._read_java(data) if isinstance(entry, jks.KeyEntry)]
        if not keys:
            raise self._error("it holds no private key", "name it as the truststore, or put a key into it")
        return keys

    def _java_certificates(self, data: bytes) -> list[x509.Certificate]:
        """Of a truststore all that stand for themselves, of a keystore those that belong to a key."""
        if self.role == "keystore":
            return [certificate for entry in self._read_java_keys(data) for certificate in entry.chain]
        return [
            entry.chain[0] if isinstance(entry, jks.KeyEntry) else entry.certificate
            for entry in self._read_java(data)
        ]

    def _decrypted(self, entry: jks.KeyEntry) -> Identity:
        path = self.key_password_path
        password = self._text(self._first_line(path) if path is not None else self._password())
        try:
            key = entry.key(password)
        except jks.WrongPassword as error:
            hint = "put its password into a file and name it in key-password-file"
            what = f"{error}; it is not that of the keystore"
            if path is not None:
                what, hint = f"{error} than the one in {path}", "the file's first line is taken"
            raise self._error(what, hint) from error
        except KeystoreError as error:
            raise self._error(str(error), error.hint) from error
        own = entry.chain[0]
        if _public_bytes(own.public_key()) != _public_bytes(key.public_key()):
            raise self._error(f"the key {entry.alias} does not belong to its certificate {self.facts(own)}")
        return Identity(self.facts(own), entry.chain, key)

    def _text(self, password: bytes | None) -> str:
        if password is None:
            raise self._wrong_password()
        try:
            return password.decode()
        except UnicodeDecodeError:
            return password.decode("latin-1")

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
        return self._first_line(self.password_path)

    def _first_line(self, path: Path) -> bytes:
        return self._read(path, "password file").partition(b"\n")[0].rstrip(b"\r")

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


def _issuers(own: x509.Certificate, others: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    """Return `own` and, of `others`, those that lead up to its issuer."""
    chain = [own]
    while chain[-1].issuer != chain[-1].subject and len(chain) < _MAXIMUM_CHAIN:
        above = [each for each in others if each.subject == chain[-1].issuer and each not in chain]
        if not above:
            break
        chain.append(above[0])
    return chain


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
