"""From an address to what connects to it."""

from __future__ import annotations

import asyncio
import socket
import ssl
import tempfile
from pathlib import Path
from typing import Any

import pytest
from tests.transports.conformance import Recorder, Stack, certificates, refused_port
from tests.transports.loops import (
    event_loop_policy,
    nothing_left_open,
    on_each_loop,
    open_descriptors,
    turns,
    until,
)

from isthmus.config.model import ConnectOptions, GatewayOptions
from isthmus.errors import ConnectError
from isthmus.transports import stack, stdio
from isthmus.transports.socket_connect import SocketConnector
from isthmus.transports.span.connect import SpanConnector
from isthmus.transports.span.limits import Budgets
from isthmus.transports.tls import Kind
from isthmus.transports.ws_connect import WebSocketConnector
from isthmus.uri import Address, parse

__all__ = ["event_loop_policy"]
pytestmark = on_each_loop

NETWORK = ("tcp", "ssl", "ws", "wss-aiofastnet", "wss-layer")
WITH_SPAN = (*NETWORK, "ws-span")
BUDGETS = Budgets.of(GatewayOptions())


class Attempt:
    """One connect and what it told."""

    def __init__(self, kind: str, address: Address, seconds: float = 10.0) -> None:
        tls: Kind = "layer" if kind.endswith("-layer") else "aiofastnet"
        self.above = Recorder()
        self.failures: list[ConnectError] = []
        mode = "auto" if kind.endswith("-span") else "never"
        options = ConnectOptions(connect_timeout=seconds, span_mode=mode)
        client = certificates()[1]
        connector = stack.connector(address, options, lambda _: client, tls, BUDGETS)
        assert connector.address is address
        self.dial = connector.connect(self.above, self.failures.append)
        assert not self.above.events, "told before `connect` returned"
        assert not self.failures, "told before `connect` returned"

    async def failure(self) -> ConnectError:
        await until(lambda: self.failures, "a failure")
        await turns(5)
        assert not self.above.events
        (error,) = self.failures
        return error


def at(kind: str, port: int) -> Address:
    return Address(kind.partition("-")[0], "127.0.0.1", port)


@pytest.mark.parametrize("kind", WITH_SPAN)
async def test_refused(kind: str) -> None:
    holder, port = refused_port()
    with holder, nothing_left_open():
        error = await Attempt(kind, at(kind, port)).failure()
    assert str(error) == f"Unable to connect to {at(kind, port)}: Connection refused"
    assert error.status == 502


@pytest.mark.parametrize("kind", WITH_SPAN[1:])
async def test_a_server_that_accepts_and_says_nothing(kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, nothing_left_open():
        error = await Attempt(kind, at(kind, silent.getsockname()[1]), 0.2).failure()
        assert error.status == 504
        assert str(error).startswith(f"Unable to connect to {at(kind, silent.getsockname()[1])}: ")
        if kind == "ws":
            assert str(error).endswith(": no answer to the WebSocket handshake within 0.2 s")
            assert error.hint == "check that a WebSocket server listens there"
        await turns(5)


@pytest.mark.parametrize("kind", WITH_SPAN)
async def test_a_server_that_does_not_accept_is_not_said_to_have_failed_a_handshake(kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as silent:
        waiting = []
        for _ in range(3):
            waiting.append(each := socket.socket())
            each.setblocking(False)
            each.connect_ex(silent.getsockname())
        await asyncio.sleep(0.01)
        with nothing_left_open():
            error = await Attempt(kind, at(kind, silent.getsockname()[1]), 0.1).failure()
            assert str(error).endswith(": no answer within 0.1 s")
            assert error.status == 504
            assert error.hint == "check that the server runs and that no firewall drops the connection"
        for each in waiting:
            each.close()


@pytest.mark.parametrize("kind", WITH_SPAN[1:])
async def test_a_server_that_ends_the_connection_at_once(kind: str) -> None:
    with nothing_left_open(), socket.create_server(("127.0.0.1", 0)) as server:
        attempt = Attempt(kind, at(kind, server.getsockname()[1]), 3.0)
        accepted = await asyncio.to_thread(server.accept)
        accepted[0].close()
        error = await attempt.failure()
        assert error.status == 502
        await turns(5)


@pytest.mark.parametrize("kind", ["ssl", "wss-aiofastnet", "wss-layer"])
async def test_a_certificate_that_nobody_vouches_for(kind: str) -> None:
    with tempfile.TemporaryDirectory() as folder, nothing_left_open():
        made = Stack(kind, Path(folder))
        stranger = ssl.create_default_context()
        failures: list[ConnectError] = []
        connector = stack.connector(made.address, ConnectOptions(), lambda _: stranger, made.kind, BUDGETS)
        connector.connect(Recorder(), failures.append)
        await until(lambda: failures)
        assert failures[0].status == 502
        await made.shut()


@pytest.mark.parametrize("kind", [*NETWORK, "unix"])
async def test_cancel_at_every_stage_leaves_nothing_open(kind: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        made = Stack(kind, Path(folder))
        accepted: list[Recorder] = []
        finished = 0

        def serve(incoming: Any) -> None:
            accepted.append(Recorder())
            accepted[-1].close_at_eof = True
            incoming.accept(accepted[-1])

        made.incoming = serve  # type: ignore[method-assign]
        for front in made.accepts._fronts.values():
            for number, route in enumerate(front.router.websockets):
                front.router.websockets[number] = type(route)(route.address, route.options, serve)
        before = len(open_descriptors())
        for stage in range(0, 60, 3):
            attempt = Attempt(kind, made.address)
            await turns(stage)
            if stage == 57:  # behind the last
                await until(lambda a=attempt: a.above.made)
            told = len(attempt.above.events), len(attempt.failures)
            attempt.dial.cancel()
            attempt.dial.cancel()
            await asyncio.sleep(0.005)
            if attempt.above.made:
                finished += 1
                attempt.above.call("abort")
                await until(lambda a=attempt: a.above.lost)
            else:
                assert (len(attempt.above.events), len(attempt.failures)) == told
            await until(lambda: len(asyncio.all_tasks()) == 1, "the end of every task")
            await until(lambda: len(open_descriptors()) <= before, "every socket closed")
        assert 0 < finished < 20
        await made.shut()


async def test_the_table_of_connectors() -> None:
    client = certificates()[1]
    made: list[ConnectOptions] = []

    def context(options: ConnectOptions) -> ssl.SSLContext:
        made.append(options)
        return client

    options = ConnectOptions()
    table: dict[str, tuple[type, bool]] = {
        "tcp://h:1": (SocketConnector, False),
        "unix:///s": (SocketConnector, False),
        "ssl://h:1": (stack.TlsConnector, True),
        "tls://h:1": (stack.TlsConnector, True),
        "ws://h/": (SpanConnector, False),
        "wss://h/": (SpanConnector, True),
        "-": (stack.StdioConnector, False),
    }
    for text, (kind, secure) in table.items():
        made.clear()
        assert type(stack.connector(parse(text), options, context, "aiofastnet", BUDGETS)) is kind
        assert made == ([options] if secure else [])
    plain = ConnectOptions(span_mode="never")
    for text in ("ws://h/", "wss://h/"):
        made_plain = stack.connector(parse(text), plain, context, "aiofastnet", BUDGETS)
        assert type(made_plain) is WebSocketConnector
    with pytest.raises(AssertionError):
        stack.connector(parse("http://h/"), options, context, "aiofastnet", BUDGETS)


async def test_a_context_that_cannot_be_made_is_told_at_once() -> None:
    def broken(_: ConnectOptions) -> ssl.SSLContext:
        raise ValueError("no such file")

    with pytest.raises(ValueError, match="no such file"):
        stack.connector(parse("ssl://h:1"), ConnectOptions(), broken, "layer", BUDGETS)


class Standard:
    """Stands for this process's standard input and output."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: ConnectError | None = None) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.ours.setblocking(False)
        self.error = error
        monkeypatch.setattr(stdio, "open_socket", self.open)

    def open(self) -> socket.socket:
        if self.error is not None:
            raise self.error
        return self.ours

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()


@pytest.mark.parametrize("outcome", ["made", "failed", "canceled"])
async def test_standard_input_and_output(outcome: str, monkeypatch: pytest.MonkeyPatch) -> None:
    error = ConnectError("in use", status=503) if outcome == "failed" else None
    standard = Standard(monkeypatch, error)
    attempt = Attempt("stdio", parse("-"))
    if outcome == "canceled":
        attempt.dial.cancel()
    await turns(3)
    assert attempt.failures == ([error] if error else [])
    assert attempt.above.made == (outcome == "made")
    if outcome == "made":
        standard.theirs.sendall(b"typed")
        await until(lambda: attempt.above.data)
        attempt.above.call("abort")
        await until(lambda: attempt.above.lost)
    standard.close()
