"""Reaching a TCP or unix address: from an `Address` to a connected socket.

A numeric address is dialled directly, without a task: that is the common case of a gateway under load. A name
is resolved off the loop, and its IPv6 and IPv4 addresses race (RFC 8305, happy eyeballs).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import ipaddress
import logging
import os
import socket
import sys
from collections.abc import Callable
from typing import Any

import aiohappyeyeballs

from isthmus.config.model import Bind
from isthmus.errors import ConnectError
from isthmus.layer import Layer
from isthmus.transports import stream_socket
from isthmus.transports.poller import WRITE, poller_of
from isthmus.transports.stream_socket import PlainStreamSocket, StreamSocket
from isthmus.uri import Address

log = logging.getLogger(__name__)

ATTEMPT_DELAY = 0.25
"""Seconds until the next address of a name is tried beside the one before (RFC 8305, section 5)."""

RETRY_SECONDS = 0.05
"""Seconds until a unix socket is tried again whose server has no room in its queue."""
_AGAIN = errno.EAGAIN
_IN_PROGRESS = errno.EINPROGRESS
_UNIX = int(getattr(socket, "AF_UNIX", -1))
# Windows says so of a connect that is under way; elsewhere it is EAGAIN, which says that there will be none.
_WOULD_BLOCK = errno.EINPROGRESS if errno.EWOULDBLOCK == errno.EAGAIN else errno.EWOULDBLOCK

_NO_PORT_YET = 24 if sys.platform == "linux" else None  # IP_BIND_ADDRESS_NO_PORT, see ip(7)

Connected = Callable[[PlainStreamSocket], None]
Failed = Callable[[ConnectError], None]


class SocketDial(Layer):
    """One attempt to connect a socket. Exactly one of `connected` and `failed` is called, never before
    `start` returns; `connected` gets the socket for its own.

    `timeout` is in seconds and covers the name and all addresses. `local` is where the connection comes from;
    None leaves that to the kernel. `place` is what `direct` says of the address, where that is known already.
    """

    __slots__ = (
        "_address",
        "_connected",
        "_done",
        "_failed",
        "_local",
        "_loop",
        "_place",
        "_retry",
        "_socket",
        "_task",
        "_timeout",
        "_timer",
        "_watching",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        address: Address,
        timeout: float,
        connected: Connected | None,
        failed: Failed,
        local: Bind | None = None,
        place: tuple[int, Any] | None = None,
    ) -> None:
        self._local = local
        self._place = place
        self._loop = loop
        self._address = address
        self._timeout = timeout
        self._connected = connected
        self._failed = failed
        self._done = False
        self._watching = False
        self._socket: PlainStreamSocket | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._retry: asyncio.TimerHandle | None = None

    def start(self) -> None:
        if self._place is None:
            self._place = direct(self._address)
        if self._place is not None:
            self._connect_directly(self._place[0], self._place[1])
        else:
            self._limit_time()
            self._task = self._loop.create_task(self._connect_by_name())

    def _limit_time(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(self._timeout, self._timed_out)

    def cancel(self) -> None:
        """Give up: nothing is called any more. A server that has accepted already sees a reset."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.reset_on_close()
        self._end()

    def _end(self) -> None:
        self._done = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._socket is not None:
            self._unwatch()
            self._socket.close()
            self._socket = None
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def _succeed(self, connected: PlainStreamSocket) -> None:
        self._end()
        self.made(connected)

    def made(self, connected: PlainStreamSocket) -> None:
        """Hand the socket over; who derives from this may do something else with it."""
        assert self._connected is not None
        self._connected(connected)

    def _fail(self, error: ConnectError) -> None:
        if not self._done:
            self._end()
            self._failed(error)

    def _timed_out(self) -> None:
        self._fail(no_answer(self._address, self._timeout))

    # --- a numeric address or a unix socket

    def _connect_directly(self, family: int, target: Any) -> None:
        try:
            self._socket = stream_socket.open_stream(family)
            if self._local is not None and family != _UNIX:
                try:
                    _bind_local(self._socket, self._local)
                except OSError as error:
                    self._fail_soon(_not_from(self._address, self._local, error))
                    return
            outcome = self._socket.connect(target)
        except OSError as error:
            self._fail_soon(failure(self._address, error))
            return
        if outcome == _AGAIN and family == _UNIX:
            # The server's queue is full, and the kernel does not tell when there is room again.
            self._socket.close()
            self._socket = None
            self._limit_time()
            self._retry = self._loop.call_later(RETRY_SECONDS, self._connect_directly, family, target)
        elif outcome not in (0, _IN_PROGRESS, _WOULD_BLOCK):
            self._fail_soon(failure(self._address, OSError(outcome, os.strerror(outcome))))
        elif self._socket.is_connected():
            # So it is on this machine: there is nothing to watch, and no time to limit.
            poller_of(self._loop).tell_after_round(self)
        else:
            self._limit_time()
            self._watching = True
            poller_of(self._loop).add(self._socket.fileno(), self, WRITE)

    def _fail_soon(self, error: ConnectError) -> None:
        self._loop.call_soon(self._fail, error)

    def round_over(self) -> None:
        """It was connected at once."""
        connected = self._socket
        if connected is not None:
            self._socket = None
            self._succeed(connected)

    def ready(self, events: int) -> None:
        """The poller says that the connect has an outcome."""
        connecting = self._socket
        if connecting is None:
            return
        outcome = connecting.error()
        if outcome:
            self._fail(failure(self._address, OSError(outcome, os.strerror(outcome))))
            return
        self._unwatch()
        self._socket = None
        self._succeed(connecting)

    def _unwatch(self) -> None:
        if self._watching and self._socket is not None:
            self._watching = False
            poller_of(self._loop).forget(self._socket.fileno())

    # --- a name

    async def _connect_by_name(self) -> None:
        address = self._address
        try:
            infos = await self._loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
            local = None if self._local is None else [_local_info(self._local)]
            connected = await aiohappyeyeballs.start_connection(
                infos,
                local_addr_infos=local,
                happy_eyeballs_delay=ATTEMPT_DELAY,
                interleave=1,
                loop=self._loop,
            )
        except OSError as error:
            self._task = None
            self._fail(failure(address, error))
            return
        self._task = None
        if self._done:
            connected.close()
        else:
            stream_socket.prepare(connected)
            self._succeed(StreamSocket(connected))


@functools.lru_cache(maxsize=256)
def direct(address: Address) -> tuple[int, Any] | None:
    """Return family and socket address of what needs no resolving, or None."""
    if address.scheme == "unix":
        return socket.AF_UNIX, address.path
    match address.ip:
        case ipaddress.IPv4Address():
            return socket.AF_INET, (address.host, address.port)
        case ipaddress.IPv6Address():
            return socket.AF_INET6, (address.host, address.port)
        case _:
            return None


def _bind_local(connecting: PlainStreamSocket, local: Bind) -> None:
    """Have a connection come from `local`. Raises `OSError`."""
    sock = connecting.object()
    assert sock is not None
    if local.port == 0 and _NO_PORT_YET is not None:
        # The kernel chooses the port when it connects, so that it may have one for each destination.
        sock.setsockopt(socket.IPPROTO_IP, _NO_PORT_YET, 1)
    sock.bind((local.host, local.port))


def _local_info(local: Bind) -> tuple[int, int, int, str, tuple[str, int]]:
    family = socket.AF_INET6 if ":" in local.host else socket.AF_INET
    return family, socket.SOCK_STREAM, 0, "", (local.host, local.port)


def _not_from(address: Address, local: Bind, error: OSError) -> ConnectError:
    reason = "it is an address of another family" if isinstance(error, socket.gaierror) else error.strerror
    result = ConnectError(
        f"Unable to connect to {address} from {local} (tcp.bind): {reason}",
        hint=f"check that {local.host} is an address of this machine, and of the destination's family",
    )
    result.__cause__ = error
    return result


def no_answer(address: Address, seconds: float) -> ConnectError:
    """Say that nothing came back within `connect.timeout`."""
    return ConnectError(
        f"Unable to connect to {address}: no answer within {seconds:g} s",
        status=504,
        hint="check that the server runs and that no firewall drops the connection",
    )


def failure(address: Address, error: OSError) -> ConnectError:
    """Say what an operating system's refusal means for the user. The cause is chained."""
    reason, status, hint = _explain(address, error)
    result = ConnectError(f"Unable to connect to {address}: {reason}", status=status, hint=hint)
    result.__cause__ = error
    return result


def _explain(address: Address, error: OSError) -> tuple[str, int, str]:
    if isinstance(error, socket.gaierror):
        return f"the name {address.host} cannot be resolved", 502, "check the name and this machine's DNS"
    text = os.strerror(error.errno) if error.errno else str(error)
    match error.errno:
        case errno.ECONNREFUSED:
            return text, 502, "check that the server runs and listens on this address and port"
        case errno.ETIMEDOUT:
            return text, 504, "check that the server runs and that no firewall drops the connection"
        case errno.EHOSTUNREACH | errno.ENETUNREACH:
            return text, 502, "check the routes of this machine"
        case errno.ENOENT:
            return text, 502, "check that the server has made the unix socket"
        case errno.EADDRNOTAVAIL | errno.EAGAIN:
            return text, 502, "this machine has no free local port left for this destination"
        case errno.EMFILE | errno.ENFILE:
            return text, 502, "raise the limit of open files (ulimit -n)"
        case _:
            return text, 502, ""
