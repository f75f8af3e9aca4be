"""Two networks joined on one machine, each step told as it happens: what `make demo` runs.

    client --tcp--> gateway (client.xml) --WebSocket--> gateway (server.xml) --tcp--> echo server

Both gateways are processes of their own. It exits with 0 when the line came back, and leaves nothing running.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(__file__).parent
LINE = b"Hello, Virtual Private Connection\n"
PATIENCE = 40.0
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
BEGAN = time.monotonic()


class Failed(Exception):
    """The demo cannot go on; the text says why."""


def tell(who: str, text: str) -> None:
    """Print one step and when it happened."""
    print(f"{time.monotonic() - BEGAN:7.3f} s  {who:<16}{text}", flush=True)


def free_ports(count: int) -> list[int]:
    """Return ports of the loopback address that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [listening.getsockname()[1] for listening in sockets]


@contextlib.contextmanager
def echo_server() -> Iterator[int]:
    """Run a server that sends each line back, and yield its port."""

    def serve(connection: socket.socket) -> None:
        with connection, connection.makefile("rwb") as lines:
            for line in lines:
                tell("echo server", f"received {line!r} and sends it back")
                lines.write(line)
                lines.flush()
        tell("echo server", "saw the connection end")

    def accept() -> None:
        with contextlib.suppress(OSError):  # closed below
            while True:
                connection, peer = listening.accept()
                tell("echo server", f"has a connection from {peer[0]}:{peer[1]}, the server's gateway")
                threads.append(threading.Thread(target=serve, args=(connection,), daemon=True))
                threads[-1].start()

    threads: list[threading.Thread] = []
    listening = socket.create_server(("127.0.0.1", 0))
    threads.append(threading.Thread(target=accept, daemon=True))
    threads[0].start()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.shutdown(socket.SHUT_RDWR)  # ends the accept; closing alone would not
        listening.close()
        for thread in threads:
            thread.join(PATIENCE)


@contextlib.contextmanager
def gateway(name: str, file: Path, settings: dict[str, int]) -> Iterator[None]:
    """Run a gateway as a process of its own, from the time it is ready until the block is left."""
    command = [sys.executable, "-m", "isthmus", "start", "--config", str(file)]
    for setting, value in settings.items():
        command += ["--set", f"{setting}={value}"]
    tell(name, f"isthmus {' '.join([*command[3:5], file.name, *command[6:]])}")
    # A group of its own, so that Ctrl-C reaches this script alone, which then stops the gateways in order.
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    started = False
    decided = threading.Event()

    def read() -> None:
        nonlocal started
        assert process.stderr
        for text in process.stderr:
            tell(name, text.rstrip())
            if text.startswith("INFO Started server"):
                started = True
                decided.set()
        decided.set()  # it has ended

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        if not decided.wait(PATIENCE):
            raise Failed(f"the {name} was not ready within {PATIENCE:.0f} s")
        if not started:
            raise Failed(f"the {name} did not start")
        yield
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join(PATIENCE)
    if process.returncode:
        raise Failed(f"the {name} ended with {process.returncode}")


def talk(port: int) -> None:
    """Be the application: send one line and read it back."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
        tell("client", f"has connected to 127.0.0.1:{port} and sends {LINE!r}")
        began = time.monotonic()
        client.sendall(LINE)
        answer = b""
        while not answer.endswith(b"\n") and (chunk := client.recv(4096)):
            answer += chunk
        taken = time.monotonic() - began
    if answer != LINE:
        raise Failed(f"the client sent {LINE!r} and got {answer!r}")
    tell("client", f"got it back after {taken * 1000:.1f} ms: {answer.decode().strip()}")


def interrupted(*_: object) -> None:
    """Unwind, which stops everything; a second signal must not interrupt that."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def main() -> int:
    """Run the demo. Returns the exit code."""
    for number in SIGNALS:
        signal.signal(number, interrupted)
    tell("demo", "client --tcp--> client gateway --WebSocket--> server gateway --tcp--> echo server")
    try:
        application_port, web_port = free_ports(2)
        with contextlib.ExitStack() as stack:
            server_port = stack.enter_context(echo_server())
            tell("echo server", f"listens on 127.0.0.1:{server_port}")
            ports = {"server.gateway.port": web_port}
            server = gateway("server gateway", FOLDER / "server.xml", ports | {"server.port": server_port})
            stack.enter_context(server)
            client = gateway(
                "client gateway", FOLDER / "client.xml", ports | {"application.port": application_port}
            )
            stack.enter_context(client)
            talk(application_port)
            tell("demo", "stops all of it")
    except KeyboardInterrupt:
        tell("demo", "was told to stop")
        return 130
    except (Failed, OSError) as error:
        tell("demo", f"FAILED: {error}")
        return 1
    tell("demo", "SUCCESS: a TCP client and a TCP server, both unmodified, talked over WebSocket")
    return 0


if __name__ == "__main__":
    sys.exit(main())
