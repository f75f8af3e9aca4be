"""Which stream sends next: deficit round robin, where a stream that was idle has one turn before the others.

again     streams that have to send something a second time: before all others, until they have
fresh     streams that were idle
waiting   all others, by turns

A stream that always has more (a copy of a file) waits its turn; one that sends now and then (a terminal) does
not wait behind it. A stream that has had its first turn queues with the rest, so nobody starves.
"""

from __future__ import annotations

from isthmus.span.stream import Stream


class _Queue:
    """Streams one behind the other, each in at most one queue: they are linked by `Stream.behind`."""

    __slots__ = ("_last", "first", "size")

    def __init__(self) -> None:
        self.first: Stream | None = None
        self._last: Stream | None = None
        self.size = 0

    def append(self, stream: Stream) -> None:
        if self._last is None:
            self.first = stream
        else:
            self._last.behind = stream
        self._last = stream
        self.size += 1

    def popleft(self, stream: Stream) -> None:
        """Take out `stream`, which is the first."""
        self.first = stream.behind
        if self.first is None:
            self._last = None
        else:
            stream.behind = None
        self.size -= 1

    def remove(self, stream: Stream) -> bool:
        """Take a stream out, wherever it is; return whether it was here."""
        before = None
        each = self.first
        while each is not None and each is not stream:
            before = each
            each = each.behind
        if each is None:
            return False
        if before is None:
            self.popleft(each)
            return True
        before.behind = each.behind
        if before.behind is None:
            self._last = before
        each.behind = None
        self.size -= 1
        return True

    def clear(self) -> list[Stream]:
        """Take all out and return them."""
        streams = []
        while self.first is not None:
            stream = self.first
            self.popleft(stream)
            streams.append(stream)
        return streams


class Scheduler:
    """The streams that have something to send. A stream is in at most one scheduler, at most once.

    `wait`, `settle` and `is_fresh` are about the stream that `next` gave last: the first of its queue.
    """

    __slots__ = ("_again", "_fresh", "_waiting")

    def __init__(self) -> None:
        self._again = _Queue()
        self._fresh = _Queue()
        self._waiting = _Queue()

    def __len__(self) -> int:
        return self._again.size + self._fresh.size + self._waiting.size

    def empty(self) -> bool:
        """Whether no stream has anything to send."""
        return self._again.size + self._fresh.size + self._waiting.size == 0

    def add(self, stream: Stream) -> None:
        """Add a stream that has something to send; nothing happens if it is in a scheduler."""
        if stream.scheduler is None:
            stream.scheduler = self
            stream.deficit = 1
            if stream.send.lost:
                self._again.append(stream)
            else:
                self._fresh.append(stream)

    def lost(self) -> None:
        """Put the streams that have to send something again before all others."""
        for queue in (self._fresh, self._waiting):
            for stream in queue.clear():
                if stream.send.lost:
                    self._again.append(stream)
                else:
                    queue.append(stream)

    def next(self, quantum: int) -> Stream | None:
        """Return the stream that may send a frame now, or None; each turn adds `quantum` bytes."""
        while self._again.first is not None:
            stream = self._again.first
            if stream.send.lost:
                return stream
            self.wait(stream)
        while True:
            if self._fresh.first is not None:
                stream = self._fresh.first
            elif self._waiting.first is not None:
                stream = self._waiting.first
            else:
                return None
            if stream.deficit > 0:
                return stream
            stream.deficit += quantum
            self.wait(stream)

    def is_fresh(self, stream: Stream) -> bool:
        """Whether this is the first turn of a stream that was idle."""
        return self._again.first is None and self._fresh.first is stream

    def wait(self, stream: Stream) -> None:
        """Put a stream behind all others."""
        self._end_turn(stream)
        self._waiting.append(stream)

    def settle(self, stream: Stream) -> None:
        """Take out a stream that has sent all it had; where others wait, only when its next turn comes.

        Otherwise one that comes back at once would be first again and again.
        """
        went_first = self._end_turn(stream)
        if went_first and self._waiting.size:
            self._waiting.append(stream)
        else:
            stream.scheduler = None

    def remove(self, stream: Stream) -> None:
        """Take a stream out; nothing happens if it is not here."""
        if stream.scheduler is self:
            stream.scheduler = None
            if not self._again.remove(stream) and not self._fresh.remove(stream):
                self._waiting.remove(stream)

    def clear(self) -> list[Stream]:
        """Take all streams out and return them."""
        streams = [*self._again.clear(), *self._fresh.clear(), *self._waiting.clear()]
        for stream in streams:
            stream.scheduler = None
        return streams

    def _end_turn(self, stream: Stream) -> bool:
        """Take out the stream whose turn it is; return whether it went before those that wait."""
        if self._again.size:
            self._again.popleft(stream)
            return True
        if self._fresh.size:
            self._fresh.popleft(stream)
            return True
        self._waiting.popleft(stream)
        return False
