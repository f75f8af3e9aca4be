"""What gets through to one server from the network that this machine is in, as far as it was found out.

A laptop moves: what one network blocks, another lets through. A network is known by this machine's addresses
in it and by its gateway; what was found out is forgotten after a while, as rules change.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path

log = logging.getLogger(__name__)

MAXIMUM_NETWORKS = 32
_ROUTES = Path("/proc/net/route")
_TOWARDS = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))  # RFC 5737, RFC 3849


class Way(IntEnum):
    """How a WebSocket gets to a server; the higher, the better."""

    SHORT = 1
    """Emulated, with short answers: what is between holds an answer until it is complete."""
    STREAMING = 2
    """Emulated, with a long answer."""
    WEBSOCKET = 3


def network() -> str:
    """Return what tells the network that this machine is in from others. Nothing is sent for it."""
    found = []
    for family, address in _TOWARDS:
        # A connected UDP socket has the address that the kernel would use.
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))
            found.append(probe.getsockname()[0])
    with contextlib.suppress(OSError):
        for line in _ROUTES.read_text().splitlines()[1:]:
            interface, destination, gateway, *_ = line.split()
            if destination == "00000000":
                found.append(f"{interface} {gateway}")
    return " ".join(found)


class Ways:
    """The best way from each network, believed for `seconds`."""

    def __init__(
        self,
        seconds: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        where: Callable[[], str] = network,
    ) -> None:
        self._seconds = seconds
        self._clock = clock
        self._where = where
        self._known: dict[str, tuple[Way | None, float]] = {}

    def best(self) -> Way | None:
        """Return the way that is to be tried first; None: an emulated one, of which kind is not known."""
        way, until = (
            self._known.get(self._where(), (Way.WEBSOCKET, 0.0)) if self._known else (Way.WEBSOCKET, 0.0)
        )
        return way if self._clock() < until else Way.WEBSOCKET

    def found(self, way: Way) -> bool:
        """Remember that `way` is the best that gets through. Returns whether that is new."""
        return self._remember(way)

    def suspect(self) -> None:
        """A WebSocket was not refused, but nothing comes through: try another way first, the next time."""
        self._remember(None)

    def forget(self) -> None:
        """What was known of this network is not so any more."""
        self._known.pop(self._where(), None)

    def _remember(self, way: Way | None) -> bool:
        if way is Way.WEBSOCKET and not self._known:
            return False
        where = self._where()
        before, _ = self._known.pop(where, (Way.WEBSOCKET, 0.0))
        if way is not Way.WEBSOCKET:
            self._known[where] = (way, self._clock() + self._seconds)
            if len(self._known) > MAXIMUM_NETWORKS:
                del self._known[next(iter(self._known))]
        return before is not way
