from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.config.strategies import addresses

from isthmus import uri
from isthmus.errors import UriError
from isthmus.uri import LATER_SCHEMES, SCHEMES, Address, parse, unparse


@pytest.mark.parametrize(
    ("text", "address", "shown"),
    [
        ("tcp://localhost:22", Address("tcp", "localhost", 22), "tcp://localhost:22/"),
        ("tcp://localhost:22/", Address("tcp", "localhost", 22, "/"), "tcp://localhost:22/"),
        ("TCP://LocalHost:22", Address("tcp", "localhost", 22), "tcp://localhost:22/"),
        ("ws://h", Address("ws", "h", 80), "ws://h:80/"),
        ("wss://h/a/b?c=d", Address("wss", "h", 443, "/a/b", "c=d"), "wss://h:443/a/b?..."),
        ("http://h:8000/x%20y", Address("http", "h", 8000, "/x%20y"), "http://h:8000/x%20y"),
        ("https://h?x", Address("https", "h", 443, "", "x"), "https://h:443/?..."),
        ("ssl://192.0.2.1:1", Address("ssl", "192.0.2.1", 1), "ssl://192.0.2.1:1/"),
        ("tls://[2001:DB8:0:0::1]:1", Address("tls", "2001:db8::1", 1), "tls://[2001:db8::1]:1/"),
        ("tcp://[fe80::1%eth0]:1", Address("tcp", "fe80::1%eth0", 1), "tcp://[fe80::1%eth0]:1/"),
        ("unix:///run/a b?", None, ""),
        ("unix:///run/a b", Address("unix", "", 0, "/run/a b"), "unix:///run/a b"),
        ("-", Address("stdio", "", 0), "-"),
        ("stdio:", Address("stdio", "", 0), "-"),
        ("  tcp://h:0\n", Address("tcp", "h", 0), "tcp://h:0/"),
        (
            "tcp://my_host.example.com.:1",
            Address("tcp", "my_host.example.com.", 1),
            "tcp://my_host.example.com.:1/",
        ),
    ],
)
def test_parse(text: str, address: Address | None, shown: str) -> None:
    if address is None:
        with pytest.raises(UriError):
            parse(text)
        return
    assert parse(text) == address
    assert str(address) == shown


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is not a URI; write scheme://host:port/path, for example ws://localhost:8001/echo"),
        ("h:1", "'h:1' is not a URI; write scheme://host:port/path, for example ws://localhost:8001/echo"),
        (
            "tcp://h\x1b:1",
            "'tcp://h\\x1b:1' is not a URI; write scheme://host:port/path, for example ws://localhost:8001/echo",
        ),
        ("ws://" + "h" * 2048, "a URI of 2053 characters is too long; at most 2048"),
        ("gopher://h", f"'gopher://h': unknown scheme gopher; known are {', '.join(SCHEMES)}"),
        ("udp://h:1", "'udp://h:1': the scheme udp cannot be used: UDP is not supported yet"),
        (
            "socks+ssl://h:1",
            (
                "'socks+ssl://h:1': the scheme socks+ssl cannot be used: it is a way to go, "
                "not a destination; write it in tcp.transport or http.transport of a connect"
            ),
        ),
        ("stdio://x", "'stdio://x': write - for standard input and output"),
        ("ws://h/#a", "'ws://h/#a' has a fragment (#); an address has none"),
        ("tcp://h:1?a", "'tcp://h:1?a' has a query that a tcp address cannot have"),
        ("ws://h?a b", "'ws://h?a b' has a query that a ws address cannot have"),
        ("ws://h/a b", "'ws://h/a b' has a character in its path that must be percent-encoded"),
        ("ws://h/%zz", "'ws://h/%zz' has a character in its path that must be percent-encoded"),
        ("tcp://h:1/a", "'tcp://h:1/a' has a path; a tcp address is tcp://host:port"),
        ("tcp://h", "'tcp://h' has no port; a tcp address needs one: tcp://h:PORT"),
        ("tcp://:1", "'tcp://:1' has no host"),
        ("tcp://h:", "'tcp://h:': '' is not a port; write a number from 0 to 65535"),
        ("tcp://h:65536", "'tcp://h:65536': '65536' is not a port; write a number from 0 to 65535"),
        ("tcp://h:٢٢", "'tcp://h:٢٢': '٢٢' is not a port; write a number from 0 to 65535"),
        ("tcp://::1:1", "'tcp://::1:1': write an IPv6 address in brackets: [address]:port"),
        ("tcp://[::1]1", "'tcp://[::1]1': write an IPv6 address with its port as [address]:port"),
        ("tcp://[::1", "'tcp://[::1': write an IPv6 address with its port as [address]:port"),
        ("tcp://[::g]:1", "'tcp://[::g]:1': [::g] is not an IPv6 address"),
        ("tcp://[fe80::1%a b]:1", "'tcp://[fe80::1%a b]:1': 'a b' is not the name of a network interface"),
        ("tcp://192.0.2.256:1", "'tcp://192.0.2.256:1': '192.0.2.256' is not an IPv4 address"),
        ("tcp://192.0.2.01:1", "'tcp://192.0.2.01:1': '192.0.2.01' is not an IPv4 address"),
        ("tcp://-h:1", "'tcp://-h:1': '-h' is not a host name or an IP address"),
        ("tcp://a..b:1", "'tcp://a..b:1': 'a..b' is not a host name or an IP address"),
        (
            "tcp://@eth0:1",
            "'tcp://@eth0:1': the name of a network interface cannot be used; write an address of it",
        ),
        (
            "tcp://[@eth0]:1",
            "'tcp://[@eth0]:1': the name of a network interface cannot be used; write an address of it",
        ),
        ("unix://run/a", "'unix://run/a': write a unix socket as unix:///path/of/the/socket"),
        ("unix:///", "'unix:///': write a unix socket as unix:///path/of/the/socket"),
        ("unix:///" + "é" * 54, f"'unix:///{'é' * 54}': the path of a unix socket has at most 107 bytes"),
    ],
)
def test_refusals(text: str, message: str) -> None:
    with pytest.raises(UriError) as caught:
        parse(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "text",
    [
        "ws://me:secret@h/",
        "ws://me:secret@h/#x",
        "ws://me:secret@h/a b",
        "tcp://me:secret@h",
        "ws://me:secret@h?a b",
    ],
)
def test_a_password_is_not_shown(text: str) -> None:
    with pytest.raises(UriError) as caught:
        parse(text)
    message = "a URI must not contain a user name or password (user:password@host); leave them out"
    assert str(caught.value) == message


@pytest.mark.parametrize("scheme", LATER_SCHEMES)
def test_schemes_of_later_are_refused_with_their_reason(scheme: str) -> None:
    with pytest.raises(UriError, match="cannot be used"):
        parse(f"{scheme}://localhost:1")


def test_what_an_address_knows() -> None:
    plain, other = parse("wss://H.example.com"), parse("ws://[::1]:8001/a?b")
    assert (plain.authority, plain.resource, plain.target, plain.ip) == ("h.example.com", "/", "/", None)
    assert (other.authority, other.resource, other.target) == ("[::1]:8001", "/a", "/a?b")
    assert other.ip == ipaddress.ip_address("::1")
    assert parse("ws://[::1]").authority == "[::1]"
    assert plain.kind is SCHEMES["wss"]


@given(addresses(frozenset(SCHEMES)))
def test_what_is_written_reads_back_equal(address: Address) -> None:
    assert parse(unparse(address)) == address


def test_stdio_reads_back_equal() -> None:
    assert parse(unparse(parse("-"))) == parse("-")


@given(st.text() | st.from_regex(r"(ws|tcp|unix|stdio|wss)://[\[\]:@%a0.?#/ -]*", fullmatch=True))
def test_any_text_is_an_address_or_a_uri_error(text: str) -> None:
    try:
        address = parse(text)
    except UriError:
        return
    assert parse(unparse(address)) == address
    assert parse(str(address)).host_port == address.host_port


def test_the_split_tells_whether_a_port_was_written() -> None:
    assert uri.split_host_port("H", "H") == ("h", None)
    assert uri.split_host_port("H:0", "H:0") == ("h", 0)
