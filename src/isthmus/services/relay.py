"""The relay: two connections joined so that what comes in on one goes out on the other.

A `Half` is the receiver of one connection and knows the other half. Data goes across by a direct call; pause
and resume come back; an end of input crosses as an end, a reset as a reset:

    what happens to one half            what the other connection is told
    ------------------------------------------------------------------------------
    data_received                       write
    eof_received                        write_eof
    pause_writing / resume_writing      pause_reading / resume_reading
    both halves had their eof           close (both)
    connection_lost(error)              abort
    connection_lost(None), not asked    abort: what it still sends cannot be delivered
"""

from __future__ import annotations

from collections.abc import Callable

from isthmus import layer
from isthmus.layer import Layer
from isthmus.transports.base import Transport


class Half(Layer):
    """One side of a relay: the receiver of its connection.

    Until the other side is there a half does not read; with `first_event` set it does, until something
    happens: that is told once, and what came, at most one read, is held until both sides are there.
    """

    __slots__ = ("blocked", "ended", "first_event", "held", "lost", "other", "received", "relay", "transport")

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self.other: Half = self
        self.transport: Transport | None = None
        self.first_event: Callable[[], None] | None = None
        self.held: bytes | None = None
        self.received = 0
        """Bytes that came in on this side."""
        self.ended = False
        """The other end of this connection sends no more."""
        self.blocked = False
        """The transport has more unsent than it should."""
        self.lost = False

    def connection_made(self, transport: Transport) -> None:
        self.transport = transport
        transport.set_write_limit(self.relay.pending_limit)
        self.relay.half_made(self)

    def data_received(self, data: memoryview) -> None:
        self.received += len(data)
        target = self.other.transport
        if self.relay.joined:
            if target is not None:
                layer.send(target, data)
        else:
            self.held = bytes(data) if self.held is None else self.held + bytes(data)
            self._hold()

    def eof_received(self) -> None:
        self.ended = True
        if self.relay.joined:
            self.relay.half_ended(self)
        else:
            self._hold()

    def pause_writing(self) -> None:
        self.blocked = True
        source = self.other.transport
        if source is not None:
            layer.pause(source)

    def resume_writing(self) -> None:
        self.blocked = False
        source = self.other.transport
        if source is not None and self.relay.joined:
            layer.resume(source)

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True
        self.transport = None
        relay = self.relay  # which this half may leave meanwhile
        relay.half_lost(self, error)
        self._tell_first_event()

    def flush(self) -> None:
        """Pass on what was held until both sides were there."""
        held = self.held
        self.held = None
        target = self.other.transport
        if held is not None and target is not None:
            target.write(held)
        if self.ended:
            self.relay.half_ended(self)

    def leave(self) -> None:
        """Have nothing to do with the relay any more, which is over."""
        self.relay = _OVER
        self.other = _OVER.accepted

    def _hold(self) -> None:
        if self.transport is not None:
            layer.pause(self.transport)
        self._tell_first_event()

    def _tell_first_event(self) -> None:
        tell = self.first_event
        self.first_event = None
        if tell is not None:
            tell()


class Relay:
    """Two halves and how they end. A service derives from it to say what comes before and after.

    `pending_limit` is in bytes: with more than that unsent towards one side, the other is not read.
    """

    __slots__ = ("accepted", "closing", "connected", "error", "joined", "over", "pending_limit")

    def __init__(self, pending_limit: int) -> None:
        self.pending_limit = pending_limit
        self.joined = False
        """Both sides are there, and data crosses."""
        self.closing = False
        self.over = False
        self.error: Exception | None = None
        """The first thing that went wrong, if any did."""
        self.accepted = Half(self)
        self.connected = Half(self)
        self.accepted.other = self.connected
        self.connected.other = self.accepted

    def first_made(self, half: Half) -> None:
        """One side is there and waits for the other: override to bring that about."""

    def finished(self) -> None:
        """Both connections are over: override to account for them. Called once."""

    def half_made(self, half: Half) -> None:
        """A half has its transport: join if both have, else wait for the other."""
        transport = half.transport
        if half.other.transport is None:
            if transport is not None and half.first_event is None:
                layer.pause(transport)
            self.first_made(half)
            return
        if transport is not None:
            layer.pause(transport)
        self.joined = True
        _read_for(half.transport, half.other.transport)
        _read_for(half.other.transport, half.transport)
        half.other.flush()
        half.flush()
        self._resume(half.other)
        self._resume(half)

    def _resume(self, half: Half) -> None:
        transport = half.transport
        if transport is not None and not half.other.blocked and not self.closing:
            layer.resume(transport)

    def half_ended(self, half: Half) -> None:
        """One direction is complete; when both are, so is the relay."""
        target = half.other.transport
        if half.other.ended:
            self.close()
        elif target is not None:
            layer.end(target)

    def half_lost(self, half: Half, error: Exception | None) -> None:
        """A connection is over: in order only if we had asked for it."""
        if error is not None and self.error is None:
            self.error = error
        other = half.other.transport
        if other is not None and (error is not None or not self.closing):
            other.abort()
        self.finish_if_over()

    def close(self) -> None:
        """End both connections in order, once all that was read is sent."""
        self.closing = True
        for half in (self.accepted, self.connected):
            if half.transport is not None:
                half.transport.close()

    def abort(self) -> None:
        """Reset both connections."""
        self.closing = True
        for half in (self.accepted, self.connected):
            if half.transport is not None:
                half.transport.abort()

    def finish_if_over(self) -> None:
        """Call `finished`, once, when neither side has a connection any more."""
        if not self.over and self.accepted.transport is None and self.connected.transport is None:
            self.over = True
            self.finished()
            # Not before the garbage collector finds them are they freed that refer to each other.
            self.accepted.leave()
            self.connected.leave()


_OVER = Relay(0)
"""Where halves belong whose relay is over: nothing happens to it."""


def _read_for(source: Transport | None, target: Transport | None) -> None:
    """Have what is read for a transport that keeps it read into bytes, which it need not copy."""
    if getattr(target, "keeps", False):
        read_for_keeping = getattr(source, "read_for_keeping", None)
        if read_for_keeping is not None:
            read_for_keeping(True)
