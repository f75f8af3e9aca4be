"""A WebSocket as one side of a flow: each binary message is one datagram, also an empty one.

A WebSocket does not drop; it queues. So that datagrams are fresh or not there at all, only what the kernel
takes at once is written, and it takes little beyond what is in flight (TCP_NOTSENT_LOWAT). The rest waits
here, at most `udp.maximum.delay` and `maximum.pending.bytes`; the oldest is dropped first.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

from isthmus.errors import ConnectError
from isthmus.transports import datagrams as sides
from isthmus.transports.base import Connector, Dial, Incoming, Transport
from isthmus.transports.datagrams import (
    MAXIMUM_DATAGRAM,
    DatagramCounters,
    DatagramLayer,
    DatagramReceiver,
    Freshness,
)
from isthmus.transports.stream_socket import keep_queue_short
from isthmus.transports.ws import WebSocketTransport
from isthmus.uri import Address

log = logging.getLogger(__name__)

UNSENT_IN_KERNEL = 32 * 1024
"""Bytes that the kernel may hold of a flow beyond what is in flight."""
GIVE_UP_MILLISECONDS = 30_000
"""How long a peer may acknowledge nothing of what was sent before its WebSocket counts as lost."""
OVERHEAD = 64
"""What a datagram counts for beside its bytes, so that empty ones are limited, too."""


class WebSocketDatagrams(DatagramLayer):
    """One open WebSocket as a `DatagramTransport`; it is the receiver of the `WebSocketTransport` below."""

    __slots__ = ("_below", "_blocked", "_counters", "_freshness", "_loop", "_receiver", "_size", "_waiting")

    def __init__(self, receiver: DatagramReceiver, freshness: Freshness, counters: DatagramCounters) -> None:
        self._receiver: DatagramReceiver | None = receiver
        self._freshness = freshness
        self._counters = counters
        self._loop = asyncio.get_running_loop()
        self._below: WebSocketTransport | None = None
        self._blocked = False
        self._waiting: deque[tuple[float, bytes]] | None = None
        self._size = 0

    # --- from below

    def connection_made(self, transport: Transport) -> None:
        assert isinstance(transport, WebSocketTransport)
        self._below = transport
        transport.gather_messages(MAXIMUM_DATAGRAM)
        transport.set_write_limit(0)
        _prepare(transport.info("socket"))
        if self._receiver is not None:
            self._receiver.datagrams_made(self)

    def messages_received(self, messages: list[bytes]) -> None:
        for data in messages:
            if len(data) > MAXIMUM_DATAGRAM:
                whole = [each for each in messages if len(each) <= MAXIMUM_DATAGRAM]
                self._counters.dropped_oversized += len(messages) - len(whole)
                messages = whole
                break
        if messages and self._receiver is not None:
            sides.deliver(self._receiver, messages)

    def data_received(self, data: memoryview) -> None:
        raise AssertionError("a WebSocket that gathers messages told a piece of one")

    def eof_received(self) -> None:
        receiver = self._receiver
        self.close()
        if receiver is not None:
            receiver.datagrams_lost(None)

    def pause_writing(self) -> None:
        self._blocked = True

    def resume_writing(self) -> None:
        self._blocked = False
        waiting = self._waiting
        if waiting is None or self._below is None:
            return
        self._drop_late()
        fresh = [data for _, data in waiting]
        for _ in range(self._below.write_messages(fresh)):
            self._size -= len(waiting.popleft()[1]) + OVERHEAD
        if not waiting:
            self._waiting = None

    def connection_lost(self, error: Exception | None) -> None:
        receiver = self._receiver
        self._end()
        if receiver is not None:
            receiver.datagrams_lost(error)

    # --- from above

    def send(self, datagrams: list[bytes]) -> None:
        below = self._below
        if below is None:
            return
        if not self._blocked:
            taken = below.write_messages(datagrams)
            if taken == len(datagrams):
                return
            datagrams = datagrams[taken:]
        self._hold(datagrams)

    def close(self) -> None:
        below = self._below
        self._end()
        if below is not None:
            below.close()

    def info(self, name: str) -> Any:
        return None if self._below is None else self._below.info(name)

    # --- waiting

    def _hold(self, datagrams: list[bytes]) -> None:
        waiting = self._waiting
        if waiting is None:
            waiting = self._waiting = deque()
        self._drop_late()
        now = self._loop.time()
        for data in datagrams:
            waiting.append((now, data))
            self._size += len(data) + OVERHEAD
        # The newest may wait in any case.
        while self._size > self._freshness.maximum_bytes and len(waiting) > 1:
            self._drop_oldest(waiting)

    def _drop_late(self) -> None:
        waiting = self._waiting
        since = self._loop.time() - self._freshness.maximum_delay
        while waiting and waiting[0][0] < since:
            self._drop_oldest(waiting)

    def _drop_oldest(self, waiting: deque[tuple[float, bytes]]) -> None:
        self._size -= len(waiting.popleft()[1]) + OVERHEAD
        self._counters.dropped_late += 1

    def _end(self) -> None:
        self._receiver = None
        self._below = None
        if self._waiting:
            self._counters.dropped_late += len(self._waiting)
        self._waiting = None


class WebSocketFlowIncoming:
    """A WebSocket that a ws accept offers to a service of datagrams: a `DatagramIncoming`."""

    __slots__ = ("_counters", "_freshness", "_incoming", "address")

    def __init__(self, incoming: Incoming, freshness: Freshness, counters: DatagramCounters) -> None:
        self.address = incoming.address
        self._incoming = incoming
        self._freshness = freshness
        self._counters = counters

    @property
    def peer(self) -> str:
        return self._incoming.peer

    @property
    def early(self) -> bool:
        return False

    def accept(self, receiver: DatagramReceiver) -> None:
        self._incoming.accept(WebSocketDatagrams(receiver, self._freshness, self._counters))

    def refuse(self, error: ConnectError) -> None:
        self._incoming.refuse(error)


class WebSocketFlowConnector:
    """Makes a WebSocket for each flow, with what connects plain WebSockets: a `DatagramConnector`."""

    def __init__(self, below: Connector, freshness: Freshness, counters: DatagramCounters) -> None:
        self.address: Address = below.address
        self._below = below
        self._freshness = freshness
        self._counters = counters

    def connect(
        self, receiver: DatagramReceiver, failed: Callable[[ConnectError], None], *, origin: str = ""
    ) -> Dial:
        flow = WebSocketDatagrams(receiver, self._freshness, self._counters)
        return self._below.connect(flow, failed, origin=origin)

    def close(self) -> None:
        """Nothing is kept."""


def _prepare(sock: socket.socket | None) -> None:
    """Have the kernel take little more than it can send, as what it has taken cannot be dropped any more, and
    give up a peer that takes nothing.
    """
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    keep_queue_short(sock, UNSENT_IN_KERNEL)
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    try:
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, GIVE_UP_MILLISECONDS)
    except OSError as error:
        log.debug("cannot set TCP_USER_TIMEOUT of the WebSocket of a flow: %s", error)
