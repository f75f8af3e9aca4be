"""Where an accept really listens, and where a connect comes from."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from isthmus import uri
from isthmus.errors import UriError


@dataclass(frozen=True, slots=True)
class Bind:
    """Where an accept really listens: the value of a `SCHEME.bind` option.

    `8050` means port 8050 of every IPv4 address (Kaazing's rule); `host:port` is taken as it is.
    """

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Bind:
        """Read a bind. Raises `UriError`."""
        text = text.strip()
        if re.fullmatch(r"[0-9]+", text):
            host, port = uri.split_host_port(f"0.0.0.0:{text}", text)
        else:
            host, port = uri.split_host_port(text, text)
        if port is None:
            raise UriError(f"{text!r} is not a bind; write a port (8050) or host:port (10.0.0.1:8050)")
        return cls(host, port)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse_local(cls, text: str) -> Bind:
        """Read the local end of a connect: an IP address of this machine, with or without a port.

        Without one (port 0) the kernel chooses. Raises `UriError`.
        """
        text = text.strip()
        if re.fullmatch(r"[0-9]+", text):
            return cls.parse(text)
        if text.count(":") > 1 and not text.startswith("["):
            text = f"[{text}]"
        host, port = uri.split_host_port(text, text)
        try:
            ipaddress.ip_address(host)
        except ValueError:
            raise UriError(f"{text!r} is not an IP address of this machine") from None
        return cls(host, port or 0)
