"""The place of a process: what tells the gateways behind one balancer apart (docs/span.md section 1).

The first half names the node and is the same after a restart, so that a client learns at once that its
streams are lost; the second half names the process. A machine's identity is hashed and stays unknown.
"""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterable
from pathlib import Path

_MACHINE = Path("/etc/machine-id")  # machine-id(5)


def place_of(node: str | None, addresses: Iterable[str]) -> bytes:
    """Return the 16 bytes of this process.

    `node` is the name that the configuration gives it; without one, the machine and the `addresses` that are
    listened on stand for it.
    """
    name = f"name {node}" if node else "\n".join((_machine(), socket.gethostname(), *sorted(addresses)))
    return hashlib.sha256(f"isthmus node {name}".encode()).digest()[:8] + os.urandom(8)


def _machine() -> str:
    try:
        return _MACHINE.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""
