"""`isthmus doctor` as a process, with real programs on the way, and what it recommends run for real."""

from __future__ import annotations

import json
import os
import secrets
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.system import configuration, peers
from tests.system.certificates import Authority
from tests.system.middlebox import Middlebox
from tests.system.network import Namespace
from tests.system.pair import Processes
from tests.system.process import ISTHMUS, eventually, free_port, isthmus_command, run
from tests.system.requirements import Requirements
from tests.system.web_proxies import (
    GATEWAY_NAME,
    PASSWORD,
    Dante,
    Squid,
    Tinyproxy,
    credentials_file,
    listens,
)


class Seen:
    """The report of one visit."""

    def __init__(self, *arguments: str | Path, prefix: tuple[str, ...] = (), cwd: Path | None = None) -> None:
        finished = run([*prefix, *ISTHMUS, "doctor", *arguments, "--json"], cwd=cwd)
        self.all = finished.output.decode() + finished.errors
        assert finished.output, self.all
        self.report: dict[str, Any] = json.loads(finished.output)
        self.code = finished.code
        self.findings = {each["examination"]: each for each in self.report["findings"]}
        self.command: str = self.report["recommendation"]["command"]
        self.toml: str = self.report["recommendation"]["toml"]

    def verdict(self, name: str) -> str:
        return str(self.findings[name]["verdict"])

    def seen(self, name: str) -> str:
        return str(self.findings[name]["seen"])

    def advice(self, name: str) -> str:
        return str(self.findings[name]["advice"])


@pytest.fixture
def backend() -> Iterator[peers.Backend]:
    with peers.Backend(peers.echo) as made:
        yield made


def gateway(
    processes: Processes,
    folder: Path,
    backend: peers.Backend,
    *,
    host: str = GATEWAY_NAME,
    authority: Authority | None = None,
    **options: object,
) -> tuple[str, int]:
    """Start a gateway; return its URI and its port."""
    port = free_port()
    scheme = "ws" if authority is None else "wss"
    uri = f"{scheme}://{host}:{port}/app"
    own = {
        f"{scheme}.bind": f"127.0.0.1:{port}",
        **{name.replace("_", "."): v for name, v in options.items()},
    }
    joining = configuration.service(uri, f"tcp://127.0.0.1:{backend.port}", accept_options=own)
    secure = [] if authority is None else [configuration.security(keystore=authority.server(host))]
    processes.gateway(configuration.write(folder / f"server-{port}.xml", joining, *secure)).started()
    return uri, port


def check_recommended(
    processes: Processes, seen: Seen, folder: Path, accept: int, *, command: bool = True
) -> None:
    """What is recommended is checked, and carries bytes: the file first, then the command."""
    file = folder / "recommended.toml"
    file.write_text(seen.toml)
    checked = isthmus_command("check", file)
    assert checked.code == 0, checked.output.decode()
    ways = [["start", "--config", str(file)], shlex.split(seen.command)[1:]]
    for way in ways if command else ways[:1]:
        process = processes.start([*ISTHMUS, *way], cwd=folder)
        process.wait_for("Started server successfully")
        with peers.connect(accept) as client:
            client.sendall(b"hello")
            assert peers.read_exactly(client, 5) == b"hello", process.text
        process.kill()
        eventually(lambda: not listens(accept), "the port is free again")


def test_from_not_reachable_to_bytes_through_squid(
    processes: Processes, need: Requirements, tmp_path: Path, backend: peers.Backend, authority: Authority
) -> None:
    """Two visits: the first says what is missing, the second that it is there."""
    squid = Squid(processes, need, "Basic", "Digest")
    uri, _ = gateway(processes, tmp_path, backend, authority=authority)
    accept = free_port()
    given: list[str | Path] = [uri, "--proxy", squid.uri, "--truststore", authority.truststore]
    given += ["--accept", f"tcp://127.0.0.1:{accept}"]
    first = Seen(*given, cwd=tmp_path)
    assert first.code == 4
    assert first.verdict("proxy") == "failed"
    assert "it answers 407 Proxy Authentication Required and offers" in first.seen("proxy")
    assert "isthmus can do Basic, Digest" in first.advice("proxy").replace("Digest, Basic", "Basic, Digest")
    assert first.verdict("upgrade") == "left out"
    assert shlex.split(first.command)[-2:] == ["--truststore", str(authority.truststore)]
    assert "--proxy-credentials proxy-credentials" in first.command
    credentials_file(tmp_path).rename(tmp_path / "proxy-credentials")
    second = Seen(*given, "--proxy-credentials", "proxy-credentials", cwd=tmp_path)
    assert second.code == 0, second.all
    assert second.verdict("proxy") == "ok"
    assert "not intercepted" in second.seen("tls")
    assert second.findings["names"]["facts"]["of"] == "the proxy"
    assert second.command == first.command
    assert PASSWORD not in first.all + second.all
    assert any("/407" in each for each in squid.said())
    check_recommended(processes, second, tmp_path, accept)


def test_squid_speaks_ntlm_forbids_and_does_not_reach(
    processes: Processes, need: Requirements, tmp_path: Path, backend: peers.Backend
) -> None:
    uri, _ = gateway(processes, tmp_path, backend)
    squid = Squid(processes, need, "NTLM")
    asked = Seen(uri, "--proxy", squid.uri)
    assert "isthmus can do NTLM" in asked.advice("proxy")
    let_in = Seen(uri, "--proxy", squid.uri, "--proxy-credentials", credentials_file(tmp_path))
    assert let_in.code == 0, let_in.all
    open_squid = Squid(processes, need, rules="acl odd port 81\nhttp_access deny odd")
    forbidden = Seen(f"ws://{GATEWAY_NAME}:81/app", "--proxy", open_squid.uri)
    assert forbidden.code == 4
    assert "it answers 403 Forbidden" in forbidden.seen("proxy")
    unreached = Seen(f"ws://{GATEWAY_NAME}:{free_port()}/app", "--proxy", open_squid.uri)
    assert "503" in unreached.seen("proxy")
    assert "the proxy itself does not reach" in unreached.advice("proxy")


def test_tinyproxy_and_dante(
    processes: Processes, need: Requirements, tmp_path: Path, backend: peers.Backend
) -> None:
    uri, _ = gateway(processes, tmp_path, backend, host="127.0.0.1")
    tinyproxy = Tinyproxy(processes, need, tmp_path, password=True)
    asked = Seen(uri, "--proxy", tinyproxy.uri)
    assert "offers Basic" in asked.seen("proxy")
    wrong = Seen(uri, "--proxy", tinyproxy.uri, "--proxy-credentials", credentials_file(tmp_path))
    assert wrong.code == 4
    assert wrong.advice("proxy") == "it does not take the user name and password: check them"
    dante = Dante(processes, need)
    seen = Seen(uri, "--proxy", dante.uri)
    assert seen.code == 0, seen.all
    assert "opens the way" in seen.seen("proxy")
    asking = Dante(processes, need, password=True)
    refused = Seen(uri, "--proxy", asking.uri)
    assert "it wants to know who we are" in refused.seen("proxy")
    assert "--proxy-credentials" in refused.advice("proxy") + refused.command


def nginx(
    processes: Processes,
    need: Requirements,
    folder: Path,
    port: int,
    *lines: str,
    host: str = GATEWAY_NAME,
    pem: Path | None = None,
) -> int:
    """Start an nginx before `port`, where it asks for `host`; return its own port. `pem`: it ends TLS."""
    own = free_port()
    tls = "" if pem is None else f" ssl; ssl_certificate {pem}; ssl_certificate_key {pem}"
    file = folder / f"nginx-{own}.conf"
    file.write_text(
        f"daemon off;\npid {folder}/nginx-{own}.pid;\nerror_log stderr;\nevents {{}}\n"
        f"http {{ access_log off;\nserver {{ listen 127.0.0.1:{own}{tls};\n"
        f"location / {{ proxy_pass http://127.0.0.1:{port}; proxy_http_version 1.1;\n"
        f"proxy_set_header Host {host}:{port};\n{' '.join(lines)} }} }} }}\n"
    )
    processes.start([need.program("nginx"), "-c", file])
    eventually(lambda: listens(own), "nginx listens")
    return own


UPGRADING = ("proxy_set_header Upgrade $http_upgrade;", 'proxy_set_header Connection "upgrade";')


def test_nginx_as_it_comes_strips_upgrade(
    processes: Processes, need: Requirements, tmp_path: Path, backend: peers.Backend
) -> None:
    """And what is recommended then carries bytes all the same, emulated."""
    _, port = gateway(processes, tmp_path, backend, host="127.0.0.1")
    own, accept = nginx(processes, need, tmp_path, port, host="127.0.0.1"), free_port()
    seen = Seen(f"ws://127.0.0.1:{own}/app", "--accept", f"tcp://127.0.0.1:{accept}")
    assert seen.code == 3, seen.all
    assert "Upgrade is stripped on the way: the gateway got a request without it" in seen.seen("upgrade")
    assert seen.verdict("buffering") == "ok", "it passes on what comes"
    assert seen.verdict("clock") == "ok"
    assert seen.findings["emulation"]["facts"]["way"] == "streaming"
    assert "ws.fallback" not in seen.toml
    check_recommended(processes, seen, tmp_path, accept)


@pytest.mark.parametrize("holds", [False, True], ids=["hands on", "holds"])
@pytest.mark.parametrize(("websocket", "set_there"), [("400", False), ("404", True), ("swallow", True)])
def test_a_box_that_blocks_websockets(
    websocket: str, set_there: bool, holds: bool, processes: Processes, tmp_path: Path, backend: peers.Backend
) -> None:
    """Where a connect does not find it out at once, the file says what is to be done from the start."""
    _, port = gateway(processes, tmp_path, backend, host="0.0.0.0")
    accept = free_port()
    with Middlebox(port, websocket=websocket, holds=holds) as box:
        given = ["--accept", f"tcp://127.0.0.1:{accept}", "--connect-timeout", "4"]
        seen = Seen(f"ws://127.0.0.1:{box.port}/app", *given)
        assert seen.code == 3, seen.all
        assert seen.report["verdict"] == "reachable with warnings"
        way = "short" if holds else "streaming"
        assert seen.findings["emulation"]["facts"]["way"] == way
        assert (f'"ws.fallback" = "{way}"' in seen.toml) == set_there
        tried = box.websockets
        check_recommended(processes, seen, tmp_path, accept, command=not set_there)
        assert (box.websockets == tried) == set_there, "no handshake is wasted"


def test_nothing_stands_in_for_a_websocket(
    processes: Processes, tmp_path: Path, backend: peers.Backend
) -> None:
    _, port = gateway(processes, tmp_path, backend, host="0.0.0.0", ws_emulation="disabled")
    with Middlebox(port, websocket="strip") as box:
        seen = Seen(f"ws://127.0.0.1:{box.port}/app")
    assert seen.code == 4
    assert seen.verdict("emulation") == "failed"
    assert "ws.emulation" in seen.advice("emulation")


def test_upgrade_is_stripped_by_who_ends_tls(
    processes: Processes, need: Requirements, tmp_path: Path, backend: peers.Backend, authority: Authority
) -> None:
    _, port = gateway(processes, tmp_path, backend, host="127.0.0.1")
    pem, accept = authority.server("127.0.0.1"), free_port()
    own = nginx(processes, need, tmp_path, port, host="127.0.0.1", pem=pem)
    given: list[str | Path] = ["--truststore", authority.truststore]
    given += ["--accept", f"tcp://127.0.0.1:{accept}"]
    seen = Seen(f"wss://127.0.0.1:{own}/app", *given)
    assert seen.code == 3, seen.all
    assert seen.findings["emulation"]["facts"]["way"] == "streaming"
    assert "or use wss" not in seen.advice("emulation")
    check_recommended(processes, seen, tmp_path, accept)


def test_nginx_cuts_what_is_silent(
    processes: Processes, need: Requirements, tmp_path: Path, backend: peers.Backend
) -> None:
    """And what is recommended then keeps a connection over the cut-off."""
    _, port = gateway(processes, tmp_path, backend, span_mode="never")
    own = nginx(processes, need, tmp_path, port, *UPGRADING, "proxy_read_timeout 2s;", "proxy_buffering off;")
    accept = free_port()
    seen = Seen(f"ws://127.0.0.1:{own}/app", "--idle", "30", "--accept", f"tcp://127.0.0.1:{accept}")
    assert seen.code == 3, seen.all
    assert seen.verdict("upgrade") == "note"
    assert seen.verdict("buffering") == "ok"
    assert seen.verdict("idle") == "warning"
    facts = seen.findings["idle"]["facts"]
    assert facts["cut"]
    assert facts["seconds"] < 30 / 2
    file = tmp_path / "recommended.toml"
    file.write_text(seen.toml)
    assert isthmus_command("check", file).code == 0
    processes.gateway(file).started()
    with peers.connect(accept) as client:
        client.sendall(b"hello")
        assert peers.read_exactly(client, 5) == b"hello"
        client.settimeout(1.0 + 2 * facts["seconds"])
        with pytest.raises(TimeoutError):  # nothing comes, no end either
            client.recv(1)
        client.settimeout(20)
        client.sendall(b"again")
        assert peers.read_exactly(client, 5) == b"again"


def test_nginx_ends_tls_on_the_way_and_buffers(
    processes: Processes, need: Requirements, tmp_path: Path, backend: peers.Backend, authority: Authority
) -> None:
    """A box that inspects: its authority is one of the system's, as in a company's network."""
    _, port = gateway(processes, tmp_path, backend, host="localhost", authority=authority)
    (tmp_path / "corporate").mkdir()
    inspector = Authority(tmp_path / "corporate")
    own = free_port()
    file, certificate = tmp_path / "nginx.conf", inspector.server("localhost")
    file.write_text(
        f"daemon off;\npid {tmp_path}/nginx.pid;\nerror_log stderr;\nevents {{}}\n"
        f"http {{ access_log off;\nserver {{ listen 127.0.0.1:{own} ssl;\n"
        f"ssl_certificate {certificate}; ssl_certificate_key {certificate};\n"
        f"location / {{ proxy_pass https://127.0.0.1:{port}; proxy_http_version 1.1;\n"
        f"proxy_set_header Host localhost:{port}; {' '.join(UPGRADING)} }} }} }}\n"
    )
    processes.start([need.program("nginx"), "-c", file])
    eventually(lambda: listens(own), "nginx listens")
    uri, roots = f"wss://localhost:{own}/app", f"SSL_CERT_FILE={inspector.truststore}"
    seen = Seen(uri, prefix=("env", roots))
    assert seen.code == 3, seen.all
    assert "but the gateway shows another: TLS ends on the way" in seen.seen("tls")
    assert seen.verdict("upgrade") == "ok"
    assert seen.verdict("buffering") == "warning"
    key = seen.findings["tls"]["facts"]["chain"][0]["key"]
    assert Seen(uri, "--pin", key, prefix=("env", roots)).verdict("tls") == "warning", "it is that key"
    assert Seen(uri, "--pin", "0" * 64, prefix=("env", roots)).code == 4
    refused = Seen(uri, "--truststore", authority.truststore)
    assert refused.code == 4
    assert "a box on the way intercepts TLS" in refused.advice("tls")


def test_a_server_that_is_no_isthmus(processes: Processes) -> None:
    """The `websockets` library: another WebSocket server, which knows neither span nor probes."""
    port = free_port()
    script = (
        "import asyncio\nfrom websockets.asyncio.server import serve\n"
        "async def echo(each):\n    async for message in each: await each.send(message)\n"
        "async def main():\n"
        f"    async with serve(echo, '127.0.0.1', {port}): await asyncio.Future()\n"
        "asyncio.run(main())\n"
    )
    processes.start([ISTHMUS[0], "-c", script])
    eventually(lambda: listens(port), "it listens")
    seen = Seen(f"ws://127.0.0.1:{port}/", "--idle", "1")
    assert seen.code == 0, seen.all
    assert "the server is no isthmus" in seen.seen("upgrade")
    assert seen.verdict("round trip") == "ok"
    assert seen.verdict("throughput") == seen.verdict("buffering") == "left out"
    assert seen.verdict("idle") == "ok"
    assert seen.findings["clock"]["facts"]["source"] == "Date"


# --- networks


@pytest.fixture
def namespace(need: Requirements) -> Iterator[Namespace]:
    need.root()
    for program in ("ip", "nft", "unshare"):
        need.program(program)
    made = Namespace(f"isthmus-test-{os.getpid()}-{secrets.token_hex(3)}-doctor")
    made.ip("address", "add", "203.0.113.7/32", "dev", "lo")
    made.ip("address", "add", "2001:db8::7/128", "dev", "lo", "nodad")
    try:
        yield made
    finally:
        made.remove()


def in_network(namespace: Namespace, folder: Path, rules: str, uri: str, *addresses: str) -> Seen:
    """Look from within a namespace whose filter has `rules` for what comes in."""
    table = f"table inet way {{\nchain in {{\ntype filter hook input priority 0; {rules}\n}}\n}}\n"
    assert namespace.run(["nft", "-f", "-"], send=table.encode()).code == 0
    hosts = folder / "hosts"
    hosts.write_text("".join(f"{each} gw.example.com\n" for each in addresses))
    return Seen(uri, "--connect-timeout", "2", prefix=tuple(namespace.with_hosts(hosts)))


BOTH = ("203.0.113.7", "2001:db8::7")


@pytest.mark.parametrize(
    ("rules", "code", "verdict", "words"),
    [
        ("", 0, "ok", "IPv4 too"),
        ("ip6 daddr 2001:db8::7 tcp dport {port} drop;", 3, "warning", "IPv6 is broken: no answer within"),
        ("ip6 daddr 2001:db8::7 tcp dport {port} reject with icmpv6 no-route;", 0, "note", "IPv6: no route"),
        ("ip6 daddr 2001:db8::7 tcp dport {port} reject with tcp reset;", 0, "note", "connection refused"),
    ],
    ids=["both", "IPv6 drops", "IPv6 has no route", "IPv6 refuses"],
)
def test_two_families(
    rules: str,
    code: int,
    verdict: str,
    words: str,
    namespace: Namespace,
    processes: Processes,
    tmp_path: Path,
    backend: peers.Backend,
) -> None:
    port = free_port()
    accept = f"ws://gw.example.com:{port}/app"
    file = configuration.write(
        tmp_path / "server.xml",
        configuration.service(accept, kind="echo", accept_options={"ws.bind": f"[2001:db8::7]:{port}"}),
    )
    second = configuration.write(
        tmp_path / "second.xml",
        configuration.service(accept, kind="echo", accept_options={"ws.bind": f"203.0.113.7:{port}"}),
    )
    processes.gateway(file, prefix=namespace.prefix).started()
    processes.gateway(second, prefix=namespace.prefix).started()
    seen = in_network(namespace, tmp_path, rules.format(port=port), accept, *BOTH)
    assert seen.verdict("routes") == verdict, seen.all
    assert words in seen.seen("routes")
    assert seen.code == code
    facts = {each["address"]: each for each in seen.findings["routes"]["facts"]["addresses"]}
    assert facts["203.0.113.7"]["interface"] == "lo"
    assert seen.findings["names"]["facts"]["ipv6"] == ["2001:db8::7"]


@pytest.mark.parametrize(
    ("rules", "words", "advice"),
    [
        ("tcp dport 443 drop;", "no answer within", "a firewall drops it"),
        ("tcp dport 443 reject with tcp reset;", "refused", "nothing listens there"),
        ("tcp dport 443 reject with icmp host-prohibited;", "no route", "no way there"),
    ],
    ids=["dropped", "refused", "prohibited"],
)
def test_a_firewall(rules: str, words: str, advice: str, namespace: Namespace, tmp_path: Path) -> None:
    seen = in_network(namespace, tmp_path, rules, "wss://gw.example.com/app", "203.0.113.7")
    assert seen.code == 4
    assert words in seen.seen("routes")
    assert advice in seen.advice("routes")
    assert "--proxy" in seen.advice("routes")
    assert seen.verdict("tls") == "left out"


def test_no_route_at_all(namespace: Namespace, tmp_path: Path) -> None:
    seen = in_network(namespace, tmp_path, "", "wss://gw.example.com/app", "198.51.100.9")
    assert "no route" in seen.seen("routes")
    assert "this machine has no way there" in seen.advice("routes")
