"""One attempt to open a WebSocket: an opening and its time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from tests.transports.span.world import ADDRESS, Network, Script, World, switching

from isthmus.config.model import ConnectOptions
from isthmus.errors import ConnectError
from isthmus.transports.base import Transport
from isthmus.transports.ws_dial import WebSocketDial

TIMEOUT = 4.0
OPTIONS = ConnectOptions(connect_timeout=TIMEOUT)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


class Scene:
    """A network, the scripts that answer, and one attempt."""

    def __init__(
        self, world: World, answer: Callable[[str], bytes] | None = None, offered: Sequence[str] = ()
    ) -> None:
        self.world = world
        self.met: list[Script] = []
        self.answer = answer or switching()
        self.network = Network(world, self._meets)
        self.opened: list[tuple[Transport, str | None, bytes]] = []
        self.failures: list[ConnectError] = []
        self.dial = WebSocketDial(
            world.clock.loop, ADDRESS, OPTIONS, self._open, self.failures.append, offered
        )

    def _meets(self) -> Script:
        self.met.append(Script(self.answer))
        return self.met[-1]

    def _open(self, below: Transport, subprotocol: str | None, rest: bytearray) -> None:
        self.opened.append((below, subprotocol, bytes(rest)))

    @property
    def over(self) -> int:
        """How often it was told how it came out."""
        return len(self.opened) + len(self.failures)


@pytest.mark.parametrize("offered", [(), ("one",), ("one", "two")])
def test_what_is_offered_is_asked_for(world: World, offered: tuple[str, ...]) -> None:
    scene = Scene(world, switching("one" if offered else ""), offered)
    scene.dial.start(scene.network)
    assert not scene.over
    world.settle()
    ((_, subprotocol, rest),) = scene.opened
    assert subprotocol == ("one" if offered else None)
    assert rest == b""
    assert (f"Sec-WebSocket-Protocol: {', '.join(offered)}\r\n" in scene.met[0].head) == bool(offered)


def test_a_subprotocol_that_was_not_offered_is_an_error(world: World) -> None:
    scene = Scene(world, switching("three"), ["one"])
    scene.dial.start(scene.network)
    world.settle()
    (failure,) = scene.failures
    assert failure.status == 502
    assert not scene.opened
    assert scene.network.wires[0].left.over


def test_nobody_listens(world: World) -> None:
    scene = Scene(world)
    scene.network.meets = lambda: None
    scene.dial.start(scene.network)
    world.settle()
    (failure,) = scene.failures
    assert isinstance(failure.__cause__, ConnectionRefusedError)
    world.advance(2 * TIMEOUT)
    assert scene.over == 1


def test_nothing_comes_from_inside_start(world: World) -> None:
    scene = Scene(world)
    scene.dial.start(scene.network)
    assert not scene.over


@pytest.mark.parametrize("stage", ["connecting", "handshake"])
def test_its_time_covers_everything(world: World, stage: str) -> None:
    scene = Scene(world, lambda head: b"HTTP/1.1 101 Switching")
    scene.network.silent = stage == "connecting"
    scene.dial.start(scene.network)
    world.advance(TIMEOUT - 0.1)
    assert not scene.over
    world.advance(0.2)
    (failure,) = scene.failures
    assert failure.status == 504
    assert failure.hint
    assert ("WebSocket handshake" in str(failure)) == (stage == "handshake")
    assert "within 4 s" in str(failure)
    if stage == "connecting":
        assert scene.network.cancelled == 1
    else:
        assert scene.network.wires[0].left.over
    world.advance(10.0)
    assert len(scene.failures) == 1
    assert not scene.opened


def test_its_time_ends_with_the_handshake(world: World) -> None:
    scene = Scene(world)
    scene.dial.start(scene.network)
    world.advance(10 * TIMEOUT)
    assert len(scene.opened) == 1
    assert not scene.failures
    assert not scene.network.wires[0].left.over
    scene.dial.cancel()  # it is somebody else's now
    world.settle()
    assert not scene.network.wires[0].left.over


def test_cancelling_twice(world: World) -> None:
    scene = Scene(world)
    scene.dial.cancel()
    scene.dial = WebSocketDial(world.clock.loop, ADDRESS, OPTIONS, lambda *_: None, scene.failures.append)
    scene.dial.start(scene.network)
    world.clock.run()
    scene.dial.cancel()
    scene.dial.cancel()
    world.advance(10.0)
    assert not scene.over
    assert scene.network.wires[0].left.over
    assert world.clock.due() is None
