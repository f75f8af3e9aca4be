"""Which streams of the peer were opened here at some time (docs/span.md section 5, Remembering)."""

from __future__ import annotations

from isthmus.span.frames import wrong
from isthmus.span.limits import MAXIMUM_AHEAD


class OpenedStreams:
    """The ids of one parity that were opened: all below `below`, and a few above.

    Bounded: an id more than 131,072 above `below` is an error.
    """

    __slots__ = ("_above", "below")

    def __init__(self, first: int) -> None:
        self.below = first
        self._above: set[int] = set()

    def __contains__(self, stream: int) -> bool:
        return self.has(stream)

    def __len__(self) -> int:
        return len(self._above)

    def has(self, stream: int) -> bool:
        """Whether `stream` was opened."""
        return stream < self.below or (len(self._above) > 0 and stream in self._above)

    def add(self, stream: int) -> None:
        """Note that `stream` was opened. Raises SpanError if it is too far ahead."""
        if stream == self.below:
            self.below += 2
            while self._above and self.below in self._above:
                self._above.remove(self.below)
                self.below += 2
        elif stream > self.below:
            if stream - self.below > MAXIMUM_AHEAD:
                raise wrong(f"stream {stream} is too far above {self.below}, which was never opened")
            self._above.add(stream)

    def above(self) -> list[int]:
        """Return the ids above `below`, in order."""
        return sorted(self._above)
