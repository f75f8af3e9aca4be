"""A stream as a transport: what is held, what is told in which order, and how it ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.transports.span.world import Client, Scene, World, transport_of

from isthmus.errors import StreamReset
from isthmus.span import Code
from isthmus.span.limits import FIRST_WINDOW
from isthmus.transports.span.stream import LINGER_SECONDS, SpanStream


def stream_of(client: Client) -> SpanStream:
    transport = client.transport
    assert isinstance(transport, SpanStream)
    return transport


def fill(client: Client, piece: int = 16_384) -> int:
    """Write until there is no room; return how much that was."""
    written = 0
    while not client.write_paused:
        client.call("write", b"%5d" % (written // piece) * (piece // 5))
        written += piece // 5 * 5
        assert written < 64 * 1024 * 1024
    return written


def directions(scene: Scene) -> list[tuple[Client, Client]]:
    """Connect, and return both ends in both orders."""
    client, accepted = scene.pair()
    return [(client, accepted), (accepted, client)]


# --- reading


@pytest.mark.parametrize("first", [0, 1])
def test_what_comes_while_paused_is_held_in_order(world: World, first: int) -> None:
    receiver, sender = directions(Scene(world))[first]
    receiver.pause()
    sender.call("write", b"held, ")
    world.settle()
    sender.call("write", b"also, ")
    sender.call("close")
    world.settle()
    assert receiver.events == ["made"]
    receiver.resume()
    assert not receiver.data  # nothing comes from inside `resume_reading`
    world.settle()
    assert receiver.data == b"held, also, "
    assert receiver.events == ["made", "eof"]
    assert not sender.lost  # until its end was taken, and answered
    receiver.call("close")
    world.settle()
    assert receiver.events == ["made", "eof", "lost"]
    assert receiver.error is None
    assert sender.error is None


def test_what_follows_while_something_is_held_waits_behind_it(world: World) -> None:
    scene = Scene(world)
    client, accepted = scene.pair()
    (wire,) = scene.network.open
    client.pause()
    accepted.call("write", b"first ")
    world.settle()
    accepted.call("write", b"second ")
    accepted.call("write_eof")
    world.clock.run()
    client.resume()
    while wire.right.deliver():  # before what is held was handed up
        assert not client.data
    world.settle()
    assert client.data == b"first second "
    assert client.events == ["made", "eof"]


def test_a_receiver_that_pauses_each_time_gets_everything_piece_by_piece(world: World) -> None:
    client, accepted = Scene(world).pair()
    client.pause_each_time = True
    for number in range(20):
        accepted.call("write", b"%2d" % number)
        world.settle()
    accepted.call("write_eof")
    world.settle()
    assert client.data == b" 0"
    for _ in range(30):
        client.resume()
        world.settle()
    assert client.data == b"".join(b"%2d" % number for number in range(20))
    assert client.events == ["made", "eof"]


def test_pausing_and_resuming_many_times_hands_up_once(world: World) -> None:
    client, accepted = Scene(world).pair()
    client.pause()
    accepted.call("write", b"once")
    world.settle()
    for _ in range(3):
        client.resume()
        client.pause()
    world.settle()
    assert not client.data
    for _ in range(3):
        client.resume()
    world.settle()
    assert client.data == b"once"


def test_what_is_held_is_bounded_and_holds_back_its_own_stream_only(world: World) -> None:
    scene = Scene(world)
    client, accepted = scene.pair()
    other, other_accepted = scene.pair()
    client.pause()
    for _ in range(5):
        fill(accepted)
        world.advance(0.1)
    assert accepted.write_paused
    other_accepted.call("write", b"passes")
    world.settle()
    assert other.data == b"passes"
    client.resume()
    world.clock.run()  # what was held is handed up before anything more can come
    assert FIRST_WINDOW // 2 < len(client.data) <= FIRST_WINDOW
    world.advance(1.0)
    assert not accepted.write_paused
    assert accepted.events.count("resume") >= 1


def test_close_drops_what_is_held_and_what_still_comes(world: World) -> None:
    """The peer may go on until it has seen the end: it is not held back by what nobody will read."""
    client, accepted = Scene(world).pair()
    client.pause()
    fill(accepted)
    world.advance(0.1)
    client.call("close")
    world.advance(0.5)
    assert "eof" in accepted.events
    assert not accepted.write_paused
    accepted.call("write", b"too late" * 10_000)
    accepted.call("close")
    world.advance(0.5)
    assert not client.data
    for each in (client, accepted):
        assert each.lost
        assert each.error is None


# --- close


@pytest.mark.parametrize("first", [0, 1])
def test_close_sends_everything_however_slowly_it_is_read(world: World, first: int) -> None:
    """The time to linger begins when the other side has all of it."""
    sender, receiver = directions(Scene(world))[first]
    receiver.pause()
    written = fill(sender)
    sender.call("close")
    world.advance(5 * LINGER_SECONDS)
    assert not receiver.lost
    assert not sender.lost
    receiver.resume()
    world.advance(LINGER_SECONDS / 2)
    assert len(receiver.data) == written
    assert receiver.events[-1] == "eof"
    receiver.call("close")
    world.settle()
    assert receiver.error is None
    assert sender.lost
    assert sender.error is None


def test_a_peer_that_does_not_end_is_reset_after_a_while(world: World) -> None:
    client, accepted = Scene(world).pair()
    client.call("write", b"the last words")
    client.call("close")
    world.advance(LINGER_SECONDS - 0.1)
    assert accepted.events == ["made", "eof"]
    assert not client.lost
    accepted.call("write", b"not yet")
    world.advance(0.2)
    assert accepted.data == b"the last words"
    assert client.lost
    assert client.error is None  # all that was written has arrived
    assert isinstance(accepted.error, StreamReset)


def test_close_of_a_stream_that_was_held_whole(world: World) -> None:
    """The far side has forgotten a stream whose end is still held here."""
    client, accepted = Scene(world).pair()
    client.call("write_eof")
    world.settle()
    client.pause()
    accepted.call("close")
    world.settle()
    assert client.events == ["made"]
    stream_of(client).was_closed()
    assert client.events == ["made"]
    client.call("close")
    assert not client.lost
    world.clock.run()
    assert client.events == ["made", "lost"]
    assert client.error is None


def test_an_end_that_is_held_is_told_before_the_close(world: World) -> None:
    client, accepted = Scene(world).pair()
    client.call("write_eof")
    world.settle()
    client.pause()
    accepted.call("close")
    world.settle()
    stream_of(client).was_closed()
    assert client.events == ["made"]
    client.resume()
    assert client.events == ["made"]
    world.clock.run()
    assert client.events == ["made", "eof", "lost"]


def test_closing_again_and_writing_after_it(world: World) -> None:
    client, _ = Scene(world).pair()
    client.call("close")
    client.call("close")
    with pytest.raises(RuntimeError):
        client.call("write", b"x")
    ended, _ = Scene(world).pair()
    ended.call("write_eof")
    ended.call("write_eof")
    with pytest.raises(RuntimeError):
        ended.call("write", b"x")


# --- abort


@pytest.mark.parametrize("first", [0, 1])
def test_abort_is_a_reset_at_both_ends_and_never_from_inside(world: World, first: int) -> None:
    aborter, other = directions(Scene(world))[first]
    other.pause()
    aborter.call("write", b"lost with it")
    world.settle()
    aborter.call("abort")
    aborter.call("abort")
    assert not aborter.lost
    world.settle()
    for each in (aborter, other):
        assert each.events == ["made", "lost"]
        assert isinstance(each.error, StreamReset)
        each.call("write", b"nobody")
        each.call("writelines", [b"is", b"there"])
        each.call("write_eof")
        each.call("close")
        each.call("abort")
        each.call("pause_reading")
        each.call("resume_reading")
    world.advance(10 * LINGER_SECONDS)


@pytest.mark.parametrize("ending", ["close", "abort"])
@pytest.mark.parametrize(
    "moment", ["connection_made", "data_received", "eof_received", "pause_writing", "resume_writing"]
)
@pytest.mark.parametrize("held", [False, True])
def test_a_receiver_may_give_up_whenever_it_is_told_something(
    world: World, moment: str, ending: str, held: bool
) -> None:
    scene = Scene(world)

    class Giving(Client):
        gave_up = False

    def gives(self: Giving, *arguments: Any) -> None:
        getattr(Client, moment)(self, *arguments)
        if not self.gave_up:
            self.gave_up = True
            self.call(ending)

    setattr(Giving, moment, gives)
    client = Giving()
    scene.connector.connect(client, client.failed)
    world.settle()
    (accepted,) = scene.server.accepted
    if held and client.open:
        client.pause()
    accepted.call("write", b"data")
    accepted.call("write_eof")
    world.settle()
    if moment.endswith("writing"):
        accepted.pause()
        fill(client)
        accepted.resume()
        world.advance(0.1)
    elif held and client.open:
        client.resume()
        world.settle()
    assert client.gave_up
    if accepted.open:
        accepted.call("close")
    world.advance(1.0)
    assert client.events.count("lost") == 1
    assert accepted.events.count("lost") == 1
    assert (client.error is None) == (ending == "close")
    assert scene.server.quota.used == 0


# --- a reset from the other side


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (Code.CANCEL, "the other side reset the stream"),
        (Code.REFUSED, "the destination behind the other gateway refused the connection"),
        (Code.GOING, "the other gateway is stopping"),
        (Code.EXPIRED, "the session was lost: a reason"),
        (4711, "the stream was reset with 4711"),
    ],
)
def test_a_reset_says_why(world: World, code: int, reason: str) -> None:
    scene = Scene(world)
    client, accepted = scene.pair()
    driver = scene.server.session
    (stream,) = driver.session.streams.values()
    driver.session.reset(stream, code, "a reason")
    world.settle()
    assert isinstance(client.error, StreamReset)
    assert str(client.error) == reason
    stream.owner.was_reset(code, "and again")
    assert isinstance(accepted.error, StreamReset)
    assert accepted.events == ["made", "lost"]


def test_a_reset_drops_what_is_held(world: World) -> None:
    client, accepted = Scene(world).pair()
    client.pause()
    accepted.call("write", b"held")
    world.settle()
    accepted.call("abort")
    world.settle()
    assert client.events == ["made", "lost"]
    assert not client.data


@pytest.mark.parametrize("how", ["abort", "close"])
def test_an_end_while_it_is_being_handed_up(world: World, how: str) -> None:
    """The reset comes between `resume_reading` and what it leads to."""
    client, accepted = Scene(world).pair()
    client.pause()
    accepted.call("write", b"held")
    world.settle()
    client.resume()
    client.call(how)
    world.advance(3 * LINGER_SECONDS)
    assert not client.data
    assert client.events == ["made", "lost"]


# --- writing


def test_writing_waits_for_room_and_goes_on(world: World) -> None:
    client, accepted = Scene(world).pair()
    accepted.pause()
    written = fill(client)
    assert transport_of(client).unsent() == written
    assert client.events == ["made", "pause"]
    client.call("write", b"x" * 10)  # told once
    assert client.events == ["made", "pause"]
    accepted.resume()
    world.advance(1.0)
    assert client.events == ["made", "pause", "resume"]
    assert len(accepted.data) == written + 10
    assert transport_of(client).unsent() == 0


def test_a_write_limit_from_above_changes_nothing(world: World) -> None:
    client, _ = Scene(world).pair()
    transport_of(client).set_write_limit(1)
    client.call("write", b"more than one")
    assert not client.write_paused


def test_writelines_are_written_in_order(world: World) -> None:
    client, accepted = Scene(world).pair()
    reused = bytearray(b"two ")
    client.call("writelines", [b"one ", reused, memoryview(b"three ")])
    reused[:] = b"XXXX"
    world.settle()
    assert accepted.data == b"one two three "


# --- who is told


def test_a_new_receiver_is_told_from_now_on(world: World) -> None:
    client, accepted = Scene(world).pair()
    accepted.call("write", b"one")
    world.settle()
    second = Client()
    second.events.append("made")
    transport_of(client).set_receiver(second)
    accepted.call("write", b"two")
    accepted.call("write_eof")
    world.settle()
    assert client.data == b"one"
    assert second.data == b"two"
    assert second.events == ["made", "eof"]


def test_what_is_known_of_the_connection_is_that_of_a_carrier(world: World) -> None:
    scene = Scene(world)
    client, _ = scene.pair()
    assert transport_of(client).info("peername") == ("192.0.2.7", 50000)
    assert transport_of(client).info("socket") is None
    scene.refuse()
    scene.network.cut()
    world.settle()
    assert transport_of(client).info("peername") is None


LAST_WORDS: list[Callable[[Client], None]] = [
    lambda client: client.call("close"),
    lambda client: client.call("abort"),
]


@pytest.mark.parametrize("say", LAST_WORDS)
def test_nothing_is_left_of_a_stream(world: World, say: Callable[[Client], None]) -> None:
    scene = Scene(world)
    client, accepted = scene.pair()
    say(client)
    world.settle()
    if accepted.open:
        accepted.call("close")
    world.advance(1.0)
    assert not scene.session.session.streams
    assert not scene.server.session.session.streams
