"""Bodies of HTTP messages: whole, chunked and until the end, however cut; and what is behind them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.websocket.recorder import cut, cuts

from isthmus.websocket.heads import HandshakeError, parse_request_head, parse_response_head
from isthmus.wse.bodies import MAXIMUM_LINE, BodyReader


def request(*fields: str) -> BodyReader:
    lines = ["POST / HTTP/1.1", "Host: a", *fields, "", ""]
    return BodyReader(parse_request_head("\r\n".join(lines).encode()))


def response(*fields: str) -> BodyReader:
    return BodyReader(parse_response_head("\r\n".join(["HTTP/1.1 200 OK", *fields, "", ""]).encode()))


def read(reader: BodyReader, data: bytes, places: list[int]) -> tuple[bytes, bytes]:
    """Return the body, and what is behind it."""
    body, rest = b"", b""
    for cut_off in cut(data, places):
        view = memoryview(cut_off)
        while True:
            piece, view = reader.read(view)
            body += bytes(piece)
            if not piece:
                break
        rest += bytes(view)
    return body, rest


@given(body=st.binary(max_size=200), behind=st.binary(max_size=20), places=cuts)
def test_counted(body: bytes, behind: bytes, places: list[int]) -> None:
    reader = request(f"Content-Length: {len(body)}")
    assert read(reader, body + behind, places) == (body, behind)
    assert reader.ended


@given(
    chunks=st.lists(st.binary(min_size=1, max_size=60), max_size=6), behind=st.binary(max_size=9), places=cuts
)
@pytest.mark.parametrize("make", [request, response])
def test_chunked(
    make: Callable[..., BodyReader], chunks: list[bytes], behind: bytes, places: list[int]
) -> None:
    reader = make("Transfer-Encoding: chunked")
    data = b"".join(b"%x;a=b\r\n%b\r\n" % (len(each), each) for each in chunks) + b"0\r\nX: y\r\n\r\n"
    assert read(reader, data + behind, places) == (b"".join(chunks), behind)
    assert reader.ended


def test_without_a_length() -> None:
    assert request().ended
    reader = response()
    assert reader.until_end
    assert read(reader, b"abc", [1]) == (b"abc", b"")
    assert not reader.ended


@pytest.mark.parametrize(
    "data",
    [
        b"x\r\n",
        b"-1\r\n",
        b"1\n",
        b"\n",
        b"2\r\nabc\r\n",
        b"fffffffffffffff\r\n",
        b"ffffffffffffff\r\n",
        b"1" * (MAXIMUM_LINE + 1),
        b"0\r\n" + b"a: b\r\n" * MAXIMUM_LINE,
    ],
)
def test_wrong_chunks(data: bytes) -> None:
    for places in ([], list(range(0, 40, 3))):
        with pytest.raises(HandshakeError) as caught:
            read(request("Transfer-Encoding: chunked"), data, places)
        assert caught.value.status == 400
        with pytest.raises(HandshakeError) as caught:
            read(response("Transfer-Encoding: chunked"), data, places)
        assert caught.value.status == 502


def test_lengths_and_codings_that_are_not_taken() -> None:
    for field, status in (("Content-Length: 99999999999999999999", 413), ("Transfer-Encoding: gzip", 501)):
        with pytest.raises(HandshakeError) as caught:
            request(field)
        assert caught.value.status == status


@given(data=st.binary(max_size=100), places=cuts)
def test_anything_is_read_or_refused(data: bytes, places: list[int]) -> None:
    try:
        whole = read(request("Transfer-Encoding: chunked"), data, [])
    except HandshakeError:
        return
    body, rest = read(request("Transfer-Encoding: chunked"), data, places)
    assert (body, rest) == whole
