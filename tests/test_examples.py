"""Every example works: it is checked as it stands, then really run, moved to free ports of this machine."""

from __future__ import annotations

import hashlib
import re
import shlex
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.system import peers
from tests.system.pair import Processes
from tests.system.process import ISTHMUS, eventually, free_port, isthmus_command, run
from tests.system.requirements import Requirements
from tests.system.web_proxies import Tinyproxy, listens

EXAMPLES = Path(__file__).parents[1] / "examples"
FILES = sorted(path for path in EXAMPLES.rglob("*") if path.suffix in (".xml", ".toml"))

pytestmark = pytest.mark.system


@pytest.fixture
def processes() -> Iterator[Processes]:
    with Processes() as started:
        yield started


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The examples, where files can be put beside them."""
    shutil.copytree(EXAMPLES, tmp_path / "examples")
    return tmp_path / "examples"


@pytest.fixture
def certificates(copy: Path, pytestconfig: pytest.Config) -> Path:
    """Run the commands of the whitepaper example's README that make a certificate, for 127.0.0.1."""
    need = Requirements(pytestconfig)
    folder = copy / "whitepaper"
    commands = re.search(r"```sh\n(.*?)```", (folder / "README.md").read_text(), re.S)
    assert commands is not None
    need.program("openssl")
    made = run(["sh", "-ec", commands[1].replace("192.0.2.21", "127.0.0.1")], cwd=folder)
    assert made.code == 0, made.errors
    return folder


@pytest.fixture
def logins(copy: Path, pytestconfig: pytest.Config) -> Path:
    """Run the commands of the login example's README, for 127.0.0.1."""
    Requirements(pytestconfig).program("openssl")
    folder = copy / "login"
    (block,) = re.findall(r"```sh\n(.*?)```", (folder / "README.md").read_text(), re.S)
    script = re.sub(
        r"^isthmus ", f"{shlex.join(ISTHMUS)} ", block.replace("192.0.2.21", "127.0.0.1"), flags=re.M
    )
    made = run(["sh", "-ec", script], cwd=folder)
    assert made.code == 0, made.errors
    return folder


def settings(values: dict[str, object]) -> list[str]:
    return [word for name, value in values.items() for word in ("--set", f"{name}={value}")]


def check_echo(port: int) -> None:
    """The application on `port` sends back what it gets, and ends when we do."""
    data = bytes(range(256)) * 400
    for _ in range(3):
        with peers.connect(port) as client:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            assert peers.read_all(client) == data


def test_there_are_examples() -> None:
    assert len(FILES) >= 6


@pytest.mark.usefixtures("certificates", "logins")
@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(EXAMPLES)))
def test_every_file_is_in_order_as_it_stands(file: Path, copy: Path) -> None:
    told = isthmus_command("check", copy / file.relative_to(EXAMPLES))
    assert told.code == 0, told.errors + told.output.decode()
    # All there may be to say: the addresses are not this machine's, the certificate is not for them.
    expected = ("this machine does not have the address", "no certificate of the keystore is for 192.0.2.21")
    for line in (told.output.decode() + told.errors).splitlines():
        if line.startswith(("WARN", "HINT", "ERROR")):
            assert any(text in line for text in expected), line


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(EXAMPLES)))
def test_every_file_can_be_converted_to_toml_and_back(file: Path, tmp_path: Path) -> None:
    once = isthmus_command("convert", file)
    assert once.code == 0, once.errors
    converted = tmp_path / "gateway.toml"
    converted.write_bytes(once.output)
    again = isthmus_command("convert", converted)
    assert again.code == 0, again.errors
    assert _without_comments(again.output) == _without_comments(once.output)


def _without_comments(text: bytes) -> list[bytes]:
    return [line for line in text.splitlines() if not line.startswith(b"#")]


def start(processes: Processes, folder: Path, name: str, values: dict[str, object]) -> None:
    gateway = processes.gateway(folder / name, *settings(values)).started()
    gateway.check_lines()


def test_whitepaper(processes: Processes, copy: Path) -> None:
    loopback = dict.fromkeys(
        ("client.external", "client.internal", "server.external", "server.internal"), "127.0.0.1"
    )
    web, near, homes = free_port(), free_port(), (free_port(), free_port())
    on_server = {name: value for name, value in loopback.items() if name.startswith("server")}
    on_client = {name: value for name, value in loopback.items() if name != "server.internal"}
    folder = copy / "whitepaper"
    with peers.Backend(peers.echo) as backend:
        ports = {"ws.port": web, "tcp.port": backend.port, "home.port": homes[0]}
        start(processes, folder, "server.xml", {**on_server, **ports})
        ports = {"ws.port": web, "tcp.port": near, "home.port": homes[1]}
        start(processes, folder, "client.xml", {**on_client, **ports})
        check_echo(near)
    for port in homes:
        with peers.connect(port) as client:
            assert (
                peers.http_status(client, f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()) == 200
            )


def test_whitepaper_over_wss(processes: Processes, certificates: Path) -> None:
    web, near = free_port(), free_port()
    with peers.Backend(peers.echo) as backend:
        common: dict[str, object] = {"server.external": "127.0.0.1", "wss.port": web}
        on_server = {**common, "server.internal": "127.0.0.1", "tcp.port": backend.port}
        start(processes, certificates, "server-wss.xml", on_server)
        start(
            processes,
            certificates,
            "client-wss.xml",
            {**common, "client.internal": "127.0.0.1", "tcp.port": near},
        )
        check_echo(near)


def test_toml(processes: Processes, copy: Path) -> None:
    web, near = free_port(), free_port()
    with peers.Backend(peers.echo) as backend:
        on_server = {"host": "127.0.0.1", "ws.port": web, "application": f"127.0.0.1:{backend.port}"}
        start(processes, copy / "toml", "server.toml", dict(on_server))
        start(processes, copy / "toml", "client.toml", {"tcp.port": near, "server": f"127.0.0.1:{web}"})
        check_echo(near)


def test_dns(processes: Processes, copy: Path) -> None:
    """Its two services, with an echo in the place of the DNS server."""
    web, near, dns = free_port(), free_port(), free_port()
    echo = copy / "dns" / "echo.toml"
    accepts = f'accept = ["udp://127.0.0.1:{dns}", "tcp://127.0.0.1:{dns}"]'
    echo.write_text(f'[[service]]\ntype = "echo"\n{accepts}\n')
    processes.gateway(echo).started()
    start(
        processes,
        copy / "dns",
        "server.toml",
        {"host": "127.0.0.1", "ws.port": web, "dns": f"127.0.0.1:{dns}"},
    )
    start(processes, copy / "dns", "client.toml", {"dns.port": near, "server": f"127.0.0.1:{web}"})
    check_echo(near)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(20)
        client.connect(("127.0.0.1", near))
        for question in (b"question", b"", bytes(4096)):
            client.send(question)
            assert client.recv(65_535) == question


def test_login(processes: Processes, logins: Path) -> None:
    """Both servers, the client gateway, and the one-liner; who vanishes from `users` is out."""
    for server in ("server.xml", "tokens.toml"):
        web, near = free_port(), free_port()
        with peers.Backend(peers.echo) as backend:
            common = {"server": "127.0.0.1", "wss.port": web}
            start(processes, logins, server, {**common, "application": f"127.0.0.1:{backend.port}"})
            if server == "tokens.toml":
                token = "a-token"
                digest = hashlib.sha256(token.encode()).hexdigest()
                (logins / "tokens").write_text(f"{digest}:site-1:TUNNEL\n")
                (logins / "credentials").write_text(f"{token}\n")
            start(processes, logins, "client.toml", {**common, "tcp.port": near})
            eventually(lambda near=near: answers(near), "the client gateway has logged in")  # type: ignore[misc]
            check_echo(near)
            (line,) = re.findall(r"^    isthmus (proxy .*)$", (logins / "README.md").read_text(), re.M)
            line = line.replace("192.0.2.21", f"127.0.0.1:{web}").replace(":2222", f":{free_port()}")
            line = line.replace(re.findall(r"tcp://\S+", line)[0], "-")
            outcome = run([*ISTHMUS, *shlex.split(line)], send=b"hello", cwd=logins)
            assert outcome.output == b"hello", outcome.errors
            (logins / "credentials").write_text("site-1:wrong\n" if server == "server.xml" else "wrong\n")
            outcome = run([*ISTHMUS, *shlex.split(line)], send=b"hello", cwd=logins)
            assert outcome.output == b""
            assert "answered 401 Unauthorized" in outcome.errors


def answers(port: int) -> bool:
    """Whether a connection through two gateways gets anything back."""
    with peers.connect(port) as client:
        client.settimeout(5)
        try:
            client.sendall(b"x")
            return client.recv(1) == b"x"
        except OSError:
            return False


def test_ssh_commands(processes: Processes, certificates: Path) -> None:
    """The README's commands, with other ports; ssh itself is in tests/system/test_applications.py."""
    text = (EXAMPLES / "ssh" / "README.md").read_text()
    listening = re.findall(r"^    isthmus (proxy .*)$", text, re.M)
    inside_ssh = re.findall(r"^    ssh -o ProxyCommand='isthmus (proxy .*?)'", text, re.M)
    assert len(listening) == len(inside_ssh) == 2
    for at_server, at_client in zip(listening, inside_ssh, strict=True):
        port = free_port()
        with peers.Backend(peers.echo) as backend:

            def moved(command: str, port: int = port, backend_port: int = backend.port) -> list[str]:
                command = command.replace("127.0.0.1:22", f"127.0.0.1:{backend_port}")
                command = re.sub(r"(0\.0\.0\.0|gateway\.example\.com):\d+", f"127.0.0.1:{port}", command)
                return shlex.split(command)

            server = processes.start([*ISTHMUS, *moved(at_server)], cwd=certificates)
            server.wait_for("Started server successfully")
            outcome = run([*ISTHMUS, *moved(at_client)], send=b"SSH-2.0-example\r\n", cwd=certificates)
            assert outcome.output == b"SSH-2.0-example\r\n", outcome.errors
            assert outcome.code == 0


def test_proxies(processes: Processes, copy: Path, pytestconfig: pytest.Config, tmp_path: Path) -> None:
    """Through a tinyproxy to a haproxy, and the application is told who it is."""
    need = Requirements(pytestconfig)
    proxy = Tinyproxy(processes, need, tmp_path)
    web, near = free_port(), free_port()

    def first_line(connection: socket.socket) -> bytes:
        line = b""
        while not line.endswith(b"\n"):
            line += connection.recv(1)
        connection.sendall(line)
        return line

    with peers.Backend(first_line) as backend:
        on_server = {"ws.port": web, "application": f"127.0.0.1:{backend.port}", "balancers": "127.0.0.0/8"}
        server = {**on_server}
        start(processes, copy / "proxies", "server.toml", dict(server))
        balancer = free_port()
        file = tmp_path / "haproxy.cfg"
        file.write_text(
            "defaults\n mode tcp\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n"
            f"listen front\n bind 127.0.0.1:{balancer}\n server gateway 127.0.0.1:{web} send-proxy\n"
        )
        processes.start([need.program("haproxy"), "-db", "-f", file])
        eventually(lambda: listens(balancer), "haproxy listens")
        text = (copy / "proxies" / "client.toml").read_text()
        assert 'connect = "ws://${server}/application"' in text
        # The accept's name is another one here.
        front = text.replace('"http.transport"', '"http.host" = "gateway.example.com:8080"\n"http.transport"')
        (copy / "proxies" / "client.toml").write_text(front)
        on_client = {"tcp.port": near, "server": f"127.0.0.1:{balancer}", "proxy": proxy.uri}
        start(processes, copy / "proxies", "client.toml", dict(on_client))
        with peers.connect(near) as client:
            assert client.recv(200).startswith(b"PROXY TCP4 127.0.0.1 0.0.0.0 ")
