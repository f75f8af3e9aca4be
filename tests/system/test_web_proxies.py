"""Out through real proxies: squid, tinyproxy and dante, with each way to say who one is, and in chains."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.system import configuration, peers
from tests.system.certificates import Authority
from tests.system.pair import Processes
from tests.system.process import ISTHMUS, Process, eventually, free_port, isthmus_command, run
from tests.system.requirements import Requirements
from tests.system.test_applications import SshServer, sshd
from tests.system.web_proxies import (
    GATEWAY_NAME,
    PASSWORD,
    USER,
    Dante,
    Squid,
    Tinyproxy,
    credentials_file,
    listens,
    tls_before,
)

__all__ = ["sshd"]

DATA = bytes(range(256)) * 4096  # 1 MiB


class Client:
    """An `isthmus proxy` from a port of this machine to `connect`."""

    def __init__(
        self, processes: Processes, connect: str, *arguments: str | Path, environment: Sequence[str] = ()
    ) -> None:
        self.port = free_port()
        accept = f"tcp://127.0.0.1:{self.port}"
        self.process: Process = processes.start(
            ["env", *environment, *ISTHMUS, "proxy", accept, connect, *arguments]
        )
        self.process.wait_for("Started server successfully")

    def check_echo(self, times: int = 3) -> None:
        """What is behind sends back what it gets."""
        for _ in range(times):
            with peers.connect(self.port) as client:
                for start in range(0, len(DATA), 1 << 17):
                    piece = DATA[start : start + (1 << 17)]
                    try:
                        client.sendall(piece)
                        assert peers.read_exactly(client, len(piece)) == piece
                    except OSError as error:
                        raise AssertionError(self.process.text) from error

    def told(self) -> str:
        """Connect, which is refused, and return what is said of that."""
        assert peers.is_reset_at(self.port)
        return self.process.wait_for("Unable to connect")


@pytest.fixture
def backend() -> peers.Backend:  # type: ignore[misc]
    with peers.Backend(peers.echo) as made:
        yield made


def server_gateway(
    processes: Processes,
    folder: Path,
    backend: peers.Backend,
    authority: Authority | None = None,
    span: str = "auto",
) -> str:
    """Start a gateway that squid knows by name, and return its URI."""
    port = free_port()
    scheme = "ws" if authority is None else "wss"
    uri = f"{scheme}://{GATEWAY_NAME}:{port}/app"
    joining = configuration.service(
        uri,
        f"tcp://127.0.0.1:{backend.port}",
        accept_options={f"{scheme}.bind": f"127.0.0.1:{port}", "span.mode": span},
    )
    secure = [] if authority is None else [configuration.security(keystore=authority.server(GATEWAY_NAME))]
    processes.gateway(configuration.write(folder / "server.xml", joining, *secure)).started()
    return uri


@pytest.mark.parametrize("scheme", ["", "Basic", "Digest", "NTLM"])
def test_squid(
    scheme: str,
    processes: Processes,
    need: Requirements,
    tmp_path: Path,
    backend: peers.Backend,
    authority: Authority,
) -> None:
    squid = Squid(processes, need, *filter(None, [scheme]))
    uri = server_gateway(processes, tmp_path, backend, authority, "never")  # a tunnel for each connection
    arguments: list[str | Path] = ["--proxy", squid.uri, "--truststore", authority.truststore]
    if scheme:
        arguments += ["--proxy-credentials", credentials_file(tmp_path)]
    client = Client(processes, uri, *arguments)
    client.check_echo()
    eventually(lambda: squid.said().count("TCP_TUNNEL/200") == 3, "three tunnels are over")
    asked = [each for each in squid.said() if each.endswith("/407")]
    # Basic and Digest are asked for once and then known; NTLM belongs to each connection.
    assert len(asked) == {"": 0, "Basic": 1, "Digest": 1, "NTLM": 4}[scheme]
    if scheme in ("Basic", "Digest"):
        assert f" {USER} " in squid.log.read_text().lower()
    assert PASSWORD not in client.process.text


def test_the_strongest_that_a_proxy_offers_is_taken(
    processes: Processes, need: Requirements, tmp_path: Path, backend: peers.Backend
) -> None:
    squid = Squid(processes, need, "Basic", "Digest")
    uri = server_gateway(processes, tmp_path, backend)
    client = Client(processes, uri, "--proxy", squid.uri, "--proxy-credentials", credentials_file(tmp_path))
    client.check_echo(1)
    assert "Basic" not in client.process.text, "it warns where a password is sent as it is"


@pytest.mark.parametrize("scheme", ["Basic", "Digest"])
def test_squid_is_told_a_wrong_password(
    scheme: str, processes: Processes, need: Requirements, tmp_path: Path
) -> None:
    squid = Squid(processes, need, scheme)
    wrong = credentials_file(tmp_path, password="open barley")
    client = Client(processes, "wss://gw.example.com/", "--proxy", squid.uri, "--proxy-credentials", wrong)
    told = client.told()
    assert f"the proxy {squid.uri}: it answers 407 Proxy Authentication Required; " in told
    assert f"it does not take the user name and password of 'alice' ({scheme})" in told

    def answers() -> list[str]:
        return [each for each in squid.said() if each != "NONE_NONE/000"]

    eventually(lambda: len(answers()) >= 2, "squid has written down what it answered")
    assert answers() == ["TCP_DENIED/407"] * 2
    assert "barley" not in client.process.text


def test_squid_wants_to_know_and_nobody_said(
    processes: Processes, need: Requirements, tmp_path: Path
) -> None:
    squid = Squid(processes, need, "Basic", "NTLM")
    told = Client(processes, "wss://gw.example.com/", "--proxy", squid.uri).told()
    assert "407 Proxy Authentication Required; it offers NTLM, Basic" in told or "offers Basic, NTLM" in told
    assert told.endswith("(name a file with user name and password in proxy.credentials-file)")


def test_squid_forbids_and_squid_fails(processes: Processes, need: Requirements, tmp_path: Path) -> None:
    squid = Squid(processes, need, rules="acl ssh port 22\nhttp_access deny ssh")
    told = Client(processes, "tcp://gw.example.com:22", "--proxy", squid.uri).told()
    assert f"Unable to connect to tcp://gw.example.com:22/: the proxy {squid.uri}: it answers 403" in told
    assert "port 443 is allowed most often" in told
    told = Client(processes, f"tcp://gw.example.com:{free_port()}", "--proxy", squid.uri).told()
    assert "it answers 503 Service Unavailable (the proxy itself does not reach gw.example.com" in told
    told = Client(processes, "wss://nowhere.example.com/", "--proxy", squid.uri).told()
    assert "(the proxy itself does not reach nowhere.example.com" in told


def test_a_proxy_that_is_not_there(processes: Processes) -> None:
    uri = f"http://127.0.0.1:{free_port()}"
    told = Client(processes, "wss://gw.example.com/", "--proxy", uri).told()
    assert f"Unable to connect to wss://gw.example.com:443/: the proxy {uri}: Connection refused" in told


@pytest.mark.parametrize("password", [False, True])
def test_tinyproxy(
    password: bool, processes: Processes, need: Requirements, tmp_path: Path, backend: peers.Backend
) -> None:
    tinyproxy = Tinyproxy(processes, need, tmp_path, password=password)
    connect = f"tcp://127.0.0.1:{backend.port}"
    if password:
        told = Client(processes, connect, "--proxy", tinyproxy.uri).told()
        assert "407" in told
        assert "it offers Basic" in told
    own = credentials_file(tmp_path, password=PASSWORD.replace(" ", ""))
    client = Client(processes, connect, "--proxy", tinyproxy.uri, "--proxy-credentials", own)
    client.check_echo()


@pytest.mark.parametrize("scheme", ["socks", "socks4a"])
def test_dante(
    scheme: str, processes: Processes, need: Requirements, tmp_path: Path, backend: peers.Backend
) -> None:
    rules = "socks block { from: 0.0.0.0/0 to: 0.0.0.0/0 port = 22 }"
    dante = Dante(processes, need, rules=rules)
    uri = dante.uri.replace("socks", scheme)
    client = Client(processes, f"tcp://127.0.0.1:{backend.port}", "--proxy", uri)
    client.check_echo()
    with peers.connect(client.port) as connection:  # dante keeps half-close, squid does not
        connection.sendall(b"hello")
        connection.shutdown(1)
        assert peers.read_all(connection) == b"hello"
    told = Client(processes, f"tcp://127.0.0.1:{free_port()}", "--proxy", uri).told()
    assert "it answers: connection refused" in told if scheme == "socks" else "rejected or failed" in told
    told = Client(processes, "tcp://127.0.0.1:22", "--proxy", uri).told()
    assert "connection not allowed by its rules" in told if scheme == "socks" else "rejected" in told
    if scheme == "socks":  # dante's SOCKS 4 has no names
        Client(processes, f"tcp://localhost:{backend.port}", "--proxy", uri).check_echo(1)


def test_dante_asks_who_we_are(
    processes: Processes, need: Requirements, tmp_path: Path, backend: peers.Backend
) -> None:
    need.root()
    user, password = f"isthmus{os.getpid()}", "open sesame"
    made = run(["useradd", "--no-create-home", "--shell", "/usr/sbin/nologin", user])
    need.that(made.code == 0, f"no user could be added: {made.errors}")
    try:
        assert run(["chpasswd"], send=f"{user}:{password}\n".encode()).code == 0
        dante = Dante(processes, need, password=True)
        connect = f"tcp://127.0.0.1:{backend.port}"
        told = Client(processes, connect, "--proxy", dante.uri).told()
        assert "it wants to know who we are" in told
        right = credentials_file(tmp_path, user, password)
        Client(processes, connect, "--proxy", dante.uri, "--proxy-credentials", right).check_echo()
        right.write_text(f"default login {user} password wrong\n")
        told = Client(processes, connect, "--proxy", dante.uri, "--proxy-credentials", right).told()
        assert "when it was told user name and password" in told or "it does not take" in told
        assert password not in told
    finally:
        run(["userdel", user])


@pytest.mark.parametrize("scheme", ["socks", "socks4a"])
def test_ssh_as_a_proxy(scheme: str, sshd: SshServer, processes: Processes, backend: peers.Backend) -> None:
    """What `ssh -D` offers; it resolves names for both versions."""
    port = free_port()
    reach = ("-N", "-D", f"127.0.0.1:{port}", "-p", str(sshd.port), "127.0.0.1")
    processes.start(["ssh", *sshd.client, *reach])
    eventually(lambda: listens(port), "ssh listens")
    connect = f"tcp://localhost:{backend.port}"
    Client(processes, connect, "--proxy", f"{scheme}://127.0.0.1:{port}").check_echo()


def test_proxies_that_speak_tls(
    processes: Processes,
    need: Requirements,
    tmp_path: Path,
    backend: peers.Backend,
    authority: Authority,
) -> None:
    squid = Squid(processes, need)
    dante = Dante(processes, need)
    certificate = authority.server("localhost")
    connect = f"tcp://127.0.0.1:{backend.port}"
    for scheme, port in (("https", squid.port), ("socks+ssl", dante.port)):
        uri = f"{scheme}://localhost:{tls_before(processes, need, tmp_path, certificate, port)}"
        Client(processes, connect, "--proxy", uri, "--truststore", authority.truststore).check_echo()
        told = Client(processes, connect, "--proxy", uri).told()
        assert f"Unable to connect to {connect}/: the proxy {uri}: " in told
        assert "certificate" in told


def test_a_chain(
    processes: Processes,
    need: Requirements,
    tmp_path: Path,
    backend: peers.Backend,
    authority: Authority,
) -> None:
    """Through squid to dante, through that to tinyproxy, through that over TLS to a gateway."""
    squid, tinyproxy = Squid(processes, need), Tinyproxy(processes, need, tmp_path)
    dante = Dante(processes, need)
    port = free_port()
    uri = f"wss://localhost:{port}/app"
    joining = configuration.service(
        uri, f"tcp://127.0.0.1:{backend.port}", accept_options={"wss.bind": f"127.0.0.1:{port}"}
    )
    keystore = configuration.security(keystore=authority.server("localhost"))
    processes.gateway(configuration.write(tmp_path / "server.xml", joining, keystore)).started()
    near = free_port()
    chained = configuration.service(
        f"tcp://127.0.0.1:{near}",
        uri,
        connect_options={
            "tcp.transport": squid.uri,
            "http.transport": f"{dante.uri} {tinyproxy.uri}",
        },
    )
    file = configuration.write(
        tmp_path / "client.xml", chained, configuration.security(truststore=authority.truststore)
    )
    gateway = processes.gateway(file).started()
    with peers.connect(near) as client:
        client.sendall(b"hello")
        assert peers.read_exactly(client, 5) == b"hello"
    assert (
        f"through {squid.uri}, {dante.uri}, {tinyproxy.uri} (tcp.transport, http.transport)" in gateway.text
    )
    told = isthmus_command("check", file)
    assert told.code == 0
    assert f"through {squid.uri}" in told.output.decode()


def test_the_environment(
    processes: Processes,
    need: Requirements,
    tmp_path: Path,
    backend: peers.Backend,
    authority: Authority,
) -> None:
    squid = Squid(processes, need, "Basic")
    uri = server_gateway(processes, tmp_path, backend, authority)
    secret = PASSWORD.replace(" ", "%20")
    named = [f"HTTPS_PROXY=http://{USER}:{secret}@127.0.0.1:{squid.port}", "HTTP_PROXY=http://127.0.0.1:1"]
    trust = ("--truststore", authority.truststore)
    client = Client(processes, uri, *trust, environment=named)
    client.check_echo()
    assert f"is reached through {squid.uri} (HTTPS_PROXY)" in client.process.text
    assert "sesame" not in client.process.text
    excluded = Client(processes, uri, *trust, environment=[*named, "no_proxy=localhost,.example.com"])
    assert f"the name {GATEWAY_NAME} cannot be resolved" in excluded.told()
    assert "is reached directly (no_proxy: .example.com)" in excluded.process.text
    directly = Client(processes, uri, *trust, "--proxy", "direct", environment=named)
    assert f"the name {GATEWAY_NAME} cannot be resolved" in directly.told()


def test_a_password_in_a_configuration_is_refused(tmp_path: Path) -> None:
    for value in ("http://alice:sesame@proxy:3128", "http://alice:sesame@proxy:3128/ x"):
        joining = configuration.service(
            "tcp://127.0.0.1:1", "wss://gw.example.com/", connect_options={"http.transport": value}
        )
        told = isthmus_command("check", configuration.write(tmp_path / "client.xml", joining))
        assert told.code == 2
        assert "has a user name or password in it; leave them out and name a file" in told.errors
        assert "sesame" not in told.errors + told.output.decode()
