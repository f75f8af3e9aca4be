"""Offers of connections whose stream is there at once."""

from __future__ import annotations

import asyncio
import socket

import pytest
from tests.transports.conformance import Recorder
from tests.transports.loops import nothing_left_open, turns, until
from tests.transports.memory import Wire

from isthmus.errors import ConnectError, StreamReset
from isthmus.transports import tcp
from isthmus.transports.accept import SocketIncoming, StreamIncoming
from isthmus.transports.base import Origin
from isthmus.uri import parse

ADDRESS = parse("tcp://127.0.0.1:1")


ORIGIN = Origin(("198.51.100.7", 4711), ("203.0.113.1", 443))


def connected() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        ours, _ = server.accept()
    tcp.prepare(ours)
    client.settimeout(10)
    return ours, client


class TestSocketIncoming:
    async def test_accept(self) -> None:
        with nothing_left_open():
            ours, client = connected()
            incoming = SocketIncoming(asyncio.get_running_loop(), ADDRESS, ours)
            name = client.getsockname()
            assert incoming.peer == f"127.0.0.1:{name[1]}"
            assert incoming.address is ADDRESS
            assert incoming.early
            assert incoming.gone is None
            recorder = Recorder()
            incoming.accept(recorder)
            assert recorder.events == ["made"]
            client.sendall(b"hello")
            await until(lambda: recorder.data)
            client.close()
            await until(lambda: recorder.ended)
            recorder.call("close")
            await until(lambda: recorder.in_order)

    async def test_who_a_balancer_says_it_is_from(self) -> None:
        ours, client = connected()
        assert (
            SocketIncoming(asyncio.get_running_loop(), ADDRESS, ours, None, ORIGIN).peer
            == "198.51.100.7:4711"
        )
        ours.close()
        client.close()

    async def test_refuse_is_a_reset(self) -> None:
        with nothing_left_open():
            ours, client = connected()
            SocketIncoming(asyncio.get_running_loop(), ADDRESS, ours).refuse(ConnectError("no"))
            with pytest.raises(ConnectionResetError):
                client.recv(1)
            client.close()

    async def test_a_client_that_has_gone(self) -> None:
        with nothing_left_open():
            ours, client = connected()
            incoming = SocketIncoming(asyncio.get_running_loop(), ADDRESS, ours)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()
            await turns(3)
            assert incoming.peer == "unknown"
            recorder = Recorder()
            incoming.accept(recorder)
            await until(lambda: recorder.reset)


class TestStreamIncoming:
    def offered(self) -> tuple[Wire, StreamIncoming]:
        wire = Wire()
        offers: list[object] = []
        incoming = StreamIncoming(ADDRESS, offers.append)
        assert incoming.peer == "unknown"
        wire.right.start(Recorder())
        wire.left.start(incoming)
        assert offers == [incoming]
        assert incoming.peer == "192.0.2.7:50000"
        return wire, incoming

    async def test_who_a_balancer_says_it_is_from(self) -> None:
        incoming = StreamIncoming(ADDRESS, lambda _: None, None, ORIGIN)
        assert incoming.peer == "198.51.100.7:4711"

    async def test_nothing_is_read_before_the_answer(self) -> None:
        wire, incoming = self.offered()
        wire.right.write(b"early")
        wire.settle()
        recorder = Recorder()
        incoming.accept(recorder)
        assert recorder.events == ["made"]
        wire.settle()
        assert recorder.data == b"early"

    async def test_a_receiver_that_pauses_at_once_stays_paused(self) -> None:
        wire, incoming = self.offered()
        recorder = Recorder()
        recorder.pause_at_start = True
        incoming.accept(recorder)
        wire.right.write(b"early")
        wire.settle()
        assert not recorder.data
        recorder.resume()
        wire.settle()
        assert recorder.data == b"early"

    async def test_a_client_that_has_gone_is_told_to_who_accepts_it(self) -> None:
        wire, incoming = self.offered()
        wire.left.lose()
        wire.settle()
        recorder = Recorder()
        incoming.accept(recorder)
        assert recorder.events == ["made"]
        await until(lambda: recorder.lost)
        assert isinstance(recorder.error, StreamReset)

    async def test_a_client_that_has_gone_may_be_refused(self) -> None:
        wire, incoming = self.offered()
        wire.left.lose()
        wire.settle()
        incoming.refuse(ConnectError("no"))

    async def test_refuse_is_a_reset(self) -> None:
        wire, incoming = self.offered()
        incoming.refuse(ConnectError("no"))
        wire.settle()
        assert wire.right.over

    async def test_who_offers_is_told_once_that_the_client_has_left(self) -> None:
        wire, incoming = self.offered()
        assert incoming.early
        told: list[str] = []
        incoming.gone = lambda: told.append("gone")
        wire.left.lose()
        wire.settle()
        assert told == ["gone"]
        assert incoming.gone is None
        recorder = Recorder()
        incoming.accept(recorder)
        await until(lambda: recorder.lost)
        assert told == ["gone"]

    async def test_nobody_is_told_of_a_client_that_was_accepted(self) -> None:
        wire, incoming = self.offered()
        told: list[str] = []
        incoming.gone = lambda: told.append("gone")
        recorder = Recorder()
        incoming.accept(recorder)
        wire.left.lose()
        wire.settle()
        assert recorder.lost
        assert not told
