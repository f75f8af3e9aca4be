"""The PROXY protocol as values: what is read of headers in any pieces, and what is written."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.transports.base import Origin
from isthmus.transports.proxy_protocol import MAXIMUM_SIZE, HeaderReader, NoHeader, header

SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")
FOUR = Origin(("192.0.2.7", 51324), ("10.0.0.1", 443))
SIX = Origin(("2001:db8::7", 51324), ("2001:db8::1", 443))
V2 = SIGNATURE + bytes.fromhex("2111000c c0000207 0a000001 c87c 01bb")


def read(data: bytes, cuts: int = 1 << 16) -> tuple[Origin | None, bytes]:
    """Read a header in pieces; return what it says and what is behind it. It must be complete."""
    reader = HeaderReader()
    place = 0
    while not reader.complete:
        piece = data[place : place + cuts]
        assert piece, "more is wanted than there is"
        place += reader.feed(piece)
    return reader.origin, data[place:]


def test_what_is_written() -> None:
    assert header(FOUR, "v1") == b"PROXY TCP4 192.0.2.7 10.0.0.1 51324 443\r\n"
    assert header(SIX, "v1") == b"PROXY TCP6 2001:db8::7 2001:db8::1 51324 443\r\n"
    assert header(None, "v1") == b"PROXY UNKNOWN\r\n"
    assert header(FOUR, "v2") == V2
    assert header(SIX, "v2")[12:16] == bytes.fromhex("21210024")
    assert header(None, "v2") == SIGNATURE + bytes.fromhex("20000000")


def test_addresses_of_two_families() -> None:
    mixed = Origin(("2001:db8::7%eth0", 1), ("10.0.0.1", 2))
    assert (
        header(mixed, "v1") == b"PROXY TCP6 2001:db8::7 ::ffff:10.0.0.1 1 2\r\n"
        or header(mixed, "v1") == b"PROXY TCP6 2001:db8::7 ::ffff:a00:1 1 2\r\n"
    )
    assert read(header(mixed, "v2"))[0] is not None


addresses = st.tuples(st.ip_addresses(v=4).map(str), st.integers(0, 65535))


@pytest.mark.parametrize("version", ["v1", "v2"])
@given(source=addresses, destination=addresses, cuts=st.integers(1, 60), rest=st.binary(max_size=30))
def test_what_is_written_is_read(
    version: Literal["v1", "v2"],
    source: tuple[str, int],
    destination: tuple[str, int],
    cuts: int,
    rest: bytes,
) -> None:
    origin = Origin(source, destination)
    found, behind = read(header(origin, version) + rest + b"end", cuts)
    assert found == origin
    assert (rest + b"end").endswith(behind)
    assert len(behind) > 0


@pytest.mark.parametrize(
    ("data", "origin"),
    [
        (b"PROXY UNKNOWN\r\n", None),
        (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", None),
        (b"PROXY TCP6 ::1 ::1 0 65535\r\n", Origin(("::1", 0), ("::1", 65535))),
        (V2[:14] + (20).to_bytes(2, "big") + V2[16:] + bytes(8), FOUR),  # with more behind the addresses
        (SIGNATURE + bytes.fromhex("20110000"), None),  # a health check of the balancer's own
        (SIGNATURE + bytes.fromhex("21000000"), None),
        (SIGNATURE + bytes.fromhex("2131000400000000"), None),  # unix
    ],
)
@pytest.mark.parametrize("cuts", [1, 7, 1000])
def test_what_is_read(data: bytes, origin: Origin | None, cuts: int) -> None:
    assert read(data + b"end", cuts)[0] == origin


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"GET / HTTP/1.1\r\n", "it does not begin with"),
        (b"\x16\x03\x01", "it does not begin with"),
        (b"PROXYTCP4", "it does not begin with"),
        (b"\r\n\r\n\0\r\nQUIX", "it does not begin with"),
        (b"PROXY " + b"x" * 200, "a line of more than 107 bytes"),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", "a line that is not PROXY TCP4 or TCP6"),
        (b"PROXY TCP4  1.2.3.4 1.2.3.4 1 1\r\n", "a line that is not"),
        (b"PROXY TCP4 1.2.3.400 1.2.3.4 1 1\r\n", "a line that is not"),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 01 1\r\n", "a line that is not"),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n", "not those of its family"),
        (b"PROXY TCP4 ::1 ::1 1 1\r\n", "not those of its family"),
        (b"PROXY UNKNOWNX\r\n", "a line that is not"),
        (SIGNATURE + bytes.fromhex("2111ffff"), "a header of 65551 bytes"),
        (SIGNATURE + bytes.fromhex("11110000"), "version or command 0x11"),
        (SIGNATURE + bytes.fromhex("22110000"), "version or command 0x22"),
        (SIGNATURE + bytes.fromhex("2111000401020304"), "ends before its addresses do"),
    ],
)
@pytest.mark.parametrize("cuts", [1, 1000])
def test_what_is_no_header(data: bytes, message: str, cuts: int) -> None:
    with pytest.raises(NoHeader, match=message):
        read(data, cuts)


@given(st.binary(max_size=200), st.integers(1, 50))
def test_whatever_comes(data: bytes, cuts: int) -> None:
    for begin in (b"", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + bytes.fromhex("2111")):
        reader, place, whole = HeaderReader(), 0, begin + data
        try:
            while not reader.complete and place < len(whole):
                place += reader.feed(whole[place : place + cuts])
        except NoHeader:
            pass
        assert place <= MAXIMUM_SIZE
