"""How a carrier becomes part of a session: NEW, JOIN or RESUME, in both roles (docs/span.md 4 and 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isthmus.span import frames, proofs
from isthmus.span.frames import Code, Hello, Join, Settings, Type, wrong
from isthmus.span.limits import MAXIMUM_SLOTS, Limits

if TYPE_CHECKING:
    from isthmus.span.carrier import Carrier
    from isthmus.span.session import Session
    from isthmus.span.sessions import Sessions

NONCE_SIZE = 16


def settings_of(limits: Limits) -> Settings:
    """Return what HELLO and NEW say of these limits."""
    grace = round(limits.grace * 1000)
    return Settings(limits.maximum_message, limits.maximum_streams, grace, limits.maximum_flows)


class ClientHandshake:
    """The client's side: waits for HELLO, asks, and checks the answer."""

    __slots__ = ("_asked_at", "_carrier", "_hello", "_request", "_session", "_slot")

    def __init__(self, session: Session, carrier: Carrier) -> None:
        self._session = session
        self._carrier = carrier
        self._hello: Hello | None = None
        self._request: Join | None = None
        self._slot = -1
        self._asked_at = 0.0

    @property
    def waiting(self) -> bool:
        """Whether HELLO came and nothing was asked: another carrier founds the session."""
        return (
            self._hello is not None and self._request is None and self._session.founder is not self._carrier
        )

    def frame_received(self, kind: int, payload: bytes) -> None:
        """Take HELLO, then WELCOME or REFUSED; raises SpanError for anything else."""
        asked = self._request is not None or self._session.founder is self._carrier
        if kind == Type.HELLO and self._hello is None:
            self._hello = frames.parse_hello(payload)
            self._carrier.peer_ended_tls = self._hello.ended_tls
            self.proceed()
        elif kind == Type.WELCOME and asked:
            self._welcome(payload)
        elif kind == Type.REFUSED and asked:
            self._refused(payload)
        else:
            raise wrong(f"a frame of type {kind:#x} in the handshake")

    def proceed(self) -> None:
        """Ask for what the session needs now."""
        session, carrier, hello = self._session, self._carrier, self._hello
        assert hello is not None
        self._asked_at = carrier.now
        if not session.id:
            if session.founder is None:
                session.founder = carrier
                session.peer = hello.settings
                carrier.send(frames.new(self._fresh(), settings_of(session.limits)))
            return
        resumes = bool(session.given_up) and not any(
            each is not carrier and isinstance(each.handshake, ClientHandshake) and each.handshake.resumes
            for each in session.handshakes
        )
        fences = bytes(sorted(session.given_up)) if resumes else b""
        slot = fences[0] if fences else session.free_slot(MAXIMUM_SLOTS)
        if slot < 0:
            carrier.close(1000, "all slots of the session are taken")
            return
        carrier.slot = slot
        request = Join(session.id, session.place, slot, session.next_epoch, self._fresh(), bytes(32), fences)
        session.next_epoch += 1
        self._request = request = request._replace(
            proof=proofs.client_proof(session.secret, request, hello.nonce)
        )
        carrier.send(frames.resume(request) if fences else frames.join(request))

    @property
    def resumes(self) -> bool:
        """Whether RESUME was sent."""
        return self._request is not None and self._request.fences != b""

    def ended(self) -> None:
        """Note that the carrier is gone: the server may have taken it nevertheless."""
        session, carrier = self._session, self._carrier
        if carrier in session.handshakes:
            session.handshakes.remove(carrier)
        if self._request is not None:
            session.given_up.add(self._request.slot)
        if session.founder is carrier:
            session.founder = None
            _let_the_next_ask(session)

    def _fresh(self) -> bytes:
        return self._session.random_bytes(NONCE_SIZE)

    def _welcome(self, payload: bytes) -> None:
        session, carrier, hello, request = self._session, self._carrier, self._hello, self._request
        assert hello is not None
        carrier.maximum_message = hello.settings.maximum_message
        carrier.measured_round_trip(carrier.now - self._asked_at)
        if request is None:
            answer = frames.parse_welcome(payload)
            session.id, session.secret, session.place = answer
            session.founder = None
            session.next_epoch = 2
            session.counters.sessions_opened += 1
            session.attach(carrier, 0, 1, exchange=False)
            _let_the_next_ask(session)
            return
        if len(payload) != 32 or not proofs.is_proof(
            proofs.server_proof(session.secret, request, hello.nonce), payload
        ):
            raise wrong("the server does not prove that it knows the session")
        session.given_up.difference_update(request.fences)
        if request.fences:
            session.counters.resumes += 1
        else:
            session.counters.joins += 1
        session.attach(carrier, request.slot, request.epoch, exchange=bool(request.fences))

    def _refused(self, payload: bytes) -> None:
        session, carrier = self._session, self._carrier
        code, retry_after, text = frames.parse_refused(payload)
        self._request = None
        if code == Code.UNKNOWN:
            session.counters.refused_unknown += 1
        elif code == Code.ELSEWHERE:
            session.counters.refused_elsewhere += 1
        else:
            session.counters.refused_later += 1
        carrier.handler.refused(code, retry_after / 1000, text)
        carrier.close(1000, text)
        if code == Code.UNKNOWN and session.id:
            session.end(Code.EXPIRED, "the server does not know the session any more")


def _let_the_next_ask(session: Session) -> None:
    for carrier in list(session.handshakes):
        handshake = carrier.handshake
        if (
            isinstance(handshake, ClientHandshake)
            and handshake.waiting
            and session.founder is None
            and not session.over
        ):
            handshake.proceed()


class ServerHandshake:
    """The server's side: says HELLO, and hands what is asked to the table of sessions."""

    __slots__ = ("_accept", "_carrier", "_identity", "_nonce", "_sessions")

    def __init__(self, sessions: Sessions, carrier: Carrier, accept: str, identity: str) -> None:
        self._sessions = sessions
        self._carrier = carrier
        self._accept = accept
        self._identity = identity
        self._nonce = sessions.random_bytes(NONCE_SIZE)

    def start(self) -> None:
        """Say HELLO."""
        settings, ended_tls = settings_of(self._sessions.limits), self._sessions.ends_tls
        self._carrier.send(frames.hello(self._nonce, settings, ended_tls=ended_tls))

    def frame_received(self, kind: int, payload: bytes) -> None:
        """Take NEW, JOIN or RESUME; raises SpanError for anything else."""
        sessions, carrier = self._sessions, self._carrier
        carrier.measured_round_trip(carrier.now - carrier.opened_at)
        if kind == Type.NEW:
            sessions.found(carrier, self._accept, self._identity, frames.parse_hello(payload).settings)
        elif kind in (Type.JOIN, Type.RESUME):
            request = frames.parse_join(payload)
            sessions.join(
                carrier, self._accept, self._identity, request, self._nonce, resumes=kind == Type.RESUME
            )
        else:
            raise wrong(f"a frame of type {kind:#x} instead of NEW, JOIN or RESUME")

    def ended(self) -> None:
        """Note that the carrier is gone."""
        self._sessions.handshake_ended(self._carrier)
