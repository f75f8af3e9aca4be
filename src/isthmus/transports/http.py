"""HTTP on a connection that `transports.front` accepted: the bridge to aiohttp's request handler.

aiohttp parses requests and writes responses; this module gives it one of our transports, keeps its memory
bounded and gives the connection back when a later request asks for a WebSocket. aiohttp takes a noticeable
time to import, so the gateway imports this module only when a configuration has an HTTP service.

One connection is a `_Connection` (a `Receiver` to the layer below, an `asyncio.Transport` to aiohttp) with a
`_Handler` (aiohttp's protocol). Whatever we must know of aiohttp's inside is in `_Handler` and `_Request`.

What a client can pin in memory: one request head of `maximum_head_size`, one read of the layer below, and
what aiohttp buffers of a body (128 KiB). Pipelined requests beyond that stay in the kernel meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from aiohttp import hdrs, web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.http_parser import RawRequestMessage
from multidict import CIMultiDictProxy

from isthmus import access
from isthmus.identity import ANONYMOUS
from isthmus.transports.base import HttpHandler, Receiver, Transport, peer_name
from isthmus.websocket.handshake import refusal
from isthmus.websocket.heads import MAXIMUM_FIELDS
from isthmus.wse.requests import begins_emulation

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.streams import StreamReader

_log = logging.getLogger(__name__)

_LINGER = 5.0
"""Seconds in which the unread rest of a body is read and dropped, so that the client sees the answer."""

Resolve: TypeAlias = "Callable[[web.BaseRequest], HttpHandler | None]"
Upgrade: TypeAlias = Callable[[Transport, bytes], bool]


class HttpBridge:
    """Serves HTTP on the connections it is given.

    `resolve` finds the service of a request, or None (404). `request.host` is the authority that the client
    means, from an absolute request target or else from the Host field; empty when there is neither.

    `upgrade(transport, received)` is offered each request but the first (whoever called `take` has seen that)
    that asks for a WebSocket, real or emulated. `received` is its head and what has come behind it. True says
    that the hook owns the connection from now on and has given it another receiver. Reading is on and writing
    is not paused when it is called. False says that the request is answered like any other.

    `keepalive_timeout` is how long a connection may be without a complete request head, in seconds; 0 answers
    one request for each connection. `maximum_head_size` is in bytes. `server_header` is the Server field,
    empty for none. `client` names for access lines who sent a request over a connection from `peername`.
    """

    def __init__(
        self,
        resolve: Resolve,
        *,
        keepalive_timeout: float = 30.0,
        maximum_head_size: int = 16 * 1024,
        server_header: str = "isthmus",
        upgrade: Upgrade | None = None,
        client: Callable[[web.BaseRequest, Any], str] = lambda request, peername: peer_name(peername),
    ) -> None:
        self._resolve = resolve
        self.upgrade = upgrade
        self._keepalive_timeout = keepalive_timeout
        self._server: web.Server | None = None
        self._connections: set[_Connection] = set()
        self._stopping = False
        self._drained: asyncio.Future[None] | None = None
        self.maximum_head_size = maximum_head_size
        self.server_header = server_header
        self.client = client

    @property
    def one_request_only(self) -> bool:
        """Whether a connection is closed after the answer under way."""
        return self._stopping or self._keepalive_timeout <= 0

    def keep_alive_for(self, timeout: float) -> None:
        """Raise the keep-alive time to `timeout`, where it is less. For what connects from now on."""
        self._keepalive_timeout = max(self._keepalive_timeout, timeout)

    def connections(self) -> int:
        """Return how many connections are open."""
        return len(self._connections)

    def take(self, transport: Transport, received: bytes) -> Receiver:
        """Serve HTTP on `transport` from now on, beginning with the bytes already read from it.

        Reading must be on. Returns the receiver that is to be told everything that happens on the connection;
        `connection_made` need not be called on it. Must be called from the event loop.
        """
        loop = asyncio.get_running_loop()
        if self._server is None:
            self._server = web.Server(self._answer, request_factory=self._request, loop=loop)
        connection = _Connection(self, transport)
        handler = _Handler(
            self._server,
            connection,
            loop=loop,
            keepalive_timeout=self._keepalive_timeout if self._keepalive_timeout > 0 else 30.0,
            tcp_keepalive=False,
            logger=_log,
            access_log=None,
            max_line_size=self.maximum_head_size,
            max_field_size=self.maximum_head_size,
            lingering_time=_LINGER,
            auto_decompress=False,
        )
        self._connections.add(connection)
        connection.begin(handler, received)
        return cast(Receiver, connection)

    async def stop(self, deadline: float) -> None:
        """Close what is idle, let requests under way be answered, and abort what is left after `deadline`
        seconds."""
        self._stopping = True
        for connection in list(self._connections):
            connection.finish()
        if self._connections:
            self._drained = asyncio.get_running_loop().create_future()
            await asyncio.wait((self._drained,), timeout=deadline)
        for connection in list(self._connections):
            connection.abort()

    def forget(self, connection: _Connection) -> None:
        """The connection is over, or is not ours any more."""
        self._connections.discard(connection)
        if not self._connections and self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def _request(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> _Request:
        if self.one_request_only:
            message = message._replace(should_close=True)
        handler = cast(_Handler, protocol)
        request = _Request(message, payload, protocol, writer, task, asyncio.get_running_loop())
        request.server_header = self.server_header
        request.owes_continue = message.headers.get(
            hdrs.EXPECT, ""
        ).lower() == "100-continue" and message.version >= (1, 1)
        handler.begin_answer(request)
        return request

    async def _answer(self, base_request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request: aiohttp's handler for the whole server."""
        request = cast(_Request, base_request)
        if request.head_size() > self.maximum_head_size or len(request.headers) > MAXIMUM_FIELDS:
            return _refusal(431, "The request head is too large.")
        if request.method == hdrs.METH_CONNECT:
            return _refusal(405, "This is not a forward proxy.", allow="GET, HEAD")
        if request.raw_path == "*":
            return _refusal(405, "Ask for a path.", allow="GET, HEAD")
        if not request.rel_url.raw_path.startswith("/"):
            return _refusal(400, "The request target is not a path or an http URI.")
        if hdrs.EXPECT in request.headers and not request.owes_continue and request.version >= (1, 1):
            return _refusal(417, "Only Expect: 100-continue is understood.")
        handler = cast(_Handler, request.protocol)
        if self.upgrade is not None and handler.requests > 1 and request.asks_for_websocket():
            await request.writer.drain()
            if handler.connection.hand_over(request, self.upgrade):
                return web.Response()  # goes nowhere: aiohttp has lost its connection
            request.close_after = True  # the bytes after it are lost to aiohttp
        service = self._resolve(request)
        if service is None:
            return _refusal(404, "Nothing is served here.", close=False)
        return await service.handle(request)


def _refusal(status: int, reason: str, *, allow: str = "", close: bool = True) -> web.Response:
    phrase = HTTPStatus(status).phrase
    response = web.Response(
        status=status, text=f"{status} {phrase}\n{reason}\n", headers={"X-Content-Type-Options": "nosniff"}
    )
    if allow:
        response.headers[hdrs.ALLOW] = allow
    if close:
        response.force_close()
    return response


class _Request(web.BaseRequest):
    """aiohttp's request; it knows whether its body is complete, and asks for it with 100 Continue."""

    ATTRS = web.BaseRequest.ATTRS | {"server_header", "owes_continue", "close_after", "answer_fields", "user"}

    server_header = ""
    owes_continue = close_after = False
    answer_fields: Mapping[str, str] = MappingProxyType({})
    """What the answer gets, whoever makes it (`transports.cross_site`)."""
    user = ANONYMOUS  # who asks (`transports.authentication`)

    @property
    def complete(self) -> bool:
        """Whether the whole body has come."""
        return self._payload.is_eof()

    @property
    def host(self) -> str:  # aiohttp's asks the resolver for this machine's name
        url = self._message.url
        return url.authority if url.absolute else self._message.headers.get(hdrs.HOST, "")

    @property
    def content(self) -> StreamReader:
        self._continue()
        return self._payload

    async def read(self) -> bytes:
        self._continue()
        return await super().read()

    def _continue(self) -> None:
        """Tell a client that waits for it to send the body (RFC 9110, section 10.1.1)."""
        if self.owes_continue:
            self.owes_continue = False
            if self.transport is not None and self.writer.output_size == 0:
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        # A client that still waits for 100 Continue may send the body or not: the connection cannot go on.
        if self.owes_continue or self.close_after:
            response.force_close()
            response.headers[hdrs.CONNECTION] = "close"
        for name, value in self.answer_fields.items():
            there = response.headers.get(name)
            response.headers[name] = value if there is None else f"{there}, {value}"
        if self.server_header:
            response.headers[hdrs.SERVER] = self.server_header
        else:
            response.headers.pop(hdrs.SERVER, None)

    def head_size(self) -> int:
        """Return how many bytes the request line and the header fields took."""
        fields = sum(len(name) + len(value) + 4 for name, value in self._message.raw_headers)
        return len(self.method) + len(self.raw_path) + 12 + fields

    def head(self) -> bytes:
        """Return the request head as it came, but for blanks around field values."""
        lines = [f"{self.method} {self.raw_path} HTTP/1.1".encode("utf-8", "surrogateescape")]
        lines += [name + b": " + value for name, value in self._message.raw_headers]
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def asks_for_websocket(self) -> bool:
        """Whether this is a WebSocket handshake (RFC 6455, section 4.1).

        The Upgrade field must name nothing else: only then does aiohttp leave the bytes that follow alone.
        """
        headers: CIMultiDictProxy[str] = self._message.headers
        connection = ",".join(headers.getall(hdrs.CONNECTION, [])).lower().split(",")
        return (
            self.method == hdrs.METH_GET
            and self.version == (1, 1)
            and headers.get(hdrs.UPGRADE, "").lower() == "websocket"
            and "upgrade" in (token.strip() for token in connection)
            and self.complete
        )


class _Handler(web.RequestHandler):
    """aiohttp's protocol for one connection; it knows whether it is idle and whether it can use more
    bytes."""

    __slots__ = ("answering", "began", "connection", "request", "requests")

    def __init__(self, server: web.Server, connection: _Connection, **options: Any) -> None:
        super().__init__(server, **options)
        self.connection = connection
        self.request: _Request | None = None
        """The latest request, answered or not."""
        self.requests = 0
        self.began = 0.0
        self.answering = False

    @property
    def idle(self) -> bool:
        """Whether every request that came has been answered."""
        return not self.answering and not self._messages

    @property
    def hungry(self) -> bool:
        """Whether the next bytes are wanted now: a head when idle, or the rest of the body being read."""
        return not self._messages and not (
            self.answering and self.request is not None and self.request.complete
        )

    @property
    def at_head(self) -> bool:
        """Whether the next bytes belong to a request head."""
        return self.idle and (self.request is None or self.request.complete)

    def begin_answer(self, request: _Request) -> None:
        """A request is about to be answered."""
        self.request = request
        self.requests += 1
        self.began = self._loop.time()
        self.answering = True
        if not request.complete:
            self.connection.release()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send what is left of the answer. The second value says that the connection must end."""
        response, lost = await super().finish_response(request, resp, start_time)
        if access.on():
            seconds = self._loop.time() - self.began
            client = self.connection.bridge.client(request, self.connection.get_extra_info("peername"))
            path, sent = request.rel_url.raw_path, request.writer.output_size
            who = str(cast(_Request, request).user)
            access.request(client, request.method, path, response.status, sent, seconds, who=who)
        self.answering = False
        return response, self.connection.answered() or lost

    def input_ended(self) -> None:
        """The client sends no more: whoever waits for the rest of a body waits in vain."""
        if self.answering and self.request is not None and not self.request.complete:
            self.request._cancel(
                ConnectionResetError("the client ended its request in the middle of the body")
            )

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Turn what went wrong into an answer, or end the connection when an answer has already begun."""
        if isinstance(exc, ConnectionError):
            raise exc
        if status >= 500:
            _log.error("Error while answering %s %s", request.method, request.rel_url.raw_path, exc_info=exc)
        else:
            _log.debug("Bad request from %s: %s", request.remote, exc)
        if request.writer.output_size > 0:
            self.connection.abort()
            raise ConnectionResetError("the answer had already begun")
        if isinstance(exc, LineTooLong):
            return _refusal(431, "The request head is too large.")
        if status == 400:
            return _refusal(400, "The request is not HTTP that this server understands.")
        return _refusal(status, "The gateway's log says more.")


class _Rest:
    """Stands where aiohttp expects a WebSocket reader, to collect the bytes that followed an upgrade
    request."""

    def __init__(self) -> None:
        self.data = b""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.data += data
        return False, b""

    def feed_eof(self) -> None: ...


class _Connection(asyncio.Transport):
    """One HTTP connection: a `Receiver` to the layer below, an `asyncio.Transport` to aiohttp."""

    __slots__ = ("_below", "_closing", "_ended", "_handler", "_head", "_held", "_paused", "bridge")

    def __init__(self, bridge: HttpBridge, below: Transport) -> None:
        super().__init__()
        self.bridge = bridge
        self._below = below
        self._handler: _Handler | None = None  # None: the connection is over or handed over
        self._held = b""  # came while a request was being answered
        self._paused = False  # by aiohttp
        self._closing = False
        self._ended = False  # no request after those that came
        self._head = 0  # bytes of an incomplete head

    def begin(self, handler: _Handler, received: bytes) -> None:
        """Start aiohttp's handler with the bytes that came before."""
        self._handler = handler
        handler.connection_made(self)
        if received:
            self._feed(handler, received)

    # What the layer below tells us.

    def connection_made(self, transport: Transport) -> None:
        """Nothing to do: `HttpBridge.take` did it."""

    def data_received(self, data: memoryview) -> None:
        handler = self._handler
        if handler is None or self._closing:
            return
        if self._held or not handler.hungry:
            self._held += bytes(data)
            self._below.pause_reading()
            return
        self._feed(handler, bytes(data))

    def eof_received(self) -> None:
        if self._handler is not None:
            self._handler.input_ended()
            self.finish()

    def pause_writing(self) -> None:
        if self._handler is not None:
            self._handler.pause_writing()

    def resume_writing(self) -> None:
        if self._handler is not None:
            self._handler.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        handler = self._handler
        if handler is not None:
            self._let_go()
            handler.connection_lost(error)

    # What aiohttp asks for.

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._handler is not None and not self._closing:
            self._below.write(data if type(data) is bytes else bytes(data))

    def writelines(self, list_of_data: Any) -> None:
        if self._handler is not None and not self._closing:
            self._below.writelines([data if type(data) is bytes else bytes(data) for data in list_of_data])

    def write_eof(self) -> None:
        if self._handler is not None and not self._closing:
            self._below.write_eof()

    def can_write_eof(self) -> bool:
        return True

    def pause_reading(self) -> None:
        self._paused = True
        if self._handler is not None:
            self._below.pause_reading()

    def resume_reading(self) -> None:
        self._paused = False
        if self._handler is not None and not self._held and not self._closing:
            self._below.resume_reading()

    def is_reading(self) -> bool:
        return not self._paused and not self._closing

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if self._handler is not None and not self._closing:
            self._closing = True
            self._below.close()

    def abort(self) -> None:
        if self._handler is not None:
            self._closing = True
            self._below.abort()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        if high is not None:
            self._below.set_write_limit(high)

    def get_write_buffer_size(self) -> int:
        return self._below.unsent()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "socket":
            return default  # nothing may go past the layers below
        # aiohttp only asks whether there is one: that is how it tells https from http.
        found = self._below.info("ssl_object" if name == "sslcontext" else name)
        return default if found is None else found

    # What the bridge and the handler ask for.

    def release(self) -> None:
        """Give aiohttp what was held, as far as it can use it now, and read on."""
        handler = self._handler
        if handler is None or self._closing:
            return
        if self._held and handler.hungry:
            data, self._held = self._held, b""
            self._feed(handler, data)
        if not self._held and not self._paused and not self._closing:
            self._below.resume_reading()

    def answered(self) -> bool:
        """A request was answered: go on with the next. Returns whether it was the last one."""
        self.release()
        return self._ended and self._handler is not None and self._handler.idle

    def finish(self) -> None:
        """Take no request after those that came, and close when they are answered."""
        self._ended = True
        if self._handler is not None and self._handler.idle and not self._held:
            self.close()

    def hand_over(self, request: _Request, upgrade: Upgrade) -> bool:
        """Offer the connection, with a handshake and all that followed it, to `upgrade`."""
        handler = self._handler
        if handler is None or self._closing:
            return False
        rest = _Rest()
        handler.set_parser(cast(Any, rest))
        held, self._held = self._held, b""
        return self._offer(handler, request.head() + rest.data + held, upgrade)

    def _offer(self, handler: _Handler, received: bytes, upgrade: Upgrade) -> bool:
        self._below.resume_reading()
        if not upgrade(self._below, received):
            return False
        self._let_go()
        handler.connection_lost(None)
        return True

    def _feed(self, handler: _Handler, data: bytes) -> None:
        at_head, upgrade = handler.at_head, self.bridge.upgrade
        another = at_head and not self._head and handler.requests > 0 and begins_emulation(data)
        if another and upgrade is not None and self._offer(handler, data, upgrade):
            return
        handler.data_received(data)
        if not (at_head and handler.at_head):
            self._head = 0
            return
        self._head += len(data)
        if self._head > self.bridge.maximum_head_size:
            self.write(refusal(431))
            self.close()

    def _let_go(self) -> None:
        self._handler = None
        self._closing = True
        self._held = b""
        self.bridge.forget(self)
