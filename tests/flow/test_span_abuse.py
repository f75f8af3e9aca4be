"""Nobody can abuse span: a hostile client over real WebSockets, beside one that must not notice.

Every test ends with a conversation of the other client, whose session is as old as the test.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.flow.gateways import HOST, Application, Backend, configuration, echo, running, service
from tests.flow.hostile import NONCE, Hostile, hostile
from tests.span.vectors import INVALID, name_of
from tests.system import peers
from tests.system.process import free_port
from tests.transports.loops import until

from isthmus.span import frames as f
from isthmus.span.counters import Counters
from isthmus.span.frames import Code, Settings, Type
from isthmus.transports.span.accept import SpanAccept

BEGIN = f.frame(Type.OPEN, 1, (1 << 18).to_bytes(8, "big"))


class Scene:
    """A server gateway with two accepts, its backend, and a client gateway whose stream must live on."""

    def __init__(
        self, web_port: int, spans: list[SpanAccept], backend: Backend, witness: Application
    ) -> None:
        self.web_port = web_port
        self.backend = backend
        self._spans = spans
        self._witness = witness

    @property
    def table(self) -> Counters:
        """The counters of the table of sessions."""
        counters: Counters = self._spans[0].sessions.counters
        return counters

    def session(self, client: Hostile) -> Any:
        """Return the gateway's side of a session."""
        return self._spans[0].sessions._sessions.get(client.welcome.session)

    def sessions(self) -> list[Any]:
        return list(self._spans[0].sessions._sessions.values())

    async def nobody_else_noticed(self) -> None:
        said = os.urandom(1000)
        await self._witness.send(said)
        assert await self._witness.exactly(1000) == said


@contextlib.asynccontextmanager
async def scene(
    accept_options: dict[str, Any] | None = None, options: dict[str, Any] | None = None
) -> AsyncIterator[Scene]:
    web_port, port = free_port(), free_port()
    tunnel, other = f"ws://{HOST}:{web_port}/tunnel", f"ws://{HOST}:{web_port}/other"
    async with Backend(echo) as backend:
        to = f"tcp://{HOST}:{backend.port}"
        settings = {"span.grace": "2 s", **(accept_options or {})}
        far = [
            service("proxy", accept, to, name=name, accept_options=settings)
            for name, accept in (("tunnel", tunnel), ("other", other))
        ]
        near = service("proxy", f"tcp://{HOST}:{port}", tunnel, connect_options={"span.mode": "required"})
        async with (
            running(configuration(*far, options=options)) as server,
            running(configuration(near)) as _,
        ):
            with await Application.connect(port) as witness:
                made = Scene(web_port, server.accepts.spans, backend, witness)
                await made.nobody_else_noticed()
                yield made
                await made.nobody_else_noticed()


# --- joining and resuming


async def test_who_cannot_prove_it_gets_no_session() -> None:
    """A wrong proof, another session, a replay, another accept: all answered alike, nothing happens."""
    async with scene() as made, hostile(made.web_port) as owner:
        await owner.found()
        await owner.say(BEGIN)
        await owner.hear(Type.OPENED)
        session = made.session(owner)
        welcome = owner.welcome
        fences = bytes(range(16))
        async with hostile(made.web_port) as other:
            good = other.join(welcome, 0, 2, fences)
        spoiled: list[dict[str, Any]] = [
            {"secret": bytes(32)},
            {"proof": bytes(32)},
            {"session": bytes(16)},
            {"session": bytes(16), "secret": bytes(32)},
            {"slot": 1},
            {"epoch": 3},
            {"nonce": bytes(16)},
            {"fences": bytes([0])},
            {"nonce_of_server": bytes(16)},
        ]
        answers = set()
        attempts = 0
        for changes in spoiled:
            async with hostile(made.web_port) as other:
                await other.say(other.join(welcome, 0, 2, fences, **changes))
                answers.add(await other.hear(Type.REFUSED))
                assert await other.ended() == 1000
                attempts += 1
        for epoch in (0, 1):  # not above the last
            async with hostile(made.web_port) as other:
                await other.say(other.join(welcome, 0, epoch, fences))
                answers.add(await other.hear(Type.REFUSED))
                attempts += 1
        async with hostile(made.web_port) as other:  # heard elsewhere, and said again
            await other.say(good)
            answers.add(await other.hear(Type.REFUSED))
            attempts += 1
        assert {f.parse_refused(payload)[0] for _, _, payload in answers} == {Code.UNKNOWN}
        assert len(answers) == 1, "an answer tells them apart"
        assert made.table.refused_unknown == attempts
        async with hostile(made.web_port, "/other") as other:
            await other.say(other.join(welcome, 0, 2, fences))
            assert await other.hear(Type.REFUSED) == answers.pop()
        # The owner's carrier lives, and so does its stream.
        assert list(session.carriers) == [0]
        await owner.say(f.frame(Type.DATA, 1, bytes(8) + b"still here"))
        assert (await owner.hear(Type.DATA))[3] == b"still here"
        await owner.say(f.frame(Type.RESET, 1, bytes(2)))
        await owner.hear(Type.CLOSED)


async def test_another_node_is_told_without_a_look_at_the_session() -> None:
    async with scene() as made, hostile(made.web_port) as owner:
        await owner.found()
        async with hostile(made.web_port) as other:
            await other.say(other.join(owner.welcome, 0, 2, b"\0", place=bytes(16)))
            assert await other.refused() == Code.ELSEWHERE
        assert made.table.refused_elsewhere == 1


async def test_a_storm_of_resumes() -> None:
    """They are put off when they come too often, and then go on."""
    async with scene() as made, hostile(made.web_port) as owner:
        await owner.found()
        welcome, epoch, deferred = owner.welcome, 1, 0
        for _ in range(60):
            epoch += 1
            async with hostile(made.web_port) as other:
                await other.say(other.join(welcome, 0, epoch, bytes(range(16))))
                frame = await other.hear(Type.WELCOME, Type.REFUSED)
                if frame[0] == Type.REFUSED:
                    code, retry_after, _ = f.parse_refused(frame[2])
                    assert code == Code.LATER
                    assert retry_after > 0
                    deferred += 1
        assert 10 <= deferred < 60
        assert made.table.resumes_deferred == deferred
        await asyncio.sleep(0.5)
        async with hostile(made.web_port) as other:
            await other.resume(welcome, epoch + 1)


async def test_too_many_slots() -> None:
    async with scene() as made, contextlib.AsyncExitStack() as stack:
        owner = await stack.enter_async_context(hostile(made.web_port))
        await owner.found()
        for slot in range(1, 16):
            other = await stack.enter_async_context(hostile(made.web_port))
            await other.say(other.join(owner.welcome, slot, slot + 1))
            await other.hear(Type.WELCOME)
        for slot in (3, 16, 255):
            other = await stack.enter_async_context(hostile(made.web_port))
            await other.say(other.join(owner.welcome, slot, 100 + slot))
            assert await other.refused() == Code.LATER


# --- what a handshake may not be


@pytest.mark.parametrize(
    "said",
    [
        f.frame(Type.OPEN, 1, bytes(8)),
        f.frame(Type.PING, 0, bytes(8)),
        f.frame(Type.HELLO, 0, NONCE),
        f.frame(Type.WELCOME, 0, bytes(64)),
        f.frame(Type.NEW, 0, NONCE[:15]),
        f.frame(Type.NEW, 0, NONCE + bytes(5000)),
        f.frame(Type.NEW, 0, NONCE)[:-1],
        f.frame(Type.JOIN, 0, bytes(84)),
        f.frame(Type.RESUME, 0, bytes(85 + 257)),
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        bytes(60_000),
    ],
    ids=str,
)
async def test_an_invalid_handshake(said: bytes) -> None:
    async with scene() as made, hostile(made.web_port) as other:
        await other.say(said)
        assert await other.ended() == 1002
        assert made.backend.accepted == 1


async def test_text_in_the_handshake() -> None:
    async with scene() as made, hostile(made.web_port) as other:
        await other.websocket.send("hello")
        assert await other.ended() == 1002


async def test_who_says_nothing_is_closed() -> None:
    async with scene(options={"http.head.timeout": "1 s"}) as made:
        async with hostile(made.web_port) as other:
            assert await other.ended() == 1002
        assert made.table.handshakes_failed == 1


async def test_sessions_without_end() -> None:
    """One that has no carriers and no streams gives way; beyond that: later."""
    async with scene(options={"span.maximum.sessions": 5}) as made:
        for _ in range(20):  # each carrier ends at once
            async with hostile(made.web_port) as other:
                await other.found()
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(4):  # and the witness has one
                other = await stack.enter_async_context(hostile(made.web_port))
                await other.found()
            other = await stack.enter_async_context(hostile(made.web_port))
            await other.say(f.new(NONCE, Settings()))
            assert await other.refused() == Code.LATER
        assert made.table.refused_later == 1


# --- what a session may not be


@pytest.mark.parametrize("vector", INVALID, ids=name_of)
async def test_an_invalid_frame_ends_the_session(vector: dict[str, Any]) -> None:
    """And nobody else's: PROTOCOL is told, then the carrier is closed with 1002."""
    async with scene() as made, hostile(made.web_port) as other:
        await other.found()
        await other.say(BEGIN)
        await other.hear(Type.OPENED)
        session = made.session(other)
        await other.say(bytes.fromhex(vector["bytes"]))
        assert await other.ended() == 1002
        assert session.over
        assert session.counters.protocol_errors == 1
        assert not session.streams


OUT_OF_STATE = {
    "a second NEW": f.new(NONCE, Settings()),
    "HELLO": f.hello(NONCE, Settings()),
    "WELCOME": f.frame(Type.WELCOME, 0, bytes(32)),
    "STATE without RESUME": b"".join(f.state(2, 3, [])),
    "data above the limit": f.frame(Type.DATA, 1, (1 << 40).to_bytes(8, "big") + b"x"),
    "data that passes the limit": f.frame(Type.DATA, 1, (1 << 18).to_bytes(8, "big") + b"x"),
    "data of a stream that never was": f.frame(Type.DATA, 3, bytes(8) + b"x"),
    "data of the other parity": f.frame(Type.DATA, 2, bytes(8) + b"x"),
    "an end above the limit": f.frame(Type.FIN, 1, (1 << 50).to_bytes(8, "big")),
    "an ACK of what was not sent": f.ack(1, 1000, 1 << 20),
    "OPEN of the other parity": f.frame(Type.OPEN, 2, bytes(8)),
    "OPEN far ahead": f.frame(Type.OPEN, 1_000_001, bytes(8)),
    "OPENED of its own stream": f.frame(Type.OPENED, 1, bytes(8)),
    "CLOSED of a stream that never was": f.frame(Type.CLOSED, 99, b""),
    "an empty message": b"",
}


@pytest.mark.parametrize("name", OUT_OF_STATE)
async def test_a_frame_out_of_state_ends_the_session(name: str) -> None:
    async with scene() as made, hostile(made.web_port) as other:
        await other.found()
        await other.say(BEGIN)
        await other.hear(Type.OPENED)
        session = made.session(other)
        await other.say(OUT_OF_STATE[name])
        assert await other.ended() == 1002
        assert session.over
        assert session.counters.protocol_errors == 1


async def test_two_ends_that_differ() -> None:
    async with scene() as made, hostile(made.web_port) as other:
        await other.found()
        await other.say(BEGIN, f.frame(Type.FIN, 1, (5).to_bytes(8, "big")))
        await other.say(f.frame(Type.FIN, 1, (6).to_bytes(8, "big")))
        assert await other.ended() == 1002


async def test_a_message_that_is_too_long() -> None:
    async with scene() as made, hostile(made.web_port) as other:
        await other.found()
        session = made.session(other)
        many = other.settings.maximum_message // 16 + 1
        await other.say(*(f.frame(Type.PING, 0, bytes(8)) for _ in range(many)))
        assert await other.ended() in (1002, 1009)
        await until(lambda: not session.carriers, "the carrier is gone")


# --- floods


async def test_a_flood_of_opens() -> None:
    """Above the limit each is reset, and no destination is connected."""
    most = 30
    async with scene({"span.maximum.streams": most}) as made, hostile(made.web_port) as other:
        await other.found()
        opens = [f.frame(Type.OPEN, number, bytes(8)) for number in range(1, 4001, 2)]
        for start in range(0, len(opens), 500):
            await other.say(*opens[start : start + 500])
        for _ in range(len(opens) - most):
            _, _, payload = await other.hear(Type.RESET)
            assert f.parse_reset(payload)[0] == Code.OVERLOAD
        session = made.session(other)
        assert session.counters.overloaded == len(opens) - most
        assert len(session.streams) == most
        assert made.backend.accepted <= most + 1
        await other.say(*(f.frame(Type.RESET, number, bytes(2)) for number in range(1, 2 * most, 2)))
        await until(lambda: not session.streams, "all streams are over")


async def test_streams_count_as_connections() -> None:
    """What a gateway may have in all holds for streams of a session too."""
    async with scene(options={"maximum.connections": 10}) as made, hostile(made.web_port) as other:
        await other.found()
        await other.say(*(f.frame(Type.OPEN, number, bytes(8)) for number in range(1, 101, 2)))
        resets = 0
        for _ in range(50 - 10):
            _, _, payload = await other.hear(Type.RESET)
            resets += f.parse_reset(payload)[0] == Code.OVERLOAD
        assert resets == 40
        assert made.backend.accepted <= 11


async def test_a_flood_of_opens_that_are_reset() -> None:
    """Nothing of them is kept, and who else is there gets on."""
    async with scene() as made, hostile(made.web_port) as other:
        await other.found()
        session = made.session(other)
        closed = 0
        for start in range(1, 20_001, 1000):
            pairs = []
            for number in range(start, start + 1000, 2):
                pairs += [f.frame(Type.OPEN, number, bytes(8)), f.frame(Type.RESET, number, bytes(2))]
            await other.say(*pairs)
            await made.nobody_else_noticed()
        for _ in range(10_000):
            await other.hear(Type.CLOSED)
            closed += 1
        assert closed == 10_000
        assert not session.streams
        assert session.opened.below == 20_001
        assert not list(session.opened.above())


async def test_a_peer_that_asks_and_does_not_read() -> None:
    """Answers are bounded: the carrier is closed."""
    async with scene({"span.maximum.streams": 1}) as made:
        with await Application.connect(made.web_port, receive_buffer=4096) as bare:
            offer = b"Sec-WebSocket-Protocol: " + f.SUBPROTOCOL.encode() + b"\r\n\r\n"
            upgrade = peers.upgrade_request(f"{HOST}:{made.web_port}", "/tunnel")
            await bare.send(upgrade.removesuffix(b"\r\n") + offer)
            answered = b""
            while b"\r\n\r\n" not in answered:
                answered += await bare.receive()
            await bare.send(message(f.new(NONCE, Settings())))
            await until(lambda: made.table.sessions_opened == 2, "the session is there")
            [session] = [each for each in made.sessions() if not each.streams]
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                for start in range(1, 130_000, 4000):
                    opens = [f.frame(Type.OPEN, each, bytes(8)) for each in range(start, start + 4000, 2)]
                    await bare.send(message(b"".join(opens)))
            await until(lambda: session.counters.carriers_flooded == 1, "the carrier is given up")
            await made.nobody_else_noticed()


def message(payload: bytes) -> bytes:
    """Return a binary message of a client; its masking key is zero."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return b"\x82" + length + bytes(4) + payload


async def test_a_flood_of_pings() -> None:
    """Only the last is answered where they come faster than answers can go."""
    async with scene() as made, hostile(made.web_port) as other:
        await other.found()
        for _ in range(20):
            await other.say(*(f.frame(Type.PING, 0, number.to_bytes(8, "big")) for number in range(3000)))
        await other.hear(Type.PONG)
        await made.nobody_else_noticed()


async def test_pieces_without_end() -> None:
    """A stream holds what lies below its limit, in so many pieces at most."""
    async with scene() as made, hostile(made.web_port) as other:
        await other.found()
        await other.say(BEGIN)
        await other.hear(Type.OPENED)
        for start in range(1, 10_000, 1000):
            await other.say(
                *(
                    f.frame(Type.DATA, 1, (2 * number).to_bytes(8, "big") + b"x")
                    for number in range(start, start + 1000)
                )
            )
        assert await other.ended() == 1002


# --- secrets


async def test_nothing_secret_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Not even at debug: identifiers and secrets in none of the forms that a log shows bytes in."""
    caplog.set_level(logging.DEBUG)
    async with scene() as made, hostile(made.web_port) as owner:
        await owner.found()
        await owner.say(BEGIN)
        await owner.hear(Type.OPENED)
        async with hostile(made.web_port) as other:
            await other.resume(owner.welcome, 2)
            async with hostile(made.web_port) as third:
                await third.say(third.join(owner.welcome, 0, 1, b"\0"))
                await third.refused()
            await other.say(*f.state(2, 3, []), OUT_OF_STATE["STATE without RESUME"])
            await other.ended()
        hidden = [owner.welcome.session, owner.welcome.secret]
        hidden += [secret for each in made.sessions() for secret in (each.id, each.secret)]
        lines = [each.getMessage() for each in caplog.records if each.name.startswith("isthmus")]
        assert any("span" in line for line in lines)
        for secret in hidden:
            for shown in (secret.hex(), repr(secret)[2:-1], str(list(secret))[1:-1], secret.hex(" ")):
                assert not [line for line in lines if shown in line]
