"""A connected stream socket without the object: what is called for each connection and for each read.

`StreamSocket`, `open_stream` and `accept` are compiled (`_stream_socket.pyx`) where the extension was built,
and hold a descriptor only; elsewhere they are the plain ones below, around a `socket.socket`. Both do the
same. ISTHMUS_PURE=1 in the environment forces the plain ones.
"""

from __future__ import annotations

import logging
import os
import socket
import struct
import sys
from collections.abc import Sequence
from typing import Any, Protocol

from isthmus.transports.base import peer_name

if sys.platform == "linux":
    from fcntl import ioctl as _ioctl
    from termios import TIOCOUTQ as _OUTPUT_QUEUE  # as SIOCOUTQ: see tcp(7) and unix(7)
else:
    _OUTPUT_QUEUE = None

log = logging.getLogger(__name__)

READ_SIZE = 256 * 1024
"""Bytes read at most at a time into the memory that all share."""
UNSENT_IN_KERNEL = 512 * 1024
"""Bytes the kernel takes beyond what is on its way for a peer that does not read (TCP_NOTSENT_LOWAT, tcp(7)).

Without it they are megabytes for each, so that some hundred stalled readers use up all memory that the kernel
has for TCP, and everybody else's connections stand still.
"""
Buffer = bytes | bytearray | memoryview
shared = memoryview(bytearray(READ_SIZE))
"""What `StreamSocket.take` reads into."""
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Quota(Protocol):
    """Who counts open sockets."""

    def release(self) -> None:
        """One less is open."""


class CountedSocket(socket.socket):
    """A socket that holds a place in a quota and gives it back when it is closed, whoever closes it."""

    __slots__ = ("quota",)
    quota: Quota | None

    def close(self) -> None:
        if self.fileno() >= 0 and self.quota is not None:
            self.quota.release()
        super().close()


class PlainStreamSocket:
    """A stream socket that does not block, and its place in a quota. It owns both until `close` or `detach`.

    `sock` becomes its own. Nothing here waits; an `OSError` is what the kernel says.
    """

    __slots__ = ("_quota", "_socket")

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._quota: Quota | None = None

    def fileno(self) -> int:
        """Return the descriptor; -1 when there is none any more."""
        return self._socket.fileno()

    @property
    def family(self) -> int:
        """The address family."""
        return self._socket.family

    def take(self, keep: bool) -> bytes | memoryview | None:
        """Read at most `READ_SIZE` bytes; return None if nothing is there now, nothing at the end of input.

        What is returned is a writable view of memory that all sockets share, good until the next one reads;
        or, to `keep`, `bytes`.
        """
        try:
            count = self._socket.recv_into(shared)
        except (BlockingIOError, InterruptedError):
            return None
        return bytes(shared[:count]) if keep else shared[:count]

    def receive_bytes(self, maximum: int) -> bytes | None:
        """Read at most so many bytes, not copied again; None if nothing is there now."""
        try:
            return self._socket.recv(maximum)
        except (BlockingIOError, InterruptedError):
            return None

    def send(self, data: Buffer) -> int:
        """Return how many bytes the kernel took, maybe none."""
        try:
            return self._socket.send(data)
        except (BlockingIOError, InterruptedError):
            return 0

    def send_parts(self, parts: Sequence[Buffer]) -> int:
        """Send at most `MAXIMUM_PARTS` buffers at once; see `send`."""
        try:
            return self._socket.sendmsg(parts)
        except (BlockingIOError, InterruptedError):
            return 0

    def shut_down(self) -> None:
        """Send the end of our direction."""
        self._socket.shutdown(socket.SHUT_WR)

    def connect(self, target: Any) -> int:
        """Begin to connect, to what `socket.connect` takes; return 0 or what errno says, as `EINPROGRESS`."""
        return self._socket.connect_ex(target)

    def is_connected(self) -> bool:
        """Whether there is another side."""
        try:
            self._socket.getpeername()
        except OSError:
            return False
        return True

    def error(self) -> int:
        """Return the error that waits to be told (`SO_ERROR`), and forget it; 0: none."""
        return self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

    def in_flight(self) -> int:
        """Return how many bytes the kernel has still to bring to the other side; 0 where it does not tell."""
        return in_flight(self._socket)

    def reset_on_close(self) -> None:
        """Have the other side see a reset when this is closed."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)

    def object(self) -> socket.socket | None:
        """Return it as a `socket.socket`, which nobody else may close; None after `close`."""
        return self._socket if self._socket.fileno() >= 0 else None

    def name(self, peer: bool) -> Any:
        """Return the address of this side or, with `peer`, of the other."""
        return self._socket.getpeername() if peer else self._socket.getsockname()

    def peer_name(self) -> str:
        """Return the address of the other side as `base.peer_name` shows it."""
        return peer_name(self.name(peer=True))

    def detach(self) -> CountedSocket:
        """Return a `socket.socket` that owns what this owned, which has nothing any more."""
        family, descriptor = self._socket.family, self._socket.detach()
        made = CountedSocket(family, socket.SOCK_STREAM, 0, descriptor)
        made.quota, self._quota = self._quota, None
        made.setblocking(False)
        return made

    def close(self) -> None:
        """Close it and release its place. Calling it again changes nothing."""
        if self._socket.fileno() < 0:
            return
        self._socket.close()
        quota, self._quota = self._quota, None
        if quota is not None:
            quota.release()


def plain_open_stream(family: int) -> PlainStreamSocket:
    """Return a new socket, not connected, with what `prepare` sets."""
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        prepare(made)
    except OSError:
        made.close()
        raise
    return PlainStreamSocket(made)


def plain_accept(listening: socket.socket, family: int, quota: Quota | None) -> PlainStreamSocket | None:
    """Accept a connection, which then holds a place in `quota` (taken already); None if none waits now.

    The listening socket, of this family, must not block, and hands down what `prepare` sets.
    """
    try:
        accepted, _ = listening.accept()
    except (BlockingIOError, InterruptedError, ConnectionAbortedError):
        return None
    accepted.setblocking(False)
    made = PlainStreamSocket(accepted)
    made._quota = quota
    return made


def prepare(sock: socket.socket) -> None:
    """Set what every stream socket of isthmus has: not blocking, no delay for small writes, dead peers are
    noticed, little waits in the kernel.

    A listening socket hands all but the first down to those it accepts.
    """
    sock.setblocking(False)
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        keep_queue_short(sock, UNSENT_IN_KERNEL)


def keep_queue_short(sock: socket.socket | None, size: int) -> None:
    """Have the kernel take at most `size` bytes that it cannot send yet (TCP_NOTSENT_LOWAT, tcp(7)).

    What waits there is not overtaken, or dropped. Where it cannot be set, or there is no socket, it is not.
    """
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    if sock is None or option is None or sock.family == getattr(socket, "AF_UNIX", None):
        return
    try:
        sock.setsockopt(socket.IPPROTO_TCP, option, size)
    except OSError as error:
        log.debug("the kernel's queue cannot be kept short: %s", error)


def in_flight(sock: socket.socket | None) -> int:
    """Return how many bytes the kernel has still to bring to the other side; 0 where it does not tell."""
    if sock is None or sock.fileno() < 0 or _OUTPUT_QUEUE is None:
        return 0
    size = bytearray(4)
    try:
        _ioctl(sock.fileno(), _OUTPUT_QUEUE, size)
    except OSError:
        return 0
    return int.from_bytes(size, sys.byteorder)


StreamSocket: type[PlainStreamSocket] = PlainStreamSocket
open_stream = plain_open_stream
accept = plain_accept
MAXIMUM_PARTS = 256
if os.environ.get("ISTHMUS_PURE") != "1":
    try:
        from isthmus.transports import _stream_socket
    except ImportError:
        pass  # not built: the plain ones serve
    else:
        StreamSocket = _stream_socket.StreamSocket
        open_stream = _stream_socket.open_stream
        accept = _stream_socket.accept
