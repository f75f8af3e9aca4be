from __future__ import annotations

import ssl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.transports.client_hello import MAXIMUM_SIZE, ClientHello, parse


def hello_of(name: str | None, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> bytes:
    """Return what OpenSSL sends first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = version
    outgoing = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


HELLO = hello_of("gw.example.com")
MESSAGE = HELLO[5:]


def records(message: bytes, size: int) -> bytes:
    """Return a handshake message in records of `size` bytes."""
    parts = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(b"\x16\x03\x01" + len(part).to_bytes(2) + part for part in parts)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_name(version: ssl.TLSVersion) -> None:
    assert parse(hello_of("GW.example.com", version)) == ClientHello("gw.example.com")
    assert parse(hello_of(None, version)) == ClientHello(None)
    assert parse(hello_of("127.0.0.1", version)) == ClientHello(None)  # an address is not sent


def test_what_follows_does_not_matter() -> None:
    assert parse(HELLO + b"more") == ClientHello("gw.example.com")


def test_nothing_is_said_before_it_is_whole() -> None:
    for size in range(len(HELLO)):
        assert parse(HELLO[:size]) is None


@pytest.mark.parametrize("size", [1, 3, 4, 5, 100, 300])
def test_a_message_in_several_records(size: int) -> None:
    data = records(MESSAGE, size)
    assert parse(data) == ClientHello("gw.example.com")
    assert parse(data[:-1]) is None


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"\x15\x03\x01\x00\x02\x01\x00",
        b"\x16\x03\x01\x00\x00",
        b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00",
        b"\x16\x03\x01\x00\x04\x01\x00\x00\x00",
    ],
)
def test_what_is_no_client_hello_is_left_to_tls(data: bytes) -> None:
    assert parse(data) == ClientHello(None)


def test_no_more_than_the_limit_is_waited_for() -> None:
    endless = b"\x16\x03\x01\x40\x00\x01\xff\xff\xff" + bytes(2 * MAXIMUM_SIZE)
    assert parse(endless[: MAXIMUM_SIZE - 1]) is None
    assert parse(endless[:MAXIMUM_SIZE]) == ClientHello(None)


@given(st.binary(max_size=600))
@settings(max_examples=300, deadline=None)
def test_no_input_is_too_strange(data: bytes) -> None:
    for each in (data, b"\x16\x03\x01" + data, records(b"\x01\x00" + len(data).to_bytes(2) + data, 1000)):
        parse(each)


@given(st.integers(0, len(HELLO) - 1), st.integers(0, 255))
@settings(max_examples=300, deadline=None)
def test_a_byte_that_is_wrong(at: int, value: int) -> None:
    parse(HELLO[:at] + bytes([value]) + HELLO[at + 1 :])
