"""Seeded scenarios on the simulated link, and what must hold in each of them at any time and at its end."""

from __future__ import annotations

import math
from random import Random

from tests.span.link import BACKLOG, App, Net

from isthmus.span import Limits, Session
from isthmus.span.frames import MAXIMUM_DATAGRAM
from isthmus.span.limits import GUARANTEED_WINDOW, LARGEST_STORE, MAXIMUM_PIECES, OVERHEAD

LARGEST_WRITE = 70_000
SMALL = Limits(receive_budget=300_000, send_budget=300_000, maximum_streams=20)


def check_bounds(session: Session) -> None:
    """Assert that a session holds no more than it declares."""
    limits = session.limits
    streams = session.streams.values()
    assert len(streams) <= limits.maximum_streams + session.peer.maximum_streams
    borrowed = 0
    stored = 0
    for stream in streams:
        receive, send = stream.receive, stream.send
        assert receive.consumed <= receive.received <= receive.highest <= receive.limit
        assert receive.limit - receive.consumed <= limits.largest_window
        assert receive.held <= receive.limit - receive.received
        assert receive.pieces <= MAXIMUM_PIECES
        if not stream.over:
            borrowed += max(0, receive.limit - receive.consumed - GUARANTEED_WINDOW)
        assert send.acked <= send.next <= send.end
        assert send.stored <= LARGEST_STORE + LARGEST_WRITE
        stored += max(0, send.stored - GUARANTEED_WINDOW)
    assert borrowed <= session.receive_budget.used <= session.receive_budget.size
    assert session.send_budget.used == stored
    assert stored <= limits.send_budget + LARGEST_WRITE * len(streams)
    flows = session.flows
    assert flows.count_of_peer <= limits.maximum_flows
    assert flows.waiting == sum(flow.size for flow in flows.table.values())
    assert flows.waiting <= limits.flows_pending
    assert all(
        flow.size <= max(limits.flow_pending, MAXIMUM_DATAGRAM + OVERHEAD) for flow in flows.table.values()
    )
    assert len(session.unanswered) <= len(streams)
    assert len(session.outbox.pending) <= len(streams)
    assert len(session.outbox.scheduler) <= len(streams)
    for carrier in session.carriers.values():
        assert sum(map(len, carrier.control)) <= 21 * len(streams) * 2 + 16 * 1024
        assert len(carrier.pending) <= len(streams)
        unacknowledged = sum(stream.send.in_flight(carrier.slot) for stream in streams)
        assert 0 <= carrier.pacing.in_flight <= unacknowledged


def check_end(net: Net) -> None:
    """Assert that nothing is left, and that whatever was not reset arrived whole, once, in order."""
    for app, peer in ((net.client, net.server), (net.server, net.client)):
        for stream_id, flow in app.flows.items():
            other = peer.flows.get(stream_id)
            if flow.whole:
                assert other is not None
                assert flow.received == other.total
                assert not other.reset_here or (other.eof and other.sent == other.total)
            elif not flow.reset_here:
                assert flow.code != -1
                assert other is None or other.reset_here or other.code != -1
            if other is not None:
                assert flow.received <= other.sent
        session = app.session
        assert not session.over
        assert session.receive_budget.used == 0
        assert session.send_budget.used == 0
        assert len(session.outbox.scheduler) == 0
        assert not session.unanswered
        assert session.counters.protocol_errors == 0
        assert session.counters.carriers_flooded == 0


def run(seed: int) -> Net:
    """Run one scenario to its end; everything about it follows from the seed."""
    random = Random(seed)
    cut = random.choice((3_000, 20_000, 200_000, math.inf))
    net = Net(
        seed,
        carriers=random.choice((1, 1, 2, 4)),
        rates=tuple(random.choice((3e5, 1e6, 1e7, 1e8)) for _ in range(4)),
        latency=random.choice((0.0005, 0.01, 0.1)),
        cut=cut,
        silent=random.choice((0, 0, 0.1)),
        limits=random.choice((Limits(), SMALL)),
    )
    sizes = (0, 1, 1_000, 5_000) if cut < 10_000 else (0, 1, 1_000, 20_000, 100_000, 400_000)
    for app in (net.client, net.server):
        app.answer = random.choice(sizes)
        app.dial_time = random.choice((0, 0.05))
        app.refuse = random.choice((0, 0, 0.3))
        app.read_delay = random.choice((0, 0.01))
    stalled = random.random() < 0.2

    def open_one(app: App) -> None:
        if app is net.server and not net.session.id:
            return  # nobody has come yet
        flow = app.open(random.choice(sizes))
        if random.random() < 0.15:
            net.world.after(random.random(), lambda: app.reset_flow(flow))
        if stalled and random.random() < 0.5:
            app.stalled.add(flow.stream.id)
            net.world.after(random.random() * 5, lambda: app.resume_reading(flow))

    for _ in range(random.randint(1, 8)):
        app = net.server if random.random() < 0.2 else net.client
        net.world.at(random.random() * 2, lambda app=app: open_one(app))  # type: ignore[misc]
    if random.random() < 0.2:
        net.world.at(random.random() * 3, net.replace_one)
    events = 0

    def check() -> None:
        nonlocal events
        events += 1
        if events % 16 == 0:
            for session in net.world.sessions:
                check_bounds(session)
            for wire in net.wires:
                assert max(wire.client.backlog, wire.server.backlog) <= 2 * BACKLOG

    net.run(lambda: net.world.now > 3 and net.settled(), 3_000, check)
    check_end(net)
    return net
