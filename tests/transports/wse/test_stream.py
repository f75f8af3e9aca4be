"""What both roles share: the rules of a transport, kept in memory against either end."""

from __future__ import annotations

import pytest
from tests.transports.span.world import World
from tests.transports.wse.scene import Emulated, Gateway, Pair

from isthmus.errors import StreamReset
from isthmus.transports.wse.stream import EmulatedStream
from isthmus.websocket.frames import Role
from isthmus.wse.encodings import BINARY


def test_what_it_knows(world: World) -> None:
    Emulated(world, gateway := Gateway(world))
    (stream,) = gateway.emulation.streams.values()
    assert stream.peer == "192.0.2.7:50000"
    assert stream.info("peername") == ("192.0.2.7", 50000)
    assert stream.info("socket") is None
    assert stream.info("ssl_object") is None


def test_once_it_is_over_nothing_is_taken(world: World) -> None:
    emulated = Emulated(world, gateway := Gateway(world))
    (stream,) = gateway.emulation.streams.values()
    emulated.server.call("abort")
    world.settle()
    assert stream.over
    stream.write(b"\x82\x01x")
    stream.writelines([b"\x82\x01x"])
    stream.write_eof()
    stream.close()
    stream.abort()
    stream.pause_reading()
    stream.resume_reading()
    stream.set_write_limit(1)
    assert stream.unsent() == 0


def test_the_end_is_told_once(world: World) -> None:
    client, server = Pair(world, ws_fallback="streaming").open()
    for each in (client, server):
        each.call("abort")
        each.call("abort")
        each.call("close")
    world.advance(100.0)
    assert [each.events.count("lost") for each in (client, server)] == [1, 1]
    assert isinstance(client.error, StreamReset)


def test_a_role_has_to_say_how(world: World) -> None:
    stream = EmulatedStream(Role.SERVER, BINARY, True, {})
    for call in (lambda: stream._send([]), stream.unsent, stream.close, stream._let_go):
        with pytest.raises(NotImplementedError):
            call()
    with pytest.raises(NotImplementedError):
        stream._end_output(in_order=True)
    with pytest.raises(NotImplementedError):
        stream._reading(True)
