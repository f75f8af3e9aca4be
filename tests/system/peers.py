"""The ends of a conversation as system tests need them: backends on threads, clients that do exact things."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import select
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from tests.system.process import PATIENCE
from websockets.asyncio.client import connect as websockets_connect

Handler = Callable[[socket.socket], object]


class Backend:
    """A TCP server. Each connection is handled on a thread; what `handler` returns or raises is an `outcome`.

    The handler owns the connection and gets it with a timeout set. `listener` is an already listening socket.
    """

    def __init__(self, handler: Handler, listener: socket.socket | None = None) -> None:
        self.listener = listener or socket.create_server(("127.0.0.1", 0), backlog=128)
        self._handler = handler
        self._outcomes: queue.Queue[object] = queue.Queue()
        self._threads: list[threading.Thread] = []
        self._open: set[socket.socket] = set()
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def play(self, handler: Handler) -> None:
        """Handle connections from now on with `handler`; outcomes of earlier ones are forgotten."""
        self._handler = handler
        self._outcomes = queue.Queue()

    @property
    def port(self) -> int:
        name: tuple[str, int] = self.listener.getsockname()
        return name[1]

    def outcome(self) -> object:
        """Return the outcome of one connection, waiting for it. An exception is returned, not raised."""
        return self._outcomes.get(timeout=PATIENCE)

    def close(self) -> None:
        """Stop listening and end every connection."""
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join(PATIENCE)
        self.listener.close()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            connection.settimeout(PATIENCE)
            self._open.add(connection)
            arguments = (connection, self._handler, self._outcomes)
            thread = threading.Thread(target=self._handle, args=arguments, daemon=True)
            self._threads.append(thread)
            thread.start()

    def _handle(self, connection: socket.socket, handler: Handler, outcomes: queue.Queue[object]) -> None:
        try:
            outcomes.put(handler(connection))
        except Exception as error:
            outcomes.put(error)
        finally:
            self._open.discard(connection)
            connection.close()


def echo(connection: socket.socket) -> int:
    """Send back what comes until it ends, then end too. Returns how many bytes that was."""
    total = 0
    while data := connection.recv(1 << 16):
        connection.sendall(data)
        total += len(data)
    return total


def read_all(connection: socket.socket) -> bytes:
    """Read until the end of input."""
    pieces = []
    while data := connection.recv(1 << 18):
        pieces.append(data)
    return b"".join(pieces)


def read_exactly(connection: socket.socket, size: int) -> bytes:
    """Read `size` bytes; fewer only where the input ends."""
    data = bytearray()
    while len(data) < size and (piece := connection.recv(size - len(data))):
        data += piece
    return bytes(data)


def connect(port: int, host: str = "127.0.0.1") -> socket.socket:
    """Return a TCP connection with a timeout."""
    return socket.create_connection((host, port), timeout=PATIENCE)


def connect_tls(port: int, context: ssl.SSLContext, host: str = "127.0.0.1") -> ssl.SSLSocket:
    """Return a TLS connection with a timeout."""
    return context.wrap_socket(connect(port, host), server_hostname=host)


def exchange_tls(connection: ssl.SSLSocket, data: bytes) -> bytes:
    """Send `data` while reading until as much has come back, or the input ends.

    One thread does both: an `SSLSocket` must not be read and written by two threads at once.
    """
    connection.setblocking(False)
    to_send, received = memoryview(data), bytearray()
    while len(received) < len(data):
        moved = False
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
            if to_send:
                to_send = to_send[connection.send(to_send[: 1 << 14]) :]
                moved = True
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
            piece = connection.recv(1 << 16)
            if not piece:
                break
            received += piece
            moved = True
        if not moved:
            ready = select.select([connection], [connection] if to_send else [], [], PATIENCE)
            assert any(ready), "the TLS conversation has stalled"
    connection.settimeout(PATIENCE)
    return bytes(received)


async def exchange_websocket(uri: str, context: ssl.SSLContext | None, data: bytes) -> bytes:
    """Send `data` in messages while reading until as much has come back; then close in order.

    It is the library's asyncio client: its threaded one would use one `SSLSocket` on two threads.
    """
    async with websockets_connect(
        uri, ssl=context, proxy=None, max_size=None, open_timeout=PATIENCE
    ) as connection:

        async def send() -> None:
            for start in range(0, len(data), 60_000):
                await connection.send(data[start : start + 60_000])

        async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as tasks:
            tasks.create_task(send())
            received = bytearray()
            while len(received) < len(data):
                message = await connection.recv()
                assert isinstance(message, bytes), "what crosses a gateway comes out as binary"
                received += message
    assert connection.close_code == 1000
    return bytes(received)


def reset(connection: socket.socket) -> None:
    """Close with a TCP reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def is_reset(connection: socket.socket) -> bool:
    """Read on: whether the connection ends in a reset rather than in order."""
    try:
        while connection.recv(1 << 16):
            pass
    except ConnectionResetError:
        return True
    return False


def is_reset_at(port: int, dial: Callable[[int], socket.socket] = connect) -> bool:
    """Connect and read: whether that ends in a reset, which may come before `connect` has even returned."""
    try:
        with dial(port) as connection:
            return is_reset(connection)
    except ConnectionResetError:
        return True


def http_status(connection: socket.socket, request: bytes) -> int:
    """Send a request as it is and return the status of the answer, or 0 if there is none."""
    connection.sendall(request)
    head = b""
    while b"\r\n" not in head and (data := connection.recv(4096)):
        head += data
    words = head.split(b" ", 2)
    return int(words[1]) if len(words) > 1 and words[0] == b"HTTP/1.1" else 0


def upgrade_request(host: str, path: str = "/") -> bytes:
    """Return a WebSocket handshake as a client writes it."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()
