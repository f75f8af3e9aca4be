"""A layer of a stack that compiled code calls without going through Python.

`transports.base` says what a layer does, and any class may do it. One that is compiled and derives from
`Layer`, be it as a `websocket.frames.MessageSink`, is called for each piece of data and each event by a C
call: to look a method up by its name and to hand its arguments over costs more than most of these methods do.
`deliver` and `send` are for the layer below and the one above, who do not know what kind they have.
"""

from __future__ import annotations

from typing import Protocol


class Receives(Protocol):
    """Who takes bytes: see `base.Receiver`."""

    def data_received(self, data: memoryview) -> None:
        """Bytes came."""


class Writes(Protocol):
    """Who sends bytes: see `base.Transport`."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send."""


class Layer:
    """What is called directly. A derived class has those of these methods that its place in a stack needs."""

    __slots__ = ()

    def ready(self, events: int) -> None:
        """Something happened to the descriptor that it watches: see `poller.Watcher`."""
        raise NotImplementedError

    def round_over(self) -> None:
        """All that was ready has been handled: see `Poller.tell_after_round`."""
        raise NotImplementedError

    def data_received(self, data: memoryview) -> None:
        """Bytes came: see `base.Receiver`."""
        raise NotImplementedError

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send: see `base.Transport`."""
        raise NotImplementedError


def deliver(receiver: Receives, data: memoryview) -> None:
    """Call `receiver.data_received`."""
    if isinstance(receiver, Layer):
        layer: Layer = receiver
        layer.data_received(data)
    else:
        receiver.data_received(data)


def send(transport: Writes, data: bytes | bytearray | memoryview) -> None:
    """Call `transport.write`."""
    if isinstance(transport, Layer):
        layer: Layer = transport
        layer.write(data)
    else:
        transport.write(data)
