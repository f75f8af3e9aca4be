"""The emulated WebSockets of one ws or wss accept: by what name each is asked for, and how many there may be.

Each has a place among `maximum.connections` beside those of its HTTP connections, as it outlives them.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from isthmus.config.model import AcceptOptions
from isthmus.config.networks import among
from isthmus.errors import StreamReset
from isthmus.transports.base import Transport
from isthmus.transports.cross_site import CrossSite
from isthmus.transports.listen import Quota
from isthmus.transports.wse.accepted import AcceptedStream
from isthmus.transports.wse.exchange import Exchange, Ignored
from isthmus.uri import Address
from isthmus.websocket.handshake import HandshakeError, RequestHead, message_head
from isthmus.wse.requests import Creation, Place, accept_creation

if TYPE_CHECKING:
    pass

log = logging.getLogger(__name__)

_NAME_BYTES = 24  # nobody may guess it: it stands for the login
_KNOWN = ("peername", "sockname", "scheme")
_OWN_FIELDS = frozenset(
    (
        "content-type",
        "x-accept-commands",
        "x-next-protocol",
        "x-sequence-no",
        "x-websocket-extensions",
        "x-websocket-protocol",
        "x-websocket-version",
    )
)
_OVERLOAD = HandshakeError(503, "there are as many connections as there may be", (("Retry-After", "5"),))


class EmulatedHandshake:
    """A right request for an emulated WebSocket, not answered yet: what `Upgrade` is for a real one."""

    __slots__ = ("_accept", "_creation", "_exchange", "request", "subprotocol")

    def __init__(self, accept: EmulationAccept, creation: Creation, exchange: Exchange) -> None:
        self.request = creation.request
        self.subprotocol = creation.subprotocol
        self._accept = accept
        self._creation = creation
        self._exchange = exchange

    def open(self) -> Transport:
        """Answer it: return what the WebSocket is on."""
        return self._accept.open(self._creation, self._exchange)


Admit = Callable[[EmulatedHandshake, Transport], None]
"""Takes a right handshake and its connection, to find out who may come in and what the service says."""


class EmulationAccept:
    """The emulated WebSockets of one accept. `quota` counts those of the whole process."""

    def __init__(self, address: Address, options: AcceptOptions, cross_site: CrossSite, quota: Quota) -> None:
        self.address = address
        self.options = options
        self.streams: dict[str, AcceptedStream] = {}
        self._cross_site = cross_site
        self._quota = quota

    def take(
        self, exchange: Exchange, place: Place, admit: Admit, timeout: float, subprotocols: Sequence[str]
    ) -> None:
        """Answer a request for `place`, whose body may take `timeout` seconds where nobody wants it."""
        request = exchange.request
        origin = request.get("origin")
        if request.method == "OPTIONS":
            self._preflight(exchange)
        elif not self._cross_site.allows(origin, request.host):
            exchange.refuse(HandshakeError(403, "pages of other sites may not connect here"))
        elif place.kind == "create":
            try:
                creation = accept_creation(request, place, subprotocols=subprotocols)
                if creation.subprotocol is None and self.options.span_mode == "required":
                    raise HandshakeError(400, "only span is spoken here")
                if len(self.streams) >= self.options.emulation_maximum:
                    raise _OVERLOAD
            except HandshakeError as error:
                exchange.refuse(error)
                return
            handshake = EmulatedHandshake(self, creation, exchange)
            exchange.read(Ignored(lambda: admit(handshake, exchange.transport)), timeout)
        else:
            self._request(exchange, place, timeout)

    def _request(self, exchange: Exchange, place: Place, timeout: float) -> None:
        stream = self.streams.get(place.name)
        if stream is None or stream.encoding != place.encoding:
            exchange.refuse(HandshakeError(404, ""))
        elif place.kind == "upstream":
            stream.upstream(exchange)
        else:
            exchange.read(Ignored(lambda: stream.downstream(exchange)), timeout)

    def open(self, creation: Creation, exchange: Exchange) -> Transport:
        """Answer a creation: return the emulated WebSocket."""
        transport = exchange.transport
        known = {name: transport.info(name) for name in _KNOWN}
        stream = AcceptedStream(self, creation, secrets.token_urlsafe(_NAME_BYTES), known)
        if not self._quota.take():
            self._quota.times_reached += 1
            exchange.refuse(_OVERLOAD)
            full = StreamReset("the gateway has as many connections as it may have")
            stream.loop.call_soon(stream.lose, full)  # once it has a receiver
            return stream
        self.streams[stream.name] = stream
        request = creation.request
        origin = f"{self._scheme(request, transport)}://{request.host or self.address.authority}"
        exchange.answer(creation.response(origin, stream.name, self.fields(request)))
        return stream

    def forget(self, stream: AcceptedStream) -> None:
        """One is over."""
        if self.streams.pop(stream.name, None) is not None:
            self._quota.release()

    def stop(self) -> None:
        """End all of them."""
        for stream in list(self.streams.values()):
            stream.abort()

    def fields(self, request: RequestHead) -> list[tuple[str, str]]:
        """Return what an answer needs so that a page of another site may read it."""
        if not self._cross_site:
            return []
        fields = self._cross_site.fields(request.get("origin"), request.method)
        return list(fields.items())

    def _preflight(self, exchange: Exchange) -> None:
        """Answer a browser's question whether a page of another site may send a request of the emulation."""
        request = exchange.request
        origin, method = request.get("origin"), request.get("access-control-request-method")
        asked = request.tokens("access-control-request-headers")
        others = [name for name in asked if name.lower() not in _OWN_FIELDS]
        fields = None
        if origin is not None and method is not None:
            fields = self._cross_site.preflight(origin, method, others)
        if fields is None:
            exchange.refuse(HandshakeError(403, "pages of that site may not do this here"))
            return
        if asked:
            fields = {**fields, "Access-Control-Allow-Headers": ", ".join(sorted(_OWN_FIELDS | set(others)))}
        exchange.answer(message_head("HTTP/1.1 204 No Content", list(fields.items()), ()))

    def _scheme(self, request: RequestHead, transport: Transport) -> str:
        """Return the scheme that the client used, as a balancer tells it that is believed."""
        kind, peer = self.options.http_forwarded, transport.info("peername")
        if kind != "none" and isinstance(peer, tuple) and among(peer[0], self.options.trusted_sources):
            told = request.tokens("x-forwarded-proto")[-1:]
            if [each.lower() for each in told] == ["https"]:
                return "https"
        return "https" if self.address.kind.secure else "http"
