"""One open WebSocket (RFC 6455 sections 5 to 7) without input or output: buffers in, buffers and calls out.

Each direction ends on its own. The peer's Close ends its data, ours may go on until `send_close`; after
`send_close` the peer's goes on until its Close. A Close frame is never answered without being asked to.

    state            sends data   receives data
    OPEN             yes          yes
    CLOSE_SENT       no           yes
    CLOSE_RECEIVED   yes          no
    CLOSED           no           no              both Close frames went their way
    FAILED           no           no              the peer broke the protocol
    LOST             no           no              the connection below is gone

After our own Close we send nothing, so a ping that comes then is not answered.
This file is ordinary Python; where there is a compiler, `connection.pxd` beside it gives Cython the C types.
"""

from __future__ import annotations

import os
from enum import Enum

from isthmus.websocket import buffers
from isthmus.websocket.frames import (
    FrameReader,
    LocalError,
    MessageSink,
    Opcode,
    ProtocolError,
    Role,
    close_payload,
    header,
)
from isthmus.websocket.mask import Buffer, apply_mask, masked, masked_parts, masked_start


class State(Enum):
    """Where a connection is; the table in the module's docstring says what it may do there."""

    OPEN = "open"
    CLOSE_SENT = "closed on our side"
    CLOSE_RECEIVED = "closed on the peer's side"
    CLOSED = "closed"
    FAILED = "failed"
    LOST = "lost"


class Event(Enum):
    """What moves a connection from state to state."""

    SEND = "send"
    SEND_CLOSE = "send Close on"
    RECEIVE_CLOSE = "receive Close on"
    FAIL = "fail"
    LOSE = "lose"


TRANSITIONS: dict[State, dict[Event, State]] = {
    State.OPEN: {
        Event.SEND: State.OPEN,
        Event.SEND_CLOSE: State.CLOSE_SENT,
        Event.RECEIVE_CLOSE: State.CLOSE_RECEIVED,
        Event.FAIL: State.FAILED,
        Event.LOSE: State.LOST,
    },
    State.CLOSE_SENT: {
        Event.RECEIVE_CLOSE: State.CLOSED,
        Event.FAIL: State.FAILED,
        Event.LOSE: State.LOST,
    },
    State.CLOSE_RECEIVED: {
        Event.SEND: State.CLOSE_RECEIVED,
        Event.SEND_CLOSE: State.CLOSED,
        Event.FAIL: State.FAILED,
        Event.LOSE: State.LOST,
    },
    State.CLOSED: {Event.FAIL: State.CLOSED, Event.LOSE: State.LOST},
    State.FAILED: {Event.FAIL: State.FAILED, Event.LOSE: State.LOST},
    State.LOST: {Event.FAIL: State.LOST, Event.LOSE: State.LOST},
}

DEFAULT_MAXIMUM_MESSAGE_SIZE = 128 * 1024  # Kaazing's ws.maximum.message.size
DEFAULT_MAXIMUM_FRAME_SIZE = 64 * 1024

UNMASKED = bytes(4)
"""The key that changes nothing: only for two peers that agreed on it inside TLS."""

_BINARY = 2
_PONG = 10
_MAXIMUM_CONTROL = 125  # RFC 6455 5.5
# Below this size a copy of the payload is cheaper than a second buffer to write.
_GATHER_BELOW = 16 * 1024


class Handler(MessageSink):
    """What a Connection tells the transport that drives it, which derives from this.

    Each call happens inside `Connection.receive`, `control` also inside `resume_control`; each may call the
    Connection back, except for `receive`. `Connection.text` tells what kind of message a piece is of.
    """

    __slots__ = ()

    def pong_received(self, payload: bytes) -> None:
        """Take the payload of a pong."""
        raise NotImplementedError

    def close_received(self, code: int | None, reason: str) -> None:
        """Take the end of the peer's data; `code` is None when it gave none."""
        raise NotImplementedError

    def control(self, buffer: bytes) -> None:
        """Write this frame now, behind what was written before."""
        raise NotImplementedError


class MaskKeys:
    """Gives out fresh unpredictable mask keys (RFC 6455 5.3, 10.3), drawn from os.urandom in bulk."""

    __slots__ = ("_next", "_pool")

    def __init__(self) -> None:
        self.discard()

    def discard(self) -> None:
        """Forget the keys in stock: a forked process must not use those of its parent again."""
        self._pool = bytearray()
        self._next = 0

    def take(self) -> bytes:
        """Return the next key, four bytes."""
        start = self._next
        if start >= len(self._pool):
            self._pool = bytearray(os.urandom(1024))
            start = 0
        self._next = start + 4
        return buffers.cut(self._pool, start, 4)


_keys = MaskKeys()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_keys.discard)


class Connection:
    """One open WebSocket, after its handshake.

    The transport gives `receive` what it read and writes, in order and at once, what the `send_*` methods and
    `fail` return and what `Handler.control` is given. Sizes are in bytes.
    """

    __slots__ = (
        "_client",
        "_control_paused",
        "_handler",
        "_maximum_frame_size",
        "_pong",
        "_state",
        "may_send",
        "reader",
    )

    def __init__(
        self,
        role: Role,
        handler: Handler,
        *,
        maximum_message_size: int = DEFAULT_MAXIMUM_MESSAGE_SIZE,
        maximum_frame_size: int = DEFAULT_MAXIMUM_FRAME_SIZE,
    ) -> None:
        if maximum_message_size < 1 or maximum_frame_size < 1:
            raise LocalError("the maximum sizes of messages and frames must be at least 1")
        self._client = role is Role.CLIENT
        self._handler = handler
        self.reader = FrameReader(role, handler, self, maximum_message_size=maximum_message_size)
        self._maximum_frame_size = maximum_frame_size
        self._state = State.OPEN
        self.may_send = True  # data: neither was our Close sent nor did the connection fail
        self._control_paused = False
        self._pong: bytes | None = None  # owed, while control frames are paused

    @property
    def state(self) -> State:
        """Where the connection is."""
        return self._state

    @property
    def text(self) -> bool:
        """Whether the current message, or the last, is text."""
        return self.reader.text

    def receive(self, data: Buffer) -> None:
        """Read the next bytes from the peer and tell the handler what they say.

        A server unmasks in place, so `data` must be writable there; its content is spent afterwards.
        Raises ProtocolError: then write what `fail` returns and drop the connection.
        What follows the peer's Close or an error is discarded.
        """
        self.reader.receive(data)

    def send_data(self, data: Buffer) -> list[Buffer]:
        """Return the buffers that carry `data` as a binary message, or as several above `maximum_frame_size`.

        Write them in order, as one gathered write. They may share memory with `data`, which must therefore
        stay unchanged until they are written. A client masks: a writable memoryview is given away for that
        and changed in place, anything else is copied. Raises LocalError after `send_close`, `fail` or
        `transport_lost`.
        """
        if not self.may_send:
            self._move(Event.SEND)
        buffers: list[Buffer] = []
        size = len(data)
        limit = self._maximum_frame_size
        if size <= limit:
            self._add_frame(buffers, _BINARY, data, size)
            return buffers
        # Only a view was given away: a bytearray stays the caller's.
        view = data if type(data) is memoryview else memoryview(data).toreadonly()
        start = 0
        while start < size:
            piece = view[start : start + limit]
            self._add_frame(buffers, _BINARY, piece, len(piece))
            start += limit
        return buffers

    def send_message(self, parts: list[Buffer], key: bytes | None = None) -> list[Buffer]:
        """Return the buffers that carry `parts`, one after the other, as one binary message in one frame.

        Write them in order, as one gathered write. A server's share memory with `parts`, which must stay
        unchanged until they are written; a client's are masked copies, with `key` where it is given. Raises
        LocalError as `send_data` does.
        """
        if not self.may_send:
            self._move(Event.SEND)
        size = 0
        for part in parts:
            size += len(part)
        if self._client:
            if key is None:
                key = _keys.take()
            elif key == UNMASKED:
                return [header(_BINARY, size, True, key), *parts]
            return [masked_parts(header(_BINARY, size, True, key), parts, key)]
        start = header(_BINARY, size)
        if len(parts[0]) < _GATHER_BELOW:
            return [start + parts[0], *parts[1:]]
        return [start, *parts]

    def send_gathered(self, buffer: bytearray, size: int, key: bytes | None = None) -> bytes:
        """Return the frame that carries the first `size` bytes of `buffer`, copied, as one binary message.

        `key` and what is raised are as for `send_message`.
        """
        if not self.may_send:
            self._move(Event.SEND)
        if not self._client:
            return masked_start(header(_BINARY, size), buffer, size, UNMASKED)
        if key is None:
            key = _keys.take()
        return masked_start(header(_BINARY, size, True, key), buffer, size, key)

    def send_text(self, text: str) -> list[Buffer]:
        """Return the buffers that carry `text` as one message in one frame; otherwise as `send_data`."""
        self._move(Event.SEND)
        buffers: list[Buffer] = []
        data = text.encode()
        self._add_frame(buffers, Opcode.TEXT, data, len(data))
        return buffers

    def send_ping(self, payload: bytes = b"") -> bytes:
        """Return a ping. Raises LocalError for more than 125 bytes, or where no data may be sent."""
        self._move(Event.SEND)
        if len(payload) > _MAXIMUM_CONTROL:
            raise LocalError("the payload of a ping is limited to 125 bytes")
        return self._control_frame(Opcode.PING, payload)

    def send_close(self, code: int | None = None, reason: str = "") -> bytes:
        """Return the Close frame that ends our data. Receiving goes on until the peer's Close.

        Raises LocalError for a code that must not be sent, a reason above 123 bytes or a second Close.
        """
        payload = close_payload(code, reason)
        self._move(Event.SEND_CLOSE)
        return self._control_frame(Opcode.CLOSE, payload)

    def fail(self, error: ProtocolError) -> bytes:
        """Give up because of `error`: return the Close frame that says so, empty if none may be sent."""
        may_tell = self.may_send
        self._move(Event.FAIL)
        self.reader.stop()
        if not may_tell:
            return b""
        reason = str(error).encode()[: _MAXIMUM_CONTROL - 2].decode(errors="ignore")
        return self._control_frame(Opcode.CLOSE, close_payload(error.code, reason))

    def transport_lost(self) -> bool:
        """Note that the connection below is gone; return whether the peer's Close had come before."""
        clean = self._state in (State.CLOSE_RECEIVED, State.CLOSED)
        self._move(Event.LOSE)
        self.reader.stop()
        return clean

    def pause_control(self) -> None:
        """Stop answering pings, as the transport is full: only the latest is kept (RFC 6455 5.5.3)."""
        self._control_paused = True

    def resume_control(self) -> None:
        """Answer pings again, beginning with the one that is remembered."""
        self._control_paused = False
        payload = self._pong
        if payload is not None:
            self._pong = None
            self.ping_received(payload)

    def ping_received(self, payload: bytes) -> None:
        """Answer a ping; called by the reader."""
        if not self.may_send:
            return
        if self._control_paused:
            self._pong = payload
        else:
            self._handler.control(self._control_frame(_PONG, payload))

    def pong_received(self, payload: bytes) -> None:
        """Pass a pong on; called by the reader."""
        self._handler.pong_received(payload)

    def close_received(self, code: int | None, reason: str) -> None:
        """Note the peer's Close and pass it on; called by the reader."""
        self._move(Event.RECEIVE_CLOSE)
        self._handler.close_received(code, reason)

    def _add_frame(self, buffers: list[Buffer], opcode: int, data: Buffer, size: int) -> None:
        if self._client:
            key = _keys.take()
            start = header(opcode, size, True, key)
            if size >= _GATHER_BELOW and type(data) is memoryview and not data.readonly:
                apply_mask(data, key)
                buffers.append(start)
                buffers.append(data)
            else:
                buffers.append(masked(start, data, key))
            return
        start = header(opcode, size)
        if size < _GATHER_BELOW:
            buffers.append(start + data)
        else:
            buffers.append(start)
            buffers.append(data)

    def _control_frame(self, opcode: int, payload: bytes) -> bytes:
        if self._client:
            key = _keys.take()
            return masked(header(opcode, len(payload), True, key), payload, key)
        return header(opcode, len(payload)) + payload

    def _move(self, event: Event) -> None:
        try:
            self._state = TRANSITIONS[self._state][event]
        except KeyError:
            raise LocalError(f"cannot {event.value} a WebSocket that is {self._state.value}") from None
        self.may_send = Event.SEND in TRANSITIONS[self._state]
        if not self.may_send:
            self._pong = None
