"""Which accepts and connects of a service go together: datagrams with datagrams, streams with streams.

A WebSocket carries either, so it goes with both.
"""

from __future__ import annotations

from isthmus.config.model import Service
from isthmus.uri import Address


def joins(accept: Address, connect: Address) -> bool:
    """Tell whether what comes at `accept` can go to `connect`."""
    if accept.kind.datagrams or connect.kind.datagrams:
        return all(each.kind.datagrams or each.scheme in ("ws", "wss") for each in (accept, connect))
    return True


def stream_connect(service: Service) -> Address:
    """Return where the streams of a proxy go."""
    return next((each for each in service.connects if not each.kind.datagrams), service.connects[0])


def datagram_connect(service: Service) -> Address:
    """Return where the flows of a proxy go: the connect that is udp, else its WebSocket."""
    return next((each for each in service.connects if each.kind.datagrams), service.connects[0])


def leads_to(service: Service, connect: Address) -> bool:
    """Tell whether anything that comes at the accepts of a proxy goes to this one of its connects."""
    if connect.kind.datagrams:
        return any(joins(accept, connect) for accept in service.accepts)
    others = [each for each in service.connects if each.kind.datagrams]
    return any(not (accept.kind.datagrams and others) for accept in service.accepts)
