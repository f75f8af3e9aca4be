# cython: boundscheck=False
"""Which streams of a session its frames named last."""

from __future__ import annotations

from isthmus.span.stream import Stream

# Streams that are busy at the same time mostly have ids near each other. A power of two.
_PLACES = 256


class RecentStreams:
    """Finds the streams of a table by their id, those named lately without a look into the table.

    Each frame of data names a stream, and to look its number up in a dict costs more than the rest of what a
    small frame needs. So a stream keeps the place that its id gives it, until another of that place is named
    or it leaves the table: who takes it out of there says so with `forget`, or `clear` for all.
    """

    __slots__ = ("_places", "_table")

    def __init__(self, table: dict[int, Stream]) -> None:
        self._table = table
        self._places: list[Stream | None] = [None] * _PLACES

    def find(self, stream_id: int) -> Stream | None:
        """Return the stream of the table that has this id, None if there is none."""
        stream = self._places[_place(stream_id)]
        if stream is not None and stream.id == stream_id:
            return stream
        return self._look_up(stream_id)

    def _look_up(self, stream_id: int) -> Stream | None:
        stream = self._table.get(stream_id)
        if stream is not None:
            self._places[_place(stream_id)] = stream
        return stream

    def forget(self, stream: Stream) -> None:
        """Note that a stream is not in the table any more."""
        place = _place(stream.id)
        if self._places[place] is stream:
            self._places[place] = None

    def clear(self) -> None:
        """Note that the table is empty."""
        self._places = [None] * _PLACES


def _place(stream_id: int) -> int:
    """Return the place of an id; those of one side are all odd, or all even."""
    return stream_id >> 1 & _PLACES - 1  # always one of the list, of which no bounds are checked
