"""A udp accept: one bound socket, and the flows of those who send to it, told apart by their addresses."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Any

from isthmus.config.model import Bind, UdpOptions
from isthmus.errors import ConnectError
from isthmus.layer import Layer
from isthmus.transports import datagram_socket, datagrams, multicast
from isthmus.transports.base import peer_name
from isthmus.transports.datagram_socket import BATCH, DatagramSocket, Peer, PlainDatagramSocket
from isthmus.transports.datagrams import DatagramCounters, DatagramIncoming, DatagramLayer, DatagramReceiver
from isthmus.transports.listen import bind_sockets
from isthmus.transports.poller import READ, poller_of
from isthmus.uri import Address, is_multicast

log = logging.getLogger(__name__)

Offer = Callable[[DatagramIncoming], None]

_BATCHES_AT_A_TIME = 4
_READ_PAUSE_SECONDS = 0.1


def bind(address: Address, at: Bind | None, options: UdpOptions) -> list[socket.socket]:
    """Bind the socket, or sockets, of a udp accept, and join its group where it is one.

    A name is bound on each of its addresses. Raises `BindError`.
    """
    return bind_sockets(address, at, socket.SOCK_DGRAM, lambda sock, target: _prepare(sock, target, options))


def _prepare(sock: socket.socket, target: tuple[Any, ...], options: UdpOptions) -> None:
    datagram_socket.prepare(sock)
    host = target[0]
    if is_multicast(host):
        # Several may listen to one group; what is bound to the group itself gets nothing else.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        multicast.join(sock, _scoped(target), options)
        multicast.prepare_sending(sock, _scoped(target), options)
    elif host in ("0.0.0.0", "::"):
        datagram_socket.answer_from_where_it_came(sock)


def _scoped(target: tuple[Any, ...]) -> str:
    """Return the host of a socket address, with its interface where it has one."""
    host, scope = str(target[0]).partition("%")[0], target[3] if len(target) == 4 else 0
    return f"{host}%{scope}" if scope else host


class UdpAccept(Layer):
    """One bound socket. `offer` is asked about each new sender; `start` begins to read."""

    def __init__(
        self, address: Address, bound: socket.socket, offer: Offer, counters: DatagramCounters
    ) -> None:
        self.address = address
        self.socket = bound
        self.datagrams: PlainDatagramSocket = DatagramSocket(bound)
        self.counters = counters
        self._offer = offer
        self._loop = asyncio.get_running_loop()
        self._peers: dict[Peer, UdpPeer] = {}
        self._watched = False
        self._stopping = False
        self._closed = False

    @property
    def bound(self) -> str:
        """Where it is bound: `127.0.0.1:5353`."""
        return peer_name(self.socket.getsockname())

    def start(self) -> None:
        """Read, on the running loop."""
        if not self._closed:
            self._watched = True
            poller_of(self._loop).add(self.socket.fileno(), self, READ)

    def stop(self) -> None:
        """Begin no new flows; the socket is closed with the last one. Calling it again changes nothing."""
        self._stopping = True
        self._close_if_done()

    def ready(self, events: int) -> None:
        """The poller says that something happened to the socket."""
        for _ in range(_BATCHES_AT_A_TIME):
            if self._closed or not self._read():
                return

    def _read(self) -> bool:
        """Read once; return whether there may be more."""
        try:
            found = self.datagrams.receive_from()
        except OSError as error:
            # Not what a peer did: that is not told to a socket which is not connected.
            log.warning("%s: cannot read: %s", self.address, error.strerror)
            self._pause()
            return False
        count = 0
        for peer, came in found.items():
            count += len(came)
            known = self._peers.get(peer)
            if known is None:
                known = self._new(peer, len(came))
                if known is None:
                    continue
            receiver = known.receiver
            if receiver is not None:
                datagrams.deliver(receiver, came)
        return count >= BATCH

    def _new(self, peer: Peer, count: int) -> UdpPeer | None:
        if not self._stopping:
            known = UdpPeer(self, peer)
            self._offer(known)
            if known.receiver is not None:
                return known
        self.counters.dropped_new += count
        return None

    def _pause(self) -> None:
        poller = poller_of(self._loop)
        poller.change(self.socket.fileno(), 0)
        self._loop.call_later(_READ_PAUSE_SECONDS, self._resume)

    def _resume(self) -> None:
        if not self._closed:
            poller_of(self._loop).change(self.socket.fileno(), READ)

    def add(self, peer: UdpPeer) -> None:
        """A flow has begun; called by its peer."""
        self._peers[peer.key] = peer

    def remove(self, peer: UdpPeer) -> None:
        """A flow is over; called by its peer."""
        if self._peers.get(peer.key) is peer:
            del self._peers[peer.key]
        if self._stopping:
            self._close_if_done()

    def _close_if_done(self) -> None:
        if self._peers or self._closed:
            return
        self._closed = True
        if self._watched:
            poller_of(self._loop).forget(self.socket.fileno())
        self.datagrams.close()


class UdpPeer(DatagramLayer):
    """One sender at a udp accept: a `DatagramIncoming`, and once accepted the `DatagramTransport` to him."""

    __slots__ = ("_accept", "key", "receiver")

    def __init__(self, accept: UdpAccept, key: Peer) -> None:
        self._accept = accept
        self.key = key
        self.receiver: DatagramReceiver | None = None

    @property
    def address(self) -> Address:
        return self._accept.address

    @property
    def peer(self) -> str:
        return peer_name(datagram_socket.peer_address(self.key))

    @property
    def early(self) -> bool:
        return True

    def accept(self, receiver: DatagramReceiver) -> None:
        self.receiver = receiver
        self._accept.add(self)
        receiver.datagrams_made(self)

    def refuse(self, error: ConnectError) -> None:
        """UDP has no way to say no: his datagrams are dropped, and counted."""

    def send(self, datagrams: list[bytes]) -> None:
        if self.receiver is not None:
            accept = self._accept
            accept.datagrams.send_all(datagrams, accept.counters, self.key)

    def close(self) -> None:
        if self.receiver is not None:
            self.receiver = None
            self._accept.remove(self)

    def info(self, name: str) -> Any:
        if name == "peername":
            return datagram_socket.peer_address(self.key)
        if name == "sockname":
            return self._accept.socket.getsockname()
        return self._accept.socket if name == "socket" else None
