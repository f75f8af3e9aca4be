"""`proxy`: joins each accepted connection to a new connection to its one destination (Kaazing's `proxy`).

    connect.strategy    the destination is connected                          the accept is answered
    -------------------------------------------------------------------------------------------------
    immediate           when a connection comes                               when that has succeeded
    deferred            when the client first sends, ends or goes             at once
    prepared            ahead: prepared.connection.count of them stand ready  at once, if one stands ready

A destination that cannot be reached is told at once: 502 or 504 to a Web client that still waits for its
answer, a reset to any other. With `maximum.recovery.interval` the clients after that one are turned away
until it can be reached again (`services.recovery`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable

from isthmus import access
from isthmus.config.model import ProxyProperties, Service
from isthmus.errors import ConnectError
from isthmus.services.recovery import Recovery
from isthmus.services.relay import Half, Relay
from isthmus.transports.base import Connector, Dial, Incoming

log = logging.getLogger(__name__)
_is_enabled = log.isEnabledFor
_DEBUG = logging.DEBUG

_PREPARE_RETRY_SECONDS = (0.5, 30.0)


class ProxyService:
    """Runs one `proxy` service. `connector` reaches its destination."""

    def __init__(self, service: Service, connector: Connector) -> None:
        properties = service.properties
        assert isinstance(properties, ProxyProperties)
        self.name = service.name
        self.properties = properties
        self.pending_limit = properties.maximum_pending_bytes
        self.connector = connector
        self.relays: set[ProxyRelay] = set()
        self.after_each: Callable[[ProxyRelay], None] | None = None
        """Told of each relay that is over."""
        self._stopping = False
        self.deferred = properties.strategy == "deferred"
        self._last_ended: asyncio.Event | None = None  # while it stops
        count = properties.prepared_connection_count if properties.strategy == "prepared" else 0
        self.prepared = PreparedConnections(self, count) if count else None
        interval = properties.maximum_recovery_interval
        self.recovery = Recovery(service.name, connector, interval) if interval else None

    async def start(self) -> None:
        if self.prepared is not None:
            self.prepared.fill()

    def incoming(self, incoming: Incoming) -> None:
        if self._stopping:
            self._turn_away(incoming, self.stopping_error())
            return
        if self.recovery is not None and self.recovery.away:
            self._turn_away(incoming, self.recovery.error())
            return
        ready = self.prepared.take() if self.prepared is not None else None
        relay = ready if ready is not None else ProxyRelay(self)
        self.relays.add(relay)
        relay.begin(incoming)

    async def stop(self, deadline: float) -> None:
        self._stopping = True
        if self.prepared is not None:
            self.prepared.stop()
        if self.recovery is not None:
            self.recovery.stop()
        if self.relays:
            self._last_ended = self._last_ended or asyncio.Event()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._last_ended.wait(), deadline)
        for relay in list(self.relays):
            relay.give_up()
        # What was aborted is told to its receivers by the loop, soon.
        await asyncio.sleep(0)

    def connections(self) -> int:
        return len(self.relays)

    def _turn_away(self, incoming: Incoming, error: ConnectError) -> None:
        if access.on():
            to = str(self.connector.address)
            access.connection(
                self.name,
                incoming.peer,
                to,
                received=0,
                sent=0,
                seconds=0.0,
                error=error,
                refused=True,
                who=str(incoming.identity),
            )
        incoming.refuse(error)

    def stopping_error(self) -> ConnectError:
        """Return what a client is told that comes too late."""
        return ConnectError(f"{self.name}: the gateway is stopping", status=503)

    def relay_finished(self, relay: ProxyRelay) -> None:
        """A relay is over."""
        self.relays.discard(relay)
        if self._last_ended is not None and not self.relays:
            self._last_ended.set()
        if self.after_each is not None:
            self.after_each(relay)


class ProxyRelay(Relay):
    """One accepted connection and the one made for it.

    Compiled, it has no `super()` in methods that others call as C functions: the base is named.
    """

    __slots__ = (
        "_began",
        "_client",
        "_dial",
        "_incoming",
        "_origin",
        "_refused",
        "_who",
        "service",
    )

    def __init__(self, service: ProxyService) -> None:
        Relay.__init__(self, service.pending_limit)
        self.service = service
        self._incoming: Incoming | None = None
        self._dial: Dial | None = None
        self._client = ""  # only known where access lines are wanted
        self._who = ""
        self._origin = ""  # only known where the destination is connected later
        self._began = 0.0
        self._refused = False

    def begin(self, incoming: Incoming) -> None:
        """Take on a connection that a client offers."""
        if access.on():
            self._client = incoming.peer
            self._who = str(incoming.identity)
            self._began = asyncio.get_running_loop().time()
        if self.service.deferred:
            self.accepted.first_event = self._connect_if_needed
            self._origin = incoming.peer
            incoming.accept(self.accepted)
            return
        if self.connected.transport is not None:
            incoming.accept(self.accepted)
            return
        self._incoming = incoming
        incoming.gone = self._client_gone
        self._connect(incoming.peer, incoming.early and self.service.recovery is None)

    def _connect(self, origin: str, early: bool) -> None:
        """Begin to reach the destination."""
        self._dial = self.service.connector.connect(self.connected, self._failed, origin=origin, early=early)

    def half_made(self, half: Half) -> None:
        if half is self.connected:
            self._dial = None
            if self.service.recovery is not None:
                self.service.recovery.found()
        Relay.half_made(self, half)

    def first_made(self, half: Half) -> None:
        incoming, self._incoming = self._incoming, None
        if incoming is not None:
            incoming.accept(self.accepted)

    def half_lost(self, half: Half, error: Exception | None) -> None:
        if half is self.accepted and self._dial is not None:
            self._dial.cancel()
            self._dial = None
        if isinstance(error, ConnectError):
            self._warn(error)
        Relay.half_lost(self, half, error)

    def _client_gone(self) -> None:
        """The client has left before it was answered: there is nobody to connect for."""
        self._incoming = None
        self._refused = True
        if self._dial is not None:
            self._dial.cancel()
            self._dial = None
        self.abort()
        self.finish_if_over()

    def finished(self) -> None:
        if not _is_enabled(_DEBUG):
            pass  # what is not told is not put together
        elif self.error is not None:
            log.debug("%s: reset after %d/%d bytes: %s", self.service.name, *self._counts(), self.error)
        else:
            log.debug("%s: closed after %d/%d bytes", self.service.name, *self._counts())
        if self._client:
            received, sent = self._counts()
            access.connection(
                self.service.name,
                self._client,
                str(self.service.connector.address),
                received=received,
                sent=sent,
                seconds=asyncio.get_running_loop().time() - self._began,
                error=self.error,
                refused=self._refused,
                who=self._who,
            )
        self.service.relay_finished(self)

    def give_up(self) -> None:
        """Reset both sides now, also while connecting."""
        if self._dial is not None:
            self._dial.cancel()
            self._dial = None
        incoming, self._incoming = self._incoming, None
        if incoming is not None:
            self._refused = True
            incoming.refuse(self.service.stopping_error())
        self.abort()
        self.finish_if_over()

    def _counts(self) -> tuple[int, int]:
        return self.accepted.received, self.connected.received

    def _connect_if_needed(self) -> None:
        if not self.accepted.lost:
            self._connect(self._origin, False)

    def _warn(self, error: ConnectError) -> None:
        log.warning("%s: %s%s", self.service.name, error, f" ({error.hint})" if error.hint else "")

    def _failed(self, error: ConnectError) -> None:
        self._dial = None
        self.error = error
        self._warn(error)
        if self.service.recovery is not None:
            self.service.recovery.lost()
        incoming, self._incoming = self._incoming, None
        if incoming is not None:
            self._refused = True
            incoming.refuse(error)
        self.abort()
        self.finish_if_over()


class PreparedConnections:
    """Keeps `count` connections to the destination ready for clients to come.

    A connection that the destination ends while it waits is replaced; one that is refused is tried again,
    later and later. What a server says first is held for its client.
    """

    def __init__(self, service: ProxyService, count: int) -> None:
        self._service = service
        self._count = count
        self._ready: deque[PreparedRelay] = deque()
        self._connecting: set[PreparedRelay] = set()
        self._retry: asyncio.TimerHandle | None = None
        self._retry_seconds = _PREPARE_RETRY_SECONDS[0]
        self._stopped = False

    @property
    def waiting(self) -> bool:
        """Whether a retry is due later."""
        return self._retry is not None

    def fill(self) -> None:
        """Connect as many as are missing, unless a retry is due later."""
        while (
            not self._stopped
            and self._retry is None
            and len(self._ready) + len(self._connecting) < self._count
        ):
            relay = PreparedRelay(self._service, self)
            self._connecting.add(relay)
            relay.prepare()

    def take(self) -> PreparedRelay | None:
        """Return a relay whose destination is connected, or None if none is."""
        if not self._ready:
            return None
        relay = self._ready.popleft()
        relay.taken = True
        self.fill()
        return relay

    def stop(self) -> None:
        """Let all that stand ready go."""
        self._stopped = True
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        for relay in [*self._ready, *self._connecting]:
            relay.give_up()
        self._ready.clear()
        self._connecting.clear()

    def connected(self, relay: PreparedRelay) -> None:
        """A connection stands ready."""
        self._connecting.discard(relay)
        self._ready.append(relay)
        self._retry_seconds = _PREPARE_RETRY_SECONDS[0]

    def ended(self, relay: PreparedRelay) -> None:
        """A connection could not be made, or ended before a client came for it."""
        self.withdraw(relay)
        if not self._stopped and self._retry is None:
            loop = asyncio.get_running_loop()
            self._retry = loop.call_later(self._retry_seconds, self._try_again)
            self._retry_seconds = min(self._retry_seconds * 2, _PREPARE_RETRY_SECONDS[1])

    def withdraw(self, relay: PreparedRelay) -> None:
        """No client may get this connection any more."""
        self._connecting.discard(relay)
        with contextlib.suppress(ValueError):
            self._ready.remove(relay)

    def _try_again(self) -> None:
        self._retry = None
        self.fill()


class PreparedRelay(ProxyRelay):
    """A relay whose destination is connected before its client comes."""

    __slots__ = ("_pool", "taken")

    def __init__(self, service: ProxyService, pool: PreparedConnections) -> None:
        super().__init__(service)
        self._pool = pool
        self.taken = False

    def prepare(self) -> None:
        """Connect, and wait for a client."""
        self.connected.first_event = self._event_while_waiting
        self._connect("", False)

    def first_made(self, half: Half) -> None:
        ProxyRelay.first_made(self, half)
        if not self.taken:
            self._pool.connected(self)

    def finished(self) -> None:
        if self.taken:
            ProxyRelay.finished(self)
        else:
            self._pool.ended(self)

    def _warn(self, error: ConnectError) -> None:
        if not self._pool.waiting:  # else another one has said it
            ProxyRelay._warn(self, error)

    def _event_while_waiting(self) -> None:
        if not self.taken and self.connected.ended and not self.connected.held:
            self._pool.withdraw(self)
            self.abort()
