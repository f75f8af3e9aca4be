"""Two network namespaces and a link between them that has a delay, a rate, a queue, and bad days.

    client namespace: 198.51.100.1 --- link --- 198.51.100.2 :server namespace

The machine's own network is not touched.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.system.network import Namespace
from tests.system.process import PATIENCE, Process

CLIENT, CLIENT_MOVED, SERVER = "198.51.100.1", "198.51.100.3", "198.51.100.2"


class Link(Process):
    """The program span_link.py: commands are obeyed when `tell` returns."""

    def __init__(self, first: Namespace, second: Namespace, delay: float) -> None:
        program = Path(__file__).with_name("span_link.py")
        super().__init__([sys.executable, program, first.name, second.name, "--delay", str(delay)])
        self.wait_for("linked")

    def tell(self, command: str) -> None:
        before = len(self.lines)
        self.say(command.encode() + b"\n")
        self._wait_until(
            lambda: True if f"ok {command}" in self.lines[before:] else None, f"obeyed {command}", PATIENCE
        )


class FarNetwork:
    """Where the client gateway lives, where the server gateway lives, and the link."""

    def __init__(self, client: Namespace, server: Namespace, link: Link) -> None:
        self.client = client
        self.server = server
        self.link = link

    def move_client(self) -> None:
        """Give the client another address and take away the one it had, as another Wi-Fi does."""
        held, new = (CLIENT, CLIENT_MOVED) if not self._moved else (CLIENT_MOVED, CLIENT)
        self.client.ip("address", "add", f"{new}/32", "dev", "tun0")
        self.client.ip("address", "del", f"{held}/32", "dev", "tun0")
        self.client.ip("route", "replace", "default", "dev", "tun0", "src", new)
        self._moved = not self._moved

    _moved = False


@contextlib.contextmanager
def far_network(
    *, delay: float = 0.0, rate: str = "", queue: str = "200ms", burst: str = "16kb", mtu: int = 1500
) -> Iterator[FarNetwork]:
    """Make both namespaces. `delay` is one way, in seconds; `rate` and `queue` are as `tc` writes them."""
    suffix = f"{os.getpid()}-{secrets.token_hex(3)}"
    with contextlib.ExitStack() as made:
        names = []
        for role in ("near", "far"):
            namespace = Namespace(f"isthmus-test-{suffix}-{role}")
            made.callback(namespace.remove)
            names.append(namespace)
        client, server = names
        link = made.enter_context(Link(client, server, delay))
        for namespace, address in ((client, CLIENT), (server, SERVER)):
            namespace.ip("link", "set", "tun0", "up", "mtu", str(mtu), "txqueuelen", "2000")
            namespace.ip("address", "add", f"{address}/32", "dev", "tun0")
            namespace.ip("route", "add", "default", "dev", "tun0")
            if rate:
                shaping = ["rate", rate, "burst", burst, "latency", queue]
                shaped = namespace.run(["tc", "qdisc", "add", "dev", "tun0", "root", "tbf", *shaping])
                assert shaped.code == 0, shaped.errors
        yield FarNetwork(client, server, link)
