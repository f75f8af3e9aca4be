"""From options to the limits of a session, and the memory that all sessions of a process share."""

from __future__ import annotations

from dataclasses import dataclass, replace

from isthmus.config.model import GatewayOptions, SpanOptions
from isthmus.span import Budget, Limits
from isthmus.transports.datagrams import DatagramCounters, Freshness

WAITING_FLOWS = 64
"""All flows of a session may have as much waiting as so many may that have the most."""
LEAST_FOR_ALL = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Budgets:
    """What all streams of a process may take together, beyond what each is guaranteed."""

    receive: Budget
    send: Budget

    @classmethod
    def of(cls, options: GatewayOptions) -> Budgets:
        """Return fresh budgets of the sizes that a configuration says."""
        return cls(Budget(options.span_receive_budget), Budget(options.span_send_budget))


@dataclass(frozen=True, slots=True)
class FlowTerms:
    """What the flows of one service are held to, and what counts them.

    `maximum` is how many the peer may have open in one session; `with_streams` says that the service carries
    streams beside them.
    """

    freshness: Freshness
    counters: DatagramCounters
    maximum: int = 0
    with_streams: bool = False


def limits_of(
    options: SpanOptions, *, handshake_timeout: float, flows: FlowTerms | None = None, streams: bool = True
) -> Limits:
    """Return the limits of the sessions of one accept or connect; the timeout is in seconds.

    `streams` says whether any are taken.
    """
    limits = Limits(
        handshake_timeout=handshake_timeout,
        maximum_streams=options.span_maximum_streams if streams else 0,
        grace=options.span_grace,
        ping_deadline=options.span_ping_deadline,
        largest_window=options.span_maximum_window,
    )
    if flows is None:
        return limits
    return replace(
        limits,
        maximum_flows=flows.maximum,
        flow_delay=flows.freshness.maximum_delay,
        flow_pending=flows.freshness.maximum_bytes,
        flows_pending=max(flows.freshness.maximum_bytes * WAITING_FLOWS, LEAST_FOR_ALL),
    )
