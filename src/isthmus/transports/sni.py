"""One port, several certificates: waits for the name that a client asks for, then begins TLS.

The ClientHello is looked at where it lies, in the kernel (MSG_PEEK), so that TLS reads it as ever. Choosing
in TLS itself, by `sni_callback`, is not possible: called from Python, it crashes aiofastnet.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable

from isthmus.security.contexts import Certificates
from isthmus.transports import client_hello
from isthmus.transports.base import Receiver
from isthmus.transports.tls import Kind, accept_tls, log_failed, name_of

_FIRST_PAUSE, _LONGEST_PAUSE = 0.002, 0.5  # seconds


def accept_secure(
    sock: socket.socket,
    certificates: Callable[[], Certificates],
    receiver: Receiver,
    *,
    handshake_timeout: float,
    kind: Kind = "aiofastnet",
) -> None:
    """Answer a client's handshake with the certificate for the name that it asks for; else as `accept_tls`.

    `certificates` is asked what there is to show. Where that is only one, no name is waited for.
    """
    shown = certificates()
    if not shown.several:
        accept_tls(sock, shown.first, receiver, handshake_timeout=handshake_timeout, kind=kind)
        return
    loop = asyncio.get_running_loop()
    deadline = loop.time() + handshake_timeout

    def begin(context: ssl.SSLContext) -> None:
        left = max(0.1, deadline - loop.time())
        accept_tls(sock, context, receiver, handshake_timeout=left, kind=kind)

    _Asking(loop, sock, shown, begin, handshake_timeout).look()


class _Asking:
    """A client that has connected and may not have sent its whole ClientHello yet."""

    __slots__ = ("_begin", "_certificates", "_deadline", "_loop", "_pause", "_retry", "_socket", "_watching")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        certificates: Certificates,
        begin: Callable[[ssl.SSLContext], None],
        timeout: float,
    ) -> None:
        self._loop = loop
        self._socket = sock
        self._certificates = certificates
        self._begin = begin
        self._pause = _FIRST_PAUSE
        self._retry: asyncio.TimerHandle | None = None
        self._watching = False
        self._deadline = loop.call_later(timeout, self._timed_out)

    def look(self) -> None:
        """See what is there; begin TLS once it is enough, or once there will never be more."""
        try:
            data = self._socket.recv(client_hello.MAXIMUM_SIZE, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            self._watch()
            return
        except OSError:
            data = b""  # TLS will find the same, and say it
        hello = client_hello.parse(data)
        if hello is None and data:
            # What is there makes the socket ready all the time: it can only be looked at again, ever later.
            self._unwatch()
            self._retry = self._loop.call_later(self._pause, self.look)
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
            return
        self._end()
        self._begin(self._certificates.named(hello.server_name if hello is not None else None))

    def _watch(self) -> None:
        if not self._watching:
            self._watching = True
            self._loop.add_reader(self._socket.fileno(), self.look)

    def _unwatch(self) -> None:
        if self._watching:
            self._watching = False
            self._loop.remove_reader(self._socket.fileno())

    def _end(self) -> None:
        self._unwatch()
        self._deadline.cancel()
        if self._retry is not None:
            self._retry.cancel()

    def _timed_out(self) -> None:
        self._end()
        log_failed(name_of(self._socket), TimeoutError())
        self._socket.close()
