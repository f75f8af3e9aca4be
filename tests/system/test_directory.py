"""The directory service against nginx: a sparse file of 10 GB, fast and in constant memory."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from tests.system.configuration import directory, write
from tests.system.pair import Processes
from tests.system.process import PATIENCE, Gateway, eventually, free_port, run
from tests.system.requirements import Requirements

SIZE = 10 * 1000**3
SENT = 1024**3
"""How much of the file each download takes, from the middle of it."""
FEWEST_ROUNDS, ROUNDS = 2, 6
LEAST = 0.5
"""The share of nginx's rate that is asked for."""
GROWTH = 12 * 1024 * 1024
"""By how much the gateway's memory may grow from a small download to many large ones."""
MARK = b"the very end"


@dataclass(frozen=True)
class Servers:
    gateway: Gateway
    ours: str
    nginx: str


@pytest.fixture
def servers(processes: Processes, need: Requirements, tmp_path: Path) -> Servers:
    """A gateway and a private nginx that serve the same folder."""
    program = need.program("nginx")
    need.program("curl")
    base = tmp_path / "home" / "web" / "base"
    base.mkdir(parents=True)
    with open(base / "big.bin", "wb") as file:
        file.truncate(SIZE - len(MARK))
        file.seek(SIZE - len(MARK))
        file.write(MARK)
    (base / "small.bin").write_bytes(bytes(1000))
    ports = free_port(), free_port()
    (tmp_path / "home" / "web" / "error-pages").mkdir()
    config = write(tmp_path / "gateway-config.xml", directory(f"http://127.0.0.1:{ports[0]}/"))
    gateway = processes.gateway(config, "--home", tmp_path / "home").started()
    folder = tmp_path / "nginx"
    folder.mkdir()
    temporary = "".join(
        f"  {kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    own = folder / "nginx.conf"
    own.write_text(
        f"daemon off;\n{'user root;' if os.geteuid() == 0 else ''}\nworker_processes 1;\n"
        f"pid {folder}/pid;\nevents {{}}\n"
        f"http {{\n  access_log off;\n  sendfile on;\n{temporary}"
        f"  server {{ listen 127.0.0.1:{ports[1]}; root {base}; }}\n}}\n"
    )
    server = processes.start([program, "-e", "stderr", "-p", folder, "-c", own])
    eventually(lambda: (folder / "pid").exists() or not server.running, "nginx has started")
    assert server.running, server.text
    ours, theirs = (f"http://127.0.0.1:{port}" for port in ports)
    return Servers(gateway, ours, theirs)


def download(url: str, first: int, last: int) -> float:
    """Fetch a range with curl, to nowhere; return bytes per second."""
    form = "%{http_code} %{size_download} %{speed_download}"
    done = run(
        ["curl", "-sS", "-o", "/dev/null", "-w", form, "-r", f"{first}-{last}", url], timeout=4 * PATIENCE
    )
    assert done.code == 0, done.errors
    status, size, speed = done.output.decode().split()
    assert (status, int(size)) == ("206", last + 1 - first)
    return float(speed)


def peak(gateway: Gateway) -> int:
    """Return the most memory that the gateway ever held, in bytes."""
    for line in Path(f"/proc/{gateway.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return psutil.Process(gateway.pid).memory_info().rss


def test_a_large_file_is_sent_at_half_of_the_rate_of_nginx_in_constant_memory(servers: Servers) -> None:
    """The best of a few rounds, the two in turn: other work on the machine slows either."""
    download(f"{servers.ours}/small.bin", 0, 999)
    before = peak(servers.gateway)
    ours = theirs = 0.0
    for done in range(1, ROUNDS + 1):
        theirs = max(theirs, download(f"{servers.nginx}/big.bin", SIZE // 2, SIZE // 2 + SENT - 1))
        ours = max(ours, download(f"{servers.ours}/big.bin", SIZE // 2, SIZE // 2 + SENT - 1))
        if done >= FEWEST_ROUNDS and ours >= LEAST * theirs:
            break
    grown = peak(servers.gateway) - before
    print(f"{ours / theirs:.2f} of nginx's rate; {grown / 1024:.0f} KiB more memory")
    assert ours >= LEAST * theirs
    assert grown < GROWTH


def test_a_range_far_into_a_large_file(servers: Servers) -> None:
    for url in (servers.ours, servers.nginx):
        done = run(["curl", "-sS", "-r", f"-{len(MARK)}", f"{url}/big.bin"])
        assert (done.code, done.output) == (0, MARK)
    done = run(["curl", "-sS", "-I", f"{servers.ours}/big.bin"])
    assert f"content-length: {SIZE}" in done.output.decode().lower()


def test_curl_takes_up_where_it_was_broken_off(servers: Servers, tmp_path: Path) -> None:
    part = tmp_path / "part"
    with open(part, "wb") as file:
        file.truncate(SIZE - 1000)
    done = run(["curl", "-sS", "-C", "-", "-o", part, f"{servers.ours}/big.bin"], timeout=PATIENCE)
    assert done.code == 0, done.errors
    assert part.stat().st_size == SIZE
    with open(part, "rb") as file:
        file.seek(-len(MARK), os.SEEK_END)
        assert file.read() == MARK
