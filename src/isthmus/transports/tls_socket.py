"""TLS directly on a socket, by aiofastnet: fast, without half-close."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import struct
import traceback
from collections.abc import Sequence
from typing import Any

import aiofastnet

from isthmus.errors import StreamReset
from isthmus.transports.base import Receiver
from isthmus.transports.tls_layer import (
    RECORD,
    HandshakeFailed,
    caused,
    cut,
    gathered,
    presented_certificate,
    slab,
    tls_error,
)

log = logging.getLogger(__name__)
# It logs OpenSSL's raw words at every failed handshake; what failed is told by `tls.py`, once and in plain
# words.
logging.getLogger("aiofastnet").setLevel(logging.CRITICAL)

CLOSE_SECONDS = 30.0
"""How long a connection that is closed may take to send what is unsent and to see the other side's end."""
_SOCKET_BUFFER = 12 * (RECORD + 64)
"""Bytes; aiofastnet holds one for each direction of each connection. Only what is used of it takes memory, so
a connection that moves little has no more than with a third of it; much takes fewer system calls.
"""
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class SocketTls(asyncio.BufferedProtocol):
    """aiofastnet's TLS on a socket as a `Transport`; to aiofastnet it is an asyncio protocol.

    TLS has no half-close here: aiofastnet answers a close_notify with its own and drops what is written after
    it. So `eof_received` says that the connection ends, what is written from then on makes its end a loss,
    and `write_eof` is `close`. What is above must have an end of input of its own: a WebSocket's Close, the
    length of an HTTP body.
    When a handshake fails, aiofastnet closes without the alert that would tell the other side why.
    """

    __slots__ = (
        "_aborted",
        "_canceled",
        "_closing",
        "_dropped",
        "_end_received",
        "_failed",
        "_receiver",
        "_socket",
        "_task",
        "_transport",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        context: ssl.SSLContext,
        receiver: Receiver,
        failed: HandshakeFailed,
        handshake_timeout: float,
        server_name: str | None,
    ) -> None:
        self._receiver = receiver
        self._failed = failed
        self._socket = sock
        self._transport: Any = None  # aiofastnet's; its stub lacks what asyncio's class has not
        self._canceled = False
        self._closing = False
        self._aborted = False
        self._end_received = False
        self._dropped = False  # something was written that was not sent
        self._task: asyncio.Task[None] | None = loop.create_task(
            self._shake_hands(loop, context, handshake_timeout, server_name)
        )
        self._task.add_done_callback(self._shaken)

    def cancel(self) -> None:
        """Give the handshake up; see `Dial`."""
        if self._transport is None and self._task is not None:
            self._canceled = True
            self._task.cancel()

    # --- handshake

    async def _shake_hands(
        self,
        loop: asyncio.AbstractEventLoop,
        context: ssl.SSLContext,
        seconds: float,
        server_name: str | None,
    ) -> None:
        common: dict[str, Any] = {
            "ssl": context,
            "ssl_handshake_timeout": seconds + 1.0,
            "ssl_shutdown_timeout": CLOSE_SECONDS,
            "ssl_incoming_bio_size": _SOCKET_BUFFER,
            "ssl_outgoing_bio_size": _SOCKET_BUFFER,
        }
        async with asyncio.timeout(seconds):
            quiet: Any = _QuietLoop(loop)
            if server_name is None:
                await aiofastnet.connect_accepted_socket(quiet, self._protocol, self._socket, **common)
            else:
                await aiofastnet.create_connection(
                    quiet, self._protocol, sock=self._socket, server_hostname=server_name, **common
                )

    def _protocol(self) -> SocketTls:
        return self

    def _shaken(self, task: asyncio.Task[None]) -> None:
        self._task = None
        error = None if task.cancelled() else task.exception()
        if self._transport is not None:
            return  # a connection: how that goes on, `connection_lost` says
        self._socket.close()
        if error is not None and not self._canceled:
            self._failed(error, _certificate_behind(error))

    # --- from below: asyncio's protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        if self._canceled:
            transport.abort()  # type: ignore[attr-defined]
        else:
            self._receiver.connection_made(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        return slab

    def buffer_updated(self, nbytes: int) -> None:
        self._receiver.data_received(slab[:nbytes])

    def eof_received(self) -> None:
        self._end_received = True
        if not self._closing:
            self._receiver.eof_received()

    def pause_writing(self) -> None:
        self._receiver.pause_writing()

    def resume_writing(self) -> None:
        self._receiver.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._canceled:
            return
        self._receiver.connection_lost(self._loss(exc))

    def _loss(self, error: Exception | None) -> StreamReset | None:
        """Return what the end of the connection means to what is above: None is an end in order."""
        if self._aborted:
            return StreamReset("the connection was aborted by this gateway")
        if self._dropped or (self._closing and self.unsent()):
            return caused(StreamReset("the other side ended the connection before all was sent"), error)
        if isinstance(error, TimeoutError) and self._closing:
            return None  # all was sent; only the other side's end did not come
        if error is not None:
            return tls_error(error)
        return None if self._closing or self._end_received else cut()

    # --- from above

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._may_write(len(data)):
            self._transport.write(data)

    def writelines(self, parts: Sequence[bytes | bytearray | memoryview]) -> None:
        if self._may_write(sum(map(len, parts))):
            self._transport.writelines(gathered(parts))

    def _may_write(self, size: int) -> bool:
        if self._closing:
            raise RuntimeError("write after write_eof or close")
        if self._end_received and size:
            self._dropped = True
        return size > 0 and not self._end_received and not self._aborted

    def write_eof(self) -> None:
        """The same as `close`: see the class."""
        self.close()

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._transport.resume_reading()

    def set_write_limit(self, high: int) -> None:
        self._transport.set_write_buffer_limits(high, high // 2)

    def unsent(self) -> int:
        """Return how many bytes the kernel has not taken yet; what is encrypted counts as ciphertext."""
        transport = self._transport
        size: int = max(transport.get_write_buffer_size(), transport.get_local_write_buffer_size())
        return size

    def set_receiver(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def close(self) -> None:
        if self._closing or self._aborted:
            return
        self._closing = True
        self._transport.resume_reading()  # or the other side's close_notify would not be seen
        self._transport.close()

    def abort(self) -> None:
        if self._aborted:
            return
        self._aborted = True
        try:
            self._transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE
            )
        except OSError as error:
            log.debug("cannot ask for a reset: %s", error)
        self._transport.abort()

    def info(self, name: str) -> Any:
        return "tls" if name == "scheme" else self._transport.get_extra_info(name)


class _QuietLoop:
    """The event loop as aiofastnet sees it.

    aiofastnet reports a client that goes away during the handshake as an exception that nobody handles: an
    error in the log for every port scan. `tls.py` tells it, in one line.
    """

    __slots__ = ("_loop",)

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if context.get("message") != "SSL handshake failed":
            self._loop.call_exception_handler(context)


def _certificate_behind(error: BaseException | None) -> bytes | None:
    """Return what a server presented whom aiofastnet did not believe, or None.

    aiofastnet hands its transport out only after the handshake; when that fails, nothing but the frames that
    the exception passed through still knows it.
    """
    if not isinstance(error, ssl.SSLCertVerificationError):
        return None
    for frame, _ in traceback.walk_tb(error.__traceback__):
        transport = frame.f_locals.get("transport")
        if transport is not None and hasattr(transport, "get_extra_info"):
            tls = transport.get_extra_info("ssl_object")
            return presented_certificate(tls) if tls is not None else None
    return None
