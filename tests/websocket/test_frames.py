"""frames.py against RFC 6455 section 5, in tables and in any cuts."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.websocket.recorder import KEY, Recorder, cut, cuts, feed, frame, single_bytes

from isthmus.websocket.frames import (
    CloseCode,
    FrameReader,
    LocalError,
    Opcode,
    ProtocolError,
    Role,
    close_payload,
    header,
    may_be_sent,
    parse_close,
)

TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10


def read(
    data: bytes, role: Role = Role.CLIENT, *, maximum: int = 1 << 20
) -> tuple[list[Any], tuple[int, str] | None]:
    """Read `data` whole and in single bytes, which must be the same; return the events and the error."""
    results = []
    for pieces in ([bytearray(data)], single_bytes(data)):
        recorder = Recorder()
        reader = FrameReader(role, recorder, recorder, maximum_message_size=maximum)
        error = feed(reader, pieces)
        results.append((recorder.events, error))
    assert results[0] == results[1]
    return results[0]


# RFC 6455 5.7, the examples
EXAMPLES = [
    ("unmasked text", "81 05 48 65 6c 6c 6f", Role.CLIENT, [("data", b"Hello", True)]),
    ("masked text", "81 85 37 fa 21 3d 7f 9f 4d 51 58", Role.SERVER, [("data", b"Hello", True)]),
    ("fragmented text", "01 03 48 65 6c 80 02 6c 6f", Role.CLIENT, [("data", b"Hello", True)]),
    ("ping", "89 05 48 65 6c 6c 6f", Role.CLIENT, [("ping", b"Hello")]),
    ("masked pong", "8a 85 37 fa 21 3d 7f 9f 4d 51 58", Role.SERVER, [("pong", b"Hello")]),
    ("256 bytes", "82 7e 01 00" + "00" * 256, Role.CLIENT, [("data", bytes(256), True)]),
    ("64 KiB", "82 7f 00 00 00 00 00 01 00 00" + "00" * 65536, Role.CLIENT, [("data", bytes(65536), True)]),
]


@pytest.mark.parametrize(("name", "wire", "role", "events"), EXAMPLES, ids=[row[0] for row in EXAMPLES])
def test_examples_of_section_5_7(name: str, wire: str, role: Role, events: list[Any]) -> None:
    assert read(bytes.fromhex(wire), role) == (events, None)


GOOD: list[tuple[str, bytes, list[Any]]] = [
    ("empty message", frame(BINARY), [("data", b"", True)]),
    ("empty first fragment", frame(BINARY, fin=False) + frame(0, b"x"), [("data", b"x", True)]),
    ("empty last fragment", frame(BINARY, b"x", fin=False) + frame(0), [("data", b"x", True)]),
    ("empty fragments only", frame(TEXT, fin=False) + frame(0, fin=False) + frame(0), [("data", b"", True)]),
    (
        "5.4 control frames between fragments",
        frame(BINARY, b"a", fin=False)
        + frame(PING, b"p")
        + frame(0, b"b", fin=False)
        + frame(PONG)
        + frame(0),
        [("data", b"a", False), ("ping", b"p"), ("data", b"b", False), ("pong", b""), ("data", b"", True)],
    ),
    ("5.5 control frame of 125 bytes", frame(PING, bytes(125)), [("ping", bytes(125))]),
    ("two messages", frame(BINARY, b"a") + frame(BINARY, b"b"), [("data", b"a", True), ("data", b"b", True)]),
    (
        "8.1 a character over fragments, with a ping inside",
        frame(TEXT, "€".encode()[:1], fin=False) + frame(PING) + frame(0, "€".encode()[1:]),
        [("data", b"\xe2", False), ("ping", b""), ("data", b"\x82\xac", True)],
    ),
    ("binary need not be UTF-8", frame(BINARY, b"\xff"), [("data", b"\xff", True)]),
    ("ping payload need not be UTF-8", frame(PING, b"\xff"), [("ping", b"\xff")]),
    ("5.5.1 empty close", frame(CLOSE), [("close", None, "")]),
    ("5.5.1 close with reason", frame(CLOSE, b"\x03\xe8bye"), [("close", 1000, "bye")]),
    ("longest reason", frame(CLOSE, b"\x03\xe8" + b"r" * 123), [("close", 1000, "r" * 123)]),
    (
        "1.4 what follows Close is discarded",
        frame(CLOSE) + frame(BINARY, b"x") + b"\xff",
        [("close", None, "")],
    ),
    (
        "close inside a message",
        frame(BINARY, b"x", fin=False) + frame(CLOSE, b"\x03\xe9"),
        [("data", b"x", False), ("close", 1001, "")],
    ),
]


@pytest.mark.parametrize(("name", "wire", "events"), GOOD, ids=[row[0] for row in GOOD])
def test_what_is_allowed(name: str, wire: bytes, events: list[Any]) -> None:
    assert read(wire) == (events, None)


WRONG: list[tuple[str, int, bytes]] = [
    ("5.2 RSV1", 1002, b"\xc2\x00"),
    ("5.2 RSV2", 1002, b"\xa2\x00"),
    ("5.2 RSV3", 1002, b"\x92\x00"),
    ("5.2 RSV1 in a control frame", 1002, b"\xc9\x00"),
    *((f"5.2 opcode {code}", 1002, bytes((0x80 | code, 0))) for code in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)),
    ("5.1 masked by a server", 1002, frame(BINARY, b"x", key=KEY)),
    ("5.2 126 for a length of 125", 1002, b"\x82\x7e\x00\x7d" + bytes(125)),
    ("5.2 127 for a length of 65535", 1002, b"\x82\x7f" + (65535).to_bytes(8, "big")),
    ("5.2 127 for a length of 0", 1002, b"\x82\x7f" + bytes(8)),
    ("5.2 highest bit of the length", 1002, b"\x82\x7f\x80" + bytes(7)),
    ("5.5 fragmented ping", 1002, b"\x09\x00"),
    ("5.5 fragmented close", 1002, b"\x08\x00"),
    ("5.5 ping of 126 bytes", 1002, b"\x89\x7e\x00\x7e" + bytes(126)),
    ("5.4 stray continuation", 1002, frame(0, b"x")),
    ("5.4 stray last fragment after a message", 1002, frame(BINARY, b"") + frame(0, b"")),
    ("5.4 message inside a message", 1002, frame(BINARY, b"a", fin=False) + frame(BINARY, b"b")),
    ("5.4 text inside a binary message", 1002, frame(BINARY, b"a", fin=False) + frame(TEXT, b"b", fin=False)),
    ("5.5.1 half a close code", 1002, frame(CLOSE, b"\x03")),
    *(
        (f"7.4 close code {code}", 1002, frame(CLOSE, code.to_bytes(2, "big")))
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
    ),
    ("5.5.1 reason not UTF-8", 1007, frame(CLOSE, b"\x03\xe8\xff")),
    ("5.5.1 reason cut inside a character", 1007, frame(CLOSE, b"\x03\xe8\xe2\x82")),
    ("8.1 text not UTF-8", 1007, frame(TEXT, b"\xff")),
    ("8.1 text cut inside a character", 1007, frame(TEXT, b"\xe2\x82")),
    ("8.1 the same, then an empty last fragment", 1007, frame(TEXT, b"\xe2\x82", fin=False) + frame(0)),
    ("8.1 surrogate", 1007, frame(TEXT, b"\xed\xa0\x80")),
    ("8.1 overlong", 1007, frame(TEXT, b"\xc0\xaf")),
    ("8.1 at once, in an unfinished frame", 1007, header(TEXT, 1000) + b"ab\xff"),
    ("8.1 at once, in the middle of a character", 1007, header(TEXT, 1000) + b"\xf4\x90"),
    ("10.4 message over the limit", 1009, header(BINARY, (1 << 20) + 1)),
    ("10.4 absurd length", 1009, header(BINARY, (1 << 63) - 1)),
    ("10.4 over the limit by fragments", 1009, frame(BINARY, b"x", fin=False) + header(0, 1 << 20)),
    (
        "10.4 the sum cannot overflow",
        1009,
        frame(BINARY, b"x", fin=False) + header(0, (1 << 63) - 1),
    ),
]


@pytest.mark.parametrize(("name", "code", "wire"), WRONG, ids=[row[0] for row in WRONG])
def test_what_is_an_error(name: str, code: int, wire: bytes) -> None:
    good = frame(PING, b"before")
    events, error = read(good + wire + frame(PING, b"behind") * 9)
    assert error is not None
    assert error[0] == code
    assert events[0] == ("ping", b"before")
    assert ("ping", b"behind") not in events


def test_a_server_needs_masks() -> None:
    """RFC 6455 5.1."""
    assert read(frame(BINARY, b"x", key=KEY), Role.SERVER) == ([("data", b"x", True)], None)
    events, error = read(frame(BINARY, b"x"), Role.SERVER)
    assert events == []
    assert error == (1002, "a client must mask")
    assert read(frame(CLOSE, b"\x03\xe8", key=KEY), Role.SERVER) == ([("close", 1000, "")], None)


def test_a_message_of_the_maximum_size_passes() -> None:
    wire = frame(BINARY, b"a" * 60, fin=False) + frame(PING, bytes(125)) + frame(0, b"b" * 40)
    events, error = read(wire * 3, maximum=100)
    assert error is None
    assert len(events) == 9
    assert read(wire, maximum=99)[1] == (1009, "a message is larger than 99 bytes")


@pytest.mark.parametrize("code", [*range(1000, 1004), *range(1007, 1015), 3000, 4999])
def test_close_codes_that_may_be_sent(code: int) -> None:
    assert parse_close(close_payload(code, "why")) == (code, "why")


def test_close_payloads_that_must_not_be_sent() -> None:
    for code in (0, 999, 1004, 1005, 1006, 1015, 2999, 5000):
        assert not may_be_sent(code)
        with pytest.raises(LocalError, match=f"close code {code}"):
            close_payload(code)
    with pytest.raises(LocalError, match="123"):
        close_payload(CloseCode.NORMAL, "é" * 62)
    with pytest.raises(LocalError, match="without a code"):
        close_payload(None, "why")


@pytest.mark.parametrize("length", [0, 1, 125, 126, 65535, 65536, 1 << 40])
@pytest.mark.parametrize("key", [None, KEY])
def test_headers_have_the_shortest_length(length: int, key: bytes | None) -> None:
    """RFC 6455 5.2."""
    wire = header(Opcode.BINARY, length, True, key)
    assert wire[0] == 0x82
    assert wire[1] >> 7 == (key is not None)
    extended = 0 if length < 126 else 2 if length < 65536 else 8
    assert len(wire) == 2 + extended + (4 if key else 0)
    encoded = int.from_bytes(wire[2 : 2 + extended], "big") if extended else wire[1] & 127
    assert encoded == length
    assert header(Opcode.BINARY, length, False, key)[0] == 0x02


def test_payload_is_handed_on_at_once() -> None:
    recorder = Recorder()
    reader = FrameReader(Role.CLIENT, recorder, recorder, maximum_message_size=1000)
    reader.receive(header(BINARY, 1000) + b"first")
    assert recorder.events == [("data", b"first", False)]
    reader.receive(b"second")
    assert recorder.events == [("data", b"firstsecond", False)]


def test_a_server_unmasks_where_the_payload_stands() -> None:
    class Keeper(Recorder):
        last: memoryview | None = None

        def message_data(self, data: memoryview, final: bool) -> None:
            self.last = data

    keeper = Keeper()
    slab = bytearray(frame(BINARY, b"payload", key=KEY))
    FrameReader(Role.SERVER, keeper, keeper, maximum_message_size=100).receive(memoryview(slab))
    assert slab.endswith(b"payload")
    assert keeper.last is not None
    assert keeper.last.obj is slab


def test_text_tells_the_kind_of_the_message() -> None:
    recorder = Recorder()
    reader = FrameReader(Role.CLIENT, recorder, recorder, maximum_message_size=100)
    for wire, text in ((frame(TEXT, b"a", fin=False), True), (frame(PING), True), (frame(0, b"b"), True)):
        reader.receive(wire)
        assert reader.text is text
    reader.receive(frame(BINARY, b"\xff"))
    assert reader.text is False


def test_stop_discards_the_rest_of_the_call() -> None:
    class Stopper(Recorder):
        def message_data(self, data: memoryview, final: bool) -> None:
            super().message_data(data, final)
            reader.stop()

    recorder = Stopper()
    reader = FrameReader(Role.CLIENT, recorder, recorder, maximum_message_size=100)
    reader.receive(frame(BINARY, b"a") + frame(BINARY, b"b") + b"\xff\xff")
    reader.receive(frame(BINARY, b"c"))
    assert recorder.events == [("data", b"a", True)]


def test_memory_is_bounded() -> None:
    """64 MiB of message, then a header and a control frame in parts, leave nothing behind."""

    class Nothing(Recorder):
        def message_data(self, data: memoryview, final: bool) -> None:
            pass

    slab = memoryview(bytearray(64 * 1024))
    nothing = Nothing()
    reader = FrameReader(Role.SERVER, nothing, nothing, maximum_message_size=1 << 40)
    start = bytearray(header(BINARY, 1 << 39, False, KEY))
    reader.receive(start)
    reader.receive(slab)
    tracemalloc.start()
    try:
        for _ in range(1024):
            reader.receive(slab)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # Plain masking works on copies of one piece; nothing grows with the message.
    assert peak < 16 * len(slab)


payloads = st.one_of(
    st.binary(max_size=20),
    st.text(max_size=10).map(lambda text: text.encode("utf-8", "ignore")),
    st.sampled_from([bytes(125), bytes(126), bytes(300), b"\x03\xe8", b"\x03\xe8bye", b"\x03", b"\xe2\x82"]),
)


@st.composite
def streams(draw: st.DrawFn, key: bytes | None) -> bytes:
    """Bytes that are mostly right: frames, some with bits turned over, and some noise."""
    parts = []
    in_message = False
    for _ in range(draw(st.integers(0, 8))):
        if draw(st.integers(0, 19)) == 0:
            opcode, fin, payload = draw(st.integers(0, 15)), draw(st.booleans()), draw(payloads)
        elif draw(st.integers(0, 2)) == 0:
            opcode, fin = draw(st.sampled_from([PING, PONG, PING, PONG, CLOSE])), True
            payload = draw(payloads)[:125]
        else:
            opcode = CONTINUATION if in_message else draw(st.sampled_from([TEXT, BINARY]))
            fin, payload = draw(st.booleans()), draw(payloads)
            in_message = not fin
        wire = bytearray(frame(opcode, payload, fin=fin, key=key))
        if draw(st.integers(0, 9)) == 0:
            place = draw(st.integers(0, len(wire) - 1))
            wire[place] ^= 1 << draw(st.integers(0, 7))
        parts.append(bytes(wire))
    if draw(st.integers(0, 4)) == 0:
        parts.append(draw(st.binary(max_size=20)))
    return b"".join(parts)


@pytest.mark.parametrize("role", list(Role))
@given(pick=st.data(), places=cuts, maximum=st.sampled_from([1, 20, 400, 1 << 20]))
def test_cuts_change_nothing(role: Role, pick: st.DataObject, places: list[int], maximum: int) -> None:
    """Any bytes in any cuts: the same events, the same error, and never anything but a ProtocolError."""
    wire = pick.draw(st.one_of(streams(KEY if role is Role.SERVER else None), st.binary(max_size=60)))
    results = []
    for pieces in ([bytearray(wire)], cut(wire, places), single_bytes(wire)):
        recorder = Recorder()
        reader = FrameReader(role, recorder, recorder, maximum_message_size=maximum)
        error = feed(reader, pieces)
        results.append((recorder.events, error))
    assert results[0] == results[1] == results[2]
    error = results[0][1]
    assert error is None or error[0] in (1002, 1007, 1009)


def test_protocol_error_carries_the_code_and_the_reason() -> None:
    error = ProtocolError(CloseCode.PROTOCOL_ERROR, "why")
    assert error.code == 1002
    assert str(error) == "why"
