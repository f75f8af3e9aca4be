"""Which stream sends next: deficit round robin, where a stream that was idle has one turn before the others.

again     streams that have to send something a second time: before all others, until they have
fresh     streams that were idle
waiting   all others, by turns

A stream that always has more (a copy of a file) waits its turn; one that sends now and then (a terminal) does
not wait behind it. A stream that has had its first turn queues with the rest, so nobody starves.
"""

from __future__ import annotations

from collections import deque

from isthmus.span.stream import Stream


class Scheduler:
    """The streams that have something to send. A stream is in at most one scheduler, at most once.

    `wait`, `settle` and `is_fresh` are about the stream that `next` gave last: the first of its queue.
    """

    __slots__ = ("_again", "_fresh", "_waiting")

    def __init__(self) -> None:
        self._again: deque[Stream] = deque()
        self._fresh: deque[Stream] = deque()
        self._waiting: deque[Stream] = deque()

    def __len__(self) -> int:
        return len(self._again) + len(self._fresh) + len(self._waiting)

    def add(self, stream: Stream) -> None:
        """Add a stream that has something to send; nothing happens if it is in a scheduler."""
        if stream.scheduler is None:
            stream.scheduler = self
            stream.deficit = 1
            queue = self._again if stream.send.lost() else self._fresh
            queue.append(stream)

    def lost(self) -> None:
        """Put the streams that have to send something again before all others."""
        for queue in (self._fresh, self._waiting):
            streams = list(queue)
            queue.clear()
            for stream in streams:
                (self._again if stream.send.lost() else queue).append(stream)

    def next(self, quantum: int) -> Stream | None:
        """Return the stream that may send a frame now, or None; each turn adds `quantum` bytes."""
        while self._again:
            stream = self._again[0]
            if stream.send.lost():
                return stream
            self.wait(stream)
        while True:
            if self._fresh:
                stream = self._fresh[0]
            elif self._waiting:
                stream = self._waiting[0]
            else:
                return None
            if stream.deficit > 0:
                return stream
            stream.deficit += quantum
            self.wait(stream)

    def is_fresh(self, stream: Stream) -> bool:
        """Whether this is the first turn of a stream that was idle."""
        return not self._again and bool(self._fresh) and self._fresh[0] is stream

    def wait(self, stream: Stream) -> None:
        """Put a stream behind all others."""
        queue = self._again or self._fresh or self._waiting
        queue.popleft()
        self._waiting.append(stream)

    def settle(self, stream: Stream) -> None:
        """Take out a stream that has sent all it had; where others wait, only when its next turn comes.

        Otherwise one that comes back at once would be first again and again.
        """
        if self._waiting and (self._again or self._fresh):
            self.wait(stream)
        else:
            queue = self._again or self._fresh or self._waiting
            queue.popleft()
            stream.scheduler = None

    def remove(self, stream: Stream) -> None:
        """Take a stream out; nothing happens if it is not here."""
        if stream.scheduler is self:
            stream.scheduler = None
            for queue in (self._again, self._fresh, self._waiting):
                if stream in queue:
                    queue.remove(stream)

    def clear(self) -> list[Stream]:
        """Take all streams out and return them."""
        streams = [*self._again, *self._fresh, *self._waiting]
        for stream in streams:
            stream.scheduler = None
        for queue in (self._again, self._fresh, self._waiting):
            queue.clear()
        return streams
