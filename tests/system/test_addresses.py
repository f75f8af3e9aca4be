"""IPv6, names with several addresses, and one port shared by HTTP and WebSocket."""

from __future__ import annotations

import errno
import socket
from pathlib import Path

import pytest
from tests.system import configuration, peers
from tests.system.network import CLIENT_INTERNAL, SERVER_EXTERNAL, Network
from tests.system.pair import Processes
from tests.system.process import PATIENCE, free_port, run
from tests.system.requirements import Requirements

DEAD = "2001:db8::dead"


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.parametrize("scheme", ["tcp", "ws"])
def test_ipv6(scheme: str, processes: Processes, tmp_path: Path, need: Requirements) -> None:
    need.that(has_ipv6(), "this machine has no ::1")
    near, far = free_port("::1"), free_port("::1")
    listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    with peers.Backend(peers.echo, listener) as backend:
        middle = f"{scheme}://[::1]:{far}"
        config = configuration.write(
            tmp_path / "gateway-config.xml",
            configuration.service(f"tcp://[::1]:{near}", middle),
            configuration.service(middle, f"tcp://[::1]:{backend.port}"),
        )
        gateway = processes.gateway(config).started()
        assert f"INFO   tcp://[::1]:{near}/" in gateway.lines
        with peers.connect(near, "::1") as client:
            client.sendall(b"hello over IPv6")
            client.shutdown(socket.SHUT_WR)
            assert peers.read_all(client) == b"hello over IPv6"


def test_happy_eyeballs(processes: Processes, network: Network, tmp_path: Path) -> None:
    """A name whose IPv6 address swallows everything is reached at its IPv4 address, long before a timeout."""
    client = network.client
    client.ip("address", "add", "2001:db8::1/128", "dev", "eth0", "nodad")
    client.ip("route", "add", "2001:db8::/64", "dev", "eth0")
    client.ip("neighbour", "add", DEAD, "lladdr", "02:00:00:00:de:ad", "dev", "eth0", "nud", "permanent")

    def dial_dead() -> int:
        with socket.socket(socket.AF_INET6) as probe:
            probe.settimeout(0.5)
            return probe.connect_ex((DEAD, 7000))

    assert client.call(dial_dead) == errno.EAGAIN, "the IPv6 address must be dead and silent"
    hosts = tmp_path / "hosts"
    hosts.write_text(f"127.0.0.1 localhost\n{DEAD} server.test\n{SERVER_EXTERNAL} server.test\n")
    config = configuration.write(
        tmp_path / "gateway-config.xml",
        configuration.service(
            f"tcp://{CLIENT_INTERNAL}:50505",
            "tcp://server.test:7000",
            connect_options={"connect.timeout": "60 s"},
        ),
    )
    with peers.Backend(peers.echo, network.server.listen("0.0.0.0", 7000)):
        processes.gateway(config, prefix=client.with_hosts(hosts)).started()
        for _ in range(3):
            with client.connect(CLIENT_INTERNAL, 50505) as connection:
                connection.settimeout(PATIENCE)
                connection.sendall(b"hello")
                assert peers.read_exactly(connection, 5) == b"hello"


def test_http_and_websocket_share_a_port_by_path(
    processes: Processes, tmp_path: Path, need: Requirements
) -> None:
    curl = need.program("curl")
    port = free_port()
    at = {"ws.bind": f"127.0.0.1:{port}", "http.bind": f"127.0.0.1:{port}"}
    base = "/base"
    config = configuration.write(
        tmp_path / "gateway-config.xml",
        configuration.service(
            f"http://gateway.test:{port}/",
            kind="directory",
            properties={"directory": base, "welcome-file": "index.html"},
            accept_options=at,
        ),
        configuration.service(f"ws://gateway.test:{port}/echo", kind="echo", accept_options=at),
    )
    processes.gateway(config).started()

    def status(path: str, host: str = "gateway.test") -> str:
        command = [
            curl,
            "--silent",
            "--output",
            "/dev/null",
            "--write-out",
            "%{http_code}",
            "--max-time",
            "20",
        ]
        return run(
            [*command, "--header", f"Host: {host}:{port}", f"http://127.0.0.1:{port}{path}"]
        ).output.decode()

    assert status("/") == "200"
    assert status("/missing") == "404"
    assert status("/", host="other.test") == "404"
    with peers.connect(port) as client:
        assert peers.http_status(client, peers.upgrade_request(f"gateway.test:{port}", "/echo")) == 101
    with peers.connect(port) as client:
        assert peers.http_status(client, peers.upgrade_request(f"other.test:{port}", "/echo")) == 404
