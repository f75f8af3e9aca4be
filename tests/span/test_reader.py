"""reader.py: frames out of messages, however these are cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.span.vectors import FRAMES, INVALID, SKIPPED, name_of
from tests.websocket.recorder import cut, cuts, single_bytes

from isthmus.errors import SpanError
from isthmus.span import frames
from isthmus.span.frames import Code, Type
from isthmus.span.reader import FrameReader, FrameSink

HANDSHAKE_TYPES = range(Type.HELLO, Type.REFUSED + 1)


class Sink(FrameSink):
    """Writes down what a reader says, pieces of DATA joined; reads payloads, so that their errors come."""

    def __init__(self) -> None:
        self.seen: list[tuple[Any, ...]] = []
        self.pieces = 0

    def data_received(self, stream: int, offset: int, data: memoryview, start: int, size: int) -> None:
        assert size
        piece = bytes(data[start : start + size])
        self.pieces += 1
        before = self.seen[-1] if self.seen else ()
        if before[:2] == (Type.DATA, stream) and before[2] + len(before[3]) == offset:
            self.seen[-1] = (Type.DATA, stream, before[2], before[3] + piece)
        else:
            self.seen.append((Type.DATA, stream, offset, piece))

    def ack_received(self, stream: int, received: int, limit: int) -> None:
        self.seen.append((Type.ACK, stream, received, limit))

    def datagram_received(self, flow: int, data: bytes) -> None:
        self.seen.append((Type.DATAGRAM, flow, data))

    def frame_received(self, kind: int, stream: int, payload: bytes) -> None:
        if kind in (Type.HELLO, Type.NEW):
            frames.parse_hello(payload)
        elif kind == Type.OPEN:
            frames.parse_open(payload)
        elif kind == Type.FLOW:
            frames.parse_flow(payload)
        elif kind in (Type.RESET, Type.ENDED):
            frames.parse_reset(payload)
        elif kind == Type.GOAWAY:
            frames.parse_goaway(payload)
        elif kind == Type.STATE:
            list(frames.state_entries(frames.parse_state(payload)[3]))
        self.seen.append((kind, stream, payload))


def read(
    messages: Sequence[Sequence[bytes | bytearray]], *, handshaking: bool = False
) -> tuple[list[Any], str, int]:
    """Return what is read out of messages in pieces, the error's text, and how many types were skipped."""
    sink = Sink()
    reader = FrameReader(sink, maximum_message=65_552)
    reader.handshaking = handshaking
    failed = ""
    for message in messages:
        for index, piece in enumerate(message):
            try:
                reader.receive(piece, index == len(message) - 1)
            except SpanError as error:
                assert not failed, "a reader that failed must discard"
                failed = str(error) if error.code == Code.PROTOCOL else ""
    return sink.seen, failed, reader.skipped


@pytest.mark.parametrize("vector", FRAMES, ids=name_of)
def test_a_vector_is_read(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["bytes"])
    for pieces in ([data], single_bytes(data)):
        seen, failed, _ = read([pieces], handshaking=vector["type"] in HANDSHAKE_TYPES)
        assert not failed
        assert [each[:2] for each in seen] == [(vector["type"], vector["stream"])]


@pytest.mark.parametrize("vector", INVALID, ids=name_of)
def test_an_invalid_vector_is_an_error(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["bytes"])
    before = bytes.fromhex(FRAMES[-1]["bytes"])
    results = [read([[before], pieces])[:2] for pieces in ([data], single_bytes(data) or [bytearray()])]
    assert results[0][1]
    assert results[0] == results[1]
    assert len(results[0][0]) <= 2


@pytest.mark.parametrize("vector", SKIPPED, ids=name_of)
def test_an_optional_type_is_skipped(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["bytes"])
    for pieces in ([data + frames.closed(3)], single_bytes(data + frames.closed(3))):
        assert read([pieces]) == ([(Type.CLOSED, 3, b"")], "", 1)


@pytest.mark.parametrize(
    "vector", [each for each in FRAMES if each["type"] not in HANDSHAKE_TYPES], ids=name_of
)
def test_a_handshake_has_its_own_types_only(vector: dict[str, Any]) -> None:
    seen, failed, _ = read([[bytes.fromhex(vector["bytes"])]], handshaking=True)
    assert not seen
    assert "no handshake" in failed


def test_a_handshake_is_refused_by_its_announced_size() -> None:
    assert read([[frames.header(0x80, 0, 4_089)]], handshaking=True)[1]
    assert not read([[frames.header(0x80, 0, 4_088) + bytes(4_088)]], handshaking=True)[1]


def test_a_message_has_a_maximum() -> None:
    data = frames.data_header(1, 0, 65_536) + bytes(65_536)
    assert not read([[data], [data]])[1]
    assert "larger than 65552" in read([[data + b"x"]])[1]
    assert read([[data, b"x"]])[1]
    assert "longer than a message" in read([[frames.header(Type.DATA, 1, 65_553) + bytes(8)]])[1]


def test_data_is_not_gathered() -> None:
    sink = Sink()
    reader = FrameReader(sink, maximum_message=65_552)
    reader.handshaking = False
    frame = frames.data_header(1, 7, 1000) + bytes(1000)
    for index in range(16, len(frame), 100):
        reader.receive(frame[:16] if index == 16 else frame[index - 100 : index], False)
    assert sink.pieces == 9
    assert sink.seen == [(Type.DATA, 1, 7, bytes(900))]


def test_after_stop_everything_is_discarded() -> None:
    sink = Sink()
    reader = FrameReader(sink, maximum_message=65_552)
    reader.handshaking = False
    reader.stop()
    reader.receive(frames.closed(1), True)
    assert sink.seen == []
    assert reader.stopped


@given(st.lists(st.sampled_from([*FRAMES, *SKIPPED]), min_size=1, max_size=8), cuts)
def test_cuts_change_nothing(vectors: list[dict[str, Any]], places: list[int]) -> None:
    message = b"".join(bytes.fromhex(vector["bytes"]) for vector in vectors)
    assert read([cut(message, places)]) == read([[message]])


@given(st.binary(max_size=100), cuts)
def test_any_bytes_are_read_alike(data: bytes, places: list[int]) -> None:
    whole, failed, _ = read([[data]])
    again, failed_again, _ = read([cut(data, places) or [b""]])
    assert bool(failed) == bool(failed_again)
    assert [each for each in again if each[0] != Type.DATA] == [
        each for each in whole if each[0] != Type.DATA
    ]
