"""A connected stream socket as a transport: the bottom of every stack (TCP and unix).

A byte's way in: the poller says that the socket is readable, `_read_ready` reads once into the slab that the
whole process shares and hands the receiver a view of it. A byte's way out: `write` sends at once; only what
the kernel does not take is kept, copied, until the poller says that the socket is writable. Nothing is
allocated for a connection that is idle but this object and its socket.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from collections import deque
from collections.abc import Sequence
from typing import Any

from isthmus import layer
from isthmus.errors import StreamReset
from isthmus.layer import Layer
from isthmus.transports.base import Receiver
from isthmus.transports.poller import ERROR, HANG_UP, READ, WRITE, poller_of
from isthmus.transports.stream_socket import (
    MAXIMUM_PARTS,
    READ_SIZE,
    PlainStreamSocket,
    StreamSocket,
    in_flight,
    prepare,
)

__all__ = [
    "DEFAULT_WRITE_LIMIT",
    "KEPT_READ_SIZE",
    "LINGER_SECONDS",
    "READ_SIZE",
    "TcpTransport",
    "in_flight",
    "prepare",
]

log = logging.getLogger(__name__)

KEPT_READ_SIZE = 512 * 1024
"""Bytes read at most at a time where the receiver keeps what is read; else it is `READ_SIZE`."""
DEFAULT_WRITE_LIMIT = 64 * 1024
LINGER_SECONDS = 2.0
"""How long `close` goes on reading and dropping, so that what was sent is not destroyed by a reset."""
_LARGE = 16 * 1024
"""Bytes; what is read to be kept after a read of at least so many is not copied."""
_NOT_WATCHED = -1


class TcpTransport(Layer):
    """One connected, non-blocking stream socket, which becomes its own: it closes it.

    `start` begins: it calls `receiver.connection_made` at once and reads from then on. The rest is
    `Transport`.
    """

    __slots__ = (
        "_backlog",
        "_closing",
        "_descriptor",
        "_eof_received",
        "_eof_sent",
        "_error",
        "_high",
        "_keeping",
        "_linger",
        "_lost",
        "_pause_told",
        "_paused",
        "_poller",
        "_receiver",
        "_room",
        "_socket",
        "_unsent",
        "_wanted",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, connected: socket.socket | PlainStreamSocket) -> None:
        self._socket: PlainStreamSocket | None = (
            connected if isinstance(connected, PlainStreamSocket) else StreamSocket(connected)
        )
        self._descriptor = self._socket.fileno()
        self._receiver: Receiver | None = None
        self._backlog: deque[bytes | memoryview] | None = None
        self._unsent = 0
        self._high = DEFAULT_WRITE_LIMIT
        self._linger: asyncio.TimerHandle | None = None
        self._poller = poller_of(loop)
        self._wanted = _NOT_WATCHED  # what the poller watches for
        self._paused = False  # the receiver wants nothing
        self._pause_told = False  # the receiver was told to pause writing
        self._eof_received = False
        self._eof_sent = False  # write_eof was called
        self._closing = False  # close was called: what still comes is dropped
        self._lost = False  # connection_lost was called or is on its way
        self._error: Exception | None = None  # why it was
        self._keeping = False  # the receiver wants bytes
        self._room = 0  # bytes to make room for at the next such read; 0: it goes through the slab

    def start(self, receiver: Receiver) -> None:
        """Begin. `receiver` is told `connection_made` before this returns."""
        self._receiver = receiver
        layer.made(receiver, self)
        self._watch()

    def set_receiver(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def ready(self, events: int) -> None:
        """The poller says that something happened to the socket."""
        # A unix socket whose peer has shut both directions hangs up, and may never be writable again.
        if events & (WRITE | HANG_UP) and self._backlog is not None:
            self._write_ready()
        if self._lost:
            return
        reading = not self._eof_received and (self._closing or not self._paused)
        if reading and events & (READ | ERROR | HANG_UP):
            self._read_ready()
        elif events & ERROR:
            self._lose(_as_reset(self._pending_error()))
        elif events & HANG_UP:
            # Both directions are shut, and we do not read: it would be told for ever.
            self._poller.forget(self._descriptor)
            self._wanted = _NOT_WATCHED
        else:
            self._watch()

    def _watch(self) -> None:
        """Have the poller watch for what is wanted now."""
        if self._lost:
            return
        wanted = READ if not self._eof_received and (self._closing or not self._paused) else 0
        if self._backlog is not None:
            wanted |= WRITE
        if wanted == self._wanted:
            return
        if self._wanted != _NOT_WATCHED:
            self._poller.change(self._descriptor, wanted)
        elif wanted:
            self._poller.add(self._descriptor, self, wanted)
        else:
            return
        self._wanted = wanted

    def _pending_error(self) -> OSError:
        number = (self._socket.error() if self._socket is not None else 0) or errno.ECONNRESET
        return OSError(number, os.strerror(number))

    # --- reading

    def pause_reading(self) -> None:
        # The poller goes on watching until there is something to read: most pauses are over before that.
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        self._watch()

    def read_for_keeping(self, keep: bool) -> None:
        """Hand out `bytes` from now on, which the receiver may keep; False: views again, see `base`."""
        self._keeping = keep
        self._room = 0

    def _read_ready(self) -> None:
        if self._socket is None or self._receiver is None:
            return
        data: Any  # a view, or bytes for a receiver that keeps them
        try:
            if self._room and not self._closing:
                data = self._socket.receive_bytes(self._room)
            else:
                data = self._socket.take(self._keeping)
        except OSError as error:
            self._lose(_as_reset(error))
            return
        if data is None:
            return
        count = len(data)
        if self._keeping:
            # Into bytes of their own when much comes: to copy it would cost more than to make room in vain.
            self._room = min(2 * count, KEPT_READ_SIZE // self._poller.large_read()) if count >= _LARGE else 0
        if count == 0:
            self._eof_received = True
            if not self._closing:
                layer.ended(self._receiver)
            elif self._backlog is None:
                self._lose(None)
            self._watch()
        elif not self._closing:
            layer.deliver(self._receiver, data)
            if self._paused:
                self._room = 0  # it has enough: the next read begins small, however often this happens

    # --- writing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._lost or self._socket is None:
            return
        if self._eof_sent or self._closing:
            raise RuntimeError("write after write_eof or close")
        size = len(data)
        if not size:
            return
        if self._backlog is not None:
            self._keep(data if isinstance(data, bytes) else bytes(data))
            return
        try:
            sent = self._socket.send(data)
        except OSError as error:
            self._lose(_as_reset(error))
            return
        if sent < size:
            self._keep(_tail(data, sent))

    def writelines(self, parts: Sequence[bytes | bytearray | memoryview]) -> None:
        if self._lost or self._socket is None:
            return
        if self._eof_sent or self._closing:
            raise RuntimeError("write after write_eof or close")
        sent = 0
        if self._backlog is None and len(parts) <= MAXIMUM_PARTS:
            try:
                sent = self._socket.send_parts(parts)
            except OSError as error:
                self._lose(_as_reset(error))
                return
        for part in parts:
            size = len(part)
            if sent >= size:
                sent -= size
                continue
            self._keep(_tail(part, sent))
            sent = 0

    def _keep(self, data: bytes | memoryview) -> None:
        if self._lost:  # the receiver gave up in `pause_writing`
            return
        if self._backlog is None:
            self._backlog = deque()
            self._watch()
        self._backlog.append(data)
        self._unsent += len(data)
        if self._unsent > self._high and not self._pause_told and self._receiver is not None:
            self._pause_told = True
            self._receiver.pause_writing()

    def _write_ready(self) -> None:
        backlog = self._backlog
        if backlog is None or self._socket is None:
            return
        try:
            if len(backlog) == 1:
                sent = self._socket.send(backlog[0])
            else:
                sent = self._socket.send_parts([backlog[i] for i in range(min(len(backlog), MAXIMUM_PARTS))])
        except OSError as error:
            self._lose(_as_reset(error))
            return
        self._unsent -= sent
        while sent:
            size = len(backlog[0])
            if sent < size:
                backlog[0] = memoryview(backlog[0])[sent:]
                break
            backlog.popleft()
            sent -= size
        if not backlog:
            self._backlog = None
            self._watch()
            if self._closing:
                self._finish()
            elif self._eof_sent:
                self._shutdown()
        if self._pause_told and self._unsent * 2 <= self._high and self._receiver is not None:
            self._pause_told = False
            self._receiver.resume_writing()

    def write_eof(self) -> None:
        if self._eof_sent or self._closing or self._lost:
            return
        self._eof_sent = True
        if self._backlog is None:
            self._shutdown()

    def set_write_limit(self, high: int) -> None:
        self._high = high

    def unsent(self) -> int:
        return self._unsent

    # --- ending

    def close(self) -> None:
        if self._closing or self._lost:
            return
        self._closing = True
        if self._backlog is None:
            self._finish()

    def abort(self) -> None:
        if self._lost or self._socket is None:
            return
        try:
            self._socket.reset_on_close()
        except OSError as error:
            log.debug("cannot ask for a reset: %s", error)
        self._lose(StreamReset("the connection was aborted by this gateway"))

    def info(self, name: str) -> Any:
        if self._socket is None:
            return None
        if name == "socket":
            return self._socket.object()
        if name not in ("peername", "sockname"):
            return None
        try:
            return self._socket.name(peer=name == "peername")
        except OSError:
            return None

    def _shutdown(self) -> None:
        try:
            if self._socket is not None:
                self._socket.shut_down()
        except OSError as error:
            if error.errno != errno.ENOTCONN:
                self._lose(_as_reset(error))

    def _finish(self) -> None:
        """All is sent: close, but never with unread bytes in the kernel, which would turn it into a reset."""
        if self._eof_received:
            self._lose(None)
            return
        if not self._eof_sent:
            self._shutdown()
        if not self._lost:
            self._linger = asyncio.get_running_loop().call_later(LINGER_SECONDS, self._lose, None)
            self._watch()

    def _lose(self, error: Exception | None) -> None:
        if self._lost:
            return
        self._lost = True
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        if self._wanted != _NOT_WATCHED:
            self._poller.forget_closing(self._descriptor)
            self._wanted = _NOT_WATCHED
        self._backlog = None
        self._unsent = 0
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._error = error
        self._poller.tell_after_round(self)

    def round_over(self) -> None:
        """Tell that it is lost."""
        receiver, error = self._receiver, self._error
        self._receiver = self._error = None
        if receiver is not None:
            layer.lost(receiver, error)


def _tail(data: bytes | bytearray | memoryview, sent: int) -> bytes | memoryview:
    """Return what is left of `data` after `sent` bytes, safe to keep: only immutable bytes are not copied."""
    if isinstance(data, bytes):
        return memoryview(data)[sent:] if sent else data
    return bytes(memoryview(data)[sent:])


def _as_reset(error: OSError) -> StreamReset:
    reset = StreamReset(f"the connection was lost: {error.strerror or os.strerror(error.errno or 0)}")
    reset.__cause__ = error
    return reset
