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

    def __init__(self, first: Namespace, second: Namespace, *settings: str) -> None:
        program = Path(__file__).with_name("span_link.py")
        super().__init__([sys.executable, program, first.name, second.name, *settings])
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
    *, delay: float = 0.0, rate: float = 0.0, queue: float = 0.2, congestion: str = ""
) -> Iterator[FarNetwork]:
    """Make both namespaces. `delay` is one way, in seconds, `rate` in bits a second, the `queue` in seconds.

    `congestion` is the control that connections have by default, where it is not the machine's own.
    """
    suffix = f"{os.getpid()}-{secrets.token_hex(3)}"
    with contextlib.ExitStack() as made:
        names = []
        for role in ("near", "far"):
            namespace = Namespace(f"isthmus-test-{suffix}-{role}")
            made.callback(namespace.remove)
            names.append(namespace)
        client, server = names
        settings = {"--delay": delay, "--rate": rate / 8, "--queue": queue}
        words = [word for name, value in settings.items() for word in (name, str(value))]
        link = made.enter_context(Link(client, server, *words))
        for namespace, address in ((client, CLIENT), (server, SERVER)):
            namespace.ip("link", "set", "tun0", "up", "txqueuelen", "2000")
            namespace.ip("address", "add", f"{address}/32", "dev", "tun0")
            control = ["congctl", congestion] if congestion else []
            namespace.ip("route", "add", "default", "dev", "tun0", *control)
        yield FarNetwork(client, server, link)
