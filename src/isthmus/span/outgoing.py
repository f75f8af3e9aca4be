"""Filling a message for one carrier: answers, then datagrams, then what is to be said of streams, their data.

Nothing here waits: what does not fit stays where it was, for the next message or the next carrier.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from isthmus.span import frames
from isthmus.span.limits import LEAST_DATA
from isthmus.span.message import Message
from isthmus.span.scheduler import Scheduler
from isthmus.span.stream import ANSWERS, NEEDS_ACK, NEEDS_OPEN, NEEDS_OPENED, NEEDS_RESET, Stream

if TYPE_CHECKING:
    from isthmus.span.carrier import Carrier
    from isthmus.span.session import Session

_DATA_HEADER = 16


def fill(session: Session, carrier: Carrier, message: Message) -> bool:
    """Add to `message` what the session has for a carrier; return whether there is nothing more.

    State frames may be said twice, so they follow STATE at once, and so do datagrams; data waits for the
    peer's STATE. Where streams share their carrier, datagrams have half of each message.
    """
    outbox = session.outbox
    flows = session.flows
    outbox.flush(session.now)
    if carrier.tells_arrived:
        if not message.add(frames.arrived(carrier.arrived)):
            return False
        carrier.arrived_told = carrier.arrived
        carrier.tells_arrived = False
    answers = carrier.answers
    while answers:
        stream_id, answer = answers.popitem(last=False)
        if not message.add(answer):
            answers[stream_id] = answer
            answers.move_to_end(stream_id, last=False)
            return False
    if flows.waiting and flows.carrier() is carrier:
        shares = not (outbox.scheduler.empty() and carrier.scheduler.empty())
        if not flows.fill(carrier, message, message.room // 2 if shares else message.room) and not shares:
            return False
    reserved = flows.reserve(carrier)
    return (
        _say(session, carrier, message, carrier.pending)
        and (reserved or _say(session, carrier, message, outbox.pending))
        and carrier.is_live()
        and (carrier.scheduler.empty() or _data(session, carrier, message, carrier.scheduler))
        and (
            reserved
            or ((carrier.draining or carrier.stalled) and session.has_other(carrier))
            or _data(session, carrier, message, outbox.scheduler)
        )
    )


def _say(session: Session, carrier: Carrier, message: Message, pending: dict[Stream, None]) -> bool:
    """Add the state frames of these streams; return whether all of them fitted."""
    if len(pending) == 0:
        return True
    for stream in list(pending):
        if stream not in pending:
            continue  # another has ended it
        if not _say_of(session, carrier, message, stream):
            return False
        pending.pop(stream, None)
        if stream.needs:
            session.outbox.say(stream, 0)  # what has to go on another carrier
        elif stream.complete() and not stream.over:
            session.forget(stream)
    return True


def _say_of(session: Session, carrier: Carrier, message: Message, stream: Stream) -> bool:
    if stream.needs & NEEDS_RESET:
        if not message.add(frames.reset(stream.id, stream.reset_code, stream.reset_text)):
            return False
        session.counters.resets_sent += 1
        stream.needs = 0
        stream.state_slot = carrier.slot
    if stream.needs & NEEDS_OPEN:
        if not message.add(frames.open_stream(stream.id, stream.receive.limit, stream.origin)):
            return False
        stream.needs &= ~NEEDS_OPEN
        stream.state_slot = carrier.slot
        session.outbox.ready(stream)
    if stream.needs & ANSWERS and not session.is_elsewhere(stream.answer_slot, carrier):
        if stream.needs & NEEDS_OPENED:
            if not message.add(frames.opened(stream.id, stream.receive.limit)):
                return False
            stream.needs &= ~NEEDS_OPENED
            stream.state_slot = carrier.slot
        if stream.needs & NEEDS_ACK:
            receive = stream.receive
            if not message.add_ack(stream.id, receive.acknowledged(), receive.renewed_limit()):
                return False
            session.counters.acks_sent += 1
            stream.needs &= ~NEEDS_ACK
            stream.answer_slot = carrier.slot
            stream.end_acknowledged = receive.done()
    return True


def _data(session: Session, carrier: Carrier, message: Message, scheduler: Scheduler) -> bool:
    """Add DATA and FIN frames of these streams by turns; return whether none has anything more."""
    slot = carrier.slot
    pacing = carrier.pacing
    counters = session.counters
    stuck = 0
    while True:
        stream = scheduler.next(pacing.frame_size)
        if stream is None:
            return True
        send = stream.send
        limit = stream.send_limit()
        room = message.room - _DATA_HEADER
        available = send.available(limit)
        size = 0
        if available:
            again = send.lost > 0
            # What goes again is not held: of what came behind it nothing can be acknowledged before.
            if not again and pacing.full():
                if not scheduler.is_fresh(stream):
                    if not pacing.held:
                        pacing.held = True
                        counters.carriers_full += 1
                    return False
                if available > LEAST_DATA:
                    scheduler.wait(stream)  # others that are fresh may have little
                    continue
            most = min(pacing.frame_size if again else pacing.next_frame(), available)
            if most > room:
                if message.size and (room <= 0 or room < LEAST_DATA):
                    return False
                most = room
            before = send.next
            size = send.take(most, limit, slot)
            if size:
                offset = send.taken_at
                send.gather(stream.id, offset, size, message)
                stream.deficit -= size
                pacing.sent(size, session.now)
                counters.bytes_sent += size
                if offset < before:
                    counters.bytes_sent_again += size
        if send.fin and send.fin_due():
            if not message.add(frames.fin(stream.id, send.end)):
                return False
            send.fin_slot = slot
            send.fin_sent = True
        if not send.sendable(limit):
            scheduler.settle(stream)
        elif size == 0:
            # Too many ranges to tell apart: only the carrier that had the last one may go on.
            counters.streams_scattered += 1
            scheduler.wait(stream)
            stuck += 1
            if stuck > len(scheduler):
                return True
