"""Offering span: with the offer, and without it where the server cannot bear it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.transports.span.world import Scene, World, switching

from isthmus.span.frames import SUBPROTOCOL
from isthmus.transports.span.offer import OFFER_AGAIN_AFTER


def refusing(status: int) -> Callable[[str], bytes]:
    """Return what answers an offer with `status`, and anything else with 101."""

    def answer(head: str) -> bytes:
        if SUBPROTOCOL in head:
            return f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n".encode()
        return switching()(head)

    return answer


@pytest.mark.parametrize("status", [400, 403, 406, 426, 500, 501])
def test_a_server_that_refuses_the_offer_is_asked_without_it(world: World, status: int) -> None:
    scene = Scene(world)
    met = scene.script(refusing(status))
    client = scene.connect()
    world.settle()
    assert client.events == ["made"]
    assert [SUBPROTOCOL in each.head for each in met] == [True, False]
    scene.connect()
    world.settle()
    assert [SUBPROTOCOL in each.head for each in met] == [True, False, False]
    world.advance(OFFER_AGAIN_AFTER)
    scene.connect()
    world.settle()
    assert [SUBPROTOCOL in each.head for each in met] == [True, False, False, True, False]
