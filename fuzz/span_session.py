"""Fuzz a span session with a hostile peer that may already be in it.

Invariant: whatever a peer sends, whole, in single bytes or in the cuts the fuzzer chooses, the session ends
alike, no exception comes out, the reset and the end of a stream are told at most once and nothing after them,
and what it holds stays within its limits.

`make fuzz` runs it for a minute; by hand, after `pip install 'isthmus[fuzz]'`, `python fuzz/span_session.py
-max_total_time=3600` runs it for an hour.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from isthmus.span import Carrier, Flow, Handler, Limits, Session, Sessions, Stream
from isthmus.span.frames import Settings, new
from isthmus.websocket.octets import Octets

VECTORS = Path(__file__).resolve().parent.parent / "docs" / "span-vectors.json"
SEPARATOR = b"\xff\xfe\xfd"
"""Between two messages of an input."""
LIMITS = Limits(
    maximum_streams=8, receive_budget=100_000, send_budget=100_000, maximum_flows=4, flows_pending=8_192
)


class Peer(Handler):
    """The handler of the session: accepts, echoes, and watches the order of what is told."""

    def __init__(self) -> None:
        self.session: Session
        self.eof_told: set[int] = set()
        self.over: set[int] = set()
        self.flows_over: list[Flow] = []
        self.received = 0
        self.end = -1

    def stream_opened(self, stream: Stream) -> None:
        if stream.id % 5:
            self.session.accept(stream)
        else:
            self.session.reset(stream, 1)

    def opened(self, stream: Stream) -> None:
        assert stream.id not in self.over

    def data(self, stream: Stream, data: Octets) -> None:
        assert stream.id not in self.over
        assert stream.id not in self.eof_told
        self.received += len(data)
        if stream.id % 3:
            self.session.consumed(stream, len(data))
            if stream.room() > 0:
                self.session.write(stream, bytes(data))

    def eof(self, stream: Stream) -> None:
        assert stream.id not in self.over
        assert stream.id not in self.eof_told
        self.eof_told.add(stream.id)
        self.session.write_eof(stream)

    def writable(self, stream: Stream) -> None:
        assert stream.id not in self.over

    def reset(self, stream: Stream, code: int, text: str) -> None:
        assert stream.id not in self.over
        self.over.add(stream.id)

    def closed(self, stream: Stream) -> None:
        assert stream.id in self.eof_told
        assert stream.id not in self.over
        self.over.add(stream.id)

    def flow_opened(self, flow: Flow) -> None:
        if flow.id % 5:
            self.session.flows.accept(flow)
        else:
            self.session.flows.end(flow)

    def datagrams(self, flow: Flow, datagrams: list[bytes]) -> None:
        assert not flow.over
        self.session.flows.send(flow, datagrams, 0.0)

    def flow_ended(self, flow: Flow, code: int, text: str) -> None:
        assert flow not in self.flows_over
        self.flows_over.append(flow)

    def __getattr__(self, name: str) -> object:
        return lambda *_: None

    def ended(self, code: int, text: str) -> None:
        assert self.end == -1
        self.end = code


class Wire:
    """The transport of a carrier."""

    def __getattr__(self, name: str) -> object:
        return lambda *_: None


def serve(data: bytes, sizes: Sequence[int], *, established: bool) -> tuple[int, int, int, int]:
    """Give `data` to a server as one message after another, in pieces of `sizes` bytes in turn.

    Returns how the session ended, what was delivered and how many streams were told to be over.
    """
    peer = Peer()

    def accepted(session: Session) -> Peer:
        peer.session = session
        return peer

    random = iter(range(1_000_000))
    table = Sessions(accepted, LIMITS, random_bytes=lambda size: next(random).to_bytes(size, "big"))
    carrier: Carrier = table.carrier_opened("accept", "identity", Wire(), 0.0)  # type: ignore[arg-type]
    if established:
        carrier.receive(new(bytes(16), Settings()), True, 0.0)
        peer.session.open()
        peer.session.write(peer.session.open(), bytes(50_000))
    turn = 0
    for message in data.split(SEPARATOR):
        start = 0
        while start < len(message) or start == 0:
            size = max(1, sizes[turn % len(sizes)])
            turn += 1
            carrier.receive(message[start : start + size], start + size >= len(message), 0.0)
            start += size
        while carrier.data_to_send(5_000, 0.0):
            pass
    session = getattr(peer, "session", None)
    if not isinstance(session, Session):
        return int(carrier.phase), 0, 0, 0
    assert len(session.streams) <= 2 * LIMITS.maximum_streams + 2
    assert len(session.flows) <= LIMITS.maximum_flows
    assert session.flows.waiting <= LIMITS.flows_pending
    assert session.receive_budget.used <= session.receive_budget.size
    for stream in session.streams.values():
        assert stream.receive.held <= LIMITS.largest_window
    return int(carrier.phase), peer.end, peer.received, len(peer.over)


def check(data: bytes) -> None:
    """Assert the invariant for one input: a byte (is the peer in?), eight for the cuts, then messages."""
    if len(data) < 9:
        return
    established = bool(data[0] & 1)
    cuts, said = data[1:9], data[9:]
    whole = serve(said, [1 << 30], established=established)
    assert serve(said, cuts, established=established)[:2] == whole[:2]
    assert serve(said, [1], established=established)[:2] == whole[:2]


def seeds() -> list[bytes]:
    """Return inputs to begin with: each test vector of a frame, to a peer that is in and to another."""
    vectors = json.loads(VECTORS.read_text())
    listed = [each for kind in ("frames", "skipped", "invalid") for each in vectors[kind]]
    frames = [bytes.fromhex(each["bytes"]) for each in listed]
    opening = new(bytes(16), Settings()) + SEPARATOR
    cuts = bytes(range(1, 9))
    return [
        *(b"\0" + cuts + opening + frame for frame in frames),
        *(b"\1" + cuts + frame for frame in frames),
        b"\1" + cuts + SEPARATOR.join(frames),
    ]


def main() -> None:
    """Run the fuzzer; its options are libFuzzer's."""
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
