"""traffic.py: what goes with what."""

from __future__ import annotations

import pytest
from tests.flow.gateways import service

from isthmus.config.traffic import datagram_connect, joins, leads_to, stream_connect
from isthmus.uri import parse

UDP, WS, TCP = "udp://localhost:1", "ws://localhost:2/", "tcp://localhost:3"


@pytest.mark.parametrize(
    ("accept", "connect", "fit"),
    [
        (UDP, UDP, True),
        (UDP, WS, True),
        (WS, UDP, True),
        (WS, WS, True),
        (TCP, WS, True),
        (TCP, TCP, True),
        (UDP, TCP, False),
        (TCP, UDP, False),
    ],
)
def test_datagrams_go_with_datagrams(accept: str, connect: str, fit: bool) -> None:
    assert joins(parse(accept), parse(connect)) is fit


@pytest.mark.parametrize(
    ("accepts", "connects", "streams", "flows", "unused"),
    [
        ([TCP], [WS], WS, None, []),
        ([UDP], [WS], None, WS, []),
        ([TCP, UDP], [WS], WS, WS, []),
        ([WS], [TCP, UDP], TCP, UDP, []),
        ([WS], [UDP, TCP], TCP, UDP, []),
        ([WS, UDP], [UDP], None, UDP, []),
        ([WS, UDP], [WS], WS, WS, []),
        ([TCP, UDP], [TCP, UDP], TCP, UDP, []),
        ([TCP], [TCP, UDP], TCP, UDP, [UDP]),
        ([UDP], [TCP, UDP], None, UDP, [TCP]),
    ],
)
def test_where_each_goes(
    accepts: list[str], connects: list[str], streams: str | None, flows: str | None, unused: list[str]
) -> None:
    made = service("proxy", accepts, connects[0])
    made = made.model_copy(update={"connects": tuple(map(parse, connects))})
    assert made.streams is (streams is not None)
    assert made.datagrams is (flows is not None)
    if streams is not None:
        assert stream_connect(made) == parse(streams)
    if flows is not None:
        assert datagram_connect(made) == parse(flows)
    assert [str(each) for each in made.connects if not leads_to(made, each)] == [
        str(parse(each)) for each in unused
    ]
