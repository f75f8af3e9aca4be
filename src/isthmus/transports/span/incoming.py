"""A stream that the peer opened, as what an accept offers to its service."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable

from isthmus import layer
from isthmus.errors import ConnectError, StreamReset
from isthmus.identity import ANONYMOUS, Identity
from isthmus.span import Code
from isthmus.transports.base import Receiver
from isthmus.transports.span.stream import SpanStream
from isthmus.uri import Address


class SpanIncoming:
    """A stream that the peer opened, offered to a service. It holds a place in the quota until it is over."""

    __slots__ = ("_lost", "_transport", "address", "gone", "identity")

    early = True

    def __init__(self, address: Address, transport: SpanStream, identity: Identity = ANONYMOUS) -> None:
        self.address = address
        self.identity = identity
        self.gone: Callable[[], None] | None = None
        self._transport = transport
        self._lost = False
        transport.incoming = self

    @property
    def peer(self) -> str:
        return self._transport.origin

    def left(self) -> None:
        """The stream was reset before it was answered."""
        self._lost = True
        gone, self.gone = self.gone, None
        if gone is not None:
            gone()

    def accept(self, receiver: Receiver) -> None:
        transport = self._transport
        transport.incoming = None
        if not self._lost:
            transport.accept(receiver)
            return
        layer.made(receiver, transport)
        error = StreamReset("the other side reset the stream before it was answered")
        asyncio.get_running_loop().call_soon(receiver.connection_lost, error)

    def refuse(self, error: ConnectError) -> None:
        # Names of hosts behind the gateway are nobody's business in front of it: only the code is told.
        self._transport.incoming = None
        if not self._lost:
            self._transport.refuse(_code_of(error))


def _code_of(error: ConnectError) -> Code:
    if error.status == 504:
        return Code.TIMEOUT
    if error.status == 503:
        return Code.GOING
    refused = isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.ECONNREFUSED
    return Code.REFUSED if refused else Code.UNREACHABLE
