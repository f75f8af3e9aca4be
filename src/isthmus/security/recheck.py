"""Asking again whether entries still stand that were found somewhere else (a directory), off the loop.

`vouches` answers at once with what is known. What is older than `every` seconds is asked about meanwhile, by
one thread that is there only as long as there is something to ask. What cannot be found out stays as it was.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from isthmus.security.login import LoginUnavailable

log = logging.getLogger(__name__)

MAXIMUM_ENTRIES = 10_000
"""Entries that are known; of more, those are forgotten, and begun with again, that were added first."""

Entry = tuple[str, str]
"""Subject and stamp."""


class Recheck:
    """`ask(subject, stamp)` says whether the entry still stands; it may take its time, and raise
    `LoginUnavailable`. `every` is in seconds, 0 for never. `what` is asked, for the log.
    """

    def __init__(
        self,
        what: str,
        every: float,
        ask: Callable[[str, str], bool],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._what = what
        self._every = every
        self._ask = ask
        self._clock = clock
        self._lock = threading.Lock()
        self._asked: OrderedDict[Entry, float] = OrderedDict()  # when each was last found to stand
        self._gone: OrderedDict[Entry, None] = OrderedDict()
        self._due: OrderedDict[Entry, None] = OrderedDict()
        self._under_way: Entry | None = None
        self._running = False
        self._silent = False  # it did not answer the last time

    def vouches(self, subject: str, stamp: str) -> bool:
        """Whether the entry stands, as far as is known. Does not wait."""
        if not self._every or not stamp:
            return True
        entry, now = (subject, stamp), self._clock()
        with self._lock:
            if entry in self._gone:
                return False
            asked = self._asked.setdefault(entry, now)
            if len(self._asked) > MAXIMUM_ENTRIES:
                self._due.pop(self._asked.popitem(last=False)[0], None)
            if now - asked < self._every or entry == self._under_way:
                return True
            self._due[entry] = None
            if self._running:
                return True
            self._running = True
        threading.Thread(target=self._work, name="isthmus-recheck", daemon=True).start()
        return True

    def found(self, subject: str, stamp: str) -> None:
        """The entry was found just now, by a login."""
        with self._lock:
            self._gone.pop((subject, stamp), None)
            if (subject, stamp) in self._asked:
                self._asked[(subject, stamp)] = self._clock()

    def _work(self) -> None:
        while True:
            with self._lock:
                self._under_way = None
                if not self._due:
                    self._running = False
                    return
                entry, _ = self._due.popitem(last=False)
                self._under_way = entry
            try:
                stands = self._ask(*entry)
            except LoginUnavailable as error:
                if not self._silent:
                    log.warning(
                        "%s cannot be asked again; what it vouched for goes on: %s", self._what, error
                    )
                self._silent, stands = True, True
            except Exception as error:
                log.error("%s could not be asked again", self._what, exc_info=error)
                stands = True
            else:
                self._silent = False
            with self._lock:
                if stands:
                    if entry in self._asked:
                        self._asked[entry] = self._clock()
                else:
                    self._asked.pop(entry, None)
                    self._gone[entry] = None
                    if len(self._gone) > MAXIMUM_ENTRIES:
                        self._gone.popitem(last=False)
