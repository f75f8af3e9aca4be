"""Java's own keystores, JKS and JCEKS: bytes and passwords in, entries out.

    file          magic, version, number of entries, the entries, SHA-1 over the password and all of these
    entry         kind, alias, time, then by kind
    private key   EncryptedPrivateKeyInfo (RFC 5208), number of certificates, the certificates, its own first
    trusted       one certificate
    secret key    a serialized Java object: JCEKS only, refused

Numbers are big-endian. The formats differ in the magic and in what encrypts a private key: in JKS a stream of
SHA-1 digests, in JCEKS Triple DES with a key of MD5 digests. Both are weak by now, so such a file must be
kept from others as an open key must. There is no standard; the format is what keytool reads and writes.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import load_der_private_key

from isthmus.errors import KeystoreError
from isthmus.security.certificate import printable

MAGIC = {b"\xfe\xed\xfe\xed": "JKS", b"\xce\xce\xce\xce": "JCEKS"}
"""The first bytes of a file -> its type."""
MAXIMUM_ENTRIES = 1000
MAXIMUM_CHAIN = 20
MAXIMUM_ITERATIONS = 5_000_000
"""Of the digest that makes the key of a JCEKS entry; Java has the same limit."""

_DIGEST = 20  # of SHA-1
_WHITENER = b"Mighty Aphrodite"
_JKS_PROTECTION = bytes.fromhex("2b060104012a02110101")  # object identifier 1.3.6.1.4.1.42.2.17.1.1
_JCEKS_PROTECTION = bytes.fromhex("2b060104012a021301")  # object identifier 1.3.6.1.4.1.42.2.19.1
_SEQUENCE, _OBJECT_IDENTIFIER, _OCTETS, _INTEGER = 0x30, 0x06, 0x04, 0x02


class WrongPassword(KeystoreError):
    """The password of a keystore does not fit, or the file was changed; or that of a private key in it."""


@dataclass(frozen=True, slots=True)
class TrustedEntry:
    """A certificate that is believed."""

    alias: str
    certificate: x509.Certificate


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """A private key, still encrypted, and its certificates: its own first, then those that lead up to the
    issuer.
    """

    alias: str
    chain: tuple[x509.Certificate, ...]
    protected: bytes

    def key(self, password: str) -> PrivateKeyTypes:
        """Decrypt the private key. Raises `WrongPassword`, or `KeystoreError` where it is damaged."""
        algorithm, parameters, encrypted = _encrypted_private_key(self.protected)
        if algorithm == _JKS_PROTECTION:
            plain = _decrypt_jks(encrypted, password)
        elif algorithm == _JCEKS_PROTECTION:
            plain = _decrypt_jceks(encrypted, parameters, password)
        else:
            raise KeystoreError(f"what encrypts the key {self.alias} is not known")
        if plain is not None:
            try:
                return load_der_private_key(plain, None)
            except UnsupportedAlgorithm as error:
                raise KeystoreError(f"the key {self.alias} is of a kind that is not supported") from error
            except (ValueError, TypeError):
                pass  # Triple DES tells a wrong password by what comes out only
        raise WrongPassword(f"the password of the key {self.alias} is another one")


Entry = KeyEntry | TrustedEntry


def read(data: bytes, password: str) -> tuple[Entry, ...]:
    """Return the entries of a keystore, in the order of the file.

    Raises `WrongPassword`, and `KeystoreError` for what is damaged, not supported, or beyond a limit. The
    text does not name the file; the caller does.
    """
    if data[:4] not in MAGIC:
        raise KeystoreError("it is not a Java keystore")
    body, digest = data[:-_DIGEST], data[-_DIGEST:]
    ours = hashlib.sha1(_java(password) + _WHITENER + body, usedforsecurity=False).digest()
    if not hmac.compare_digest(ours, digest):
        raise WrongPassword("the password is wrong, or the file is damaged")
    return _Reader(body).entries()


class _Reader:
    """One pass over the bytes of a file whose digest is right. That makes it whole, but not honest."""

    def __init__(self, body: bytes) -> None:
        self._data = body
        self._at = 4
        self._version = 0

    def entries(self) -> tuple[Entry, ...]:
        self._version = self._number(4)
        if self._version not in (1, 2):
            raise KeystoreError(f"it has version {self._version} of its format; known are 1 and 2")
        count = self._number(4)
        if count > MAXIMUM_ENTRIES:
            raise KeystoreError(f"it holds {count} entries; {MAXIMUM_ENTRIES} are the most")
        found = tuple(self._entry() for _ in range(count))
        if self._at != len(self._data):
            raise _damaged()
        return found

    def _entry(self) -> Entry:
        kind = self._number(4)
        alias = printable(self._text())
        self._bytes(8)  # when it was made
        match kind:
            case 1:
                protected = self._bytes(self._number(4))
                count = self._number(4)
                if not 1 <= count <= MAXIMUM_CHAIN:
                    raise KeystoreError(
                        f"the key {alias} has {count} certificates; from 1 to {MAXIMUM_CHAIN} may be"
                    )
                return KeyEntry(alias, tuple(self._certificate(alias) for _ in range(count)), protected)
            case 2:
                return TrustedEntry(alias, self._certificate(alias))
            case 3:
                raise KeystoreError(
                    f"its entry {alias} is a secret key, which only Java programs can read",
                    hint=f"remove it from a copy of the file: keytool -delete -alias {alias}",
                )
            case _:
                raise _damaged()

    def _certificate(self, alias: str) -> x509.Certificate:
        if self._version == 2 and (kind := self._text()) not in ("X.509", "X509"):
            raise KeystoreError(f"a certificate of {alias} is not X.509 but {printable(kind)}")
        der = self._bytes(self._number(4))
        try:
            return x509.load_der_x509_certificate(der)
        except (ValueError, x509.InvalidVersion) as error:
            raise KeystoreError(f"a certificate of {alias} is damaged") from error

    def _text(self) -> str:
        return self._bytes(self._number(2)).decode(errors="replace")

    def _number(self, size: int) -> int:
        return int.from_bytes(self._bytes(size))

    def _bytes(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._data):
            raise _damaged()
        found = self._data[self._at : end]
        self._at = end
        return found


# --- private keys


def _encrypted_private_key(der: bytes) -> tuple[bytes, bytes, bytes]:
    """Return identifier and parameters of the algorithm, and what it encrypted (RFC 5208, section 6)."""
    info, _ = _element(der, _SEQUENCE)
    algorithm, rest = _element(info, _SEQUENCE)
    encrypted, _ = _element(rest, _OCTETS)
    identifier, parameters = _element(algorithm, _OBJECT_IDENTIFIER)
    return identifier, parameters, encrypted


def _decrypt_jks(encrypted: bytes, password: str) -> bytes | None:
    """A salt, the key under a stream of digests that begins with it, and a digest of the key."""
    secret = _java(password)
    block, middle, check = encrypted[:_DIGEST], encrypted[_DIGEST:-_DIGEST], encrypted[-_DIGEST:]
    stream = bytearray()
    while len(stream) < len(middle):
        block = hashlib.sha1(secret + block, usedforsecurity=False).digest()
        stream += block
    size = len(middle)
    plain = (int.from_bytes(middle) ^ int.from_bytes(stream[:size])).to_bytes(size)
    ours = hashlib.sha1(secret + plain, usedforsecurity=False).digest()
    return plain if hmac.compare_digest(ours, check) else None


def _decrypt_jceks(encrypted: bytes, parameters: bytes, password: str) -> bytes | None:
    """PBEWithMD5AndTripleDES: each half of the salt makes half of what is the key and the first block."""
    content, _ = _element(parameters, _SEQUENCE)
    salt, rest = _element(content, _OCTETS)
    count, _ = _element(rest, _INTEGER)
    iterations = int.from_bytes(count)
    if len(salt) != 8 or not encrypted or len(encrypted) % 8:
        raise _damaged()
    if not 1 <= iterations <= MAXIMUM_ITERATIONS:
        raise KeystoreError(f"a key in it takes {iterations} digests; from 1 to {MAXIMUM_ITERATIONS} may be")
    if not password.isascii():
        return None  # Java takes no other passwords for these
    secret = password.encode()
    made = _repeated_md5(salt[:4], secret, iterations) + _repeated_md5(salt[4:], secret, iterations)
    decryptor = Cipher(TripleDES(made[:24]), modes.CBC(made[24:])).decryptor()
    unpadder = PKCS7(64).unpadder()
    try:
        return unpadder.update(decryptor.update(encrypted) + decryptor.finalize()) + unpadder.finalize()
    except ValueError:
        return None


def _repeated_md5(start: bytes, secret: bytes, times: int) -> bytes:
    digest = start
    for _ in range(times):
        digest = hashlib.md5(digest + secret, usedforsecurity=False).digest()
    return digest


def _element(der: bytes, tag: int) -> tuple[bytes, bytes]:
    """Return the content of the DER element that `der` begins with, and what follows it (X.690, 8.1)."""
    if len(der) < 2 or der[0] != tag:
        raise _damaged()
    size, start = der[1], 2
    if size & 0x80:
        start += size & 0x7F
        size = int.from_bytes(der[2:start])
    if start + size > len(der) or start > 6:
        raise _damaged()
    return der[start : start + size], der[start + size :]


def _java(password: str) -> bytes:
    """Two bytes for each of Java's characters, the higher one first."""
    return password.encode("utf-16-be", "surrogatepass")


def _damaged() -> KeystoreError:
    return KeystoreError("it is damaged", hint="copy the file again, in whole and as binary")
