"""What one stream sends: its bytes, kept until they are acknowledged, and on which carrier each went last.

    acked            next                     end
      | sent, by slot  | written, not sent yet  |
      [ ranges ........ ][ ..................... ]
                        up to the peer's limit

A range whose carrier was lost has the slot LOST and goes out again before anything new.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Any

from isthmus.span.frames import wrong
from isthmus.span.limits import MAXIMUM_PIECES
from isthmus.websocket.mask import Buffer

LOST = -1
NEVER = -2
_MAXIMUM_RANGES = MAXIMUM_PIECES // 8
_COMPACT_FROM = 64

# Stands for each list that is empty, so that an idle stream has none; it is replaced, never changed.
_NONE: list[Any] = []


class SendSide:
    """The sending direction of a stream. Offsets count from 0; nothing is copied that was written.

    `limit` is up to where the peer takes data. `fin` says that the application ended its data at `end`.
    """

    __slots__ = (
        "_chunks",
        "_ends",
        "_first",
        "_lost",
        "_slots",
        "_starts",
        "acked",
        "end",
        "fin",
        "fin_acked",
        "fin_sent",
        "fin_slot",
        "limit",
        "next",
    )

    def __init__(self, limit: int) -> None:
        self._chunks: list[bytes] = _NONE
        self._starts: list[int] = _NONE  # the offset of each chunk
        self._first = 0  # the first chunk that is still kept
        self._ends: list[int] = _NONE  # of each range, from `acked` to `next`
        self._slots: list[int] = _NONE
        self._lost = 0  # bytes in ranges that are LOST
        self.acked = 0
        self.next = 0
        self.end = 0
        self.limit = limit
        self.fin = False
        self.fin_slot = NEVER
        self.fin_sent = False  # at least once
        self.fin_acked = False

    @property
    def stored(self) -> int:
        """How many bytes are kept."""
        return self.end - self.acked

    @property
    def pieces(self) -> int:
        """How many ranges are told apart."""
        return len(self._ends)

    def in_flight(self, slot: int) -> int:
        """Return how many bytes went last on `slot` and are not acknowledged."""
        start = self.acked
        size = 0
        for each, end in zip(self._slots, self._ends, strict=True):
            if each == slot:
                size += end - start
            start = end
        return size

    def write(self, data: bytes) -> None:
        """Add `data` behind what was written; it must not be empty."""
        if self._chunks is _NONE:
            self._chunks = [data]
            self._starts = [self.end]
        else:
            self._chunks.append(data)
            self._starts.append(self.end)
        self.end += len(data)

    def drop(self) -> list[tuple[int, int]]:
        """Forget all bytes: the stream was reset. Returns (slot, bytes) of what was not acknowledged."""
        start = self.acked
        dropped = []
        for slot, end in zip(self._slots, self._ends, strict=True):
            dropped.append((slot, end - start))
            start = end
        self._chunks = self._starts = self._ends = self._slots = _NONE
        self._first = self._lost = 0
        self.acked = self.next = self.end
        return dropped

    def sendable(self, limit: int) -> bool:
        """Whether there is something to send below `limit`, or the FIN."""
        if self._lost or self.next < min(self.end, limit):
            return True
        return self.fin_due()

    def fin_due(self) -> bool:
        """Whether everything was sent and FIN is next."""
        return self.fin and self.fin_slot < 0 and self.next == self.end and not self._lost

    def lost(self) -> bool:
        """Whether some of it has to go again."""
        return self._lost > 0

    def available(self, limit: int) -> int:
        """Return how many bytes the next call to `take` could give at most."""
        if self._lost:
            index = self._slots.index(LOST)
            return self._ends[index] - (self._ends[index - 1] if index else self.acked)
        return max(0, min(self.end, limit) - self.next)

    def take(self, maximum: int, limit: int, slot: int) -> tuple[int, int]:
        """Note that the next bytes go out on `slot`: return their offset and size, (0, 0) if there are none.

        What was lost goes first. A stream whose ranges would be too many to tell apart gives none.
        """
        if self._lost:
            return self._take_lost(maximum, slot)
        start = self.next
        size = min(self.end, limit) - start
        if size > maximum:
            size = maximum
        if size <= 0:
            return 0, 0
        if self._slots is _NONE:
            self._ends = [start + size]
            self._slots = [slot]
        elif self._slots[-1] == slot:
            self._ends[-1] = start + size
        elif len(self._ends) >= _MAXIMUM_RANGES:
            return 0, 0
        else:
            self._ends.append(start + size)
            self._slots.append(slot)
        self.next = start + size
        return start, size

    def _take_lost(self, maximum: int, slot: int) -> tuple[int, int]:
        ends, slots = self._ends, self._slots
        index = slots.index(LOST)
        start = ends[index - 1] if index else self.acked
        size = min(maximum, ends[index] - start)
        whole = start + size == ends[index]
        joins = index > 0 and slots[index - 1] == slot
        if joins:
            ends[index - 1] = start + size
            if whole:
                del ends[index], slots[index]
        elif whole:
            slots[index] = slot
        else:
            ends.insert(index, start + size)
            slots.insert(index, slot)
        self._lost -= size
        return start, size

    def gather(self, offset: int, size: int) -> list[Buffer]:
        """Return the `size` bytes at `offset` as buffers; they share memory with what was written."""
        index = bisect_right(self._starts, offset, self._first) - 1
        buffers: list[Buffer] = []
        skip = offset - self._starts[index]
        while size > 0:
            chunk = self._chunks[index]
            length = len(chunk) - skip
            if length > size:
                length = size
            if skip == 0 and length == len(chunk):
                buffers.append(chunk)
            else:
                buffers.append(memoryview(chunk)[skip : skip + length])
            size -= length
            skip = 0
            index += 1
        return buffers

    def acknowledge(self, received: int) -> list[tuple[int, int]]:
        """Forget what lies below `received`; return (slot, bytes) for what was sent and is acknowledged now.

        Raises SpanError if that much was never sent. An old acknowledgement changes nothing.
        """
        if received > self.next:
            if received != self.end + 1 or not self.fin_sent:
                raise wrong(f"{received} is acknowledged, {self.next} was sent")
            self.fin_acked = True
            received = self.end
        if received <= self.acked:
            return []
        done = []
        index = 0
        start = self.acked
        for end in self._ends:
            size = min(end, received) - start
            done.append((self._slots[index], size))
            if self._slots[index] == LOST:
                self._lost -= size
            if end > received:
                break
            index += 1
            start = end
            if end == received:
                break
        if received == self.next:
            self._ends = self._slots = _NONE
        else:
            del self._ends[:index], self._slots[:index]
        self.acked = received
        self._trim()
        return done

    def _trim(self) -> None:
        """Forget the chunks that are acknowledged."""
        if self.acked == self.end:
            self._chunks = self._starts = _NONE
            self._first = 0
            return
        first, chunks, starts = self._first, self._chunks, self._starts
        while starts[first] + len(chunks[first]) <= self.acked:
            chunks[first] = b""
            first += 1
        if first >= _COMPACT_FROM and first * 2 >= len(chunks):
            del chunks[:first], starts[:first]
            first = 0
        self._first = first

    def lose(self, slot: int) -> int:
        """Put what was sent on `slot` and not acknowledged back; return how many bytes these are."""
        found = self._lost
        if slot in self._slots:
            ends: list[int] = []
            slots: list[int] = []
            start = self.acked
            for end, each in zip(self._ends, self._slots, strict=True):
                if each == slot:
                    self._lost += end - start
                    each = LOST
                if slots and slots[-1] == each:
                    ends[-1] = end
                else:
                    ends.append(end)
                    slots.append(each)
                start = end
            self._ends, self._slots = ends, slots
        if self.fin_slot == slot:
            self.fin_slot = LOST
        return self._lost - found
