"""Connecting WebSockets, each for one connection."""

from __future__ import annotations

import asyncio

from isthmus.config.model import ConnectOptions
from isthmus.transports.base import Connector, Dial, Receiver, Transport, peer_of
from isthmus.transports.door import Door
from isthmus.transports.fallback import FallbackDial
from isthmus.transports.forwarded import field
from isthmus.transports.keep_alive import IdleLimit
from isthmus.transports.ws import WebSocketTransport
from isthmus.transports.ws_dial import Failed
from isthmus.websocket.frames import Role


class WebSocketConnector:
    """Connects ws and wss addresses over a connector for what lies below: one WebSocket each time."""

    def __init__(self, below: Connector, options: ConnectOptions) -> None:
        self.address = below.address
        self._below = below if isinstance(below, Door) else Door(below, options)
        self._options = options
        self._idle = IdleLimit(str(self.address), options.websocket_ping_interval)
        self._loop = asyncio.get_running_loop()

    def connect(self, receiver: Receiver, failed: Failed, *, origin: str = "", early: bool = False) -> Dial:
        def opened(below: Transport, subprotocol: str | None, rest: bytearray) -> None:
            start_plain(below, self._options, receiver, rest, self._idle)

        kind, client = self._options.http_forwarded, peer_of(origin)
        fields = [] if kind == "none" or client is None else [field(kind, client)]
        dial = FallbackDial(self._loop, self.address, self._options, opened, failed, fields=fields)
        dial.start(self._below, origin)
        return dial

    def close(self) -> None:
        self._below.close()


def start_plain(
    below: Transport, options: ConnectOptions, receiver: Receiver, rest: bytearray, idle: IdleLimit
) -> None:
    """Let `receiver` have a WebSocket that was just opened, and what came behind its handshake."""
    opened = WebSocketTransport(
        below,
        Role.CLIENT,
        options.websocket_maximum_message_size,
        options.websocket_close_timeout,
        options.websocket_inactivity_timeout,
        idle,
    )
    opened.start(receiver)
    if rest:
        opened.data_received(memoryview(rest))
