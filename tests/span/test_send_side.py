"""send_side.py: what is kept, what goes next, and what is put back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.errors import SpanError
from isthmus.span.frames import data_header
from isthmus.span.limits import MAXIMUM_PIECES
from isthmus.span.message import Message
from isthmus.span.send_side import NEVER, SendSide
from isthmus.websocket.mask import Buffer

BIG = 1 << 40


def side(*chunks: bytes, limit: int = BIG) -> SendSide:
    send = SendSide(limit)
    for chunk in chunks:
        send.write(chunk)
    return send


def gathered(send: SendSide, offset: int, size: int) -> list[Buffer]:
    message = Message(size)
    message.begin(16 + size)
    send.gather(1, offset, size, message)
    written = message.buffers()
    header = data_header(1, offset, size)
    assert bytes(written[0][:16]) == header
    return [written[0][16:], *written[1:]] if len(written[0]) > 16 else written[1:]


def bytes_at(send: SendSide, offset: int, size: int) -> bytes:
    return b"".join(map(bytes, gathered(send, offset, size)))


def take(send: SendSide, maximum: int, limit: int, slot: int) -> tuple[int, int]:
    """Take: return offset and size, (0, 0) for nothing."""
    size = send.take(maximum, limit, slot)
    return (send.taken_at, size) if size else (0, 0)


def acknowledge(send: SendSide, received: int) -> list[tuple[int, int]]:
    """Acknowledge all ranges: return slot and size of each."""
    done = []
    while size := send.acknowledge(received):
        done.append((send.acked_slot, size))
    return done


def test_bytes_go_out_in_order_up_to_the_limit() -> None:
    send = side(b"abc", b"defgh", limit=6)
    assert take(send, 4, 6, 0) == (0, 4)
    assert bytes_at(send, 0, 4) == b"abcd"
    assert take(send, 100, 6, 0) == (4, 2)
    assert not send.sendable(6)
    assert take(send, 100, 6, 0) == (0, 0)
    assert send.sendable(7)


def test_a_large_chunk_is_not_copied() -> None:
    chunk = bytes(100_000)
    [whole] = gathered(side(chunk), 0, 100_000)
    assert whole is chunk
    [part] = gathered(side(chunk), 5, 50_000)
    assert isinstance(part, memoryview)
    assert part.obj is chunk


def test_what_is_acknowledged_is_forgotten() -> None:
    send = side(b"abc", b"def")
    send.take(6, BIG, 3)
    assert acknowledge(send, 4) == [(3, 4)]
    assert send.stored == 2
    assert bytes_at(send, 4, 2) == b"ef"
    assert acknowledge(send, 2) == []
    assert acknowledge(send, 6) == [(3, 2)]


@pytest.mark.parametrize("received", [4, 7])
def test_what_was_never_sent_cannot_be_acknowledged(received: int) -> None:
    send = side(b"abcdef")
    send.fin = True
    send.take(3, BIG, 0)
    with pytest.raises(SpanError, match="3 was sent"):
        acknowledge(send, received)


def test_fin_is_one_byte_more() -> None:
    send = side(b"abc")
    send.fin = True
    assert not send.fin_due()
    send.take(3, BIG, 0)
    assert send.fin_due()
    send.fin_slot, send.fin_sent = 0, True
    assert not send.sendable(BIG)
    acknowledge(send, 3)
    assert not send.fin_acked
    assert acknowledge(send, 4) == []
    assert send.fin_acked


def test_what_a_carrier_lost_goes_first() -> None:
    send = side(b"abcdefghij")
    for slot in (0, 1, 0):
        send.take(2, BIG, slot)
    assert send.lose(0) == 4
    assert send.lose(0) == 0
    assert send.available(BIG) == 2
    assert take(send, 1, BIG, 1) == (0, 1)
    assert take(send, 9, BIG, 1) == (1, 1)
    assert take(send, 9, BIG, 1) == (4, 2)
    assert take(send, 9, BIG, 1) == (6, 4)
    assert send.pieces == 2
    acknowledge(send, 10)
    assert send.pieces == 0


def test_a_lost_fin_goes_again() -> None:
    send = side()
    send.fin, send.fin_sent, send.fin_slot = True, True, 0
    assert send.lose(0) == 0
    assert send.fin_due()


def test_ranges_are_bounded() -> None:
    send = side(bytes(100_000))
    slot = 0
    while send.take(1, BIG, slot):
        slot ^= 1
    assert send.pieces <= MAXIMUM_PIECES
    assert send.sendable(BIG)
    assert send.take(5, BIG, slot ^ 1) == 5
    send.lose(0)
    while send.take(1, BIG, 1):
        assert send.pieces <= MAXIMUM_PIECES


def test_drop_forgets() -> None:
    send = side(b"abc")
    send.take(2, BIG, 0)
    assert send.drop() == [(0, 2)]
    assert (send.stored, send.pieces, send.sendable(BIG)) == (0, 0, False)
    assert send.fin_slot == NEVER


steps = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(1, 50), st.just(0)),
        st.tuples(st.just("take"), st.integers(1, 40), st.integers(0, 2)),
        st.tuples(st.just("lose"), st.just(0), st.integers(0, 2)),
        st.tuples(st.just("ack"), st.integers(0, 60), st.just(0)),
    ),
    max_size=60,
)


@given(steps)
def test_every_byte_is_in_one_place(program: list[tuple[str, int, int]]) -> None:
    """Against a model that keeps the slot of each byte."""
    send = side()
    written = b""
    slots: list[int | None] = []  # of each byte; None: to be sent
    acked = 0
    for step, size, slot in program:
        if step == "write":
            data = bytes((len(written) + index) % 251 for index in range(size))
            send.write(data)
            written += data
            slots += [None] * size
        elif step == "take":
            offset, taken = take(send, size, BIG, slot)
            due = [index for index in range(acked, len(slots)) if slots[index] is None]
            assert (taken > 0) == bool(due)
            if taken:
                assert offset == due[0]
                assert bytes_at(send, offset, taken) == written[offset : offset + taken]
                for index in range(offset, offset + taken):
                    assert slots[index] is None
                    slots[index] = slot
        elif step == "lose":
            send.lose(slot)
            slots = [None if each == slot else each for each in slots]
        else:
            received = min(acked + size, send.next)
            done = acknowledge(send, received)
            assert sum(size for _, size in done) == received - acked
            acked = received
        assert send.acked == acked
        for each in range(3):
            assert send.in_flight(each) == slots[acked:].count(each)
        assert send.stored == len(written) - acked
        assert send.sendable(BIG) == any(each is None for each in slots[acked:])
