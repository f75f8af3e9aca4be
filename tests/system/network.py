"""The whitepaper's network: two cloud instances, each with an internal and an external address.

    client namespace                 cloud namespace                    server namespace
    eth0 192.0.2.0/32  ----veth---- routes, nftables ----veth----  eth0 192.0.2.20/32
                                    192.0.2.1  <-> 192.0.2.0
                                    192.0.2.21 <-> 192.0.2.20

As in a public cloud an instance knows its internal address only. The cloud rewrites: what goes to an
external address arrives at the internal one, and what leaves comes from the external one. Nothing else is
let through, so that an internal address cannot be reached from the other side. All of it lives in
namespaces; the machine's own network is not touched.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import secrets
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

from tests.system.process import Finished, environment, run

CLIENT_INTERNAL, CLIENT_EXTERNAL = "192.0.2.0", "192.0.2.1"
SERVER_INTERNAL, SERVER_EXTERNAL = "192.0.2.20", "192.0.2.21"

_CLONE_NEWNET = 0x40000000
_ROUTER = "198.51.100.1"
_PREFIX = "isthmus-test"
_NFTABLES = f"""
table ip cloud {{
    chain incoming {{
        type nat hook prerouting priority dstnat;
        ip daddr {CLIENT_EXTERNAL} dnat to {CLIENT_INTERNAL}
        ip daddr {SERVER_EXTERNAL} dnat to {SERVER_INTERNAL}
    }}
    chain outgoing {{
        type nat hook postrouting priority srcnat;
        ip saddr {CLIENT_INTERNAL} snat to {CLIENT_EXTERNAL}
        ip saddr {SERVER_INTERNAL} snat to {SERVER_EXTERNAL}
    }}
    chain between {{
        type filter hook forward priority filter; policy drop;
        ct state established,related accept
        ct status dnat accept
    }}
}}
"""

Result = TypeVar("Result")


class Namespace:
    """One network namespace, with its loopback up."""

    def __init__(self, name: str) -> None:
        self.name = name
        _ip("netns", "add", name)
        self.ip("link", "set", "lo", "up")
        self._inside = ThreadPoolExecutor(1, thread_name_prefix=name, initializer=_enter, initargs=(name,))

    @property
    def prefix(self) -> list[str]:
        """What to put before a command to run it here."""
        return ["ip", "netns", "exec", self.name]

    def with_hosts(self, file: Path) -> list[str]:
        """Like `prefix`, with `file` in the place of /etc/hosts."""
        script = 'mount --bind "$0" /etc/hosts && exec "$@"'
        return ["unshare", "--mount", "sh", "-c", script, str(file), *self.prefix]

    def run(self, command: Sequence[str | Path], *, send: bytes = b"") -> Finished:
        """Run a program here to its end."""
        return run([*self.prefix, *command], send=send)

    def call(self, function: Callable[[], Result]) -> Result:
        """Call `function` on a thread that is in this namespace: a socket made there stays here."""
        return self._inside.submit(function).result()

    def connect(self, host: str, port: int) -> socket.socket:
        """Return a TCP connection made from here."""
        return self.call(lambda: socket.create_connection((host, port), timeout=20))

    def listen(self, host: str, port: int) -> socket.socket:
        """Return a listening TCP socket that lives here."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return self.call(lambda: socket.create_server((host, port), family=family))

    def ip(self, *arguments: str) -> None:
        """Run `ip` here."""
        _ip("-n", self.name, *arguments)

    def remove(self) -> None:
        """End whatever still runs here, then the namespace."""
        self._inside.shutdown()
        _remove(self.name)


@dataclass(frozen=True)
class Network:
    """The two instances and what lies between them."""

    client: Namespace
    cloud: Namespace
    server: Namespace


@contextlib.contextmanager
def whitepaper_network() -> Iterator[Network]:
    """Make the network of the whitepaper, and take it down."""
    _sweep()
    suffix = f"{os.getpid()}-{secrets.token_hex(3)}"
    with contextlib.ExitStack() as made:

        def namespace(role: str) -> Namespace:
            new = Namespace(f"{_PREFIX}-{suffix}-{role}")
            made.callback(new.remove)
            return new

        network = Network(namespace("client"), namespace("cloud"), namespace("server"))
        cloud = network.cloud
        cloud.ip("address", "add", f"{_ROUTER}/32", "dev", "lo")
        for role, instance, address in (
            ("client", network.client, CLIENT_INTERNAL),
            ("server", network.server, SERVER_INTERNAL),
        ):
            cloud.ip("link", "add", role, "type", "veth", "peer", "name", "eth0", "netns", instance.name)
            cloud.ip("link", "set", role, "up")
            instance.ip("link", "set", "eth0", "up")
            instance.ip("address", "add", f"{address}/32", "dev", "eth0")
            instance.ip("route", "add", "default", "via", _ROUTER, "dev", "eth0", "onlink")
            cloud.ip("route", "add", f"{address}/32", "dev", role)
        for setting in (
            "all.forwarding=1",
            "all.send_redirects=0",
            "client.send_redirects=0",
            "server.send_redirects=0",
        ):
            _done([*cloud.prefix, "sysctl", "-qw", f"net.ipv4.conf.{setting}"])
        _done([*cloud.prefix, "nft", "-f", "-"], _NFTABLES)
        yield network


@contextlib.contextmanager
def own_network(**settings: str) -> Iterator[None]:
    """Have the calling thread, and what it starts, in a network of its own: a loopback, and these settings.

    A setting is named without its `net.ipv4`: tcp_rmem="4096 131072 524288".
    """
    _sweep()
    namespace = Namespace(f"{_PREFIX}-{os.getpid()}-{secrets.token_hex(3)}-own")
    with open("/proc/thread-self/ns/net", "rb") as before, contextlib.ExitStack() as made:
        made.callback(namespace.remove)
        for name, value in settings.items():
            _done([*namespace.prefix, "sysctl", "-qw", f"net.ipv4.{name}={value}"])
        _enter(namespace.name)
        made.callback(_move, before)
        yield


def _ip(*arguments: str) -> None:
    _done(["ip", *arguments])


def _done(command: Sequence[str], send: str = "") -> None:
    outcome = _output(command, send)
    assert outcome.returncode == 0, f"{' '.join(command)}: {outcome.stderr}"


def _output(command: Sequence[str], send: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, input=send, text=True, capture_output=True, timeout=20, env=environment())


def _remove(name: str) -> None:
    listed = _output(["ip", "netns", "pids", name]).stdout
    for pid in map(int, listed.split()):
        if pid != os.getpid():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)
    _output(["ip", "netns", "delete", name])


def _sweep() -> None:
    """Remove the namespaces of test processes that were killed."""
    listed = _output(["ip", "netns", "list"]).stdout
    for name in re.findall(rf"^{_PREFIX}-\d+-\S+", listed, re.M):
        if not Path(f"/proc/{name.removeprefix(_PREFIX).split('-')[1]}").exists():
            _remove(name)


def _enter(name: str) -> None:
    """Move the calling thread, and it alone, into a namespace."""
    with open(f"/run/netns/{name}", "rb") as file:
        _move(file)


def _move(namespace: BinaryIO) -> None:
    if sys.version_info >= (3, 12):
        os.setns(namespace.fileno(), _CLONE_NEWNET)
        return
    if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), f"cannot enter the namespace {namespace.name}")
