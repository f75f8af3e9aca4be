"""Behind real balancers: haproxy and nginx say who a client is, and it reaches the log and the server."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.system import configuration, peers
from tests.system.certificates import Authority
from tests.system.pair import Processes
from tests.system.process import Gateway, Process, eventually, free_port
from tests.system.requirements import Requirements
from tests.system.web_proxies import listens

TRUSTED = {"trusted.sources": "127.0.0.0/8"}


def first_line(connection: object) -> bytes:
    """Return the first line that comes, and send it back."""
    line = b""
    while not line.endswith(b"\n") and (byte := connection.recv(1)):  # type: ignore[attr-defined]
        line += byte
    connection.sendall(line)  # type: ignore[attr-defined]
    return line


def gateway(
    processes: Processes,
    folder: Path,
    accept: str,
    connect: str,
    options: Mapping[str, object],
    connect_options: Mapping[str, object] | None = None,
    *more: str,
) -> Gateway:
    """Start a gateway with access lines."""
    joining = configuration.service(
        accept, connect, accept_options={**TRUSTED, **options}, connect_options=connect_options
    )
    file = configuration.write(folder / f"gateway-{free_port()}.xml", joining, *more)
    return processes.gateway(file, "--log-level", "info,access=info").started()


def haproxy(processes: Processes, need: Requirements, folder: Path, port: int, how: str) -> int:
    """Start a haproxy in TCP mode before `port`; return its own port."""
    own = free_port()
    file = folder / f"haproxy-{own}.cfg"
    file.write_text(
        "defaults\n mode tcp\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n"
        f"listen front\n bind 127.0.0.1:{own}\n server gateway 127.0.0.1:{port} {how}\n"
    )
    processes.start([need.program("haproxy"), "-db", "-f", file])
    eventually(lambda: listens(own), "haproxy listens")
    return own


def clients_of(process: Process) -> list[str]:
    """Return the clients of which access lines were written, without their ports."""
    lines = [line for line in process.lines if " access " in line]
    return [re.sub(r":[0-9]+$", "", line.split()[3]) for line in lines]


@pytest.mark.parametrize("how", ["send-proxy", "send-proxy-v2"])
@pytest.mark.parametrize("scheme", ["tcp", "ssl", "ws", "wss"])
def test_haproxy_tells_who_a_client_is(
    how: str,
    scheme: str,
    processes: Processes,
    need: Requirements,
    tmp_path: Path,
    authority: Authority,
) -> None:
    port = free_port()
    secure: list[str] = []
    if scheme in ("ssl", "wss"):
        secure.append(configuration.security(keystore=authority.server("127.0.0.1")))
    with peers.Backend(first_line) as backend:
        started = gateway(
            processes,
            tmp_path,
            f"{scheme}://0.0.0.0:{port}",
            f"tcp://127.0.0.1:{backend.port}",
            {"proxy.protocol": "required"},
            {"proxy.protocol": "v1"},
            *secure,
        )
        own = haproxy(processes, need, tmp_path, port, how)
        context = authority.client_context() if secure else None
        if scheme in ("ws", "wss"):
            uri = f"{scheme}://127.0.0.1:{own}/"
            told = asyncio.run(one_message(uri, context))
        elif context is not None:
            with peers.connect_tls(own, context) as connection:
                told = connection.recv(200)
                source = connection.getsockname()[1]
        else:
            with peers.connect(own) as connection:
                source = connection.getsockname()[1]
                told = connection.recv(200)
        assert told.startswith(b"PROXY TCP4 127.0.0.1 0.0.0.0 ")
        assert told.endswith(f" {port}\r\n".encode()), "where the accept is"
        if scheme in ("tcp", "ssl"):
            assert told.split()[4] == str(source).encode(), "the client's own port, not haproxy's"
        started.wait_for(f" 127.0.0.1:{told.split()[4].decode()} -> ")


async def one_message(uri: str, context: object) -> bytes:
    """Return the first message that a WebSocket server sends."""
    from websockets.asyncio.client import connect

    async with connect(uri, ssl=context, proxy=None) as connection:
        message = await connection.recv()
        assert isinstance(message, bytes)
        return message


@pytest.mark.parametrize("kind", ["x-forwarded-for", "forwarded"])
def test_nginx_tells_who_a_client_is(
    kind: str, processes: Processes, need: Requirements, tmp_path: Path
) -> None:
    """And the next gateway is told by this one, in the form that it believes."""
    port, far, own = free_port(), free_port(), free_port()
    file = tmp_path / "nginx.conf"
    told = 'Forwarded "for=$remote_addr"' if kind == "forwarded" else "X-Forwarded-For $remote_addr"
    file.write_text(
        f"daemon off;\npid {tmp_path}/nginx.pid;\nerror_log stderr;\nevents {{}}\n"
        f"http {{ access_log off;\nserver {{ listen 127.0.0.1:{own};\n"
        f"location / {{ proxy_pass http://127.0.0.1:{port}; proxy_http_version 1.1;\n"
        f"proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;\n"
        f"proxy_set_header {told};\nproxy_bind 127.0.0.5; }} }} }}\n"
    )
    with peers.Backend(first_line) as backend:
        server = gateway(
            processes,
            tmp_path,
            f"ws://0.0.0.0:{far}",
            f"tcp://127.0.0.1:{backend.port}",
            {"http.forwarded": "forwarded"},
            {"proxy.protocol": "v1"},
        )
        middle = gateway(
            processes,
            tmp_path,
            f"ws://0.0.0.0:{port}",
            f"ws://127.0.0.1:{far}",
            {"http.forwarded": kind, "trusted.sources": "127.0.0.5"},
            {"http.forwarded": "forwarded"},
        )
        processes.start([need.program("nginx"), "-c", file, "-p", tmp_path])
        eventually(lambda: listens(own), "nginx listens")
        for _ in range(2):
            assert asyncio.run(one_message(f"ws://127.0.0.1:{own}/", None)).startswith(
                b"PROXY TCP4 127.0.0.1 0.0.0.0 "
            )
        eventually(lambda: clients_of(middle) == ["127.0.0.1"] * 2, "the client, not 127.0.0.5")
        eventually(lambda: clients_of(server) == ["127.0.0.1"] * 2, "the client of the other gateway")


@pytest.mark.parametrize("mode", ["required", "never"])
def test_the_client_of_each_stream_reaches_the_server(
    mode: str, processes: Processes, need: Requirements, tmp_path: Path
) -> None:
    """From a haproxy in front of one gateway, over span or plain WebSocket, to what is behind the other."""
    near, far = free_port(), free_port()
    with peers.Backend(first_line) as backend:
        server = gateway(
            processes,
            tmp_path,
            f"ws://127.0.0.1:{far}",
            f"tcp://127.0.0.1:{backend.port}",
            {"http.forwarded": "forwarded"},
            {"proxy.protocol": "v1"},
        )
        telling = {"span.mode": "required"} if mode == "required" else {"http.forwarded": "forwarded"}
        gateway(
            processes,
            tmp_path,
            f"tcp://127.0.0.1:{near}",
            f"ws://127.0.0.1:{far}",
            {"proxy.protocol": "required"},
            telling,
        )
        own = haproxy(processes, need, tmp_path, near, "send-proxy-v2")
        for _ in range(3):
            with peers.connect(own) as connection:
                source = connection.getsockname()[1]
                assert connection.recv(200) == f"PROXY TCP4 127.0.0.1 127.0.0.1 {source} {far}\r\n".encode()
            server.wait_for(f" 127.0.0.1:{source} -> ")
