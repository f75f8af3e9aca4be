"""One flow of a session: datagrams of one UDP conversation, each whole or not at all (docs/span.md).

opener                                         acceptor
open(), send() -> FLOW with the datagram .....  Handler.flow_opened, Handler.datagrams
                  FLOW, until FLOWING came ...  accept() -> FLOWING
send()         -> DATAGRAM ...................  Handler.datagrams
either side: end() -> ENDED, and both have forgotten it
"""

from __future__ import annotations

from typing import Any


class Flow:
    """A flow. `id` and `origin` are for reading, `owner` is the handler's, the rest is the engine's.

    `over` says that the handler hears nothing more of it. `size` is what `waiting` counts for, in bytes.
    """

    __slots__ = ("accepted", "arrived", "id", "origin", "ours", "over", "owner", "queued", "size", "waiting")

    def __init__(self, flow_id: int, *, ours: bool, origin: str) -> None:
        self.id = flow_id
        self.ours = ours  # this side opened it
        self.origin = origin
        self.owner: Any = None
        self.accepted = False  # the acceptor has said so
        self.over = False
        self.queued = False  # has a turn to come
        self.waiting: list[tuple[float, bytes]] | None = None  # when each came, and what it is
        self.arrived: list[bytes] | None = None  # and is to be handed on
        self.size = 0
