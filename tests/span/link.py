"""A simulated Web between a client's session and a server's: latency, bandwidth, queues, cuts at any byte.

Time is a number that jumps from event to event, and every choice comes from one seed.
"""

from __future__ import annotations

import heapq
import math
import struct
from collections.abc import Callable
from itertools import count
from random import Random

from isthmus.span import Carrier, Flow, Handler, Limits, Session, Sessions, Stream
from isthmus.websocket.frames import Role
from isthmus.websocket.octets import Octets

ACCEPT = "wss://gate.example.com/service"
DATAGRAM = struct.Struct("!IId")
PATTERN = Random(7).randbytes(65_521)
BACKLOG = 64 * 1024


def expected(salt: int, offset: int, size: int) -> bytes:
    """Return the bytes of a stream's direction at an offset."""
    start = (offset + salt * 977) % len(PATTERN)
    data = PATTERN[start : start + size]
    while len(data) < size:
        data += PATTERN[: size - len(data)]
    return data


class World:
    """Events in the order of their time."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self.sessions: list[Session] = []
        self.table: Sessions | None = None
        self.largest_piece = 1 << 30  # what arrives at once, in bytes

    def at(self, time: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._events, (max(time, self.now), next(self._order), call))

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        self.at(self.now + seconds, call)

    def run(self, until: Callable[[], bool], seconds: float, check: Callable[[], None] | None = None) -> None:
        """Run events until `until` holds; fail if that takes more than so many simulated seconds."""
        end = self.now + seconds
        while not until():
            due = [session.next_deadline() for session in self.sessions]
            if self.table is not None:
                due.append(self.table.next_deadline())
            timer = min(due, default=math.inf)
            event = self._events[0][0] if self._events else math.inf
            assert min(timer, event) <= end, f"no progress within {seconds} s"
            if timer < event:
                assert timer >= self.now - 1e-9 or timer <= self.now
                self.now = max(self.now, timer)
                for session in list(self.sessions):
                    if session.next_deadline() <= self.now:
                        session.timeout(self.now)
                if self.table is not None and self.table.next_deadline() <= self.now:
                    self.table.timeout(self.now)
            else:
                self.now, _, call = heapq.heappop(self._events)
                call()
            if check is not None:
                check()


class End:
    """One end of a WebSocket: drives a Carrier, as a transport does."""

    def __init__(self, world: World, wire: Wire) -> None:
        self.world = world
        self.wire = wire
        self.carrier: Carrier | None = None
        self.peer: End
        self.backlog = 0
        self.busy_until = 0.0
        self.planned = False
        self.gone = False
        self.refusal: tuple[int, float] | None = None
        self.on_established: Callable[[], None] = lambda: None
        self.on_gone: Callable[[], None] = lambda: None

    def output_ready(self) -> None:
        if not self.planned:
            self.planned = True
            self.world.after(0, self.flush)

    def established(self) -> None:
        self.on_established()

    def refused(self, code: int, retry_after: float, text: str) -> None:
        self.refusal = code, retry_after

    def output_now(self) -> None:
        self.flush()

    def close(self, code: int, text: str) -> None:
        self.world.after(0, self.flush)

    def flush(self) -> None:
        self.planned = False
        if self.gone or self.carrier is None:
            return
        while self.backlog < BACKLOG:
            buffers = self.carrier.data_to_send(BACKLOG - self.backlog, self.world.now)
            if not buffers:
                break
            self._transmit(b"".join(map(bytes, buffers)))
        if self.carrier.close_code is not None and not self.gone:
            self.wire.world.at(self.busy_until, self.wire.close)

    def _transmit(self, message: bytes) -> None:
        world, wire = self.world, self.wire
        self.backlog += len(message)
        position = 0
        while position < len(message):
            size = min(len(message) - position, world.largest_piece)
            if size > 1 and world.random.random() < 0.3:
                size = world.random.randint(1, size)
            piece = message[position : position + size]
            position += size
            self.busy_until = max(self.busy_until, world.now) + size / wire.rate
            final = position == len(message)
            world.at(self.busy_until, lambda piece=piece, final=final: self._departed(piece, final))  # type: ignore[misc]

    def _departed(self, piece: bytes, final: bool) -> None:
        if self.gone or self.wire.silent:
            return
        self.backlog -= len(piece)
        left = self.wire.cut_after
        self.wire.cut_after = left - len(piece)
        if left < len(piece):
            piece, final = piece[: int(max(left, 0))], False
            self.wire.cut()
        if piece:
            self.world.after(self.wire.latency, lambda: self.peer.arrived(piece, final))
        if not self.wire.silent:
            self.output_ready()

    def arrived(self, piece: bytes, final: bool) -> None:
        if self.gone or self.carrier is None:
            return
        buffer = bytearray(piece)
        self.carrier.receive(memoryview(buffer), final, self.world.now)
        buffer[:] = bytes(len(buffer))  # nobody may have kept the view

    def lose(self) -> None:
        if self.gone:
            return
        self.gone = True
        if self.carrier is not None:
            self.carrier.lost(self.world.now)
        self.on_gone()


class Wire:
    """One WebSocket: both ends and what lies between them."""

    def __init__(self, world: World, rate: float, latency: float) -> None:
        self.world = world
        self.rate = rate
        self.latency = latency
        self.cut_after: float = math.inf
        self.silent = False
        self.stays_silent = False
        self.client = End(world, self)
        self.server = End(world, self)
        self.client.peer, self.server.peer = self.server, self.client

    def close(self) -> None:
        self.client.lose()
        self.world.after(self.latency, self.server.lose)
        self.server.world.after(self.latency, self.client.lose)

    def cut(self) -> None:
        """Cut: nothing passes any more; each side is told sooner or later, or has to notice itself."""
        if self.silent:
            return
        self.silent = True
        for end in (self.client, self.server):
            if not self.stays_silent and self.world.random.random() < 0.8:
                self.world.after(self.latency + self.world.random.random() * 0.3, end.lose)
            else:
                self.world.after(25.0, end.lose)


class Side:
    """One side of a stream: what it wants to send and what it has seen."""

    def __init__(self, stream: Stream, salt: int, total: int, app: App) -> None:
        self.stream = stream
        self.app = app
        self.salt = salt
        self.total = total
        self.sent = 0
        self.received = 0
        self.unread = 0
        self.eof = self.over = self.reset_here = False
        self.whole = False
        self.code = -1
        self.opened = 0

    def write(self) -> None:
        session = self.app.session
        while not self.over and not self.reset_here and self.sent < self.total:
            size = min(self.total - self.sent, self.app.chunk())
            room = session.write(self.stream, expected(self.salt, self.sent, size))
            self.sent += size
            if room <= 0:
                return
        if not self.over and not self.reset_here and self.sent == self.total:
            session.write_eof(self.stream)


class Talk:
    """One side of a flow of datagrams: each says which it is and when it was sent."""

    def __init__(self, flow: Flow, app: App) -> None:
        self.flow = flow
        self.app = app
        self.sent = 0
        self.came: set[int] = set()
        self.over = False
        self.latest = 0.0

    def send(self, size: int = 0, count: int = 1) -> None:
        if self.over:
            return
        now = self.app.world.now
        datagrams = []
        for _ in range(count):
            body = expected(self.sent, self.flow.id, size)
            datagrams.append(DATAGRAM.pack(self.sent, self.flow.id, now) + body)
            self.sent += 1
        self.app.session.flows.send(self.flow, datagrams, now)

    def receive(self, data: bytes) -> None:
        assert not self.over
        number, flow, when = DATAGRAM.unpack_from(data)
        assert flow == self.flow.id
        assert number not in self.came, "a datagram came twice"
        assert data[DATAGRAM.size :] == expected(number, flow, len(data) - DATAGRAM.size)
        self.came.add(number)
        self.latest = max(self.latest, self.app.world.now - when)

    def end(self) -> None:
        if not self.over:
            self.over = True
            self.app.session.flows.end(self.flow)


class App(Handler):
    """The application on one side: its handler, and the checks of what it is told."""

    def __init__(self, world: World, side: int) -> None:
        self.world = world
        self.side = side
        self.session: Session
        self.flows: dict[int, Side] = {}
        self.talks: dict[int, Talk] = {}
        self.dropped = 0
        self.ends: list[tuple[int, str]] = []
        self.answer = 0  # bytes that an accepted stream sends
        self.refuse = 0.0  # the share of streams that are reset instead of accepted
        self.dial_time = 0.0
        self.read_delay = 0.0
        self.stalled: set[int] = set()
        self.chunk_sizes: tuple[int, ...] = (1, 100, 5_000, 70_000)

    def chunk(self) -> int:
        return self.world.random.choice(self.chunk_sizes)

    def open(self, total: int) -> Side:
        stream = self.session.open(origin="203.0.113.9:1234")
        flow = Side(stream, stream.id * 2 + self.side, total, self)
        self.flows[stream.id] = flow
        flow.write()
        return flow

    def stream_opened(self, stream: Stream) -> None:
        assert stream.id not in self.flows, "opened twice"
        assert stream.origin == "203.0.113.9:1234"
        flow = Side(stream, stream.id * 2 + self.side, self.answer, self)
        self.flows[stream.id] = flow
        if self.dial_time:
            self.world.after(self.dial_time, lambda: self._accept(flow))
        else:
            self._accept(flow)

    def _accept(self, flow: Side) -> None:
        if flow.over:
            return
        if self.world.random.random() < self.refuse:
            self.reset_flow(flow)
            return
        self.session.accept(flow.stream)
        flow.write()

    def reset_flow(self, flow: Side) -> None:
        if not flow.over:
            flow.reset_here = flow.over = True
            self.session.reset(flow.stream, 1, "refused")

    def opened(self, stream: Stream) -> None:
        self.flows[stream.id].opened += 1
        assert self.flows[stream.id].opened == 1

    def data(self, stream: Stream, data: Octets) -> None:
        flow = self.flows[stream.id]
        assert not flow.over
        assert not flow.eof
        size = len(data)
        assert size
        # The peer's direction: its salt differs in the side only.
        assert data == expected(stream.id * 2 + 1 - self.side, flow.received, size)
        flow.received += size
        flow.unread += size
        if stream.id in self.stalled:
            return
        if self.read_delay:
            self.world.after(self.read_delay, lambda: self.consume(flow, size))
        else:
            self.consume(flow, size)

    def consume(self, flow: Side, size: int) -> None:
        if not flow.over:
            flow.unread -= size
            self.session.consumed(flow.stream, size)

    def resume_reading(self, flow: Side) -> None:
        self.stalled.discard(flow.stream.id)
        self.consume(flow, flow.unread)

    def eof(self, stream: Stream) -> None:
        flow = self.flows[stream.id]
        assert not flow.eof
        assert not flow.over
        flow.eof = True

    def writable(self, stream: Stream) -> None:
        flow = self.flows[stream.id]
        assert not flow.over
        flow.write()

    def reset(self, stream: Stream, code: int, text: str) -> None:
        flow = self.flows[stream.id]
        assert not flow.over
        flow.over = True
        flow.code = code

    def closed(self, stream: Stream) -> None:
        flow = self.flows[stream.id]
        assert not flow.over
        assert flow.eof
        assert flow.sent == flow.total
        flow.over = flow.whole = True

    def talk(self) -> Talk:
        """Open a flow."""
        flow = self.session.flows.open("203.0.113.9:1234")
        self.talks[flow.id] = talk = Talk(flow, self)
        return talk

    def flow_opened(self, flow: Flow) -> None:
        assert flow.id not in self.talks, "opened twice"
        assert flow.origin == "203.0.113.9:1234"
        self.talks[flow.id] = Talk(flow, self)
        self.session.flows.accept(flow)

    def datagrams(self, flow: Flow, datagrams: list[bytes]) -> None:
        for data in datagrams:
            self.talks[flow.id].receive(data)

    def flow_ended(self, flow: Flow, code: int, text: str) -> None:
        assert not self.talks[flow.id].over
        self.talks[flow.id].over = True

    def datagrams_dropped(self, count: int) -> None:
        self.dropped += count

    def carrier_going(self, carrier: Carrier, code: int, seconds: float) -> None:
        pass

    def going(self, code: int) -> None:
        pass

    def ended(self, code: int, text: str) -> None:
        assert not self.ends
        self.ends.append((code, text))


class Net:
    """A client's session, a server's table, and a driver that keeps a number of carriers up."""

    def __init__(
        self,
        seed: int,
        *,
        carriers: int = 1,
        rates: tuple[float, ...] = (1e7,),
        latency: float = 0.01,
        limits: Limits | None = None,
        cut: float = math.inf,
        silent: float = 0.0,
    ) -> None:
        self.world = World(seed)
        self.limits = limits or Limits()
        self.client = App(self.world, 0)
        self.server = App(self.world, 1)
        self.rates = rates
        self.latency = latency
        self.wires: list[Wire] = []
        self.session = Session(
            Role.CLIENT, self.client, 0.0, self.limits, random_bytes=self.world.random.randbytes
        )
        self.client.session = self.session
        self.table = Sessions(self._accepted, self.limits, random_bytes=self.world.random.randbytes)
        self.world.table = self.table
        self.world.sessions.append(self.session)
        self.cut = cut  # after so many bytes on average
        self.silent_share = silent  # of the cuts that nobody is told of
        self.dials = 0
        self.paused = False
        for index in range(carriers):
            self.dial(index, 0.2)

    def _accepted(self, session: Session) -> App:
        self.world.sessions.append(session)
        assert not self.server.flows
        self.server.session = session  # the WELCOME of one before may have been lost
        self.server.ends.clear()
        return self.server

    def dial(self, index: int, backoff: float) -> None:
        """Open a carrier; when it is lost, open it again by back-off with full jitter."""
        if self.session.over or self.paused:
            return
        self.dials += 1
        wire = Wire(self.world, self.rates[index % len(self.rates)], self.latency)
        if self.cut < math.inf:
            wire.cut_after = self.world.random.expovariate(1 / self.cut)
        wire.stays_silent = self.world.random.random() < self.silent_share
        self.wires.append(wire)
        state = {"backoff": backoff}

        def established() -> None:
            state["backoff"] = 0.2

        def gone() -> None:
            self.wires.remove(wire)
            delay = self.world.random.random() * state["backoff"]
            if wire.client.refusal is not None:
                delay = max(delay, wire.client.refusal[1])
            self.world.after(delay, lambda: self.dial(index, min(5.0, state["backoff"] * 2)))

        wire.client.on_established = established
        wire.client.on_gone = gone
        wire.client.carrier = self.session.carrier_opened(wire.client, self.world.now)

        def connected() -> None:
            if not wire.server.gone:
                wire.server.carrier = self.table.carrier_opened(
                    ACCEPT, "anonymous", wire.server, self.world.now
                )

        self.world.after(self.latency, connected)

    def flows(self) -> list[Side]:
        return [*self.client.flows.values(), *self.server.flows.values()]

    def run(self, until: Callable[[], bool], seconds: float, check: Callable[[], None] | None = None) -> None:
        self.world.run(until, seconds, check)

    def settled(self) -> bool:
        """Whether every stream is over on both sides, and forgotten."""
        if self.session.streams or not all(flow.over for flow in self.flows()):
            return False
        return not hasattr(self.server, "session") or not self.server.session.streams

    def replace_one(self) -> None:
        """Let the server ask for another carrier, and close the one it has soon after."""
        if not hasattr(self.server, "session"):
            return
        for carrier in list(self.server.session.carriers.values()):
            self.server.session.replace_carrier(carrier)
            for wire in self.wires:
                if wire.server.carrier is carrier:
                    self.world.after(0.3, wire.close)
            return
