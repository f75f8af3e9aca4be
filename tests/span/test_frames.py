"""frames.py: every frame written and understood as the vectors say."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.span.vectors import FRAMES, name_of

from isthmus.errors import SpanError
from isthmus.span import frames
from isthmus.span.frames import Code, Entry, Goaway, Settings, Type


def understood(kind: int, payload: bytes) -> dict[str, Any]:
    """Return what a payload says, as the vectors write it."""
    if kind in (Type.HELLO, Type.NEW):
        hello = frames.parse_hello(payload)
        return {"nonce": hello.nonce.hex(), **hello.settings._asdict()}
    if kind in (Type.JOIN, Type.RESUME):
        return plain(frames.parse_join(payload)._asdict())
    if kind == Type.WELCOME:
        return plain(frames.parse_welcome(payload)._asdict())
    if kind == Type.REFUSED:
        return dict(zip(("code", "retry_after", "text"), frames.parse_refused(payload), strict=True))
    if kind == Type.STATE:
        last, opened_below, next_stream, entries = frames.parse_state(payload)
        told = [list(entry) for entry in frames.state_entries(entries)]
        return {"last": last, "opened_below": opened_below, "next": next_stream, "entries": told}
    if kind == Type.OPEN:
        return dict(zip(("limit", "origin"), frames.parse_open(payload), strict=True))
    if kind in (Type.RESET, Type.ENDED):
        return dict(zip(("code", "text"), frames.parse_reset(payload), strict=True))
    if kind == Type.DATAGRAM:
        return {"data": payload.hex()}
    if kind == Type.FLOW:
        origin, data = frames.parse_flow(payload)
        return {"origin": origin, "data": data.hex()}
    if kind == Type.GOAWAY:
        return frames.parse_goaway(payload)._asdict()
    numbers = {Type.OPENED: ["limit"], Type.FIN: ["final"], Type.ACK: ["received", "limit"]}
    numbers[Type.ARRIVED] = ["total"]
    if kind == Type.DATA:
        return {"offset": int.from_bytes(payload[:8], "big"), "data": payload[8:].hex()}
    if kind in numbers:
        return {
            name: int.from_bytes(payload[8 * place : 8 * place + 8], "big")
            for place, name in enumerate(numbers[Type(kind)])
        }
    return {"payload": payload.hex()} if payload else {}


def plain(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value.hex() if isinstance(value, bytes) else value for name, value in values.items()}


@pytest.mark.parametrize("vector", FRAMES, ids=name_of)
def test_a_frame_says_what_its_vector_says(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["bytes"])
    kind, stream = data[0], int.from_bytes(data[4:8], "big")
    assert int.from_bytes(data[1:4], "big") == len(data) - 8
    assert (kind, stream) == (vector["type"], vector["stream"])
    assert understood(kind, data[8:]) == vector["meaning"]


def written(vector: dict[str, Any]) -> bytes:
    """Return the frame of a vector as frames.py writes it."""
    kind, stream, said = vector["type"], vector["stream"], dict(vector["meaning"])
    for name in ("nonce", "session", "secret", "place", "proof", "fences", "data", "payload"):
        if name in said:
            said[name] = bytes.fromhex(said[name])
    if kind in (Type.HELLO, Type.NEW):
        return frames.hello(said.pop("nonce"), Settings(**said), Type(kind))
    if kind in (Type.JOIN, Type.RESUME):
        return (frames.join if kind == Type.JOIN else frames.resume)(frames.Join(**said))
    if kind == Type.WELCOME:
        return frames.welcome(frames.Welcome(**said))
    if kind == Type.REFUSED:
        return frames.refused(**said)
    if kind == Type.STATE:
        entries = [Entry(*entry) for entry in said["entries"]]
        return b"".join(frames.state(said["opened_below"], said["next"], entries))
    if kind == Type.OPEN:
        return frames.open_stream(stream, **said)
    if kind == Type.OPENED:
        return frames.opened(stream, **said)
    if kind == Type.DATA:
        return frames.data_header(stream, said["offset"], len(said["data"])) + bytes(said["data"])
    if kind == Type.FIN:
        return frames.fin(stream, **said)
    if kind == Type.RESET:
        return frames.reset(stream, **said)
    if kind == Type.ACK:
        return frames.ack(stream, **said)
    if kind == Type.CLOSED:
        return frames.closed(stream)
    if kind == Type.DATAGRAM:
        return frames.header(Type.DATAGRAM, stream, len(said["data"])) + bytes(said["data"])
    if kind == Type.FLOW:
        return frames.flow_header(stream, said["origin"], len(said["data"])) + bytes(said["data"])
    if kind == Type.FLOWING:
        return frames.flowing(stream)
    if kind == Type.ENDED:
        return frames.ended(stream, **said)
    if kind == Type.PING:
        return frames.ping(**said)
    if kind == Type.PONG:
        return frames.pong(**said)
    if kind == Type.ARRIVED:
        return frames.arrived(**said)
    return frames.goaway(Goaway(**said))


@pytest.mark.parametrize(
    "vector",
    [each for each in FRAMES if "HELLO without fields" not in each["name"]],
    ids=name_of,
)
def test_a_frame_is_written_as_its_vector_is(vector: dict[str, Any]) -> None:
    if "optional field" in vector["name"]:
        pytest.skip("version 1 writes none")
    assert written(vector).hex() == vector["bytes"]


def test_every_type_has_a_vector() -> None:
    assert {vector["type"] for vector in FRAMES} == set(Type)


@given(st.text(max_size=300))
def test_a_text_is_cut_and_stays_text(text: str) -> None:
    payload = frames.reset(1, Code.CANCEL, text)[8:]
    assert len(payload) <= 2 + frames.MAXIMUM_TEXT
    code, told = frames.parse_reset(payload)
    assert code == Code.CANCEL
    assert text.encode(errors="replace").decode().startswith(told)


@pytest.mark.parametrize("count", [0, 1, frames.ENTRIES_PER_STATE, frames.ENTRIES_PER_STATE + 1, 5000])
def test_a_state_takes_as_many_frames_as_it_needs(count: int) -> None:
    entries = [Entry(stream, 1, 2, 3) for stream in range(1, count + 1)]
    told: list[Entry] = []
    written = frames.state(7, 8, entries)
    for index, frame in enumerate(written):
        assert len(frame) <= frames.LEAST_MAXIMUM_MESSAGE
        last, opened_below, next_stream, part = frames.parse_state(frame[8:])
        assert (last, opened_below, next_stream) == (index == len(written) - 1, 7, 8)
        told += frames.state_entries(part)
    assert told == entries


PARSERS = [
    frames.parse_hello,
    frames.parse_welcome,
    frames.parse_open,
    frames.parse_flow,
]


@given(st.binary(max_size=200), st.sampled_from(PARSERS))
def test_only_a_span_error_comes_out(payload: bytes, parse: Any) -> None:
    with suppress(SpanError):
        parse(bytes(64) + payload)
