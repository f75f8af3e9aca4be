"""What one stream receives: in order, once, whatever order the carriers bring it in.

    consumed       received                        limit
      | delivered     | missing, or held in pieces   |

`limit` is the highest that was told to the peer; it never falls. `limit - consumed` is what the peer can make
this gateway hold, so that is accounted: 64 KiB are each stream's own, the rest is borrowed from the
budget. It grows toward four times the bandwidth-delay product while the application drains.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Any

from isthmus.span.frames import wrong
from isthmus.span.limits import EARLY_DATA, FIRST_WINDOW, GUARANTEED_WINDOW, MAXIMUM_PIECES, Budget
from isthmus.websocket import octets
from isthmus.websocket.octets import Octets

_UNKNOWN = -1
# A round trip takes the time of four processes too, and a window of less makes small frames.
_LEAST_ROUND_TRIP = 0.002
# Up to this size a copy of what comes costs less than a view of it.
_COPIED = 4096

# Stands for each list that is empty, so that an idle stream has none; it is replaced, never changed.
_NONE: list[Any] = []


class ReceiveSide:
    """The receiving direction of a stream. `limit` starts at `EARLY_DATA` until `admit` opens the window."""

    __slots__ = (
        "_admitted",
        "_borrowed",
        "_budget",
        "_largest",
        "_mark",
        "_mark_time",
        "_parts",
        "_starts",
        "consumed",
        "final",
        "highest",
        "limit",
        "pieces",
        "received",
        "window",
    )

    def __init__(self, budget: Budget, largest_window: int) -> None:
        self._budget = budget
        self._borrowed = 0
        self._admitted = False
        self._largest = largest_window
        self._starts: list[int] = _NONE  # of the pieces that are held, in order, not overlapping
        self._parts: list[bytearray] = _NONE
        self.pieces = 0  # how many these are
        self._mark = 0  # `consumed` when the window was last looked at
        self._mark_time = 0.0
        self.received = 0
        self.consumed = 0
        self.highest = 0  # the end of what came so far
        self.limit = EARLY_DATA
        self.final = _UNKNOWN
        self.window = min(FIRST_WINDOW, largest_window)

    def complete(self) -> bool:
        """Whether everything up to the final offset was delivered."""
        return self.received == self.final

    def acknowledged(self) -> int:
        """What ACK says is received: the end counts as one byte more, when the application has had all."""
        return self.received + 1 if self.consumed == self.final else self.received

    def done(self) -> bool:
        """Whether the application has had everything up to the final offset."""
        return self.consumed == self.final

    @property
    def held(self) -> int:
        """How many bytes wait for others before them."""
        return sum(map(len, self._parts))

    def take(self, offset: int, data: memoryview, start: int, size: int) -> Octets | None:
        """Take bytes that came, `size` of `data` from `start`: return those that can be delivered now.

        They are a copy if they are few, otherwise a view of `data`; None if there are none. What lies further
        on is copied and held; what was received already is dropped. After each piece that was delivered,
        `follow` gives the next. Raises SpanError beyond the limit or the final offset.
        """
        if offset > self.limit or offset + size > self.limit:
            raise wrong(f"{size} bytes of data at {offset}, the limit is {self.limit}")
        end = offset + size
        if end > self.highest:
            if self.final != _UNKNOWN and end > self.final:
                raise wrong(f"data up to {end} behind the final offset {self.final}")
            self.highest = end
        received = self.received
        if offset > received:
            self._hold(offset, end, data[start : start + size])
            return None
        if end <= received:
            return None
        # What is held and lies below `end` came twice; `follow` drops it.
        self.received = end
        start += received - offset
        size = end - received
        return octets.copied(data, start, size) if size <= _COPIED else data[start : start + size]

    def follow(self) -> Octets | None:
        """Return the next bytes that are in order now, None if there are none."""
        while self._starts and self._starts[0] <= self.received:
            start = self._starts.pop(0)
            part = self._parts.pop(0)
            self.pieces -= 1
            if not self._starts:
                self._starts = self._parts = _NONE
            if start + len(part) > self.received:
                skip = self.received - start
                self.received = start + len(part)
                return memoryview(part)[skip:]
        return None

    def finish(self, final: int) -> None:
        """Note where the data ends. Raises SpanError if that contradicts what came before."""
        if self.final != _UNKNOWN:
            if final != self.final:
                raise wrong(f"a second final offset {final}, the first was {self.final}")
            return
        if final < self.highest or final > self.limit:
            raise wrong(f"the final offset {final} is not from {self.highest} to {self.limit}")
        self.final = final

    def admit(self, now: float) -> None:
        """Open the window: raise the limit to what the budget allows, at least to what is guaranteed."""
        self._admitted = True
        self._mark_time = now
        self._raise_limit()

    def consume(self, size: int, now: float, round_trip: float) -> bool:
        """Note that the application took `size` bytes; return whether the peer should be told.

        That is so when a quarter of the window was consumed since the peer was told, or since the window was
        last looked at. Raises ValueError for more bytes than were delivered.
        """
        if size < 0 or self.consumed + size > self.received:
            raise ValueError(f"{size} bytes consumed, {self.received - self.consumed} were delivered")
        self.consumed += size
        if not self._admitted:
            return False
        self._give_back()
        if self.final != _UNKNOWN and self.limit >= self.final:
            return False
        told = (self.limit - self.consumed) * 4 > self.window * 3
        if told and (self.consumed - self._mark) * 4 < self.window:
            return False
        elapsed = now - self._mark_time
        if round_trip > 0:
            round_trip = max(round_trip, _LEAST_ROUND_TRIP)
        if (
            self.window < self._largest
            and (self.consumed - self._mark) * round_trip * 4 > self.window * elapsed
        ):
            self.window = min(self.window * 2, self._largest)
        self._mark = self.consumed
        self._mark_time = now
        return self._raise_limit()

    def renewed_limit(self) -> int:
        """Return the limit for an ACK that is sent now: what was consumed since the last one raises it.

        Told only at each quarter of a window, a window would be filled to three quarters on a long way.
        """
        if self._admitted and (self.final == _UNKNOWN or self.limit < self.final):
            self._raise_limit()
        return self.limit

    def drop(self) -> None:
        """Forget everything held and give the budget back: the stream is over."""
        self._starts = self._parts = _NONE
        self.pieces = 0
        self._budget.give_back(self._borrowed)
        self._borrowed = 0

    def _raise_limit(self) -> bool:
        above = self.window - GUARANTEED_WINDOW - self._borrowed
        if above > 0:
            self._borrowed += self._budget.borrow(above)
        limit = self.consumed + min(self.window, GUARANTEED_WINDOW + self._borrowed)
        if limit <= self.limit:
            self._give_back()
            return False
        self.limit = limit
        return True

    def _give_back(self) -> None:
        over = self._borrowed - max(0, self.limit - self.consumed - GUARANTEED_WINDOW)
        if over > 0:
            self._borrowed -= over
            self._budget.give_back(over)

    def _hold(self, offset: int, end: int, data: memoryview) -> None:
        """Keep what is missing yet of the bytes from `offset` to `end`."""
        if self._starts is _NONE:
            self._starts, self._parts = [], []
        starts, parts = self._starts, self._parts
        index = bisect_right(starts, offset)
        position = offset
        if index:
            before = starts[index - 1] + len(parts[index - 1])
            position = max(position, before)
        while position < end:
            gap_end = min(end, starts[index]) if index < len(starts) else end
            if gap_end > position:
                piece = data[position - offset : gap_end - offset]
                if index and starts[index - 1] + len(parts[index - 1]) == position:
                    parts[index - 1] += piece
                else:
                    if len(parts) >= MAXIMUM_PIECES:
                        raise wrong(f"a stream has more than {MAXIMUM_PIECES} pieces apart")
                    starts.insert(index, position)
                    parts.insert(index, bytearray(piece))
                    self.pieces += 1
                    index += 1
            if index >= len(starts):
                return
            position = max(gap_end, starts[index] + len(parts[index]))
            index += 1
