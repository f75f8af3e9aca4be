"""Accepted sockets that say first who they are from: who may, how long it may take, what is left in them."""

from __future__ import annotations

import logging
import socket

import pytest
from tests.transports.loops import event_loop_policy, nothing_left_open, on_each_loop, turns, until

from isthmus.config.networks import parse_networks
from isthmus.transports.base import Origin
from isthmus.transports.original import told_by
from isthmus.transports.proxy_protocol import header
from isthmus.transports.stream_socket import PlainStreamSocket, StreamSocket

__all__ = ["event_loop_policy"]
pytestmark = on_each_loop

ORIGIN = Origin(("192.0.2.7", 51324), ("203.0.113.1", 443))


class Accepting:
    """A connection over loopback, accepted by what trusts `trusted`."""

    def __init__(self, trusted: str = "127.0.0.0/8", timeout: float = 10.0) -> None:
        self.begun: list[tuple[PlainStreamSocket, Origin | None]] = []
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.client = socket.create_connection(server.getsockname())
            accepted, _ = server.accept()
        accepted.setblocking(False)
        self.accepted = StreamSocket(accepted)
        accept = told_by(parse_networks(trusted), timeout, lambda *begun: self.begun.append(begun))
        accept(self.accepted)

    def seen(self) -> bytes:
        """Return what is in the accepted socket."""
        inside = self.accepted.object()
        assert inside is not None
        return inside.recv(100, socket.MSG_PEEK)

    def close(self) -> None:
        self.client.close()
        self.accepted.close()


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("cut", [1, 5, 13, 20, 1000])
async def test_the_header_is_taken_and_nothing_else(version: str, cut: int) -> None:
    with nothing_left_open():
        accepting = Accepting()
        first = header(ORIGIN, version)  # type: ignore[arg-type]
        for start in range(0, len(first), cut):
            assert not accepting.begun
            piece = first[start : start + cut]
            accepting.client.sendall(piece + (b"hello" if start + cut >= len(first) else b""))
            await turns(3)
        await until(lambda: accepting.begun, "a beginning")
        ((begun, origin),) = accepting.begun
        assert begun is accepting.accepted
        assert origin == ORIGIN
        await until(lambda: accepting.seen() == b"hello")
        accepting.close()


async def test_a_health_check_of_the_balancer() -> None:
    accepting = Accepting()
    accepting.client.sendall(header(None, "v2"))
    await until(lambda: accepting.begun)
    assert accepting.begun == [(accepting.accepted, None)]
    accepting.close()


async def test_from_elsewhere_nothing_is_read() -> None:
    accepting = Accepting("10.0.0.0/8")
    assert accepting.begun == [(accepting.accepted, None)]
    accepting.client.sendall(header(ORIGIN, "v1"))
    await until(lambda: accepting.seen().startswith(b"PROXY"))
    accepting.close()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "it does not begin with a header of the PROXY protocol"),
        (b"PROXY TCP4", "it ended"),
        (b"", "it ended"),
    ],
)
async def test_no_header(data: bytes, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with nothing_left_open():
        accepting = Accepting()
        accepting.client.sendall(data)
        accepting.client.shutdown(socket.SHUT_WR)
        await until(lambda: accepting.accepted.fileno() < 0, "it is dropped")
        assert not accepting.begun
        assert f"127.0.0.1:{accepting.client.getsockname()[1]}: dropped: no header" in caplog.text
        assert caplog.text.rstrip().endswith(reason)
        accepting.close()


async def test_a_header_that_does_not_come(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    accepting = Accepting(timeout=0.05)
    accepting.client.sendall(b"PROXY TCP4 ")
    await until(lambda: accepting.accepted.fileno() < 0, "it is dropped")
    assert "nothing for 0.05 s" in caplog.text
    accepting.close()
