"""A process for `test_stdio`: what its name says becomes of its standard input and output."""

from __future__ import annotations

import asyncio
import os
import socket
import sys

from isthmus.errors import ConnectError
from isthmus.transports import stdio
from isthmus.transports.base import Transport
from isthmus.transports.tcp import TcpTransport


class Echo:
    """Sends everything back, and ends when the other side has ended."""

    def __init__(self) -> None:
        self.over = asyncio.Event()
        self.error: Exception | None = None
        self.transport: Transport | None = None

    def connection_made(self, transport: Transport) -> None:
        self.transport = transport

    def data_received(self, data: memoryview) -> None:
        assert self.transport is not None
        self.transport.write(data)

    def eof_received(self) -> None:
        assert self.transport is not None
        self.transport.write(b"|end")
        self.transport.close()

    def pause_writing(self) -> None:
        assert self.transport is not None
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        assert self.transport is not None
        self.transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        self.error = error
        self.over.set()


async def echo() -> None:
    receiver = Echo()
    TcpTransport(asyncio.get_running_loop(), stdio.open_socket()).start(receiver)
    await receiver.over.wait()
    print(f"over: {receiver.error}", file=sys.stderr)
    stdio.finish(10.0)
    # What is opened now must not take the place of standard output.
    with socket.socket() as later:
        print("taken" if later.fileno() == 1 else "free", file=sys.stderr)


async def output_first() -> None:
    """End the output, then go on reading."""
    standard = stdio.open_socket()
    standard.setblocking(True)
    standard.sendall(b"bye")
    standard.shutdown(socket.SHUT_WR)
    received = b""
    while piece := standard.recv(1000):
        received += piece
    print(received.decode(), file=sys.stderr)
    standard.close()
    stdio.finish(10.0)


async def twice() -> None:
    first = stdio.open_socket()
    try:
        stdio.open_socket()
    except ConnectError as error:
        print(f"{error.status} {error}", file=sys.stderr)
    sys.stderr.flush()
    assert first.fileno() >= 0
    os._exit(0)  # the thread that waits for input would be waited for


if __name__ == "__main__":
    asyncio.run({"echo": echo, "output_first": output_first, "twice": twice}[sys.argv[1]]())
