"""Real proxies for tests: squid, tinyproxy, dante, each on a port of this machine until its scope ends."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from tests.system import peers
from tests.system.pair import Processes
from tests.system.process import Process, eventually, free_port, run
from tests.system.requirements import Requirements

USER, PASSWORD = "alice", "open sesame"
GATEWAY_NAME = "gw.example.com"
"""A name that only squid knows: it is this machine there."""
_HELPERS = Path("/usr/lib/squid")
_REALM = "the web"


def credentials_file(folder: Path, user: str = USER, password: str = PASSWORD) -> Path:
    """Write a file that says who we are to any proxy."""
    file = folder / f"credentials-{user}"
    file.write_text(f'default login {user} password "{password}"\n')
    file.chmod(0o600)
    return file


def listens(port: int) -> bool:
    try:
        peers.connect(port).close()
    except OSError:
        return False
    return True


def _started(processes: Processes, command: Sequence[str | Path], port: int) -> Process:
    process = processes.start(command)

    def ready() -> bool:
        assert process.running, f"{command[0]} has ended:\n{process.text}"
        return listens(port)

    eventually(ready, f"{command[0]} listens")
    return process


class Squid:
    """A squid that asks who one is by `scheme`: "", Basic, Digest, NTLM, or several of them.

    `rules` are put before what allows all.
    """

    def __init__(self, processes: Processes, need: Requirements, *schemes: str, rules: str = "") -> None:
        self.port = free_port()
        folder = processes.public_folder()
        self.log = folder / "access.log"
        (folder / "hosts").write_text(f"127.0.0.1 {GATEWAY_NAME} other.example.com\n")
        lines = [
            f"http_port 127.0.0.1:{self.port}",
            "pid_filename none",
            f"access_log stdio:{self.log}",
            f"cache_log {folder / 'cache.log'}",
            f"hosts_file {folder / 'hosts'}",
            "cache deny all",
            "shutdown_lifetime 0 seconds",
            f"coredump_dir {folder}",
            "dns_nameservers 127.0.0.1",
            "dns_timeout 1 seconds",
            "connect_timeout 5 seconds",
            *self._authentication(need, folder, schemes),
            rules,
            "acl known proxy_auth REQUIRED\nhttp_access allow known" if schemes else "http_access allow all",
            "http_access deny all",
        ]
        file = folder / "squid.conf"
        file.write_text("\n".join(lines) + "\n")
        _started(processes, [need.program("squid"), "-N", "-f", file], self.port)

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def said(self) -> list[str]:
        """Return what it answered so far: `TCP_TUNNEL/200` and so on."""
        return [line.split()[3] for line in self.log.read_text().splitlines()] if self.log.exists() else []

    def _authentication(self, need: Requirements, folder: Path, schemes: Sequence[str]) -> list[str]:
        lines: list[str] = []
        for scheme in schemes:
            name = scheme.lower()
            if name == "basic":
                (folder / "htpasswd").write_text(f"{USER}:{_apr1(PASSWORD)}\n")
                helper = f"{_HELPERS / 'basic_ncsa_auth'} {folder / 'htpasswd'}"
            elif name == "digest":
                secret = hashlib.md5(f"{USER}:{_REALM}:{PASSWORD}".encode()).hexdigest()
                (folder / "htdigest").write_text(f"{USER}:{_REALM}:{secret}\n")
                helper = f"{_HELPERS / 'digest_file_auth'} -c {folder / 'htdigest'}"
            else:
                helper = f"{_HELPERS / 'ntlm_fake_auth'}"
            need.that(Path(helper.split()[0]).exists(), f"squid has no {helper.split()[0]}")
            lines += [f"auth_param {name} program {helper}", f"auth_param {name} children 2 startup=1"]
            if name != "ntlm":
                lines.append(f"auth_param {name} realm {_REALM}")
        return lines


class Tinyproxy:
    """A tinyproxy; `password` says whether it asks for one (Basic)."""

    def __init__(
        self, processes: Processes, need: Requirements, folder: Path, *, password: bool = False
    ) -> None:
        self.port = free_port()
        lines = [f"Port {self.port}", "Listen 127.0.0.1", "Timeout 60", "Allow 127.0.0.1", "MaxClients 50"]
        if password:
            lines.append(f"BasicAuth {USER} {PASSWORD.replace(' ', '')}")
        file = folder / "tinyproxy.conf"
        file.write_text("\n".join(lines) + "\n")
        _started(processes, [need.program("tinyproxy"), "-d", "-c", file], self.port)

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class Dante:
    """A dante (SOCKS 4 and 5); `password` says whether it asks for one, which is that of a user of this
    machine.
    """

    def __init__(
        self,
        processes: Processes,
        need: Requirements,
        *,
        password: bool = False,
        rules: str = "",
    ) -> None:
        self.port = free_port()
        folder = processes.public_folder()
        file = folder / "danted.conf"
        file.write_text(
            f"logoutput: {folder / 'danted.log'}\n"
            f"internal: 127.0.0.1 port = {self.port}\n"
            "external: lo\n"
            f"socksmethod: {'username' if password else 'none'}\n"
            "clientmethod: none\n"
            "user.privileged: root\nuser.unprivileged: nobody\n"
            "client pass { from: 127.0.0.0/8 to: 127.0.0.0/8 }\n"
            f"{rules}\n"
            "socks pass { from: 127.0.0.0/8 to: 0.0.0.0/0 protocol: tcp }\n"
        )
        _started(processes, [need.program("danted"), "-f", file], self.port)

    @property
    def uri(self) -> str:
        return f"socks://127.0.0.1:{self.port}"


def tls_before(processes: Processes, need: Requirements, folder: Path, certificate: Path, port: int) -> int:
    """Start a haproxy that ends TLS before what listens on `port`; return its own port."""
    own = free_port()
    file = folder / f"haproxy-{own}.cfg"
    file.write_text(
        "defaults\n mode tcp\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n"
        f"listen tls\n bind 127.0.0.1:{own} ssl crt {certificate}\n server behind 127.0.0.1:{port}\n"
    )
    _started(processes, [need.program("haproxy"), "-db", "-f", file], own)
    return own


def _apr1(password: str) -> str:
    made = run(["openssl", "passwd", "-apr1", password])
    assert made.code == 0, made.errors
    return made.output.decode().strip()
