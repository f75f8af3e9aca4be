"""Flows without sockets: what begins them, what crosses, what ends them, what is dropped and counted."""

from __future__ import annotations

import logging
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.services.datagram_fakes import Connector, Incoming, Side, flow_service, on
from tests.transports.memory import Clock

from isthmus import access
from isthmus.errors import StreamReset
from isthmus.services.flows import REPORT_SECONDS, RETRY_SECONDS, WARN_SECONDS, FlowService
from isthmus.transports.datagrams import DatagramCounters


class Scene:
    def __init__(self, *, at_once: bool = False, **options: object) -> None:
        self.clock = Clock()
        self.connector = Connector(self.clock if at_once else None)
        self.counters = DatagramCounters()
        with on(self.clock):
            self.service = FlowService(flow_service(**options), self.connector, self.counters)  # type: ignore[arg-type]

    def come(self, *, early: bool = True, peer: str = "192.0.2.1:1234") -> Incoming:
        incoming = Incoming(early=early, peer=peer)
        self.service.flow(incoming)
        return incoming

    def joined(self, **more: bool) -> tuple[Incoming, Side]:
        incoming = self.come(**more)  # type: ignore[arg-type]
        return incoming, self.connector.dials[-1].succeed()


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    yield
    access.log.setLevel(logging.NOTSET)


# --- what crosses


def test_datagrams_cross_both_ways_in_batches(scene: Scene) -> None:
    client, server = scene.joined()
    client.receive(b"a", b"", b"c")
    assert server.sent == [b"a", b"", b"c"]
    assert server.batches == 1
    server.receive(b"answer")
    assert client.sent == [b"answer"]
    assert scene.counters == DatagramCounters(flows=1, from_client=3, to_client=1)


def test_what_comes_while_the_far_side_is_connected_waits(scene: Scene) -> None:
    client = scene.come()
    client.receive(b"first")
    client.receive(b"second", b"third")
    server = scene.connector.dials[0].succeed()
    assert server.sent == [b"first", b"second", b"third"]
    assert server.batches == 1
    assert scene.counters.dropped == 0


def test_what_waits_is_bounded_and_the_oldest_goes_first() -> None:
    scene = Scene(pending=1000)
    client = scene.come()
    for number in range(20):
        client.receive(bytes([number]) * 100)
    server = scene.connector.dials[0].succeed()
    assert server.sent == [bytes([number]) * 100 for number in range(14, 20)]
    assert scene.counters.dropped_waiting == 14


def test_empty_datagrams_that_wait_are_bounded_too() -> None:
    scene = Scene(pending=1000)
    client = scene.come()
    client.receive(*[b""] * 1000)
    assert len(scene.connector.dials[0].succeed().sent) < 20
    assert scene.counters.dropped_waiting > 980


def test_the_newest_waits_in_any_case() -> None:
    scene = Scene(pending=1000)
    client = scene.come()
    client.receive(bytes(5000))
    assert scene.connector.dials[0].succeed().sent == [bytes(5000)]


def test_a_web_client_is_answered_when_the_far_side_is_there(scene: Scene) -> None:
    client = scene.come(early=False)
    assert client.answered == 0
    scene.connector.dials[0].succeed()
    assert client.answered == 1
    client.receive(b"a")
    assert scene.connector.dials[0].side.sent == [b"a"]


def test_the_far_side_is_told_who_it_is_for(scene: Scene) -> None:
    scene.come(peer="192.0.2.9:53")
    assert scene.connector.dials[0].origin == "192.0.2.9:53"


# --- ends


def test_an_idle_flow_ends() -> None:
    scene = Scene(inactivity_timeout="10 s")
    client, server = scene.joined()
    scene.clock.advance(9)
    assert not client.closed
    scene.clock.advance(1.1)
    assert client.closed
    assert server.closed
    assert scene.service.connections() == 0
    assert scene.counters.idle == 1


@pytest.mark.parametrize("which", ["client", "server"])
def test_datagrams_of_either_side_keep_it(which: str) -> None:
    scene = Scene(inactivity_timeout="10 s")
    client, server = scene.joined()
    for _ in range(10):
        scene.clock.advance(9)
        (client if which == "client" else server).receive(b"a")
    assert scene.service.connections() == 1
    scene.clock.advance(10.1)
    assert scene.service.connections() == 0


def test_a_lost_websocket_ends_its_flow(scene: Scene) -> None:
    client, server = scene.joined()
    server.lose(StreamReset("gone"))
    assert client.closed
    assert scene.service.connections() == 0
    assert scene.counters.lost == 1


def test_a_websocket_that_is_closed_ends_its_flow(scene: Scene) -> None:
    client, server = scene.joined(early=False)
    client.lose(None)
    assert server.closed
    assert scene.counters.lost == 0


def test_a_client_that_goes_while_connecting(scene: Scene) -> None:
    client = scene.come()
    client.lose(None)
    assert scene.connector.dials[0].canceled
    assert scene.service.connections() == 0


def test_a_udp_client_whose_far_side_fails_is_dropped_for_a_while(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    client = scene.come()
    client.receive(b"a", b"b")
    scene.connector.dials[0].fail()
    client.receive(b"c")
    assert scene.counters.dropped_failed == 3
    assert scene.counters.failed == 1
    assert "Unable to connect to ws://127.0.0.1:7001/" in caplog.text
    assert len(scene.connector.dials) == 1, "each datagram would have begun an attempt"
    scene.clock.advance(RETRY_SECONDS)
    assert client.closed
    assert scene.service.connections() == 0


def test_a_web_client_whose_far_side_fails_is_refused(scene: Scene) -> None:
    client = scene.come(early=False)
    scene.connector.dials[0].fail()
    assert client.refusal is not None
    assert client.refusal.status == 502
    assert scene.service.connections() == 0


def test_failures_are_not_all_warned_about(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        for _ in range(100):
            scene.come()
            scene.connector.dials[-1].fail()

    fail()
    assert len([each for each in caplog.records if each.levelno >= logging.WARNING]) == 1
    scene.clock.advance(WARN_SECONDS)
    fail()
    assert len([each for each in caplog.records if each.levelno >= logging.WARNING]) == 2


# --- limits


def test_one_flow_too_many_ends_the_idlest(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(maximum_flows=3)
    clients = []
    for _ in range(3):
        clients.append(scene.joined()[0])
        scene.clock.advance(1)
    clients[0].receive(b"a")
    scene.clock.advance(1)
    scene.joined()
    assert [each.closed for each in clients] == [False, True, False]
    assert scene.service.connections() == 3
    assert scene.counters.evicted == 1
    assert "udp.maximum.flows is reached" in caplog.text


def test_a_flood_of_new_senders_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(maximum_flow_rate=10)
    flood = [scene.come() for _ in range(50)]
    assert sum(each.refusal is None for each in flood) == 10
    assert "udp.maximum.flow.rate" in caplog.text
    scene.clock.advance(0.5)
    assert sum(scene.come().refusal is None for _ in range(50)) == 5
    scene.clock.advance(3600)
    assert sum(scene.come().refusal is None for _ in range(50)) == 10


def test_a_flood_does_not_touch_flows_that_stand() -> None:
    scene = Scene(maximum_flow_rate=10)
    client, server = scene.joined()
    for _ in range(100):
        scene.come()
        client.receive(b"voice")
    assert len(server.sent) == 100


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["come", "succeed", "fail", "send", "answer", "lose", "wait"]),
            st.integers(0, 50),
        ),
        max_size=120,
    )
)
def test_whatever_happens_nothing_is_left(steps: list[tuple[str, int]]) -> None:
    """Every flow ends, every transport of it is closed, and each datagram is sent or counted."""
    scene = Scene(maximum_flows=5, inactivity_timeout="5 s", pending=200)
    clients: list[Incoming] = []
    sent = 0
    for step, which in steps:
        dials = [each for each in scene.connector.dials if not each.over and not each.canceled]
        live = [each for each in clients if each.receiver is not None]
        servers = [each.side for each in scene.connector.dials if each.side.receiver is not None]
        if step == "come":
            clients.append(scene.come(early=which % 2 == 0))
        elif step in ("succeed", "fail") and dials:
            dial = dials[which % len(dials)]
            if step == "succeed":
                dial.succeed()
            else:
                dial.fail()
        elif step == "send" and live:
            live[which % len(live)].receive(bytes(which), b"")
            sent += 2
        elif step == "answer" and servers:
            servers[which % len(servers)].receive(b"answer")
        elif step == "lose" and (live or servers):
            side = (*live, *servers)[which % (len(live) + len(servers))]
            side.lose(StreamReset("gone"))
            side.closed, side.receiver = True, None
        else:
            scene.clock.advance(which / 10)
        assert scene.service.connections() <= 5
    scene.clock.advance(20)
    scene.clock.advance(20)
    assert scene.service.connections() == 0
    counters = scene.counters
    assert sent == counters.from_client
    assert sent == sum(len(each.side.sent) for each in scene.connector.dials) + counters.dropped
    assert all(each.closed or each.refusal or each.answered == 0 for each in clients)
    assert all(
        each.side.closed or not each.over or each.side.receiver is None for each in scene.connector.dials
    )


def test_fifty_thousand_flows() -> None:
    """All live at once, at a few hundred bytes each beside their transports; all end when nothing comes."""
    count = 50_000
    scene = Scene(at_once=True, maximum_flows=count, maximum_flow_rate=count, inactivity_timeout="60 s")
    offered = [Incoming() for _ in range(count)]
    tracemalloc.start()
    for incoming in offered[: count // 10]:
        scene.service.flow(incoming)
    before = tracemalloc.get_traced_memory()[0]
    for incoming in offered[count // 10 : count // 5]:
        scene.service.flow(incoming)
    scene.clock.run()
    each = (tracemalloc.get_traced_memory()[0] - before) / (count // 10)
    tracemalloc.stop()
    assert each < 4000, f"{each} bytes, with the test's own"
    for incoming in offered[count // 5 :]:
        scene.service.flow(incoming)
    scene.clock.run()
    assert scene.service.connections() == count
    scene.clock.advance(40)
    for incoming in offered[::2]:
        incoming.receive(b"still here")
    scene.clock.advance(30)
    assert scene.service.connections() == count // 2
    assert scene.counters.idle == count // 2
    assert scene.counters.from_client == count // 2
    scene.clock.advance(40)
    assert scene.service.connections() == 0
    assert scene.counters.flows == scene.counters.idle == count
    assert all(incoming.closed for incoming in offered)


# --- stopping


async def test_a_stop_waits_for_silence(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    connector, counters = Connector(), DatagramCounters()
    service = FlowService(flow_service(), connector, counters)
    incoming = Incoming()
    service.flow(incoming)
    server = connector.dials[0].succeed()
    incoming.receive(b"question")
    service.last_active -= 10
    await service.stop(30.0)
    assert incoming.closed
    assert server.closed
    assert connector.closed
    late = Incoming()
    service.flow(late)
    assert late.refusal is not None
    assert late.refusal.status == 503
    assert "dns: flows 1, from client 1" in caplog.text


async def test_a_stop_at_once() -> None:
    connector = Connector()
    service = FlowService(flow_service(), connector, DatagramCounters())
    early, web = Incoming(), Incoming(early=False)
    service.flow(early)
    service.flow(web)
    await service.stop(0.0)
    assert early.closed
    assert web.refusal is not None
    assert all(dial.canceled for dial in connector.dials)
    assert service.connections() == 0


# --- what is said


def test_what_was_counted_is_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    scene = Scene(inactivity_timeout="1 h", pending=100)
    client = scene.come()
    scene.clock.advance(REPORT_SECONDS)
    (record,) = [each for each in caplog.records if "so far" in each.getMessage()]
    assert record.levelno == logging.DEBUG
    assert record.getMessage() == "dns: 1 flows now; so far: flows 1"
    caplog.clear()
    scene.clock.advance(REPORT_SECONDS)
    assert caplog.records == [], "no news"
    client.receive(bytes(100), bytes(100))
    scene.clock.advance(REPORT_SECONDS)
    (record,) = caplog.records
    assert record.levelno == logging.INFO, "datagrams were dropped"
    assert "dropped waiting 1" in record.getMessage()


def test_a_flow_has_an_access_line(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    access.log.setLevel(logging.INFO)
    client, server = scene.joined()
    client.receive(b"12345")
    server.receive(b"123", b"4567")
    scene.clock.advance(100)
    scene.clock.advance(100)
    (line,) = [each.getMessage() for each in caplog.records if each.name == access.log.name]
    assert line.startswith("dns 192.0.2.1:1234 -> udp://127.0.0.1:7001/ 5/7 bytes")
    assert line.endswith("closed")
