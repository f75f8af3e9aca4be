"""Which stream sends next: deficit round robin, where a stream that was idle has one turn before the others.

A stream that always has more (a copy of a file) waits its turn; one that sends now and then (a terminal) does
not wait behind it. A stream that has had its first turn queues with the rest, so nobody starves.
"""

from __future__ import annotations

from collections import OrderedDict

from isthmus.span.stream import Stream


class Scheduler:
    """The streams that have something to send. A stream is in at most one scheduler, at most once."""

    __slots__ = ("_fresh", "_waiting")

    def __init__(self) -> None:
        self._fresh: OrderedDict[Stream, None] = OrderedDict()
        self._waiting: OrderedDict[Stream, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._fresh) + len(self._waiting)

    def add(self, stream: Stream) -> None:
        """Add a stream that has something to send; nothing happens if it is in a scheduler."""
        if stream.scheduler is None:
            stream.scheduler = self
            stream.deficit = 1
            self._fresh[stream] = None

    def next(self, quantum: int) -> Stream | None:
        """Return the stream that may send a frame now, or None; each turn adds `quantum` bytes."""
        while True:
            queue = self._fresh or self._waiting
            if not queue:
                return None
            stream = next(iter(queue))
            if stream.deficit > 0:
                return stream
            stream.deficit += quantum
            self.wait(stream)

    def wait(self, stream: Stream) -> None:
        """Put a stream behind all others."""
        self._fresh.pop(stream, None)
        self._waiting[stream] = None
        self._waiting.move_to_end(stream)

    def settle(self, stream: Stream) -> None:
        """Take out a stream that has sent all it had; where others wait, only when its next turn comes.

        Otherwise one that comes back at once would be first again and again.
        """
        if stream in self._fresh and self._waiting:
            self.wait(stream)
        else:
            self.remove(stream)

    def remove(self, stream: Stream) -> None:
        """Take a stream out; nothing happens if it is not here."""
        if stream.scheduler is self:
            stream.scheduler = None
            self._fresh.pop(stream, None)
            self._waiting.pop(stream, None)

    def clear(self) -> list[Stream]:
        """Take all streams out and return them."""
        streams = [*self._fresh, *self._waiting]
        for stream in streams:
            stream.scheduler = None
        self._fresh.clear()
        self._waiting.clear()
        return streams
