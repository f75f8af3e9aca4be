"""What a service stands between, in memory: connections whose other side the test plays."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from isthmus.config.model import EchoProperties, ProxyProperties, Service
from isthmus.errors import ConnectError, StreamReset
from isthmus.identity import ANONYMOUS
from isthmus.transports.base import Receiver
from isthmus.uri import Address, parse

READ_SIZE = 64
"""Bytes that a `Connection` reads at most at a time."""


class Connection:
    """A transport that keeps the rules of `transports.base`, and the application at its other side.

    Nothing moves by itself: `read` lets the transport read what the application sent, `take` lets the
    application take what was written. `soon` is how the connection is told to be lost: `loop.call_soon`.
    """

    def __init__(self, soon: Callable[..., object]) -> None:
        self._soon = soon
        self.receiver: Receiver | None = None
        # What the application did, and what it saw.
        self.sent = bytearray()
        self.got = bytearray()
        self.saw_end = False
        self.saw_reset = False
        self.app_ended = False
        self.app_closed = False
        # What the transport was told.
        self.calls: list[str] = []
        self.paused = False
        self.eof_told = False
        self.pause_told = False
        self.eof_sent = False
        self.closing = False
        self.lost = False
        self.loss: list[Exception | None] = []
        self.most_unsent = 0
        self._delivered = 0
        self._unsent = bytearray()
        self._high = 1 << 30

    def start(self, receiver: Receiver) -> None:
        """Begin, as a connection does that is accepted or connected."""
        self.receiver = receiver
        receiver.connection_made(self)

    # --- what the application does

    def send(self, data: bytes) -> None:
        assert not self.app_ended
        self.sent += data

    def end(self) -> None:
        """Half-close."""
        self.app_ended = True

    def close(self) -> None:
        """The transport's `close`. The application's is `leave`."""
        self.calls.append("close")
        if self.closing or self.lost:
            return
        self.closing = True
        self.eof_sent = True
        self._settle()

    def leave(self) -> None:
        """Close both directions: what still comes is answered with a reset."""
        self.app_ended = True
        self.app_closed = True
        if self._unsent:
            self.reset()

    def reset(self) -> None:
        """The application resets the connection, or the network does."""
        if not self.lost:
            self.saw_reset = True
            self._lose(StreamReset("the connection was lost: Connection reset by peer"))

    def take(self, size: int = 1 << 30) -> None:
        """Take at most `size` of the bytes that wait."""
        if self.lost:
            return
        self.got += self._unsent[:size]
        del self._unsent[:size]
        if self.pause_told and len(self._unsent) * 2 <= self._high and self.receiver is not None:
            self.pause_told = False
            self.receiver.resume_writing()
        self._settle()

    # --- the transport reads

    def read(self, size: int = READ_SIZE, pieces: int = 1) -> bool:
        """Read at most `size` bytes, or the end after them; tell whether there was anything.

        What was read comes in several pieces, also after a pause, as from a layer that has them in hands.
        """
        if self.lost or self.closing or self.paused or self.receiver is None:
            return False
        if self._delivered == len(self.sent):
            if not self.app_ended or self.eof_told:
                return False
            self.eof_told = True
            self.receiver.eof_received()
            return True
        chunk = bytearray(self.sent[self._delivered : self._delivered + min(size, READ_SIZE)])
        self._delivered += len(chunk)
        step = -(-len(chunk) // pieces)
        for start in range(0, len(chunk), step):
            if self.lost or self.closing:
                break
            view = memoryview(chunk)[start : start + step]
            self.receiver.data_received(view)
            view[:] = b"\xee" * len(view)  # whoever kept it instead of copying will be found out
        return True

    # --- Transport

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.calls.append("write")
        if self.lost:
            return
        if self.eof_sent:
            raise RuntimeError("write after write_eof or close")
        if self.app_closed:
            self.reset()
            return
        self._unsent += data
        self.most_unsent = max(self.most_unsent, len(self._unsent))
        if isinstance(data, memoryview) and not data.readonly:
            data[:] = b"\xdd" * len(data)  # a layer that masks in place
        if len(self._unsent) > self._high and not self.pause_told and self.receiver is not None:
            self.pause_told = True
            self.receiver.pause_writing()

    def writelines(self, parts: Sequence[bytes | bytearray | memoryview]) -> None:
        for part in parts:
            self.write(part)

    def write_eof(self) -> None:
        self.calls.append("write_eof")
        if not self.lost:
            self.eof_sent = True
            self._settle()

    def pause_reading(self) -> None:
        self.calls.append("pause_reading")
        self.paused = True

    def resume_reading(self) -> None:
        self.calls.append("resume_reading")
        self.paused = False

    def set_write_limit(self, high: int) -> None:
        self._high = high

    def unsent(self) -> int:
        return len(self._unsent)

    def set_receiver(self, receiver: Receiver) -> None:
        self.receiver = receiver

    def abort(self) -> None:
        self.calls.append("abort")
        if not self.lost:
            self.saw_reset = True
            self._lose(StreamReset("the connection was aborted by this gateway"))

    def info(self, name: str) -> Any:
        return None

    def _settle(self) -> None:
        """See what follows once all that was written is taken."""
        if self.lost or self._unsent or not self.eof_sent:
            return
        self.saw_end = True
        if self.closing:
            self._lose(None)

    def _lose(self, error: Exception | None) -> None:
        self.lost = True
        self._unsent.clear()
        self._soon(self._tell_lost, error)

    def _tell_lost(self, error: Exception | None) -> None:
        self.loss.append(error)
        if self.receiver is not None:
            self.receiver.connection_lost(error)


class Incoming:
    """A connection that is offered to a service; `answered` says how often it was answered."""

    peer = "a test"
    early = True
    identity = ANONYMOUS

    def __init__(self, connection: Connection) -> None:
        self.address: Address = parse("tcp://127.0.0.1:7000")
        self.gone: Callable[[], None] | None = None
        self.connection = connection
        self.accepted = False
        self.refusal: ConnectError | None = None
        self.answered = 0

    def accept(self, receiver: Receiver) -> None:
        self.answered += 1
        self.accepted = True
        self.connection.start(receiver)

    def refuse(self, error: ConnectError) -> None:
        self.answered += 1
        self.refusal = error
        self.connection.saw_reset = True
        self.connection.lost = True


class Dial:
    """One connect under way: the test says how it ends."""

    def __init__(
        self, connection: Connection, receiver: Receiver, failed: Callable[[ConnectError], None]
    ) -> None:
        self.connection = connection
        self.done = False
        self.canceled = False
        self.receiver = receiver
        self._failed = failed

    @property
    def open(self) -> bool:
        return not self.done and not self.canceled

    def cancel(self) -> None:
        assert not self.done, "a connect that is over was cancelled"
        self.canceled = True

    def succeed(self) -> Connection:
        assert self.open
        self.done = True
        self.connection.start(self.receiver)
        return self.connection

    def fail(self, error: ConnectError | None = None) -> None:
        assert self.open
        self.done = True
        self._failed(error or ConnectError("Unable to connect to tcp://127.0.0.1:7001: Connection refused"))


class Connector:
    """Reaches nothing by itself: the test finds what was asked for in `dials`."""

    def __init__(self, soon: Callable[..., object] | None = None) -> None:
        self.address: Address = parse("tcp://127.0.0.1:7001")
        self.dials: list[Dial] = []
        self.asked: list[tuple[str, bool]] = []  # the origin of each, and whether it may be early
        self.closed = False
        self._soon = soon or asyncio.get_running_loop().call_soon

    @property
    def open(self) -> list[Dial]:
        return [dial for dial in self.dials if dial.open]

    def connect(
        self,
        receiver: Receiver,
        failed: Callable[[ConnectError], None],
        *,
        origin: str = "",
        early: bool = False,
    ) -> Dial:
        dial = Dial(Connection(self._soon), receiver, failed)
        self.dials.append(dial)
        self.asked.append((origin, early))
        return dial

    def close(self) -> None:
        self.closed = True


def proxy_service(**properties: Any) -> Service:
    """Return the configuration of a proxy; underscores stand for the dots of the properties' names."""
    values = {name.replace("_", "."): value for name, value in properties.items()}
    return Service(
        name="proxy-1",
        type="proxy",
        accepts=(parse("tcp://127.0.0.1:7000"),),
        connects=(parse("tcp://127.0.0.1:7001"),),
        properties=ProxyProperties.model_validate(values),
    )


def echo_service(**properties: Any) -> Service:
    """Return the configuration of an echo."""
    values = {name.replace("_", "."): value for name, value in properties.items()}
    return Service(
        name="echo-1",
        type="echo",
        accepts=(parse("tcp://127.0.0.1:7000"),),
        properties=EchoProperties.model_validate(values),
    )
