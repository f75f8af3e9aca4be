"""A layer is called by whoever stands beside it, whatever kind of class it is of."""

from __future__ import annotations

import pytest

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
