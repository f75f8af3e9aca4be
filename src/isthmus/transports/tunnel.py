"""Connecting through a proxy: a connection to it, what is to be said to it, then the destination's bytes.

A chain of proxies is tunnels within each other: the connector `below` of one is the tunnel before it. Once
the way is open nothing stands in it: what is above gets the transport of what is below.

What may take its time (a token of Kerberos's) is worked out by a few threads of the process; meanwhile the
proxy is not read.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from isthmus.config.proxies import Proxy
from isthmus.errors import ConnectError
from isthmus.transports.base import Connector, Dial, Receiver, Transport
from isthmus.transports.negotiation import Negotiation, Refused
from isthmus.uri import Address

Failed = Callable[[ConnectError], None]

_WORKERS = 4
"""Steps that are worked out at once, of all connects of the process."""


class TunnelConnector:
    """Reaches `address` (or, in a chain, what is on its way) through `proxy`, which `below` connects to.

    `negotiation` makes what is said to the proxy, once for each connect. `timeout`, in seconds, is for all
    that a connect takes. Everything that fails is told in terms of `address`.
    """

    def __init__(
        self,
        below: Connector,
        address: Address,
        proxy: Proxy,
        negotiation: Callable[[], Negotiation],
        timeout: float,
    ) -> None:
        self.address = address
        self.below = below
        self.proxy = proxy
        self.negotiation = negotiation
        self.timeout = timeout

    def connect(self, receiver: Receiver, failed: Failed, *, origin: str = "", early: bool = False) -> Dial:
        dial = _TunnelDial(self, receiver, failed)
        dial.start()
        return dial

    def close(self) -> None:
        self.below.close()


class _TunnelDial:
    """One connect: the receiver of the connection to the proxy until the way is open."""

    __slots__ = (
        "_asked",
        "_connector",
        "_dial",
        "_done",
        "_ended_with",
        "_failed",
        "_held",
        "_negotiation",
        "_receiver",
        "_timer",
        "_transport",
        "_working",
    )

    def __init__(self, connector: TunnelConnector, receiver: Receiver, failed: Failed) -> None:
        self._connector = connector
        self._negotiation = connector.negotiation()
        self._receiver = receiver
        self._failed = failed
        self._dial: Dial | None = None
        self._transport: Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._asked = False
        self._done = False
        self._working = False  # a thread has the negotiation
        self._held = bytearray()  # what came meanwhile
        self._ended_with: tuple[Exception | None] | None = None  # how the connection ended meanwhile

    def start(self) -> None:
        self._dial = self._connector.below.connect(self, self._not_reached)
        # After what is below has set its own: the first that rings is the one that knows what is under way.
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._connector.timeout, self._timed_out)

    def cancel(self) -> None:
        """Give up: nothing is called any more."""
        self._done = True
        if self._timer is not None:
            self._timer.cancel()
        if self._dial is not None:
            self._dial.cancel()
            self._dial = None
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()

    # --- the receiver of the connection to the proxy

    def connection_made(self, transport: Transport) -> None:
        self._dial = None
        self._transport = transport
        self._asked = True
        if self._negotiation.slow:
            self._work(transport, self._negotiation.start)
            return
        try:
            transport.write(self._negotiation.start())
        except Refused as error:
            # Not from inside `connection_made`, which may be told before `connect` of what is below returns.
            asyncio.get_running_loop().call_soon(self._refused, error)

    def data_received(self, data: memoryview) -> None:
        if self._done or self._transport is None:
            return
        if self._working:
            self._held += data
            return
        if self._negotiation.slow:
            self._work(self._transport, partial(self._negotiation.receive, memoryview(bytes(data))))
            return
        try:
            to_send = self._negotiation.receive(data)
        except Refused as error:
            self._refused(error)
        else:
            self._said(self._transport, to_send)

    def _said(self, transport: Transport, to_send: bytes) -> None:
        """Go on after a step of the negotiation."""
        if self._negotiation.opened:
            self._open(transport)
        elif self._negotiation.again:
            self._connect_again()
        elif to_send:
            transport.write(to_send)

    def _work(self, transport: Transport, step: Callable[[], bytes]) -> None:
        """Take a step of the negotiation off the loop."""
        loop = asyncio.get_running_loop()
        self._working = True
        transport.pause_reading()
        done = asyncio.wrap_future(_workers().submit(step), loop=loop)
        done.add_done_callback(partial(self._worked, transport))

    def _worked(self, transport: Transport, done: asyncio.Future[bytes]) -> None:
        self._working = False
        held, self._held = self._held, bytearray()
        error = done.exception()
        if self._done or self._transport is not transport:
            return
        if error is not None:
            if not isinstance(error, Refused):
                raise error
            self._refused(error)
            return
        transport.resume_reading()
        self._said(transport, done.result())
        if held:
            self.data_received(memoryview(held))
        if self._ended_with is not None and not self._working:
            (ended,) = self._ended_with
            self._ended(ended)

    def eof_received(self) -> None:
        self._ended(None)

    def pause_writing(self) -> None:
        """What is said to a proxy is small; there is nothing to hold back."""

    def resume_writing(self) -> None:
        """See `pause_writing`."""

    def connection_lost(self, error: Exception | None) -> None:
        self._ended(error)

    # --- what follows

    def _open(self, transport: Transport) -> None:
        self._done = True
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        transport.set_receiver(self._receiver)
        self._receiver.connection_made(transport)
        if self._negotiation.rest:
            self._receiver.data_received(memoryview(bytearray(self._negotiation.rest)))

    def _ended(self, error: Exception | None) -> None:
        if self._done or self._transport is None:
            return
        if self._working:
            self._ended_with = (error,)
            return
        try:
            self._negotiation.ended()
        except Refused as refused:
            self._refused(refused, error)
        else:
            self._connect_again()

    def _connect_again(self) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.set_receiver(_Nobody())
            transport.abort()
        self._asked = False
        self._ended_with = None
        self._dial = self._connector.below.connect(self, self._not_reached)

    def _refused(self, error: Refused, cause: Exception | None = None) -> None:
        proxy = self._connector.proxy
        text = f"Unable to connect to {self._connector.address}: the proxy {proxy}: {error}"
        self._fail(ConnectError(text, status=error.status, hint=error.hint), cause or error)

    def _not_reached(self, error: ConnectError) -> None:
        self._dial = None
        below = f"Unable to connect to {self._connector.below.address}: "
        if str(error).startswith(below) and self._connector.below.address != self._connector.address:
            reason = str(error).removeprefix(below)
            text = (
                f"Unable to connect to {self._connector.address}: the proxy {self._connector.proxy}: {reason}"
            )
            self._fail(ConnectError(text, status=error.status, hint=error.hint), error)
        else:
            self._fail(error, error.__cause__)

    def _timed_out(self) -> None:
        proxy, seconds = self._connector.proxy, self._connector.timeout
        doing = "did not open the way" if self._asked else "cannot be reached"
        text = (
            f"Unable to connect to {self._connector.address}: the proxy {proxy} {doing} within {seconds:g} s"
        )
        hint = "check the proxy's address and port, and whether it waits for the destination"
        self._fail(ConnectError(text, status=504, hint=hint), None)

    def _fail(self, error: ConnectError, cause: BaseException | None) -> None:
        if self._done:
            return
        if cause is not error:
            error.__cause__ = cause
        self.cancel()
        self._failed(error)


@functools.cache
def _workers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_WORKERS, "isthmus-proxy-login")


class _Nobody:
    """The receiver of a connection that is not wanted any more."""

    def connection_made(self, transport: Transport) -> None: ...
    def data_received(self, data: memoryview) -> None: ...
    def eof_received(self) -> None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...
    def connection_lost(self, error: Exception | None) -> None: ...
