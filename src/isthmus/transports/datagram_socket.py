"""Many datagrams in one system call, in and out of a UDP socket that does not block.

`DatagramSocket` is compiled (`_datagram_socket.pyx`: recvmmsg, sendmmsg) where the extension was built, and
is the plain class below elsewhere; both do the same. ISTHMUS_PURE=1 in the environment forces the plain one.

A `Peer` is who a datagram came from, as bytes: port (2), interface (4, for link-local addresses), address
(4 or 16), all in network order; then, of a socket made by `answer_from_where_it_came`, the local address that
the datagram was sent to (4 or 16), which is where the answer must come from.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import Sequence
from typing import Any, TypeAlias

from isthmus.transports.datagrams import DatagramCounters

Peer: TypeAlias = bytes

BATCH = 64
"""Datagrams that are read, or sent, at most at a time."""
BUFFER_SIZE = 4 * 1024 * 1024
"""What the kernel is asked to hold for a socket in each direction; it gives what net.core.*mem_max allows."""

_SIZE = 65_536
_HEAD = struct.Struct("!HI")
_V4_INFO = struct.Struct(
    "=I4s4s"
)  # in_pktinfo: interface, local address, the header's destination; see ip(7)
_V6_INFO = struct.Struct("=16sI")  # in6_pktinfo: address, interface; see RFC 3542
_V4_INFO_OPTION = 8 if sys.platform == "linux" else None  # IP_PKTINFO, which Python does not name everywhere
_UNREACHABLE = (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN)


class PlainDatagramSocket:
    """A UDP socket that does not block, whose datagrams are read and sent many at a time.

    It owns `sock`: close it here, so that its descriptor, which may be another's then, is used no more.
    """

    __slots__ = ("_socket",)

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def close(self) -> None:
        """Close the socket; what is sent after that is counted as not sent."""
        self._socket.close()

    def receive(self) -> list[bytes]:
        """Return the datagrams that wait at a connected socket, at most `BATCH`; none is an empty list.

        Raises OSError: what the network said about an earlier datagram.
        """
        found: list[bytes] = []
        try:
            while len(found) < BATCH:
                found.append(self._socket.recv(_SIZE))
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            if not found:
                raise
        return found

    def receive_from(self) -> dict[Peer, list[bytes]]:
        """Return the datagrams that wait at a bound socket, at most `BATCH`, by who sent them.

        Raises OSError.
        """
        sock = self._socket
        found: dict[Peer, list[bytes]] = {}
        try:
            for _ in range(BATCH):
                if hasattr(sock, "recvmsg"):
                    data, extra, _, address = sock.recvmsg(_SIZE, 64)
                else:
                    (data, address), extra = sock.recvfrom(_SIZE), []
                found.setdefault(peer_of(sock.family, address, extra), []).append(data)
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            if not found:
                raise
        return found

    def send(self, datagrams: list[bytes], start: int, peer: Peer | None = None) -> int:
        """Send `datagrams` from index `start` on, at most `BATCH`, to `peer`, or where it is connected.

        Returns how many the kernel took, at least one. Raises OSError where it did not take the first.
        """
        sock = self._socket
        taken = 0
        for data in datagrams[start : start + BATCH]:
            try:
                if peer is None:
                    sock.send(data)
                elif len(peer) in (14, 38):
                    sock.sendmsg([data], [_answer_from(peer)], 0, _target(peer))
                else:
                    sock.sendto(data, _target(peer))
            except OSError:
                if taken:
                    break
                raise
            taken += 1
        return taken

    def send_all(self, datagrams: list[bytes], counters: DatagramCounters, peer: Peer | None = None) -> None:
        """Send `datagrams` to `peer`, or where the socket is connected; what cannot be sent is counted."""
        start, total = 0, len(datagrams)
        told = False
        while start < total:
            try:
                start += self.send(datagrams, start, peer)
            except (BlockingIOError, InterruptedError):
                counters.dropped_buffer += total - start
                return
            except OSError as error:
                if error.errno in _UNREACHABLE and not told:
                    # What the network said about an earlier one: this one was not sent, so try once more.
                    told = True
                    counters.unreachable += 1
                    continue
                if error.errno == errno.EMSGSIZE:
                    counters.dropped_oversized += 1
                elif error.errno == errno.ENOBUFS:
                    counters.dropped_buffer += 1
                else:
                    counters.dropped_unsent += 1
                start += 1


def prepare(sock: socket.socket) -> None:
    """Set what every UDP socket of isthmus has: not blocking, room for bursts."""
    sock.setblocking(False)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, BUFFER_SIZE)


def answer_from_where_it_came(sock: socket.socket) -> None:
    """Have a socket that is bound to every address note which one each datagram was sent to."""
    if _V4_INFO_OPTION is None:
        return
    if sock.family == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_IP, _V4_INFO_OPTION, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)


def peer_address(peer: Peer) -> tuple[str, int]:
    """Return the address of a peer and its port, as `socket.getpeername` would."""
    port, scope = _HEAD.unpack_from(peer)
    if len(peer) < 22:
        return socket.inet_ntop(socket.AF_INET, peer[6:10]), port
    host = socket.inet_ntop(socket.AF_INET6, peer[6:22])
    return (f"{host}%{scope}" if scope else host), port


def peer_of(family: int, address: tuple[Any, ...], extra: Sequence[tuple[int, int, bytes]] = ()) -> Peer:
    """Return the peer at a socket address; `extra` is what `recvmsg` told beside it."""
    scope = address[3] if family == socket.AF_INET6 else 0
    packed = socket.inet_pton(family, address[0].partition("%")[0])
    local = b""
    for level, kind, data in extra:
        if level == socket.IPPROTO_IP and kind == _V4_INFO_OPTION and family == socket.AF_INET:
            local = _V4_INFO.unpack_from(data)[1]
        elif level == socket.IPPROTO_IPV6 and family == socket.AF_INET6 and kind == socket.IPV6_PKTINFO:
            local = _V6_INFO.unpack_from(data)[0]
    return _HEAD.pack(address[1], scope) + packed + local


def _target(peer: Peer) -> tuple[str, int] | tuple[str, int, int, int]:
    port, scope = _HEAD.unpack_from(peer)
    if len(peer) < 22:
        return socket.inet_ntop(socket.AF_INET, peer[6:10]), port
    return socket.inet_ntop(socket.AF_INET6, peer[6:22]), port, 0, scope


def _answer_from(peer: Peer) -> tuple[int, int, bytes]:
    if len(peer) == 14:
        return socket.IPPROTO_IP, _V4_INFO_OPTION or 0, _V4_INFO.pack(0, peer[10:14], bytes(4))
    scope = _HEAD.unpack_from(peer)[1]
    return socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, _V6_INFO.pack(peer[22:38], scope)


DatagramSocket: type[PlainDatagramSocket] = PlainDatagramSocket
if os.environ.get("ISTHMUS_PURE") != "1":
    try:
        from isthmus.transports import _datagram_socket
    except ImportError:
        pass  # not built, or a system without these calls: the plain one serves
    else:
        DatagramSocket = _datagram_socket.DatagramSocket

COMPILED = DatagramSocket is not PlainDatagramSocket
