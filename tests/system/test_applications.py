"""Applications that know nothing of WebSocket, through a pair of gateways: curl to nginx, ssh, scp, rsync."""

from __future__ import annotations

import getpass
import hashlib
import os
import re
import shlex
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.system import configuration
from tests.system.certificates import Authority
from tests.system.pair import Processes, start_pair
from tests.system.process import ISTHMUS, Finished, eventually, free_port, isthmus_command, run
from tests.system.requirements import Requirements

BIG = os.urandom(20_000_000)
SOAK_SECONDS = int(os.environ.get("ISTHMUS_SOAK_SECONDS", "0"))


# --- curl to nginx


@pytest.fixture
def nginx(processes: Processes, need: Requirements, tmp_path: Path) -> int:
    """A private nginx that serves `big.bin`; returns its port."""
    program = need.program("nginx")
    need.program("curl")
    port, folder = free_port(), tmp_path / "nginx"
    folder.mkdir()
    (folder / "big.bin").write_bytes(BIG)
    user = "user root;" if os.geteuid() == 0 else ""
    paths = "".join(
        f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = folder / "nginx.conf"
    config.write_text(
        f"""
        {user} daemon off; worker_processes 1; pid {folder}/pid; error_log stderr;
        events {{ worker_connections 256; }}
        http {{
            access_log off; {paths}
            server {{
                listen 127.0.0.1:{port};
                root {folder};
            }}
        }}
        """
    )
    server = processes.start([program, "-e", "stderr", "-p", folder, "-c", config])
    eventually(lambda: (folder / "pid").exists() or not server.running, "nginx has started")
    assert server.running, server.text
    return port


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_curl_to_nginx(
    scheme: str, nginx: int, processes: Processes, tmp_path: Path, authority: Authority
) -> None:
    pair = start_pair(processes, tmp_path, f"tcp://127.0.0.1:{nginx}", scheme=scheme, authority=authority)
    curl = ["curl", "--silent", "--show-error", "--fail", "--max-time", "30"]
    url = f"http://127.0.0.1:{pair.port}"

    # Both requests go over one kept-alive connection.
    fetched = run([*curl, f"{url}/big.bin", f"{url}/big.bin"])
    assert fetched.code == 0, fetched.errors
    assert digest(fetched.output) == digest(BIG + BIG)

    missing = run(["curl", "--silent", "--max-time", "30", "--write-out", "%{http_code}", f"{url}/missing"])
    assert missing.output.endswith(b"404")

    part = run([*curl, "--range", "1000000-1000099", f"{url}/big.bin"])
    assert part.output == BIG[1_000_000:1_000_100]

    with ThreadPoolExecutor(8) as several:
        outcomes = list(several.map(lambda _: run([*curl, f"{url}/big.bin"]), range(8)))
    assert {digest(outcome.output) for outcome in outcomes} == {digest(BIG)}


# --- ssh


@dataclass(frozen=True)
class SshServer:
    """A private sshd and how a client that knows nothing else reaches it."""

    port: int
    client: tuple[str, ...]
    """The options of ssh and scp."""

    def run(self, *arguments: str, send: bytes = b"") -> Finished:
        return run(["ssh", *self.client, *arguments], send=send, timeout=60)


@pytest.fixture
def sshd(processes: Processes, need: Requirements, tmp_path: Path) -> SshServer:
    program = need.program("sshd")
    need.program("ssh")
    privileges = Path("/run/sshd")
    if os.geteuid() == 0:
        privileges.mkdir(mode=0o755, exist_ok=True)  # sshd does not start without it
    port, folder = free_port(), tmp_path / "ssh"
    folder.mkdir(mode=0o700)
    for name in ("host", "user"):
        made = run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name])
        assert made.code == 0, made.errors
    host_key = (folder / "host.pub").read_text()
    (folder / "known_hosts").write_text(f"isthmus-test {host_key}")
    config = folder / "sshd_config"
    config.write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/user.pub\n"
        f"PidFile {folder}/pid\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
        "KbdInteractiveAuthentication no\nPermitRootLogin yes\nPrintMotd no\nPrintLastLog no\n"
        "Subsystem sftp internal-sftp\n"
    )
    server = processes.start([program, "-D", "-e", "-f", config])
    server.wait_for("Server listening on")
    options = {
        "BatchMode": "yes",
        "IdentitiesOnly": "yes",
        "IdentityFile": f"{folder}/user",
        "UserKnownHostsFile": f"{folder}/known_hosts",
        "GlobalKnownHostsFile": "/dev/null",
        "HostKeyAlias": "isthmus-test",
        "StrictHostKeyChecking": "yes",
        "LogLevel": "ERROR",
        "User": getpass.getuser(),
    }
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    return SshServer(port, ("-F", "none", *words))


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_ssh(
    scheme: str, sshd: SshServer, processes: Processes, tmp_path: Path, authority: Authority
) -> None:
    pair = start_pair(processes, tmp_path, f"tcp://127.0.0.1:{sshd.port}", scheme=scheme, authority=authority)
    reach = ("-p", str(pair.port), "127.0.0.1")
    for _ in range(3):
        outcome = sshd.run(*reach, "echo over the Web; exit 7")
        assert (outcome.output, outcome.code) == (b"over the Web\n", 7), outcome.errors
    outcome = sshd.run(*reach, "cat", send=BIG)
    assert outcome.code == 0, outcome.errors
    assert digest(outcome.output) == digest(BIG)


@pytest.mark.soak
@pytest.mark.timeout(120 + 2 * SOAK_SECONDS)
@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_scp_of_a_large_file(
    scheme: str, sshd: SshServer, processes: Processes, tmp_path: Path, authority: Authority
) -> None:
    """There and back: 100 MB each way, 1 GB in the long form."""
    size = 1_000_000_000 if SOAK_SECONDS else 100_000_000
    pair = start_pair(processes, tmp_path, f"tcp://127.0.0.1:{sshd.port}", scheme=scheme, authority=authority)
    here, there, back = (tmp_path / name for name in ("here", "there", "back"))
    sent = hashlib.sha256()
    with here.open("wb") as file:
        for _ in range(size // 1_000_000):
            piece = os.urandom(1_000_000)
            file.write(piece)
            sent.update(piece)
    scp = ["scp", "-q", *sshd.client, "-P", str(pair.port)]
    for copy in ([str(here), f"127.0.0.1:{there}"], [f"127.0.0.1:{there}", str(back)]):
        outcome = run([*scp, *copy], timeout=60 + SOAK_SECONDS)
        assert outcome.code == 0, outcome.errors
    for copied in (there, back):
        assert copied.stat().st_size == size
        with copied.open("rb") as file:
            assert hashlib.file_digest(file, "sha256").hexdigest() == sent.hexdigest()
        copied.unlink()
    here.unlink()


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_rsync(
    scheme: str,
    sshd: SshServer,
    need: Requirements,
    processes: Processes,
    tmp_path: Path,
    authority: Authority,
) -> None:
    """A tree is copied, then the differences only: both ends talk at the same time."""
    need.program("rsync")
    pair = start_pair(processes, tmp_path, f"tcp://127.0.0.1:{sshd.port}", scheme=scheme, authority=authority)
    here, there = tmp_path / "here", tmp_path / "there"
    (here / "many").mkdir(parents=True)
    (here / "big.bin").write_bytes(BIG)
    for number in range(300):
        (here / "many" / f"{number}.txt").write_bytes(os.urandom(number * 37))
    shell = shlex.join(["ssh", *sshd.client, "-p", str(pair.port)])
    rsync = ["rsync", "--archive", "--delete", "--stats", "--no-whole-file", "-e", shell]

    copied = run([*rsync, f"{here}/", f"127.0.0.1:{there}/"], timeout=60)
    assert copied.code == 0, copied.errors
    assert tree(there) == tree(here)

    (here / "many" / "7.txt").unlink()
    (here / "big.bin").write_bytes(BIG[:10_000_000] + b"in the middle" + BIG[10_000_000:])
    updated = run([*rsync, f"{here}/", f"127.0.0.1:{there}/"], timeout=60)
    assert updated.code == 0, updated.errors
    assert tree(there) == tree(here)
    literal = re.search(rb"Literal data: ([\d,]+) bytes", updated.output)
    assert literal is not None
    assert int(literal[1].replace(b",", b"")) < len(BIG) / 10

    fetched = run([*rsync, f"127.0.0.1:{there}/", f"{tmp_path / 'back'}/"], timeout=60)
    assert fetched.code == 0, fetched.errors
    assert tree(tmp_path / "back") == tree(here)


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_ssh_with_the_one_liner_as_its_proxy_command(
    scheme: str, sshd: SshServer, processes: Processes, tmp_path: Path, authority: Authority
) -> None:
    port = free_port()
    accept = f"{scheme}://127.0.0.1:{port}/ssh"
    security = configuration.security(keystore=authority.server("127.0.0.1")) if scheme == "wss" else ""
    config = configuration.write(
        tmp_path / "server.xml", configuration.service(accept, f"tcp://127.0.0.1:{sshd.port}"), security
    )
    processes.gateway(config).started()
    trust = f"--truststore {authority.truststore}" if scheme == "wss" else ""
    command = f"{' '.join(ISTHMUS)} proxy {trust} - {accept}"
    outcome = sshd.run("-o", f"ProxyCommand={command}", "isthmus-test", "cat", send=BIG)
    assert outcome.code == 0, outcome.errors
    assert digest(outcome.output) == digest(BIG)


def test_the_one_liner_listens(nginx: int, processes: Processes, authority: Authority) -> None:
    """Both sides without a file: tcp -> wss -> tcp."""
    near, far = free_port(), free_port()
    middle = f"wss://127.0.0.1:{far}/web"
    server = processes.start(
        [*ISTHMUS, "proxy", "--keystore", authority.server("127.0.0.1"), middle, f"tcp://127.0.0.1:{nginx}"]
    )
    client = processes.start(
        [*ISTHMUS, "proxy", "--truststore", authority.truststore, f"tcp://127.0.0.1:{near}", middle]
    )
    for gateway in (server, client):
        gateway.wait_for("Started server successfully")
    fetched = run(["curl", "--silent", "--max-time", "30", f"http://127.0.0.1:{near}/big.bin"])
    assert digest(fetched.output) == digest(BIG)


def test_the_one_liner_fails_when_it_cannot_connect() -> None:
    outcome = isthmus_command("proxy", "-", f"ws://127.0.0.1:{free_port()}/ssh", send=b"SSH-2.0-test\r\n")
    assert outcome.code == 1
    assert outcome.output == b""
    assert "Connection refused" in outcome.errors
    assert "Traceback" not in outcome.errors


def tree(folder: Path) -> dict[str, str]:
    """Return each file below a folder with what is in it."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): digest(path.read_bytes()) for path in files}


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
