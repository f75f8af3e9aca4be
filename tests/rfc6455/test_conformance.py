"""RFC 6455, case by case, against isthmus and against the `websockets` library in both roles.

That `websockets` passes shows that the suite asks for what the RFC says. Where a peer is known to differ it
stands in `DIFFERS`, with the reason; it must then differ, so that the list does not outlive the difference.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import fnmatch
import os
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.rfc6455.cases import (
    CASES,
    SAMPLE_KEY,
    Answer,
    Answered,
    Case,
    Closed,
    Echo,
    Failed,
    Fields,
    Frames,
    Look,
    Request,
    Send,
    Value,
)
from tests.rfc6455.requirements import REQUIREMENTS, Requirement
from tests.rfc6455.subjects import CARELESS, PATH, SUBJECTS, Client, Role, Server, Subject
from tests.rfc6455.wire import (
    BINARY,
    CLOSE,
    PATIENCE,
    PING,
    PONG,
    TEXT,
    Frame,
    Head,
    Wire,
    accept_for,
    close_body,
)

NORMAL = frozenset({1000, None})
FRESH = 3
"""How many connections are compared where something has to be fresh."""

_ONE_AT_A_TIME = "many users share the process: one handshake without an answer would stop all the others"
_NOT_TOLD = "it refuses with 400 and does not tell which versions it speaks"
_NOT_READ = "without extensions of its own it does not read the field, as if it were unknown"
_DROPPED = "it drops a connection whose head it cannot parse, without an HTTP answer"

DIFFERS: dict[tuple[str, Role, str], str] = {
    ("isthmus", "client", "one-at-a-time"): _ONE_AT_A_TIME,
    ("websockets", "client", "one-at-a-time"): _ONE_AT_A_TIME,
    (
        "websockets",
        "server",
        "ask-no-host",
    ): "it leaves Host to the HTTP server in front, by its documentation",
    ("websockets", "server", "ask-upgrade-in-list"): "it takes Upgrade with the one value only",
    ("websockets", "server", "ask-http-2.0"): _DROPPED,
    ("websockets", "server", "ask-no-http"): _DROPPED,
    **{
        ("websockets", "server", case.id): _NOT_TOLD
        for case in CASES
        if isinstance(case.script, Request) and case.script.tells_version
    },
    **{
        ("websockets", "server", case.id): _NOT_READ for case in CASES if case.id.startswith("ask-extension-")
    },
}


# --- a conversation on an open WebSocket


class Conversation:
    """Plays the steps of a case on `wire` and keeps what came back."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._data = b""
        self._pongs: list[bytes] = []
        self._pings: list[bytes] = []
        self._over = False

    async def play(self, script: Frames) -> None:
        for step in script.steps:
            match step:
                case Send():
                    self._pings += [each.payload for each in step.frames if each.opcode == PING]
                    await self._wire.send_frames(*step.frames, cut=step.cut)
                case Echo():
                    await self.echo(step.data)
                case Answered():
                    await self._answered(step.payload)
                case Closed() | Failed():
                    await self._ended(step.codes, must_close=isinstance(step, Closed))
                    assert step.before.startswith(self._data), f"it processed more: {self._data[-50:]!r}"
                    self._data = b""
        if not self._over:
            await self.close()
        assert not self._data, f"more data than was sent: {self._data[:50]!r}"

    async def echo(self, expected: bytes) -> None:
        while len(self._data) < len(expected):
            assert await self._next() is None, "it closed instead of sending the data back"
        assert self._data[: len(expected)] == expected
        self._data = self._data[len(expected) :]

    async def close(self) -> None:
        await self._wire.send_frames(Frame(CLOSE, close_body(1000)))
        await self._ended(NORMAL, must_close=True)

    async def _answered(self, payload: bytes) -> None:
        while payload not in self._pongs:
            assert await self._next() is None, "it closed instead of answering the ping"

    async def _ended(self, codes: frozenset[int | None], *, must_close: bool) -> None:
        """Read the peer's Close and the end of the connection behind it."""
        code = await self._next()
        while code is None:
            code = await self._next()
        if code < 0:
            assert not must_close, "the connection ended without Close"
        else:
            assert (code or None) in codes, f"closed with {code}, not with one of {codes}"
        if not self._wire.masks:
            self._wire.end()  # a client may wait for that (7.1.1)
        assert await self._wire.rest() == b"", "something was sent behind the Close"
        self._over = True

    async def _next(self) -> int | None:
        """Take a frame. Return the code of a Close, 0 for none; -1 at the end; None for other frames."""
        frame = await self._wire.frame()
        if frame is None:
            return -1
        if frame.opcode == CLOSE:
            return frame.code or 0
        if frame.opcode == PONG:
            assert frame.payload in self._pings, "a pong that answers nothing"
            self._pongs.append(frame.payload)
        elif frame.opcode != PING:
            self._data += frame.payload
        return None


async def stands(wire: Wire) -> None:
    """Insist that `wire` is an open WebSocket, and close it."""
    await Conversation(wire).play(Frames((Send((Frame(TEXT, b"it stands"),)), Echo(b"it stands"))))


# --- handshakes


def head_of(first: str, right: list[tuple[str, str]], given: Fields, names: str) -> bytes:
    """Return a head: `first`, and the fields of a right one as changed by `given`."""
    fields: dict[str, Value] = dict(right)
    fields |= dict(given)
    lines = []
    for name, value in fields.items():
        name = name.lower() if names == "lower" else name.upper() if names == "upper" else name
        values = () if value is None else (value,) if isinstance(value, str) else value
        lines += [f"{name}: {each}" for each in values]
    if names == "reverse":
        lines.reverse()
    return ("\r\n".join([first, *lines]) + "\r\n\r\n").encode()


def request_for(server: Server, script: Request) -> bytes:
    right = [
        ("Host", server.host),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", SAMPLE_KEY),
        ("Sec-WebSocket-Version", "13"),
    ]
    target = script.target.replace("{host}", server.host)
    return head_of(f"{script.method} {target} {script.version}".rstrip(), right, script.fields, script.names)


def answer_to(request: Head, script: Answer) -> bytes:
    key = request.all("sec-websocket-key")[0]
    accept = accept_for(key)
    values = {"key": key, "accept": accept, "shorter": accept[:-1], "swapped": accept.swapcase()}
    right = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept)]
    given = tuple(
        (name, value.format(**values) if isinstance(value, str) else value) for name, value in script.fields
    )
    return head_of(script.status, right, given, script.names)


def check_opened(answer: Head) -> None:
    """A server's answer that opens a WebSocket, where nothing that was offered can be chosen (4.2.2)."""
    assert answer.first.startswith("HTTP/1.1 101"), answer.first
    assert answer.tokens("upgrade") == ["websocket"]
    assert "upgrade" in answer.tokens("connection")
    assert answer.all("sec-websocket-accept") == [accept_for(SAMPLE_KEY)]
    assert not answer.all("sec-websocket-extensions"), "an extension was chosen"
    assert not answer.all("sec-websocket-protocol"), "a subprotocol was chosen"


async def ask(server: Server, script: Request) -> None:
    with await server.connect() as wire:
        await wire.send(request_for(server, script), script.cut)
        answer = await wire.head()
        assert answer is not None, "no HTTP answer"
        if script.opens and answer.status == 101:
            check_opened(answer)
            await stands(wire)
            return
        assert answer.status in script.refused, answer.first
        if script.tells_version:
            assert "13" in answer.tokens("sec-websocket-version"), "which versions it speaks was not told"


async def answer(client: Client, script: Answer) -> None:
    with await client.dial() as wire:
        request = await wire.head()
        assert request is not None
        await wire.send(answer_to(request, script), script.cut)
        if script.opens:
            await stands(wire)
            return
        await wire.send_frames(Frame(TEXT, b"not to be processed"))
        assert await wire.rest() == b"", "the client went on"


@contextlib.asynccontextmanager
async def open_websocket(peer: Server | Client) -> AsyncIterator[Wire]:
    """Give an open WebSocket with the peer under test."""
    with await (peer.connect() if isinstance(peer, Server) else peer.dial()) as wire:
        if isinstance(peer, Server):
            await wire.send(request_for(peer, Request()))
            answered = await wire.head()
            assert answered is not None
            assert answered.status == 101, answered.first
        else:
            request = await wire.head()
            assert request is not None
            await wire.send(answer_to(request, Answer()))
        yield wire


# --- observations: what a peer does of itself


async def asked_by(client: Client) -> Head:
    """Return the request of a new connection, which is then opened and closed."""
    with await client.dial() as wire:
        request = await wire.head()
        assert request is not None
        await wire.send(answer_to(request, Answer()))
        await stands(wire)
    return request


async def look_first_line(client: Client) -> None:
    assert (await asked_by(client)).first == f"GET {PATH} HTTP/1.1"


async def look_fields(client: Client) -> None:
    request = await asked_by(client)
    assert request.all("host") == [client.host]
    assert "websocket" in request.tokens("upgrade")
    assert "upgrade" in request.tokens("connection")
    assert request.all("sec-websocket-version") == ["13"]
    assert len(request.all("sec-websocket-key")) == 1
    offered = request.tokens("sec-websocket-protocol")
    assert len(set(offered)) == len(offered)
    once = Counter(name for name, _ in request.fields)
    assert all(count == 1 for name, count in once.items()), once
    assert not request.all("content-length")
    assert not request.all("transfer-encoding")


async def look_key_fresh(client: Client) -> None:
    keys = [(await asked_by(client)).all("sec-websocket-key")[0] for _ in range(FRESH)]
    assert all(len(base64.b64decode(key, validate=True)) == 16 for key in keys)
    assert len(set(keys)) == FRESH, "a key was used again"


async def look_waits_for_answer(client: Client) -> None:
    with await client.dial() as wire:
        request = await wire.head()
        assert request is not None
        for _ in range(50):
            await asyncio.sleep(0)
            assert wire.waiting() == b""
        await wire.send(answer_to(request, Answer()))
        await stands(wire)


async def look_one_at_a_time(client: Client) -> None:
    with contextlib.ExitStack() as stack:
        wire = stack.enter_context(await client.dial())
        request = await wire.head()
        assert request is not None
        client.start()
        accepting = asyncio.ensure_future(client.accept())
        await asyncio.wait([accepting], timeout=0.5)
        early = accepting.done()
        try:
            await wire.send(answer_to(request, Answer()))
            await stands(wire)
        finally:
            async with asyncio.timeout(PATIENCE):
                second = stack.enter_context(await accepting)
        request = await second.head()
        assert request is not None
        await second.send(answer_to(request, Answer()))
        await stands(second)
    assert not early, "a second connection was begun before the first was open"


async def look_answer_with_frames(client: Client) -> None:
    with await client.dial() as wire:
        request = await wire.head()
        assert request is not None
        await wire.send(answer_to(request, Answer()) + Frame(TEXT, b"at once").encode(False, b""))
        await Conversation(wire).play(Frames((Echo(b"at once"),)))


async def look_no_answer(client: Client) -> None:
    with await client.dial() as wire:
        assert await wire.head() is not None
        await wire.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: webso")
        wire.end()
        assert await wire.rest() == b"", "the client went on"


async def look_masks_fresh(client: Client) -> None:
    keys: list[bytes | None] = []
    for _ in range(FRESH):
        async with open_websocket(client) as wire:
            conversation = Conversation(wire)
            for _ in range(20):
                await wire.send_frames(Frame(BINARY, b"the same"))
                await conversation.echo(b"the same")
            await conversation.close()
            keys += [each.key for each in wire.received]
    assert len(keys) > FRESH * 20
    assert None not in keys
    assert len(set(keys)) == len(keys), "a masking key was used again"


async def look_starts_closing(client: Client) -> None:
    async with open_websocket(client) as wire:
        await wire.send_frames(Frame(PING, b"open"))
        pong = await wire.frame()
        assert pong is not None
        assert pong.opcode == PONG
        client.finish()
        close = await wire.frame()
        assert close is not None
        assert close.opcode == CLOSE
        await wire.send_frames(Frame(CLOSE, close.payload))
        wire.end()
        assert await wire.rest() == b"", "something was sent behind the Close"


async def look_closing_crossed(client: Client) -> None:
    async with open_websocket(client) as wire:
        await wire.send_frames(Frame(PING, b"open"))
        assert await wire.frame() is not None
        client.finish()
        await wire.send_frames(Frame(CLOSE, close_body(1000)))
        close = await wire.frame()
        assert close is not None
        assert close.opcode == CLOSE
        wire.end()
        assert await wire.rest() == b"", "something was sent behind the Close"


async def look_connection_lost(peer: Server | Client) -> None:
    async with open_websocket(peer) as wire:
        await wire.send_frames(Frame(TEXT, b"", fin=False))
        wire.end()
        frame = await wire.frame()
        assert frame is None or frame.opcode == CLOSE
        await wire.rest()


async def look_sample_key(server: Server) -> None:
    with await server.connect() as wire:
        await wire.send(request_for(server, Request()))
        answered = await wire.head()
        assert answered is not None
        assert answered.all("sec-websocket-accept") == ["s3pPLMBiTxaQ9kYGzzhZRbK+xOo="]
        await stands(wire)


async def look_server_ends_first(server: Server) -> None:
    async with open_websocket(server) as wire:
        await wire.send_frames(Frame(CLOSE, close_body(1000)))
        close = await wire.frame()
        assert close is not None
        assert close.opcode == CLOSE
        assert await wire.rest() == b""  # though we have not ended our direction


# --- all of them


_LONG = float(os.environ.get("ISTHMUS_SOAK_SECONDS", "0")) > 0
"""Only in a long run `websockets` is looked at: it and its release do not change with our code."""


def pairs() -> list[object]:
    found: list[object] = []
    for subject in SUBJECTS if _LONG else [each for each in SUBJECTS if each.name == "isthmus"]:
        for case in CASES:
            if subject.role not in case.roles:
                continue
            reason = DIFFERS.get((subject.name, subject.role, case.id))
            marks = (
                []
                if reason is None
                else [pytest.mark.xfail(reason=reason, raises=AssertionError, strict=True)]
            )
            found.append(
                pytest.param(subject, case, marks=marks, id=f"{subject.name}-{subject.role}-{case.id}")
            )
    return found


@pytest.mark.parametrize(("subject", "case"), pairs())
async def test_case(subject: Subject, case: Case) -> None:
    async with subject.running() as peer:
        await hold(peer, case)


async def hold(peer: Any, case: Case) -> None:
    """Hold a case against a peer. Raises AssertionError if it does not do as the case says."""
    match case.script:
        case Frames():
            async with open_websocket(peer) as wire:
                await Conversation(wire).play(case.script)
        case Request():
            await ask(peer, case.script)
        case Answer():
            await answer(peer, case.script)
        case Look():
            await globals()[f"look_{case.id.replace('-', '_')}"](peer)


@pytest.mark.parametrize("careless", CARELESS, ids=lambda each: each.role)
async def test_every_case_can_fail(careless: Subject) -> None:
    """A peer that reads nothing of what it is sent fails every case."""
    passed = []
    async with careless.running() as peer:
        for case in CASES:
            if careless.role in case.roles:
                try:
                    await hold(peer, case)
                except AssertionError:
                    continue
                passed.append(case.id)
    assert not passed


# --- nothing is left out


def test_every_case_has_its_own_name() -> None:
    assert not [id for id, count in Counter(case.id for case in CASES).items() if count > 1]


def test_every_difference_is_of_a_case() -> None:
    known = {(subject.name, subject.role, case.id) for subject in SUBJECTS for case in CASES}
    assert set(DIFFERS) <= known
    assert all(DIFFERS.values())


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=lambda each: f"{each.section}: {each.demand}")
def test_every_requirement_is_covered(requirement: Requirement) -> None:
    """Each MUST and MUST NOT has a case for each role that it binds, or a reason why it has none."""
    assert bool(requirement.cases) != bool(requirement.unseen), "cases, or a reason for none"
    for pattern in requirement.cases:
        assert any(fnmatch.fnmatch(case.id, pattern) for case in CASES), f"no case is called {pattern}"
    if requirement.cases:
        named = [case for case in CASES if any(fnmatch.fnmatch(case.id, each) for each in requirement.cases)]
        for role in requirement.roles:
            assert any(role in case.roles for case in named), f"no case for a {role}"


def test_every_case_is_for_a_requirement() -> None:
    patterns = [pattern for each in REQUIREMENTS for pattern in each.cases]
    without = [case.id for case in CASES if not any(fnmatch.fnmatch(case.id, each) for each in patterns)]
    assert not without
