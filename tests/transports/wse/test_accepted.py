"""One emulated WebSocket, as a client by hand sees it."""

from __future__ import annotations

import pytest
from tests.transports.span.world import World
from tests.transports.wse.scene import Browser, Emulated, Gateway

from isthmus.errors import StreamReset
from isthmus.transports.wse.accepted import SHORT_ANSWER
from isthmus.wse.encodings import ENCODINGS
from isthmus.wse.frames import CLOSE, NOP, PING, PONG, RECONNECT

OK = b"HTTP/1.1 200 OK\r\n"
REFUSED = b"HTTP/1.1 400 Bad Request\r\n"


def body_of(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


@pytest.fixture
def gateway(world: World) -> Gateway:
    return Gateway(world)


@pytest.fixture
def emulated(world: World, gateway: Gateway) -> Emulated:
    return Emulated(world, gateway)


def test_messages_both_ways(world: World, emulated: Emulated) -> None:
    down, answer = emulated.get()
    assert answer.startswith(OK)
    assert b"Connection: close" in answer
    assert body_of(answer) == NOP, "the head alone may be held by what is between"
    assert emulated.post(b"\x80\x05hello\x81\x03abc" + RECONNECT).startswith(OK)
    assert emulated.server.data == b"helloabc"
    assert emulated.server.transport is not None
    emulated.server.transport.write(b"back")
    assert down.read() == b"\x80\x04back"
    assert emulated.post(PING + RECONNECT).startswith(OK)
    assert down.read() == PONG
    assert emulated.gateway.quota.used == 1


def test_an_upstream_body_may_stream(world: World, emulated: Emulated) -> None:
    head = f"POST {emulated.targets[0]} HTTP/1.1\r\nHost: gate.example.com\r\nX-Sequence-No: 6\r\n"
    assert emulated.up.send(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n4\r\n\x80\x02ab\r\n") == b""
    assert emulated.server.data == b"ab"
    assert emulated.up.send(b"3\r\n\x80\x01c\r\n") == b""
    assert emulated.server.data == b"abc"
    assert emulated.up.send(b"4\r\n" + RECONNECT + b"\r\n0\r\n\r\n").startswith(OK)


@pytest.mark.parametrize("suffix", sorted(ENCODINGS))
def test_all_encodings(world: World, gateway: Gateway, suffix: str) -> None:
    emulated = Emulated(world, gateway, suffix)
    encoding = ENCODINGS[suffix]
    frames = b"\x80\x04\0\r\n\x7f" + PING + RECONNECT
    body = encoding.encode(frames)
    if encoding.text:
        body = body.decode("latin-1").encode()
    down, answer = emulated.get()
    assert f"Content-Type: {encoding.downstream_type}\r\n".encode() in answer
    assert emulated.post(body, f"Content-Type: {encoding.upstream_type}").startswith(OK)
    assert emulated.server.data == b"\0\r\n\x7f"
    assert emulated.server.transport is not None
    emulated.server.transport.write(b"\n")
    assert down.read() == encoding.encode(PONG + b"\x80\x01\n")


def test_what_is_written_before_anybody_asks_waits(world: World, emulated: Emulated) -> None:
    assert emulated.server.transport is not None
    emulated.server.transport.write(b"hello")
    _, answer = emulated.get()
    assert body_of(answer) == NOP + b"\x80\x05hello"


def test_waiting_frames_pause_the_service(world: World, emulated: Emulated) -> None:
    assert emulated.server.transport is not None
    while not emulated.server.write_paused:
        emulated.server.transport.write(bytes(10_000))
        assert emulated.server.transport.unsent() < 2 * SHORT_ANSWER
    assert emulated.server.transport.unsent() > SHORT_ANSWER
    emulated.get()
    assert not emulated.server.write_paused


def test_a_service_that_does_not_read_holds_the_client(world: World, emulated: Emulated) -> None:
    emulated.server.pause()
    assert emulated.post(b"\x80\x05hello" + RECONNECT) == b""
    assert emulated.server.data == b""
    emulated.server.resume()
    assert emulated.up.read().startswith(OK)
    assert emulated.server.data == b"hello"


def test_a_short_answer_comes_when_there_is_something(world: World, emulated: Emulated) -> None:
    down, answer = emulated.get("?.ki=p")
    assert answer == b""
    assert emulated.server.transport is not None
    emulated.server.transport.write(b"one")
    emulated.server.transport.write(b"two")
    answer = down.read()
    assert body_of(answer) == b"\x80\x03one\x80\x03two" + RECONNECT
    assert f"Content-Length: {len(body_of(answer))}\r\n".encode() in answer
    assert b"Connection: close" not in answer
    emulated.server.transport.write(b"three")
    assert body_of(emulated.get("?.ki=p", on=down)[1]) == b"\x80\x05three" + RECONNECT


def test_a_short_answer_beside_a_long_one_ends_that(world: World, emulated: Emulated) -> None:
    first, _ = emulated.get()
    assert emulated.server.transport is not None
    emulated.server.transport.write(b"one")
    second, answer = emulated.get("?.ki=p")
    assert first.read() == b"\x80\x03one" + RECONNECT
    assert first.ended
    assert answer == b""
    emulated.server.transport.write(b"two")
    assert body_of(second.read()) == b"\x80\x03two" + RECONNECT


def test_a_long_answer_beside_another(world: World, emulated: Emulated) -> None:
    first, _ = emulated.get()
    second, answer = emulated.get()
    assert first.read() == RECONNECT
    assert body_of(answer) == NOP
    assert emulated.server.transport is not None
    emulated.server.transport.write(b"x")
    assert second.read() == b"\x80\x01x"


def test_as_much_as_the_client_wants_at_a_time(world: World, emulated: Emulated) -> None:
    down, _ = emulated.get("?.kb=1")
    assert emulated.server.transport is not None
    emulated.server.transport.write(bytes(700))
    assert not down.ended
    emulated.server.transport.write(bytes(700))
    emulated.server.transport.write(b"behind")
    assert down.read().endswith(RECONNECT)
    assert down.ended
    assert body_of(emulated.get("?.kb=1")[1]) == NOP + b"\x80\x06behind"


def test_padding(world: World, emulated: Emulated) -> None:
    _, answer = emulated.get("?.kp=1000")
    assert body_of(answer) == NOP * 251
    _, answer = emulated.get("?.kp=99999999")
    assert len(body_of(answer)) < 5000


def test_heartbeats(world: World, emulated: Emulated) -> None:
    down, _ = emulated.get()
    world.advance(25.0)
    assert down.read() in (NOP, NOP * 2)
    quick, _ = emulated.get("?.kkt=2")
    world.advance(10.0)
    assert len(quick.read()) >= 4 * len(NOP)
    short, answer = emulated.get("?.ki=p")
    assert answer == b""
    world.advance(21.0)
    assert body_of(short.read()) == NOP + RECONNECT


def test_the_client_closes(world: World, gateway: Gateway, emulated: Emulated) -> None:
    down, _ = emulated.get()
    assert emulated.post(b"\x80\x01x" + CLOSE + RECONNECT).startswith(OK)
    assert emulated.server.events == ["made", "eof"]
    assert emulated.server.transport is not None
    emulated.server.transport.write(b"still")  # a half-close, as over any WebSocket
    emulated.server.transport.close()
    assert down.read() == b"\x80\x05still" + CLOSE + RECONNECT
    world.advance(1.0)
    assert emulated.server.error is None
    assert emulated.server.events[-1] == "lost"
    assert not gateway.emulation.streams
    assert gateway.quota.used == 0


@pytest.mark.parametrize("query", ["", "?.ki=p"])
def test_the_service_closes(world: World, gateway: Gateway, emulated: Emulated, query: str) -> None:
    down, _ = emulated.get(query)
    assert emulated.server.transport is not None
    emulated.server.transport.write_eof()
    world.settle()
    assert down.read().endswith(CLOSE + RECONNECT)
    assert emulated.post(b"\x80\x04late" + CLOSE + RECONNECT).startswith(OK)
    assert emulated.server.data == b"late"
    emulated.server.transport.close()
    world.advance(1.0)
    assert emulated.server.events[-1] == "lost"
    assert emulated.server.error is None
    assert not gateway.emulation.streams


@pytest.mark.parametrize("query", ["", "?.ki=p"])
def test_the_service_resets(world: World, gateway: Gateway, emulated: Emulated, query: str) -> None:
    down, _ = emulated.get(query)
    assert emulated.server.transport is not None
    emulated.server.transport.abort()
    world.settle()
    assert RECONNECT not in down.read()
    assert down.ended or query
    world.advance(1.0)
    assert not gateway.emulation.streams
    assert b"404" in emulated.post(RECONNECT)


def lost(emulated: Emulated) -> bool:
    return isinstance(emulated.server.error, StreamReset) and not emulated.gateway.emulation.streams


def test_the_client_resets(world: World, emulated: Emulated) -> None:
    emulated.get()
    assert emulated.post(NOP).startswith(REFUSED)
    assert lost(emulated)
    assert emulated.gateway.quota.used == 0


def test_an_answer_that_breaks_off_is_a_reset(world: World, emulated: Emulated) -> None:
    down, _ = emulated.get()
    down.wire.left.abort()
    world.settle()
    assert lost(emulated)


def test_an_upstream_body_that_breaks_off_is_a_reset(world: World, emulated: Emulated) -> None:
    head = f"POST {emulated.targets[0]} HTTP/1.1\r\nHost: gate.example.com\r\nX-Sequence-No: 6\r\n"
    emulated.up.send(head.encode() + b"Content-Length: 100\r\n\r\n\x80\x02a")
    emulated.up.wire.left.abort()
    world.settle()
    assert lost(emulated)


def test_a_client_of_short_answers_may_come_again(world: World, emulated: Emulated) -> None:
    down, _ = emulated.get("?.ki=p")
    down.wire.left.abort()
    world.settle()
    assert emulated.server.transport is not None
    emulated.server.transport.write(b"x")
    assert body_of(emulated.get("?.ki=p")[1]) == b"\x80\x01x" + RECONNECT


def test_one_that_nobody_claims_is_given_up(world: World, emulated: Emulated) -> None:
    world.advance(29.0)
    assert emulated.gateway.emulation.streams
    world.advance(2.0)
    assert lost(emulated)


@pytest.mark.parametrize("sequence", [5, 7, 8, None])
@pytest.mark.parametrize("which", [0, 1])
def test_a_wrong_sequence_number_ends_it(
    world: World, emulated: Emulated, sequence: int | None, which: int
) -> None:
    method = ("POST", "GET")[which]
    answer = emulated.up.ask(method, emulated.targets[which], body=b"", sequence=sequence)
    assert answer.startswith(REFUSED)
    assert lost(emulated)


def test_upstream_and_downstream_count_for_themselves(world: World, emulated: Emulated) -> None:
    for _ in range(3):
        assert emulated.post(RECONNECT).startswith(OK)
    down, answer = emulated.get("?.ksn=6")
    assert answer.startswith(OK)
    down, answer = emulated.get()
    assert answer.startswith(OK)
    assert not down.ended


@pytest.mark.parametrize(
    "body",
    [
        b"\x42",
        b"\x80\x05abc",
        b"\x80\x01a",
        RECONNECT + NOP,
        b"\x81\x01\xff" + RECONNECT,
        b"\x80\x8a\x80\x00" + RECONNECT,
        b"\0\xfe\xff" + RECONNECT,
    ],
)
def test_a_wrong_body_ends_it(world: World, emulated: Emulated, body: bytes) -> None:
    emulated.get()
    assert emulated.post(body).startswith(REFUSED)
    world.advance(1.0)
    assert lost(emulated)


def test_one_upstream_at_a_time(world: World, emulated: Emulated) -> None:
    head = f"POST {emulated.targets[0]} HTTP/1.1\r\nHost: gate.example.com\r\nX-Sequence-No: 6\r\n"
    emulated.up.send(head.encode() + b"Content-Length: 100\r\n\r\n")
    other = Browser(world, emulated.gateway)
    assert other.ask("POST", emulated.targets[0], body=RECONNECT, sequence=7).startswith(REFUSED)
    assert emulated.up.read().startswith(REFUSED)
    assert lost(emulated)


def test_wrong_methods(world: World, gateway: Gateway) -> None:
    for which, method in ((0, "GET"), (0, "PUT"), (1, "PUT")):
        emulated = Emulated(world, gateway)
        answer = emulated.up.ask(method, emulated.targets[which], sequence=6)
        assert answer.startswith(REFUSED)
        assert lost(emulated)


def test_downstream_may_be_a_post_whose_body_is_ignored(world: World, emulated: Emulated) -> None:
    answer = emulated.up.ask("POST", emulated.targets[1], body=b"whatever", sequence=6)
    assert answer.startswith(OK)


def test_a_client_without_pings_is_not_pinged_and_lives(world: World) -> None:
    gateway = Gateway(world, ws_inactivity_timeout="10 s")
    emulated = Emulated(world, gateway, "bm", "X-None: 1")
    down, _ = emulated.get()
    world.advance(60.0)
    assert PING not in down.read()
    assert emulated.server.open
    emulated.up = Browser(world, gateway)  # that connection was not kept so long
    assert emulated.post(PING + RECONNECT).startswith(REFUSED)
    assert lost(emulated)


def test_a_client_that_answers_no_ping_is_given_up(world: World) -> None:
    emulated = Emulated(world, Gateway(world, ws_inactivity_timeout="10 s"))
    down, _ = emulated.get()
    world.advance(9.0)
    assert PING in down.read()
    world.advance(20.0)
    assert lost(emulated)


def test_kaazings_own_gateway_as_a_client(world: World, gateway: Gateway) -> None:
    """It creates with GET and without a version, and streams upstream in chunks, frame after frame."""
    up = Browser(world, gateway)
    fields = ("X-Accept-Commands: ping", "X-Next-Protocol: wse/1.0")
    answer = up.ask("GET", "/service/;e/cb", *fields, sequence=0)
    assert answer.startswith(b"HTTP/1.1 201 ")
    lines = body_of(answer).decode().split("\n")
    targets = [line.removeprefix("http://gate.example.com") for line in lines[:2]]
    down = Browser(world, gateway)
    assert down.ask("GET", targets[1], *fields, sequence=1).startswith(OK)
    head = f"POST {targets[0]} HTTP/1.1\r\nHost: gate.example.com\r\nX-Sequence-No: 1\r\n"
    up.send(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n")
    for frame in (b"\x80\x03one", b"\x81\x03two"):
        up.send(b"%x\r\n%b\r\n" % (len(frame), frame))
    (server,) = gateway.accepted
    assert server.data == b"onetwo"
    assert server.transport is not None
    server.transport.write(b"x" * 200)
    assert down.read() == b"\x80\x81\x48" + b"x" * 200
    assert up.send(b"8\r\n" + CLOSE + RECONNECT + b"\r\n0\r\n\r\n").startswith(OK)
    server.transport.close()
    assert down.read() == CLOSE + RECONNECT
