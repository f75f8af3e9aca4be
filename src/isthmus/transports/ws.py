"""A WebSocket as a transport: each chunk a binary message (plain mode, for any WebSocket peer).

A WebSocket has no half-close, so Close stands for the end of input (design: "layers without half-close"):

    what the peer does                                          what is above is told
    ---------------------------------------------------------------------------------------
    Close without code, with 1000, or 1001 from a client        eof_received
    Close with another code, connection lost without Close      connection_lost(StreamReset)

For a flow of datagrams `gather_messages` keeps the boundaries: one message is one datagram.

After one direction has ended the other goes on, as long as something moves at least every `close_timeout`
seconds. Until then a peer that is silent is given up (`inactivity_timeout`), an idle one is pinged (`idle`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Protocol, cast

from isthmus import layer
from isthmus.errors import StreamCut, StreamReset
from isthmus.transports.base import Receiver, Transport, peer_name
from isthmus.transports.keep_alive import IdleLimit, keep_alive
from isthmus.transports.tcp import in_flight
from isthmus.websocket.connection import Connection, Handler
from isthmus.websocket.frames import CloseCode, ProtocolError, Role

log = logging.getLogger(__name__)

_CLIENT_WAITS_FOR_SERVER = 2.0
"""Seconds a client leaves the server to close the connection first (RFC 6455, section 7.1.1)."""

_DISMISSED_MAY_READ = 2.0
"""Seconds that a client which may not go on has for what was sent to it before the Close."""

_LOOKS = 4
"""How often in each inactivity timeout a WebSocket is looked at."""
_NOT_READING = -1
_GATHERED = 64 * 1024
"""Bytes of messages that are written at a time, at least."""


class MessageReceiver(Receiver, Protocol):
    """What is above a WebSocket whose messages are datagrams."""

    def messages_received(self, messages: list[bytes]) -> None:
        """Whole messages came, at least one; the list is the callee's."""


class WebSocketTransport(Handler):
    """One open WebSocket over `below`. It is the receiver of `below` and the transport of what is above."""

    __slots__ = (
        "_answered",
        "_below",
        "_below_ended",
        "_close_timeout",
        "_closing",
        "_connection",
        "_eof_sent",
        "_heard",
        "_inactivity_timeout",
        "_inactivity_timer",
        "_keep_alive",
        "_maximum_message",
        "_messages",
        "_part",
        "_peer_closed",
        "_progress",
        "_queued",
        "_receiver",
        "_role",
        "_silent",
        "_timer",
    )

    def __init__(
        self,
        below: Transport,
        role: Role,
        maximum_message_size: int,
        close_timeout: float,
        inactivity_timeout: float = 0.0,
        idle: IdleLimit | None = None,
    ) -> None:
        self._below = below
        self._role = role
        self._receiver: Receiver | None = None
        self._connection = Connection(role, self, maximum_message_size=maximum_message_size)
        self._close_timeout = close_timeout
        self._closing = False
        self._eof_sent = False
        self._peer_closed = False
        self._below_ended = False  # the peer ended the connection in its direction
        self._answered = False  # the peer's Close came behind ours: it had all that we sent
        self._progress = 0  # bytes moved since the timer was set
        self._queued = 0  # bytes under way to the peer when the timer was set
        self._timer: asyncio.TimerHandle | None = None
        self._inactivity_timeout = inactivity_timeout
        self._inactivity_timer: asyncio.TimerHandle | None = None
        self._heard = 0  # something came since the inactivity timer was set
        self._silent = 0  # how often it rang in a row without that; below 0 while we do not read
        self._keep_alive = keep_alive(idle, self._connection, below)
        self._messages: list[bytes] | None = None  # whole messages of the read that is under way
        self._part: bytearray | None = None  # of a message that has not ended
        self._maximum_message = 0

    def start(self, receiver: Receiver) -> None:
        """Begin: become the receiver of what is below and tell `receiver` `connection_made`."""
        self._receiver = receiver
        self._below.set_receiver(self)
        if self._inactivity_timeout > 0:
            self._watch_for_life()
        receiver.connection_made(self)

    def gather_messages(self, maximum: int) -> None:
        """From now on tell the receiver, which is a `MessageReceiver`, whole messages, not their pieces.

        A message above `maximum` bytes comes as its first `maximum + 1`.
        """
        self._messages = []
        self._maximum_message = maximum

    # --- from below

    def connection_made(self, transport: Transport) -> None:
        """Not called: a WebSocket begins on a connection that is there."""

    def data_received(self, data: memoryview) -> None:
        self._heard = 1
        if self._keep_alive is not None:
            self._keep_alive.moved()
        try:
            self._connection.receive(data)
        except ProtocolError as error:
            log.info("%s: %s; closing with %d", self._peer(), error, error.code)
            self._give_up(
                self._connection.fail(error), StreamReset(f"the WebSocket peer broke the protocol: {error}")
            )
        if self._messages:
            self._tell_messages()

    def eof_received(self) -> None:
        self._below_ended = True
        if not self._peer_closed:
            self._below.abort()
            self._cut_off(StreamReset("the WebSocket connection ended without Close"))
        elif self._eof_sent:
            self._below.close()

    def pause_writing(self) -> None:
        self._connection.pause_control()
        if self._receiver is not None:
            self._receiver.pause_writing()

    def resume_writing(self) -> None:
        self._connection.resume_control()
        if self._receiver is not None:
            self._receiver.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        self._connection.transport_lost()
        harmless = error is None or self._answered or isinstance(error, StreamCut)
        if self._peer_closed and self._eof_sent and harmless:
            self._tell_lost(None)
        else:
            self._cut_off(error or StreamReset("the WebSocket connection ended without Close"))

    # --- from the WebSocket connection (connection.Handler)

    def message_data(self, data: memoryview, final: bool) -> None:
        receiver = self._receiver
        size = len(data)
        self._progress += size
        if self._messages is not None:
            self._gather(data, final)
        elif size and receiver is not None and not self._closing:
            layer.deliver(receiver, data)

    def _gather(self, data: memoryview, final: bool) -> None:
        part = self._part
        if self._messages is None:
            return
        if part is None and final and len(data) <= self._maximum_message:
            self._messages.append(bytes(data))
            return
        if part is None:
            part = self._part = bytearray()
        part += data[: self._maximum_message + 1 - len(part)]
        if final:
            self._messages.append(bytes(part))
            self._part = None

    def _tell_messages(self) -> None:
        messages, self._messages = self._messages, []
        receiver = self._receiver
        if messages and receiver is not None and not self._closing:
            cast("MessageReceiver", receiver).messages_received(messages)

    def pong_received(self, payload: bytes) -> None:
        """A sign of life, nothing more."""

    def close_received(self, code: int | None, reason: str) -> None:
        if self._messages:
            self._tell_messages()
        self._peer_closed = True
        self._answered = self._eof_sent
        in_order = code in (None, CloseCode.NORMAL) or (
            code == CloseCode.GOING_AWAY and self._role is Role.SERVER
        )
        if not in_order:
            text = f"the WebSocket peer closed with {code}{f' ({reason})' if reason else ''}"
            answer = self._connection.send_close(code) if not self._eof_sent else b""
            self._give_up(answer, StreamReset(text))
            return
        if self._eof_sent:
            self._end_below()
        else:
            self._watch_progress()
        if self._receiver is not None and not self._closing:
            self._receiver.eof_received()

    def control(self, buffer: bytes) -> None:
        self._below.write(buffer)

    # --- from above

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._receiver is None:
            return
        self._progress += len(data)
        if self._keep_alive is not None:
            self._keep_alive.moved()
        buffers = self._connection.send_data(data)
        if len(buffers) == 1:
            layer.send(self._below, buffers[0])
        else:
            self._below.writelines(buffers)

    def writelines(self, parts: Sequence[bytes | bytearray | memoryview]) -> None:
        for part in parts:
            self.write(part)

    def write_messages(self, messages: list[bytes]) -> int:
        """Send each as one binary message, many in one system call, until something is unsent.

        Returns how many were taken. Each is at most 64 KiB.
        """
        taken = size = 0
        buffers: list[bytes | bytearray | memoryview] = []
        for message in messages:
            if self._receiver is None:
                break
            buffers += self._connection.send_data(message)
            taken += 1
            size += len(message)
            if size >= _GATHERED:
                self._below.write(b"".join(buffers))
                self._progress += size
                buffers, size = [], 0
                if self._below.unsent():
                    return taken
        if buffers:
            self._progress += size
            self._below.write(buffers[0] if len(buffers) == 1 else b"".join(buffers))
        return taken

    def write_eof(self) -> None:
        if self._eof_sent or self._receiver is None:
            return
        self._eof_sent = True
        self._below.write(self._connection.send_close(CloseCode.NORMAL))
        if self._peer_closed:
            self._end_below()
        else:
            self._watch_progress()

    def pause_reading(self) -> None:
        if not self._closing:  # else the peer's Close would not be seen
            self._silent = _NOT_READING
            self._below.pause_reading()

    def resume_reading(self) -> None:
        self._silent = 0
        self._below.resume_reading()

    def set_write_limit(self, high: int) -> None:
        self._below.set_write_limit(high)

    def unsent(self) -> int:
        return self._below.unsent()

    def set_receiver(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def close(self) -> None:
        if self._closing:
            return
        self._closing = True
        self._below.resume_reading()  # the peer's Close is still to come
        self.write_eof()

    def abort(self) -> None:
        """Let the peer see a reset: Close 1011 where one can still be sent, which no proxy on the way can
        hide.
        """
        receiver = self._receiver
        if receiver is None:
            return
        self._receiver = None
        self._cancel_timers()
        if self._connection.may_send and self._below.unsent() == 0:
            broken = ProtocolError(CloseCode.INTERNAL_ERROR, "the connection behind the gateway was reset")
            self._below.write(self._connection.fail(broken))
            self._below.close()
        else:
            self._below.abort()
        error = StreamReset("the connection was aborted by this gateway")
        asyncio.get_running_loop().call_soon(receiver.connection_lost, error)

    def info(self, name: str) -> Any:
        return self._below.info(name)

    @property
    def over(self) -> bool:
        """Whether what is above has been told that this is over, or has aborted it."""
        return self._receiver is None

    def dismiss(self, reason: str) -> None:
        """End it with Close 1008: whoever opened it may not go on. What is above sees a reset."""
        if self._receiver is None:
            return
        error = StreamReset(f"the client may not go on: {reason}")
        if not self._connection.may_send:
            self._below.abort()
            self._tell_lost(error)
            return
        asyncio.get_running_loop().call_later(_DISMISSED_MAY_READ, self._below.abort)
        refused = ProtocolError(CloseCode.POLICY_VIOLATION, reason)
        self._give_up(self._connection.fail(refused), error)

    # --- ending

    def _give_up(self, farewell: bytes, error: Exception) -> None:
        """Say farewell, if there is one, and drop the connection; what is above sees a reset."""
        if farewell:
            self._below.write(farewell)
        self._below.close()
        self._tell_lost(error)

    def _end_below(self) -> None:
        """Both Close frames have gone their way: a server closes the connection, a client waits for that."""
        self._cancel_timer()
        if self._role is Role.SERVER or self._below_ended:
            self._below.close()
        else:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(_CLIENT_WAITS_FOR_SERVER, self._below.close)
            self._below.resume_reading()

    def _watch_progress(self) -> None:
        """One direction has ended: see to it that the other does not stand still for ever."""
        self._progress = 0
        self._queued = self._under_way()
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._close_timeout, self._check_progress)

    def _check_progress(self) -> None:
        self._timer = None
        if self._progress or self._queued != self._under_way():
            self._watch_progress()
            return
        log.info("%s: half-closed and idle for %g s; closing", self._peer(), self._close_timeout)
        self.abort()

    def _under_way(self) -> int:
        """Return how many bytes the peer has not received yet: also the kernel's queue takes its time."""
        return self._below.unsent() + in_flight(self._below.info("socket"))

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _watch_for_life(self) -> None:
        loop = asyncio.get_running_loop()
        wait = self._inactivity_timeout / _LOOKS
        self._inactivity_timer = loop.call_later(wait, self._look_for_life)

    def _look_for_life(self) -> None:
        """Look whether anything came; a few times in each timeout, so that a message costs no timer."""
        self._inactivity_timer = None
        if self._eof_sent or self._peer_closed or self._closing:
            return  # `_check_progress` watches now, and a ping may not be sent any more
        if self._silent != _NOT_READING:
            self._silent = 0 if self._heard else self._silent + 1
        self._heard = 0
        if self._silent > _LOOKS:
            self._lost_sight()
            return
        # The first look may come just after the last message: only `_LOOKS // 2` more make half the time.
        if self._silent == _LOOKS // 2 + 1 and self._connection.may_send:
            self._below.write(self._connection.send_ping())
        if self._receiver is not None:
            self._watch_for_life()

    def _lost_sight(self) -> None:
        log.info(
            "%s: silent for %g s (ws.inactivity.timeout); closing", self._peer(), self._inactivity_timeout
        )
        error = StreamReset(f"the WebSocket peer was silent for {self._inactivity_timeout:g} s")
        if self._connection.may_send and self._below.unsent() == 0:
            silent = ProtocolError(CloseCode.INTERNAL_ERROR, "no sign of life")
            self._give_up(self._connection.fail(silent), error)
        else:
            self._below.abort()
            self._tell_lost(error)

    def _cancel_timers(self) -> None:
        self._cancel_timer()
        if self._inactivity_timer is not None:
            self._inactivity_timer.cancel()
            self._inactivity_timer = None
        if self._keep_alive is not None:
            self._keep_alive.stop()

    def _cut_off(self, error: Exception) -> None:
        if not (self.over or self._eof_sent or self._peer_closed or self._closing) and self._keep_alive:
            self._keep_alive.cut()
        self._tell_lost(error)

    def _tell_lost(self, error: Exception | None) -> None:
        self._cancel_timers()
        receiver = self._receiver
        self._receiver = None
        if receiver is not None:
            receiver.connection_lost(error)

    def _peer(self) -> str:
        return peer_name(self._below.info("peername"))
