"""One attempt to open a WebSocket: what lies below, then the handshake, all within `connect.timeout`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from isthmus.config.model import ConnectOptions
from isthmus.errors import ConnectError, IsthmusError
from isthmus.transports.base import Connector, Dial, Receiver, Transport
from isthmus.transports.credentials import hint_for
from isthmus.transports.dial import no_answer
from isthmus.transports.door import Door
from isthmus.transports.redirects import follow, location_of
from isthmus.uri import Address
from isthmus.websocket.handshake import (
    ClientHandshake,
    HandshakeError,
    HeadReader,
    ResponseHead,
    parse_response_head,
)

log = logging.getLogger(__name__)

Failed = Callable[[ConnectError], None]
Opened = Callable[[Transport, str | None, bytearray], None]
"""Takes the connection after its handshake, the subprotocol that the server chose, and what came behind."""


class Opening(Receiver, Protocol):
    """The receiver of a new connection until the server has answered."""

    @property
    def asked(self) -> bool:
        """Whether the connection stood, so that the server was asked."""

    def cancel(self) -> None:
        """Give up: nothing is called any more."""


class WebSocketOpening:
    """The client's side of a handshake: the receiver of a new connection until the server has answered.

    Either `opened` is called, with the connection, the subprotocol that the server chose and what came behind
    its answer, or `failed`, once. `opened` must give the connection another receiver. Before that, `heard` is
    given the server's answer. `handshake` is what is asked, if not the plain one for `address`.
    """

    __slots__ = (
        "_address",
        "_below",
        "_done",
        "_failed",
        "_handshake",
        "_heard",
        "_opened",
        "_reader",
    )

    def __init__(
        self,
        address: Address,
        opened: Callable[[Transport, str | None, bytearray], None],
        failed: Callable[[ConnectError], None],
        handshake: ClientHandshake | None = None,
        heard: Callable[[ResponseHead], None] | None = None,
    ) -> None:
        self._address = address
        self._opened = opened
        self._failed = failed
        self._done = False
        self._handshake = handshake or ClientHandshake(address.authority, address.target)
        self._heard = heard
        self._reader = HeadReader()
        self._below: Transport | None = None

    def connection_made(self, transport: Transport) -> None:
        if self._done:
            transport.abort()
            return
        self._below = transport
        transport.write(self._handshake.request())

    def data_received(self, data: memoryview) -> None:
        view = data
        while not self._done:
            try:
                head = self._reader.feed(view)
                if head is None:
                    return
                rest = self._reader.rest
                response = parse_response_head(head)
                if response.interim:
                    view = memoryview(rest)
                    continue
                if self._heard is not None:
                    self._heard(response)
                subprotocol = self._handshake.verify(response)
            except HandshakeError as error:
                self._fail(error.reason, 504 if error.status == 504 else 502, error)
                return
            below, self._below = self._below, None
            self._done = True
            if below is not None:
                self._opened(below, subprotocol, rest)
            return

    def eof_received(self) -> None:
        self._fail("it ended the connection without an answer to the WebSocket handshake", 502, None)

    def pause_writing(self) -> None:
        """The request is small; there is nothing to hold back."""

    def resume_writing(self) -> None:
        """See `pause_writing`."""

    def connection_lost(self, error: Exception | None) -> None:
        self._fail("it dropped the connection without an answer to the WebSocket handshake", 502, error)

    @property
    def asked(self) -> bool:
        """Whether the connection stood, so that the server was asked."""
        return self._below is not None

    def cancel(self) -> None:
        """Give up: nothing is called any more."""
        self._done = True
        below, self._below = self._below, None
        if below is not None:
            below.abort()

    def _fail(self, reason: str, status: int, cause: Exception | None) -> None:
        if self._done:
            return
        self.cancel()
        failure = ConnectError(f"Unable to connect to {self._address}: {reason}", status=status)
        failure.asked = True
        failure.__cause__ = cause
        self._failed(failure)


class WebSocketDial:
    """One attempt to open a WebSocket that offers `subprotocols`, also where the server redirects it.

    Either `opened` or `failed` is called, once, and never before `start` returns. `fields` are more header
    fields for the server.
    """

    __slots__ = (
        "_address",
        "_at",
        "_below",
        "_door",
        "_failed",
        "_fields",
        "_loop",
        "_opened",
        "_opening",
        "_options",
        "_origin",
        "_redirects",
        "_subprotocols",
        "_timer",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        address: Address,
        options: ConnectOptions,
        opened: Opened,
        failed: Failed,
        subprotocols: Sequence[str] = (),
        fields: Sequence[tuple[str, str]] = (),
    ) -> None:
        self._loop = loop
        self._address = address
        self._at = address  # where a redirect has led
        self._options = options
        self._opened = opened
        self._failed = failed
        self._subprotocols = subprotocols
        self._fields = fields
        self._origin = ""
        self._redirects = 0
        self._door: Door | None = None
        self._opening: Opening | None = None
        self._below: Dial | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self, below: Connector, origin: str = "") -> None:
        """Begin, over `below`; `origin` is for whom, see `Connector.connect`."""
        self._door = below if isinstance(below, Door) else Door(below, self._options)
        self._origin = origin
        self._ask(self._door, self._address)
        # After what is below has set its own, which knows better what is under way.
        self._timer = self._loop.call_later(self._options.connect_timeout, self._timed_out)

    def cancel(self) -> None:
        self._cancel_timer()
        self._let_go()

    def _ask(self, door: Door, address: Address) -> None:
        self._at = address
        self._opening = self._make(door, address)
        self._below = door.connector(address).connect(self._opening, self._failed_once, origin=self._origin)

    def _make(self, door: Door, address: Address) -> Opening:
        """Return what asks the server of `address`, once there is a connection."""
        return WebSocketOpening(
            address,
            self._opened_once,
            self._failed_once,
            door.handshake(address, self._subprotocols, self._fields),
            lambda response: door.heard(address, response),
        )

    def _let_go(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
            self._opening = None
        if self._below is not None:
            self._below.cancel()
            self._below = None

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _opened_once(self, below: Transport, subprotocol: str | None, rest: bytearray) -> None:
        self._cancel_timer()
        self._below = self._opening = None
        self._opened(below, subprotocol, rest)

    def _failed_once(self, error: ConnectError) -> None:
        self._let_go()
        location = location_of(error.__cause__)
        if location is not None and self._door is not None and self._door.maximum_redirects:
            try:
                self._redirect(self._door, location)
            except ConnectError as not_followed:
                error = not_followed
            except IsthmusError as unusable:  # its way out, or its certificates
                text = f"Unable to connect to {self._address}: redirected to {location[:200]!r}: {unusable}"
                error = ConnectError(text, hint=unusable.hint)
            else:
                return
        elif location is not None:
            error.hint = "set http.maximum.redirects to follow it, or connect to that address"
        error.hint = error.hint or hint_for(error.__cause__, self._options.authorization_file is not None)
        self._cancel_timer()
        self._failed(error)

    def _redirect(self, door: Door, location: str) -> None:
        address = follow(self._at, location)
        self._redirects += 1
        if self._redirects > door.maximum_redirects:
            raise ConnectError(
                f"Unable to connect to {self._address}: "
                f"more than {door.maximum_redirects} redirects, the last one to {address}",
                hint="see http.maximum.redirects; the servers may redirect in a circle",
            )
        log.debug("%s: redirected to %s", self._address, address)
        self._ask(door, address)

    def _timed_out(self) -> None:
        self._timer = None
        seconds = self._options.connect_timeout
        if self._opening is None or not self._opening.asked:
            error = no_answer(self._at, seconds)
        else:
            error = ConnectError(
                f"Unable to connect to {self._at}: no answer to the WebSocket handshake within {seconds:g} s",
                status=504,
                hint="check that a WebSocket server listens there",
            )
            error.asked = True
        self._let_go()
        self._failed(error)
