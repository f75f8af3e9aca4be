"""How much one carrier keeps in flight: what its way holds and a little more, so that no queue grows there.

in flight   bytes of DATA that were sent and neither acknowledged nor said to have arrived, wherever they are
rate        the best of what came to be so in a second, over the last windows of one round trip each
round trip  the smallest of the last ten seconds: what the way takes without a queue
cap         gain * rate * round trip, and what arrives while an acknowledgement waits for its time

The gain is 2 until the rate has stopped to grow, then 1.25. When the smallest round trip is ten seconds old,
the cap is lowered until almost nothing is in flight, and the way can be measured again.
"""

from __future__ import annotations

from isthmus.span.limits import ACKNOWLEDGE_EVERY, KIB, LARGEST_DATA, LEAST_DATA, MIB

_FIRST_CAP = 128 * KIB
_LEAST_CAP = 4 * LEAST_DATA
_FIRST_FRAME = 16 * KIB
_FRAME_TIME = 0.01
_SHORTEST_WINDOW = 0.1
_SHORTEST_AT_START = 0.005
_MUCH = MIB  # bytes in a window, of which its rate is known well after a shorter time
_WINDOWS = 8  # twice so many are remembered at most
_STARTING_GAIN = 2.0
_GAIN = 1.25
_GROWTH = 1.25
_FLAT_WINDOWS = 3
_ACKNOWLEDGE_WITHIN = 0.025
_ROUND = 0.01  # what comes in a round of the peer's loop may be acknowledged together
_LARGEST_ALLOWANCE = 128 * KIB
_MINIMUM_LASTS = 10.0


class Pacing:
    """The speed of one carrier, and what follows from it. Times are in seconds, rates in bytes a second.

    `round_trip` and `rate` are 0 while they are unknown. `held` is set by whoever had to stop sending because
    `full`. `limited` is set when there was nothing more to send: what is acknowledged then says little.
    """

    __slots__ = (
        "_acknowledged",
        "_arrived",
        "_best",
        "_best_before",
        "_flat",
        "_gone",
        "_grown_to",
        "_minimum_at",
        "_probed",
        "_sent",
        "_since",
        "_starting",
        "_windows",
        "cap",
        "flying_since",
        "frame_size",
        "held",
        "in_flight",
        "limited",
        "probing",
        "rate",
        "round_trip",
        "smoothed",
    )

    def __init__(self, now: float) -> None:
        self._sent = 0  # all that went out here
        self._gone = 0  # of that, what was acknowledged or is not waited for
        self._arrived = 0  # of that, what the peer said has come
        self.in_flight = 0
        self.flying_since = now  # when the last acknowledgement came, or something was first in flight
        self.cap = _FIRST_CAP
        self.rate = 0.0
        self.round_trip = 0.0
        self.smoothed = 0.0  # the round trip with its queues
        self.frame_size = _FIRST_FRAME
        self.held = False
        self.limited = False
        self.probing = False  # the cap is lowered
        self._probed = False  # its PING has gone, and is to be answered
        self._minimum_at = now
        self._acknowledged = 0  # since the window began
        self._since = now
        self._best = self._best_before = 0.0
        self._windows = 0
        self._starting = True
        self._grown_to = 0.0
        self._flat = 0

    def full(self) -> bool:
        """Whether as much is in flight as may be."""
        return self.in_flight >= self.cap

    def next_frame(self) -> int:
        """Return how large the next DATA frame may be: no larger than what may still go."""
        left = self.cap - self.in_flight
        return min(self.frame_size, left if left > LEAST_DATA else LEAST_DATA)

    def sent(self, size: int, now: float) -> None:
        """Note that so much DATA went out."""
        if self.in_flight == 0:
            if now - self.flying_since > _SHORTEST_WINDOW:
                self._begin(now)  # a pause is no slowness
            self.flying_since = now
        self._sent += size
        self.in_flight += size

    def forget(self, size: int) -> None:
        """Note that so much will not be acknowledged here: it was dropped, or goes elsewhere."""
        self._gone += size
        self._settle()

    def delivered(self, size: int, now: float) -> None:
        """Note that so much was acknowledged."""
        self._gone += size
        self._progress(now)

    def arrived(self, total: int, now: float) -> bool:
        """Note that so much came in all, as the peer says; return False if that cannot be."""
        if not self._arrived <= total <= self._sent:
            return False
        self._arrived = total
        self._progress(now)
        return True

    def _settle(self) -> int:
        """Return by how much less is in flight now.

        An acknowledgement waits for what other carriers bring, so what arrived may be known before.
        """
        before = self.in_flight
        self.in_flight = self._sent - max(self._gone, self._arrived)
        return before - self.in_flight

    def _progress(self, now: float) -> None:
        self._acknowledged += self._settle()
        self.flying_since = now
        elapsed = now - self._since
        shortest = _SHORTEST_AT_START if self._starting and self._acknowledged >= _MUCH else _SHORTEST_WINDOW
        if elapsed < shortest or elapsed < self.round_trip:
            return
        self._sample(self._acknowledged / elapsed)
        self._begin(now)
        if not self._probed and now - self._minimum_at > _MINIMUM_LASTS:
            self.probing = True
        self._follow()

    def probes(self) -> bool:
        """Whether a PING has to go now because the queue has drained for it; that is so once a probe.

        What follows the PING does not hold it up: the cap is as before at once.
        """
        if not self.probing or self.in_flight > self.cap:
            return False
        self.probing = False
        self._probed = True
        self._follow()
        return True

    def measured(self, seconds: float, now: float) -> None:
        """Note the round trip of the last PING; that of a probe replaces the smallest, whatever that was."""
        self.smoothed = self.smoothed + (seconds - self.smoothed) / 4 if self.smoothed else seconds
        if self._probed or self.round_trip == 0 or seconds <= self.round_trip:
            self.probing = self._probed = False
            self.round_trip = seconds
            self._minimum_at = now
            self._follow()

    def _begin(self, now: float) -> None:
        """Begin a window."""
        self._acknowledged = 0
        self._since = now
        self.limited = False

    def _sample(self, rate: float) -> None:
        if self.limited and rate <= self.rate:
            return
        self._windows += 1
        if self._windows > _WINDOWS:
            self._windows = 1
            self._best_before = self._best
            self._best = 0.0
        self._best = max(self._best, rate)
        self.rate = max(self._best, self._best_before)
        if self._starting and not self.limited:
            self._flat += 1
            if self.rate >= self._grown_to * _GROWTH:
                self._grown_to = self.rate
                self._flat = 0
            self._starting = self._flat < _FLAT_WINDOWS

    def _follow(self) -> None:
        """Set what depends on rate and round trip."""
        if self.rate == 0:
            return
        held = self.rate * self.round_trip
        if self.probing:
            self.cap = _LEAST_CAP
        else:
            gain = _STARTING_GAIN if self._starting else _GAIN
            # With the gain, too, or what is in flight never grew again where all waits for the timer.
            waiting = gain * self.rate * _ACKNOWLEDGE_WITHIN
            allowance = min(waiting, max(ACKNOWLEDGE_EVERY, self.rate * _ROUND))
            allowance = min(allowance, _LARGEST_ALLOWANCE)
            least = self.cap if self._starting else _LEAST_CAP
            self.cap = max(least, int(gain * held + allowance))
        least = self.frame_size if self._starting else LEAST_DATA
        self.frame_size = min(max(least, int(self.rate * _FRAME_TIME)), LARGEST_DATA)
