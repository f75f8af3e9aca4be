"""From options to the limits of a session, and the memory that all sessions of a process share."""

from __future__ import annotations

from dataclasses import dataclass

from isthmus.config.model import GatewayOptions, SpanOptions
from isthmus.span import Budget, Limits


@dataclass(frozen=True, slots=True)
class Budgets:
    """What all streams of a process may take together, beyond what each is guaranteed."""

    receive: Budget
    send: Budget

    @classmethod
    def of(cls, options: GatewayOptions) -> Budgets:
        """Return fresh budgets of the sizes that a configuration says."""
        return cls(Budget(options.span_receive_budget), Budget(options.span_send_budget))


def limits_of(options: SpanOptions, *, handshake_timeout: float) -> Limits:
    """Return the limits of the sessions of one accept or connect; the timeout is in seconds."""
    return Limits(
        handshake_timeout=handshake_timeout,
        maximum_streams=options.span_maximum_streams,
        grace=options.span_grace,
        ping_deadline=options.span_ping_deadline,
        largest_window=options.span_maximum_window,
    )
