"""RFC 6455 over the emulation: what one WebSocket writes is what the other reads."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.websocket.recorder import Recorder, cut, cuts, frame

from isthmus.websocket.connection import Connection
from isthmus.websocket.frames import CloseCode, Opcode, ProtocolError, Role
from isthmus.wse.encodings import BINARY, ENCODINGS
from isthmus.wse.frames import CLOSE, NOP, PING, PONG
from isthmus.wse.translation import Inward, Outward

ROLES = pytest.mark.parametrize("role", list(Role))


def other(role: Role) -> Role:
    return Role.SERVER if role is Role.CLIENT else Role.CLIENT


def joined(buffers: list[Any]) -> bytes:
    return b"".join(bytes(each) for each in buffers)


@ROLES
@given(
    messages=st.lists(st.binary(max_size=40_000) | st.text(max_size=80), max_size=5),
    written=cuts,
    read=cuts,
    close=st.booleans(),
)
def test_from_one_websocket_to_the_other(
    role: Role, messages: list[bytes | str], written: list[int], read: list[int], close: bool
) -> None:
    sender = Connection(role, Recorder())
    reader = Recorder()
    receiver = Connection(other(role), reader)
    outward, inward = Outward(role, BINARY), Inward(other(role))
    rfc6455 = b""
    for message in messages:
        rfc6455 += joined(
            sender.send_text(message) if isinstance(message, str) else sender.send_data(message)
        )
    rfc6455 += sender.send_ping()
    if close:
        rfc6455 += sender.send_close(CloseCode.NORMAL, "done")
    body = b"".join(joined(outward.translate(piece)) for piece in cut(rfc6455, written))
    for piece in cut(body, read):
        for view in inward.translate(memoryview(piece)):
            receiver.receive(view)
    expected: list[Any] = [
        ("data", each.encode() if isinstance(each, str) else each, True) for each in messages
    ]
    if close:
        expected.append(("close", 1000, ""))
    assert reader.events == expected
    assert outward.closed == inward.closed == close
    assert reader.written == joined([frame(Opcode.PONG)]) or other(role) is Role.CLIENT


@ROLES
@pytest.mark.parametrize("code", [None, 1000, 1001, 1008, 1011, 4000])
def test_closes(role: Role, code: int | None) -> None:
    outward = Outward(role, BINARY)
    sent = outward.translate(Connection(role, Recorder()).send_close(code))
    in_order = code in (None, 1000, 1001)
    assert joined(sent) == (CLOSE if in_order else b"")
    assert outward.closed
    assert outward.broken != in_order


def test_a_client_that_knows_no_pings_gets_none() -> None:
    outward = Outward(Role.SERVER, BINARY, pings=False)
    assert joined(outward.translate(frame(Opcode.PING))) == NOP
    assert outward.unanswered
    assert outward.translate(frame(Opcode.PONG)) == []
    knows = Outward(Role.SERVER, BINARY)
    assert joined(knows.translate(frame(Opcode.PING, b"x") + frame(Opcode.PONG, b"y"))) == PING + PONG
    assert not knows.unanswered


def test_text_where_only_binary_may_be() -> None:
    text = frame(Opcode.TEXT, b"abc")
    assert joined(Outward(Role.SERVER, ENCODINGS["b"]).translate(text)) == b"\x80\x03abc"
    assert joined(Outward(Role.SERVER, ENCODINGS["bm"]).translate(text)) == b"\x81\x03abc"


def test_a_fragmented_message_is_made_whole() -> None:
    outward = Outward(Role.SERVER, BINARY)
    data = frame(Opcode.BINARY, b"ab", fin=False) + frame(Opcode.PING) + frame(Opcode.CONTINUATION, b"cd")
    assert joined(outward.translate(data)) == PING + b"\x80\x04abcd"


@given(text=st.text(min_size=1, max_size=40), places=cuts)
def test_a_delimited_text_becomes_fragments(text: str, places: list[int]) -> None:
    inward, reader = Inward(Role.SERVER), Recorder()
    receiver = Connection(Role.SERVER, reader)
    for piece in cut(b"\0" + text.encode() + b"\xff", places):
        for view in inward.translate(memoryview(piece)):
            receiver.receive(view)
    assert reader.events == [("data", text.encode(), True)]
    assert receiver.text


def test_what_is_too_large_is_refused_at_its_header() -> None:
    inward = Inward(Role.SERVER)
    receiver = Connection(Role.SERVER, Recorder(), maximum_message_size=1000)
    (view,) = inward.translate(memoryview(bytearray(b"\x80\x87\x69")))
    with pytest.raises(ProtocolError, match="larger than 1000"):
        receiver.receive(view)


def test_large_payload_is_not_copied() -> None:
    inward, outward = Inward(Role.CLIENT), Outward(Role.SERVER, BINARY)
    payload = bytearray(40_000)
    assert outward.translate(bytes.fromhex("827e9c40")) == []
    head, view = outward.translate(payload)
    assert isinstance(view, memoryview)
    assert view.obj is payload
    assert len(inward.translate(memoryview(bytearray(head) + payload))) == 2


def test_a_new_body_begins_with_a_frame() -> None:
    inward = Inward(Role.CLIENT)
    inward.translate(memoryview(bytearray(b"\x80\x05ab")))
    inward.begin_body()
    assert joined(inward.translate(memoryview(bytearray(b"\x80\x01c")))) == frame(Opcode.BINARY, b"c")
    inward.translate(memoryview(bytearray(CLOSE)))
    inward.begin_body()
    assert inward.translate(memoryview(bytearray(b"\x80\x01c"))) == []
