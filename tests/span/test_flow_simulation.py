"""Flows beside streams on the simulated link: carriers are cut at any byte, datagrams stay fresh, whole."""

from __future__ import annotations

import math
from collections import Counter
from random import Random

import pytest
from tests.span.link import BACKLOG, DATAGRAM, App, Net
from tests.span.scenarios import check_bounds

from isthmus.span import Limits
from isthmus.span.frames import MAXIMUM_DATAGRAM

BLOCK = 25
BLOCKS = 20
SIZES = (0, 1, 172, 1_200, 9_000, MAXIMUM_DATAGRAM - DATAGRAM.size)


def run(seed: int) -> Net:
    """Run one scenario to its end; everything about it follows from the seed."""
    random = Random(seed)
    rate = random.choice((3e5, 1e6, 1e7, 1e8))
    latency = random.choice((0.0005, 0.01, 0.1))
    net = Net(
        seed,
        carriers=random.choice((1, 1, 2, 3)),
        rates=(rate,),
        latency=latency,
        cut=random.choice((3_000, 20_000, 200_000, math.inf)),
        silent=random.choice((0, 0, 0.1)),
        limits=Limits(
            maximum_flows=50, flow_pending=random.choice((3_000, 64 * 1024)), flows_pending=200_000
        ),
    )
    net.run(lambda: bool(net.session.id), 60)
    ends = net.world.now + 3

    def chatter(app_of: int, flow_id: int, pause: float, sizes: tuple[int, ...], count: int) -> None:
        app = (net.client, net.server)[app_of]
        talk = app.talks.get(flow_id)
        if net.world.now < ends and not (talk is not None and talk.over):
            if talk is not None:
                talk.send(random.choice(sizes), random.randint(1, count))
            again = pause * (0.5 + random.random())
            net.world.after(again, lambda: chatter(app_of, flow_id, pause, sizes, count))

    def copy() -> None:
        net.client.open(200_000)

    def begin() -> None:
        talk = net.client.talk()
        pause = random.choice((0.005, 0.02, 0.3))
        sizes = random.choice(((172,), (1_200,), SIZES[:4], SIZES))
        for side in (0, 1):
            chatter(side, talk.flow.id, pause, sizes, random.choice((1, 1, 30)))
        if random.random() < 0.3:
            end = net.client if random.random() < 0.5 else net.server
            net.world.after(random.random() * 3, lambda: talk_of(end, talk.flow.id))

    def talk_of(app: App, flow_id: int) -> None:
        talk = app.talks.get(flow_id)
        if talk is not None:
            talk.end()

    for _ in range(random.randint(1, 8)):
        net.world.after(random.random() * 2, begin)
    if random.random() < 0.5:
        net.server.answer = 200_000
        net.world.after(random.random(), copy)
    events = 0

    def check() -> None:
        nonlocal events
        events += 1
        if events % 16 == 0:
            for session in net.world.sessions:
                check_bounds(session)

    net.run(lambda: net.world.now > ends + 1 and net.settled(), 3_000, check)
    check_end(net, rate, latency)
    return net


def check_end(net: Net, rate: float, latency: float) -> None:
    """Assert that what came was sent, once, fresh; that what did not is accounted for; that flows can end."""
    for app, peer in ((net.client, net.server), (net.server, net.client)):
        counters = app.session.counters
        assert counters.protocol_errors == 0
        sent = sum(talk.sent for talk in app.talks.values())
        came = sum(len(talk.came) for talk in peer.talks.values())
        assert counters.datagrams_sent <= sent
        assert app.dropped == (
            counters.datagrams_late + counters.datagrams_overflowed + counters.datagrams_unsent
        )
        assert came <= counters.datagrams_sent
        for flow_id, talk in app.talks.items():
            other = peer.talks.get(flow_id)
            assert other is None or talk.came <= set(range(other.sent))
            # What waits to be sent, what the connection holds, the longest datagram, and the way.
            within = 0.05 + (BACKLOG + 2 * MAXIMUM_DATAGRAM) / rate + latency
            assert talk.latest <= within + 0.005, f"{talk.latest} s late"
        assert app.session.flows.waiting <= sum(talk.flow.size for talk in app.talks.values())
    net.cut = math.inf
    for wire in net.wires:
        wire.cut_after = math.inf
    live = [talk for talk in net.client.talks.values() if not talk.over]
    before = {talk.flow.id: talk.sent for talk in live}

    def all_answered() -> bool:
        for talk in live:
            other = net.server.talks.get(talk.flow.id)
            if not talk.over and not (
                other is not None and any(n >= before[talk.flow.id] for n in other.came)
            ):
                return False
        return True

    def ask() -> None:
        if not all_answered():
            for talk in live:
                talk.send()
            net.world.after(0.2, ask)

    ask()
    net.run(all_answered, 120)
    for talk in live:
        talk.end()
    net.run(lambda: net.world.now > 0 and not net.session.flows.table, 60)
    if hasattr(net.server, "session"):
        ended = {talk.flow.id for talk in live}
        flows = net.server.session.flows
        ends = net.world.now + 2
        net.world.after(2, lambda: None)
        net.run(lambda: net.world.now >= ends or not ended & set(flows.table), 60)


@pytest.mark.parametrize("block", range(BLOCKS))
def test_whatever_the_cuts_datagrams_are_whole_and_fresh(block: int) -> None:
    for seed in range(block * BLOCK, (block + 1) * BLOCK):
        try:
            run(seed)
        except AssertionError as error:
            error.add_note(f"seed {seed}")
            raise


def test_the_scenarios_reach_what_they_are_for() -> None:
    seen: Counter[str] = Counter()
    for seed in range(60):
        net = run(seed)
        for session in net.world.sessions:
            for name in type(session.counters).__slots__:
                seen[name] += getattr(session.counters, name) > 0
    for name in ("datagrams_late", "datagrams_overflowed", "datagrams_forgotten", "flows_ended_by_peer"):
        assert seen[name] >= 3, seen
    assert seen["resumes"] >= 10, seen


def test_50_000_flows_live_and_lose_their_carrier() -> None:
    net = Net(1, rates=(1e8,), latency=0.001, limits=Limits(maximum_flows=50_000, flows_pending=64 << 20))
    net.run(lambda: bool(net.session.id), 10)
    talks = [net.client.talk() for _ in range(50_000)]
    for talk in talks:
        talk.send()
    net.run(lambda: len(net.server.talks) == 50_000, 10)
    for wire in list(net.wires):
        wire.cut()
    net.run(lambda: not net.session.carriers, 40)
    net.run(lambda: bool(net.session.carriers) and bool(net.server.session.carriers), 40)
    for talk in talks:
        net.server.talks[talk.flow.id].send()
    net.run(lambda: all(talk.came for talk in talks), 20)
    for talk in talks:
        talk.end()
    net.run(lambda: not net.server.session.flows.table, 20)
    assert net.session.flows.waiting == net.server.session.flows.waiting == 0
