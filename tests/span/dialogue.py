"""Span as a dialogue: one real side, and a peer that says whatever the test wants."""

from __future__ import annotations

from random import Random
from typing import Any

from tests.span.test_reader import Sink

from isthmus.span import Carrier, Flow, Handler, Limits, Session, Sessions, Stream
from isthmus.span import frames as f
from isthmus.span.frames import Join, Settings, Type
from isthmus.span.proofs import client_proof
from isthmus.span.reader import FrameReader
from isthmus.websocket.frames import Role
from isthmus.websocket.octets import Octets

ACCEPT = "wss://gate.example.com/service"
NONCE = bytes(range(16))
PLACE = b"node-one" + b"boot-one"


class Wire:
    """The transport of one carrier: writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def output_ready(self) -> None:
        self.told.append(("output",))

    def output_now(self) -> None:
        self.told.append(("output now",))

    def established(self) -> None:
        self.told.append(("established",))

    def refused(self, code: int, retry_after: float, text: str) -> None:
        self.told.append(("refused", code, retry_after))

    def close(self, code: int, text: str) -> None:
        self.told.append(("close", code))

    @property
    def closed(self) -> int:
        return next((event[1] for event in self.told if event[0] == "close"), 0)


class Log(Handler):
    """The handler of a session: writes down what it is told; accepts streams if asked to."""

    def __init__(self, *, accepts: bool = True) -> None:
        self.accepts = accepts
        self.session: Session
        self.told: list[tuple[Any, ...]] = []

    def stream_opened(self, stream: Stream) -> None:
        self.told.append(("stream_opened", stream.id, stream.origin))
        if self.accepts:
            self.session.accept(stream)

    def opened(self, stream: Stream) -> None:
        self.told.append(("opened", stream.id))

    def data(self, stream: Stream, data: Octets) -> None:
        self.told.append(("data", stream.id, bytes(data)))

    def eof(self, stream: Stream) -> None:
        self.told.append(("eof", stream.id))

    def writable(self, stream: Stream) -> None:
        self.told.append(("writable", stream.id))

    def reset(self, stream: Stream, code: int, text: str) -> None:
        self.told.append(("reset", stream.id, code))

    def closed(self, stream: Stream) -> None:
        self.told.append(("closed", stream.id))

    def flow_opened(self, flow: Flow) -> None:
        self.told.append(("flow_opened", flow.id, flow.origin))
        if self.accepts:
            self.session.flows.accept(flow)

    def datagrams(self, flow: Flow, datagrams: list[bytes]) -> None:
        self.told.append(("datagrams", flow.id, datagrams))

    def flow_ended(self, flow: Flow, code: int, text: str) -> None:
        self.told.append(("flow_ended", flow.id, code))

    def datagrams_dropped(self, count: int) -> None:
        self.told.append(("dropped", count))

    def carrier_going(self, carrier: Carrier, code: int, seconds: float) -> None:
        self.told.append(("carrier_going", code, seconds))

    def going(self, code: int) -> None:
        self.told.append(("going", code))

    def ended(self, code: int, text: str) -> None:
        self.told.append(("ended", code))

    def take(self) -> list[tuple[Any, ...]]:
        told, self.told = self.told, []
        return told


class Line:
    """One carrier of a real side, spoken to by hand."""

    def __init__(self, carrier: Carrier, wire: Wire) -> None:
        self.carrier = carrier
        self.wire = wire
        self.now = 0.0

    def say(self, *data: bytes) -> None:
        """Send frames to the real side, as one message."""
        self.carrier.receive(bytearray(b"".join(data)), True, self.now)

    def hear(self, budget: int = 1 << 20) -> list[tuple[Any, ...]]:
        """Return the frames that the real side sends."""
        sink = Sink()
        for _ in range(1_000):
            buffers = self.carrier.data_to_send(budget, self.now)
            if not buffers:
                return sink.seen
            reader = FrameReader(sink, maximum_message=1 << 20)
            reader.handshaking = False
            reader.receive(b"".join(map(bytes, buffers)), True)
        raise AssertionError("it never stops sending")

    def kinds(self) -> list[tuple[int, int]]:
        """Return type and stream of the frames that the real side sends."""
        return [(frame[0], frame[1]) for frame in self.hear()]


class Server:
    """A real table of sessions; the test plays the clients."""

    def __init__(self, limits: Limits | None = None, *, accepts: bool = True, **settings: Any) -> None:
        self.log = Log(accepts=accepts)
        self.now = 0.0
        self.table = Sessions(
            self._accepted, limits, place=PLACE, random_bytes=Random(1).randbytes, **settings
        )
        self.session: Session
        self.welcome: f.Welcome
        self.epoch = 1

    def _accepted(self, session: Session) -> Log:
        self.session = self.log.session = session
        return self.log

    def carrier(self, accept: str = ACCEPT, identity: str = "anonymous") -> Line:
        """Open a carrier that has not said anything."""
        wire = Wire()
        line = Line(self.table.carrier_opened(accept, identity, wire, self.now), wire)
        line.now = self.now
        return line

    def found(self, settings: Settings | None = None) -> Line:
        """Open a session and return its first carrier."""
        line = self.carrier()
        assert line.kinds() == [(Type.HELLO, 0)]
        line.say(f.new(NONCE, settings or Settings()))
        [(kind, _, payload)] = line.hear()
        assert kind == Type.WELCOME
        self.welcome = f.parse_welcome(payload)
        return line

    def join(self, slot: int, fences: bytes = b"", **changes: Any) -> Line:
        """Open a carrier that says JOIN, or RESUME with `fences`; `changes` spoil it."""
        line = self.carrier(changes.pop("accept", ACCEPT), changes.pop("identity", "anonymous"))
        [(_, _, payload)] = line.hear()
        nonce = f.parse_hello(payload).nonce
        self.epoch += 1
        request = Join(self.welcome.session, PLACE, slot, self.epoch, NONCE, bytes(32), fences)
        secret = changes.pop("secret", self.welcome.secret)
        proof = changes.pop("proof", None)
        request = request._replace(**changes)
        request = request._replace(proof=proof or client_proof(secret, request, nonce))
        line.say(f.resume(request) if fences else f.join(request))
        return line

    def resumed(self, next_stream: int = 1, entries: list[f.Entry] | None = None, below: int = 2) -> Line:
        """Resume with STATE, all slots given up."""
        line = self.join(0, bytes(range(16)))
        assert [frame[0] for frame in line.hear()][:2] == [Type.WELCOME, Type.STATE]
        line.say(*f.state(below, next_stream, entries or []))
        return line


def client(limits: Limits | None = None) -> tuple[Session, Log]:
    """Return a real client's session without carriers."""
    log = Log()
    log.session = Session(Role.CLIENT, log, 0.0, limits, random_bytes=Random(2).randbytes)
    return log.session, log


def dialled(session: Session, now: float = 0.0) -> Line:
    """Return a new carrier of a client's session, to which nothing was said."""
    wire = Wire()
    line = Line(session.carrier_opened(wire, now), wire)
    line.now = now
    return line
