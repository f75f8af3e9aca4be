"""Writing log lines without ever waiting for whoever takes them: a bounded queue and a thread behind it.

A terminal that is stopped, a pipe that nobody reads, a disk that hangs: none of these may hold up the loop.
What does not fit into the queue is dropped, counted, and told as soon as something can be written again.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

LIMIT = 1024 * 1024
"""Characters that wait at most."""


class Writer:
    """Hands what is `put` to `write`, in order, in a thread of its own.

    `write` may block and must not raise. `lost(n)` makes the line that says that n lines were dropped.
    """

    def __init__(self, write: Callable[[str], None], lost: Callable[[int], str], limit: int = LIMIT) -> None:
        self._write = write
        self._lost = lost
        self._limit = limit
        self._changed = threading.Condition()
        self._lines: deque[str] = deque()
        self._size = 0  # of what waits and of what is being written
        self._dropped = 0
        self._stopping = False
        # A daemon: a process that ends must not wait for a pipe that nobody reads.
        self._thread = threading.Thread(target=self._run, name="isthmus-log", daemon=True)
        self._thread.start()

    def put(self, line: str) -> None:
        """Write `line` soon, or drop it. Never blocks."""
        with self._changed:
            if self._size + len(line) > self._limit:
                self._dropped += 1
                return
            self._lines.append(line)
            self._size += len(line)
            self._changed.notify()

    def stop(self, seconds: float) -> bool:
        """Write what waits, for `seconds` at most; tell whether all of it was."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not (self._lines or self._dropped or self._stopping):
                    self._changed.wait()
                if not (self._lines or self._dropped):
                    return
                text = "".join(self._lines)
                self._lines.clear()
                dropped, self._dropped = self._dropped, 0
            self._write(text + (self._lost(dropped) if dropped else ""))
            with self._changed:
                self._size -= len(text)
