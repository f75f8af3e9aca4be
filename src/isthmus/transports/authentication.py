"""Who a client is, found out before any service sees it: for WebSocket handshakes, requests, TLS streams.

    the guard                 a WebSocket or HTTP client gets          a stream in TLS gets
    ---------------------------------------------------------------------------------------
    admits                    the service's answer                     the same
    denies (`AccessDenied`)   its status, headers and reason           a reset: there is no way to tell it
    fails                     503, and the log says more               a reset, and the log says more

While that takes its time nothing of a WebSocket client is kept: it may not send before it is answered (RFC
6455, 4.1). One that leaves is noticed, and its place is free at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, cast

from isthmus.config.model import AcceptOptions
from isthmus.errors import AccessDenied
from isthmus.identity import Asked, Identity
from isthmus.transports.base import HttpHandler, Origin, Transport, peer_name
from isthmus.transports.forwarded import client_of
from isthmus.websocket.handshake import Headers, RequestHead, refusal

if TYPE_CHECKING:
    from aiohttp import web

    from isthmus.security.watch import Opened

log = logging.getLogger(__name__)


class Guard(Protocol):
    """Who decides for one service (`security.access.Access`)."""

    async def admit(self, asked: Asked) -> Identity:
        """Return who asks. Raises `AccessDenied`; may take its time, and may be cancelled."""

    def still_allowed(self, identity: Identity) -> bool:
        """Whether `identity`, admitted earlier, may open one more stream. Does not wait."""

    def watch(self, identity: Identity, opened: Opened) -> None:
        """End `opened` as soon as `identity` is no longer allowed."""


class Authentication:
    """The receiver of a connection whose WebSocket handshake is right, until the guard has decided.

    Then `admitted` is called with the identity, and must give the connection another receiver; or the client
    is told why not. Nothing is called when the client has left.
    """

    __slots__ = ("_admitted", "_gone", "_task", "_transport")

    def __init__(self, transport: Transport, admitted: Callable[[Transport, Identity], None]) -> None:
        self._transport = transport
        self._admitted = admitted
        self._task: asyncio.Task[None] | None = None
        self._gone = False

    def start(self, guard: Guard, request: RequestHead, peer: Any) -> None:
        """Begin: become the receiver, ask the guard. `peer` is who the client is, behind its balancers."""
        transport = self._transport
        transport.set_receiver(self)
        asked = Asked(
            headers=request.headers,
            query=request.query,
            client=address_of(peer),
            certificate=certificate_of(transport.info("ssl_object")),
        )
        self._task = asyncio.get_running_loop().create_task(self._decide(guard, asked))

    async def _decide(self, guard: Guard, asked: Asked) -> None:
        try:
            identity = await guard.admit(asked)
        except AccessDenied as denied:
            self._refuse(denied)
        except Exception as error:
            log.error("%s: a login could not be decided", asked.client, exc_info=error)
            self._refuse(AccessDenied(503, "who you are cannot be found out now"))
        else:
            if not self._gone:
                self._admitted(self._transport, identity)

    def _refuse(self, denied: AccessDenied) -> None:
        if self._gone:
            return
        log.info("%s: refused with %d: %s", self._peer(), denied.status, denied)
        self._transport.write(refusal(denied.status, str(denied), denied.headers))
        self._transport.close()

    # --- from below

    def connection_made(self, transport: Transport) -> None:
        """Not called: the connection is there."""

    def data_received(self, data: memoryview) -> None:
        self._leave()

    def eof_received(self) -> None:
        self._leave()

    def pause_writing(self) -> None:
        """Only one small refusal is ever written."""

    def resume_writing(self) -> None:
        """See `pause_writing`."""

    def connection_lost(self, error: Exception | None) -> None:
        self._gone = True
        if self._task is not None:
            self._task.cancel()

    def _leave(self) -> None:
        if not self._gone:
            self._gone = True
            if self._task is not None:
                self._task.cancel()
            self._transport.abort()

    def _peer(self) -> str:
        return peer_name(self._transport.info("peername"))


class StreamAuthentication:
    """The receiver of a connection in TLS without HTTP, until the guard has decided by its certificate.

    Then `admitted` is called with the identity, and must give the connection another receiver; it is watched.
    `origin` is who a balancer says it is from.
    """

    __slots__ = ("_admitted", "_gone", "_guard", "_origin", "_task")

    def __init__(
        self, guard: Guard, admitted: Callable[[Transport, Identity], None], origin: Origin | None = None
    ) -> None:
        self._guard = guard
        self._admitted = admitted
        self._origin = origin
        self._task: asyncio.Task[None] | None = None
        self._gone = False

    def connection_made(self, transport: Transport) -> None:
        transport.pause_reading()
        peer = transport.info("peername") if self._origin is None else self._origin.source
        certificate = certificate_of(transport.info("ssl_object"))
        asked = Asked(client=address_of(peer), certificate=certificate, websocket=False)
        self._task = asyncio.get_running_loop().create_task(self._decide(transport, asked))

    async def _decide(self, transport: Transport, asked: Asked) -> None:
        try:
            identity = await self._guard.admit(asked)
        except AccessDenied as denied:
            log.info("%s: refused: %s", asked.client, denied)
        except Exception as error:
            log.error("%s: a login could not be decided", asked.client, exc_info=error)
        else:
            if not self._gone:
                self._guard.watch(identity, cast("Opened", transport))
                self._admitted(transport, identity)
            return
        if not self._gone:
            transport.abort()

    def data_received(self, data: memoryview) -> None:
        raise AssertionError("a paused transport delivered data")

    def eof_received(self) -> None:
        raise AssertionError("a paused transport delivered an end of input")

    def pause_writing(self) -> None:
        """Nothing is written before the answer."""

    def resume_writing(self) -> None:
        """See `pause_writing`."""

    def connection_lost(self, error: Exception | None) -> None:
        self._gone = True
        if self._task is not None:
            self._task.cancel()


class GuardedHttp:
    """An HTTP service that sees only the requests of those whom `guard` admits."""

    def __init__(self, service: HttpHandler, guard: Guard, options: AcceptOptions) -> None:
        self._service = service
        self._guard = guard
        self._options = options

    async def start(self) -> None:
        """The gateway starts the service itself."""

    async def stop(self, deadline: float) -> None:
        """See `start`."""

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Find out who asks, then have the service answer."""
        transport = request.transport
        info: Callable[[str], Any] = transport.get_extra_info if transport is not None else lambda _: None
        headers = tuple((name.lower(), value) for name, value in request.headers.items())
        asked = Asked(
            headers=headers,
            query=request.rel_url.raw_query_string,
            client=address_of(believed(headers, self._options, info("peername"))),
            certificate=certificate_of(info("ssl_object")),
            websocket=False,
        )
        try:
            identity = await self._guard.admit(asked)
        except AccessDenied as denied:
            return _denial(denied)
        except Exception as error:
            log.error("%s: a login could not be decided", asked.client, exc_info=error)
            return _denial(AccessDenied(503, "who you are cannot be found out now"))
        mine = cast(Any, request)
        mine.user = identity
        mine.answer_fields = {**mine.answer_fields, "Cache-Control": "private"}  # it is nobody else's
        return await self._service.handle(request)


def _denial(denied: AccessDenied) -> web.StreamResponse:
    from http import HTTPStatus

    from aiohttp import web

    title = f"{denied.status} {HTTPStatus(denied.status).phrase}"
    return web.Response(
        status=denied.status,
        text=f"{title}\n{str(denied).capitalize()}.\n",
        headers={**dict(denied.headers), "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"},
    )


def believed(headers: Headers, options: AcceptOptions, peername: Any) -> Any:
    """Return who a request is from: `peername`, or whom the balancers name that `options` trust."""
    if options.http_forwarded == "none" or not isinstance(peername, tuple):
        return peername
    return client_of(headers, options.http_forwarded, options.trusted_sources, peername[:2])


def address_of(peername: Any) -> str:
    """Return the IP address of a `peername`; `local` for one that has none."""
    return str(peername[0]) if isinstance(peername, tuple) and peername else "local"


def certificate_of(ssl_object: Any) -> bytes | None:
    """Return the certificate that a client has shown and TLS has verified, in DER; None without."""
    if ssl_object is None:
        return None
    certificate: bytes | None = ssl_object.getpeercert(binary_form=True)
    return certificate or None
