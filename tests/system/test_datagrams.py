"""Applications over UDP, through a pair of gateways: dig, iperf3, HTTP/3 over QUIC, SIP, NTP."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from tests.system import configuration
from tests.system.certificates import Authority
from tests.system.http3 import download
from tests.system.pair import Processes
from tests.system.process import ISTHMUS, Gateway, eventually, free_port, run
from tests.system.requirements import Requirements

each_scheme = pytest.mark.parametrize("scheme", ["ws", "wss", "ws plain", "wss plain"])


@dataclass(frozen=True)
class Tunnel:
    """A client gateway that takes UDP, and TCP beside it, on `port`; both go to `backend`."""

    client: Gateway
    server: Gateway
    port: int
    backend: int


def start(
    processes: Processes,
    folder: Path,
    scheme: str,
    authority: Authority,
    *,
    tcp: bool = False,
    options: dict[str, object] | None = None,
    level: Sequence[str] = (),
) -> Tunnel:
    """Start both gateways. Over span TCP and UDP are one service; plain, each WebSocket is a flow."""
    scheme, _, plain = scheme.partition(" ")
    web = {"span.mode": "never" if plain else "required"}
    port, web_port, backend = free_port(), free_port(), free_port()
    kinds = ("udp", "tcp") if tcp else ("udp",)
    near, far = [], []
    for together in [[kind] for kind in kinds] if plain else [kinds]:
        uri = f"{scheme}://127.0.0.1:{web_port}/{together[0]}"
        flows = options if "udp" in together else None
        backends = [f"{kind}://127.0.0.1:{backend}" for kind in together]
        far.append(configuration.service(uri, backends, accept_options=web, connect_options=flows))
        accepts = [f"{kind}://127.0.0.1:{port}" for kind in together]
        near.append(configuration.service(accepts, uri, accept_options=flows, connect_options=web))
    if scheme == "wss":
        near.append(configuration.security(truststore=authority.truststore))
        far.append(configuration.security(keystore=authority.server("127.0.0.1")))
    files = [
        configuration.write(folder / f"{name}.xml", *parts, options={"stop.timeout": "1 s"})
        for name, parts in (("server", far), ("client", near))
    ]
    server, client = (processes.gateway(file, *level).started() for file in files)
    return Tunnel(client, server, port, backend)


# --- DNS


@each_scheme
def test_dig(
    scheme: str, processes: Processes, need: Requirements, tmp_path: Path, authority: Authority
) -> None:
    """Answers come over UDP; one that is too long is cut, and dig asks again over TCP, beside it."""
    need.program("dig")
    tunnel = start(processes, tmp_path, scheme, authority, tcp=True)
    texts = [f"--txt-record=big.test,{number}{'x' * 200}" for number in range(10)]
    dns = processes.start(
        [
            need.program("dnsmasq"),
            "--no-daemon",
            "--conf-file=/dev/null",
            "--no-resolv",
            "--no-hosts",
            "--user=root" if os.geteuid() == 0 else "--user=",
            "--bind-interfaces",
            "--listen-address=127.0.0.1",
            f"--port={tunnel.backend}",
            "--pid-file=",
            "--edns-packet-max=4096",
            "--address=/small.test/192.0.2.7",
            *texts,
        ]
    )
    dns.wait_for("started")
    dig = ["dig", "@127.0.0.1", "-p", str(tunnel.port), "+tries=3", "+time=5"]
    for _ in range(5):
        asked = run([*dig, "+short", "small.test"])
        assert asked.output.strip() == b"192.0.2.7", asked.errors + dns.text
    cut = run([*dig, "+ignore", "+noedns", "big.test", "TXT"])
    assert b" tc" in re.search(rb"flags:([^;]*);", cut.output)[1]  # type: ignore[index]
    whole = run([*dig, "+noedns", "big.test", "TXT"])
    assert b"Truncated, retrying in TCP mode" in whole.output
    assert whole.output.count(b"x" * 200) == 10
    large = run([*dig, "+bufsize=4096", "big.test", "TXT"])
    assert b"Truncated" not in large.output
    assert large.output.count(b"x" * 200) == 10


# --- iperf3


@each_scheme
@pytest.mark.parametrize("more", [[], ["--reverse"], ["--bidir"]], ids=["up", "down", "both"])
def test_iperf3(
    scheme: str,
    more: list[str],
    processes: Processes,
    need: Requirements,
    tmp_path: Path,
    authority: Authority,
) -> None:
    program = need.program("iperf3")
    tunnel = start(processes, tmp_path, scheme, authority, tcp=True)
    server = processes.start([program, "-s", "-B", "127.0.0.1", "-p", str(tunnel.backend), "--forceflush"])
    server.wait_for_output(b"Server listening")
    command = [
        program,
        "-c",
        "127.0.0.1",
        "-p",
        str(tunnel.port),
        "-u",
        "-b",
        "4M",
        "-t",
        "2",
        "-l",
        "1200",
        "-J",
    ]
    told = run([*command, *more])
    report = json.loads(told.output)
    assert "error" not in report, report.get("error")
    sums = [each for name, each in report["end"].items() if name.startswith("sum") and "lost_packets" in each]
    assert sums
    for each in sums:
        assert each["packets"] > 500
        assert each["lost_packets"] <= each["packets"] * 0.05, report["end"]


# --- QUIC


@each_scheme
async def test_http3_download(
    scheme: str, processes: Processes, tmp_path: Path, authority: Authority
) -> None:
    content = os.urandom(3_000_000)
    tunnel = start(processes, tmp_path, scheme, authority)
    certificate = authority.server("127.0.0.1")
    came = await download(tunnel.backend, tunnel.port, content, certificate, authority.truststore)
    assert hashlib.sha256(came).digest() == hashlib.sha256(content).digest()


# --- SIP


def test_sip_calls(processes: Processes, need: Requirements, tmp_path: Path, authority: Authority) -> None:
    program = need.program("sipp")
    tunnel = start(processes, tmp_path, "wss", authority)
    common = ["-i", "127.0.0.1", "-nostdin", "-nd"]
    processes.start([program, "-sn", "uas", "-p", str(tunnel.backend), *common], cwd=tmp_path)
    eventually(lambda: bound(tunnel.backend), "sipp answers")
    calls = ["-sn", "uac", "-m", "30", "-r", "30", "-d", "100", "-timeout", "25", "-timeout_error"]
    called = run([program, *calls, "-p", str(free_port()), *common, f"127.0.0.1:{tunnel.port}"], cwd=tmp_path)
    assert called.code == 0, called.output.decode()[-2000:] + called.errors
    assert re.search(rb"Successful call\s*\|\s*\d+\s*\|\s*30", called.output), called.output.decode()[-3000:]


# --- NTP


def test_ntp(processes: Processes, need: Requirements, tmp_path: Path, authority: Authority) -> None:
    program = need.program("chronyd")
    need.root()
    tunnel = start(processes, tmp_path, "ws", authority)
    (tmp_path / "chrony.conf").write_text(
        f"local stratum 3\nallow 127.0.0.1\nport {tunnel.backend}\nbindaddress 127.0.0.1\ncmdport 0\n"
        f"pidfile {tmp_path}/server.pid\nbindcmdaddress /\n"
    )
    processes.start([program, "-d", "-x", "-f", tmp_path / "chrony.conf", "-u", "root"])
    eventually(lambda: bound(tunnel.backend), "chronyd answers")
    server = f"server 127.0.0.1 port {tunnel.port} iburst maxsamples 1"
    command = [program, "-Q", "-t", "20", "-u", "root", f"pidfile {tmp_path}/client.pid", server]
    asked = run(["timeout", "25", *command])
    assert "System clock wrong by" in asked.errors + asked.output.decode(), asked.errors


def bound(port: int) -> bool:
    """Tell whether somebody has bound a UDP port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


# --- one line, no file


def test_one_line_without_a_file(processes: Processes) -> None:
    port, web_port, backend = free_port(), free_port(), free_port()
    uri = f"ws://127.0.0.1:{web_port}/dns"
    for accept, connect in ((uri, f"udp://127.0.0.1:{backend}"), (f"udp://127.0.0.1:{port}", uri)):
        processes.start([*ISTHMUS, "proxy", accept, connect]).wait_for("Started server successfully")
    with echo_server(backend), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(20)
        client.connect(("127.0.0.1", port))
        for data in (b"question", b"", os.urandom(65_507)):
            client.send(data)
            assert client.recv(70_000) == data


class echo_server:  # noqa: N801
    """A UDP server that sends back what it gets, in a thread."""

    def __init__(self, port: int) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._socket.bind(("127.0.0.1", port))

    def __enter__(self) -> None:
        import threading

        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            data, client = self._socket.recvfrom(70_000)
            if data == b"end of the echo server":
                return
            self._socket.sendto(data, client)

    def __exit__(self, *_: object) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"end of the echo server", self._socket.getsockname())
        self._thread.join(5)
        self._socket.close()


# --- many flows


@pytest.mark.parametrize("count", [2000])
@pytest.mark.parametrize("scheme", ["ws", "ws plain"])
def test_many_flows_live_and_end(
    scheme: str, count: int, processes: Processes, tmp_path: Path, authority: Authority
) -> None:
    """All live at once; when nothing comes any more all end, and every descriptor is given back."""
    options: dict[str, object] = {"udp.inactivity.timeout": "10 s", "udp.maximum.flow.rate": 10_000}
    tunnel = start(processes, tmp_path, scheme, authority, options=options)
    watched = [psutil.Process(each.pid) for each in (tunnel.client, tunnel.server)]
    before = [each.num_fds() for each in watched]
    clients: list[socket.socket] = []
    try:
        with echo_server(tunnel.backend):
            for number in range(count):
                client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                clients.append(client)
                client.settimeout(20)
                client.connect(("127.0.0.1", tunnel.port))
                client.send(number.to_bytes(4, "big"))
                assert client.recv(100) == number.to_bytes(4, "big")
            most = [each.num_fds() for each in watched]
    finally:
        for client in clients:
            client.close()
    plain = "plain" in scheme
    assert (most[0] > before[0] + count * 0.5) is plain, "over span a flow has no descriptor here"
    assert before[1] + count * (1.5 if plain else 0.9) < most[1] < before[1] + count * (2.1 if plain else 1.1)
    eventually(
        lambda: all(each.num_fds() <= was + 2 for each, was in zip(watched, before, strict=True)),
        "every flow has ended",
        60,
    )
    assert tunnel.client.stop() == 0
    assert tunnel.server.stop() == 0
    tunnel.client.wait_for(f"flows {count}")
    tunnel.server.wait_for(f"flows {count}")
    assert "dropped" not in tunnel.client.text + tunnel.server.text
