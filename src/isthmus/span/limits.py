"""What bounds a session (docs/span.md section 8), and the budget its streams share."""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB

EARLY_DATA = 16 * KIB  # before OPENED
GUARANTEED_WINDOW = 64 * KIB
FIRST_WINDOW = 256 * KIB
LARGEST_STORE = 16 * MIB  # of what one stream has to send
MAXIMUM_SLOTS = 16
MAXIMUM_PIECES = 4_096  # of one stream that are apart
MAXIMUM_AHEAD = 131_072  # of a stream before the lowest that was never opened
LARGEST_DATA = MIB
LEAST_DATA = 4 * KIB
OVERHEAD = 64  # what a datagram that waits counts for beside its bytes, so that empty ones are limited, too
FLOWS_REMEMBERED = 4_096  # of the peer's that have ended, so that a FLOW that comes late opens none again
FLOWS_BEHIND = 131_072  # a flow so far below the newest of its side is over
ACKNOWLEDGE_EVERY = 32 * KIB  # bytes of any streams of a session


@dataclass(frozen=True, slots=True)
class Limits:
    """The settings of a session. Sizes are in bytes, times in seconds."""

    maximum_message: int = MIB + 64 * KIB
    maximum_streams: int = 10_000
    grace: float = 300.0
    ping_deadline: float = 10.0
    handshake_timeout: float = 10.0
    acknowledge_within: float = 0.025
    largest_window: int = 16 * MIB
    receive_budget: int = 64 * MIB
    send_budget: int = 64 * MIB
    maximum_flows: int = 0  # of the peer; none, where nobody takes datagrams
    flow_delay: float = 0.05  # how long a datagram may wait until it goes out
    flow_pending: int = 64 * KIB  # what may wait of one flow, 64 bytes counted for each beside its own
    flows_pending: int = 4 * MIB  # and of all flows of a session


class Budget:
    """Memory that streams borrow from, beyond what each is guaranteed; several sessions may share one.

    `borrow` never lets `used` pass `size`. `shortages` counts how often there was less than was wanted.
    """

    __slots__ = ("shortages", "size", "used")

    def __init__(self, size: int) -> None:
        self.size = size
        self.used = 0
        self.shortages = 0

    def borrow(self, wanted: int) -> int:
        """Take up to `wanted` bytes; return how many there were."""
        granted = min(wanted, self.size - self.used)
        if granted < 0:
            granted = 0
        self.used += granted
        self.shortages += granted < wanted
        return granted

    def give_back(self, size: int) -> None:
        """Return what was borrowed."""
        self.used -= size
        assert self.used >= 0
