"""STATE: what both sides tell each other after RESUME, and what follows from it (docs/span.md section 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isthmus.span import frames, incoming
from isthmus.span.frames import ENTRY_FORGOTTEN, ENTRY_OPENED, ENTRY_SIZE, Entry, wrong
from isthmus.span.limits import MAXIMUM_AHEAD
from isthmus.span.stream import NEEDS_OPEN, NEEDS_OPENED

if TYPE_CHECKING:
    from isthmus.span.carrier import Carrier
    from isthmus.span.session import Session

_EXCHANGE = 1


def state_to_send(session: Session) -> list[bytes]:
    """Return the STATE of a session as frames."""
    entries = [Entry(stream_id, ENTRY_FORGOTTEN, 0, 0) for stream_id in session.opened.above()]
    entries = [entry for entry in entries if entry.stream not in session.streams]
    for stream in session.streams.values():
        receive = stream.receive
        if stream.resetting:
            entries.append(Entry(stream.id, ENTRY_OPENED if stream.opened else 0, 0, 0))
            continue
        flags = ENTRY_OPENED if stream.opened else 0
        entries.append(Entry(stream.id, flags, receive.acknowledged(), receive.limit))
    entries.sort()
    return frames.state(session.opened.below, session.next_stream, entries)


def state_received(session: Session, carrier: Carrier, payload: bytes) -> None:
    """Gather the peer's STATE; when it is whole, conclude from it and let the carrier live."""
    if carrier.phase != _EXCHANGE:
        raise wrong("STATE without RESUME")
    last, opened_below, next_stream, entries = frames.parse_state(payload)
    carrier.state += entries
    bound = session.limits.maximum_streams + session.peer.maximum_streams + MAXIMUM_AHEAD // 2
    if len(carrier.state) > bound * ENTRY_SIZE:
        raise wrong("STATE has more entries than there may be streams")
    if not last:
        return
    told = bytes(carrier.state)
    carrier.state.clear()
    session.counters.states_received += 1
    if not session.is_ours(opened_below) or opened_below > session.next_stream:
        raise wrong(f"STATE says that all below {opened_below} were opened")
    if next_stream == 0 or session.is_ours(next_stream):
        raise wrong(f"STATE says that the peer opens {next_stream} next")
    _conclude(session, _checked(session, told, opened_below, next_stream), opened_below, next_stream)
    if not session.over:
        session.exchanged(carrier)


def _checked(session: Session, told: bytes, opened_below: int, next_stream: int) -> dict[int, Entry]:
    entries: dict[int, Entry] = {}
    for entry in frames.state_entries(told):
        ours = session.is_ours(entry.stream)
        if entry.stream >= (session.next_stream if ours else next_stream):
            raise wrong(f"STATE has the stream {entry.stream}, which was never opened")
        if entry.flags & ENTRY_FORGOTTEN and not (ours and entry.stream >= opened_below):
            raise wrong(f"STATE says without need that {entry.stream} is forgotten")
        entries[entry.stream] = entry
    return entries


def _conclude(session: Session, entries: dict[int, Entry], opened_below: int, next_stream: int) -> None:
    for stream in list(session.streams.values()):
        if session.streams.get(stream.id) is not stream:
            continue  # a call of the handler ended it
        entry = entries.get(stream.id)
        if entry is None:
            if stream.ours:
                if stream.id < opened_below:
                    incoming.ended_by_peer(session, stream)
                elif stream.state_slot not in session.carriers and not stream.resetting:
                    session.outbox.say(stream, NEEDS_OPEN)
            elif stream.id < next_stream:
                incoming.ended_by_peer(session, stream)
        elif entry.flags & ENTRY_FORGOTTEN:
            incoming.ended_by_peer(session, stream)
        elif not stream.over:
            if entry.flags & ENTRY_OPENED:
                if stream.ours:
                    incoming.opened(session, stream, entry.limit)
                else:
                    stream.needs &= ~NEEDS_OPENED
            if not stream.over:
                incoming.acknowledge(session, stream, entry.received, entry.limit)
        if session.over:
            return
