"""What the whitepaper shows happens: its files, its addresses, its two programs, in ws and in wss."""

from __future__ import annotations

import re
import shutil
from functools import partial
from pathlib import Path

import pytest
from tests.system import configuration, peers
from tests.system.certificates import Authority
from tests.system.network import CLIENT_EXTERNAL, SERVER_EXTERNAL, Network
from tests.system.pair import Processes
from tests.system.process import Gateway, Process, isthmus_command
from tests.system.requirements import Requirements

CLIENT, SERVER = "appendix-a-client.xml", "appendix-b-server.xml"
SAID, ANSWERED = b"Hello, Virtual Private Connection\n", b"Kaazing: Hello, Virtual Private Connection\n"


@pytest.fixture
def seed(need: Requirements) -> Path:
    need.program("perl")
    need.program("curl")
    return need.seed()


def start_both(processes: Processes, network: Network, client: Path, server: Path) -> tuple[Gateway, Gateway]:
    on_server = processes.gateway(server, prefix=network.server.prefix)
    on_client = processes.gateway(client, prefix=network.client.prefix)
    return on_client.started(), on_server.started()


def start_echo_server(processes: Processes, network: Network, seed: Path) -> Process:
    server = processes.start([*network.server.prefix, "perl", seed / "echo-server.pl"])
    server.wait_for("Waiting for incoming connections on port 50505...")
    return server


def check_transcript(network: Network, seed: Path, echo_server: Process) -> None:
    """Do steps 8 to 10 of "Using the Virtual Private Connection"."""
    client = network.client.run(["perl", seed / "echo-client.pl", "192.0.2.0", "50505"], send=SAID)
    assert client.output == ANSWERED
    assert client.errors == f"bytes_sent = {len(SAID)}, bytes_received = {len(SAID)}"
    assert client.code == 0
    assert re.fullmatch(r"Connection from \[192\.0\.2\.20,\d+\]", echo_server.wait_for("Connection from ["))
    echo_server.wait_for("Echoing back: Hello, Virtual Private Connection")
    # The client's end of input reaches the server across both gateways.
    echo_server.wait_for("finished")


def check_start(gateway: Gateway, file: Path, *accepts: str) -> None:
    lines = gateway.lines
    assert re.fullmatch(r"INFO isthmus WebSocket Gateway \(\d+\.\d+\.\d+\S*\)", lines[0])
    assert lines[1:] == [
        f"INFO Configuration file: {file}",
        "INFO Starting server",
        "INFO Starting services",
        *(f"INFO   {accept}" for accept in accepts),
        "INFO Started services",
        lines[-1],
    ]
    assert re.fullmatch(
        r"INFO Started server successfully in \d+\.\d{3} secs at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d", lines[-1]
    )


def check_stop(gateway: Gateway, *accepts: str) -> None:
    before = len(gateway.lines)
    assert gateway.stop() == 0
    said = gateway.lines[before:]
    assert said[:-1] == [
        "INFO Stopping server",
        "INFO Stopping services",
        *(f"INFO   {accept}" for accept in accepts),
        "INFO Stopped services",
    ]
    assert re.fullmatch(
        r"INFO Stopped server successfully in \d+\.\d{3} secs at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d", said[-1]
    )


def test_the_files_as_they_are(processes: Processes, network: Network, seed: Path) -> None:
    client, server = start_both(processes, network, seed / CLIENT, seed / SERVER)
    on_client = ["http://192.0.2.1:8000/ @ 0.0.0.0:8000", "tcp://192.0.2.0:50505/"]
    on_server = ["http://192.0.2.21:8000/ @ 0.0.0.0:8000", "ws://192.0.2.21:80/ @ 0.0.0.0:80"]
    check_start(client, seed / CLIENT, *on_client)
    check_start(server, seed / SERVER, *on_server)

    echo_server = start_echo_server(processes, network, seed)
    check_transcript(network, seed, echo_server)

    # The home pages are seen at the external addresses, from either side.
    for instance in (network.client, network.server):
        for external in (CLIENT_EXTERNAL, SERVER_EXTERNAL):
            page = instance.run(["curl", "--silent", "--fail", "--max-time", "20", f"http://{external}:8000"])
            assert page.code == 0
            assert b"isthmus" in page.output

    check_stop(client, *on_client)
    check_stop(server, *on_server)


def test_trailing_slashes_and_the_whitepapers_command_line(
    processes: Processes, network: Network, seed: Path, tmp_path: Path
) -> None:
    homes = {}
    for name in (CLIENT, SERVER):
        home = homes[name] = tmp_path / Path(name).stem
        assert isthmus_command("init", home).code == 0
        text = (seed / name).read_text()
        text, replaced = re.subn(r"(:50505|:80|\$\{gateway\.base\.port\})</", r"\1/</", text)
        assert replaced == 3
        (home / "conf" / "gateway-config-minimal.xml").write_text(text)

    def start(name: str, prefix: list[str]) -> Process:
        command = [*prefix, "./gateway.start", "--config", "../conf/gateway-config-minimal.xml"]
        return processes.start(command, cwd=homes[name] / "bin")

    server = start(SERVER, network.server.prefix)
    client = start(CLIENT, network.client.prefix)
    for gateway in (server, client):
        gateway.wait_for("Started server successfully")
    assert "INFO   tcp://192.0.2.0:50505/" in client.lines
    assert "INFO   ws://192.0.2.21:80/ @ 0.0.0.0:80" in server.lines
    check_transcript(network, seed, start_echo_server(processes, network, seed))


def secured(seed: Path, folder: Path, authority: Authority) -> tuple[Path, Path]:
    """Derive the files of "Securing the Virtual Private Connection": wss, a keystore, a truststore."""
    shutil.copy(authority.server(SERVER_EXTERNAL), folder / "keystore.pem")
    shutil.copy(authority.truststore, folder / "truststore.pem")
    derived = []
    for name, store in (
        (CLIENT, configuration.security(truststore=Path("truststore.pem"))),
        (SERVER, configuration.security(keystore=Path("keystore.pem"))),
    ):
        text = (seed / name).read_text()
        text = text.replace("ws://192.0.2.21:80<", "wss://192.0.2.21:443<")
        text = text.replace("<ws.bind>80</ws.bind>", "<wss.bind>443</wss.bind>")
        text = text.replace("</gateway-config>", f"{store}</gateway-config>")
        derived.append(folder / name)
        derived[-1].write_text(text)
    return derived[0], derived[1]


def test_secured(
    processes: Processes, network: Network, seed: Path, tmp_path: Path, authority: Authority
) -> None:
    client_file, server_file = secured(seed, tmp_path, authority)
    _, server = start_both(processes, network, client_file, server_file)
    assert "INFO   wss://192.0.2.21:443/ @ 0.0.0.0:443" in server.lines
    check_transcript(network, seed, start_echo_server(processes, network, seed))


def test_secured_refuses_a_server_it_does_not_know(
    processes: Processes, network: Network, seed: Path, tmp_path: Path, authority: Authority
) -> None:
    client_file, server_file = secured(seed, tmp_path, authority)
    another = tmp_path / "another"
    another.mkdir()
    shutil.copy(Authority(another).truststore, tmp_path / "truststore.pem")
    client, _ = start_both(processes, network, client_file, server_file)
    echo_server = start_echo_server(processes, network, seed)
    assert peers.is_reset_at(50505, partial(network.client.connect, "192.0.2.0"))
    assert "certificate" in client.wait_for("wss://192.0.2.21:443/")
    assert "Connection from" not in echo_server.text
