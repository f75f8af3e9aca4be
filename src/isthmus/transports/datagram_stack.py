"""From an address to the far side of flows: the visible table of what datagrams can be connected to.

scheme      the far side of a flow
-----------------------------------------------------------------------------
udp         a connected socket; to a multicast group one that is not connected
ws, wss     a WebSocket, each message one datagram
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from isthmus.config.model import ConnectOptions
from isthmus.transports.datagrams import DatagramConnector, DatagramCounters
from isthmus.transports.span.limits import Budgets
from isthmus.transports.stack import ClientContext, connector
from isthmus.transports.udp_connect import UdpConnector
from isthmus.transports.ws_datagrams import Freshness, WebSocketFlowConnector
from isthmus.uri import Address

if TYPE_CHECKING:
    from isthmus.transports.tls import Kind


def datagram_connector(
    address: Address,
    options: ConnectOptions,
    freshness: Freshness,
    counters: DatagramCounters,
    client_context: ClientContext,
    tls_kind: Kind,
    budgets: Budgets,
) -> DatagramConnector:
    """Return what makes the far sides of flows to `address`; otherwise as `stack.connector`."""
    if address.scheme == "udp":
        return UdpConnector(address, options, counters)
    plain = options.model_copy(update={"span_mode": "never"})  # span has no flows yet
    below = connector(address, plain, client_context, tls_kind, budgets)
    return WebSocketFlowConnector(below, freshness, counters)
