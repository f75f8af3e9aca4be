"""Multicast groups, on the loopback interface: joined by an accept, reached by a connect."""

from __future__ import annotations

import socket

import pytest
from tests.transports.loops import event_loop_policy, nothing_left_open, on_each_loop, until
from tests.transports.test_udp_connect import Scene as Connecting
from tests.transports.test_ws_datagrams import Above

from isthmus.config.model import AcceptOptions, ConnectOptions
from isthmus.errors import BindError
from isthmus.transports import multicast
from isthmus.transports.datagrams import DatagramCounters, DatagramIncoming
from isthmus.transports.udp_accept import UdpAccept, bind
from isthmus.uri import parse

__all__ = ["event_loop_policy"]
pytestmark = on_each_loop

GROUP, GROUP6 = "239.255.77.1", "ff15::7701"


@pytest.mark.parametrize("interface", ["lo", "127.0.0.1"])
async def test_an_accept_joins_and_a_connect_reaches(interface: str) -> None:
    with nothing_left_open():
        options = AcceptOptions.model_validate({"udp.interface": interface})
        address = parse(f"udp://{GROUP}:0")
        bounds = [bind(address, None, options)[0]]
        port = bounds[0].getsockname()[1]
        bounds += bind(parse(f"udp://{GROUP}:{port}"), None, options)  # several may listen
        flows: list[Above] = []

        def offered(incoming: DatagramIncoming) -> None:
            flows.append(Above())
            incoming.accept(flows[-1])

        accepts = [UdpAccept(address, bound, offered, DatagramCounters()) for bound in bounds]
        for accept in accepts:
            accept.start()
        connecting = Connecting(f"udp://{GROUP}:{port}", udp_interface=interface)
        client = await connecting.connect()
        client.transport.send([b"who is there?"])
        await until(lambda: [each.came for each in flows] == [[b"who is there?"]] * 2)
        for number, flow in enumerate(flows):
            flow.transport.send([bytes([number])])
        await until(
            lambda: sorted(client.came) == [b"\0", b"\1"], "members answer from addresses of their own"
        )
        assert client.transport.info("peername") == (GROUP, port)
        client.transport.close()
        for accept in accepts:
            accept.stop()
        for flow in flows:
            flow.transport.close()


@pytest.mark.parametrize(("loop", "ttl"), [("enabled", 1), ("disabled", 7)])
def test_how_far_and_whether_we_hear_ourselves(loop: str, ttl: int) -> None:
    options = ConnectOptions.model_validate(
        {"udp.multicast.loop": loop, "udp.multicast.ttl": ttl, "udp.interface": "lo"}
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        multicast.prepare_sending(sock, GROUP, options)
        assert sock.getsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL) == ttl
        assert sock.getsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP) == (loop == "enabled")


def test_ipv6_groups() -> None:
    options = ConnectOptions.model_validate(
        {"udp.multicast.loop": "disabled", "udp.multicast.ttl": 9, "udp.interface": "lo"}
    )
    try:
        sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with sock:
        multicast.prepare_sending(sock, GROUP6, options)
        assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS) == 9
        assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP) == 0
        assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF) == socket.if_nametoindex("lo")
        multicast.join(sock, f"{GROUP6}%lo", ConnectOptions())


@pytest.mark.parametrize("interface", ["no-such-interface", "192.0.2.77"])
def test_an_interface_that_is_not_there(interface: str) -> None:
    options = AcceptOptions.model_validate({"udp.interface": interface})
    with pytest.raises(BindError, match="Unable to bind to resource: udp://239"):
        bind(parse(f"udp://{GROUP}:0"), None, options)
