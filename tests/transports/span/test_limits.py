"""From options to limits."""

from __future__ import annotations

from isthmus.config.model import AcceptOptions, ConnectOptions, GatewayOptions
from isthmus.span import Limits
from isthmus.transports.span.limits import Budgets, limits_of


def test_the_defaults_are_those_of_the_protocol() -> None:
    for options in (AcceptOptions(), ConnectOptions()):
        assert limits_of(options, handshake_timeout=10.0) == Limits()


def test_each_option_arrives() -> None:
    options = ConnectOptions.model_validate(
        {
            "span.grace": "2 minutes",
            "span.ping.deadline": "3s",
            "span.maximum.streams": 7,
            "span.maximum.window": "1MB",
        }
    )
    limits = limits_of(options, handshake_timeout=4.0)
    assert limits.grace == 120.0
    assert limits.ping_deadline == 3.0
    assert limits.maximum_streams == 7
    assert limits.largest_window == 1024 * 1024
    assert limits.handshake_timeout == 4.0


def test_budgets_are_fresh_and_of_the_size_that_is_set() -> None:
    options = GatewayOptions.model_validate({"span.receive.budget": "1MB", "span.send.budget": "2MB"})
    first, second = Budgets.of(options), Budgets.of(options)
    assert (first.receive.size, first.send.size) == (1024 * 1024, 2 * 1024 * 1024)
    assert first.receive.borrow(1 << 30) == 1024 * 1024
    assert first.receive.borrow(1) == 0
    assert second.receive.borrow(1) == 1
