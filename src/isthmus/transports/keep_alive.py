"""Keeping idle WebSockets open: what stands on the way cuts what is idle for too long, each after its time.

ws.ping.interval    nothing moved for so long: a ping, whose answer counts on every hop
learned             two WebSockets to one destination were cut after the same time of silence, one behind
                    the other: from then on pings come after half of that time
"""

from __future__ import annotations

import asyncio
import logging

from isthmus.transports.base import Transport
from isthmus.websocket.connection import Connection

log = logging.getLogger(__name__)

LEAST_INTERVAL = 1.0
"""Seconds: pings never come more often, and what is cut sooner was not cut for being idle."""
_ALIKE = 0.1
_ALIKE_SECONDS = 0.5
"""Two times of silence are the same where they differ by less than a tenth, or by so much."""


class IdleLimit:
    """After how long without anything what goes to a destination is pinged: `interval` seconds, 0 for never.

    `name` is what the log calls the destination.
    """

    __slots__ = ("_cut_at", "_quiet", "interval", "name")

    def __init__(self, name: str, interval: float) -> None:
        self.name = name
        self.interval = interval
        self._quiet = 0.0  # before the last cut
        self._cut_at = 0.0

    def cut(self, quiet: float, now: float) -> bool:
        """Note that a WebSocket ended without Close, after so many seconds without anything to answer.

        Returns whether `interval` is another one now. One cut teaches nothing, as servers and networks fail;
        nor do several at once.
        """
        before, cut_at = self._quiet, self._cut_at
        if not LEAST_INTERVAL <= quiet < self.interval:
            return False
        self._quiet, self._cut_at = quiet, now
        alike = abs(quiet - before) <= max(_ALIKE * quiet, _ALIKE_SECONDS)
        if not before or not alike or now - quiet < cut_at:
            if before and now - quiet < cut_at:
                self._quiet, self._cut_at = before, cut_at  # it fell silent before the other was cut
            return False
        self._quiet = 0.0
        self.interval = max(LEAST_INTERVAL, min(quiet, before) / 2)
        log.warning(
            "%s: something on the way cuts what is idle for %.1f s; it is pinged after %.1f s from now on",
            self.name,
            min(quiet, before),
            self.interval,
        )
        return True


def keep_alive(limit: IdleLimit | None, connection: Connection, below: Transport) -> KeepAlive | None:
    """Begin to keep a WebSocket open, if it is to be."""
    return KeepAlive(limit, connection, below) if limit is not None and limit.interval else None


class KeepAlive:
    """Pings one WebSocket over `below` when it is idle, by a timer of the running loop, until `stop`."""

    __slots__ = ("_asked", "_below", "_connection", "_limit", "_loop", "_moved", "_timer")

    def __init__(self, limit: IdleLimit, connection: Connection, below: Transport) -> None:
        self._limit = limit
        self._connection = connection
        self._below = below
        self._loop = asyncio.get_running_loop()
        self._moved = self._loop.time()
        self._asked = 0.0  # `_moved` at the last ping
        self._timer = self._loop.call_later(limit.interval, self._look)

    def moved(self) -> None:
        """Bytes came or went."""
        self._moved = self._loop.time()

    def cut(self) -> None:
        """The WebSocket has ended without Close."""
        if self._asked != self._moved:  # else the way may have been dead before
            now = self._loop.time()
            self._limit.cut(now - self._moved, now)

    def stop(self) -> None:
        """Ping no more."""
        self._timer.cancel()

    def _look(self) -> None:
        wait = self._moved + self._limit.interval - self._loop.time()
        if wait <= 0:
            if self._asked != self._moved and self._connection.may_send:
                self._asked = self._moved
                self._below.write(self._connection.send_ping())
            wait = self._limit.interval
        self._timer = self._loop.call_later(wait, self._look)
