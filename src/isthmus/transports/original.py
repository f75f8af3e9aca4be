"""Accepted sockets whose balancer says first who they are from: reads that, then lets the connection begin.

Nothing of what follows the header is taken: TLS, or the front, finds its first byte in the socket.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence

from isthmus.config.networks import Network, among
from isthmus.transports.base import Origin, peer_name
from isthmus.transports.proxy_protocol import MAXIMUM_SIZE, HeaderReader, NoHeader
from isthmus.transports.stream_socket import PlainStreamSocket

log = logging.getLogger(__name__)

Begin = Callable[[PlainStreamSocket, Origin | None], None]


def told_by(trusted: Sequence[Network], timeout: float, begin: Begin) -> Callable[[PlainStreamSocket], None]:
    """Return what takes accepted sockets, reads the header of those from `trusted` networks within `timeout`
    seconds, and has each `begin`.

    A connection from elsewhere begins at once, as the one it is: what it may say of itself is not read.
    """
    loop = asyncio.get_running_loop()

    def accepted(sock: PlainStreamSocket) -> None:
        try:
            peer = sock.name(peer=True)
        except OSError:  # it is gone already: so its reader will find
            peer = None
        inside = sock.object()
        if inside is not None and isinstance(peer, tuple) and among(str(peer[0]), trusted):
            _Reading(loop, sock, inside, peer_name(peer), timeout, begin).look()
        else:
            begin(sock, None)

    return accepted


class _Reading:
    """A connection that has not told yet who it is from."""

    __slots__ = ("_accepted", "_begin", "_deadline", "_loop", "_peer", "_reader", "_socket", "_watching")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        accepted: PlainStreamSocket,
        sock: socket.socket,
        peer: str,
        timeout: float,
        begin: Begin,
    ) -> None:
        self._loop = loop
        self._accepted = accepted
        self._socket = sock
        self._peer = peer
        self._begin = begin
        self._reader = HeaderReader()
        self._watching = False
        self._deadline = loop.call_later(timeout, self._give_up, f"nothing for {timeout:g} s")

    def look(self) -> None:
        """Take from the socket what belongs to the header, and nothing else."""
        while True:
            try:
                seen = self._socket.recv(MAXIMUM_SIZE, socket.MSG_PEEK)
                if not seen:
                    self._give_up("it ended")
                    return
                self._socket.recv(self._reader.feed(seen))
            except (BlockingIOError, InterruptedError):
                if not self._watching:
                    self._watching = True
                    self._loop.add_reader(self._socket.fileno(), self.look)
                return
            except (OSError, NoHeader) as error:
                self._give_up(str(error))
                return
            if self._reader.complete:
                self._end()
                self._begin(self._accepted, self._reader.origin)
                return

    def _end(self) -> None:
        self._deadline.cancel()
        if self._watching:
            self._loop.remove_reader(self._socket.fileno())

    def _give_up(self, reason: str) -> None:
        self._end()
        self._accepted.close()
        log.info("%s: dropped: no header of the PROXY protocol (proxy.protocol): %s", self._peer, reason)
