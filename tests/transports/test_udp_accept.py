"""A udp accept on real sockets: who is told apart, what is bound, how it ends."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator
from unittest import mock

import pytest
from tests.system.process import free_port
from tests.transports.loops import event_loop_policy, nothing_left_open, on_each_loop, turns, until
from tests.transports.test_ws_datagrams import Above

from isthmus.config.model import AcceptOptions, Bind
from isthmus.errors import BindError, ConnectError
from isthmus.transports.datagram_socket import Peer, PlainDatagramSocket
from isthmus.transports.datagrams import DatagramCounters, DatagramIncoming
from isthmus.transports.udp_accept import UdpAccept, bind
from isthmus.uri import parse

__all__ = ["event_loop_policy"]
pytestmark = on_each_loop


class Scene:
    """An accept whose new flows are all accepted, unless told otherwise."""

    def __init__(self, uri: str = "udp://127.0.0.1:0", at: str = "") -> None:
        address = parse(uri)
        self.counters = DatagramCounters()
        (bound,) = bind(address, Bind.parse(at) if at else None, AcceptOptions())
        self.accept = UdpAccept(address, bound, self.offered, self.counters)
        self.flows: list[Above] = []
        self.peers: list[str] = []
        self.refusing = False
        self.accept.start()

    def offered(self, incoming: DatagramIncoming) -> None:
        assert incoming.early
        assert incoming.address is self.accept.address
        self.peers.append(incoming.peer)
        if self.refusing:
            incoming.refuse(ConnectError("no"))
            return
        self.flows.append(Above())
        incoming.accept(self.flows[-1])

    def client(self, host: str = "127.0.0.1") -> socket.socket:
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.connect((host, self.accept.socket.getsockname()[1]))
        client.settimeout(5)
        return client


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    with nothing_left_open():
        scene = Scene()
        yield scene
        scene.accept.stop()
        for flow in scene.flows:
            flow.transport.close()


async def test_each_sender_is_a_flow(scene: Scene) -> None:
    with scene.client() as first, scene.client() as second:
        first.send(b"a")
        first.send(b"")
        second.send(b"b")
        await until(lambda: [each.came for each in scene.flows] == [[b"a", b""], [b"b"]])
        assert scene.peers == [f"127.0.0.1:{each.getsockname()[1]}" for each in (first, second)]
        for flow, client in zip(scene.flows, (first, second), strict=True):
            flow.transport.send([b"answer", bytes(65_507)])
            assert [client.recv(70_000), client.recv(70_000)] == [b"answer", bytes(65_507)]
            assert flow.transport.info("peername") == client.getsockname()
            assert flow.transport.info("sockname") == scene.accept.socket.getsockname()
            assert flow.transport.info("socket") is scene.accept.socket
            assert flow.transport.info("else") is None


async def test_a_flow_that_is_closed_begins_anew(scene: Scene) -> None:
    with scene.client() as client:
        client.send(b"a")
        await until(lambda: scene.flows)
        scene.flows[0].transport.close()
        scene.flows[0].transport.close()
        scene.flows[0].transport.send([b"not sent"])
        client.send(b"b")
        await until(lambda: len(scene.flows) == 2 and scene.flows[1].came)
        assert scene.flows[0].came == [b"a"]
        assert scene.flows[1].came == [b"b"]
        client.settimeout(0.01)
        with pytest.raises(TimeoutError):
            client.recv(100)


async def test_what_is_refused_is_counted_and_not_kept(scene: Scene) -> None:
    scene.refusing = True
    with scene.client() as client:
        for _ in range(3):
            client.send(b"a")
        await until(lambda: scene.counters.dropped_new == 3)
    assert not scene.accept._peers


async def test_a_stop_keeps_flows_and_takes_no_new_ones(scene: Scene) -> None:
    with scene.client() as client, scene.client() as late:
        client.send(b"a")
        await until(lambda: scene.flows)
        scene.accept.stop()
        scene.accept.stop()
        late.send(b"too late")
        client.send(b"b")
        await until(lambda: scene.counters.dropped_new == 1 and len(scene.flows[0].came) == 2)
        scene.flows[0].transport.send([b"answer"])
        assert client.recv(100) == b"answer"
        scene.flows[0].transport.close()
        assert scene.accept.socket.fileno() == -1


async def test_more_than_one_batch_is_read(scene: Scene) -> None:
    with scene.client() as client:
        for number in range(500):
            client.send(number.to_bytes(4, "big"))
        await until(lambda: scene.flows and len(scene.flows[0].came) == 500)
        assert scene.flows[0].came == [number.to_bytes(4, "big") for number in range(500)]
        assert scene.flows[0].batches < 500


async def test_a_flow_may_close_the_accept_while_it_reads(scene: Scene) -> None:
    """The end of the last flow, inside a read, closes the socket that is read."""
    with scene.client() as client:
        client.send(b"a")
        await until(lambda: scene.flows)
        scene.accept.stop()
        received = scene.flows[0].datagrams_received

        def close(datagrams: list[bytes]) -> None:
            received(datagrams)
            scene.flows[0].transport.close()

        with mock.patch.object(scene.flows[0], "datagrams_received", close):
            client.send(b"b")
            await until(lambda: scene.accept.socket.fileno() == -1)
        await turns(3)


async def test_a_read_that_fails_is_tried_again(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    failures = [OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))]

    class Failing(PlainDatagramSocket):
        def receive_from(self) -> dict[Peer, list[bytes]]:
            if failures:
                raise failures.pop()
            return super().receive_from()

    scene.accept.datagrams = Failing(scene.accept.socket)
    with scene.client() as client:
        client.send(b"a")
        await until(lambda: scene.flows and scene.flows[0].came)
    assert "cannot read: Cannot allocate memory" in caplog.text


# --- binding


async def test_a_taken_port_is_told_with_its_holder() -> None:
    port = free_port()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("127.0.0.1", port))
        with pytest.raises(BindError) as caught:
            bind(parse(f"udp://127.0.0.1:{port}"), None, AcceptOptions())
    assert str(caught.value) == (
        f"Unable to bind to resource: udp://127.0.0.1:{port}/ cause: Address already in use"
    )
    assert f"(pid {os.getpid()})" in caught.value.hint
    assert "<udp.bind>" in caught.value.hint


async def test_udp_and_tcp_share_a_port() -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        (bound,) = bind(parse(f"udp://127.0.0.1:{port}"), None, AcceptOptions())
        bound.close()


async def test_every_address_answers_from_the_one_that_was_asked() -> None:
    with nothing_left_open():
        scene = Scene("udp://192.0.2.1:53", at="0.0.0.0:0")
        with scene.client("127.0.0.9") as client:
            client.send(b"question")
            await until(lambda: scene.flows)
            scene.flows[0].transport.send([b"answer"])
            assert client.recv(100) == b"answer"  # a connected socket takes it from nobody else
        scene.accept.stop()
        scene.flows[0].transport.close()


async def test_ipv6() -> None:
    try:
        (bound,) = bind(parse("udp://[::1]:0"), None, AcceptOptions())
    except BindError:
        pytest.skip("this machine has no IPv6")
    accept = UdpAccept(parse("udp://[::1]:0"), bound, lambda _: None, DatagramCounters())
    assert accept.bound == f"[::1]:{bound.getsockname()[1]}"
    accept.stop()


async def test_a_name_is_bound_on_each_of_its_addresses() -> None:
    sockets = bind(parse("udp://localhost:0"), None, AcceptOptions())
    assert {each.getsockname()[0] for each in sockets} <= {"127.0.0.1", "::1"}
    for each in sockets:
        each.close()


async def test_a_name_that_does_not_exist() -> None:
    with pytest.raises(BindError, match="cannot be resolved"):
        bind(parse("udp://does-not-exist.invalid:1"), None, AcceptOptions())


async def test_a_late_pause_of_a_closed_accept_does_nothing(scene: Scene) -> None:
    scene.accept._pause()
    scene.accept.stop()
    scene.accept._resume()
    scene.accept.start()
    await asyncio.sleep(0)
