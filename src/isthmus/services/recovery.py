"""What a proxy does while its destination is away (Kaazing's `maximum.recovery.interval`).

Kaazing unbinds the accept when its backend is lost, so that clients get 404 at once, tries again and again,
later and later, and binds when it has reached it. Here the accept stays bound, and clients see the same.
"""

from __future__ import annotations

import asyncio
import logging

from isthmus.errors import ConnectError
from isthmus.transports.base import Connector, Dial, Transport

log = logging.getLogger(__name__)

FIRST_SECONDS = 0.5
"""Pause before the first attempt; each later one is twice as long, up to the maximum."""


class Recovery:
    """Knows whether the destination of one proxy is `away`, and then tries to reach it.

    `name` is the service's; `maximum` is the longest pause between two attempts, in seconds. Must be used on
    the running loop.
    """

    def __init__(self, name: str, connector: Connector, maximum: float) -> None:
        self.away = False
        self._name = name
        self._connector = connector
        self._maximum = maximum
        self._pause = 0.0
        self._since = 0.0
        self._stopped = False
        self._timer: asyncio.TimerHandle | None = None
        self._dial: Dial | None = None

    def error(self) -> ConnectError:
        """Return what a client is told while the destination is away."""
        return ConnectError(f"{self._name}: {self._connector.address} is away", status=404)

    def lost(self) -> None:
        """A connect has failed."""
        if self.away or self._stopped:
            return
        self.away = True
        self._since = asyncio.get_running_loop().time()
        self._pause = min(FIRST_SECONDS, self._maximum)
        log.warning(
            "%s: %s is away: clients are turned away (404) until it is back; trying every %g s at least",
            self._name,
            self._connector.address,
            self._maximum,
        )
        self._try_later()

    def found(self) -> None:
        """The destination was reached."""
        if not self.away:
            return
        self.away = False
        self._cancel()
        seconds = asyncio.get_running_loop().time() - self._since
        log.info("%s: %s is back after %.1f s", self._name, self._connector.address, seconds)

    def stop(self) -> None:
        """Try no more."""
        self._stopped = True
        self._cancel()

    def _try_later(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._pause, self._try)
        self._pause = min(self._pause * 2, self._maximum)

    def _try(self) -> None:
        self._timer = None
        self._dial = self._connector.connect(_Probe(self), self._failed)

    def _failed(self, error: ConnectError) -> None:
        self._dial = None
        log.debug("%s: still away: %s", self._name, error)
        self._try_later()

    def reached(self) -> None:
        """The attempt has succeeded; called by its probe."""
        self._dial = None
        self.found()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._dial is not None:
            self._dial.cancel()
            self._dial = None


class _Probe:
    """The receiver of an attempt: it closes what it gets."""

    def __init__(self, recovery: Recovery) -> None:
        self._recovery = recovery

    def connection_made(self, transport: Transport) -> None:
        self._recovery.reached()
        transport.close()

    def data_received(self, data: memoryview) -> None:
        """What a server says first is for its clients."""

    def eof_received(self) -> None:
        """We have ended already."""

    def pause_writing(self) -> None:
        """Nothing is written."""

    def resume_writing(self) -> None:
        """See `pause_writing`."""

    def connection_lost(self, error: Exception | None) -> None:
        """It was only a probe."""
