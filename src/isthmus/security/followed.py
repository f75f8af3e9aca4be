"""A file that is read again when it has changed; what is wrong with it later leaves what was read before."""

from __future__ import annotations

import logging
import os
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from isthmus.errors import IsthmusError, KeystoreError

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""How long a file is believed to be unchanged after a look at it."""
MAXIMUM_SIZE = 16 * 1024 * 1024

Content = TypeVar("Content")
Stamp = tuple[int, int, int]


class Followed(Generic[Content]):
    """What `read` makes of the bytes of a file, looked at every `look` seconds. Any thread may ask for it.

    Making one reads it and raises what `read` raises, or `KeystoreError` for a file that cannot be read.
    Later that is an error in the log, once for each change. `secret` warns of a file that others may read.
    """

    def __init__(
        self,
        path: Path,
        what: str,
        read: Callable[[bytes], Content],
        *,
        secret: bool = True,
        look: float = LOOK_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = path
        self._what = what
        self._read = read
        self._secret = secret
        self._clock = clock
        self._lock = threading.Lock()
        self._seen = self._stamp()
        self._every = look
        self._look_at = clock() + look
        self._content = read(self._bytes())

    def current(self) -> Content:
        """Return what the file holds: the same object until it has changed. Must not be slow."""
        now = self._clock()
        if now >= self._look_at:
            with self._lock:
                if now >= self._look_at:
                    self._look_at = now + self._every
                    self._look()
        return self._content

    def _look(self) -> None:
        seen = self._stamp()
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._content = self._read(self._bytes())
        except IsthmusError as error:
            log.error("%s; what was read before stays in use", error)
        else:
            log.info("%s %s has changed and is taken up", self._what, self.path)

    def _stamp(self) -> Stamp | None:
        try:
            facts = self.path.stat()
        except OSError:
            return None
        return facts.st_mtime_ns, facts.st_size, facts.st_ino

    def _bytes(self) -> bytes:
        try:
            with self.path.open("rb") as stream:
                facts = os.fstat(stream.fileno())
                data = stream.read(MAXIMUM_SIZE + 1)
        except OSError as error:
            reason = error.strerror or str(error)
            raise KeystoreError(f"{self._what} {self.path} cannot be read: {reason}") from error
        if len(data) > MAXIMUM_SIZE:
            raise KeystoreError(f"{self._what} {self.path} is larger than 16 MiB")
        if self._secret and os.name == "posix" and stat.S_IMODE(facts.st_mode) & 0o007:
            hint = f"chmod o= {self.path}"
            log.warning("%s %s can be read by everybody on this machine: %s", self._what, self.path, hint)
        return data
