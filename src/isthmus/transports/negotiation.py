"""What is said to one proxy until it has opened the way: the contract of `http_connect` and `socks`.

Bytes in, bytes out, no sockets and no clock: `tunnel` brings them together with a connection.
"""

from __future__ import annotations

from typing import Protocol

from isthmus.errors import IsthmusError


class Refused(IsthmusError):
    """A proxy does not open the way, or does not speak as it should.

    The text is the end of a sentence about the proxy: "it answers 403 Forbidden". `status` is what a Web
    client of ours is told.
    """

    def __init__(self, message: str, *, hint: str = "", status: int = 502) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class Negotiation(Protocol):
    """One conversation with a proxy. `start` once, then `receive` whatever comes until `opened`."""

    opened: bool
    """Whether the way is open: all further bytes are the destination's."""
    rest: bytes
    """Once `opened`: what came behind the proxy's answer."""
    again: bool
    """Whether the proxy wants this said over another connection: connect again, then `start` again."""

    @property
    def slow(self) -> bool:
        """Whether what is next, `start` or `receive`, may wait for others (Kerberos asks its KDC).

        Then it is to be called off the loop.
        """

    def start(self) -> bytes:
        """Return what is sent first. Raises `Refused`."""

    def receive(self, data: memoryview) -> bytes:
        """Take what came, however it is cut, and return what is to be sent now. Raises `Refused`."""

    def ended(self) -> None:
        """The proxy ended the connection before the way was open: `again` is set, or `Refused` raised."""
