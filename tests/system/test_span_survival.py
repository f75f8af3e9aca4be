"""Streams outlive their WebSockets: the Web is cut over and over, and every byte arrives, once, in order.

Each test keeps conversations going that check every byte (span_load.py) while something cuts what carries
them. `ISTHMUS_SOAK_SECONDS=60` is the full length.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from pathlib import Path

import psutil
import pytest
from tests.system import configuration, peers
from tests.system.certificates import Authority
from tests.system.pair import Processes
from tests.system.peers import Backend
from tests.system.process import Gateway, Process, eventually, free_port
from tests.system.requirements import Requirements
from tests.system.span_network import SERVER, FarNetwork, far_network
from tests.system.span_scene import (
    DEADLINE,
    HOST,
    SOAK_SECONDS,
    Faults,
    Load,
    Options,
    Report,
    SpanPair,
    bar,
    soak,
    start_faults,
    start_span_pair,
)

pytestmark = [pytest.mark.soak, pytest.mark.timeout(180 + 2 * SOAK_SECONDS)]

REQUIRED = {"span.mode": "required"}
WATCHFUL = {**REQUIRED, "span.ping.deadline": f"{DEADLINE} s"}
EVERY_KIND = "fin,rst,silence,half-open,mid-frame"


def survived(report: Report, longest: float) -> None:
    """Check that nobody noticed anything but waiting, for less than `longest` seconds.

    Twice that in a short run: beside other tests the applications themselves wait for their turn.
    """
    print(report)
    assert not report.errors, str(report)
    assert not report.stuck, str(report)
    assert report.conversations > 0, str(report)
    assert report.longest_wait < bar(longest, 2 * longest), str(report)


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_the_carrier_is_cut_again_and_again(
    scheme: str, processes: Processes, tmp_path: Path, authority: Authority
) -> None:
    """In every way there is, one second after each recovery."""
    load, web_port = Load(processes), free_port()
    # Before the handshake of the WebSocket comes that of TLS.
    faults = start_faults(processes, web_port, settings={"turns": 2 if scheme == "wss" else 1})
    pair = start_span_pair(
        processes,
        tmp_path,
        load.port,
        web_port=web_port,
        through=faults.port,
        scheme=scheme,
        authority=authority,
        both=WATCHFUL,
    )
    load.start(pair.port, seconds=soak(8), streams=50)
    faults.tell(f"schedule {EVERY_KIND} 1")
    report = load.report()
    faults.tell("unschedule")
    assert faults.count("cut") >= 3
    assert faults.kinds_cut() <= set(EVERY_KIND.split(","))
    # Silence is noticed a deadline after the last sign of life, which a look each half of it takes to be now.
    survived(report, 2.5 * DEADLINE)


def test_a_closed_carrier_is_noticed_at_once(processes: Processes, tmp_path: Path) -> None:
    """Nobody waits for a deadline, which is ten seconds here, where the socket tells."""
    load, web_port = Load(processes), free_port()
    faults = start_faults(processes, web_port)
    pair = start_span_pair(
        processes, tmp_path, load.port, web_port=web_port, through=faults.port, both=REQUIRED
    )
    load.start(pair.port, seconds=soak(6), streams=50)
    faults.tell("schedule fin,rst,mid-frame 1")
    report = load.report()
    assert faults.count("cut") >= 3
    survived(report, 10 / 4)


def test_no_packet_is_answered(need: Requirements, processes: Processes, tmp_path: Path) -> None:
    """The link is down for longer than the deadline, time and again: not even a reset comes through."""
    with far(need) as network:
        load, pair = through_network(processes, tmp_path, network)
        load.start(pair.port, seconds=soak(8), streams=50, rate=2_000_000, prefix=network.client.prefix)
        until = time.monotonic() + soak(8)
        downs = 0
        while time.monotonic() < until:
            time.sleep(1)
            network.link.tell("down")
            time.sleep(DEADLINE * 1.2)
            network.link.tell("up")
            downs += 1
        assert downs >= 2
        # The carrier that was dialled while nothing went through is tried again by TCP after a while.
        survived(load.report(), 4 * DEADLINE)


def test_the_clients_address_changes(need: Requirements, processes: Processes, tmp_path: Path) -> None:
    """What is sent from the old address is lost; a new carrier goes from the new one."""
    with far(need) as network:
        load, pair = through_network(processes, tmp_path, network)
        load.start(pair.port, seconds=soak(6), streams=50, rate=2_000_000, prefix=network.client.prefix)
        until = time.monotonic() + soak(6)
        while time.monotonic() < until:
            time.sleep(1.5 + DEADLINE)
            network.move_client()
        survived(load.report(), 2 * DEADLINE)


def test_a_slow_link_that_is_cut_every_second_goes_forward(
    need: Requirements, processes: Processes, tmp_path: Path
) -> None:
    """2 Mbit/s: what a cut loses is less than what a second brings."""
    with far(need, rate=2e6, delay=0.01) as network:
        web_port = free_port()
        # The relay keeps little: what waits in it is lost with each cut, as in no real network.
        settings: Options = {"to": SERVER, "buffer": 8192}
        faults = start_faults(processes, web_port, settings=settings, prefix=network.client.prefix)
        load, pair = through_network(
            processes,
            tmp_path,
            network,
            web_port=web_port,
            through=faults.port,
            **{"span.ping.deadline": "4 s"},
        )
        # A quarter of the rate: the rest is for what has to be sent again.
        load.start(
            pair.port,
            seconds=soak(8),
            streams=20,
            rate=60_000,
            largest=10_000,
            prefix=network.client.prefix,
        )
        faults.tell("schedule fin,rst,mid-frame 1")
        report = load.report()
        assert faults.count("cut") >= 3
        survived(report, 4)


def far(need: Requirements, **settings: float) -> contextlib.AbstractContextManager[FarNetwork]:
    need.root()
    need.program("ip")
    need.that(Path("/dev/net/tun").exists(), "there is no /dev/net/tun")
    return far_network(**settings)  # type: ignore[arg-type]


def through_network(
    processes: Processes,
    folder: Path,
    network: FarNetwork,
    *,
    web_port: int = 0,
    through: int = 0,
    **options: object,
) -> tuple[Load, SpanPair]:
    """Start the gateways and the server of the load, each in its namespace."""
    load = Load(processes, prefix=network.server.prefix)
    pair = start_span_pair(
        processes,
        folder,
        load.port,
        web_port=web_port or free_port(),
        web_host=SERVER,
        through=through,
        both={**WATCHFUL, **options},
        prefixes=(network.client.prefix, network.server.prefix),
    )
    return load, pair


# --- through other people's programs


def test_an_nginx_that_is_reloaded_and_restarted(
    need: Requirements, processes: Processes, tmp_path: Path
) -> None:
    program = need.program("nginx")
    load, web_port, port = Load(processes), free_port(), free_port()
    nginx = Nginx(processes, program, tmp_path / "nginx", port, web_port)
    pair = start_span_pair(processes, tmp_path, load.port, web_port=web_port, through=port, both=WATCHFUL)
    load.start(pair.port, seconds=soak(6), streams=50)
    until = time.monotonic() + soak(6)
    while time.monotonic() < until:
        time.sleep(1)
        nginx.reload()
    survived(load.report(), 2 * DEADLINE)
    assert "connecting again" in pair.client.text


def test_an_nginx_that_is_away_for_a_while(need: Requirements, processes: Processes, tmp_path: Path) -> None:
    """Streams wait until it is back."""
    program = need.program("nginx")
    web_port, port = free_port(), free_port()
    nginx = Nginx(processes, program, tmp_path / "nginx", port, web_port)
    with Backend(peers.echo) as backend:
        pair = start_span_pair(
            processes, tmp_path, backend.port, web_port=web_port, through=port, both=WATCHFUL
        )
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(peers.connect(pair.port)) for _ in range(20)]
            for round_ in range(3):
                for number, client in enumerate(clients):
                    said = b"%d/%d " % (round_, number) * 1000
                    client.sendall(said)
                    if round_ != 1:
                        assert peers.read_exactly(client, len(said)) == said
                if round_ == 0:
                    nginx.stop()
                    pair.client.wait_for("connecting again")
                if round_ == 1:
                    nginx.start()
                    for number, client in enumerate(clients):
                        said = b"%d/%d " % (round_, number) * 1000
                        assert peers.read_exactly(client, len(said)) == said
            for client in clients:
                client.shutdown(socket.SHUT_WR)
                assert peers.read_all(client) == b""


def test_two_gateways_behind_a_balancer(need: Requirements, processes: Processes, tmp_path: Path) -> None:
    """Each carrier comes to the other gateway in turn: it says that the session is elsewhere, and no more."""
    load = Load(processes)
    faults, client, accept, _ = behind_a_balancer(need, processes, tmp_path, load.port)
    load.start(accept, seconds=soak(8), streams=50)
    faults.tell("schedule fin,rst 1")
    report = load.report()
    assert faults.count("cut") >= 3
    survived(report, 2 * DEADLINE)
    assert "another node" in client.text


def test_a_gateway_behind_a_balancer_that_is_gone_for_good(
    need: Requirements, processes: Processes, tmp_path: Path
) -> None:
    """Its streams wait for it as long as the grace lasts; who newly connects is served by the other."""
    with Backend(peers.echo) as backend:
        _, client, accept, servers = behind_a_balancer(need, processes, tmp_path, backend.port)
        with peers.connect(accept) as old:
            old.sendall(b"before")
            assert peers.read_exactly(old, 6) == b"before"
            holder = next(each for each in servers if established(each))
            holder.kill()
            client.wait_for("connecting again")
            for number in range(3):
                with peers.connect(accept) as new:
                    new.sendall(b"after%d" % number)
                    assert peers.read_exactly(new, 6) == b"after%d" % number


def established(gateway: Gateway) -> int:
    """Return how many connections a gateway has."""
    return sum(
        each.status == psutil.CONN_ESTABLISHED for each in psutil.Process(gateway.pid).net_connections()
    )


def behind_a_balancer(
    need: Requirements, processes: Processes, folder: Path, backend: int
) -> tuple[Faults, Gateway, int, list[Gateway]]:
    """Start two server gateways behind a haproxy, and before it a relay and a client gateway.

    Returns the relay, the client gateway and its port, and the server gateways; these stand alone.
    """
    program, port = need.program("haproxy"), free_port()
    web_ports = [free_port(), free_port()]
    config = folder / "haproxy.cfg"
    config.write_text(
        "global\n  maxconn 500\n"
        "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n"
        f"frontend web\n  bind {HOST}:{port}\n  default_backend gateways\n"
        "backend gateways\n  balance roundrobin\n  option redispatch 1\n"
        + "".join(f"  server s{each} {HOST}:{each}\n" for each in web_ports)
    )
    processes.start([program, "-db", "-f", config])
    eventually(lambda: is_listening(port), "haproxy listens")
    faults = start_faults(processes, port)
    uri = f"ws://{HOST}:{faults.port}/tunnel"
    servers = []
    for number, web_port in enumerate(web_ports):
        accept_options = {"ws.bind": f"{HOST}:{web_port}", **WATCHFUL}
        service = configuration.service(uri, f"tcp://{HOST}:{backend}", accept_options=accept_options)
        servers.append(processes.gateway(configuration.write(folder / f"server{number}.xml", service)))
    accept = free_port()
    service = configuration.service(f"tcp://{HOST}:{accept}", uri, connect_options=WATCHFUL)
    client = processes.gateway(configuration.write(folder / "client.xml", service)).started()
    for server in servers:
        server.started()
    return faults, client, accept, servers


class Nginx:
    """An nginx before a gateway, as its documentation says for WebSocket."""

    def __init__(self, processes: Processes, program: str, folder: Path, port: int, web_port: int) -> None:
        folder.mkdir()
        self._processes = processes
        self._port = port
        user = "user root;" if os.geteuid() == 0 else ""
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        paths = "".join(f"{name}_temp_path {folder}/{name};" for name in kinds)
        config = folder / "nginx.conf"
        config.write_text(
            f"""
            {user} daemon off; worker_processes 1; pid {folder}/pid; error_log stderr;
            worker_shutdown_timeout 500ms;
            events {{ worker_connections 512; }}
            http {{
                access_log off; {paths}
                server {{
                    listen {HOST}:{port};
                    location / {{
                        proxy_pass http://{HOST}:{web_port};
                        proxy_http_version 1.1;
                        proxy_set_header Upgrade $http_upgrade;
                        proxy_set_header Connection upgrade;
                        proxy_set_header Host $http_host;
                    }}
                }}
            }}
            """
        )
        self._command: list[str | Path] = [program, "-e", "stderr", "-p", folder, "-c", config]
        self._process: Process
        self.start()

    def start(self) -> None:
        self._process = self._processes.start(self._command)
        eventually(lambda: is_listening(self._port), "nginx listens")

    def stop(self) -> None:
        """End it at once, and wait until it is gone."""
        self._process.signal(signal.SIGTERM)
        self._process.wait()

    def reload(self) -> None:
        self._process.signal(signal.SIGHUP)


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0
