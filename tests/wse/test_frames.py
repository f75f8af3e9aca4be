"""Frames of the emulation: what they say, however cut, and what cannot be one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.websocket.recorder import cut, cuts

from isthmus.wse import EmulationError
from isthmus.wse.frames import (
    BINARY_FRAME,
    CLOSE,
    NOP,
    PING,
    PONG,
    RECONNECT,
    TEXT_FRAME,
    FrameDecoder,
    header,
)


class Recorder:
    def __init__(self) -> None:
        self.events: list[list[Any]] = []

    def began(self, text: bool, length: int) -> None:
        self.events.append([text, length, b""])

    def payload(self, piece: memoryview) -> None:
        assert piece
        self.events[-1][2] += bytes(piece)

    def ended(self) -> None:
        self.events[-1][1] = "ended"

    def ping(self) -> None:
        self.events.append(["ping"])

    def pong(self) -> None:
        self.events.append(["pong"])

    def close(self) -> None:
        self.events.append(["close"])


def decode(
    body: bytes, places: list[int] | None = None, *, pings: bool = True
) -> tuple[list[Any], FrameDecoder]:
    recorder = Recorder()
    decoder = FrameDecoder(recorder, pings=pings)
    for piece in cut(body, places or []):
        decoder.feed(memoryview(piece))
    return recorder.events, decoder


MESSAGES = st.one_of(
    st.tuples(st.just(False), st.binary(max_size=200)),
    st.tuples(st.just(True), st.text(max_size=60).map(str.encode)),
    st.sampled_from(["ping", "pong", "nop"]),
)


@given(messages=st.lists(MESSAGES, max_size=8), places=cuts)
def test_any_frames_however_cut(messages: list[Any], places: list[int]) -> None:
    body = b""
    expected: list[Any] = []
    for message in messages:
        if isinstance(message, str):
            body += {"ping": PING, "pong": PONG, "nop": NOP}[message]
            expected += [] if message == "nop" else [[message]]
        else:
            text, payload = message
            body += header(TEXT_FRAME if text else BINARY_FRAME, len(payload)) + payload
            expected.append([text, len(payload), payload])
    events, decoder = decode(body + CLOSE + RECONNECT, places)
    assert events == [*expected, ["close"]]
    assert decoder.closed
    assert decoder.reconnect
    assert decoder.whole


@pytest.mark.parametrize(
    ("length", "digits"),
    [
        (0, "00"),
        (127, "7f"),
        (128, "8100"),
        (65535, "83ff7f"),
        (65536, "848000"),
        (2**53, "9080808080808000"),
    ],
)
def test_lengths(length: int, digits: str) -> None:
    assert header(BINARY_FRAME, length) == bytes.fromhex("80" + digits)
    events, decoder = decode(header(BINARY_FRAME, length))
    assert events == [[False, length, b""]]
    assert decoder.whole == (length == 0)


@given(text=st.text(max_size=50), places=cuts)
def test_a_delimited_text(text: str, places: list[int]) -> None:
    events, decoder = decode(b"\0" + text.encode() + b"\xff" + NOP, places)
    assert events == [[True, "ended", text.encode()]]
    assert decoder.whole


def test_several_commands_in_one_frame() -> None:
    events, decoder = decode(b"\x01000201\xff")
    assert events == [["close"]]
    assert decoder.reconnect


def test_behind_close_nothing_is_handed_on() -> None:
    events, _ = decode(CLOSE + b"\x80\x02ab\0x\xff" + PING + CLOSE + RECONNECT)
    assert events == [["close"]]


@pytest.mark.parametrize(
    "body",
    [
        b"\x02",
        b"\x82",
        b"\x0103\xff",
        b"\x0110\xff",
        b"\x010\xff",
        b"\x01ab\xff",
        b"\x0101",
        b"\x89\x01",
        b"\x8a\x7d",
        RECONNECT + NOP,
        b"\x010100\xff" + b"\x010101\xff",
        b"\x80" + b"\xff" * 9,
        b"\x80\xa0\x80\x80\x80\x80\x80\x80\x01",
    ],
)
def test_what_is_no_frame(body: bytes) -> None:
    if body == b"\x0101":
        assert not decode(body)[1].whole
        return
    with pytest.raises(EmulationError):
        decode(body)


@pytest.mark.parametrize("body", [PING, PONG])
def test_pings_that_were_not_announced(body: bytes) -> None:
    with pytest.raises(EmulationError, match="did not announce"):
        decode(body, pings=False)


@given(body=st.binary(max_size=200), places=cuts)
def test_anything_is_read_or_refused(body: bytes, places: list[int]) -> None:
    whole: list[Any]
    try:
        whole = decode(body)[0]
    except EmulationError:
        with pytest.raises(EmulationError):
            decode(body, places)
    else:
        assert decode(body, places)[0] == whole
