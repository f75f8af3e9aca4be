"""The relay: its table row by row, then any interleaving of what two applications and a connect can do."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.services.fakes import READ_SIZE, Connection, Connector, Dial, Incoming, proxy_service

from isthmus.errors import StreamReset
from isthmus.services.proxy import ProxyRelay, ProxyService
from isthmus.services.relay import Relay

LIMIT = 100


class Counted(Relay):
    """A relay that counts how often it was over."""

    def __init__(self, pending_limit: int) -> None:
        super().__init__(pending_limit)
        self.times_over = 0

    def finished(self) -> None:
        self.times_over += 1


class Scene:
    """A relay between two connections; `run` lets happen what the loop would do."""

    def __init__(self, *, joined: bool = True) -> None:
        self._soon: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self.relay = Counted(LIMIT)
        self.near = Connection(self.soon)
        self.far = Connection(self.soon)
        if joined:
            self.near.start(self.relay.accepted)
            self.far.start(self.relay.connected)

    def soon(self, callback: Callable[..., object], *arguments: Any) -> None:
        self._soon.append((callback, arguments))

    def run(self) -> None:
        while self._soon:
            callback, arguments = self._soon.popleft()
            callback(*arguments)


@pytest.fixture(params=["accepted side", "connected side"])
def scene(request: pytest.FixtureRequest) -> Scene:
    """Give a relay seen from each of its sides: `near` is the one where things happen."""
    scene = Scene()
    if request.param == "connected side":
        scene.near, scene.far = scene.far, scene.near
    return scene


# --- the table of relay.py


def test_data_is_written(scene: Scene) -> None:
    scene.near.send(b"one")
    assert scene.near.read()
    scene.near.send(b"two")
    assert scene.near.read()
    scene.far.take()
    assert scene.far.got == b"onetwo"
    assert scene.far.calls.count("write") == 2


def test_bytes_are_counted_by_the_side_they_came_from(scene: Scene) -> None:
    scene.near.send(b"12345")
    scene.near.read()
    received = {scene.relay.accepted.received, scene.relay.connected.received}
    assert received == {0, 5}


def test_an_end_is_written_after_every_byte(scene: Scene) -> None:
    scene.near.send(b"last words")
    scene.near.end()
    scene.near.read()
    scene.near.read()
    assert scene.far.calls[-2:] == ["write", "write_eof"]
    assert not scene.far.saw_end
    scene.far.take()
    assert scene.far.got == b"last words"
    assert scene.far.saw_end
    assert "close" not in scene.near.calls + scene.far.calls


def test_the_other_direction_goes_on_after_an_end(scene: Scene) -> None:
    scene.near.end()
    scene.near.read()
    scene.far.send(b"the answer")
    scene.far.read()
    scene.near.take()
    assert scene.near.got == b"the answer"


def test_a_full_side_stops_the_reading_of_the_other(scene: Scene) -> None:
    scene.near.send(bytes(LIMIT * 4))
    while scene.near.read():
        pass
    assert LIMIT < scene.far.unsent() <= LIMIT + READ_SIZE
    assert scene.near.paused
    assert not scene.far.paused
    scene.far.take(1)
    assert scene.near.paused
    scene.far.take(scene.far.unsent() - LIMIT // 2)
    assert not scene.near.paused


def test_both_ends_close_both_sides(scene: Scene) -> None:
    scene.near.end()
    scene.near.read()
    scene.far.end()
    scene.far.read()
    scene.run()
    for side in (scene.near, scene.far):
        assert side.calls.count("close") == 1
        assert "abort" not in side.calls
        assert side.saw_end
        assert side.loss == [None]
    assert scene.far.calls.count("write_eof") == 1
    assert scene.relay.times_over == 1
    assert scene.relay.error is None


def test_what_is_unsent_when_both_have_ended_is_sent(scene: Scene) -> None:
    scene.near.send(b"x" * READ_SIZE)
    scene.near.end()
    scene.far.end()
    for side in (scene.near, scene.far, scene.near):
        side.read()
    scene.run()
    assert scene.relay.times_over == 0
    scene.far.take()
    scene.run()
    assert scene.far.got == scene.near.sent
    assert scene.relay.times_over == 1


def test_a_reset_is_a_reset(scene: Scene) -> None:
    scene.near.reset()
    scene.run()
    assert scene.far.saw_reset
    assert not scene.far.saw_end
    assert scene.far.calls.count("abort") == 1
    assert scene.relay.times_over == 1
    assert isinstance(scene.relay.error, StreamReset)


def test_a_reset_drops_what_is_unsent(scene: Scene) -> None:
    scene.near.send(b"unsent")
    scene.near.read()
    scene.near.reset()
    scene.run()
    assert scene.far.saw_reset
    assert scene.far.got == b""


def test_a_connection_that_is_over_unasked_is_a_reset(scene: Scene) -> None:
    """In order, but we had not closed: what the other side still sends cannot be delivered."""
    receiver = scene.near.receiver
    assert receiver is not None
    scene.near.lost = True
    receiver.connection_lost(None)
    scene.run()
    assert scene.far.saw_reset


def test_a_reset_while_closing_reaches_the_other_side(scene: Scene) -> None:
    scene.near.send(b"x")
    scene.near.end()
    scene.far.end()
    for side in (scene.near, scene.far, scene.near):
        side.read()
    scene.near.take()
    scene.far.reset()
    scene.run()
    assert scene.relay.times_over == 1
    assert scene.relay.error is not None


def test_one_side_that_closes_in_order_does_not_disturb_the_other(scene: Scene) -> None:
    scene.near.send(b"still to be taken")
    scene.near.end()
    scene.far.end()
    for side in (scene.near, scene.far, scene.near):
        side.read()
    scene.run()
    assert scene.near.loss == [None]
    assert "abort" not in scene.far.calls
    scene.far.take()
    assert scene.far.got == b"still to be taken"
    assert scene.far.saw_end


def test_the_first_error_is_kept(scene: Scene) -> None:
    scene.near.reset()
    scene.run()
    first = scene.near.loss[0]
    assert scene.relay.error is first
    assert scene.far.loss[0] is not first


# --- before both sides are there


def test_a_half_alone_is_not_read() -> None:
    scene = Scene(joined=False)
    scene.near.start(scene.relay.accepted)
    assert scene.near.paused
    scene.far.start(scene.relay.connected)
    assert not scene.near.paused
    assert not scene.far.paused


def waiting(happened: list[str]) -> Scene:
    scene = Scene(joined=False)
    scene.relay.accepted.first_event = lambda: happened.append("event")
    scene.near.start(scene.relay.accepted)
    return scene


def test_the_first_event_is_told_once_and_held() -> None:
    happened: list[str] = []
    scene = waiting(happened)
    assert not scene.near.paused
    scene.near.send(b"x" * (READ_SIZE - 1))
    scene.near.end()
    scene.near.read(pieces=3)
    assert happened == ["event"]
    assert scene.near.paused
    assert scene.relay.accepted.held == scene.near.sent
    scene.far.start(scene.relay.connected)
    assert scene.relay.accepted.held is None
    assert scene.far.calls.count("write") == 1
    scene.near.read()
    scene.far.take()
    assert scene.far.got == scene.near.sent
    assert scene.far.saw_end


def test_an_end_before_the_other_side_is_there_is_passed_on() -> None:
    happened: list[str] = []
    scene = waiting(happened)
    scene.near.end()
    scene.near.read()
    assert happened == ["event"]
    scene.far.start(scene.relay.connected)
    assert scene.far.saw_end
    assert scene.far.calls.count("write_eof") == 1


def test_a_reset_before_the_other_side_is_there_is_an_event() -> None:
    happened: list[str] = []
    scene = waiting(happened)
    scene.near.reset()
    scene.run()
    assert happened == ["event"]
    assert scene.relay.times_over == 1


def test_held_bytes_that_fill_the_other_side_keep_the_first_one_paused() -> None:
    scene = Scene(joined=False)
    scene.relay.pending_limit = 10
    scene.relay.accepted.first_event = lambda: None
    scene.near.start(scene.relay.accepted)
    scene.near.send(b"x" * READ_SIZE)
    scene.near.read()
    scene.far.start(scene.relay.connected)
    assert scene.near.paused
    scene.far.take()
    assert not scene.near.paused


def test_close_sends_what_was_read() -> None:
    scene = Scene()
    scene.near.send(b"read")
    scene.near.read()
    scene.relay.close()
    scene.run()
    assert scene.near.loss == [None]
    scene.far.take()
    scene.run()
    assert scene.far.got == b"read"
    assert scene.relay.times_over == 1


def test_abort_resets_both_sides() -> None:
    scene = Scene()
    scene.relay.abort()
    scene.run()
    assert scene.near.saw_reset
    assert scene.far.saw_reset
    assert scene.relay.times_over == 1


# --- any interleaving

SIDES = st.sampled_from(["client", "server"])
SIZES = st.integers(1, 2 * READ_SIZE)


class AnyInterleaving(RuleBasedStateMachine):
    """A client and a server that do what they like, joined by a proxy with any strategy.

    Promised: what is delivered is a prefix of what was sent; all of it, and the end after it, unless somebody
    reset; a half-close and a reset are told once; what waits is bounded; nothing is left when both are done.
    """

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.soon: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self.broken = False
        self.refused = False
        self.relay: ProxyRelay | None = None
        self.server: Connection | None = None

    def teardown(self) -> None:
        try:
            self.run_to_the_end()
        finally:
            self.loop.close()

    def within(self, work: Callable[[], Any]) -> Any:
        """Do something on the loop, and then what follows from it."""

        async def do() -> Any:
            result = work()
            while self.soon:
                callback, arguments = self.soon.popleft()
                callback(*arguments)
            return result

        return self.loop.run_until_complete(do())

    @initialize(
        strategy=st.sampled_from(["immediate", "deferred", "prepared"]),
        limit=st.sampled_from([1, LIMIT, 1000]),
    )
    def begin(self, strategy: str, limit: int) -> None:
        count = {"prepared_connection_count": 1} if strategy == "prepared" else {}
        self.limit = limit
        self.connector = Connector(lambda *call: self.soon.append((call[0], call[1:])))
        self.client = Connection(lambda *call: self.soon.append((call[0], call[1:])))
        self.incoming = Incoming(self.client)
        self.service = ProxyService(
            proxy_service(connect_strategy=strategy, maximum_pending_bytes=limit, **count), self.connector
        )
        self.within(lambda: self.loop.create_task(self.service.start()))
        self.within(lambda: None)

    # --- what happens

    @property
    def dial(self) -> Dial | None:
        """The connect that matters: the one of the relay, or of the connection that stands ready for it."""
        if self.relay is None:
            return self.connector.open[0] if self.connector.open and self.server is None else None
        wanted = self.relay.connected
        return next((dial for dial in self.connector.open if dial.receiver is wanted), None)

    def side(self, name: str) -> Connection | None:
        return self.client if name == "client" else self.server

    @precondition(lambda self: self.relay is None)
    @rule()
    def come(self) -> None:
        if self.server is not None and self.server.lost:
            self.server = None

        def work() -> ProxyRelay:
            self.service.incoming(self.incoming)
            return next(iter(self.service.relays))

        relay: ProxyRelay = self.within(work)
        self.relay = relay
        if self.server is not None and self.server.receiver is not relay.connected:
            self.server = None

    @precondition(lambda self: self.dial is not None)
    @rule()
    def connected(self) -> None:
        dial = self.dial
        assert dial is not None
        self.server = dial.connection
        self.within(dial.succeed)

    @precondition(lambda self: self.relay is not None and self.dial is not None)
    @rule()
    def refuse(self) -> None:
        dial = self.dial
        assert dial is not None
        if self.service.relays:
            self.refused = self.broken = True
        self.within(dial.fail)

    @rule(name=SIDES, data=st.binary(min_size=1, max_size=3 * READ_SIZE))
    def send(self, name: str, data: bytes) -> None:
        side = self.side(name)
        if side is not None and not side.app_ended and not side.lost:
            side.send(data)

    @rule(name=SIDES)
    def end(self, name: str) -> None:
        side = self.side(name)
        if side is not None:
            side.end()

    @rule(name=SIDES)
    def leave(self, name: str) -> None:
        side = self.side(name)
        if side is not None and not side.lost:
            # Who closes without having read all that comes breaks the connection, as in TCP.
            self.broken = True
            self.within(side.leave)

    @rule(name=SIDES)
    def reset(self, name: str) -> None:
        side = self.side(name)
        if side is not None and not side.lost and side.receiver is not None:
            self.broken = self.broken or self.relay is not None
            self.within(side.reset)

    @rule(name=SIDES, size=SIZES, pieces=st.integers(1, 3))
    def read(self, name: str, size: int, pieces: int) -> None:
        side = self.side(name)
        if side is not None:
            self.within(lambda: side.read(size, pieces))

    @rule(name=SIDES, size=SIZES)
    def take(self, name: str, size: int) -> None:
        side = self.side(name)
        if side is not None:
            self.within(lambda: side.take(size))

    @rule()
    def all_that_can_move(self) -> None:
        self.move()

    def move(self) -> bool:
        def once() -> bool:
            moved = False
            for side in filter(None, (self.client, self.server)):
                moved |= side.read() or bool(side.unsent())
                side.take()
            return moved

        moved = False
        while self.within(once):
            moved = True
        return moved

    # --- what holds

    @invariant()
    def what_came_is_a_prefix(self) -> None:
        if self.relay is None:
            return
        pairs = [(self.client, self.server), (self.server, self.client)]
        for sender, taker in pairs:
            if taker is None:
                continue
            sent = b"" if sender is None else bytes(sender.sent)
            assert sent.startswith(bytes(taker.got))
            if taker.saw_end and not taker.saw_reset and not self.broken:
                assert taker.got == sent
                assert sender is not None
                assert sender.app_ended

    @invariant()
    def what_waits_is_bounded(self) -> None:
        for side in filter(None, (self.client, self.server)):
            assert side.most_unsent <= getattr(self, "limit", 0) + READ_SIZE
            half = side.receiver
            if half is not None:
                assert len(getattr(half, "held", None) or b"") <= READ_SIZE

    @invariant()
    def each_end_is_told_once(self) -> None:
        for side in filter(None, (getattr(self, "client", None), self.server)):
            assert side.calls.count("write_eof") <= 1
            assert side.calls.count("abort") <= 1
            assert side.calls.count("close") <= 1
            assert len(side.loss) <= 1

    def run_to_the_end(self) -> None:
        """Both applications send no more and take all that comes: then everything must be over."""
        if self.relay is None:
            self.come()
        for _ in range(4):
            self.client.end()
            self.move()
            if self.dial is not None and self.service.relays:
                self.connected()
            if self.server is not None:
                self.server.end()
            self.move()
        assert not self.service.relays
        assert self.service.connections() == 0
        assert self.client.lost
        assert self.incoming.answered == 1
        server = self.server
        if server is not None:
            assert server.lost
            if not self.broken:
                for one, other in ((self.client, server), (server, self.client)):
                    assert other.got == one.sent
                    assert other.saw_end
                    assert not other.saw_reset
            elif self.client.saw_reset != server.saw_reset:
                # A reset that only one saw came when the other had everything.
                unhurt, sender = (server, self.client) if self.client.saw_reset else (self.client, server)
                assert unhurt.got == sender.sent
                assert unhurt.saw_end
        if self.refused:
            assert self.client.saw_reset


AnyInterleaving.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestAnyInterleaving = AnyInterleaving.TestCase
