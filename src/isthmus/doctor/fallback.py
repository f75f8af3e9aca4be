"""What remains where a WebSocket cannot be opened: the one place that says so."""

from __future__ import annotations

from isthmus.uri import Address


def when_blocked(address: Address) -> str:
    """Return what to do where the way does not let a WebSocket to `address` through."""
    kind = "" if address.kind.secure else ", or use wss, into which a box on the way cannot look"
    return (
        f"ask for WebSocket (HTTP Upgrade, RFC 6455) to {address.host_port} to be let through unchanged{kind}"
    )
