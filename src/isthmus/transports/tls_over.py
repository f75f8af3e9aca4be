"""TLS over whatever a connector reaches: behind a proxy, or to a proxy itself."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

from isthmus.errors import ConnectError
from isthmus.security.failure import explain_failure
from isthmus.transports.base import Connector, Dial, Receiver, Transport
from isthmus.transports.tls_layer import TlsLayer
from isthmus.uri import Address

Failed = Callable[[ConnectError], None]


class TlsOverConnector:
    """Speaks TLS over `below` to the server `server_name`, whose certificate must be for that name.

    `context` is asked at each connect. `timeout`, in seconds, is for all that a connect takes.
    """

    def __init__(
        self,
        below: Connector,
        address: Address,
        server_name: str,
        context: Callable[[], ssl.SSLContext],
        timeout: float,
    ) -> None:
        self.address = address
        self.below = below
        self.server_name = server_name
        self.context = context
        self.timeout = timeout

    def connect(self, receiver: Receiver, failed: Failed, *, origin: str = "", early: bool = False) -> Dial:
        dial = _TlsDial(self, receiver, failed)
        dial.start(origin)
        return dial

    def close(self) -> None:
        self.below.close()


class _TlsDial:
    """One connect; until the connection below stands this is its receiver, then the `TlsLayer` is."""

    __slots__ = ("_connector", "_deadline", "_dial", "_failed", "_layer", "_receiver")

    def __init__(self, connector: TlsOverConnector, receiver: Receiver, failed: Failed) -> None:
        self._connector = connector
        self._receiver = receiver
        self._failed = failed
        self._dial: Dial | None = None
        self._layer: TlsLayer | None = None
        self._deadline = asyncio.get_running_loop().time() + connector.timeout

    def start(self, origin: str) -> None:
        self._dial = self._connector.below.connect(self, self._failed, origin=origin)

    def cancel(self) -> None:
        """Give up: nothing is called any more."""
        if self._layer is not None:
            self._layer.cancel()
        elif self._dial is not None:
            self._dial.cancel()
        self._dial = None

    def connection_made(self, transport: Transport) -> None:
        loop = asyncio.get_running_loop()
        self._dial = None
        self._layer = TlsLayer(
            loop,
            self._connector.context(),
            self._receiver,
            self._not_agreed,
            max(0.1, self._deadline - loop.time()),
            self._connector.server_name,
        )
        transport.set_receiver(self._layer)
        self._layer.connection_made(transport)

    def _not_agreed(self, error: BaseException, certificate: bytes | None) -> None:
        self._failed(explain_failure(error, self._connector.address, certificate))

    # What came with the news that the connection stands; all else is told to the layer itself.

    def data_received(self, data: memoryview) -> None:
        assert self._layer is not None
        self._layer.data_received(data)

    def eof_received(self) -> None:
        assert self._layer is not None
        self._layer.eof_received()

    def pause_writing(self) -> None:
        """See `data_received`."""

    def resume_writing(self) -> None:
        """See `data_received`."""

    def connection_lost(self, error: Exception | None) -> None:
        assert self._layer is not None
        self._layer.connection_lost(error)
