"""The line to the gateway: made of the same layers as a connect of `isthmus proxy` with the same options."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from isthmus.config.model import ConnectOptions, Security
from isthmus.config.proxies import Credential, Proxy, Way, way_to
from isthmus.doctor.conversation import Conversation, open_conversation
from isthmus.errors import KeystoreError
from isthmus.transports.base import Connector
from isthmus.transports.credentials import fields_of
from isthmus.transports.door import Door
from isthmus.transports.outgoing import through
from isthmus.transports.socket_connect import SocketConnector
from isthmus.transports.tls_over import TlsOverConnector
from isthmus.uri import Address


@dataclass
class Line:
    """How `address` is reached: `options` and `security` are what `isthmus proxy` would have.

    Files are relative to `directory`. What is found out on the way is noted here: `first_hop`, where the
    way's first socket goes in place of its name, and whether the server is `trusted`, without which it is
    shown nothing that is secret. Making one reads all files and raises an `IsthmusError` for one that cannot
    be used.
    """

    address: Address
    options: ConnectOptions
    security: Security = field(default_factory=Security)
    directory: Path = field(default_factory=Path.cwd)
    environment: Mapping[str, str] = field(default_factory=dict)
    first_hop: str = ""
    trusted: bool = True

    def __post_init__(self) -> None:
        file = self.options.authorization_file
        if file is not None:
            self.options = self.options.model_copy(update={"authorization_file": self.directory / file})
            fields_of(self.options)
        self.way: Way = way_to(self.address, self.options, self.environment)
        self.credential: Callable[[Proxy], Credential | None] = lambda proxy: proxy.credential
        if self.options.proxy_credentials_file or self.options.proxy_credentials_keyring:
            from isthmus.security.proxy_credentials import credentials_of

            self.credential = credentials_of(self.options, self.directory)
        self._made: dict[tuple[Way, str], Connector] = {}
        self._contexts: dict[bool, ssl.SSLContext] = {}
        if self.address.kind.secure or any(proxy.secure for proxy in self.way.proxies):
            self._contexts = {verify: self._context(verify) for verify in (True, False)}

    @property
    def verifies(self) -> bool:
        """Whether the server has to prove who it is (not with `--insecure`)."""
        return self.options.verify_server == "required"

    @property
    def server_name(self) -> str:
        return self.options.server_name or self.address.host.rstrip(".")

    @property
    def asked(self) -> Address:
        """What is asked for: without its query, which may be a secret, where it is not known who is asked."""
        return self.address if self.trusted else replace(self.address, query="")

    def context(self, verify: bool) -> ssl.SSLContext:
        """Return TLS settings; those that do not verify show a certificate of ours with `--insecure` only."""
        return self._contexts[verify]

    def below(self, way: Way | None = None) -> Connector:
        """Return what reaches the far end of the way (or of `way`) as bytes, without TLS of its own."""
        way = self.way if way is None else way
        made = self._made.get((way, self.first_hop))
        if made is None:  # else what a proxy wants to be told is known already
            made = through(
                way,
                self.address,
                self.options,
                self._socket,
                lambda: self.context(self.verifies),
                self.credential,
            )
            self._made[way, self.first_hop] = made
        return made

    def secure(self, verify: bool) -> Connector:
        """Return what speaks TLS to the server."""
        timeout = self.options.connect_timeout
        return TlsOverConnector(
            self.below(), self.address, self.server_name, lambda: self.context(verify), timeout
        )

    def connector(self) -> Connector:
        """Return what reaches the server as HTTP is spoken to it."""
        if not self.address.kind.secure:
            return self.below()
        return self.secure(self.trusted and self.verifies)

    def door(self) -> Door:
        """Return how it is asked: with credentials only where it is known who it is."""
        options = self.options
        if not self.trusted:
            options = options.model_copy(update={"authorization_file": None})
        return Door(self.connector(), options)

    async def talk(self, seconds: float) -> Conversation:
        """Open a connection to the server. Raises `ConnectError`."""
        return await open_conversation(self.connector(), self.address, seconds)

    def _socket(self, address: Address, at: Address) -> Connector:
        if self.first_hop:
            at = Address(at.scheme, self.first_hop, at.port)
        return SocketConnector(address, self.options, at)

    def _context(self, verify: bool) -> ssl.SSLContext:
        from isthmus.security import ClientTls, Stores

        show = verify or not self.verifies  # --insecure: whoever it is
        tls = ClientTls(Stores(self.security, self.directory), self.options, verify, show=show)
        return tls.current()


def check_pin(pin: str) -> str:
    """Return a pin as it is compared: the SHA-256 of a public key in hexadecimal. Raises `KeystoreError`."""
    plain = pin.lower().removeprefix("sha256:").replace(":", "")
    if len(plain) != 64 or any(letter not in "0123456789abcdef" for letter in plain):
        raise KeystoreError(
            "--pin is not the SHA-256 of a public key", hint="64 hexadecimal digits, as the report shows them"
        )
    return plain
