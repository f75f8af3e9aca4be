"""From keystores to the settings of TLS (`ssl.SSLContext`) that are safe by default and follow their files.

`server_context` and `client_context` make one context. `ServerTls` and `ClientTls` are what accepts and
connects of a gateway ask at each connection: they share `Stores`, so that a changed file is seen, read and
complained of once, and connections that stand never notice.
"""

from __future__ import annotations

import contextlib
import logging
import os
import ssl
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from isthmus.config.model import Keystore, Security, TlsOptions
from isthmus.errors import KeystoreError
from isthmus.security.certificate import dns_names
from isthmus.security.keystore import Identity, Store

log = logging.getLogger(__name__)

LOOK_SECONDS = 3.0
"""How long files are believed to be unchanged after a look at them."""
VerifyClient = Literal["none", "optional", "required"]
_VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}
_CLIENTS: dict[VerifyClient, ssl.VerifyMode] = {
    "none": ssl.CERT_NONE,
    "optional": ssl.CERT_OPTIONAL,
    "required": ssl.CERT_REQUIRED,
}


# --- one context


def server_context(
    keystore: Keystore, directory: Path, *, options: TlsOptions | None = None, alpn: Sequence[str] = ()
) -> ssl.SSLContext:
    """Return the context of an accept that shows the keystore's first certificate.

    `directory` is what the files are relative to: the configuration file's folder. Raises `KeystoreError` for
    a file that cannot be used. That `options` name what OpenSSL has, the model sees to.
    """
    identity = Store("keystore", keystore, directory).identities()[0]
    return _server_context(identity, None, options, "none", alpn)


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
    authority's. A server that asks is shown the keystore's first certificate. Raises as `server_context`
    does.
    """
    return _client_context(Stores(security, directory).current(), options, verify, alpn)


def _server_context(
    identity: Identity,
    trusted: Iterable[x509.Certificate] | None,
    options: TlsOptions | None,
    verify_client: VerifyClient,
    alpn: Sequence[str] = (),
) -> ssl.SSLContext:
    context = _context(ssl.PROTOCOL_TLS_SERVER, options, alpn)
    _use_key(context, identity)
    if verify_client != "none" and trusted is not None:
        _believe(context, trusted)
        context.verify_mode = _CLIENTS[verify_client]
    return context


def _client_context(
    loaded: Loaded, options: TlsOptions | None, verify: bool, alpn: Sequence[str] = (), show: bool = True
) -> ssl.SSLContext:
    context = _context(ssl.PROTOCOL_TLS_CLIENT, options, alpn)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif loaded.trusted is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        _believe(context, loaded.trusted)
    if loaded.identities and show:
        _use_key(context, loaded.identities[0])
    return context


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


def _believe(context: ssl.SSLContext, trusted: Iterable[x509.Certificate]) -> None:
    der = [certificate.public_bytes(serialization.Encoding.DER) for certificate in trusted]
    context.load_verify_locations(cadata=b"".join(der))
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN


def _use_key(context: ssl.SSLContext, identity: Identity) -> None:
    pem = [certificate.public_bytes(serialization.Encoding.PEM) for certificate in identity.chain]
    pem.append(
        identity.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    try:
        with _unreadable_file(b"".join(pem)) as path:
            context.load_cert_chain(path)
    except (OSError, ssl.SSLError) as error:
        reason = getattr(error, "reason", None) or error.strerror or str(error)
        raise KeystoreError(
            f"keystore {identity.certificate.file}: the certificate {identity.certificate} cannot be used: "
            f"{reason}",
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


# --- what follows its files


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a gateway's files held at one time. `trusted` is None where there is no truststore."""

    identities: tuple[Identity, ...]
    trusted: tuple[x509.Certificate, ...] | None


class Stores:
    """The keystore and the truststore of a gateway, read when made and again when a file has changed.

    There is no timer: whoever needs them asks `current`, and that looks at the files at most every
    `LOOK_SECONDS`. Making one raises `KeystoreError`; later a file that cannot be used is an error in the
    log, once for each change, and what was there before stays in use.
    """

    def __init__(
        self, security: Security, directory: Path, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._keystore = security.keystore and Store("keystore", security.keystore, directory)
        self._truststore = security.truststore and Store("truststore", security.truststore, directory)
        self._paths = [path for store in (self._keystore, self._truststore) if store for path in store.paths]
        self._clock = clock
        self._look_at = clock() + LOOK_SECONDS
        self._seen = self._stamps()  # before reading: what changes meanwhile is read again
        self._loaded = self._load()

    def current(self) -> Loaded:
        """Return what the files hold: the same object until one of them has changed."""
        now = self._clock()
        if now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            self._look()
        return self._loaded

    def _look(self) -> None:
        stamps = self._stamps()
        if stamps == self._seen:
            return
        self._seen = stamps
        try:
            self._loaded = self._load()
        except KeystoreError as error:
            log.error(
                "%s; the certificates read before stay in use%s", error, error.hint and f": {error.hint}"
            )
            return
        shown = ", ".join(str(identity.certificate) for identity in self._loaded.identities)
        log.info("certificates have changed on disk and are taken up%s", shown and f": {shown}")

    def _load(self) -> Loaded:
        identities = tuple(self._keystore.identities()) if self._keystore else ()
        trusted = tuple(self._truststore.certificates()) if self._truststore else None
        for identity in identities:
            _use_key(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), identity)  # or raise now, not at a connection
        return Loaded(identities, trusted)

    def _stamps(self) -> list[tuple[int, int, int] | None]:
        return [_stamp(path) for path in self._paths]


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_mtime_ns, facts.st_size, facts.st_ino


class Certificates:
    """The certificates an accept can show, as contexts: `first`, and by name where there are `several`.

    `fingerprints` are their SHA-256, in hexadecimal.
    """

    __slots__ = ("_by_name", "fingerprints", "first", "several")

    def __init__(
        self, contexts: Sequence[tuple[Sequence[str], ssl.SSLContext]], fingerprints: Sequence[str] = ()
    ) -> None:
        """Take each context with the names that it is for; where two have the same, the former gets it."""
        self.fingerprints = tuple(fingerprints)
        self.first = contexts[0][1]
        self.several = len(contexts) > 1
        self._by_name: dict[str, ssl.SSLContext] = {}
        for names, context in contexts:
            for name in names:
                self._by_name.setdefault(name, context)

    def named(self, name: str | None) -> ssl.SSLContext:
        """Return the context for the server that a client asks for (SNI, RFC 6066 section 3).

        The certificate that has the name itself comes before a wildcard's; without either it is the first.
        """
        if name is None:
            return self.first
        name = name.lower().rstrip(".")
        context = self._by_name.get(name)
        if context is None:
            context = self._by_name.get(f"*.{name.partition('.')[2]}", self.first)
        return context


class ServerTls:
    """TLS of an accept. Making one raises `KeystoreError` where `verify_client` has no truststore."""

    def __init__(
        self, stores: Stores, options: TlsOptions | None = None, verify_client: VerifyClient = "none"
    ) -> None:
        self._stores = stores
        self._options = options
        self._verify_client: VerifyClient = verify_client
        self._loaded = stores.current()
        if verify_client != "none" and self._loaded.trusted is None:
            raise KeystoreError(
                f"ssl.verify-client is {verify_client}, and there is no truststore to verify clients by",
                hint="name the certificates of those who issue your clients' in security/truststore",
            )
        self._certificates = self._make()

    def current(self) -> Certificates:
        """Return the certificates to show to a connection that has just come."""
        loaded = self._stores.current()
        if loaded is not self._loaded:
            self._loaded = loaded
            self._certificates = self._make()
        return self._certificates

    def _make(self) -> Certificates:
        contexts = [
            (
                dns_names(each.certificate),
                _server_context(each, self._loaded.trusted, self._options, self._verify_client),
            )
            for each in self._loaded.identities
        ]
        shown = [each.chain[0].fingerprint(hashes.SHA256()).hex() for each in self._loaded.identities]
        return Certificates(contexts, shown)


class ClientTls:
    """TLS of a connect. With `show` False no server gets to see the keystore's certificate."""

    def __init__(
        self, stores: Stores, options: TlsOptions | None = None, verify: bool = True, show: bool = True
    ) -> None:
        self._stores = stores
        self._options = options
        self._verify = verify
        self._show = show
        self._loaded = stores.current()
        self._context = _client_context(self._loaded, options, verify, show=show)

    def current(self) -> ssl.SSLContext:
        """Return the context for a connection that is about to be made."""
        loaded = self._stores.current()
        if loaded is not self._loaded:
            self._loaded = loaded
            self._context = _client_context(loaded, self._options, self._verify, show=self._show)
        return self._context
