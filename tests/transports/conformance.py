"""The rules of `transports.base` as one suite that every scheme passes: derive from `Conformance`.

A `Stack` is one accept and what connects to it, made from the product's own tables (`accepts` and
`transports.stack`) in this process, on loopback. A test asks it for a `Pair` of connected transports, each
under a `Recorder`.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import random
import socket
import ssl
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import trustme
from tests.transports.loops import open_descriptors, turns, until
from tests.transports.memory import Watcher

from isthmus.accepts import Accepts
from isthmus.config.model import (
    AcceptOptions,
    Bind,
    ConnectOptions,
    EchoProperties,
    GatewayOptions,
    Service,
)
from isthmus.errors import ConnectError, StreamReset
from isthmus.security import Certificates
from isthmus.transports import listen, stack
from isthmus.transports.base import Connector, Incoming, Transport
from isthmus.transports.listen import bind
from isthmus.transports.tcp import READ_SIZE
from isthmus.transports.tls import Kind
from isthmus.uri import Address, parse

READ = READ_SIZE
MIXED = random.Random(6455).randbytes(5 * 1024 * 1024)
"""5 MB that are nowhere like themselves, so that bytes lost, doubled or swapped are found out."""


@functools.cache
def certificates() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return the settings of a server at 127.0.0.1 and of a client that believes it."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(server)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(client)
    return server, client


class Recorder(Watcher):
    """A `Watcher` that also notes how much was unsent when it was told to pause and to resume."""

    def __init__(self) -> None:
        super().__init__()
        self.unsent_at: list[tuple[str, int]] = []
        self.close_at_eof = False
        self._in_hands = False

    def pause(self) -> None:
        super().pause()
        # What is left of the read that is under way may still come (rule 4).
        self._in_hands = True
        asyncio.get_running_loop().call_soon(self._read_is_over)

    def _read_is_over(self) -> None:
        self._in_hands = False

    def data_received(self, data: memoryview) -> None:
        held_back, self.paused = self.paused, self.paused and not self._in_hands
        super().data_received(data)
        self.paused |= held_back

    def eof_received(self) -> None:
        held_back, self.paused = self.paused, self.paused and not self._in_hands
        super().eof_received()
        self.paused |= held_back
        if self.close_at_eof:
            self.call("close")

    def pause_writing(self) -> None:
        super().pause_writing()
        assert self.transport is not None
        self.unsent_at.append(("pause", self.transport.unsent()))

    def resume_writing(self) -> None:
        super().resume_writing()
        assert self.transport is not None
        self.unsent_at.append(("resume", self.transport.unsent()))

    @property
    def below(self) -> Transport:
        assert self.transport is not None
        return self.transport

    @property
    def made(self) -> bool:
        return bool(self.events)

    @property
    def ended(self) -> bool:
        return "eof" in self.events

    @property
    def lost(self) -> bool:
        return "lost" in self.events

    @property
    def in_order(self) -> bool:
        """Whether the connection is over, in order."""
        return self.lost and self.error is None

    @property
    def reset(self) -> bool:
        """Whether the connection is over by a reset."""
        return self.lost and isinstance(self.error, StreamReset)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write; a buffer that may be overwritten is, as soon as it is ours again."""
        self.call("write", data)
        _spoil(data)

    def writelines(self, parts: Sequence[bytes | bytearray | memoryview]) -> None:
        self.call("writelines", parts)
        for part in parts:
            _spoil(part)

    async def write_all(self, data: bytes, chunk: int = READ, *, most: float = float("inf")) -> int:
        """Write `data` in chunks from one buffer that is used again, as a relay does; stop when told to.

        Returns how much was written, after at most `most` bytes.
        """
        buffer = bytearray(chunk)
        written = 0
        while written < min(len(data), most) and self.open and not self.write_paused:
            piece = data[written : written + chunk]
            buffer[: len(piece)] = piece
            self.write(memoryview(buffer)[: len(piece)])
            written += len(piece)
            await asyncio.sleep(0)
        return written


def _spoil(data: bytes | bytearray | memoryview) -> None:
    if isinstance(data, bytearray) or (isinstance(data, memoryview) and not data.readonly):
        data[:] = b"\xcc" * len(data)


@dataclass
class Pair:
    """Two ends of one connection."""

    accepted: Recorder
    connected: Recorder

    def directions(self) -> list[tuple[Recorder, Recorder]]:
        return [(self.accepted, self.connected), (self.connected, self.accepted)]


class Stack:
    """One accept that listens, and a connector to it. It is also the service of that accept."""

    def __init__(self, scheme: str, folder: Path, *, close_timeout: float = 20.0) -> None:
        self._open_before = len(open_descriptors())
        self.kind: Kind = "layer" if scheme.endswith("-layer") else "aiofastnet"
        self.span = scheme.endswith("-span")
        """Whether connections are streams of a span session."""
        mode = "auto" if self.span else "never"
        scheme = scheme.partition("-")[0]
        self.scheme = scheme
        self.failures: list[ConnectError] = []
        self.incomings: list[Incoming] = []
        self.answer = True
        """Whether to accept what comes; else it stands in `incomings`."""
        self._next: deque[Recorder] = deque()
        self._pairs: list[Pair] = []
        server, client = certificates()
        options = GatewayOptions(tls_transport=self.kind)
        self.accepts = Accepts(options, lambda *_: lambda: Certificates([((), server)]))
        self.accept_options = AcceptOptions(
            websocket_close_timeout=close_timeout,
            span_mode=mode,
            **{f"{scheme}_bind": Bind("127.0.0.1", 0)} if scheme != "unix" else {},
        )
        self.connect_options = ConnectOptions(websocket_close_timeout=close_timeout, span_mode=mode)
        accept = parse(f"unix://{folder}/s" if scheme == "unix" else f"{scheme}://0.0.0.0:0")
        service = Service(
            name="test",
            type="echo",
            accepts=(accept,),
            properties=EchoProperties(),
            accept_options=self.accept_options,
        )
        bound: list[socket.socket] = []

        def binds(address: Address, at: Bind | None) -> list[socket.socket]:
            bound.extend(bind(address, at))
            return bound

        with mock.patch.object(listen, "bind", binds):
            self.accepts.add(service, self)
        self.address = accept if scheme == "unix" else Address(scheme, "127.0.0.1", bound[0].getsockname()[1])
        self.accepts.listen()
        self.connector: Connector = stack.connector(
            self.address, self.connect_options, lambda _: client, self.kind, self.accepts.budgets
        )

    @property
    def used(self) -> int:
        """How many accepted sockets are open."""
        return self.accepts.quota.used

    # --- the service

    def incoming(self, incoming: Incoming) -> None:
        self.incomings.append(incoming)
        if self.answer:
            incoming.accept(self._next.popleft())

    async def start(self) -> None: ...

    async def stop(self, deadline: float) -> None: ...

    def connections(self) -> int:
        return self.used

    # --- for the tests

    async def pair(self) -> Pair:
        """Connect."""
        pair = Pair(Recorder(), Recorder())
        self._pairs.append(pair)
        self._next.append(pair.accepted)
        self.connector.connect(pair.connected, self.failures.append)
        await until(lambda: self.failures or (pair.accepted.made and pair.connected.made), "a connection")
        assert not self.failures, self.failures
        return pair

    async def shut(self) -> None:
        """End everything and see that every end was told and every socket is closed."""
        self.accepts.stop_listening()
        ends = [end for pair in self._pairs for end in (pair.accepted, pair.connected)]
        for end in ends:
            if end.open:
                end.call("abort")
        await until(lambda: not any(end.open for end in ends), "connection_lost at every end")
        self.connector.close()
        self.accepts.stop()
        await until(lambda: self.used == 0, "every accepted socket closed")
        # A WebSocket that is aborted says so and then waits a moment for the other side's end.
        await until(lambda: len(open_descriptors()) <= self._open_before, "every connected socket closed")
        await turns(3)
        for end in ends:
            assert end.events.count("made") <= 1
            assert end.events.count("lost") == end.events.count("made")
            assert end.events.count("eof") <= 1


class Conformance:
    """What every pair of connected transports does. `stack` is a fixture of the deriving module."""

    # --- rules 1 and 3

    async def test_bytes_go_both_ways_in_every_kind_of_buffer(self, stack: Stack) -> None:
        pair = await stack.pair()
        for sender, receiver in pair.directions():
            sender.write(b"bytes,")
            sender.write(bytearray(b"bytearray,"))
            sender.write(memoryview(b"read-only view,"))
            sender.write(memoryview(bytearray(b"writable view,")))
            sender.write(b"")
            sender.writelines([])
            sender.writelines([b"one,", b"", bytearray(b"two,"), memoryview(b"three,")])
            expected = b"bytes,bytearray,read-only view,writable view,one,two,three,"
            await until(lambda e=expected, r=receiver: len(r.data) >= len(e), "all bytes")
            assert receiver.data == expected

    async def test_bytes_given_to_write_are_never_changed(self, stack: Stack) -> None:
        pair = await stack.pair()
        for sender, receiver in pair.directions():
            kept = bytes(MIXED[:100_000])
            copy = bytes(bytearray(kept))
            sender.write(kept)
            sender.writelines([kept, memoryview(kept)])
            await until(lambda r=receiver, k=kept: len(r.data) == 3 * len(k), "all bytes")
            assert kept == copy
            assert receiver.data == copy * 3

    async def test_a_buffer_that_is_used_again_after_write_was_not_kept(self, stack: Stack) -> None:
        pair = await stack.pair()
        for sender, receiver in pair.directions():
            receiver.pause()
            written = 0
            while not sender.write_paused and written < len(MIXED) * 10:
                buffer = bytearray(MIXED[written % len(MIXED) :][:READ])
                sender.write(memoryview(buffer))  # overwritten as soon as it returns
                written += len(buffer)
            # Now that something is unsent, whatever comes is kept: in each kind of buffer.
            tail: list[bytes | bytearray | memoryview] = [
                MIXED[:20_000],
                bytearray(MIXED[:30_000]),
                memoryview(bytearray(MIXED[:70_000])),
            ]
            expected_tail = MIXED[:20_000] + MIXED[:30_000] + MIXED[:70_000]
            sender.writelines(tail)
            sender.write(bytearray(b"end"))
            receiver.resume()
            total = written + len(expected_tail) + 3
            await until(lambda r=receiver, t=total: len(r.data) >= t, "all bytes")
            assert len(receiver.data) == total
            assert receiver.data[written:] == expected_tail + b"end"
            position = 0
            while position < written:
                start = position % len(MIXED)
                piece = MIXED[start:][:READ]
                assert receiver.data[position : position + len(piece)] == piece
                position += len(piece)
            receiver.data.clear()

    async def test_half_close(self, stack: Stack) -> None:
        for first in (0, 1):
            pair = await stack.pair()
            ender, other = pair.directions()[first]
            ender.write(MIXED)
            ender.call("write_eof")
            ender.call("write_eof")
            await until(lambda o=other: o.ended, "the end of input")
            assert other.data == MIXED
            # The other direction goes on.
            for _ in range(3):
                before = len(ender.data)
                other.write(MIXED[:300_000])
                await until(lambda e=ender, b=before: len(e.data) == b + 300_000, "bytes the other way")
            assert not ender.ended
            other.call("write_eof")
            await until(lambda e=ender: e.ended, "the other end of input")
            assert ender.data == MIXED[:300_000] * 3
            ender.call("close")
            other.call("close")
            await until(lambda e=ender, o=other: e.lost and o.lost, "the end")
            assert ender.in_order
            assert other.in_order

    async def test_the_end_comes_after_all_that_was_written_also_to_a_slow_reader(self, stack: Stack) -> None:
        pair = await stack.pair()
        for sender, receiver in pair.directions():
            receiver.pause()
            sender.write(MIXED)
            sender.writelines([MIXED, MIXED])
            sender.call("write_eof")
            await asyncio.sleep(0.05)
            assert not receiver.ended
            assert not receiver.data
            receiver.resume()
            await until(lambda r=receiver: r.ended, "the end of input")
            assert receiver.data == MIXED * 3

    async def test_nothing_is_written_after_the_end(self, stack: Stack) -> None:
        pair = await stack.pair()
        for sender, receiver in pair.directions():
            sender.write(b"last")
            sender.call("write_eof")
            with contextlib.suppress(Exception):  # a caller's mistake is an error or nothing
                sender.call("write", b"more")
            await until(lambda r=receiver: r.ended, "the end of input")
            assert receiver.data == b"last"

    # --- rule 4

    async def test_a_paused_receiver_gets_nothing(self, stack: Stack) -> None:
        pair = await stack.pair()
        for sender, receiver in pair.directions():
            receiver.pause()
            receiver.pause()
            sender.write(b"held back")
            sender.call("write_eof")
            await asyncio.sleep(0.05)  # the Watcher would not stand data or an end now
            assert not receiver.data
            receiver.resume()
            receiver.resume()
            await until(lambda r=receiver: r.ended, "the end of input")
            assert receiver.data == b"held back"

    async def test_pausing_in_every_read_loses_nothing(self, stack: Stack) -> None:
        pair = await stack.pair()
        for sender, receiver in pair.directions():
            receiver.pause_each_time = True
            sender.write(MIXED[:1_000_000])
            sender.call("write_eof")
            while not receiver.ended:
                await until(lambda r=receiver: r.paused or r.ended, "a read")
                await turns(2)
                if receiver.paused:
                    receiver.resume()
            assert receiver.data == MIXED[:1_000_000]

    async def test_pause_right_after_resume_holds(self, stack: Stack) -> None:
        pair = await stack.pair()
        for sender, receiver in pair.directions():
            receiver.pause()
            sender.write(b"held back")
            await asyncio.sleep(0.05)
            receiver.resume()
            receiver.pause()
            await asyncio.sleep(0.05)
            assert not receiver.data
            receiver.resume()
            await until(lambda r=receiver: r.data, "bytes")

    # --- rule 5

    async def test_writing_is_paused_above_the_limit_and_resumed_at_half_of_it(self, stack: Stack) -> None:
        pair = await stack.pair()
        limit = 100_000
        for sender, receiver in pair.directions():
            sender.below.set_write_limit(limit)
            receiver.pause()
            for _ in range(3):
                await until_full(sender)
                await drain(sender, receiver)
            marks = sender.unsent_at
            assert [what for what, _ in marks] == ["pause", "resume"] * 3
            if stack.span:  # its limit is its own, and grows
                assert all(told < full for (_, full), (_, told) in zip(marks[::2], marks[1::2], strict=True))
                continue
            assert all(unsent > limit for what, unsent in marks if what == "pause")
            assert all(unsent <= limit / 2 for what, unsent in marks if what == "resume")

    async def test_unsent_is_bounded_by_the_limit_and_one_write(self, stack: Stack) -> None:
        """64 MB pushed at a reader who has stopped: a sender that honours pause holds hardly anything."""
        pair = await stack.pair()
        limit = 200_000
        for sender, receiver in pair.directions():
            sender.below.set_write_limit(limit)
            receiver.pause()
            chunk = memoryview(MIXED)[:65536]
            most = 64 * 1024 * 1024
            written, highest = 0, 0
            while written < most and not sender.write_paused:
                sender.call("write", chunk)
                written += len(chunk)
                highest = max(highest, sender.below.unsent())
            assert sender.write_paused, "64 MB went to a reader who has stopped"
            assert highest <= limit + READ

    # --- rules 6 and 7

    async def test_close_sends_everything_to_a_slow_reader(self, stack: Stack) -> None:
        for first in (0, 1):
            pair = await stack.pair()
            sender, receiver = pair.directions()[first]
            receiver.close_at_eof = True
            receiver.pause()
            sender.write(MIXED)
            sender.call("close")
            sender.call("close")
            for _ in range(20):
                await asyncio.sleep(0.002)
                receiver.resume()
                await turns(2)
                if receiver.open and not receiver.ended:
                    receiver.pause()
            receiver.resume() if receiver.open else None
            await until(lambda s=sender, r=receiver: s.lost and r.lost, "the end")
            assert receiver.data == MIXED
            assert sender.in_order, sender.error
            assert receiver.in_order, receiver.error

    async def test_what_the_other_side_still_sends_does_not_destroy_the_answer(self, stack: Stack) -> None:
        for first in (0, 1):
            pair = await stack.pair()
            sender, receiver = pair.directions()[first]
            receiver.close_at_eof = True
            receiver.pause()
            receiver.write(b"a question that nobody will read" * 1000)
            sender.write(MIXED[:1_000_000])
            sender.call("close")
            await asyncio.sleep(0.02)
            receiver.write(b"and one that comes too late" * 1000)
            await asyncio.sleep(0.02)
            receiver.resume()
            await until(lambda s=sender, r=receiver: s.lost and r.lost, "the end")
            assert receiver.data == MIXED[:1_000_000]
            assert sender.in_order, sender.error

    async def test_nothing_is_delivered_after_close(self, stack: Stack) -> None:
        for first in (0, 1):
            pair = await stack.pair()
            closer, other = pair.directions()[first]
            other.close_at_eof = True
            closer.call("close")
            other.write(b"too late")
            await until(lambda c=closer, o=other: c.lost and o.lost, "the end")
            assert not closer.data

    async def test_both_sides_close_at_once(self, stack: Stack) -> None:
        pair = await stack.pair()
        for sender, _ in pair.directions():
            sender.write(b"farewell")
            sender.call("close")
        await until(lambda: pair.accepted.lost and pair.connected.lost, "the end")
        assert pair.accepted.in_order
        assert pair.connected.in_order

    async def test_abort_is_a_reset_to_both_sides(self, stack: Stack) -> None:
        for first in (0, 1):
            pair = await stack.pair()
            aborter, other = pair.directions()[first]
            aborter.call("abort")
            aborter.call("abort")
            assert not aborter.lost
            await until(lambda a=aborter: a.lost, "the end")
            await seen_as_reset(stack, other)
            assert aborter.reset
            for end in (aborter, other):
                end.call("write", b"nobody is there")
                end.call("writelines", [b"nobody", b"is there"])
                end.call("write_eof")
                end.call("close")
                end.call("abort")
                end.call("pause_reading")
                end.call("resume_reading")
                end.below.unsent()
                end.below.info("peername")

    async def test_abort_drops_what_is_unsent(self, stack: Stack) -> None:
        for first in (0, 1):
            pair = await stack.pair()
            sender, receiver = pair.directions()[first]
            receiver.pause()
            await until_full(sender)
            sender.call("abort")
            await until(lambda s=sender: s.lost, "the end")
            assert sender.reset
            receiver.resume()
            await seen_as_reset(stack, receiver)

    async def test_a_reset_while_half_closed_is_a_reset(self, stack: Stack) -> None:
        """One direction has ended, the other stands full: nobody may take what is missing for an end."""
        for first in (0, 1):
            pair = await stack.pair()
            sender, ender = pair.directions()[first]
            ender.call("write_eof")
            await until(lambda s=sender: s.ended, "the end of one direction")
            ender.pause()
            await until_full(sender)
            sender.call("write_eof")
            await asyncio.sleep(0.02)
            ender.call("abort")
            await until(lambda s=sender, e=ender: s.lost and e.lost, "the end")
            assert sender.reset
            assert ender.reset

    async def test_abort_inside_a_callback(self, stack: Stack) -> None:
        """A receiver may give up whenever it is told something."""
        for moment in ("data_received", "eof_received", "pause_writing"):
            pair = await stack.pair()
            pair.accepted.__class__ = _aborting(moment)
            pair.connected.write(b"x")
            pair.connected.call("write_eof")
            if moment == "pause_writing":
                await until(lambda p=pair: p.accepted.ended, "the end of input")
                pair.connected.pause()
                parts = [MIXED[:100_000]] * 200
                pair.accepted.call("writelines", parts)
            await until(lambda p=pair: p.accepted.lost, moment)
            assert pair.accepted.reset

    async def test_close_or_abort_inside_connection_made(self, stack: Stack) -> None:
        for ending, error in (("close", type(None)), ("abort", StreamReset)):
            ender, other = Recorder(), Recorder()
            ender.__class__ = _ending(ending)
            other.close_at_eof = True
            pair = Pair(ender, other)
            stack._pairs.append(pair)
            stack._next.append(ender)
            stack.connector.connect(other, stack.failures.append)
            await until(lambda e=ender: e.lost, "the end")
            await until(lambda o=other: o.lost or o.ended or stack.failures, "the end at the other side")
            assert isinstance(ender.error, error)
            stack.failures.clear()

    async def test_a_new_receiver_is_told_from_now_on(self, stack: Stack) -> None:
        pair = await stack.pair()
        second = Recorder()
        second.events.append("made")
        second.transport = pair.accepted.transport
        pair.connected.write(b"one")
        await until(lambda: pair.accepted.data, "bytes")
        pair.accepted.below.set_receiver(second)
        pair.connected.write(b"two")
        await until(lambda: second.data, "bytes")
        assert bytes(second.data) == b"two"
        assert bytes(pair.accepted.data) == b"one"
        pair.connected.call("abort")
        await until(lambda: second.lost or second.ended, "the end")
        second.call("abort")
        await until(lambda: second.lost, "the end")
        assert not pair.accepted.lost
        stack._pairs.remove(pair)
        await until(lambda: pair.connected.lost, "the end")

    # --- the rest

    async def test_info(self, stack: Stack) -> None:
        pair = await stack.pair()
        for end in (pair.accepted, pair.connected):
            assert isinstance(end.below.info("socket").fileno(), int)
            assert end.below.info("there is no such thing") is None
        if stack.scheme != "unix":
            assert pair.accepted.below.info("peername") == pair.connected.below.info("sockname")
            assert pair.connected.below.info("peername") == pair.accepted.below.info("sockname")
        assert (pair.accepted.below.info("ssl_object") is not None) == (stack.scheme in ("ssl", "wss"))

    async def test_many_connections_at_once_are_not_mixed_up(self, stack: Stack) -> None:
        pairs = [await stack.pair() for _ in range(20)]
        for number, pair in enumerate(pairs):
            pair.connected.write(f"connection {number}".encode() * 1000)
            pair.connected.call("write_eof")
        await until(lambda: all(pair.accepted.ended for pair in pairs), "all ends")
        for number, pair in enumerate(pairs):
            assert pair.accepted.data == f"connection {number}".encode() * 1000
        assert stack.used == 20 + stack.span  # the carrier

    async def test_a_refusal_is_told(self, stack: Stack) -> None:
        stack.answer = False
        connected = Recorder()
        stack.connector.connect(connected, stack.failures.append)
        await until(lambda: stack.incomings, "an offer")
        stack.incomings[0].refuse(ConnectError("no", status=504))
        if stack.scheme in ("ws", "wss"):
            await until(lambda: stack.failures, "the refusal")
            assert stack.failures[0].status == 504
            assert not connected.made
        else:
            await until(lambda: connected.made, "the connection")
            await seen_as_reset(stack, connected)

    async def test_a_service_may_answer_later_and_nothing_is_read_before(self, stack: Stack) -> None:
        stack.answer = False
        connected, accepted = Recorder(), Recorder()
        stack._pairs.append(Pair(accepted, connected))
        stack.connector.connect(connected, stack.failures.append)
        await until(lambda: stack.incomings, "an offer")
        if connected.made:
            connected.write(b"early")
        await asyncio.sleep(0.05)
        stack.incomings[0].accept(accepted)
        assert accepted.made
        await until(lambda: connected.made, "the connection")
        connected.write(b"late")
        await until(lambda: accepted.data.endswith(b"late"), "bytes")

    async def test_a_receiver_that_pauses_at_once_stays_paused(self, stack: Stack) -> None:
        for paused in (0, 1):
            ends = [Recorder(), Recorder()]
            ends[paused].pause_at_start = True
            stack._pairs.append(Pair(ends[0], ends[1]))
            stack._next.append(ends[0])
            stack.connector.connect(ends[1], stack.failures.append)
            await until(lambda e=ends: e[0].made and e[1].made, "the connection")
            ends[1 - paused].write(b"held back")
            await asyncio.sleep(0.05)  # the Watcher would not stand data now
            assert not ends[paused].data
            ends[paused].resume()
            await until(lambda e=ends, p=paused: e[p].data, "bytes")

    async def test_a_client_that_goes_away_before_the_answer(self, stack: Stack) -> None:
        """Whatever the service answers then, it is told that the connection is over."""
        stack.answer = False
        for accepts in (True, False):
            stack.incomings.clear()
            connected, accepted = Recorder(), Recorder()
            dial = stack.connector.connect(connected, stack.failures.append)
            await until(lambda: stack.incomings, "an offer")
            if connected.made:
                connected.call("abort")
                await until(lambda c=connected: c.lost, "the end")
            else:
                dial.cancel()
            await asyncio.sleep(0.05)
            if accepts:
                stack._pairs.append(Pair(accepted, Recorder()))
                stack.incomings[0].accept(accepted)
                await until(lambda a=accepted: a.lost or a.ended, "the end")
            else:
                stack.incomings[0].refuse(ConnectError("no"))


async def until_full(sender: Recorder, chunk: int = 65536) -> None:
    """Write until the sender is told to pause."""
    most = 128 * 1024 * 1024
    while not sender.write_paused:
        sender.call("write", MIXED[:chunk])
        most -= chunk
        assert most > 0, "nobody said to pause"
        if not sender.below.unsent():
            await asyncio.sleep(0)


async def drain(sender: Recorder, receiver: Recorder) -> None:
    """Let the receiver read until the sender is told to resume."""
    receiver.resume()
    await until(lambda: not sender.write_paused, "resume_writing")
    receiver.pause()
    receiver.data.clear()


async def seen_as_reset(stack: Stack, end: Recorder) -> None:
    """Insist that `end` sees a reset. A unix socket cannot send one: there it is seen by who writes."""
    if stack.scheme == "unix":
        await until(lambda: end.lost or end.ended, "the end of input")
        for _ in range(3):
            if end.open:
                end.call("write", b"is somebody there?")
                await turns(3)
    await until(lambda: end.lost, "the reset")
    assert end.reset


@functools.cache
def _aborting(moment: str) -> type[Recorder]:
    def aborts(self: Recorder, *arguments: Any) -> None:
        getattr(Recorder, moment)(self, *arguments)
        self.call("abort")

    return type("Aborting", (Recorder,), {moment: aborts})


@functools.cache
def _ending(how: str) -> type[Recorder]:
    def ends(self: Recorder, transport: Transport) -> None:
        Recorder.connection_made(self, transport)
        self.call(how)

    return type("Ending", (Recorder,), {"connection_made": ends})


def refused_port() -> tuple[socket.socket, int]:
    """Return a port of 127.0.0.1 on which nobody listens, and the socket that holds it."""
    holder = socket.socket()
    holder.bind(("127.0.0.1", 0))
    return holder, holder.getsockname()[1]
