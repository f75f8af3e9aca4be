"""One stream of a session: two directions, and what has to be told about it.

opener                                        acceptor
open()      -> OPEN ...........................  Handler.stream_opened
opened      <- OPENED .........................  accept()
write_eof() -> FIN ............................  Handler.eof
forgotten when both directions are complete, or a RESET was answered CLOSED (docs/span.md section 5)
"""

from __future__ import annotations

from typing import Any

from isthmus.span.limits import EARLY_DATA, GUARANTEED_WINDOW, LARGEST_STORE, Budget
from isthmus.span.receive_side import ReceiveSide
from isthmus.span.send_side import NEVER, SendSide

# What is to be said of a stream, as bits of `needs`.
NEEDS_OPEN = 1
NEEDS_OPENED = 2
NEEDS_RESET = 4
NEEDS_ACK = 8
ANSWERS = NEEDS_OPENED | NEEDS_ACK


class Stream:
    """A stream. `id` and `origin` are for reading, `owner` is the handler's, the rest is the engine's.

    `over` says that the handler hears nothing more of it: it was reset, or it ended whole.
    """

    __slots__ = (
        "_send_budget",
        "_send_charged",
        "answer_slot",
        "behind",
        "blocked",
        "deficit",
        "end_acknowledged",
        "eof_told",
        "id",
        "needs",
        "opened",
        "origin",
        "ours",
        "over",
        "owed",
        "owner",
        "receive",
        "reset_code",
        "reset_text",
        "resetting",
        "scheduler",
        "send",
        "state_slot",
    )

    def __init__(
        self, stream_id: int, ours: bool, receive: ReceiveSide, send: SendSide, send_budget: Budget
    ) -> None:
        self.id = stream_id
        self.ours = ours  # this side opened it
        self.origin = ""
        self.owner: Any = None
        self.send = send
        self.receive = receive
        self.opened = False  # OPENED came, or was asked to be sent
        self.over = False
        self.eof_told = False
        self.owed = False  # an ACK, which may wait
        self.end_acknowledged = False  # an ACK of the peer's end was sent
        self.resetting = False  # our RESET waits for CLOSED
        self.reset_code = 0
        self.reset_text = ""
        self.needs = 0
        self.state_slot = NEVER  # on which OPEN, OPENED or RESET went last
        self.answer_slot = NEVER  # which brought what is to be answered
        self.blocked = False  # the application was told to stop writing
        self.scheduler: Any = None  # which has it
        self.behind: Stream | None = None  # the next in a queue of that
        self.deficit = 0
        self._send_budget = send_budget
        self._send_charged = 0

    def send_limit(self) -> int:
        """Up to which offset may be sent now."""
        limit = self.send.limit
        if self.opened:
            return limit
        return min(limit, EARLY_DATA) if self.ours else 0

    def room(self) -> int:
        """Return how many bytes may still be written before the application has to wait; not positive: stop.

        The store holds what the peer's limit lets out, at most 16 MiB, of which 64 KiB are the stream's own
        and the rest is borrowed from the session's budget.
        """
        acked = self.send.acked
        wanted = GUARANTEED_WINDOW
        if self.opened and self.send.limit > acked + GUARANTEED_WINDOW:
            wanted = min(self.send.limit - acked, LARGEST_STORE)
        free = max(0, self._send_budget.size - self._send_budget.used)
        most = GUARANTEED_WINDOW + self._send_charged + free
        return min(wanted, most) - (self.send.end - acked)

    def unblocks(self) -> bool:
        """Whether an application that waits may write again: a fifth of what may be stored is free."""
        return self.blocked and self.room() * 4 >= self.send.end - self.send.acked

    def charge(self) -> None:
        """Account for the bytes that are stored now.

        One write may take the store beyond what `room` gave: `used` may pass `size` by that much.
        """
        above = self.send.end - self.send.acked - GUARANTEED_WINDOW
        if above < 0:
            above = 0
        if above != self._send_charged:
            self._send_budget.used += above - self._send_charged
            self._send_charged = above

    def complete(self) -> bool:
        """Whether both directions are: our FIN is acknowledged, the peer's end is here and acknowledged."""
        return self.send.fin_acked and self.end_acknowledged

    def drop(self) -> list[tuple[int, int]]:
        """Forget all bytes, and give back what was borrowed for them; returns what `SendSide.drop` does."""
        dropped = self.send.drop()
        self.charge()
        self.receive.drop()
        return dropped
