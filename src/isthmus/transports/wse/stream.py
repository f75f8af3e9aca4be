"""An emulated WebSocket as the transport below a WebSocket: what both roles share.

What is above writes and reads frames of RFC 6455, as over a connection (`wse.translation`). How they get over
is what a role adds: in the answers of one server (`accepted`), in the requests of a client (`connected`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from isthmus.errors import StreamReset
from isthmus.transports.base import Receiver, peer_name
from isthmus.transports.tcp import DEFAULT_WRITE_LIMIT
from isthmus.websocket.frames import Role
from isthmus.websocket.mask import Buffer
from isthmus.wse import EmulationError
from isthmus.wse.encodings import Encoding
from isthmus.wse.translation import Inward, Outward

log = logging.getLogger(__name__)

_PONG = {Role.SERVER: b"\x8a\x80\0\0\0\0", Role.CLIENT: b"\x8a\0"}
"""What a peer would have sent to a side of that role."""


class EmulatedStream:
    """The `Transport` that both roles are. `known` is what `info` tells."""

    def __init__(self, role: Role, encoding: Encoding, pings: bool, known: dict[str, Any]) -> None:
        self.loop = asyncio.get_running_loop()
        self.over = False
        """Whether nothing comes or goes any more."""
        self.broken = False
        """Whether it did not end in order."""
        self._role = role
        self._known = known
        self._receiver: Receiver | None = None
        self._outward = Outward(role, encoding, pings=pings)
        self._inward = Inward(role, pings=pings)
        self._high = DEFAULT_WRITE_LIMIT
        self._writing_paused = False
        self._reading_paused = True
        self._closing = False

    @property
    def peer(self) -> str:
        """Who is at the other end, for the log."""
        return peer_name(self._known.get("peername"))

    # --- what a role adds

    def _send(self, buffers: list[Buffer]) -> None:
        """Send frames; those that are not sent at once are to be copied."""
        raise NotImplementedError

    def _end_output(self, *, in_order: bool) -> None:
        """No frame follows: end the last body, in order or so that the peer sees a reset."""
        raise NotImplementedError

    def _reading(self, on: bool) -> None:
        """Have what brings frames read, or not."""
        raise NotImplementedError

    def _let_go(self) -> None:
        """End whatever is under way: it is over."""
        raise NotImplementedError

    # --- from above (Transport)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.over or self._outward.closed:
            return
        buffers = self._outward.translate(data)
        if buffers:
            self._send(buffers)
        self._written()

    def writelines(self, parts: Sequence[bytes | bytearray | memoryview]) -> None:
        if self.over or self._outward.closed:
            return
        buffers: list[Buffer] = []
        for part in parts:
            buffers += self._outward.translate(part)
        if buffers:
            self._send(buffers)
        self._written()

    def _written(self) -> None:
        if self._outward.closed:
            self._end_output(in_order=not self._outward.broken)
        elif self._outward.unanswered:  # its peer knows no pings: it lives as long as its connections do
            self._outward.unanswered = False
            self.loop.call_soon(self._deliver, memoryview(bytearray(_PONG[self._role])))

    def write_eof(self) -> None:
        """A WebSocket ends with a Close, never so."""

    def pause_reading(self) -> None:
        if not self._reading_paused:
            self._reading_paused = True
            self._reading(False)

    def resume_reading(self) -> None:
        if self._reading_paused and not self.over:
            self._reading_paused = False
            self._reading(True)

    def set_write_limit(self, high: int) -> None:
        self._high = high

    def unsent(self) -> int:
        raise NotImplementedError

    def set_receiver(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def close(self) -> None:
        raise NotImplementedError

    def abort(self) -> None:
        self.lose(StreamReset("the connection was aborted by this gateway"))

    def info(self, name: str) -> Any:
        return self._known.get(name)

    # --- to above

    def _take(self, body: memoryview) -> None:
        """Hand on the frames of the next bytes of a body. Raises EmulationError."""
        for piece in self._inward.translate(body):
            self._deliver(piece)

    def _deliver(self, piece: memoryview) -> None:
        if self._receiver is not None and not self.over:
            self._receiver.data_received(piece)

    def _pressure(self) -> None:
        """Tell what is above whether it may write, by how much is unsent."""
        receiver = self._receiver
        if receiver is None or self.over:
            return
        unsent = self.unsent()
        if not self._writing_paused and unsent > self._high:
            self._writing_paused = True
            receiver.pause_writing()
        elif self._writing_paused and unsent <= self._high // 2:
            self._writing_paused = False
            receiver.resume_writing()

    def broke(self, error: EmulationError) -> None:
        """The peer has sent what cannot be read."""
        log.info("%s: %s; the emulated WebSocket is lost", self.peer, error)
        self.lose(StreamReset(f"the peer broke the WebSocket emulation: {error}"))

    def lose(self, error: Exception | None) -> None:
        """It is over: with bytes possibly missing, or in order (None)."""
        if self.over:
            return
        self.over = True
        self.broken = error is not None
        self._let_go()
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            self.loop.call_soon(receiver.connection_lost, error)
