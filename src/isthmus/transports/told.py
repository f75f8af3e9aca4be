"""A transport that says it comes from where a balancer says: everything above sees the original client."""

from __future__ import annotations

from typing import Any

from isthmus.transports.base import Origin, Transport


def told(transport: Transport, origin: Origin) -> Transport:
    """Return `transport`, whose `info` names `origin` as its ends."""
    return _Told(transport, origin)


class _Told:
    """All methods but `info` are those of the transport below themselves: what is written takes no detour."""

    __slots__ = (
        "_info",
        "_origin",
        "abort",
        "close",
        "pause_reading",
        "resume_reading",
        "set_receiver",
        "set_write_limit",
        "unsent",
        "write",
        "write_eof",
        "writelines",
    )

    def __init__(self, below: Transport, origin: Origin) -> None:
        self._origin = origin
        self._info = below.info
        self.abort = below.abort
        self.close = below.close
        self.pause_reading = below.pause_reading
        self.resume_reading = below.resume_reading
        self.set_receiver = below.set_receiver
        self.set_write_limit = below.set_write_limit
        self.unsent = below.unsent
        self.write = below.write
        self.write_eof = below.write_eof
        self.writelines = below.writelines

    def info(self, name: str) -> Any:
        if name == "peername":
            return self._origin.source
        return self._origin.destination if name == "sockname" else self._info(name)
