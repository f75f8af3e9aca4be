"""The sessions of a server: founding, finding and refusing (docs/span.md sections 4 and 6).

A session belongs to one accept URL and one identity. A wrong proof, another accept or identity and an unknown
session are answered alike, after the same work.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable

from isthmus.span import frames, proofs
from isthmus.span.carrier import Carrier, CarrierHandler
from isthmus.span.counters import Counters
from isthmus.span.frames import Code, Join, Settings, Welcome
from isthmus.span.handshake import ServerHandshake
from isthmus.span.limits import MAXIMUM_SLOTS, Budget, Limits
from isthmus.span.session import Handler, Session
from isthmus.websocket.frames import Role

_RESUMES_AT_ONCE = 20.0
_RESUMES_A_SECOND = 5.0
_RETRY_AFTER = 1_000  # milliseconds


class Sessions:
    """All sessions of one process.

    `accepted` is called with each new session and returns its handler. `place` is 16 bytes: the first 8 name
    this node, the rest its process. `maximum` bounds the sessions and `maximum_handshakes` the
    carriers that belong to none yet; beyond them carriers are refused with LATER. `ends_tls` is to be set
    where the TLS of all carriers ends in this very process, which HELLO then says.
    """

    __slots__ = (
        "_accepted",
        "_handshakes",
        "_no_secret",
        "_sessions",
        "_whose",
        "counters",
        "ends_tls",
        "limits",
        "maximum",
        "maximum_handshakes",
        "place",
        "random_bytes",
        "receive_budget",
        "send_budget",
    )

    def __init__(
        self,
        accepted: Callable[[Session], Handler],
        limits: Limits | None = None,
        *,
        place: bytes = bytes(16),
        maximum: int = 10_000,
        maximum_handshakes: int = 10_000,
        random_bytes: Callable[[int], bytes] = os.urandom,
        receive_budget: Budget | None = None,
        send_budget: Budget | None = None,
    ) -> None:
        if len(place) != 16:
            raise ValueError("the place of a process has 16 bytes")
        self._accepted = accepted
        self.limits = limits or Limits()
        self.place = place
        self.ends_tls = False
        self.maximum = maximum
        self.maximum_handshakes = maximum_handshakes
        self.random_bytes = random_bytes
        self.receive_budget = receive_budget
        self.send_budget = send_budget
        self.counters = Counters()
        self._sessions: dict[bytes, Session] = {}
        self._whose: dict[bytes, tuple[str, str]] = {}
        self._handshakes: dict[Carrier, None] = {}
        self._no_secret = os.urandom(32)

    def __len__(self) -> int:
        return len(self._sessions)

    def carrier_opened(self, accept: str, identity: str, handler: CarrierHandler, now: float) -> Carrier:
        """Return the carrier of a WebSocket that was accepted at the URL `accept`; it says HELLO.

        `identity` is realm and subject of whoever has opened it, or says that it is anonymous.
        """
        carrier = Carrier(handler, self.limits.maximum_message, now)
        handshake = ServerHandshake(self, carrier, accept, identity)
        carrier.handshake = handshake
        self._handshakes[carrier] = None
        if len(self._handshakes) > self.maximum_handshakes:
            self._refuse(carrier, Code.LATER, "too many carriers at once")
        else:
            handshake.start()
        return carrier

    def next_deadline(self) -> float:
        """Return when `timeout` has something to do, infinity for never; sessions have their own."""
        for carrier in self._handshakes:  # the first is the oldest
            return carrier.opened_at + self.limits.handshake_timeout
        return math.inf

    def timeout(self, now: float) -> None:
        """Give up carriers whose handshake takes too long."""
        for carrier in list(self._handshakes):
            if now < carrier.opened_at + self.limits.handshake_timeout:
                break
            self.counters.handshakes_failed += 1
            carrier.now = now
            carrier.close(1002, "no handshake in time")

    # --- for ServerHandshake

    def handshake_ended(self, carrier: Carrier) -> None:
        """Forget a carrier that belongs to no session."""
        self._handshakes.pop(carrier, None)

    def found(self, carrier: Carrier, accept: str, identity: str, settings: Settings) -> None:
        """Answer NEW: make a session, if there is room for it."""
        if len(self._sessions) >= self.maximum and not self._evict():
            self._refuse(carrier, Code.LATER, "too many sessions", _RETRY_AFTER)
            return
        session = Session(
            Role.SERVER,
            Handler(),  # until `accepted` has given one
            carrier.now,
            self.limits,
            random_bytes=self.random_bytes,
            receive_budget=self.receive_budget,
            send_budget=self.send_budget,
        )
        session.id = self.random_bytes(16)
        session.secret = self.random_bytes(32)
        session.place = self.place
        session.peer = settings
        session.epochs[0] = 1
        session.resumes_left = _RESUMES_AT_ONCE
        session.on_end = self._ended
        self._sessions[session.id] = session
        self._whose[session.id] = accept, identity
        self.counters.sessions_opened += 1
        session.counters.sessions_opened += 1
        session.handler = self._accepted(session)
        carrier.send(frames.welcome(Welcome(session.id, session.secret, session.place)))
        self._attach(carrier, session, 0, 1, resumes=False)

    def join(
        self, carrier: Carrier, accept: str, identity: str, request: Join, nonce: bytes, *, resumes: bool
    ) -> None:
        """Answer JOIN and RESUME."""
        session = self._sessions.get(request.session)
        mine = session is not None and self._whose[request.session] == (accept, identity)
        secret = session.secret if session is not None else self._no_secret
        proven = proofs.is_proof(proofs.client_proof(secret, request, nonce), request.proof)
        if request.place[:8] != self.place[:8]:
            self.counters.refused_elsewhere += 1
            self._refuse(carrier, Code.ELSEWHERE, "the session belongs to another node")
            return
        if session is None or not (mine and proven) or request.epoch <= session.epochs.get(request.slot, 0):
            self.counters.refused_unknown += 1
            self._refuse(carrier, Code.UNKNOWN, "there is no such session")
            return
        if resumes and not self._may_resume(session, carrier.now):
            self.counters.resumes_deferred += 1
            self._refuse(carrier, Code.LATER, "too many resumes", _RETRY_AFTER)
            return
        fenced = {*request.fences, request.slot} if resumes else set()
        remaining = session.carriers.keys() - fenced
        if request.slot in remaining or len(remaining) >= MAXIMUM_SLOTS:
            self._refuse(carrier, Code.LATER, "the slot is not free", _RETRY_AFTER)
            return
        session.epochs[request.slot] = request.epoch
        session.now = max(session.now, carrier.now)
        for slot in fenced:
            old = session.carriers.get(slot)
            if old is not None:
                session.counters.carriers_fenced += 1
                old.now = carrier.now
                old.close(1000, "replaced by a new carrier")
        if session.over:
            self._refuse(carrier, Code.UNKNOWN, "there is no such session")
            return
        if resumes:
            session.counters.resumes += 1
            self.counters.resumes += 1
        else:
            session.counters.joins += 1
            self.counters.joins += 1
        carrier.send(frames.welcome_back(proofs.server_proof(session.secret, request, nonce)))
        self._attach(carrier, session, request.slot, request.epoch, resumes=resumes)

    def _attach(self, carrier: Carrier, session: Session, slot: int, epoch: int, *, resumes: bool) -> None:
        self._handshakes.pop(carrier, None)
        carrier.maximum_message = session.peer.maximum_message
        session.attach(carrier, slot, epoch, exchange=resumes)

    def _refuse(self, carrier: Carrier, code: int, text: str, retry_after: int = 0) -> None:
        if code == Code.LATER:
            self.counters.refused_later += 1
        carrier.send(frames.refused(code, retry_after, text))
        carrier.close(1000, text)

    def _may_resume(self, session: Session, now: float) -> bool:
        passed = max(0.0, now - session.resumes_since)
        session.resumes_since = now
        session.resumes_left = min(_RESUMES_AT_ONCE, session.resumes_left + passed * _RESUMES_A_SECOND)
        if session.resumes_left < 1:
            return False
        session.resumes_left -= 1
        return True

    def _evict(self) -> bool:
        """End a session without carriers, streams and flows; return whether there was one."""
        for session in self._sessions.values():
            if not session.carriers and not session.streams and not session.flows.table:
                self.counters.sessions_evicted += 1
                session.end(Code.EXPIRED, "its place is needed")
                return True
        return False

    def _ended(self, session: Session) -> None:
        self._sessions.pop(session.id, None)
        self._whose.pop(session.id, None)
        self.counters.sessions_ended += 1
