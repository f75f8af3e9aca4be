"""Getting a session off emulated WebSockets, when a better way gets through again.

While a carrier is emulated, a better way is tried every `ws.fallback.retry`, beside it. When one has joined
the session, the emulated ones are closed; what was on its way there is sent again on the other, as with any
lost carrier, and no stream notices.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from isthmus.errors import ConnectError
from isthmus.transports.base import Dial, Transport
from isthmus.transports.span.websocket import CarrierWebSocket
from isthmus.transports.ways import Way
from isthmus.websocket.frames import CloseCode

if TYPE_CHECKING:
    from isthmus.transports.span.client import ClientSession

log = logging.getLogger(__name__)


class Climb:
    """What does it for one session, whose offer is `session.offer`."""

    def __init__(self, session: ClientSession) -> None:
        self._session = session
        self._dial: Dial | None = None
        self._timer: asyncio.TimerHandle | None = None

    def established(self, websocket: CarrierWebSocket) -> None:
        """A carrier is there: close those that go worse ways, or look for a better one later."""
        way = _way_of(websocket)
        for other in list(self._session.websockets.values()):
            if _way_of(other) < way:
                other.close(CloseCode.NORMAL, "there is a better way")
        if way is Way.WEBSOCKET:
            self.stop()
        elif self._timer is None and self._dial is None:
            self._later()

    def stop(self) -> None:
        """Try no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        dial, self._dial = self._dial, None
        if dial is not None:
            dial.cancel()

    def _later(self) -> None:
        offer = self._session.offer
        if offer.options.fallback == "auto":
            self._timer = self._session.loop.call_later(offer.options.fallback_retry, self._try)

    def _try(self) -> None:
        self._timer = None
        ways = [_way_of(each) for each in self._session.websockets.values()]
        if ways and min(ways) is not Way.WEBSOCKET and not self._session.session.over:
            self._dial = self._session.offer.climb(min(ways), self._opened, self._failed)

    def _opened(self, below: Transport, subprotocol: str | None, rest: bytearray) -> None:
        self._dial = None
        self._later()  # should it not become a carrier
        if subprotocol is None:
            below.abort()
            return
        log.info("%s: a better way gets through again", self._session.address)
        self._session.take(below, rest)

    def _failed(self, error: ConnectError) -> None:
        self._dial = None
        log.debug("%s: no better way: %s", self._session.address, error)
        self._session.offer.still_blocked(min(map(_way_of, self._session.websockets.values()), default=None))
        self._later()


def _way_of(websocket: CarrierWebSocket) -> Way:
    way = websocket.info("emulation")
    return way if isinstance(way, Way) else Way.WEBSOCKET
