"""Two sessions against a trivial model: each direction of a stream is the bytes that were written."""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.span.dialogue import ACCEPT, Log, Wire, client
from tests.span.scenarios import check_bounds

from isthmus.span import Carrier, Limits, Phase, Session, Sessions, SpanError, Stream
from isthmus.websocket.octets import Octets

LIMITS = Limits(receive_budget=200_000, send_budget=200_000, maximum_streams=6)


class Model(Log):
    """A handler that keeps what each stream has delivered, and how it ended."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes: dict[int, bytes] = defaultdict(bytes)
        self.streams: dict[int, Stream] = {}
        self.eofs: set[int] = set()
        self.ends: dict[int, str] = {}
        self.written: dict[int, bytes] = defaultdict(bytes)
        self.ended_writing: set[int] = set()
        self.unread: dict[int, int] = defaultdict(int)
        self.stuck = False

    def stream_opened(self, stream: Stream) -> None:
        assert stream.id not in self.streams
        self.streams[stream.id] = stream
        self.session.accept(stream)

    def data(self, stream: Stream, data: Octets) -> None:
        assert stream.id not in self.ends
        assert stream.id not in self.eofs
        self.bytes[stream.id] += bytes(data)
        self.unread[stream.id] += len(data)

    def eof(self, stream: Stream) -> None:
        assert stream.id not in self.eofs
        assert stream.id not in self.ends
        self.eofs.add(stream.id)

    def reset(self, stream: Stream, code: int, text: str) -> None:
        assert stream.id not in self.ends
        self.ends[stream.id] = "reset"

    def closed(self, stream: Stream) -> None:
        assert stream.id not in self.ends
        self.ends[stream.id] = "closed"

    def ended(self, code: int, text: str) -> None:
        raise AssertionError(f"the session ended: {code} {text}")

    def live(self) -> list[int]:
        return sorted(each for each in self.streams if each not in self.ends)


class Cable:
    """One WebSocket: messages under way in both directions, in order."""

    def __init__(self, dialling: Carrier, accepted: Carrier) -> None:
        self.ends = (dialling, accepted)
        self.under_way: tuple[list[bytes], list[bytes]] = ([], [])  # to the client, to the server

    def send(self, side: int, budget: int, now: float) -> bool:
        """Let one side send a message; return whether it had one."""
        buffers = self.ends[side].data_to_send(budget, now)
        if buffers:
            self.under_way[1 - side].append(b"".join(map(bytes, buffers)))
        return bool(buffers)

    def deliver(self, side: int, now: float) -> bool:
        if not self.under_way[side]:
            return False
        message = bytearray(self.under_way[side].pop(0))
        half = len(message) // 2
        if half:
            self.ends[side].receive(memoryview(message)[:half], False, now)
        self.ends[side].receive(memoryview(message)[half:], True, now)
        return True

    def over(self) -> bool:
        return any(end.phase is Phase.CLOSED for end in self.ends)


class Machine(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        self.now = 0.0
        self.sides: list[Model] = [Model(), Model()]
        self.session, _ = client(LIMITS)
        self.session.handler = self.sides[0]
        self.sides[0].session = self.session
        self.table = Sessions(self._accepted, LIMITS)
        self.cables: list[Cable] = []
        self.known: list[Session] = [self.session]

    def _accepted(self, session: Session) -> Model:
        if self.sides[1].streams:
            raise AssertionError("a second session")
        self.sides[1].session = session
        self.known = [self.session, session]
        return self.sides[1]

    def cut(self, cable: Cable) -> None:
        for end in cable.ends:
            end.lost(self.now)
        self.cables.remove(cable)

    @precondition(lambda self: len(self.cables) < 3)
    @rule(rounds=st.integers(0, 4))
    def dial(self, rounds: int) -> None:
        """Open a cable; after three rounds its handshake is complete."""
        dialling = self.session.carrier_opened(Wire(), self.now)
        self.cables.append(Cable(dialling, self.table.carrier_opened(ACCEPT, "", Wire(), self.now)))
        for _ in range(rounds):
            self.exchange(len(self.cables) - 1, 5_000, 2)

    @precondition(lambda self: self.cables)
    @rule(which=st.integers(0, 9), budget=st.sampled_from((5_000, 100_000)), count=st.integers(1, 9))
    def exchange(self, which: int, budget: int, count: int) -> None:
        """Let both sides send and receive some messages."""
        cable = self.cables[which % len(self.cables)]
        for _ in range(count):
            for side in (0, 1):
                cable.send(1 - side, budget, self.now)
                cable.deliver(side, self.now)

    @precondition(lambda self: self.cables)
    @rule(which=st.integers(0, 9), side=st.integers(0, 1), rest=st.integers(0, 3))
    def lose(self, which: int, side: int, rest: int) -> None:
        """Cut a cable; some of what is under way may still arrive, and one side may hear of it later."""
        cable = self.cables[which % len(self.cables)]
        for _ in range(rest):
            cable.deliver(side, self.now)
        self.cut(cable)

    @precondition(lambda self: self.cables)
    @rule(which=st.integers(0, 9), side=st.integers(0, 1), budget=st.sampled_from((1, 5_000, 100_000)))
    def send(self, which: int, side: int, budget: int) -> None:
        self.cables[which % len(self.cables)].send(side, budget, self.now)

    @precondition(lambda self: self.cables)
    @rule(which=st.integers(0, 9), side=st.integers(0, 1), count=st.integers(1, 5))
    def deliver(self, which: int, side: int, count: int) -> None:
        cable = self.cables[which % len(self.cables)]
        for _ in range(count):
            cable.deliver(side, self.now)

    @rule(seconds=st.sampled_from((0.01, 0.03, 1.0)))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        for session in self.known:
            session.timeout(self.now)

    @rule(side=st.integers(0, 1))
    def open(self, side: int) -> None:
        model = self.sides[side]
        # Before HELLO a client does not know how many the peer takes.
        if self.session.id or (side == 0 and len(self.session.streams) < LIMITS.maximum_streams):
            with suppress(SpanError):  # OVERLOAD
                stream = model.session.open()
                model.streams[stream.id] = stream

    @rule(side=st.integers(0, 1), which=st.integers(0, 9), size=st.sampled_from((1, 100, 20_000, 90_000)))
    def write(self, side: int, which: int, size: int) -> None:
        model = self.sides[side]
        live = [each for each in model.live() if each not in model.ended_writing]
        if live:
            stream = live[which % len(live)]
            if model.streams[stream].room() > 0:
                data = bytes([len(model.written[stream]) % 251]) * size
                model.written[stream] += data
                model.session.write(model.streams[stream], data)

    @rule(side=st.integers(0, 1), which=st.integers(0, 9))
    def end_writing(self, side: int, which: int) -> None:
        model = self.sides[side]
        if model.live():
            stream = model.live()[which % len(model.live())]
            model.ended_writing.add(stream)
            model.session.write_eof(model.streams[stream])

    @rule(side=st.integers(0, 1), which=st.integers(0, 9))
    def reset(self, side: int, which: int) -> None:
        model = self.sides[side]
        if model.live():
            stream = model.live()[which % len(model.live())]
            model.ends[stream] = "reset here"
            model.session.reset(model.streams[stream])

    @rule(side=st.integers(0, 1), which=st.integers(0, 9))
    def read(self, side: int, which: int) -> None:
        model = self.sides[side]
        if model.live():
            self._consume(model, model.live()[which % len(model.live())])

    def _consume(self, model: Model, stream: int) -> None:
        size, model.unread[stream] = model.unread[stream], 0
        model.session.consumed(model.streams[stream], size)

    @invariant()
    def what_is_delivered_is_a_prefix_of_what_was_written(self) -> None:
        if not hasattr(self, "sides"):
            return
        for model, peer in (self.sides, self.sides[::-1]):
            for stream, delivered in model.bytes.items():
                assert peer.written[stream].startswith(delivered)
                if stream in model.eofs:
                    assert stream in peer.ended_writing
                    assert delivered == peer.written[stream]
        for session in self.known:
            check_bounds(session)

    def teardown(self) -> None:
        """With one carrier that works, and all ended, every stream comes to its end."""
        if not hasattr(self, "sides"):
            return
        for cable in list(self.cables):
            self.cut(cable)
        self.dial(4)
        for _ in range(400):
            self.now += 0.03
            for session in self.known:
                session.timeout(self.now)
            for model in self.sides:
                for stream in model.live():
                    model.ended_writing.add(stream)
                    model.session.write_eof(model.streams[stream])
                    self._consume(model, stream)
            [cable] = self.cables
            if cable.over():
                self.cut(cable)
                self.dial(4)
                [cable] = self.cables
            for _ in range(20):
                moved = [cable.send(side, 100_000, self.now) for side in (0, 1)]
                moved += [cable.deliver(side, self.now) for side in (0, 1)]
                if not any(moved):
                    break
            if not any(session.streams for session in self.known):
                break
        for model, peer in (self.sides, self.sides[::-1]):
            assert not model.live(), "no progress"
            for stream, end in model.ends.items():
                if end == "closed":
                    assert model.bytes[stream] == peer.written[stream]
                elif end == "reset":
                    assert peer.ends.get(stream, "reset here") == "reset here"
        for session in self.known:
            assert session.receive_budget.used == session.send_budget.used == 0


TestModel = Machine.TestCase
TestModel.settings = settings(max_examples=300, stateful_step_count=60, deadline=None)
