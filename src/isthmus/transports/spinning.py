"""Polling for a moment before sleeping, where that has paid: an answer that is about to come finds us awake.

To put a process to sleep and to wake it takes longer than all that a gateway does for a small message, most
of all on a virtual machine, whose idle processors have to be given back to it. A loop that waits for answers
again and again is told to poll a little instead, while nothing else wants its processor (`sched_yield`). What
that costs is bounded: each wait that was over soon earns one, each poll in vain costs `_COST` of them. A loop
whose events are further apart than `LONGEST`, or that has much to do for each, never polls.
"""

from __future__ import annotations

LONGEST = 100e-6
"""Seconds of polling before the loop sleeps after all; a wait that is over by then has been a short one."""
_BRIEF = 50e-6
"""Seconds of work between two waits; a loop that works for longer moves bulk, which loses nothing asleep."""
_COST = 64
"""Short waits that have to be earned for each poll in vain: 1.6 us of processor time for each of them."""
_MOST = 4 * _COST
"""Short waits that are remembered."""


class Spinning:
    """When one loop may poll, and what it has earned. `now` is a time in seconds of one clock.

    With a `longest` of 0 it never does.
    """

    __slots__ = ("_began", "_brief", "_earned", "_ended", "_longest", "_polls")

    def __init__(self, longest: float = LONGEST) -> None:
        self._longest = longest
        self._began = 0.0  # the wait
        self._ended = 0.0  # the last one
        self._earned = 0
        self._brief = False  # there was little to do before this wait
        self._polls = False  # it begins with polling

    def begin(self, now: float) -> float:
        """A wait begins. Return how many seconds to poll before sleeping, 0 for not at all."""
        self._began = now
        self._brief = now - self._ended < _BRIEF
        self._polls = self._brief and self._earned >= _COST
        return self._longest if self._polls else 0.0

    def end(self, now: float) -> None:
        """The wait is over. One that was interrupted need not be ended."""
        self._ended = now
        if now - self._began < self._longest:
            if self._brief and self._earned < _MOST:
                self._earned += 1
        elif self._polls:
            self._earned -= _COST
