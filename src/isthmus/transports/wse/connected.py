"""One emulated WebSocket that this side has created at a server: requests upstream, answers downstream.

Upstream, all that waits goes in one request, and the next follows its answer: each is complete at once, so
that a proxy that collects requests holds nothing back. Downstream there is one long answer, or one short one
after the other.

Whether a long answer comes through is found out with a ping: its pong, or anything else, must be there within
a time. If not, short answers are asked for beside it. The server then ends the long one, which sets free
what is held on the way, so nothing is lost. As some boxes hand on what is much and hold what is little, this
is looked at again with what is sent after a silence.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from typing import Any

from isthmus.errors import ConnectError, StreamReset
from isthmus.transports.base import Connector
from isthmus.transports.ways import Way
from isthmus.transports.wse.request import Requester
from isthmus.transports.wse.stream import EmulatedStream
from isthmus.websocket.frames import Role
from isthmus.websocket.handshake import HandshakeError, HandshakeRefused, ResponseHead, refused_with
from isthmus.websocket.mask import Buffer
from isthmus.wse import EmulationError
from isthmus.wse.encodings import BINARY
from isthmus.wse.frames import NOP, PING, RECONNECT
from isthmus.wse.requests import Asking

log = logging.getLogger(__name__)

AT_A_TIME = 256 * 1024
"""Bytes that may wait for the next request upstream before what is above is paused; it takes so many, and
one write more: many a proxy lets no request pass that is above 1 MiB.
"""
MAXIMUM_HELD = 1024 * 1024
"""Bytes that may come before it is known which way they come."""
QUIET_SECONDS = 1.0
"""After so long a silence downstream a request upstream has a ping in it."""
CLOSING_SECONDS = 10.0
"""How long the last request of a WebSocket that ends may take."""
SILENT_BEATS = 3
"""After how many heartbeats of the server that did not come an answer is given up."""
_HEARTBEAT = 60.0  # of a server that does not say
_LOOKS = 4  # in that time

Proven = Callable[[Way, bytearray], None]
"""Is told which way frames come, and which bytes (of RFC 6455) have come already."""


class ConnectedStream(EmulatedStream):
    """One emulated WebSocket, over `below`. `upstream` is how to send to it; `targets` up and down.

    `start` begins; then either `proven` or `failed` is called, once, and never before that returns.
    """

    def __init__(
        self,
        below: Connector,
        origin: str,
        upstream: Requester,
        asking: Asking,
        targets: tuple[str, str],
        known: dict[str, Any],
    ) -> None:
        super().__init__(Role.CLIENT, BINARY, True, known)
        self.asking = asking
        self.target = targets[1]
        self.next_down = 1
        self._below = below
        self._origin = origin
        self._up_target = targets[0]
        self._next_up = 1
        self._requester = upstream
        self._queue: list[bytes] = []
        self._queued = 0
        self._flying = 0  # bytes of the request upstream that is under way
        self._posting_asked = False
        self._ended = False  # no frame follows those that wait
        self._done = False  # and all were taken
        self._answers: list[Downstream] = []  # the first is read, others wait for its end
        self._proven: Proven | None = None
        self._failed: Callable[[Exception], None] | None = None
        self._probe: asyncio.TimerHandle | None = None
        self._early = bytearray()
        self._farewell: asyncio.TimerHandle | None = None
        self.collapsed: Callable[[], object] | None = None
        """Is told that a long answer does not come through after all; None: it must."""
        self._heard_at = -math.inf
        self._patience = 0.0  # how long the answer to a ping may take
        self._pinged = False  # the request that is under way has one
        self._confirming: asyncio.TimerHandle | None = None

    @property
    def paused(self) -> bool:
        """Whether what is above reads nothing for now."""
        return self._reading_paused

    def start(
        self, way: Way | None, seconds: float, proven: Proven, failed: Callable[[Exception], None]
    ) -> None:
        """Begin, by `way`; None: find out whether a long answer comes through within `seconds`."""
        self._proven, self._failed = proven, failed
        self._reading_paused = False
        self._patience = seconds
        short = way is Way.SHORT
        self._ask(short=short)
        if way is None:
            self._probe = self.loop.call_later(seconds, self._not_streaming)
            self._queue.append(PING)
            self._queued += len(PING)
            self._post_soon()
        else:
            self.loop.call_soon(self._prove, way)

    def _not_streaming(self) -> None:
        """Nothing has come of the long answer: ask for short ones."""
        self._probe = None
        if not self.over and self._proven is not None:
            self._ask(short=True)

    def held_back(self) -> None:
        """Nothing comes of the long answer, though something should: ask for short ones from now on."""
        self._stop_confirming()
        collapsed, self.collapsed = self.collapsed, None
        if collapsed is None or self.over or self.paused or not self._answers or self._answers[-1].short:
            return
        log.info("%s: a long answer does not come through; short ones from now on", self.peer)
        self._known["emulation"] = Way.SHORT
        collapsed()
        self._ask(short=True)

    def _stop_confirming(self) -> None:
        if self._confirming is not None:
            self._confirming.cancel()
            self._confirming = None

    def _prove(self, way: Way) -> None:
        if self._probe is not None:
            self._probe.cancel()
            self._probe = None
        proven, self._proven, self._failed = self._proven, None, None
        if proven is None or self.over:
            return
        self._known["emulation"] = way
        early, self._early = self._early, bytearray()
        proven(way, early)

    # --- downstream

    def _ask(self, *, short: bool) -> None:
        requester = Requester(self._below, self._origin)
        self._answers.append(Downstream(self, requester, short=short, current=not self._answers))
        self._answers[-1].ask()

    def frames(self, answer: Downstream, piece: memoryview) -> None:
        """Take the next bytes of the answer that is read. Raises HandshakeError."""
        self._heard_at = self.loop.time()
        self._stop_confirming()
        try:
            self._take(piece)
        except EmulationError as error:
            raise HandshakeError(502, str(error)) from error

    def _deliver(self, piece: memoryview) -> None:
        if self._proven is None:
            super()._deliver(piece)
            return
        self._early += piece
        if len(self._early) > MAXIMUM_HELD:
            raise EmulationError("too much came too early")
        if self._answers:  # what comes of a long one when short ones were asked for was held until then
            self.loop.call_soon(self._prove, Way.SHORT if self._answers[-1].short else Way.STREAMING)

    def begin_answer(self) -> None:
        """Another answer is read from now on."""
        self._inward.begin_body()

    def answer_over(self, answer: Downstream) -> None:
        """The answer that is read is complete: go on with the next."""
        decoder = self._inward.decoder
        if self._inward.closed:
            self._answers.remove(answer)
            answer.close()
            self.loop.call_soon(self._input_over)
        elif not decoder.reconnect or not decoder.whole:
            self.lose(StreamReset("an answer of the WebSocket emulation broke off"))
        elif len(self._answers) > 1:
            self._answers.remove(answer)
            answer.close()
            self._answers[0].become_current()
        else:
            answer.ask()

    def _input_over(self) -> None:
        if not self.over and self._receiver is not None:
            self._receiver.eof_received()

    def answer_failed(self, error: Exception) -> None:
        """An answer does not come, or broke off."""
        self.lose(error)

    def _reading(self, on: bool) -> None:
        for answer in self._answers[:1]:
            answer.requester.reading(on)

    # --- upstream

    def _send(self, buffers: list[Buffer]) -> None:
        self._queue.append(b"".join(buffers))  # whole frames, which no request may cut
        self._queued += len(self._queue[-1])
        self._post_soon()
        self._pressure()

    def _end_output(self, *, in_order: bool) -> None:
        self._ended = True
        self._post_soon()

    def _post_soon(self) -> None:
        """Send what waits, and what is written in this round of the loop."""
        if not self._posting_asked and not self._requester.busy and not self._done:
            self._posting_asked = True
            self.loop.call_soon(self._post)

    def _post(self) -> None:
        self._posting_asked = False
        if self.over or self._done or self._requester.busy or not (self._queue or self._ended):
            return
        taken = size = 0
        while taken < len(self._queue) and size < AT_A_TIME:
            size += len(self._queue[taken])
            taken += 1
        queue, self._queue = self._queue[:taken], self._queue[taken:]
        self._flying = size
        self._queued -= size
        self._done = self._ended and not self._queue
        quiet = self.loop.time() - self._heard_at >= QUIET_SECONDS
        if quiet and self.collapsed is not None and not self._outward.closed:
            self._pinged = True
            queue.append(PING)
        # A body that does not end in RECONNECT is a reset.
        queue.append(NOP if self._done and self._outward.broken else RECONNECT)
        head = self.asking.upstream(self._up_target, self._next_up, sum(map(len, queue)))
        self._next_up += 1
        self._requester.send([head, *queue], self)

    def answer_begun(self, head: ResponseHead) -> None:
        """A request upstream is answered."""
        if head.status != 200:
            raise HandshakeRefused(head.status, f"upstream: {refused_with(head)}", head.headers)

    def answer_piece(self, piece: memoryview) -> None:
        """What else an answer says does not matter."""

    def answer_ended(self) -> None:
        """What was sent upstream has been taken."""
        self._flying = 0
        if self._pinged:
            self._pinged = False
            if self._confirming is None and self.loop.time() - self._heard_at >= QUIET_SECONDS:
                self._confirming = self.loop.call_later(self._patience, self.held_back)
        if self._done and self._closing:
            self.lose(None)
            return
        self._pressure()
        if self._queue or self._ended:
            self._post_soon()

    # --- Transport

    def unsent(self) -> int:
        return self._queued + self._flying

    def _pressure(self) -> None:
        high, self._high = self._high, max(self._high, AT_A_TIME)
        super()._pressure()
        self._high = high

    def close(self) -> None:
        if self.over or self._closing:
            return
        self._closing = True
        if not self._ended:
            self._outward.broken = True
            self._end_output(in_order=False)
        if self._outward.broken:
            # Kaazing's gateway takes a reset from this: it answers no body that does not end in RECONNECT.
            answers, self._answers = self._answers, []
            for answer in answers:
                answer.close()
        if self._done and not self._requester.busy:
            self.lose(None)
        else:
            self._farewell = self.loop.call_later(CLOSING_SECONDS, self.abort)

    def lose(self, error: Exception | None) -> None:
        if self.over:
            return
        if self._closing and self._outward.broken:
            error = None  # as it was asked for
        failed, self._proven, self._failed = self._failed, None, None
        super().lose(error)
        if failed is not None:
            self.loop.call_soon(failed, error or StreamReset("it was closed at once"))

    def _let_go(self) -> None:
        for timer in (self._probe, self._farewell):
            if timer is not None:
                timer.cancel()
        self._stop_confirming()
        self._requester.close()
        answers, self._answers = self._answers, []
        for answer in answers:
            answer.close()
        self._queue, self._queued, self._flying = [], 0, 0


class Downstream:
    """Answers that bring frames, one after the other: long ones or `short` ones."""

    def __init__(self, stream: ConnectedStream, requester: Requester, *, short: bool, current: bool) -> None:
        self.requester = requester
        self.short = short
        self._stream = stream
        self._current = current
        self._timer: asyncio.TimerHandle | None = None
        self._heard = True
        self._silent = 0
        self._patience = _HEARTBEAT * SILENT_BEATS

    def ask(self) -> None:
        """Ask for an answer, or for the next."""
        stream = self._stream
        request = stream.asking.downstream(stream.target, stream.next_down, short=self.short)
        stream.next_down += 1
        if self._current:
            stream.begin_answer()
        else:
            self.requester.reading(False)
        self._watch()
        self.requester.send([request], self)

    def become_current(self) -> None:
        """What comes is read from now on."""
        self._current = True
        self._stream.begin_answer()
        self.requester.reading(True)

    def close(self) -> None:
        """Let go of it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.requester.close()

    def _watch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._heard = False
        self._silent = 0
        self._timer = self._stream.loop.call_later(self._patience / _LOOKS, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._heard or self._stream.paused:
            self._watch()
        elif self._silent == _LOOKS - 1:
            log.info("%s: the emulated WebSocket is silent for %g s", self._stream.peer, self._patience)
            self._stream.answer_failed(StreamReset(f"the server was silent for {self._patience:g} s"))
        else:
            self._silent += 1
            self._timer = self._stream.loop.call_later(self._patience / _LOOKS, self._look)
            if self._silent == _LOOKS // 2:
                self._stream.held_back()

    # --- from the requester (AnswerOwner)

    def answer_begun(self, head: ResponseHead) -> None:
        if head.status != 200:
            raise HandshakeRefused(head.status, f"downstream: {refused_with(head)}", head.headers)
        kind = (head.get("content-type") or "").partition(";")[0].strip().lower()
        if kind != BINARY.downstream_type:
            raise HandshakeError(502, "what it answers downstream is of a wrong type")
        told = head.get("x-idle-timeout") or ""
        if told.isascii() and told.isdigit() and len(told) < 6:
            self._patience = max(1.0, float(told)) * SILENT_BEATS
            self._watch()

    def answer_piece(self, piece: memoryview) -> None:
        self._heard = True
        self._stream.frames(self, piece)

    def answer_ended(self) -> None:
        self._stream.answer_over(self)

    def answer_failed(self, error: Exception) -> None:
        if isinstance(error, ConnectError | StreamReset):
            self._stream.answer_failed(error)
        else:
            reset = StreamReset(f"the WebSocket emulation: {error}")
            reset.__cause__ = error
            self._stream.answer_failed(reset)
