"""A layer of a stack that compiled code calls without going through Python.

`transports.base` says what a layer does, and any class may do it. One that is compiled and derives from
`Layer`, be it as a `websocket.frames.MessageSink`, is called for each piece of data and each event by a C
call: to look a method up by its name and to hand its arguments over costs more than most of these methods do.
The functions are for the layer below and the one above, who do not know what kind they have.
"""

from __future__ import annotations

from typing import Any, Protocol


class Receives(Protocol):
    """What is called here of a `base.Receiver`."""

    def connection_made(self, transport: Any) -> None:
        """The layer below is ready."""

    def data_received(self, data: memoryview) -> None:
        """Bytes came."""

    def eof_received(self) -> None:
        """No more bytes come."""

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is over."""


class Sends(Protocol):
    """What is called here of a `base.Transport`."""

    def pause_reading(self) -> None:
        """Deliver nothing."""

    def resume_reading(self) -> None:
        """Deliver again."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send."""

    def write_eof(self) -> None:
        """Send the end of our direction."""


class Wakes(Protocol):
    """What is called here of a `span.carrier.CarrierHandler`."""

    def output_ready(self) -> None:
        """There is something to send."""


class Layer:
    """What is called directly. A derived class has those of these methods that its place in a stack needs."""

    __slots__ = ()

    def ready(self, events: int) -> None:
        """Something happened to the descriptor that it watches: see `poller.Watcher`."""
        raise NotImplementedError

    def round_over(self) -> None:
        """All that was ready has been handled: see `Poller.tell_after_round`."""
        raise NotImplementedError

    def output_ready(self) -> None:
        """There is something to send: see `span.carrier.CarrierHandler`."""
        raise NotImplementedError

    # The rest is what `base.Receiver` and `base.Transport` say.

    def connection_made(self, transport: Any) -> None:
        """The layer below is ready."""
        raise NotImplementedError

    def data_received(self, data: memoryview) -> None:
        """Bytes came."""
        raise NotImplementedError

    def eof_received(self) -> None:
        """No more bytes come."""
        raise NotImplementedError

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is over."""
        raise NotImplementedError

    def pause_reading(self) -> None:
        """Deliver nothing."""
        raise NotImplementedError

    def resume_reading(self) -> None:
        """Deliver again."""
        raise NotImplementedError

    def write_eof(self) -> None:
        """Send the end of our direction."""
        raise NotImplementedError

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send."""
        raise NotImplementedError


def made(receiver: Receives, transport: Any) -> None:
    """Call `receiver.connection_made`."""
    if isinstance(receiver, Layer):
        layer: Layer = receiver
        layer.connection_made(transport)
    else:
        receiver.connection_made(transport)


def deliver(receiver: Receives, data: memoryview) -> None:
    """Call `receiver.data_received`."""
    if isinstance(receiver, Layer):
        layer: Layer = receiver
        layer.data_received(data)
    else:
        receiver.data_received(data)


def ended(receiver: Receives) -> None:
    """Call `receiver.eof_received`."""
    if isinstance(receiver, Layer):
        layer: Layer = receiver
        layer.eof_received()
    else:
        receiver.eof_received()


def lost(receiver: Receives, error: Exception | None) -> None:
    """Call `receiver.connection_lost`."""
    if isinstance(receiver, Layer):
        layer: Layer = receiver
        layer.connection_lost(error)
    else:
        receiver.connection_lost(error)


def pause(transport: Sends) -> None:
    """Call `transport.pause_reading`."""
    if isinstance(transport, Layer):
        layer: Layer = transport
        layer.pause_reading()
    else:
        transport.pause_reading()


def resume(transport: Sends) -> None:
    """Call `transport.resume_reading`."""
    if isinstance(transport, Layer):
        layer: Layer = transport
        layer.resume_reading()
    else:
        transport.resume_reading()


def send(transport: Sends, data: bytes | bytearray | memoryview) -> None:
    """Call `transport.write`."""
    if isinstance(transport, Layer):
        layer: Layer = transport
        layer.write(data)
    else:
        transport.write(data)


def end(transport: Sends) -> None:
    """Call `transport.write_eof`."""
    if isinstance(transport, Layer):
        layer: Layer = transport
        layer.write_eof()
    else:
        transport.write_eof()


def wake(handler: Wakes) -> None:
    """Call `handler.output_ready`."""
    if isinstance(handler, Layer):
        layer: Layer = handler
        layer.output_ready()
    else:
        handler.output_ready()
