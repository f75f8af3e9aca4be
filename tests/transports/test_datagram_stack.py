"""The table of what datagrams can be connected to."""

from __future__ import annotations

import ssl

import pytest

from isthmus.config.model import ConnectOptions, GatewayOptions
from isthmus.transports.datagram_stack import datagram_connector
from isthmus.transports.datagrams import DatagramCounters
from isthmus.transports.span.limits import Budgets
from isthmus.transports.udp_connect import UdpConnector
from isthmus.transports.ws_datagrams import Freshness, WebSocketFlowConnector
from isthmus.uri import parse


@pytest.mark.parametrize(
    ("uri", "kind"),
    [
        ("udp://127.0.0.1:53", UdpConnector),
        ("ws://127.0.0.1:80/dns", WebSocketFlowConnector),
        ("wss://127.0.0.1:443/dns", WebSocketFlowConnector),
    ],
)
async def test_the_table(uri: str, kind: type) -> None:
    connector = datagram_connector(
        parse(uri),
        ConnectOptions(),
        Freshness(0.05, 65536),
        DatagramCounters(),
        lambda _: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        "layer",
        Budgets.of(GatewayOptions()),
    )
    assert type(connector) is kind
    assert connector.address == parse(uri)
