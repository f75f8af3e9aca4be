"""What two sessions reach on links that differ, in simulated time."""

from __future__ import annotations

import statistics

import pytest
from tests.span.link import Net, Side, expected

from isthmus.span import Limits
from isthmus.span.limits import GUARANTEED_WINDOW, MIB


def joined(carriers: int, rate: float, latency: float, limits: Limits | None = None) -> Net:
    net = Net(1, carriers=carriers, rates=(rate,) * carriers, latency=latency, limits=limits)
    net.client.chunk_sizes = (65_536,)
    net.world.largest_piece = int(max(1_448, rate / 1_000))
    net.run(lambda: len(net.session.carriers) == carriers, 10)
    return net


def received(net: Net, flow: Side) -> int:
    other = net.server.flows.get(flow.stream.id)
    return other.received if other is not None else 0


def speed(net: Net, flow: Side, after: int, size: int) -> float:
    """Return at how many bytes a second a flow moves its `size` bytes behind the first `after`."""
    net.run(lambda: received(net, flow) >= after, 300)
    start = net.world.now
    net.run(lambda: received(net, flow) >= after + size, 300)
    return size / (net.world.now - start)


def wait(net: Net, seconds: float) -> None:
    end = net.world.now + seconds
    net.world.at(end, lambda: None)
    net.run(lambda: net.world.now >= end, seconds + 1)


def test_200_mbit_at_100_ms_are_filled() -> None:
    net = joined(1, 25e6, 0.05)
    assert speed(net, net.client.open(70_000_000), 30_000_000, 40_000_000) >= 0.9 * 25e6


def test_without_a_limit_the_window_grows_to_16_mib() -> None:
    net = joined(1, 1e11, 0.05)
    assert speed(net, net.client.open(120 * MIB), 60 * MIB, 50 * MIB) >= 0.7 * 16 * MIB / 0.1


def test_four_carriers_bring_almost_four_times_one() -> None:
    one = joined(1, 6.25e6, 0.02)
    four = joined(4, 6.25e6, 0.02)
    single = speed(one, one.client.open(20_000_000), 5_000_000, 10_000_000)
    assert speed(four, four.client.open(60_000_000), 10_000_000, 40_000_000) >= 3.8 * single


def test_a_slow_carrier_holds_no_quick_one_up() -> None:
    net = Net(1, carriers=2, rates=(6.25e6, 1.25e6), latency=0.02)
    net.client.chunk_sizes = (65_536,)
    net.world.largest_piece = 4_096
    net.run(lambda: len(net.session.carriers) == 2, 10)
    assert speed(net, net.client.open(60_000_000), 10_000_000, 40_000_000) >= 0.9 * 7.5e6


def keystrokes(net: Net, count: int, every: float) -> float:
    """Return the median time from here to the server of small messages on a stream of their own."""
    flow = Side(net.session.open("203.0.113.9:1234"), 0, 1 << 30, net.client)
    flow.salt = 2 * flow.stream.id
    net.client.flows[flow.stream.id] = flow
    times = []
    for _ in range(count):
        net.session.write(flow.stream, expected(flow.salt, flow.sent, 64))
        flow.sent += 64
        start = net.world.now
        net.run(lambda: received(net, flow) >= flow.sent, 60)
        times.append(net.world.now - start)
        wait(net, every * (0.5 + net.world.random.random()))
    return statistics.median(times)


@pytest.mark.parametrize(
    ("rate", "latency", "count"), [(2.5e6, 0.01, 30), (12.5e6, 0.01, 20), (1e8, 0.0005, 5)]
)
def test_keystrokes_beside_eight_copies_wait_little(rate: float, latency: float, count: int) -> None:
    empty = keystrokes(joined(1, rate, latency), 10, 0.1)
    net = joined(1, rate, latency)
    copies = [net.client.open(1 << 30) for _ in range(8)]
    wait(net, 1.0)
    before = sum(received(net, copy) for copy in copies)
    start = net.world.now
    assert keystrokes(net, count, 0.1) <= empty + 0.04
    moved = sum(received(net, copy) for copy in copies) - before
    assert moved >= 0.9 * rate * (net.world.now - start)


def test_a_thousand_stalled_streams_stall_no_other() -> None:
    limits = Limits(receive_budget=MIB, send_budget=MIB)
    net = joined(1, 1e8, 0.01, limits)
    # The server's application reads nothing of the first thousand.
    net.server.stalled.update(range(1, 2_001, 2))
    for _ in range(1_000):
        net.client.open(5 * GUARANTEED_WINDOW)
    wait(net, 2.0)
    [_, session] = net.world.sessions
    assert session.receive_budget.shortages > 0
    assert session.receive_budget.used > 0.9 * limits.receive_budget
    flow = net.client.open(4_000_000)
    assert speed(net, flow, 1_000_000, 2_000_000) >= 0.7 * GUARANTEED_WINDOW / 0.02


@pytest.mark.parametrize("streams", [1, 5])
def test_what_a_silent_carrier_had_goes_on_another(streams: int) -> None:
    net = joined(2, 2e6, 0.02)
    flows = [net.client.open(6_000_000 // streams) for _ in range(streams)]
    net.run(lambda: sum(received(net, flow) for flow in flows) >= 1_000_000, 10)
    net.wires[0].silent = True  # nobody is told
    start = net.world.now
    net.run(lambda: sum(received(net, flow) for flow in flows) >= 6_000_000, 10)
    assert net.world.now - start < 5_000_000 / 2e6 + 1
    assert net.session.counters.carriers_stalled == 1
    assert net.session.counters.carriers_lost == 0
    assert net.session.counters.bytes_sent_again > 0


def test_no_carrier_that_answers_is_taken_for_silent() -> None:
    for rate, latency in ((2e5, 0.2), (1e8, 0.0005)):
        net = joined(2, rate, latency)
        flow = net.client.open(3_000_000)
        net.run(lambda net=net, flow=flow: received(net, flow) >= 3_000_000, 100)  # type: ignore[misc]
        assert net.session.counters.carriers_stalled == 0
        assert net.session.counters.bytes_sent_again == 0
