"""Reads the parts of an open file in the `directory` service's threads, one piece ahead of what is sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from isthmus.services.directory_ranges import Range
from isthmus.services.directory_tree import File

PIECE = 1024 * 1024
"""How much of a file is read at a time; in bytes. Two pieces are held: one is sent while the next is read."""


class Reader:
    """Owns an open file. Not more than one piece is read at a time."""

    def __init__(self, file: File, threads: ThreadPoolExecutor) -> None:
        self._file = file
        self._threads = threads
        self._reading: Future[bytes] | None = None

    async def pieces(self, body: Sequence[bytes | Range], first: bytes) -> AsyncIterator[bytes]:
        """Yield `body` in pieces, its ranges read from the file; `first` is what the first range begins with.

        Raises `OSError` if the file cannot be read or does not have that much any more.
        """
        cuts = _cut(body)
        cut = next(cuts, None)
        while cut is not None:
            if isinstance(cut, bytes):
                piece = cut
            else:
                piece, first = first or await self._next(cut), b""
                if len(piece) < len(cut):
                    raise OSError(f"{self._file.names[-1]} became shorter while it was sent")
            cut = next(cuts, None)
            if isinstance(cut, Range) and not first:
                self._begin(cut)
            yield piece

    def close(self) -> None:
        """Close the file, but not under a thread that is reading it: its descriptor could be another's by
        then.
        """
        if self._reading is None:
            self._file.handle.close()
        else:
            self._reading.add_done_callback(lambda _: self._file.handle.close())

    def _begin(self, cut: Range) -> None:
        self._reading = self._threads.submit(self._file.read, cut.start, len(cut))

    async def _next(self, cut: Range) -> bytes:
        if self._reading is None:
            self._begin(cut)
        assert self._reading is not None
        piece = await asyncio.wrap_future(self._reading)
        self._reading = None
        return piece


def _cut(body: Sequence[bytes | Range]) -> Iterator[bytes | Range]:
    """Yield `body` with its ranges in pieces."""
    for part in body:
        if isinstance(part, bytes):
            yield part
        else:
            for start in range(part.start, part.stop, PIECE):
                yield Range(start, min(start + PIECE, part.stop))
