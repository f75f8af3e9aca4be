"""What the frames of a carrier that belongs to a session do to its streams (docs/span.md section 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isthmus.span import frames, resume
from isthmus.span.frames import Code, Scope, Type, wrong
from isthmus.span.stream import NEEDS_ACK, NEEDS_OPENED, Stream
from isthmus.websocket import octets

if TYPE_CHECKING:
    from isthmus.span.carrier import Carrier
    from isthmus.span.session import Session

# As plain integers: to look up and compare an IntEnum costs more than the rest of the way to a stream.
_STATE = int(Type.STATE)
_OPEN = int(Type.OPEN)
_OPENED = int(Type.OPENED)
_FIN = int(Type.FIN)
_RESET = int(Type.RESET)
_CLOSED = int(Type.CLOSED)
_FLOW = int(Type.FLOW)
_FLOWING = int(Type.FLOWING)
_ENDED = int(Type.ENDED)
_GOAWAY = int(Type.GOAWAY)


def data_received(
    carrier: Carrier, stream_id: int, offset: int, data: memoryview, start: int, size: int
) -> None:
    """Deliver what is in order now of `size` bytes of `data` from `start`; owe an acknowledgement."""
    session = carrier.session
    assert session is not None
    stream = session.recent.find(stream_id)
    if stream is None:
        _forgotten(session, carrier, stream_id, True)
        return
    stream.answer_slot = carrier.slot
    if stream.over:
        return
    receive = stream.receive
    received = receive.received
    piece = receive.take(offset, data, start, size)
    session.outbox.owe(stream, size, session.now, session.acknowledge_within)
    if piece is None:
        if offset + size <= received:
            session.counters.bytes_twice += size
        return
    while piece is not None:
        session.counters.bytes_received += receive.received - received
        received = receive.received
        session.handler.data(stream, piece)
        if stream.over:
            return
        if receive.pieces == 0:
            break
        piece = receive.follow()
    if receive.complete():
        _received_all(session, stream)


def ack_received(carrier: Carrier, stream_id: int, received: int, limit: int) -> None:
    """Forget what is acknowledged, and go on up to the new limit."""
    session = carrier.session
    assert session is not None
    stream = session.recent.find(stream_id)
    if stream is None:
        _forgotten(session, carrier, stream_id, False)
    elif not stream.resetting:
        acknowledge(session, stream, received, limit)


def acknowledge(session: Session, stream: Stream, received: int, limit: int) -> None:
    """Apply an acknowledgement, which an ACK or a STATE brought."""
    send = stream.send
    while size := send.acknowledge(received):
        sent_on = session.outbox.carrier(send.acked_slot)
        if sent_on is not None:
            sent_on.delivered(size, session.now)
    if limit > send.limit:
        send.limit = limit
    stream.charge()
    if send.fin_acked and stream.complete() and not stream.needs:
        session.forget(stream)
        return
    session.outbox.ready(stream)
    if stream.unblocks():
        stream.blocked = False
        session.handler.writable(stream)


def frame_received(session: Session, carrier: Carrier, kind: int, stream_id: int, payload: bytes) -> None:
    """Act on any other frame."""
    if kind == _STATE:
        resume.state_received(session, carrier, payload)
        return
    if carrier.exchanges():
        raise wrong(f"a frame of type {kind:#x} before STATE")
    if kind == _GOAWAY:
        _goaway_received(session, carrier, payload)
        return
    if stream_id == 0:
        raise wrong(f"a frame of type {kind:#x} after the handshake")
    if kind == _OPEN:
        _open_received(session, carrier, stream_id, payload)
        return
    if _FLOW <= kind <= _ENDED:
        session.flows.frame_received(carrier, kind, stream_id, payload)
        return
    stream = session.recent.find(stream_id)
    if kind == _RESET:
        code, text = frames.parse_reset(payload)
        _reset_received(session, carrier, stream_id, stream, code, text)
    elif stream is None:
        _forgotten(session, carrier, stream_id, kind != _CLOSED)
    elif kind == _CLOSED:
        ended_by_peer(session, stream)
    elif kind == _FIN:
        stream.answer_slot = carrier.slot
        if not stream.over:
            stream.receive.finish(octets.uint64(payload, 0))
            session.outbox.owe(stream, 0, session.now, session.acknowledge_within)
            if stream.receive.complete():
                _received_all(session, stream)
    elif kind == _OPENED:
        if not stream.ours:
            raise wrong(f"OPENED for stream {stream_id}, which the peer opened")
        opened(session, stream, octets.uint64(payload, 0))


def opened(session: Session, stream: Stream, limit: int) -> None:
    """Note that the peer has accepted a stream of ours."""
    if stream.over:
        return
    if limit > stream.send.limit:
        stream.send.limit = limit
    session.answered(stream)
    if stream.opened:
        return
    stream.opened = True
    session.outbox.unpin(stream)
    session.handler.opened(stream)
    if not stream.over and stream.unblocks():
        stream.blocked = False
        session.handler.writable(stream)


def ended_by_peer(session: Session, stream: Stream) -> None:
    """The peer has forgotten a stream, so all that was sent is received; whole, if it was complete here."""
    send = stream.send
    if stream.over:
        session.remove(stream)
    elif send.fin_sent and stream.receive.complete():
        session.forget(stream)
    else:
        session.drop(stream, Code.EXPIRED, "the peer has forgotten the stream")


def _open_received(session: Session, carrier: Carrier, stream_id: int, payload: bytes) -> None:
    limit, origin = frames.parse_open(payload)
    if session.is_ours(stream_id):
        raise wrong(f"OPEN of stream {stream_id}, which is not the peer's to open")
    stream = session.recent.find(stream_id)
    if stream is not None:
        stream.answer_slot = carrier.slot
        if stream.opened and not stream.over:
            session.outbox.say(stream, NEEDS_OPENED)
        return
    if session.opened.has(stream_id):
        _forgotten(session, carrier, stream_id, True)
        return
    session.opened.add(stream_id)
    if session.going:
        carrier.answer(stream_id, frames.reset(stream_id, Code.GOING, "the gateway is stopping"))
    elif session.opened_by_peer >= session.limits.maximum_streams:
        session.counters.overloaded += 1
        carrier.answer(stream_id, frames.reset(stream_id, Code.OVERLOAD, "too many streams"))
    else:
        stream = session.add_stream(stream_id, False, limit)
        stream.origin = origin
        stream.answer_slot = carrier.slot
        session.counters.opened_by_peer += 1
        session.handler.stream_opened(stream)


def _reset_received(
    session: Session, carrier: Carrier, stream_id: int, stream: Stream | None, code: int, text: str
) -> None:
    session.counters.resets_received += 1
    if stream is not None:
        carrier.answer(stream_id, frames.closed(stream_id))
        if stream.over:
            session.remove(stream)
        else:
            session.drop(stream, code, text)
        return
    if not session.is_ours(stream_id) and not session.opened.has(stream_id):
        session.opened.add(stream_id)  # its OPEN comes later, or never
        carrier.answer(stream_id, frames.closed(stream_id))
        return
    _forgotten(session, carrier, stream_id, True)


def _goaway_received(session: Session, carrier: Carrier, payload: bytes) -> None:
    message = frames.parse_goaway(payload)
    if message.scope == Scope.CARRIER:
        carrier.draining = True
        session.handler.carrier_going(carrier, message.code, message.deadline / 1000)
        return
    if message.code == Code.PROTOCOL:
        session.end(Code.PROTOCOL, "the peer says that this side broke the protocol", tell=False)
        return
    session.peer_is_going(message.last_stream, message.code)


def _received_all(session: Session, stream: Stream) -> None:
    session.outbox.say(stream, NEEDS_ACK)
    if not stream.eof_told:
        stream.eof_told = True
        session.handler.eof(stream)


def _forgotten(session: Session, carrier: Carrier, stream_id: int, answered: bool) -> None:
    """Drop a frame of a stream that is not in the table. Raises SpanError if it never was."""
    ours = session.is_ours(stream_id)
    if stream_id >= session.next_stream if ours else not session.opened.has(stream_id):
        raise wrong(f"a frame of stream {stream_id}, which was never opened")
    session.counters.frames_forgotten += 1
    if answered:
        carrier.answer(stream_id, frames.closed(stream_id))
