"""Ends what an identity has opened when that has expired or was revoked: one timer for the whole process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from isthmus.identity import Identity

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0


class Opened(Protocol):
    """A connection that somebody was let in for."""

    @property
    def over(self) -> bool:
        """Whether it has ended already."""

    def dismiss(self, reason: str) -> None:
        """End it, and let the other side know that it may not go on."""


Allowed = Callable[[Identity], bool]


class Watch:
    """Looks each second, while there is anything; at each identity once, however much it has opened."""

    def __init__(self) -> None:
        self._opened: dict[tuple[Allowed, Identity], list[Opened]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self.dismissed = 0
        """Connections ended so far."""

    def __len__(self) -> int:
        return sum(map(len, self._opened.values()))

    def add(self, allowed: Allowed, identity: Identity, opened: Opened) -> None:
        """End `opened` as soon as `allowed(identity)` is no longer true. Must be called by the loop."""
        self._opened.setdefault((allowed, identity), []).append(opened)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._opened.clear()

    def _look(self) -> None:
        self._timer = None
        for (allowed, identity), opened in list(self._opened.items()):
            left = [each for each in opened if not each.over]
            if left and not allowed(identity):
                log.info("%s: may not go on; what it has opened is ended (%d)", identity, len(left))
                self.dismissed += len(left)
                for each in left:
                    each.dismiss("the login has ended")
                left = []
            if left:
                self._opened[(allowed, identity)] = left
            else:
                del self._opened[(allowed, identity)]
        if self._opened:
            self._timer = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look)
