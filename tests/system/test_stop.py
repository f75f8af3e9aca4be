"""A gateway that is told to stop closes its ports at once, finishes what is in flight, and exits with 0."""

from __future__ import annotations

import signal
import socket
import time
from pathlib import Path

import pytest
from tests.system import configuration, peers
from tests.system.certificates import Authority
from tests.system.pair import Pair, Processes, start_pair
from tests.system.process import Gateway, eventually, free_port


def echo_gateway(processes: Processes, folder: Path, port: int, **options: object) -> Gateway:
    config = configuration.write(
        folder / "gateway-config.xml",
        configuration.service(f"tcp://127.0.0.1:{port}", kind="echo"),
        options={name.replace("_", "."): value for name, value in options.items()},
    )
    return processes.gateway(config).started()


def says(connection: socket.socket, text: bytes) -> None:
    connection.sendall(text)
    assert peers.read_exactly(connection, len(text)) == text


def refused(port: int) -> bool:
    try:
        peers.connect(port).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        return False  # it came in the very moment in which the port was closed
    return False


def check_drain(pair: Pair, stopped: Gateway, port: int) -> None:
    with peers.connect(pair.port) as connection:
        says(connection, b"before")
        stopped.signal(signal.SIGTERM)
        stopped.wait_for("Stopping services")
        eventually(lambda: refused(port), "the accept's port is closed")
        for _ in range(5):
            says(connection, b"while it stops")
        assert stopped.running
        connection.shutdown(socket.SHUT_WR)
        assert peers.read_all(connection) == b""
    assert stopped.wait() == 0
    stopped.check_lines()
    assert "Stopped server successfully" in stopped.lines[-1]


@pytest.mark.parametrize("role", ["client", "server"])
def test_what_is_in_flight_is_finished(processes: Processes, tmp_path: Path, role: str) -> None:
    with peers.Backend(peers.echo) as backend:
        pair = start_pair(processes, tmp_path, f"tcp://127.0.0.1:{backend.port}")
        if role == "client":
            check_drain(pair, pair.client, pair.port)
        else:
            check_drain(pair, pair.server, pair.web_port)


def test_a_second_signal_stops_at_once(processes: Processes, tmp_path: Path) -> None:
    port = free_port()
    gateway = echo_gateway(processes, tmp_path, port)
    with peers.connect(port) as connection:
        says(connection, b"hello")
        gateway.signal(signal.SIGTERM)
        gateway.wait_for("Stopping services")
        says(connection, b"still here")
        gateway.signal(signal.SIGTERM)
        # Much less than stop.timeout, which is 30 s.
        assert gateway.wait(timeout=15) == 0
        assert peers.is_reset(connection)
    gateway.check_lines()


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_a_peer_that_answers_nothing_holds_no_stop_up(
    processes: Processes, tmp_path: Path, authority: Authority, scheme: str
) -> None:
    """Its carrier is cut, and leaves nothing open (the gateway would end with a warning of Python)."""
    with peers.Backend(peers.echo) as backend:
        pair = start_pair(
            processes, tmp_path, f"tcp://127.0.0.1:{backend.port}", scheme=scheme, authority=authority
        )
        with peers.connect(pair.port) as connection:
            says(connection, b"hello")
            connection.shutdown(socket.SHUT_WR)
            assert peers.read_all(connection) == b""
        time.sleep(0.2)  # that the end of the stream is acknowledged, too
        pair.server.signal(signal.SIGSTOP)
        pair.client.signal(signal.SIGTERM)
        assert pair.client.wait(timeout=15) == 0
        pair.client.check_lines()
        pair.server.signal(signal.SIGCONT)


def test_the_deadline_ends_what_does_not_end(processes: Processes, tmp_path: Path) -> None:
    port = free_port()
    gateway = echo_gateway(processes, tmp_path, port, stop_timeout="1 s")
    with peers.connect(port) as connection:
        says(connection, b"hello")
        assert gateway.stop() == 0
        assert peers.is_reset(connection)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_gateway_stops_at_once(processes: Processes, tmp_path: Path, number: signal.Signals) -> None:
    gateway = echo_gateway(processes, tmp_path, free_port())
    gateway.signal(number)
    assert gateway.wait(timeout=15) == 0
    gateway.check_lines()


def test_a_signal_during_the_start_is_heeded(processes: Processes, tmp_path: Path) -> None:
    port = free_port()
    config = configuration.write(
        tmp_path / "gateway-config.xml", configuration.service(f"tcp://127.0.0.1:{port}", kind="echo")
    )
    gateway = processes.gateway(config)
    gateway.wait_for("Starting server")
    gateway.signal(signal.SIGTERM)
    assert gateway.wait() in (0, -signal.SIGTERM)
    gateway.check_lines()


def test_unix_socket_files_are_removed(processes: Processes, tmp_path: Path) -> None:
    path = tmp_path / "s"
    config = configuration.write(
        tmp_path / "gateway-config.xml", configuration.service(f"unix://{path}", kind="echo")
    )
    gateway = processes.gateway(config).started()
    assert path.is_socket()
    assert gateway.stop() == 0
    assert not path.exists()
