"""Offering span to a server: one attempt with the offer and, where that is refused outright, one without."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from isthmus.config.model import ConnectOptions
from isthmus.errors import ConnectError
from isthmus.span.frames import SUBPROTOCOL
from isthmus.transports.base import Connector, Dial, Transport
from isthmus.transports.door import Door
from isthmus.transports.fallback import FallbackDial
from isthmus.transports.ways import Way
from isthmus.transports.ws_dial import Opened
from isthmus.uri import Address
from isthmus.websocket.handshake import HandshakeError

log = logging.getLogger(__name__)

Failed = Callable[[ConnectError], None]

OFFER_AGAIN_AFTER = 600.0
"""Seconds until a server that could not bear the offer is offered span again."""
_REFUSES_AN_OFFER = frozenset({400, 403, 405, 406, 409, 412, 415, 417, 422, 426, 428, 500, 501})
"""What a server may answer because of the offer; any other status has another reason."""


class Offer:
    """Opens WebSockets to one server, over `below`, and remembers whether it can bear the offer."""

    def __init__(self, below: Connector, options: ConnectOptions) -> None:
        self.address = below.address
        self.below = below if isinstance(below, Door) else Door(below, options)
        self.options = options
        self._loop = asyncio.get_running_loop()
        self._again_from = 0.0

    @property
    def stands(self) -> bool:
        """Whether span is offered now."""
        return self.required or time.monotonic() >= self._again_from

    @property
    def required(self) -> bool:
        """Whether nothing but span will do."""
        return self.options.span_mode == "required"

    def withdraw(self, why: str) -> None:
        """Do without for a while: the server cannot bear it."""
        self._again_from = time.monotonic() + OFFER_AGAIN_AFTER
        log.info("%s: %s; span is not offered for %g minutes", self.address, why, OFFER_AGAIN_AFTER / 60)

    def dial(self, opened: Opened, failed: Failed, seconds: float | None = None) -> Dial:
        """Open a WebSocket. Either `opened` or `failed` is called, once, and never before this returns.

        `seconds` is how long one attempt may take at most, if that is less than `connect.timeout`.
        """
        return _Attempts(self, opened, failed, seconds)

    def start(
        self, subprotocols: tuple[str, ...], opened: Opened, failed: Failed, seconds: float | None
    ) -> FallbackDial:
        """Begin one attempt."""
        options = self.options
        if seconds is not None and seconds < options.connect_timeout:
            options = options.model_copy(update={"connect_timeout": seconds})
        dial = FallbackDial(self._loop, self.address, options, opened, failed, subprotocols)
        dial.start(self.below)
        return dial

    def suspect(self, way: Way | None) -> None:
        """What was opened by `way`, None for a real WebSocket, has brought no answer."""
        if way is None and self.options.fallback == "auto":
            self.below.ways.suspect()

    def still_blocked(self, way: Way | None) -> None:
        """There is no better way than this now."""
        if way is not None:
            self.below.ways.found(way)

    def climb(self, above: Way, opened: Opened, failed: Failed) -> Dial:
        """Open a WebSocket that offers span by a better way than `above`; see `dial`."""
        dial = FallbackDial(
            self._loop, self.address, self.options, opened, failed, (SUBPROTOCOL,), above=above
        )
        dial.start(self.below)
        return dial


class _Attempts:
    """At most two attempts, the first with the offer."""

    __slots__ = ("_dial", "_failed", "_offer", "_opened", "_seconds")

    def __init__(self, offer: Offer, opened: Opened, failed: Failed, seconds: float | None) -> None:
        self._offer = offer
        self._seconds = seconds
        self._opened = opened
        self._failed = failed
        self._dial: FallbackDial | None = None
        if offer.stands:
            self._dial = offer.start((SUBPROTOCOL,), opened, self._refused, seconds)
        else:
            self._dial = offer.start((), opened, failed, seconds)

    def cancel(self) -> None:
        if self._dial is not None:
            self._dial.cancel()
            self._dial = None

    def _refused(self, error: ConnectError) -> None:
        cause = error.__cause__
        may_be_the_offer = isinstance(cause, HandshakeError) and cause.status in _REFUSES_AN_OFFER
        if self._offer.required or not may_be_the_offer:
            self._failed(error)
        else:
            self._dial = self._offer.start((), self._opened_without, self._failed, self._seconds)

    def _opened_without(self, below: Transport, subprotocol: str | None, rest: bytearray) -> None:
        self._offer.withdraw("the server refuses a handshake that offers span")
        self._opened(below, subprotocol, rest)


def no_span(address: Address) -> ConnectError:
    """Say that a server does not speak span, which the configuration asks for."""
    return ConnectError(
        f"Unable to connect to {address}: the server does not speak span, and span.mode is required",
        hint="check that an isthmus gateway listens there, or set span.mode to auto",
    )
