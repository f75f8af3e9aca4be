"""Listening: from a `Bind` to accepted sockets.

`Listening.sockets` are bound first, for all accepts, so that a taken port is reported before anything starts;
`start` then accepts. Accepting stops while the process is at its limit of connections or has no descriptor
left: what waits stays in the kernel's backlog.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import stat
from collections.abc import Callable
from typing import Any

from isthmus.config.model import Bind
from isthmus.errors import BindError
from isthmus.layer import Layer
from isthmus.transports import stream_socket
from isthmus.transports.poller import READ, poller_of
from isthmus.transports.stream_socket import PlainStreamSocket
from isthmus.uri import Address

log = logging.getLogger(__name__)

Prepare = Callable[[socket.socket, tuple[Any, ...]], None]

_ACCEPTS_AT_A_TIME = 64
_PAUSE_SECONDS = 1.0
_NO_SUCH_ADDRESS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


class Quota:
    """How many accepted connections the whole process may hold. Listeners wait while it is used up."""

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum
        self.used = 0
        self.times_reached = 0
        self._waiting: list[Callable[[], None]] = []

    def take(self) -> bool:
        """Count one more connection; False if there may be no more now."""
        if self.used >= self.maximum:
            return False
        self.used += 1
        return True

    def release(self) -> None:
        """Count one connection less, and let listeners that wait go on."""
        self.used -= 1
        if self._waiting and self.used < self.maximum:
            waiting, self._waiting = self._waiting, []
            for resume in waiting:
                resume()

    def wait(self, resume: Callable[[], None]) -> None:
        """Call `resume`, once, when there is room again."""
        self.times_reached += 1
        self._waiting.append(resume)


class Listening(Layer):
    """One listening socket.

    `accepted` is called with each new socket, which belongs to the callee and holds its place in `quota`.
    """

    __slots__ = (
        "_accepted",
        "_backlog",
        "_family",
        "_loop",
        "_quota",
        "_retry",
        "_socket",
        "_stopping",
    )

    def __init__(
        self, bound: socket.socket, quota: Quota, accepted: Callable[[PlainStreamSocket], None]
    ) -> None:
        self._socket = bound
        self._family = int(bound.family)  # asking each time is slow
        self._backlog = 0
        self._stopping = False
        self._quota = quota
        self._accepted = accepted
        self._loop: asyncio.AbstractEventLoop | None = None
        self._retry: asyncio.TimerHandle | None = None

    def start(self, backlog: int) -> None:
        """Listen and accept, on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._backlog = backlog
        self._socket.listen(backlog)
        self._watch()

    def stop(self) -> None:
        """Close the listening socket; what was accepted goes on. Calling it again changes nothing.

        Who waits in the kernel's backlog has connected already, as far as he knows: he is accepted first.
        """
        if self._stopping:
            return
        self._stopping = True
        if self._loop is not None:
            for _ in range(self._backlog):
                if not self._accept_one():
                    break
            poller_of(self._loop).forget(self._socket.fileno())
            self._loop = None
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._socket.fileno() >= 0:
            internet = self._socket.family in (socket.AF_INET, socket.AF_INET6)
            path = None if internet else self._socket.getsockname()
            self._socket.close()
            if path:
                _unlink_socket(path)

    def _watch(self) -> None:
        self._retry = None
        if self._loop is not None:
            poller_of(self._loop).add(self._socket.fileno(), self, READ)

    def _pause(self) -> None:
        if self._loop is not None:
            poller_of(self._loop).forget(self._socket.fileno())

    def ready(self, events: int) -> None:
        """The poller says that somebody waits."""
        for _ in range(_ACCEPTS_AT_A_TIME):
            if not self._accept_one():
                return

    def _accept_one(self) -> bool:
        """Accept a connection; return whether there may be another."""
        if self._loop is None:
            return False
        if not self._quota.take():
            log.warning(
                "%d connections are open, the most allowed (maximum.connections); more wait",
                self._quota.used,
            )
            self._pause()
            self._quota.wait(self._watch)
            return False
        try:
            accepted = stream_socket.accept(self._socket, self._family, self._quota)
        except OSError as error:
            # No descriptor or memory left, or what Linux tells of a network that fails: see accept(2).
            self._quota.release()
            log.error("cannot accept a connection: %s; trying again in %g s", error.strerror, _PAUSE_SECONDS)
            self._pause()
            self._retry = self._loop.call_later(_PAUSE_SECONDS, self._watch)
            return False
        if accepted is None:
            self._quota.release()
            return False
        self._accepted(accepted)
        return True


def bind(address: Address, at: Bind | None) -> list[socket.socket]:
    """Bind the socket, or sockets, of an accept without listening yet.

    A name is bound on each of its addresses. Raises `BindError` with the whitepaper's text and what to do
    next.
    """
    if address.scheme == "unix":
        return [_bind_unix(address)]
    return bind_sockets(address, at, socket.SOCK_STREAM, lambda sock, _: _prepare(sock))


def bind_sockets(address: Address, at: Bind | None, kind: int, prepare: Prepare) -> list[socket.socket]:
    """Bind a socket on each address of a network accept; `prepare` sets what it needs before. Raises
    `BindError`.
    """
    host, port = (at.host, at.port) if at is not None else (address.host, address.port)
    try:
        infos = socket.getaddrinfo(host, port, type=kind, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise bind_error(address, at, error) from error
    sockets: list[socket.socket] = []
    try:
        for family, _, protocol, _, target in dict.fromkeys(infos):
            # A name such as localhost may have an IPv6 address on a machine without IPv6.
            try:
                sockets.append(_bind_one(family, kind, protocol, target, prepare))
            except OSError as error:
                if len(infos) == 1 or target[0] != "::1" or error.errno not in _NO_SUCH_ADDRESS:
                    raise
                log.debug("%s: this machine has no IPv6", address)
    except OSError as error:
        for bound in sockets:
            bound.close()
        raise bind_error(address, at, error) from error
    return sockets


def _prepare(bound: socket.socket) -> None:
    stream_socket.prepare(bound)  # handed down to what is accepted
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)


def _bind_one(
    family: int, kind: int, protocol: int, target: tuple[Any, ...], prepare: Prepare
) -> socket.socket:
    bound = socket.socket(family, kind, protocol)
    try:
        prepare(bound, target)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(target)
    except OSError:
        bound.close()
        raise
    return bound


def _bind_unix(address: Address) -> socket.socket:
    _unlink_if_dead(address.path)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        bound.setblocking(False)
        bound.bind(address.path)
    except OSError as error:
        bound.close()
        raise bind_error(address, None, error) from error
    return bound


def _unlink_if_dead(path: str) -> None:
    """Remove a socket file that nobody listens on any more, as a crashed process leaves it."""
    if not _is_socket(path):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(0.5)
        if probe.connect_ex(path) == errno.ECONNREFUSED:
            _unlink_socket(path)


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


def _unlink_socket(path: str) -> None:
    try:
        os.unlink(path)
    except OSError as error:
        log.debug("cannot remove the socket file %s: %s", path, error)


def bind_error(address: Address, at: Bind | None, error: OSError) -> BindError:
    """What to tell the user when an accept cannot be bound or listened on, in the whitepaper's words."""
    if isinstance(error, socket.gaierror):
        reason = f"the name {at.host if at is not None else address.host} cannot be resolved"
    else:
        reason = os.strerror(error.errno or 0)
    shown = f"{address} @ {address.scheme}://{at}/" if at is not None else str(address)
    return BindError(
        f"Unable to bind to resource: {shown} cause: {reason}", hint=_bind_hint(address, at, error)
    )


def _bind_hint(address: Address, at: Bind | None, error: OSError) -> str:
    scheme, port = address.scheme, at.port if at is not None else address.port
    match error.errno:
        case errno.EADDRNOTAVAIL:
            host = at.host if at is not None else address.host
            return (
                f"{host} is not an address of this machine; map the accept to one that is with "
                f"<{scheme}.bind>{port}</{scheme}.bind> in accept-options"
            )
        case errno.EACCES if scheme == "unix":
            return f"this user may not create {address.path}; choose another folder or change its permissions"
        case errno.EACCES:
            return (
                f"port {port} needs a privilege: start as root, allow it with "
                f"setcap cap_net_bind_service=+ep on the interpreter, or choose a port above 1023"
            )
        case errno.EADDRINUSE if scheme == "unix" and not _is_socket(address.path):
            return f"{address.path} is there and is not a socket; remove it or choose another path"
        case errno.EADDRINUSE if scheme == "unix":
            return f"another process listens on {address.path}; stop it or choose another path"
        case errno.EADDRINUSE:
            holder = _holder(port, "udp" if scheme == "udp" else "tcp")
            return (
                f"port {port} is in use{f' by {holder}' if holder else ''}; "
                f"stop that process or choose another port with <{scheme}.bind> in accept-options"
            )
        case _:
            return f"check the address of the accept {address}"


def _holder(port: int, kind: str = "tcp") -> str:
    """Return who listens on a TCP or UDP port, as `name (pid N)`; empty when that cannot be known."""
    import psutil

    try:
        for connection in psutil.net_connections(kind):
            waits = connection.status == psutil.CONN_LISTEN if kind == "tcp" else not connection.raddr
            listens = waits and connection.laddr[1:2] == (port,)
            if listens and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except (psutil.Error, OSError) as error:
        log.debug("cannot find who holds %s port %d: %s", kind, port, error)
    return ""
