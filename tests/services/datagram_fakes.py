"""What a service of datagrams stands between, in memory, on a clock that the test moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from tests.transports.memory import Clock

from isthmus.config.model import AcceptOptions, ProxyProperties, Service
from isthmus.errors import ConnectError
from isthmus.transports.datagrams import DatagramReceiver
from isthmus.uri import Address, parse


class Side:
    """A `DatagramTransport`: the test finds what was sent in `sent`."""

    def __init__(self) -> None:
        self.receiver: DatagramReceiver | None = None
        self.sent: list[bytes] = []
        self.batches = 0
        self.closed = False

    def start(self, receiver: DatagramReceiver) -> None:
        self.receiver = receiver
        receiver.datagrams_made(self)

    def receive(self, *datagrams: bytes) -> None:
        """Datagrams come from the peer."""
        assert not self.closed
        assert self.receiver is not None
        self.receiver.datagrams_received(list(datagrams))

    def lose(self, error: Exception | None = None) -> None:
        assert not self.closed
        assert self.receiver is not None
        self.receiver.datagrams_lost(error)

    def send(self, datagrams: list[bytes]) -> None:
        assert not self.closed, "sent after close"
        assert datagrams
        self.sent += datagrams
        self.batches += 1

    def close(self) -> None:
        self.closed = True
        self.receiver = None

    def info(self, name: str) -> Any:
        return None


class Incoming(Side):
    """A new flow that is offered."""

    def __init__(self, *, early: bool = True, peer: str = "192.0.2.1:1234") -> None:
        super().__init__()
        self.early = early
        self.peer = peer
        self.address: Address = parse("udp://127.0.0.1:7000")
        self.refusal: ConnectError | None = None
        self.answered = 0

    def accept(self, receiver: DatagramReceiver) -> None:
        self.answered += 1
        self.start(receiver)

    def refuse(self, error: ConnectError) -> None:
        self.answered += 1
        self.refusal = error


class Dial:
    """One connect under way: the test says how it ends."""

    def __init__(
        self, receiver: DatagramReceiver, failed: Callable[[ConnectError], None], origin: str
    ) -> None:
        self.receiver = receiver
        self.failed = failed
        self.origin = origin
        self.side = Side()
        self.over = False
        self.canceled = False

    def succeed(self) -> Side:
        assert not self.over
        assert not self.canceled
        self.over = True
        self.side.start(self.receiver)
        return self.side

    def fail(self) -> None:
        assert not self.over
        assert not self.canceled
        self.over = True
        self.failed(ConnectError("Unable to connect to ws://127.0.0.1:7001/: Connection refused"))

    def cancel(self) -> None:
        assert not self.over, "a connect that is over was cancelled"
        self.canceled = True


class Connector:
    """Reaches nothing by itself; with `soon`, at once."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.address: Address = parse("udp://127.0.0.1:7001")
        self.dials: list[Dial] = []
        self.closed = False
        self._clock = clock

    def connect(
        self, receiver: DatagramReceiver, failed: Callable[[ConnectError], None], *, origin: str = ""
    ) -> Dial:
        dial = Dial(receiver, failed, origin)
        self.dials.append(dial)
        if self._clock is not None:
            self._clock.call_soon(dial.succeed)
        return dial

    def close(self) -> None:
        self.closed = True


@contextmanager
def on(clock: Clock) -> Iterator[Clock]:
    """Let what asks for the running loop have the clock."""
    with mock.patch("asyncio.get_running_loop", return_value=clock):
        yield clock


def flow_service(*, pending: int = 64 * 1024, **options: object) -> Service:
    """Return the configuration of a proxy of datagrams; underscores stand for the dots of `udp.*` options."""
    values = {f"udp.{name.replace('_', '.')}": value for name, value in options.items()}
    return Service(
        name="dns",
        type="proxy",
        accepts=(parse("udp://127.0.0.1:7000"),),
        connects=(parse("ws://127.0.0.1:7001/"),),
        properties=ProxyProperties.model_validate({"maximum.pending.bytes": pending}),
        accept_options=AcceptOptions.model_validate(values),
    )
