"""Connecting a socket: what a dial gives becomes a transport. How it is dialled is tested in test_dial."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

from tests.transports.conformance import refused_port
from tests.transports.loops import event_loop_policy, nothing_left_open, on_each_loop, turns, until

from isthmus.config.model import ConnectOptions
from isthmus.errors import ConnectError
from isthmus.transports.base import Transport
from isthmus.transports.socket_connect import SocketConnector
from isthmus.uri import parse

__all__ = ["event_loop_policy"]
pytestmark = on_each_loop


class Above:
    """A receiver that notes what it is told."""

    def __init__(self) -> None:
        self.transport: Transport | None = None
        self.got = bytearray()
        self.failed: list[ConnectError] = []
        self.over: list[Exception | None] = []

    def connection_made(self, transport: Transport) -> None:
        self.transport = transport

    def data_received(self, data: memoryview) -> None:
        self.got += data

    def eof_received(self) -> None:
        pass

    def pause_writing(self) -> None:
        pass

    def resume_writing(self) -> None:
        pass

    def connection_lost(self, error: Exception | None) -> None:
        self.over.append(error)


async def talk(listening: socket.socket, address: str, at: str | None = None) -> None:
    above = Above()
    connector = SocketConnector(parse(address), ConnectOptions(), None if at is None else parse(at))
    connector.connect(above, above.failed.append)
    assert above.transport is None
    await until(lambda: above.transport)
    peer, _ = listening.accept()
    with peer:
        assert above.transport is not None
        above.transport.write(b"up")
        peer.sendall(b"down")
        await until(lambda: above.got == b"down")
        assert peer.recv(9) == b"up"
    above.transport.close()
    await until(lambda: above.over)
    assert above.failed == []


async def test_tcp_and_at_another_place() -> None:
    with nothing_left_open(), socket.create_server(("127.0.0.1", 0)) as listening:
        place = f"tcp://127.0.0.1:{listening.getsockname()[1]}"
        await talk(listening, place)
        await talk(listening, "tcp://elsewhere.example:1", place)
        await turns(3)


async def test_unix(tmp_path: Path) -> None:
    with nothing_left_open(), socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        listening.listen()
        await talk(listening, f"unix://{tmp_path}/s")
        await turns(3)


async def test_a_failure_and_a_dial_that_is_given_up() -> None:
    above = Above()
    holder, port = refused_port()
    with holder, nothing_left_open():
        connector = SocketConnector(parse(f"tcp://127.0.0.1:{port}"), ConnectOptions())
        connector.connect(above, above.failed.append)
        await until(lambda: above.failed)
        connector.connect(above, above.failed.append).cancel()
        await asyncio.sleep(0.01)
        connector.close()
    assert len(above.failed) == 1
    assert above.transport is None
