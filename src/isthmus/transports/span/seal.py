"""Sealing a carrier: TLS between the two gateways, inside the WebSocket that may cross others' TLS.

    carrier's WebSocket frames    what span says; nobody else sees it
    TLS 1.3                       by the gateways' own keys
    WebSocket, binary messages    the handshake and what follows are for everybody on the way to see
    TLS of wss                    which may end in a content network, or a proxy that inspects

The layers are those that other connections have too: `WebSocketTransport`, `TlsLayer`, `CarrierWebSocket`.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Collection

from isthmus.errors import ConnectError
from isthmus.transports.base import Transport
from isthmus.transports.tls_layer import TlsLayer
from isthmus.transports.ws import WebSocketTransport
from isthmus.uri import Address
from isthmus.websocket.frames import Role

_MAXIMUM_MESSAGE = 1024 * 1024
"""The largest message around TLS. Pieces pass through, so that it takes no memory."""
_CLOSE_SECONDS = 5.0
_NAME = "span"
"""What the client calls the server (SNI): it tells nothing."""

Sealed = Callable[[Transport], None]
Failed = Callable[[str, BaseException], None]
"""Called with why there is no TLS, the end of a sentence, and its cause."""


class Sealing:
    """The TLS handshake in one open WebSocket: a `Dial`.

    Either `sealed` is called with the transport inside, which must be given a receiver, or `failed`, once.
    A client's `pins` are the keys of which the server must prove one; before that is known nothing is sent.
    """

    __slots__ = ("_failed", "_layer", "_over", "_pins", "_role", "_sealed", "_timeout")

    def __init__(
        self,
        role: Role,
        context: ssl.SSLContext,
        sealed: Sealed,
        failed: Failed,
        timeout: float,
        pins: Collection[str] = (),
    ) -> None:
        self._role = role
        self._sealed = sealed
        self._failed = failed
        self._pins = pins
        self._timeout = timeout
        self._over = False
        name = _NAME if role is Role.CLIENT else None
        loop = asyncio.get_running_loop()
        self._layer = TlsLayer(loop, context, self, self._not_agreed, timeout, name)

    def start(self, below: Transport, rest: bytearray | None = None) -> None:
        """Begin on a connection whose WebSocket handshake is done; `rest` is what came behind that."""
        around = WebSocketTransport(below, self._role, _MAXIMUM_MESSAGE, _CLOSE_SECONDS)
        around.start(self._layer)
        below.resume_reading()
        if rest:
            around.data_received(memoryview(rest))

    def cancel(self) -> None:
        self._over = True
        self._layer.cancel()

    # --- from the layer, until it has another receiver

    def connection_made(self, transport: Transport) -> None:
        if self._over:
            return
        self._over = True
        wrong = self._wrong_key(transport)
        if wrong:
            transport.abort()
            self._failed(wrong, ssl.SSLCertVerificationError(wrong))
        else:
            self._sealed(transport)

    def data_received(self, data: memoryview) -> None:
        """Nobody wants it: `sealed` gives the layer another receiver, or it was given up."""

    def eof_received(self) -> None:
        """See `data_received`."""

    def pause_writing(self) -> None:
        """See `data_received`."""

    def resume_writing(self) -> None:
        """See `data_received`."""

    def connection_lost(self, error: Exception | None) -> None:
        """See `data_received`."""

    def _wrong_key(self, transport: Transport) -> str:
        if not self._pins:
            return ""
        from isthmus.security.seal import pin_of

        certificate = transport.info("ssl_object").getpeercert(binary_form=True)
        pin = pin_of(certificate)
        if pin in self._pins:
            return ""
        return f"the gateway shows the key {pin}, which span.seal.pin does not name"

    def _not_agreed(self, error: BaseException, certificate: bytes | None) -> None:
        if self._over:
            return
        self._over = True
        if isinstance(error, TimeoutError):
            reason = f"no answer within {self._timeout:g} s"
        elif isinstance(error, EOFError):
            reason = "the connection was ended"
        else:
            reason = getattr(error, "reason", None) or str(error) or type(error).__name__
        self._failed(f"its sealed carrier could not be opened: {reason}", error)


def not_sealed(address: Address, why: str, cause: BaseException | None = None) -> ConnectError:
    """Say that nothing goes to `address`, because it would not be sealed to the right gateway."""
    error = ConnectError(
        f"Unable to connect to {address}: {why}",
        hint="compare span.seal.pin with what isthmus seal says of the server gateway's span.seal.key; "
        "if they are the same, somebody on the way is between them",
    )
    error.__cause__ = cause
    return error
