"""The contract between layers.

A connection is a stack of layers. Each layer is a *receiver* to what is below it and a *transport* to what is
above it; the names are asyncio's, so there is nothing new to learn. Data goes forward by direct calls;
backward go pause and resume only. At the ends of the stack are a socket (below) and a service's `relay.Half`
(above).

Rules every layer keeps (tests/transports/conformance.py holds them against each scheme):

1. `connection_made` comes first and once, `connection_lost` last and once, and never from inside `write`,
   `write_eof`, `close` or `abort`.
2. A view given to `data_received` lives until the call returns; whoever keeps bytes copies them. The view is
   writable and the callee may overwrite it; what was held back comes as `bytes`. The same holds for a
   writable view given to `write`; `bytes` are never changed and may be kept. A receiver that keeps what it
   gets asks for `bytes`: see `KeepingTransport`.
3. `eof_received` comes at most once, after every byte before it; the other direction goes on. `write_eof`
   sends every byte before it first.
4. After `pause_reading` no `data_received` and no `eof_received` comes until `resume_reading`, except what
   a layer has in hands from the same read. Nothing comes from inside `resume_reading`.
5. `pause_writing` comes when more than the high-water mark is unsent, `resume_writing` when it has fallen to
   half of it.
6. `close` sends what is unsent, ends both directions in order and leads to `connection_lost(None)`; it reads
   no more. `abort` drops what is unsent and lets the other side see a reset. (A unix socket has none: the
   other side sees an end of input, and a reset only when it writes.)
7. `connection_lost(None)` says that all that was written was handed over and the connection ended in order;
   `connection_lost(error)` says that bytes may be missing: pass it on as a reset.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from isthmus.errors import ConnectError
from isthmus.identity import Identity
from isthmus.uri import Address

if TYPE_CHECKING:
    from aiohttp import web


class Receiver(Protocol):
    """What a layer offers to the layer below: it is told what happens."""

    def connection_made(self, transport: Transport) -> None:
        """The layer below is ready; `transport` stays the same until `connection_lost`."""

    def data_received(self, data: memoryview) -> None:
        """Bytes came. `data` is a writable view that is valid during the call and may be overwritten.

        From a stream of span, and where it was asked for (`KeepingTransport`), it may be `bytes` instead.
        """

    def eof_received(self) -> None:
        """The other side will send no more bytes; ours may still be sent."""

    def pause_writing(self) -> None:
        """More than the high-water mark is unsent: stop writing soon."""

    def resume_writing(self) -> None:
        """The unsent bytes fell to half the high-water mark."""

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is over: in order (None), or with bytes possibly missing."""


class Transport(Protocol):
    """What a layer offers to the layer above: it is told what to do."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send. A writable view may be overwritten during the call and is not kept after it."""

    def writelines(self, parts: Sequence[bytes | bytearray | memoryview]) -> None:
        """Send several buffers, in order, in as few system calls as may be; see `write` for each."""

    def write_eof(self) -> None:
        """Send what is unsent, then the end of our direction. Calling it again changes nothing."""

    def pause_reading(self) -> None:
        """Deliver nothing until `resume_reading`. Calling it again changes nothing."""

    def resume_reading(self) -> None:
        """Deliver again. Calling it again changes nothing."""

    def set_write_limit(self, high: int) -> None:
        """Set the high-water mark in bytes; the low one is half of it."""

    def unsent(self) -> int:
        """Return how many bytes were written that the kernel has not taken yet."""

    def set_receiver(self, receiver: Receiver) -> None:
        """From now on tell `receiver` instead; `connection_made` is not called. For a layer that is done (a
        handshake).
        """

    def close(self) -> None:
        """Send what is unsent, then end in order."""

    def abort(self) -> None:
        """Drop everything and let the other side see a reset."""

    def info(self, name: str) -> Any:
        """Return what a layer below knows, or None: peername, sockname, socket, ssl_object, scheme."""


class KeepingTransport(Transport, Protocol):
    """A transport that can hand out what it reads for good: `TcpTransport`, at the bottom of a stack.

    It is asked to for a transport that has `keeps`: one that holds what is written until it has arrived.
    """

    def read_for_keeping(self, keep: bool) -> None:
        """From now on give `data_received` `bytes` (up to 512 KiB) instead of a view: the receiver may keep
        them, and much at a time is not copied for it. False: views again.
        """


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a connection comes from at first, and where it was received: IP address and port of each."""

    source: tuple[str, int]
    destination: tuple[str, int]


class Incoming(Protocol):
    """A connection that an accept offers to its service, not yet answered.

    Exactly one of `accept` and `refuse` is called, once, now or later. Until then nothing is read from it, so
    that a service can connect first. A client that goes away meanwhile is found out when it is answered.
    """

    address: Address
    """The accept's public address."""
    gone: Callable[[], None] | None
    """Set it to be told, once, that the client has left before it was answered, where that is found out."""

    @property
    def identity(self) -> Identity:
        """Who connects: `ANONYMOUS` where no realm has asked."""

    @property
    def peer(self) -> str:
        """Who connects, for the log and for `Connector.connect`: `10.0.0.7:51324`; behind balancers that are
        believed, the one before them.
        """

    @property
    def early(self) -> bool:
        """Whether it may be accepted before its destination is known to answer: it then sees a reset, as any
        TCP client does. A Web client waits for its answer, which is to be the right one.
        """

    def accept(self, receiver: Receiver) -> None:
        """Answer it (a WebSocket client gets its 101); calls `receiver.connection_made` before it returns."""

    def refuse(self, error: ConnectError) -> None:
        """Tell the client why not: `error.status` for a Web client, a reset for any other."""


class Dial(Protocol):
    """A connect under way."""

    def cancel(self) -> None:
        """Give it up: neither `connection_made` nor `failed` comes any more."""


class Connector(Protocol):
    """Reaches one configured destination, again and again."""

    address: Address

    def connect(
        self,
        receiver: Receiver,
        failed: Callable[[ConnectError], None],
        *,
        origin: str = "",
        early: bool = False,
    ) -> Dial:
        """Begin to connect. Either `receiver.connection_made` or `failed` comes, once, and not before this
        returns.

        `origin` is the address of the client it is for, where the far side wants to know. With `early`,
        `connection_made` may come before the far side has answered; a `ConnectError` is then given to
        `connection_lost`.
        """

    def close(self) -> None:
        """Let go of what is kept for connections to come; those that stand are over already."""


class HttpHandler(Protocol):
    """Who answers the requests of an http accept."""

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request whose Host and path prefix are already known to be this accept's."""


def peer_name(peername: Any) -> str:
    """Return a socket's `peername` as it is logged: `10.0.0.7:51324`, `[::1]:51324`, `unix` or `unknown`.

    Port 0 is one that is not known: `10.0.0.7`.
    """
    if isinstance(peername, tuple) and peername[1:2] == (0,):
        return str(peername[0])
    if isinstance(peername, tuple) and len(peername) >= 2:
        return f"[{peername[0]}]:{peername[1]}" if ":" in str(peername[0]) else f"{peername[0]}:{peername[1]}"
    return "unknown" if peername is None else "unix"


def peer_of(name: str) -> tuple[str, int] | None:
    """Return the IP address and port that a `peer_name` says, port 0 where it says none; else None."""
    with_port = re.search(r"\]:[0-9]{1,5}$|^[0-9.]+:[0-9]{1,5}$", name)
    host, _, port = name.rpartition(":") if with_port else (name, "", "0")
    host = host.strip("[]").partition("%")[0]
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return None
    return (host, int(port)) if int(port) <= 65535 else None
