"""Standard input and output as one connected socket.

The loop cannot watch every kind of file (a redirected file, a Windows console), so two threads pump between
the standard streams and one end of a socket pair; the other end is a stream like any other.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable

from isthmus.errors import ConnectError

log = logging.getLogger(__name__)

_pumps: list[threading.Thread] = []
_CHUNK = 64 * 1024


def open_socket() -> socket.socket:
    """Return a socket whose input is this process's standard input and whose output is its standard output.

    It is non-blocking and belongs to the caller; half-close works in both directions. There is only one:
    raises `ConnectError` when it is asked for again.
    """
    if _pumps:
        raise ConnectError("standard input and output are in use already", status=503)
    ours, pumped = socket.socketpair()
    ours.setblocking(False)
    _start("stdin", _pump_in, sys.stdin.fileno(), pumped.dup())
    _start("stdout", _pump_out, sys.stdout.fileno(), pumped)
    return ours


def _start(
    name: str, pump: Callable[[int, socket.socket], None], descriptor: int, pumped: socket.socket
) -> None:
    # A daemon thread, because a read of a terminal cannot be called off when the other side is done.
    thread = threading.Thread(target=pump, args=(descriptor, pumped), name=f"isthmus-{name}", daemon=True)
    thread.start()
    _pumps.append(thread)


def finish(seconds: float) -> None:
    """Wait until what was received is written to standard output, at most `seconds`: the process ends."""
    for thread in _pumps[1:]:
        thread.join(seconds)


def _pump_in(descriptor: int, pumped: socket.socket) -> None:
    with pumped:
        try:
            while chunk := os.read(descriptor, _CHUNK):
                pumped.sendall(chunk)
        except OSError as error:
            log.warning("standard input ends: %s", error.strerror)
        with contextlib.suppress(OSError):  # it may be over already
            pumped.shutdown(socket.SHUT_WR)


def _pump_out(descriptor: int, pumped: socket.socket) -> None:
    with pumped:
        try:
            while chunk := pumped.recv(_CHUNK):
                view = memoryview(chunk)
                while view:
                    view = view[os.write(descriptor, view) :]
        except OSError as error:
            log.warning("standard output ends: %s", error.strerror)
            # Nobody reads what we write any more: let the other side see it.
            with contextlib.suppress(OSError):
                pumped.shutdown(socket.SHUT_RDWR)
    # Ended, but with its number taken: what is opened next must not become standard output.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
