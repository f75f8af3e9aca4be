"""The Web server that a WebSocket is opened at: how it is asked, and what it has said before.

Cookies that it sets go back to it, so that a balancer brings each handshake to the same server. A redirect
leads to another server for this one handshake: what is meant for the first (header fields, another Host or
path, the keystore's certificate) is not shown to that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from isthmus.config.headers import split_field
from isthmus.config.model import ConnectOptions
from isthmus.errors import ConnectError
from isthmus.transports.base import Connector, Dial, Receiver
from isthmus.transports.cookies import CookieJar
from isthmus.transports.credentials import fields_of
from isthmus.transports.redirects import same_origin
from isthmus.transports.ways import Ways
from isthmus.uri import Address
from isthmus.websocket.handshake import ClientHandshake, ResponseHead

Failed = Callable[[ConnectError], None]
Elsewhere = Callable[[Address], Connector]
"""Makes what connects to the server of a redirect."""


class Door:
    """A connector to the server of a ws or wss address, `below`, and how handshakes are made there."""

    def __init__(self, below: Connector, options: ConnectOptions, elsewhere: Elsewhere | None = None) -> None:
        self.address = below.address
        self.below = below
        self._options = options
        self._elsewhere = elsewhere
        self._cookies = CookieJar(options.http_maximum_cookies)
        self._fields = [split_field(line) for line in options.http_headers]
        self._authorization = fields_of(options)
        self.ways = Ways(options.fallback_retry)
        """What gets through to this server."""

    @property
    def maximum_redirects(self) -> int:
        return self._options.http_maximum_redirects if self._elsewhere is not None else 0

    def connect(self, receiver: Receiver, failed: Failed, *, origin: str = "", early: bool = False) -> Dial:
        return self.below.connect(receiver, failed, origin=origin, early=early)

    def close(self) -> None:
        self.below.close()

    def connector(self, address: Address) -> Connector:
        """Return what connects to the server of `address`: this one, or one that a redirect leads to."""
        if same_origin(address, self.address) or self._elsewhere is None:
            return self.below
        return self._elsewhere(address)

    def handshake(
        self, address: Address, subprotocols: Sequence[str], fields: Sequence[tuple[str, str]]
    ) -> ClientHandshake:
        """Return the handshake for `address`, with `fields` for this destination alone."""
        host, target, headers = self.asking(address, fields)
        return ClientHandshake(host, target, subprotocols=subprotocols, headers=headers)

    def asking(
        self, address: Address, fields: Sequence[tuple[str, str]]
    ) -> tuple[str, str, list[tuple[str, str]]]:
        """Return Host, target and more header fields of a request for `address`; see `handshake`."""
        host, target, headers = address.authority, address.target, []
        if same_origin(address, self.address):
            host = self._options.http_host or host
            headers = [*self._authorization(), *self._fields, *fields]
        if address == self.address:
            target = self._options.http_path or target
        if cookies := self._cookies.header(address):
            own = [value for name, value in headers if name.lower() == "cookie"]
            headers = [(name, value) for name, value in headers if name.lower() != "cookie"]
            headers.append(("Cookie", "; ".join([*own, cookies])))
        return host, target, headers

    def heard(self, address: Address, response: ResponseHead) -> None:
        """Take what the server at `address` has answered."""
        self._cookies.learn(address, response.get_all("set-cookie"))
