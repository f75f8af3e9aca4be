"""A stream as what a service is offered."""

from __future__ import annotations

import pytest
from tests.transports.span.world import Scene, World

from isthmus.errors import ConnectError


@pytest.mark.parametrize(
    ("status", "cause", "told", "text"),
    [
        (502, None, 502, "cannot be reached"),
        (502, ConnectionRefusedError(111, "Connection refused"), 502, "refused the connection"),
        (502, OSError(113, "No route to host"), 502, "cannot be reached"),
        (503, None, 503, "is stopping"),
        (504, None, 504, "did not answer in time"),
        (404, None, 502, "cannot be reached"),
    ],
)
def test_a_refusal_is_told_with_its_status(
    world: World, status: int, cause: Exception | None, told: int, text: str
) -> None:
    scene = Scene(world)
    scene.server.answers = False
    client = scene.connect()
    world.settle()
    error = ConnectError("Unable to connect to tcp://inner.example.com:22: secret", status=status)
    error.__cause__ = cause
    scene.server.offers[0].refuse(error)
    world.settle()
    (failure,) = client.failures
    assert failure.status == told
    assert text in str(failure)
    assert "inner" not in str(failure)
    assert "secret" not in str(failure)
    assert not client.events
    assert scene.server.quota.used == 0
