"""What goes wrong at a start is said as the whitepaper says it, with what to do next; never a traceback."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from tests.system import configuration, peers
from tests.system.certificates import Authority
from tests.system.network import Network
from tests.system.pair import Processes
from tests.system.process import Gateway, Process, free_port, isthmus_command
from tests.system.requirements import Requirements


def check_bind_error(gateway: Gateway, text: str) -> str:
    """Check the error and that it is followed by one line which says what to do; return that line."""
    assert gateway.refuses() == 1
    error = f"ERROR {text}"
    assert error in gateway.lines, gateway.text
    hint = gateway.lines[gateway.lines.index(error) + 1]
    assert hint.startswith("ERROR ")
    assert "failed to launch" not in hint
    assert "Started" not in gateway.text
    return hint


def test_cannot_assign_requested_address(
    processes: Processes, network: Network, tmp_path: Path, authority: Authority
) -> None:
    config = configuration.write(
        tmp_path / "gateway-config.xml",
        configuration.service("wss://192.0.2.1:443/", "tcp://192.0.2.0:50505"),
        configuration.security(keystore=authority.server("192.0.2.1")),
    )
    gateway = processes.gateway(config, prefix=network.client.prefix)
    hint = check_bind_error(
        gateway, "Unable to bind to resource: wss://192.0.2.1:443/ cause: Cannot assign requested address"
    )
    assert "wss.bind" in hint


def test_permission_denied(
    processes: Processes, network: Network, tmp_path: Path, need: Requirements
) -> None:
    # Root without the capability is refused low ports as anybody is, and can still read the test's files.
    setpriv = need.program("setpriv")
    unprivileged = [setpriv, "--bounding-set", "-net_bind_service", "--inh-caps", "-net_bind_service"]
    network.server.run(["sysctl", "-qw", "net.ipv4.ip_unprivileged_port_start=1024"])
    config = configuration.write(
        tmp_path / "gateway-config.xml",
        configuration.service(
            "ws://192.0.2.21:80", "tcp://192.0.2.20:50505", accept_options={"ws.bind": "192.0.2.20:80"}
        ),
    )
    gateway = processes.gateway(config, prefix=[*network.server.prefix, *unprivileged])
    hint = check_bind_error(
        gateway,
        "Unable to bind to resource: ws://192.0.2.21:80/ @ ws://192.0.2.20:80/ cause: Permission denied",
    )
    assert "1023" in hint


def test_port_in_use_names_the_process_that_holds_it(processes: Processes, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        config = configuration.write(
            tmp_path / "gateway-config.xml",
            configuration.service(f"tcp://127.0.0.1:{port}", "tcp://127.0.0.1:1"),
        )
        gateway = processes.gateway(config)
        hint = check_bind_error(
            gateway, f"Unable to bind to resource: tcp://127.0.0.1:{port}/ cause: Address already in use"
        )
    assert f"pid {os.getpid()}" in hint


def test_nothing_listens_after_a_failed_start(processes: Processes, tmp_path: Path) -> None:
    free = free_port()
    with socket.create_server(("127.0.0.1", 0)) as holder:
        taken = holder.getsockname()[1]
        config = configuration.write(
            tmp_path / "gateway-config.xml",
            configuration.service([f"tcp://127.0.0.1:{free}", f"tcp://127.0.0.1:{taken}"], kind="echo"),
        )
        assert processes.gateway(config).refuses() == 1
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", free), timeout=5)


def test_a_missing_configuration(processes: Processes, tmp_path: Path) -> None:
    missing = tmp_path / "no-such-file.xml"
    gateway = processes.gateway(missing)
    assert gateway.refuses() == 2
    assert str(missing) in gateway.text


BROKEN = """<?xml version="1.0" encoding="UTF-8"?>
<gateway-config xmlns="http://xmlns.kaazing.com/gateway-config/excalibur">
    <service>
        <acept>tcp://127.0.0.1:7000</acept>
        <type>proxy</type>
        <properties>
            <connect>tcp://127.0.0.1:7001</connect>
            <maximum.pending.bytes>many</maximum.pending.bytes>
        </properties>
    </service>
    <service>
        <accept>wz://127.0.0.1:7002</accept>
        <type>eco</type>
    </service>
</gateway-config>
"""


@pytest.mark.parametrize("command", ["start", "check", "convert"])
def test_a_broken_configuration_is_told_in_one_block(tmp_path: Path, command: str) -> None:
    config = tmp_path / "gateway-config.xml"
    config.write_text(BROKEN)
    told = isthmus_command(command, *(["--config"] if command == "start" else []), config)
    assert told.code == 2
    assert "Traceback" not in told.errors
    # Every fault at once: its line, what is wrong there, the nearest valid name.
    for line, wrong in ((4, "acept"), (8, "maximum.pending.bytes"), (12, "wz"), (13, "eco")):
        assert any(f"{config}:{line}" in text and wrong in text for text in told.errors.splitlines()), (
            line,
            told.errors,
        )
    assert "accept" in told.errors.replace("acept", "")
    assert "echo" in told.errors


@pytest.mark.parametrize(
    "content",
    [b"", b"\x00\x01\x02\xff" * 100, b"<gateway-config", b"hello", "<gateway-config/>".encode("utf-16")],
    ids=["empty", "binary", "cut", "text", "utf-16"],
)
def test_what_is_not_a_configuration_is_refused(processes: Processes, tmp_path: Path, content: bytes) -> None:
    config = tmp_path / "gateway-config.xml"
    config.write_bytes(content)
    gateway = processes.gateway(config)
    assert gateway.refuses() == 2
    assert str(config) in gateway.text


@pytest.mark.parametrize(
    "arguments",
    [
        ["start"],
        ["start", "--config"],
        ["no-such-command"],
        ["proxy", "tcp://127.0.0.1:7000"],
        ["start", "--nonsense"],
    ],
)
def test_a_wrong_command_line(arguments: list[str]) -> None:
    told = isthmus_command(*arguments)
    assert told.code == 2
    assert told.errors.strip()
    assert "Traceback" not in told.errors


def test_a_dead_backend_is_told_in_the_log(processes: Processes, tmp_path: Path) -> None:
    port, dead = free_port(), free_port()
    config = configuration.write(
        tmp_path / "gateway-config.xml",
        configuration.service(f"tcp://127.0.0.1:{port}", f"tcp://127.0.0.1:{dead}"),
    )
    gateway: Process = processes.gateway(config).started()
    assert peers.is_reset_at(port)
    assert "Connection refused" in gateway.wait_for(f"tcp://127.0.0.1:{dead}")
