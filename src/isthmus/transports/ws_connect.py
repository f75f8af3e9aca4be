"""Connecting a WebSocket: what lies below, then the handshake, all within `connect.timeout`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from isthmus.config.model import ConnectOptions
from isthmus.errors import ConnectError
from isthmus.transports.base import Connector, Dial, Receiver, Transport
from isthmus.transports.credentials import fields_of
from isthmus.transports.dial import no_answer
from isthmus.transports.ws import WebSocketOpening, WebSocketTransport
from isthmus.uri import Address
from isthmus.websocket.frames import Role

Failed = Callable[[ConnectError], None]
Opened = Callable[[Transport, str | None, bytearray], None]
"""Takes the connection after its handshake, the subprotocol that the server chose, and what came behind."""


class WebSocketConnector:
    """Connects ws and wss addresses over a connector for what lies below: one WebSocket each time."""

    def __init__(self, below: Connector, options: ConnectOptions) -> None:
        self.address = below.address
        self._below = below
        self._options = options
        self._loop = asyncio.get_running_loop()

    def connect(self, receiver: Receiver, failed: Failed, *, origin: str = "", early: bool = False) -> Dial:
        def opened(below: Transport, subprotocol: str | None, rest: bytearray) -> None:
            start_plain(below, self._options, receiver, rest)

        dial = WebSocketDial(self._loop, self.address, self._options, opened, failed)
        dial.start(self._below)
        return dial

    def close(self) -> None:
        self._below.close()


def start_plain(below: Transport, options: ConnectOptions, receiver: Receiver, rest: bytearray) -> None:
    """Let `receiver` have a WebSocket that was just opened, and what came behind its handshake."""
    opened = WebSocketTransport(
        below,
        Role.CLIENT,
        options.websocket_maximum_message_size,
        options.websocket_close_timeout,
        options.websocket_inactivity_timeout,
    )
    opened.start(receiver)
    if rest:
        opened.data_received(memoryview(rest))


class WebSocketDial:
    """One attempt to open a WebSocket that offers `subprotocols`.

    Either `opened` or `failed` is called, once, and never before `start` returns.
    """

    __slots__ = ("_address", "_below", "_failed", "_opened", "_opening", "_timeout", "_timer")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        address: Address,
        options: ConnectOptions,
        opened: Opened,
        failed: Failed,
        subprotocols: Sequence[str] = (),
    ) -> None:
        self._address = address
        self._opened = opened
        self._failed = failed
        self._timeout = options.connect_timeout
        self._opening = WebSocketOpening(
            address, self._opened_once, self._failed_once, subprotocols, fields_of(options)
        )
        self._below: Dial | None = None
        self._timer = loop.call_later(self._timeout, self._timed_out)

    def start(self, below: Connector) -> None:
        self._below = below.connect(self._opening, self._failed_once)

    def cancel(self) -> None:
        self._timer.cancel()
        self._opening.cancel()
        if self._below is not None:
            self._below.cancel()
            self._below = None

    def _opened_once(self, below: Transport, subprotocol: str | None, rest: bytearray) -> None:
        self._timer.cancel()
        self._below = None
        self._opened(below, subprotocol, rest)

    def _failed_once(self, error: ConnectError) -> None:
        self.cancel()
        self._failed(error)

    def _timed_out(self) -> None:
        if not self._opening.asked:
            self._failed_once(no_answer(self._address, self._timeout))
            return
        self._failed_once(
            ConnectError(
                f"Unable to connect to {self._address}: "
                f"no answer to the WebSocket handshake within {self._timeout:g} s",
                status=504,
                hint="check that a WebSocket server listens there",
            )
        )
