"""A udp connect: one connected socket for each flow, which keeps its port towards the server."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import socket
from collections.abc import Callable
from typing import Any

from isthmus.config.model import Bind, ConnectOptions
from isthmus.errors import ConnectError
from isthmus.transports import datagram_socket, datagrams, multicast
from isthmus.transports.base import Dial
from isthmus.transports.datagram_socket import BATCH, DatagramSocket, PlainDatagramSocket
from isthmus.transports.datagrams import DatagramCounters, DatagramLayer, DatagramReceiver
from isthmus.transports.dial import failure, no_answer
from isthmus.transports.poller import READ, poller_of
from isthmus.uri import Address, is_multicast

log = logging.getLogger(__name__)

Failed = Callable[[ConnectError], None]
Target = tuple[int, Any]
"""Family and socket address."""

_BATCHES_AT_A_TIME = 4
KEEP_SECONDS = 5.0
"""How long the addresses of a name are believed, so that many new flows do not ask for it each."""


class UdpConnector:
    """Makes connected sockets to one address: a `DatagramConnector`.

    A group cannot be connected to: its socket sends there and takes what is sent to it by anybody.
    """

    def __init__(self, address: Address, options: ConnectOptions, counters: DatagramCounters) -> None:
        self.address = address
        self._options = options
        self._counters = counters
        self._loop = asyncio.get_running_loop()
        self._known: list[Target] = []
        self._known_until = 0.0
        self._asking: asyncio.Task[None] | None = None
        self._waiting: dict[_Dial, None] = {}
        match address.ip:
            case ipaddress.IPv4Address() | ipaddress.IPv6Address():
                self._known = _targets(socket.getaddrinfo(address.host, address.port, type=socket.SOCK_DGRAM))
                self._known_until = float("inf")

    def connect(self, receiver: DatagramReceiver, failed: Failed, *, origin: str = "") -> Dial:
        dial = _Dial(self, receiver, failed)
        if self._loop.time() < self._known_until:
            self._loop.call_soon(dial.finish, None)
        else:
            self._waiting[dial] = None
            if self._asking is None:
                self._asking = self._loop.create_task(self._ask())
        return dial

    def close(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None

    def forget(self, dial: _Dial) -> None:
        """A connect was given up; called by it."""
        self._waiting.pop(dial, None)

    def open(self, receiver: DatagramReceiver) -> UdpTransport:
        """Return a new socket's transport, which was not started yet. Raises OSError: of the last address."""
        error: OSError | None = None
        for family, target in self._known:
            try:
                return self._open_one(family, target, receiver)
            except OSError as each:
                error = each
        raise error or OSError("the name has no address")

    def _open_one(self, family: int, target: Any, receiver: DatagramReceiver) -> UdpTransport:
        sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            datagram_socket.prepare(sock)
            local = self._options.udp_bind
            if local is not None:
                sock.bind((local.host, local.port))
            group = None
            if is_multicast(target[0].partition("%")[0]):
                scope = target[3] if len(target) == 4 else 0
                host = target[0].partition("%")[0]
                multicast.prepare_sending(sock, f"{host}%{scope}" if scope else host, self._options)
                group = datagram_socket.peer_of(family, target)
            else:
                sock.connect(target)
            return UdpTransport(self._loop, sock, receiver, self._counters, group)
        except OSError:
            sock.close()
            raise

    async def _ask(self) -> None:
        address, seconds = self.address, self._options.connect_timeout
        error: ConnectError | None = None
        try:
            asking = self._loop.getaddrinfo(address.host, address.port, type=socket.SOCK_DGRAM)
            self._known = _targets(await asyncio.wait_for(asking, seconds))
            self._known_until = self._loop.time() + KEEP_SECONDS
        except TimeoutError:
            error = no_answer(address, seconds)
        except OSError as each:
            error = failure(address, each)
        self._asking = None
        waiting, self._waiting = self._waiting, {}
        for dial in waiting:
            dial.finish(error)

    def explain(self, error: OSError) -> ConnectError:
        """Say why a socket could not be made."""
        local: Bind | None = self._options.udp_bind
        result = failure(self.address, error)
        if local is not None:
            reason = os.strerror(error.errno or 0)
            text = f"Unable to connect to {self.address} from {local} (udp.bind): {reason}"
            result = ConnectError(text, hint="check that it is a free address of this machine")
            result.__cause__ = error
        return result


class _Dial:
    """One connect under way."""

    __slots__ = ("_connector", "_failed", "_receiver")

    def __init__(self, connector: UdpConnector, receiver: DatagramReceiver, failed: Failed) -> None:
        self._connector = connector
        self._receiver: DatagramReceiver | None = receiver
        self._failed = failed

    def finish(self, error: ConnectError | None) -> None:
        """The addresses are known, or cannot be."""
        receiver, self._receiver = self._receiver, None
        if receiver is None:
            return
        if error is None:
            try:
                transport = self._connector.open(receiver)
            except OSError as each:
                error = self._connector.explain(each)
            else:
                transport.start()
                return
        self._failed(error)

    def cancel(self) -> None:
        self._receiver = None
        self._connector.forget(self)


class UdpTransport(DatagramLayer):
    """One UDP socket to one server, or to one group: a `DatagramTransport`. It owns the socket.

    A server that is not there (ICMP) does not end it: it may come back.
    """

    __slots__ = ("_counters", "_datagrams", "_group", "_loop", "_receiver", "_socket")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        receiver: DatagramReceiver,
        counters: DatagramCounters,
        group: datagram_socket.Peer | None = None,
    ) -> None:
        self._loop = loop
        self._socket: socket.socket | None = sock
        self._datagrams: PlainDatagramSocket = DatagramSocket(sock)
        self._receiver = receiver
        self._counters = counters
        self._group = group

    def start(self) -> None:
        """Begin: the receiver is told `datagrams_made` before this returns."""
        if self._socket is not None:
            poller_of(self._loop).add(self._socket.fileno(), self, READ)
            self._receiver.datagrams_made(self)

    def ready(self, events: int) -> None:
        """The poller says that something happened to the socket."""
        for _ in range(_BATCHES_AT_A_TIME):
            if self._socket is None:
                return
            try:
                found = self._datagrams.receive()
            except OSError as error:
                self._counters.unreachable += 1
                log.debug("%s: %s", self._socket.getpeername() if self._group is None else "a group", error)
                continue
            if found:
                datagrams.deliver(self._receiver, found)
            if len(found) < BATCH:
                return

    def send(self, datagrams: list[bytes]) -> None:
        if self._socket is not None:
            self._datagrams.send_all(datagrams, self._counters, self._group)

    def close(self) -> None:
        sock, self._socket = self._socket, None
        if sock is not None:
            poller_of(self._loop).forget(sock.fileno())
            self._datagrams.close()

    def info(self, name: str) -> Any:
        if self._socket is None:
            return None
        if name == "peername":
            if self._group is not None:
                return datagram_socket.peer_address(self._group)
            return self._socket.getpeername()
        if name == "sockname":
            return self._socket.getsockname()
        return self._socket if name == "socket" else None


def _targets(infos: list[tuple[Any, ...]]) -> list[Target]:
    return list(dict.fromkeys((info[0], info[4]) for info in infos))
