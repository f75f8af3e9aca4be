"""Opening a WebSocket, or where that is blocked an emulated one: the best way that gets through.

    what the attempt ended in                                          it is
    ---------------------------------------------------------------------------------------------------
    401, 403 (no HTML), 404, 429, 3xx, 502, 503, 504                   the server's own answer: told
    426, 400, 405, 501, 200 and the like; 403 with a page of HTML      blocked: emulated at once
    an answer that is no right handshake, or a dropped connection      blocked: emulated at once
    nothing, once the connection stood                                 told, but emulated the next time

What got through is remembered for the network that this machine is in (`ways`), and tried again from the top
after `ws.fallback.retry`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial

from isthmus.config.model import ConnectOptions
from isthmus.errors import ConnectError
from isthmus.transports.base import Connector, Transport
from isthmus.transports.door import Door
from isthmus.transports.ways import Way
from isthmus.transports.ws_dial import Failed, Opened, WebSocketDial
from isthmus.uri import Address
from isthmus.websocket.handshake import HandshakeError, HandshakeRefused

log = logging.getLogger(__name__)

_OF_A_MIDDLEBOX = frozenset({400, 405, 406, 408, 410, 411, 415, 417, 426, 500, 501, 505})
_OF_A_GUARD = frozenset({401, 403, 429})
LEAST_SECONDS = 1.0
"""There is no other attempt when less than this is left of `connect.timeout`."""


def blocked(error: ConnectError) -> bool:
    """Whether a WebSocket that could not be opened was blocked on the way, and not refused by its server."""
    if not error.asked:
        return False
    cause = error.__cause__
    if not isinstance(cause, HandshakeRefused):
        return True
    return blocks(cause.status, cause.headers)


def blocks(status: int, headers: Sequence[tuple[str, str]]) -> bool:
    """Whether this answer to a handshake is one of what is on the way, and not of its server."""
    page = any(name == "content-type" and "html" in value.lower() for name, value in headers)
    return 200 <= status < 300 or status in _OF_A_MIDDLEBOX or (status == 403 and page)


class FallbackDial:
    """Attempts to open a WebSocket, the best way first, all within `connect.timeout`; see `WebSocketDial`.

    With `above`, only ways that are better than that one count.
    """

    __slots__ = (
        "_above",
        "_address",
        "_deadline",
        "_dial",
        "_door",
        "_failed",
        "_fields",
        "_first_error",
        "_found_out",
        "_loop",
        "_opened",
        "_options",
        "_origin",
        "_subprotocols",
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
        above: Way | None = None,
    ) -> None:
        self._loop = loop
        self._address = address
        self._options = options
        self._opened = opened
        self._failed = failed
        self._subprotocols = subprotocols
        self._fields = fields
        self._above = above
        self._origin = ""
        self._deadline = 0.0
        self._door: Door | None = None
        self._dial: WebSocketDial | None = None
        self._first_error: ConnectError | None = None
        self._found_out = False

    def start(self, below: Connector, origin: str = "") -> None:
        """Begin, over `below`; `origin` is for whom, see `Connector.connect`."""
        self._door = door = below if isinstance(below, Door) else Door(below, self._options)
        self._origin = origin
        self._deadline = self._loop.time() + self._options.connect_timeout
        match self._options.fallback:
            case "never":
                self._websocket()
            case "streaming":
                self._emulated(Way.STREAMING)
            case "short":
                self._emulated(Way.SHORT)
            case _:
                best = Way.WEBSOCKET if self._above is not None else door.ways.best()
                if best is Way.WEBSOCKET:
                    self._websocket()
                else:
                    self._emulated(best)

    def cancel(self) -> None:
        dial, self._dial = self._dial, None
        if dial is not None:
            dial.cancel()

    # --- a WebSocket

    def _websocket(self) -> None:
        dial = WebSocketDial(
            self._loop,
            self._address,
            self._limited(),
            self._websocket_opened,
            self._websocket_failed,
            self._subprotocols,
            self._fields,
        )
        self._begin(dial)

    def _websocket_opened(self, below: Transport, subprotocol: str | None, rest: bytearray) -> None:
        assert self._door is not None
        self._dial = None
        if self._door.ways.found(Way.WEBSOCKET):
            log.info("%s: a WebSocket gets through again", self._address)
        self._opened(below, subprotocol, rest)

    def _websocket_failed(self, error: ConnectError) -> None:
        assert self._door is not None
        self._dial = None
        auto = self._options.fallback == "auto" and self._first_error is None
        if not auto or not blocked(error) or self._above is Way.STREAMING:
            self._fail(error)
        elif self._deadline - self._loop.time() < LEAST_SECONDS:
            self._door.ways.suspect()
            self._fail(error)
        else:
            # Not all that is left: who waits for this is to be told why it failed.
            self._deadline -= (self._deadline - self._loop.time()) / 2
            log.debug("%s; trying WebSocket emulation", error)
            self._first_error = error
            self._emulated(None)

    # --- an emulated one

    def _emulated(self, way: Way | None) -> None:
        self._found_out = way is None  # else it is believed no longer than it was
        from isthmus.transports.wse.dial import EmulationDial  # most need none

        dial = EmulationDial(
            self._loop,
            self._address,
            self._limited(),
            self._emulation_opened,
            self._emulation_failed,
            self._subprotocols,
            self._fields,
            way,
        )
        self._begin(dial)

    def _emulation_opened(self, below: Transport, subprotocol: str | None, rest: bytearray) -> None:
        from isthmus.transports.wse.connected import ConnectedStream
        from isthmus.transports.wse.dial import EmulationDial

        assert self._door is not None
        dial, self._dial = self._dial, None
        way = dial.way if isinstance(dial, EmulationDial) else None
        if way is not None and self._above is not None and way <= self._above:
            below.abort()
            self._fail(ConnectError(f"{self._address}: there is no better way than {way.name.lower()}"))
            return
        if way is not None and self._found_out and self._door.ways.found(way):
            why = f" ({self._first_error.__cause__ or self._first_error})" if self._first_error else ""
            log.info(
                "%s: no WebSocket gets through%s; it is emulated over HTTP, with %s",
                self._address,
                why,
                "a long answer" if way is Way.STREAMING else "short answers",
            )
        if isinstance(below, ConnectedStream) and self._options.fallback == "auto":
            ways = self._door.ways
            below.collapsed = partial(ways.found, Way.SHORT)
        self._opened(below, subprotocol, rest)

    def _emulation_failed(self, error: ConnectError) -> None:
        assert self._door is not None
        self._dial = None
        if self._options.fallback != "auto":
            self._fail(error)
        elif isinstance(error.__cause__, HandshakeRefused) and error.__cause__.status in _OF_A_GUARD:
            self._fail(error)  # it gets through, to somebody who says no
        elif self._first_error is not None:
            # The way that was meant is what its user wants to hear of.
            error, said = self._first_error, error
            cause = said.__cause__
            reason = cause.reason if isinstance(cause, HandshakeError) else said
            error.hint = error.hint or f"WebSocket emulation over HTTP does not get through either: {reason}"
            self._fail(error)
        else:
            self._door.ways.forget()
            self._first_error = error
            self._websocket()

    # --- attempts

    def _begin(self, dial: WebSocketDial) -> None:
        assert self._door is not None
        self._dial = dial
        try:
            dial.start(self._door, self._origin)
        except BaseException:
            self._dial = None
            raise

    def _limited(self) -> ConnectOptions:
        left = max(LEAST_SECONDS, self._deadline - self._loop.time())
        if left >= self._options.connect_timeout:
            return self._options
        return self._options.model_copy(update={"connect_timeout": left})

    def _fail(self, error: ConnectError) -> None:
        self._failed(error)
