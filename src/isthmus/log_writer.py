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
IDLE_SECONDS = 1.0
"""How long the thread waits for more before it ends."""


class Writer:
    """Hands what is `put` to `write`, in order, in a thread that lives while there is something to write.

    `write` may block and must not raise. `lost(n)` makes the line that says that n lines were dropped.

    The thread does not stay: where a process has several, the kernel counts the users of a descriptor in
    each call on it, and a gateway that moves small messages does little but call it.
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
        self._thread: threading.Thread | None = None

    def put(self, line: str) -> None:
        """Write `line` soon, or drop it. Never blocks."""
        with self._changed:
            if self._size + len(line) > self._limit:
                self._dropped += 1
            else:
                self._lines.append(line)
                self._size += len(line)
            self._write_on()

    def stop(self, seconds: float) -> bool:
        """Write what waits, for `seconds` at most; tell whether all of it was."""
        with self._changed:
            self._stopping = True
            if self._waiting() or self._thread is not None:
                self._write_on()
            thread = self._thread
        if thread is not None:
            thread.join(seconds)
        with self._changed:
            return self._thread is None and not self._waiting()

    def _waiting(self) -> bool:
        return bool(self._lines or self._dropped)

    def _write_on(self) -> None:
        """Wake the thread, or start it. `_changed` is held."""
        if self._thread is not None:
            self._changed.notify()
            return
        # A daemon: a process that ends must not wait for a pipe that nobody reads.
        thread = threading.Thread(target=self._run, name="isthmus-log", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return  # the system has no thread to give: the next line tries again
        self._thread = thread

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting() or self._stopping, IDLE_SECONDS)
                if not self._waiting():
                    self._thread = None
                    return
                text = "".join(self._lines)
                self._lines.clear()
                dropped, self._dropped = self._dropped, 0
            self._write(text + (self._lost(dropped) if dropped else ""))
            with self._changed:
                self._size -= len(text)
