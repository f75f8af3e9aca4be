"""What one stream sends: its bytes, kept until they are acknowledged, and on which carrier each went last.

    acked            next                     end
      | sent, by slot  | written, not sent yet  |
      [ ranges ........ ][ ..................... ]
                        up to the peer's limit

A range whose carrier was lost has the slot LOST and goes out again before anything new.
"""

from __future__ import annotations

from typing import Any

from isthmus.span.frames import wrong
from isthmus.span.limits import MAXIMUM_PIECES
from isthmus.span.message import Message

LOST = -1
NEVER = -2
_MAXIMUM_RANGES = MAXIMUM_PIECES // 8
_COMPACT_FROM = 64

# Stands for each list that is empty, so that an idle stream has none; it is replaced, never changed.
_NONE: list[Any] = []


class SendSide:
    """The sending direction of a stream. Offsets count from 0; nothing is copied that was written.

    `limit` is up to where the peer takes data. `fin` says that the application ended its data at `end`.
    `taken_at` is where the bytes begin that `take` gave last. `lost` is how many bytes have to go again, and
    `acked_slot` on which carrier those went that `acknowledge` told last.
    """

    __slots__ = (
        "_chunks",
        "_cursor",
        "_cursor_at",
        "_ends",
        "_first",
        "_first_at",
        "_slot",
        "_slots",
        "acked",
        "acked_slot",
        "end",
        "fin",
        "fin_acked",
        "fin_sent",
        "fin_slot",
        "limit",
        "lost",
        "next",
        "taken_at",
    )

    def __init__(self, limit: int) -> None:
        self._chunks: list[bytes] = _NONE
        self._first = 0  # the first chunk that is still kept
        self._first_at = 0  # and its offset
        self._cursor = 0  # the chunk to go on with, as a rule the one at `next`
        self._cursor_at = 0
        self._slot = NEVER  # of the last range, which ends at `next`
        self._ends: list[int] = _NONE  # of each range before it, from `acked` on: as a rule there are none
        self._slots: list[int] = _NONE
        self.lost = 0  # bytes in ranges that are LOST
        self.acked = 0
        self.acked_slot = NEVER
        self.next = 0
        self.taken_at = 0
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
        return len(self._ranges())

    def in_flight(self, slot: int) -> int:
        """Return how many bytes went last on `slot` and are not acknowledged."""
        start = self.acked
        size = 0
        for end, each in self._ranges():
            if each == slot:
                size += end - start
            start = end
        return size

    def write(self, data: bytes) -> None:
        """Add `data` behind what was written; it must not be empty."""
        if self._chunks is _NONE:
            self._chunks = [data]
            self._first_at = self._cursor_at = self.end
        else:
            self._chunks.append(data)
        self.end += len(data)

    def drop(self) -> list[tuple[int, int]]:
        """Forget all bytes: the stream was reset. Returns (slot, bytes) of what was not acknowledged."""
        start = self.acked
        dropped = []
        for end, slot in self._ranges():
            dropped.append((slot, end - start))
            start = end
        self._chunks = self._ends = self._slots = _NONE
        self._first = self._cursor = self.lost = 0
        self.acked = self.next = self.end
        return dropped

    def sendable(self, limit: int) -> bool:
        """Whether there is something to send below `limit`, or the FIN."""
        if self.lost or self.next < min(self.end, limit):
            return True
        return self.fin and self.fin_due()

    def fin_due(self) -> bool:
        """Whether everything was sent and FIN is next."""
        return self.fin and self.fin_slot < 0 and self.next == self.end and not self.lost

    def available(self, limit: int) -> int:
        """Return how many bytes the next call to `take` could give at most."""
        if self.lost:
            start = self.acked
            for end, slot in self._ranges():
                if slot == LOST:
                    return end - start
                start = end
        return max(0, min(self.end, limit) - self.next)

    def take(self, maximum: int, limit: int, slot: int) -> int:
        """Note that the next bytes go out on `slot`: return how many, 0 if there are none; see `taken_at`.

        What was lost goes first. A stream whose ranges would be too many to tell apart gives none.
        """
        if self.lost:
            return self._take_lost(maximum, slot)
        start = self.next
        size = min(self.end, limit) - start
        if size > maximum:
            size = maximum
        if size <= 0:
            return 0
        if self._slot != slot:
            if start > self.acked:
                if len(self._ends) + 1 >= _MAXIMUM_RANGES:
                    return 0
                if self._ends is _NONE:
                    self._ends, self._slots = [], []
                self._ends.append(start)
                self._slots.append(self._slot)
            self._slot = slot
        self.next = start + size
        self.taken_at = start
        return size

    def _take_lost(self, maximum: int, slot: int) -> int:
        ranges = self._ranges()
        index = 0
        start = self.acked
        while ranges[index][1] != LOST:
            start = ranges[index][0]
            index += 1
        end = ranges[index][0]
        size = min(maximum, end - start)
        if start + size == end:
            ranges[index] = end, slot
        else:
            ranges.insert(index, (start + size, slot))
        if index and ranges[index - 1][1] == slot:
            del ranges[index - 1]  # it joins the one before
        self._keep(ranges)
        self.lost -= size
        self.taken_at = start
        return size

    def _ranges(self) -> list[tuple[int, int]]:
        """Return end and slot of each range from `acked` to `next`."""
        if self.acked == self.next:
            return []
        ranges = list(zip(self._ends, self._slots, strict=True))
        ranges.append((self.next, self._slot))
        return ranges

    def _keep(self, ranges: list[tuple[int, int]]) -> None:
        """Have these ranges from now on."""
        self._slot = ranges[-1][1] if ranges else NEVER
        if len(ranges) < 2:
            self._ends = self._slots = _NONE
        else:
            self._ends = [end for end, _ in ranges[:-1]]
            self._slots = [slot for _, slot in ranges[:-1]]

    def gather(self, stream: int, offset: int, size: int, message: Message) -> None:
        """Add the `size` bytes at `offset` to a message, as DATA of `stream`; the caller has looked for room.

        Large pieces share memory with what was written.
        """
        index, at = self._cursor, self._cursor_at
        if offset < at:
            index, at = self._first, self._first_at
        chunk = self._chunks[index]
        length = len(chunk)
        while at + length <= offset:
            at += length
            index += 1
            chunk = self._chunks[index]
            length = len(chunk)
        skip = offset - at
        if size < length - skip:
            message.add_data(stream, offset, chunk, skip, size)
        elif size == length - skip:
            message.add_data(stream, offset, chunk, skip, size)
            index += 1
            at += length
        else:
            message.add_data_header(stream, offset, size)
            while size >= length - skip:
                message.put(chunk, skip, length - skip)
                size -= length - skip
                at += length
                index += 1
                skip = 0
                if size == 0:
                    break
                chunk = self._chunks[index]
                length = len(chunk)
            if size:
                message.put(chunk, skip, size)
        self._cursor, self._cursor_at = index, at

    def acknowledge(self, received: int) -> int:
        """Forget what lies below `received` in the lowest range: return how many bytes that are, 0 for none.

        `acked_slot` says on which carrier they went. Call it until it gives 0. Raises SpanError if that much
        was never sent. An old acknowledgement changes nothing.
        """
        if received > self.next:
            if received != self.end + 1 or not self.fin_sent:
                raise wrong(f"{received} is acknowledged, {self.next} was sent")
            self.fin_acked = True
            received = self.end
        size = received - self.acked
        if size <= 0:
            return 0
        slot = self._slot
        if self._ends is not _NONE:  # there is more than one range
            slot = self._slots[0]
            end = self._ends[0]
            if received >= end:
                size = end - self.acked
                del self._ends[0], self._slots[0]
                if len(self._ends) == 0:
                    self._ends = self._slots = _NONE
        if slot == LOST:
            self.lost -= size
        self.acked += size
        self.acked_slot = slot
        self._trim()
        return size

    def _trim(self) -> None:
        """Forget the chunks that are acknowledged."""
        if self.acked == self.end:
            self._chunks = _NONE
            self._first = self._cursor = 0
            return
        first, at, chunks = self._first, self._first_at, self._chunks
        chunk = chunks[first]
        while at + len(chunk) <= self.acked:
            at += len(chunk)
            chunks[first] = b""
            first += 1
            chunk = chunks[first]
        if self._cursor < first:
            self._cursor, self._cursor_at = first, at
        if first >= _COMPACT_FROM and first * 2 >= len(chunks):
            del chunks[:first]
            self._cursor -= first
            first = 0
        self._first, self._first_at = first, at

    def lose(self, slot: int) -> int:
        """Put what was sent on `slot` and not acknowledged back; return how many bytes these are."""
        found = self.lost
        ranges: list[tuple[int, int]] = []
        start = self.acked
        for end, each in self._ranges():
            if each == slot:
                self.lost += end - start
                each = LOST
            if ranges and ranges[-1][1] == each:
                ranges.pop()
            ranges.append((end, each))
            start = end
        self._keep(ranges)
        if self.fin_slot == slot:
            self.fin_slot = LOST
        return self.lost - found
