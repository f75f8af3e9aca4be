"""A layer is called by whoever stands beside it, whatever kind of class it is of."""

from __future__ import annotations

import pytest

from isthmus import layer as functions
from isthmus.layer import Layer, deliver, send
from isthmus.services.relay import Half
from isthmus.transports.tcp import TcpTransport


class Any:
    """Does what a layer does, without being one."""

    def __init__(self) -> None:
        self.got: list[bytes] = []

    def data_received(self, data: memoryview) -> None:
        self.got.append(bytes(data))

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.got.append(bytes(data))


class Derived(Any, Layer):
    """Is one, and not compiled."""


@pytest.mark.parametrize("kind", [Any, Derived])
def test_what_is_delivered_and_sent_arrives(kind: type[Any]) -> None:
    layer: object = kind()
    deliver(layer, memoryview(b"from below"))  # type: ignore[arg-type]
    send(layer, b"from above")  # type: ignore[arg-type]
    assert layer.got == [b"from below", b"from above"]  # type: ignore[attr-defined]


class Events:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.got: list[object] = []

    def connection_made(self, transport: object) -> None:
        self.got.append(transport)

    def eof_received(self) -> None:
        self.got.append("end of input")

    def connection_lost(self, error: Exception | None) -> None:
        self.got.append(error)

    def pause_reading(self) -> None:
        self.got.append("pause")

    def resume_reading(self) -> None:
        self.got.append("resume")

    def write_eof(self) -> None:
        self.got.append("end")

    def output_ready(self) -> None:
        self.got.append("output")


class DerivedEvents(Events, Layer):
    """Is a layer, and not compiled."""


@pytest.mark.parametrize("kind", [Events, DerivedEvents])
def test_each_event_arrives(kind: type[Events]) -> None:
    layer: object = kind()
    functions.made(layer, layer)  # type: ignore[arg-type]
    functions.ended(layer)  # type: ignore[arg-type]
    functions.lost(layer, None)  # type: ignore[arg-type]
    functions.pause(layer)  # type: ignore[arg-type]
    functions.resume(layer)  # type: ignore[arg-type]
    functions.end(layer)  # type: ignore[arg-type]
    functions.wake(layer)  # type: ignore[arg-type]
    assert layer.got == [layer, "end of input", None, "pause", "resume", "end", "output"]  # type: ignore[attr-defined]


def test_the_ends_of_a_stack_are_layers() -> None:
    assert issubclass(TcpTransport, Layer)
    assert issubclass(Half, Layer)


@pytest.mark.parametrize(
    "call",
    [
        lambda layer: layer.ready(1),
        lambda layer: layer.round_over(),
        lambda layer: layer.data_received(memoryview(b"")),
        lambda layer: layer.write(b""),
        lambda layer: layer.connection_made(None),
        lambda layer: layer.eof_received(),
        lambda layer: layer.connection_lost(None),
        lambda layer: layer.pause_reading(),
        lambda layer: layer.resume_reading(),
        lambda layer: layer.write_eof(),
    ],
)
def test_a_layer_in_the_wrong_place_is_an_error(call: object) -> None:
    with pytest.raises(NotImplementedError):
        call(Layer())  # type: ignore[operator]


def test_an_error_of_a_layer_goes_to_the_caller() -> None:
    class Failing(Layer):
        def data_received(self, data: memoryview) -> None:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        deliver(Failing(), memoryview(b""))
