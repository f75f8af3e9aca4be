"""Balancers that keep clients to one server by a cookie, and redirects, through real haproxy and nginx."""

from __future__ import annotations

from pathlib import Path

from tests.system import configuration, peers
from tests.system.certificates import Authority
from tests.system.pair import Processes
from tests.system.process import eventually, free_port
from tests.system.requirements import Requirements
from tests.system.web_proxies import listens


def _server(processes: Processes, folder: Path, name: str, backend: peers.Backend) -> int:
    port = free_port()
    joining = configuration.service(f"ws://0.0.0.0:{port}/app", f"tcp://127.0.0.1:{backend.port}")
    processes.gateway(configuration.write(folder / f"{name}.xml", joining)).started()
    return port


def test_a_cookie_keeps_to_one_server(processes: Processes, need: Requirements, tmp_path: Path) -> None:
    """Without cookies haproxy would give each connection to the other server."""

    def says(text: bytes) -> peers.Handler:
        def handler(connection: object) -> None:
            connection.sendall(text)  # type: ignore[attr-defined]

        return handler

    with peers.Backend(says(b"one")) as one, peers.Backend(says(b"two")) as two:
        ports = [_server(processes, tmp_path, name, each) for name, each in (("a", one), ("b", two))]
        front = free_port()
        file = tmp_path / "haproxy.cfg"
        file.write_text(
            "defaults\n mode http\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n"
            f"listen front\n bind 127.0.0.1:{front}\n balance roundrobin\n cookie SRV insert indirect\n"
            + "".join(f" server s{port} 127.0.0.1:{port} cookie s{port}\n" for port in ports)
        )
        processes.start([need.program("haproxy"), "-db", "-f", file])
        eventually(lambda: listens(front), "haproxy listens")
        seen: dict[int, list[bytes]] = {}
        for kept in (50, 0):
            near = free_port()
            options = {"span.mode": "never", "http.maximum.cookies": kept}
            joining = configuration.service(
                f"tcp://127.0.0.1:{near}", f"ws://127.0.0.1:{front}/app", connect_options=options
            )
            processes.gateway(configuration.write(tmp_path / f"client-{kept}.xml", joining)).started()
            seen[kept] = []
            for _ in range(6):
                with peers.connect(near) as client:
                    seen[kept].append(peers.read_exactly(client, 3))
        assert len(set(seen[50])) == 1
        assert set(seen[0]) == {b"one", b"two"}


def test_a_redirect_to_the_server(
    processes: Processes, need: Requirements, tmp_path: Path, authority: Authority
) -> None:
    with peers.Backend(peers.echo) as backend:
        port, front, near = free_port(), free_port(), free_port()
        uri = f"wss://localhost:{port}/app"
        joining = configuration.service(
            uri, f"tcp://127.0.0.1:{backend.port}", accept_options={"wss.bind": f"127.0.0.1:{port}"}
        )
        keystore = configuration.security(keystore=authority.server("localhost"))
        processes.gateway(configuration.write(tmp_path / "server.xml", joining, keystore)).started()
        file = tmp_path / "nginx.conf"
        file.write_text(
            f"daemon off;\npid {tmp_path}/nginx.pid;\nerror_log stderr;\nevents {{}}\n"
            f"http {{ access_log off;\nserver {{ listen 127.0.0.1:{front};\n"
            f"return 307 https://localhost:{port}$request_uri; }} }}\n"
        )
        processes.start([need.program("nginx"), "-c", file, "-p", tmp_path])
        eventually(lambda: listens(front), "nginx listens")
        joining = configuration.service(
            f"tcp://127.0.0.1:{near}",
            f"ws://127.0.0.1:{front}/app",
            connect_options={"http.maximum.redirects": 1},
        )
        truststore = configuration.security(truststore=authority.truststore)
        processes.gateway(configuration.write(tmp_path / "client.xml", joining, truststore)).started()
        for _ in range(2):
            with peers.connect(near) as client:
                client.sendall(b"hello")
                assert peers.read_exactly(client, 5) == b"hello"


def test_a_front_that_knows_the_gateway_by_other_names(
    processes: Processes, tmp_path: Path, authority: Authority
) -> None:
    """The URI names the gateway; TLS, Host, path and the place to go are those of the front."""
    with peers.Backend(peers.echo) as backend:
        port, near = free_port(), free_port()
        joining = configuration.service(
            "wss://inner.example.com/inner",
            f"tcp://127.0.0.1:{backend.port}",
            accept_options={"wss.bind": f"127.0.0.1:{port}"},
        )
        keystore = configuration.security(keystore=authority.server("front.example.com"))
        processes.gateway(configuration.write(tmp_path / "server.xml", joining, keystore)).started()
        joining = configuration.service(
            f"tcp://127.0.0.1:{near}",
            "wss://gw.example.com/app",
            connect_options={
                "tcp.transport": f"tcp://127.0.0.1:{port}",
                "ssl.server-name": "front.example.com",
                "http.host": "inner.example.com",
                "http.path": "/inner",
                "http.headers": "X-Tenant: blue || X-Other: red",
            },
        )
        truststore = configuration.security(truststore=authority.truststore)
        processes.gateway(configuration.write(tmp_path / "client.xml", joining, truststore)).started()
        with peers.connect(near) as client:
            client.sendall(b"hello")
            assert peers.read_exactly(client, 5) == b"hello"
