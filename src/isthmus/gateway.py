"""A gateway's life: from a configuration to services that run, are drained and stop.

The order of a start: destinations and certificates are read, every accept is bound, services get ready, then
all listen. Whatever fails before that leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from isthmus import __version__
from isthmus.accepts import Accepts, freshness_of
from isthmus.config.model import AcceptOptions, ConnectOptions, GatewayConfig, GatewayOptions, Service
from isthmus.config.proxies import Credential, Proxy, way_to
from isthmus.config.traffic import datagram_connect, stream_connect
from isthmus.errors import ConfigurationError, IsthmusError, KeystoreError
from isthmus.services import TYPES, AnyService, Surroundings
from isthmus.services.base import HttpService
from isthmus.services.proxy import ProxyRelay, ProxyService
from isthmus.transports import epoll, heap, stdio
from isthmus.transports.base import Connector
from isthmus.transports.credentials import fields_of
from isthmus.transports.datagrams import DatagramConnector, DatagramCounters
from isthmus.transports.event_loop import EventLoop
from isthmus.transports.outgoing import Outgoing
from isthmus.transports.processors import processors
from isthmus.transports.span.connect import SpanConnector
from isthmus.transports.span.farewells import farewells_of
from isthmus.transports.span.flow import SpanFlowConnector
from isthmus.transports.span.limits import FlowTerms
from isthmus.transports.spinning import LONGEST, Spinning
from isthmus.transports.stack import connector
from isthmus.transports.udp_connect import UdpConnector
from isthmus.transports.ws_datagrams import WebSocketFlowConnector
from isthmus.uri import Address

if TYPE_CHECKING:
    import ssl

    from isthmus.security import Certificates, ClientTls, Stores
    from isthmus.security.access import Access, Doors

log = logging.getLogger("isthmus")
_EVERY_HOST = ("0.0.0.0", "::")
_FAREWELL_SECONDS = 1.0
"""How long peers may take to hear that this gateway stops, after all else is over."""


class Gateway:
    """One gateway on the running loop: `start` once, then `stop`; a `stop` under way may be cancelled for
    another.

    `directory` is the folder that keystores are relative to; the `web` folder of `home` is what is served.
    """

    def __init__(self, config: GatewayConfig, *, directory: Path, home: Path) -> None:
        self.config = config
        self.accepts = Accepts(config.options, self._server_tls, self._access)
        self.finished = asyncio.Event()
        """Set when nothing is left to do: standard input and output were an accept, and are closed."""
        self.failed = False
        """Whether that ended in a reset."""
        self._directory = directory
        self._home = home
        self._stores: Stores | None = None
        self._doors: Doors | None = None
        self._running: list[AnyService] = []
        self._connectors: list[Connector] = []
        self._shared: dict[str, Connector] = {}  # of services whose streams and flows have one session

    async def start(self) -> None:
        """Bind every accept, start every service, listen.

        Raises an `IsthmusError`, having undone what was done.
        """
        self._warn_of_certificates()
        around = Surroundings(self._home, self._connector, self._datagram_connector)
        try:
            for service in self.config.services:
                running = TYPES[service.type](service, around)
                if isinstance(running, ProxyService) and any(at.scheme == "stdio" for at in service.accepts):
                    running.after_each = self._standard_finished
                self._running.append(running)
                self.accepts.add(self._with_seal(service), running)
            for running in self._running:
                await running.start()
            self.accepts.listen()
        except BaseException:
            await self.stop(0.0)
            raise

    async def stop(self, deadline: float) -> None:
        """Stop accepting, let what is in flight end within `deadline` seconds, then reset what is left."""
        self.accepts.stop_listening()
        # What answers HTTP is needed until the last request is answered.
        last = [running for running in self._running if isinstance(running, HttpService)]
        await asyncio.gather(
            *(running.stop(deadline) for running in self._running if running not in last),
            *(bridge.stop(deadline) for bridge in self.accepts.bridges),
        )
        self.accepts.stop()
        for each in self._connectors:
            each.close()
        await asyncio.gather(*(running.stop(0.0) for running in last))
        if self._doors is not None:
            self._doors.close()
        await farewells_of(asyncio.get_running_loop()).finish(_FAREWELL_SECONDS)

    def connections(self) -> int:
        """Return how many accepted connections are open."""
        return self.accepts.quota.used

    def _access(self, service: Service) -> Access | None:
        """Return who decides who may use a service; None where nobody does."""
        if not service.realm_name:
            return None
        from isthmus.security.access import Doors  # with its libraries: only realms pay

        if self._doors is None:
            self._doors = Doors(self.config, self._directory)
        return self._doors.access(service)

    def _with_seal(self, service: Service) -> Service:
        """Return a service whose files of keys stand where they are found from anywhere."""
        options = service.accept_options
        found = {
            name: self._directory / file
            for name in ("span_seal_key", "span_seal_clients")
            if (file := getattr(options, name)) is not None
        }
        if not found:
            return service
        return service.model_copy(update={"accept_options": options.model_copy(update=found)})

    def _connector(self, service: Service) -> Connector:
        made = self._shared.get(service.name)
        if made is None:
            made = self._make_connector(service)
            self._connectors.append(made)
            if service.streams and service.datagrams:
                self._shared[service.name] = made
        return made

    def _make_connector(self, service: Service) -> Connector:
        tls = cache(partial(self._client_tls, service))
        anonymous = cache(partial(self._client_tls, service, show=False))
        options = service.connect_options
        if options.authorization_file is not None:
            file = self._directory / options.authorization_file
            options = options.model_copy(update={"authorization_file": file})
            fields_of(options)  # what is wrong with it is to be known now
        if options.span_seal_key is not None:
            options = options.model_copy(update={"span_seal_key": self._directory / options.span_seal_key})
        return connector(
            stream_connect(service),
            options,
            lambda _: tls().current(),
            self.config.options.tls_transport,
            self.accepts.budgets,
            self._outgoing(service, lambda _: anonymous().current()),
        )

    def _outgoing(self, service: Service, anonymous: Callable[[ConnectOptions], ssl.SSLContext]) -> Outgoing:
        options = service.connect_options
        way = way_to(stream_connect(service), options, os.environ)
        if way.reason:
            log.info("%s: %s is reached %s", service.name, stream_connect(service), way)
        return Outgoing(
            lambda address: way_to(address, options, os.environ),
            self._credentials(service),
            service.accepts[0],
            anonymous,
        )

    def _credentials(self, service: Service) -> Callable[[Proxy], Credential | None]:
        options = service.connect_options
        if options.proxy_credentials_file is None and options.proxy_credentials_keyring is None:
            return lambda proxy: proxy.credential
        from isthmus.security.proxy_credentials import credentials_of

        return credentials_of(options, self._directory)

    def _datagram_connector(self, service: Service, counters: DatagramCounters) -> DatagramConnector:
        to = datagram_connect(service)
        if to.kind.datagrams:
            return UdpConnector(to, service.connect_options, counters)
        below, freshness = self._connector(service), freshness_of(service)
        if isinstance(below, SpanConnector):
            return SpanFlowConnector(below, FlowTerms(freshness, counters, with_streams=service.streams))
        return WebSocketFlowConnector(below, freshness, counters)

    def _standard_finished(self, relay: ProxyRelay) -> None:
        self.failed = relay.error is not None
        self.finished.set()

    # cryptography takes a noticeable time to import: only a configuration with TLS pays.

    def _warn_of_certificates(self) -> None:
        security = self.config.security
        for role, stored in (("keystore", security.keystore), ("truststore", security.truststore)):
            if stored is None:
                continue
            from isthmus.security import keystore

            for warning in keystore.warnings(stored, self._directory, role=role):
                log.warning("%s", warning)

    def _read_stores(self) -> Stores:
        from isthmus.security import Stores

        if self._stores is None:
            self._stores = Stores(self.config.security, self._directory)
        return self._stores

    def _client_tls(self, service: Service, show: bool = True) -> ClientTls:
        from isthmus.security import ClientTls

        options = service.connect_options
        verify = options.verify_server == "required"
        if not verify and show:
            log.warning(
                "%s: the certificate of %s is not verified (ssl.verify-server): anybody may pretend to be it",
                service.name,
                stream_connect(service),
            )
        return ClientTls(self._read_stores(), options, verify, show)

    def _server_tls(self, address: Address, options: AcceptOptions) -> Callable[[], Certificates]:
        from isthmus.security import ServerTls, covers, describe

        stored = self.config.security.keystore
        if stored is None:
            raise KeystoreError(
                f"{address} needs a certificate, and the configuration has no keystore",
                hint="add <security><keystore> with the certificate and key of this host",
            )
        tls = ServerTls(self._read_stores(), options, options.verify_client)
        certificates = describe(stored, self._directory)
        if address.host not in _EVERY_HOST and not any(covers(each, address.host) for each in certificates):
            log.warning(
                "%s: no client will believe the certificate %s: it is not for this host",
                address,
                certificates[0],
            )
        return tls.current


def run(config: GatewayConfig, *, source: str, directory: Path, home: Path) -> int:
    """Run a gateway in this process until it is told to stop (SIGTERM, SIGINT). Returns the exit code.

    `source` is what start-up says the configuration is. The first signal drains for `stop.timeout`, a second
    one stops at once. All that is said goes to the log.
    """
    heap.keep_freed()
    with asyncio.Runner(loop_factory=_loop_factory(config.options)) as runner:
        code = runner.run(_serve(config, source, directory, home))
    stdio.finish(5.0)
    return code


async def _serve(config: GatewayConfig, source: str, directory: Path, home: Path) -> int:
    began = time.monotonic()
    log.info("isthmus WebSocket Gateway (%s)", __version__)
    log.info("Configuration file: %s", source)
    log.info("Starting server")
    signals = _Signals()
    gateway = Gateway(config, directory=directory, home=home)
    log.info("Starting services")
    try:
        await gateway.start()
    except IsthmusError as error:
        log.error("%s", error)
        if error.hint:
            log.error("%s", error.hint)
        log.debug("the cause:", exc_info=error)
        log.error("Gateway failed to launch")
        return 2 if isinstance(error, (ConfigurationError, KeystoreError)) else 1
    _say_accepts(gateway)
    log.info("Started services")
    log.info("Started server successfully in %.3f secs at %s", time.monotonic() - began, _now())
    # What was made so far lives as long as the process: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    gc.enable()

    await signals.first_of(gateway.finished)

    began = time.monotonic()
    log.info("Stopping server")
    log.info("Stopping services")
    stopping = asyncio.ensure_future(gateway.stop(config.options.stop_timeout))
    if not await signals.second_or(stopping):
        log.warning("Told to stop at once: what is in flight is reset")
        stopping.cancel()
        await gateway.stop(0.0)
    _say_accepts(gateway)
    log.info("Stopped services")
    log.info("Stopped server successfully in %.3f secs at %s", time.monotonic() - began, _now())
    return 1 if gateway.failed else 0


class _Signals:
    """SIGTERM and SIGINT as events of the loop."""

    def __init__(self) -> None:
        self._first = asyncio.Event()
        self._second = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            try:
                loop.add_signal_handler(number, self._received)
            except NotImplementedError:  # Windows
                signal.signal(number, lambda *_: loop.call_soon_threadsafe(self._received))

    def _received(self) -> None:
        if self._first.is_set():
            self._second.set()
        self._first.set()

    async def first_of(self, finished: asyncio.Event) -> None:
        """Wait for the first signal, or until there is nothing left to do."""
        await _first_done(self._first.wait(), finished.wait())

    async def second_or(self, stopping: asyncio.Future[None]) -> bool:
        """Wait until the stop is complete; False if a second signal says that it must not take longer."""
        await _first_done(self._second.wait(), stopping)
        if stopping.done():
            stopping.result()
            return True
        return False


async def _first_done(*waits: Awaitable[object]) -> None:
    futures = [asyncio.ensure_future(wait) for wait in waits]
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
    futures[0].cancel()


def _say_accepts(gateway: Gateway) -> None:
    for line in gateway.accepts.lines:
        log.info("  %s", line)


def _now() -> str:
    return datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _loop_factory(options: GatewayOptions) -> Callable[[], asyncio.AbstractEventLoop]:
    """Return what makes the event loop: our own where there is epoll, unless told otherwise."""
    wanted = options.event_loop
    if wanted in ("auto", "isthmus") and epoll.available:
        spins = options.event_loop_spin == "on" or (options.event_loop_spin == "auto" and processors() >= 2)
        return lambda: EventLoop(Spinning(LONGEST if spins else 0.0))
    if wanted != "asyncio" and os.name == "posix":
        try:
            import uvloop
        except ImportError:
            if wanted == "uvloop":
                log.warning("event.loop is uvloop, which is not installed; using asyncio's own")
        else:
            return uvloop.new_event_loop
    if os.name == "nt":
        return asyncio.SelectorEventLoop
    return asyncio.new_event_loop
