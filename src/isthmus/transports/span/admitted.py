"""A carrier whose client has logged in: renewed before the login ends, and closed when it has.

    the login              the carrier                             the session
    ------------------------------------------------------------------------------------------------
    ends in a while        another is asked for in its place       goes on with that, without a pause
    has ended, is revoked  Close 1008                              waits `RENEWAL_SECONDS` for another
                                                                   login, then its streams are reset

No data moves on a session without a carrier, so nothing passes after the end of a login.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from isthmus.identity import Identity
from isthmus.span import Code
from isthmus.websocket.frames import CloseCode

if TYPE_CHECKING:
    from isthmus.transports.span.accept import ServerSession
    from isthmus.transports.span.websocket import CarrierWebSocket

AHEAD_SECONDS = 30.0
"""How long before its end a login is renewed; at half of what is left where that is less."""
LEAST_SECONDS = 2.0
"""With less than this left nothing is renewed ahead: the file with the client's token has not changed."""
RENEWAL_SECONDS = 30.0
"""How long the streams of a session wait for another login after the last one has ended."""


class AdmittedCarrier:
    """What a login has opened (`security.watch.Opened`): one carrier of `session`."""

    def __init__(self, session: ServerSession, websocket: CarrierWebSocket, identity: Identity) -> None:
        self._session = session
        self._websocket = websocket
        self._timer: asyncio.TimerHandle | None = None
        if identity.expires is not None:
            left = identity.expires - time.time()
            if left > LEAST_SECONDS:
                wait = max(left - AHEAD_SECONDS, left / 2)
                self._timer = asyncio.get_running_loop().call_later(wait, self._renew, left - wait)

    @property
    def over(self) -> bool:
        if self._websocket.over and self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return self._websocket.over

    def dismiss(self, reason: str) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._websocket.close(CloseCode.POLICY_VIOLATION, reason)
        self._session.login_ended()

    def _renew(self, left: float) -> None:
        self._timer = None
        carrier = self._websocket.carrier
        if carrier is not None and not self._websocket.over:
            self._session.session.replace_carrier(carrier, Code.EXPIRED, left)
            self._session.moved()
