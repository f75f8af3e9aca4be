"""Flows over a session, from the connector of one side to the accept of the other."""

from __future__ import annotations

import pytest
from tests.transports.span.world import FRESHNESS, ORIGIN, FlowEnd, Scene, Server, World, switching

from isthmus.errors import ConnectError, StreamReset
from isthmus.transports.datagrams import DatagramCounters
from isthmus.transports.span.flow import SpanFlowConnector
from isthmus.transports.span.limits import FlowTerms


class Flows(Scene):
    """A connector of flows beside that of streams, and a server that takes both."""

    def __init__(
        self, world: World, *, flows: int = 10, with_streams: bool = False, **options: object
    ) -> None:
        super().__init__(world, server={"flows": flows}, **options)
        self.counters = DatagramCounters()
        terms = FlowTerms(FRESHNESS, self.counters, with_streams=with_streams)
        self.flow_connector = SpanFlowConnector(self.connector, terms)

    def begin(self, origin: str = ORIGIN) -> FlowEnd:
        end = FlowEnd()
        self.flow_dial = self.flow_connector.connect(end, end.failed, origin=origin)
        assert not end.events, "told before `connect` returned"
        return end

    def joined(self) -> tuple[FlowEnd, FlowEnd]:
        """Return both ends of a new flow."""
        before = len(self.server.flows)
        end = self.begin()
        self.world.settle()
        assert end.events == ["made"]
        end.send(b"first")
        self.world.settle()
        (far,) = self.server.flows[before:]
        assert far.came == [b"first"]
        far.came.clear()
        return end, far


def test_datagrams_cross_both_ways_and_many_flows_share_a_websocket(world: World) -> None:
    scene = Flows(world)
    ends = [scene.joined() for _ in range(5)]
    for near, far in ends:
        assert far.peer == ORIGIN
        near.send(b"question", b"")
        far.send(b"answer")
    world.settle()
    for near, far in ends:
        assert far.came == [b"question", b""]
        assert near.came == [b"answer"]
    assert len(scene.network.times) == 1


def test_a_flow_ends_from_either_side(world: World) -> None:
    scene = Flows(world)
    near, far = scene.joined()
    assert near.transport is not None
    near.transport.close()
    near.transport.close()
    world.settle()
    assert far.events == ["made", None]
    near, far = scene.joined()
    assert far.transport is not None
    far.transport.close()
    world.settle()
    assert near.events == ["made", None]
    near.send(b"nobody hears it")
    assert not scene.session.session.flows.table


def test_a_flow_that_is_refused_is_lost_with_the_reason(world: World) -> None:
    scene = Flows(world)
    scene.server.answers = False
    near = scene.begin()
    world.settle()
    near.send(b"first")
    world.settle()
    _, error = near.events
    assert isinstance(error, StreamReset)
    assert "as many flows as it may have" in str(error)


def test_a_server_that_takes_no_datagrams_is_told_at_once(world: World) -> None:
    scene = Flows(world, flows=0)
    near = scene.begin()
    world.settle()
    (error,) = near.events
    assert "takes no datagrams here" in str(error)


def test_a_server_that_takes_only_datagrams_says_so_to_streams(world: World) -> None:
    scene = Flows(world)
    scene.serve(Server(world, flows=5, streams=False))
    client = scene.connect()
    world.settle()
    (error,) = client.failures
    assert "only datagrams" in str(error)
    scene.joined()


def test_a_plain_server_gets_a_websocket_for_each_flow(world: World) -> None:
    scene = Flows(world)
    met = scene.script(switching())
    ends = [scene.begin() for _ in range(3)]
    world.settle()
    for end in ends:
        assert end.events == ["made"]
        end.send(b"question")
    world.settle()
    assert len(met) == 3
    assert all(each.data for each in met)


def test_beside_streams_a_plain_server_is_no_good_for_flows(world: World) -> None:
    scene = Flows(world, with_streams=True)
    scene.script(switching())
    end = scene.begin()
    world.settle()
    (error,) = end.events
    assert isinstance(error, ConnectError)
    assert "datagrams beside streams need it" in str(error)


def test_a_connect_that_is_cancelled_tells_nothing(world: World) -> None:
    scene = Flows(world)
    end = scene.begin()
    scene.flow_dial.cancel()
    world.settle()
    assert end.events == []


# --- carriers


def test_a_flow_survives_its_carrier_and_loses_only_what_was_in_flight(world: World) -> None:
    scene = Flows(world)
    near, far = scene.joined()
    scene.network.cut()
    near.send(b"too old when there is a way again")
    world.advance(1.0)
    near.send(b"fresh")
    far.send(b"answer")
    world.settle()
    assert far.came == [b"fresh"]
    assert near.came == [b"answer"]
    assert scene.counters.dropped_late == 1
    assert len(scene.server.flows) == 1


def test_streams_and_flows_get_a_carrier_each(world: World) -> None:
    scene = Flows(world, with_streams=True)
    near, far = scene.joined()
    assert len(scene.session.session.carriers) == 1
    client, _ = scene.pair()
    world.advance(0.6)
    session = scene.session.session
    assert len(session.carriers) == 2
    near.send(b"datagram")
    world.settle()
    assert far.came == [b"datagram"]
    assert session.flows.slot == 1
    assert session.flows.reserve(session.carriers[1])
    assert not session.flows.reserve(session.carriers[0])
    client.call("write", b"stream")
    world.settle()
    assert session.flows.slot == 1


@pytest.mark.parametrize("count", [1, 2])
def test_a_number_that_is_configured_stays(count: int, world: World) -> None:
    scene = Flows(world, span_carriers=count)
    scene.joined()
    scene.pair()
    world.advance(2.0)
    assert len(scene.session.session.carriers) == count


# --- ends of sessions


def test_a_server_that_stops_ends_its_flows(world: World) -> None:
    scene = Flows(world)
    near, far = scene.joined()
    scene.server.accept.stop()
    world.settle()
    assert isinstance(near.events[-1], StreamReset)
    assert isinstance(far.events[-1], StreamReset)


def test_a_client_that_stops_ends_its_flows(world: World) -> None:
    scene = Flows(world)
    near, far = scene.joined()
    scene.connector.close()
    world.settle()
    assert isinstance(near.events[-1], StreamReset)
    assert len(far.events) == 2


def test_a_server_that_does_not_know_the_session_any_more(world: World) -> None:
    scene = Flows(world)
    near, _ = scene.joined()
    scene.serve(Server(world, flows=10))
    scene.network.cut()
    world.advance(1.0)
    assert "the session was lost" in str(near.events[-1])
    scene.joined()


def test_flows_do_not_wait_for_another_node(world: World) -> None:
    """Its streams do; a flow loses less by beginning again."""
    scene = Flows(world)
    near, _ = scene.joined()
    scene.serve(Server(world, flows=10, node="two"))
    scene.network.cut()
    world.advance(5.0)
    assert "another node" in str(near.events[-1])
    again = scene.begin()
    world.advance(10.0)
    assert again.events == ["made"]


def test_a_server_opens_no_flows(world: World) -> None:
    scene = Flows(world)
    scene.joined()
    session = scene.server.session.session
    session.peer = session.peer._replace(maximum_flows=5)
    flow = session.flows.open()
    session.flows.send(flow, [b"x"], world.now)
    world.settle()
    assert flow.over
    assert scene.session.session.counters.flows_overloaded == 1
