"""Offering span to a server: one attempt with the offer and, where that is refused outright, one without.

With `span.seal.pin` only sealed span is offered, nothing else will do, and a WebSocket is handed on when
it is sealed.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Callable

from isthmus.config.model import ConnectOptions
from isthmus.errors import ConnectError
from isthmus.span.frames import SEALED_SUBPROTOCOL, SUBPROTOCOL
from isthmus.transports.base import Connector, Dial, Transport
from isthmus.transports.door import Door
from isthmus.transports.fallback import FallbackDial
from isthmus.transports.ways import Way
from isthmus.transports.ws_dial import Opened
from isthmus.websocket.frames import Role
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
        self._silent_ends = 0  # WebSockets in a row that ended where HELLO was to come
        self.context: ssl.SSLContext | None = None
        """What seals; None: nothing is sealed."""
        if options.span_seal_pins:
            from isthmus.security.seal import client_context  # with its libraries: only sealing pays

            self.context = client_context(options.span_seal_key)

    @property
    def stands(self) -> bool:
        """Whether span is offered now."""
        return self.required or time.monotonic() >= self._again_from

    @property
    def required(self) -> bool:
        """Whether nothing but span will do."""
        return self.options.span_mode == "required" or self.context is not None

    @property
    def subprotocol(self) -> str:
        """Which kind of span is offered."""
        return SUBPROTOCOL if self.context is None else SEALED_SUBPROTOCOL

    def no_span(self) -> ConnectError:
        """Say that the server does not speak what it has to."""
        if self.context is not None:
            from isthmus.transports.span.seal import not_sealed

            return not_sealed(self.address, "the server does not speak sealed span, and span.seal.pin is set")
        return ConnectError(
            f"Unable to connect to {self.address}: the server does not speak span, and span.mode is required",
            hint="check that an isthmus gateway listens there, or set span.mode to auto",
        )

    def ended_in_silence(self, cut: bool) -> bool:
        """Note that a server chose span and then ended the WebSocket without a word.

        Returns whether it does not speak span after all: with Close it says so; what was cut without one may
        have been the network's fault, once.
        """
        self._silent_ends += 1
        return not cut or self._silent_ends > 1

    def borne(self) -> None:
        """The server speaks span."""
        self._silent_ends = 0

    def withdraw(self, why: str) -> None:
        """Do without for a while: the server cannot bear it."""
        self._again_from = time.monotonic() + OFFER_AGAIN_AFTER
        log.info("%s: %s; span is not offered for %g minutes", self.address, why, OFFER_AGAIN_AFTER / 60)

    def dial(self, opened: Opened, failed: Failed, seconds: float | None = None) -> Dial:
        """Open a WebSocket. Either `opened` or `failed` is called, once, and never before this returns.

        `seconds` is how long one attempt may take at most, if that is less than `connect.timeout`.
        """
        return _Attempts(self, opened, failed, seconds)

    def climb(self, above: Way, opened: Opened, failed: Failed) -> Dial:
        """Open a WebSocket with the offer by a better way than `above`; see `dial`."""
        return _Attempts(self, opened, failed, None, above)

    def start(
        self,
        subprotocols: tuple[str, ...],
        opened: Opened,
        failed: Failed,
        seconds: float | None,
        above: Way | None = None,
    ) -> FallbackDial:
        """Begin one attempt."""
        options = self.options
        if seconds is not None and seconds < options.connect_timeout:
            options = options.model_copy(update={"connect_timeout": seconds})
        dial = FallbackDial(self._loop, self.address, options, opened, failed, subprotocols, above=above)
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


class _Attempts:
    """At most two attempts, the first with the offer; or one, and the sealing of its WebSocket."""

    __slots__ = ("_above", "_dial", "_ends_at", "_failed", "_offer", "_opened", "_seconds")

    def __init__(
        self, offer: Offer, opened: Opened, failed: Failed, seconds: float | None, above: Way | None = None
    ) -> None:
        self._offer = offer
        self._seconds = seconds
        self._opened = opened
        self._failed = failed
        self._above = above
        self._dial: Dial | None = None
        limit = offer.options.connect_timeout
        self._ends_at = time.monotonic() + (limit if seconds is None else min(seconds, limit))
        if offer.context is not None:
            self._dial = offer.start((offer.subprotocol,), self._seal, self._refused, seconds, above)
        elif offer.stands or above is not None:
            self._dial = offer.start((offer.subprotocol,), opened, self._refused, seconds, above)
        else:
            self._dial = offer.start((), opened, failed, seconds)

    def cancel(self) -> None:
        if self._dial is not None:
            self._dial.cancel()
            self._dial = None

    def _refused(self, error: ConnectError) -> None:
        cause = error.__cause__
        may_be_the_offer = isinstance(cause, HandshakeError) and cause.status in _REFUSES_AN_OFFER
        if may_be_the_offer and self._offer.context is not None:
            error.hint = "check that the server gateway has a span.seal.key, as span.seal.pin is set here"
        if self._offer.required or self._above is not None or not may_be_the_offer:
            self._failed(error)
        else:
            self._dial = self._offer.start((), self._opened_without, self._failed, self._seconds)

    def _opened_without(self, below: Transport, subprotocol: str | None, rest: bytearray) -> None:
        self._offer.withdraw("the server refuses a handshake that offers span")
        self._opened(below, subprotocol, rest)

    def _seal(self, below: Transport, subprotocol: str | None, rest: bytearray) -> None:
        from isthmus.transports.span.seal import Sealing, not_sealed

        offer, context = self._offer, self._offer.context
        if subprotocol is None or context is None:
            self._opened(below, None, rest)
            return

        def sealed(inside: Transport) -> None:
            self._opened(inside, subprotocol, bytearray())

        def failed(why: str, cause: BaseException) -> None:
            self._failed(not_sealed(offer.address, why, cause))

        # A little sooner than those who wait for it give up, so that they are told why.
        left = max(0.1, 0.9 * (self._ends_at - time.monotonic()))
        sealing = Sealing(Role.CLIENT, context, sealed, failed, left, offer.options.span_seal_pins)
        self._dial = sealing
        sealing.start(below, rest)
