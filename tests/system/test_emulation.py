"""Where no WebSocket gets through: two gateways, and between them boxes and real proxies that block it."""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import argon2
import pytest
from tests.system import configuration, peers
from tests.system.certificates import Authority
from tests.system.middlebox import Middlebox
from tests.system.pair import Processes
from tests.system.process import Gateway, eventually, free_port
from tests.system.requirements import Requirements
from tests.system.web_proxies import listens

SIZE = 2_000_000
SPAN = pytest.mark.parametrize("span", ["auto", "never"])


@dataclass
class Gateways:
    """A client gateway that takes TCP on `port`, and the server gateway at `web_port`."""

    client: Gateway
    server: Gateway
    port: int
    web_port: int


def start(
    processes: Processes,
    folder: Path,
    backend: int,
    *,
    through: Callable[[int], int],
    span: str = "auto",
    scheme: str = "ws",
    truststore: Path | None = None,
    **options: object,
) -> Gateways:
    """Start both; `through` starts what is between before a port, and returns its own."""
    port, web_port = free_port(), free_port()
    mode = {"span.mode": span}
    joining = configuration.service(
        f"ws://0.0.0.0:{web_port}/deep/path", f"tcp://127.0.0.1:{backend}", accept_options=mode
    )
    server = processes.gateway(configuration.write(folder / "server.xml", joining)).started()
    own = through(web_port)
    values = {**mode, **{name.replace("_", "."): value for name, value in options.items()}}
    joining = configuration.service(
        f"tcp://127.0.0.1:{port}", f"{scheme}://127.0.0.1:{own}/deep/path", connect_options=values
    )
    more = [] if truststore is None else [configuration.security(truststore=truststore)]
    client = processes.gateway(configuration.write(folder / "client.xml", joining, *more)).started()
    return Gateways(client, server, port, web_port)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def content(seed: int, size: int = SIZE) -> bytes:
    block = hashlib.sha256(bytes([seed])).digest()
    return (block * (size // len(block) + 1))[:size]


def both_ways(connection: socket.socket) -> tuple[str, str]:
    """Greet; send and receive at once; then say, after the client's end, what came, and end."""
    connection.sendall(b"hello\n")
    sender = threading.Thread(target=connection.sendall, args=(content(1),))
    sender.start()
    got = peers.read_all(connection)
    sender.join()
    connection.sendall(digest(got).encode())
    connection.shutdown(socket.SHUT_WR)
    return digest(got), digest(content(1))


def converse(port: int) -> None:
    """Be the client of `both_ways`, and check everything."""
    with peers.connect(port) as connection:
        assert peers.read_exactly(connection, 6) == b"hello\n"
        mine = content(2)

        def send() -> None:
            connection.sendall(mine)
            connection.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        got = peers.read_all(connection)
        sender.join()
        assert digest(got[:-64]) == digest(content(1))
        assert got[-64:].decode() == digest(mine)


def check(gateways: Gateways, backend: peers.Backend) -> None:
    """Everything that a stream must be: whole both ways, half-closed, reset from either side."""
    for _ in range(2):
        converse(gateways.port)
        assert backend.outcome() == (digest(content(2)), digest(content(1)))

    def wait(connection: socket.socket) -> object:
        assert peers.read_exactly(connection, 3) == b"abc"
        return peers.is_reset(connection)

    backend.play(wait)
    connection = peers.connect(gateways.port)
    connection.sendall(b"abc")
    time.sleep(0.3)
    peers.reset(connection)
    assert backend.outcome() is True

    def cut(connection: socket.socket) -> None:
        assert peers.read_exactly(connection, 3) == b"abc"
        peers.reset(connection)

    backend.play(cut)
    with peers.connect(gateways.port) as connection:
        connection.sendall(b"abc")
        assert peers.is_reset(connection)


@SPAN
@pytest.mark.parametrize("websocket", ["strip", "400", "501", "drop"])
@pytest.mark.parametrize("holds", [False, True], ids=["hands on", "holds"])
def test_a_box_that_blocks_websockets(
    websocket: str, holds: bool, span: str, processes: Processes, tmp_path: Path
) -> None:
    with peers.Backend(both_ways) as backend, Middlebox(0, websocket=websocket, holds=holds) as box:

        def through(port: int) -> int:
            box.target = port
            return box.port

        gateways = start(processes, tmp_path, backend.port, through=through, span=span)
        check(gateways, backend)
        kind = "short answers" if holds else "a long answer"
        gateways.client.wait_for(f"it is emulated over HTTP, with {kind}")
        if span == "auto":
            gateways.client.wait_for("streams outlive their WebSocket")
        assert box.websockets == 1, "it is remembered"


def test_never_means_never(processes: Processes, tmp_path: Path) -> None:
    with peers.Backend(both_ways) as backend, Middlebox(0, websocket="400") as box:

        def through(port: int) -> int:
            box.target = port
            return box.port

        gateways = start(
            processes, tmp_path, backend.port, through=through, span="never", ws_fallback="never"
        )
        assert peers.is_reset_at(gateways.port)
        gateways.client.wait_for("answered 400 No")
        assert box.requests == 1


def test_who_comes_is_asked_as_for_a_websocket(processes: Processes, tmp_path: Path) -> None:
    """A realm guards the request that creates an emulated WebSocket; a wrong password is told."""
    table, mine, wrong = (tmp_path / name for name in ("users", "mine", "wrong"))
    table.write_text(f"alice:{argon2.PasswordHasher().hash('open sesame')}:people\n")
    mine.write_text("alice:open sesame\n")
    wrong.write_text("alice:guessed\n")
    for file in (table, mine, wrong):
        file.chmod(0o600)
    port, web_port = free_port(), free_port()
    realm = (
        "<security><realm><name>people</name><authentication>"
        "<http-challenge-scheme>Basic</http-challenge-scheme><login-modules><login-module><type>file</type>"
        "<success>required</success><options><file>users</file></options></login-module></login-modules>"
        "</authentication></realm></security>"
    )
    guarded = (
        f"<service><accept>ws://0.0.0.0:{web_port}/x</accept><type>echo</type>"
        "<realm-name>people</realm-name><authorization-constraint><require-valid-user/>"
        "</authorization-constraint></service>"
    )
    with Middlebox(web_port, websocket="strip") as box:
        file = configuration.write(tmp_path / "server.xml", guarded, realm)
        server = processes.gateway(file).started()
        for file in (mine, wrong):
            options = {
                "http.authorization.file": file,
                "http.authorization.insecure": "allowed",
                "connect.timeout": "5 s",
            }
            joining = configuration.service(
                f"tcp://127.0.0.1:{port}", f"ws://127.0.0.1:{box.port}/x", connect_options=options
            )
            client = processes.gateway(configuration.write(tmp_path / "client.xml", joining)).started()
            if file is mine:
                with peers.connect(port) as connection:
                    connection.sendall(b"abc")
                    assert peers.read_exactly(connection, 3) == b"abc"
            else:
                assert peers.is_reset_at(port)
                client.wait_for("answered 401 Unauthorized")
            port = free_port()
        server.wait_for("refused with 401")
        assert server.text.count("refused with 401") == 1, "one login fails once"


def test_climbing_back_drops_no_stream(processes: Processes, tmp_path: Path) -> None:
    """One stream that never rests, while its carrier goes from short answers to a long one to a WebSocket."""
    with peers.Backend(peers.echo) as backend, Middlebox(0, websocket="strip", holds=True) as box:

        def through(port: int) -> int:
            box.target = port
            return box.port

        gateways = start(
            processes, tmp_path, backend.port, through=through, span="required", ws_fallback_retry="1 s"
        )
        stop, sent, got = threading.Event(), hashlib.sha256(), hashlib.sha256()
        sizes = [0, 0]
        with peers.connect(gateways.port) as connection:

            def send() -> None:
                number = 0
                while not stop.is_set():
                    data = content(number % 256, 10_000)
                    sent.update(data)
                    sizes[0] += len(data)
                    connection.sendall(data)
                    number += 1
                    time.sleep(0.005)
                connection.shutdown(socket.SHUT_WR)

            def receive() -> None:
                while data := connection.recv(65536):
                    got.update(data)
                    sizes[1] += len(data)

            threads = [threading.Thread(target=each) for each in (send, receive)]
            for thread in threads:
                thread.start()
            gateways.client.wait_for("with short answers")
            seen = box.websockets
            eventually(lambda: box.websockets > seen, "a better way is tried")
            box.holds = False
            gateways.client.wait_for("a better way gets through again")
            box.websocket = "pass"
            gateways.client.wait_for("a WebSocket gets through again")
            before = sizes[1]
            eventually(lambda: sizes[1] > before + 100_000, "the stream goes on over the WebSocket")
            requests = box.requests
            before = sizes[1]
            eventually(lambda: sizes[1] > before + 100_000, "and on")
            stop.set()
            for thread in threads:
                thread.join(30.0)
        assert sizes[0] == sizes[1]
        assert sent.hexdigest() == got.hexdigest()
        assert box.requests <= requests + 3, "nothing is emulated any more"


# --- real proxies


def nginx(processes: Processes, need: Requirements, port: int, location: str = "", tls: str = "") -> int:
    """Start an nginx as it is by default before `port`; return its own port."""
    own, folder = free_port(), processes.public_folder()
    file = folder / "nginx.conf"
    file.write_text(
        f"daemon off;\npid {folder}/nginx.pid;\nerror_log stderr;\nevents {{}}\n"
        f"http {{ access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;\n"
        f"server {{ listen 127.0.0.1:{own}{' ssl' if tls else ''};\n{tls}\n"
        f"location / {{ proxy_pass http://127.0.0.1:{port}; {location} }} }} }}\n"
    )
    process = processes.start([need.program("nginx"), "-p", folder, "-c", file, "-e", "stderr"])
    eventually(lambda: listens(own) or not process.running, "nginx listens")
    return own


@SPAN
@pytest.mark.parametrize("buffers", [False, True])
def test_nginx_as_it_is_by_default(
    buffers: bool, span: str, processes: Processes, need: Requirements, tmp_path: Path
) -> None:
    """It takes Upgrade out of a request. It would hold answers too, were it not told not to."""
    location = "proxy_ignore_headers X-Accel-Buffering;" if buffers else ""
    with peers.Backend(both_ways) as backend:
        gateways = start(
            processes,
            tmp_path,
            backend.port,
            through=lambda port: nginx(processes, need, port, location),
            span=span,
        )
        check(gateways, backend)
        gateways.client.wait_for("it is emulated over HTTP, with" if buffers else "with a long answer")
        backend.play(peers.echo)
        with peers.connect(gateways.port) as connection:
            for _ in range(3):  # what is little is not held either
                connection.sendall(b"ping")
                assert peers.read_exactly(connection, 4) == b"ping"
                time.sleep(1.2)


def test_nginx_that_ends_tls(
    processes: Processes, need: Requirements, tmp_path: Path, authority: Authority
) -> None:
    pem = authority.server("127.0.0.1")
    tls = f"ssl_certificate {pem}; ssl_certificate_key {pem};"
    with peers.Backend(both_ways) as backend:
        gateways = start(
            processes,
            tmp_path,
            backend.port,
            through=lambda port: nginx(processes, need, port, tls=tls),
            scheme="wss",
            truststore=authority.truststore,
        )
        check(gateways, backend)


def test_squid_before_the_server(processes: Processes, need: Requirements) -> None:
    folder = processes.public_folder()

    def through(port: int) -> int:
        own = free_port()
        file = folder / "squid.conf"
        file.write_text(
            f"http_port 127.0.0.1:{own} accel defaultsite=127.0.0.1 no-vhost\n"
            f"cache_peer 127.0.0.1 parent {port} 0 no-query originserver\n"
            "http_access allow all\ncache deny all\naccess_log none\ncache_log stdio:/dev/stderr\n"
            f"pid_filename {folder}/squid.pid\ncoredump_dir {folder}\nshutdown_lifetime 0 seconds\n"
            "cache_effective_user proxy\npinger_enable off\n"
        )
        process = processes.start([need.program("squid"), "-N", "-f", file])
        eventually(lambda: listens(own) or not process.running, "squid listens")
        return own

    with peers.Backend(both_ways) as backend:
        gateways = start(processes, folder, backend.port, through=through)
        check(gateways, backend)
        gateways.client.wait_for("it is emulated over HTTP")
