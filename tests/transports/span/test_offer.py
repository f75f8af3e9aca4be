"""Offering span: with the offer, and without it where the server cannot bear it."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
from tests.transports.span.world import ADDRESS, Scene, Script, World, switching

from isthmus.errors import ConnectError
from isthmus.span.frames import SUBPROTOCOL
from isthmus.transports.base import Transport
from isthmus.transports.span.offer import OFFER_AGAIN_AFTER, Offer


def refusing(status: int) -> Callable[[str], bytes]:
    """Return what answers an offer with `status`, and anything else with 101."""

    def answer(head: str) -> bytes:
        if SUBPROTOCOL in head:
            return f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n".encode()
        return switching()(head)

    return answer


def offered(met: list[Script]) -> list[bool]:
    return [SUBPROTOCOL in each.head for each in met]


@pytest.mark.parametrize("status", [400, 403, 405, 406, 409, 412, 415, 417, 422, 426, 428, 500, 501])
def test_a_server_that_refuses_the_offer_is_asked_without_it(
    world: World, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene(world, ws_fallback="never")
    met = scene.script(refusing(status))
    with caplog.at_level(logging.INFO):
        client, other = scene.connect(), scene.connect()
        world.settle()
    assert client.events == other.events == ["made"]
    assert offered(met) == [True, False, False]
    assert (
        "the server refuses a handshake that offers span; span is not offered for 10 minutes" in caplog.text
    )
    scene.connect()
    world.settle()
    assert offered(met) == [True, False, False, False]
    world.advance(OFFER_AGAIN_AFTER - 1)
    scene.connect()
    world.settle()
    assert offered(met)[4:] == [False]
    world.advance(1.0)
    scene.connect()
    world.settle()
    assert offered(met)[5:] == [True, False]


@pytest.mark.parametrize("status", [401, 404, 407, 429, 502, 503, 504])
def test_a_refusal_for_another_reason_is_final_and_nothing_is_remembered(world: World, status: int) -> None:
    scene = Scene(world, ws_fallback="never")
    met = scene.script(refusing(status))
    for _ in range(2):
        client = scene.connect()
        world.settle()
        (failure,) = client.failures
        assert str(status) in str(failure)
        assert failure.status == (504 if status == 504 else 502)
    assert offered(met) == [True, True]


def test_a_server_that_refuses_both_is_refusing_and_is_offered_again(world: World) -> None:
    scene = Scene(world, ws_fallback="never")
    met = scene.script(lambda head: b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
    for _ in range(2):
        client = scene.connect()
        world.settle()
        (failure,) = client.failures
        assert "403" in str(failure)
    assert offered(met) == [True, False, True, False]


def test_a_refusal_is_one_attempt_for_all_who_wait(world: World) -> None:
    scene = Scene(world, ws_fallback="never")
    met = scene.script(lambda head: b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
    clients = [scene.connect() for _ in range(4)]
    world.settle()
    assert [len(client.failures) for client in clients] == [1] * 4
    assert len(met) == 2


class Told:
    """What an attempt came to."""

    def __init__(self) -> None:
        self.opened: list[tuple[str | None, bytes]] = []
        self.failures: list[ConnectError] = []

    def open(self, below: Transport, subprotocol: str | None, rest: bytearray) -> None:
        self.opened.append((subprotocol, bytes(rest)))

    def fail(self, error: ConnectError) -> None:
        self.failures.append(error)


@pytest.mark.parametrize("rounds", range(5))
def test_cancelling_an_attempt_at_any_time(world: World, rounds: int) -> None:
    """Between its two tries, too: nothing is called any more."""
    scene = Scene(world, ws_fallback="never")
    met = scene.script(refusing(400))
    told = Told()
    attempt = Offer(scene.network, scene.options).dial(told.open, told.fail)
    for _ in range(rounds):
        world.clock.run()
        for wire in scene.network.wires:
            wire.left.deliver()
            wire.right.deliver()
    before = len(told.opened)
    attempt.cancel()
    attempt.cancel()
    world.advance(30.0)
    assert len(told.opened) == before
    assert not told.failures
    assert len(met) <= 2


def test_what_comes_behind_the_answer_is_handed_on(world: World) -> None:
    scene = Scene(world, ws_fallback="never")
    scene.script(lambda head: switching(SUBPROTOCOL)(head) + b"rest")
    told = Told()
    Offer(scene.network, scene.options).dial(told.open, told.fail)
    assert not told.opened
    world.settle()
    assert told.opened == [(SUBPROTOCOL, b"rest")]


def test_a_required_offer_is_never_withdrawn(world: World) -> None:
    scene = Scene(world, span_mode="required", ws_fallback="never")
    offer = Offer(scene.network, scene.options)
    assert offer.required
    offer.withdraw("it said no")
    assert offer.stands
    optional = Offer(scene.network, Scene(world, ws_fallback="never").options)
    assert optional.stands
    assert not optional.required
    optional.withdraw("it said no")
    assert not optional.stands


def test_what_is_said_when_there_must_be_span(world: World) -> None:
    scene = Scene(world)
    error = Offer(scene.network, scene.options).no_span()
    assert error.status == 502
    assert str(ADDRESS) in str(error)
    assert "span.mode" in error.hint
