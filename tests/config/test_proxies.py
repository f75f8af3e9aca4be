"""Which proxies a connect goes through, and what says so."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.config.model import ConnectOptions
from isthmus.config.proxies import (
    DIRECT,
    Credential,
    Proxy,
    hops,
    parse_chain,
    parse_proxies,
    parse_proxy,
    way_to,
)
from isthmus.config.units import NotAllowed
from isthmus.errors import ConfigurationError, UriError
from isthmus.uri import parse

GATEWAY = parse("wss://gw.example.com/app")


def options(**transports: str) -> ConnectOptions:
    return ConnectOptions.model_validate({f"{name}.transport": value for name, value in transports.items()})


@pytest.mark.parametrize(
    ("text", "shown", "spoken", "secure"),
    [
        ("http://proxy.example.com:3128", "http://proxy.example.com:3128", "http", False),
        ("HTTP://Proxy/", "http://proxy:80", "http", False),
        ("https://proxy", "https://proxy:443", "http", True),
        ("socks://proxy", "socks://proxy:1080", "socks5", False),
        ("socks5h://[::1]:1", "socks://[::1]:1", "socks5", False),
        ("socks4://proxy", "socks4a://proxy:1080", "socks4a", False),
        ("socks+ssl://proxy", "socks+ssl://proxy:1443", "socks5", True),
        ("socks+tls://proxy:1080", "socks+ssl://proxy:1080", "socks5", True),
        ("tcp://10.0.0.7:8443", "tcp://10.0.0.7:8443", "tcp", False),
        ("direct", "direct", "direct", False),
    ],
)
def test_a_proxy(text: str, shown: str, spoken: str, secure: bool) -> None:
    proxy = parse_proxy(text)
    assert (str(proxy), proxy.spoken, proxy.secure) == (shown, spoken, secure)
    assert parse_proxy(shown) == proxy


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("proxy:3128", "'proxy:3128' is not a proxy; write scheme://host:port"),
        (7, "7 is not a proxy"),
        (
            "ftp://proxy:1",
            "ftp:// is no kind of proxy; known are http, https, socks, socks4a, socks+ssl, tcp",
        ),
        ("tcp://proxy", "tcp://proxy has no port"),
        ("http://proxy/path", "'http://proxy/path' is not a proxy"),
        (
            "http://alice:sesame@proxy:1",
            "the proxy proxy:1 has a user name or password in it; leave them out",
        ),
        ("http://alice:sesame@proxy:1/path", "the proxy cannot be read: it has a path, a query or a blank"),
        ("alice:sesame@proxy", "the proxy cannot be read: it is no URI"),
        ("http://alice:sesame@pro_$xy:1", "'pro_$xy' is not a host name"),
    ],
)
def test_what_is_not_a_proxy(text: object, message: str) -> None:
    with pytest.raises(UriError) as caught:
        parse_proxy(text, may_have_password="$" in str(text))
    assert message in str(caught.value)
    assert "sesame" not in str(caught.value)


def test_a_password_is_in_no_text() -> None:
    proxy = parse_proxy("http://CORP%5Calice:open%20sesame@proxy:1", may_have_password=True)
    assert proxy.credential == Credential("CORP\\alice", "open sesame")
    assert "sesame" not in f"{proxy} {proxy!r} {proxy.credential!r} {[proxy]}"
    assert proxy == parse_proxy("http://proxy:1")


def test_a_chain() -> None:
    chain = parse_chain("http://a:1, socks://b\n tcp://c:2")
    assert [str(each) for each in chain] == ["http://a:1", "socks://b:1080", "tcp://c:2"]
    assert parse_chain([str(each) for each in chain]) == chain
    assert parse_chain(chain) == chain
    assert parse_chain("direct") == (DIRECT,)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "'' is not a proxy"),
        (7, "7 is not the URI of a proxy"),
        ([], "[] is not the URI of a proxy"),
        ("http://a direct", "direct stands beside a proxy"),
        ("tcp://a:1 http://b", "tcp://a:1 says where to go, and stands before a proxy"),
        ("http://a " * 9, "a chain of 9 proxies is too long"),
    ],
)
def test_what_is_no_chain(value: object, message: str) -> None:
    with pytest.raises(NotAllowed) as caught:
        parse_chain(value)
    assert message in str(caught.value)


def test_the_command_line() -> None:
    assert parse_proxies(None) is None
    assert parse_proxies(["http://a:1", "socks://b"]) == parse_chain("http://a:1 socks://b")
    with pytest.raises(ConfigurationError, match="--proxy: ftp://") as caught:
        parse_proxies(["ftp://a"])
    assert "http://proxy:3128" in caught.value.hint


# -- the way --


@pytest.mark.parametrize(
    ("address", "way"),
    [
        (
            "wss://gw/",
            "through http://t:1, http://s:1, http://h:1 (tcp.transport, ssl.transport, http.transport)",
        ),
        ("ws://gw/", "through http://t:1, http://h:1 (tcp.transport, http.transport)"),
        ("ssl://gw:1", "through http://t:1, http://s:1 (tcp.transport, ssl.transport)"),
        ("tcp://gw:1", "through http://t:1 (tcp.transport)"),
        ("unix:///run/gw", "directly"),
        ("-", "directly"),
    ],
)
def test_transports_lie_upon_each_other(address: str, way: str) -> None:
    transports = options(tcp="http://t:1", ssl="http://s:1", http="http://h:1")
    assert str(way_to(parse(address), transports, {"ALL_PROXY": "http://e:1"})) == way


def test_another_place_to_go() -> None:
    way = way_to(GATEWAY, options(tcp="http://a:1", http="tcp://[::1]:8443"), {})
    assert str(way) == "through http://a:1, [::1]:8443 (tcp.transport, http.transport)"
    assert list(hops(way, GATEWAY)) == [(Proxy("http", "a", 1), "::1", 8443)]
    with pytest.raises(ConfigurationError, match=r"tcp.transport and http.transport: tcp://a:1 says where"):
        way_to(GATEWAY, options(tcp="tcp://a:1", http="http://b:1"), {})


def test_each_proxy_opens_the_way_to_the_next() -> None:
    way = way_to(GATEWAY, options(http="http://a:1 socks://b:2 https://c:3"), {})
    assert [(str(proxy), host, port) for proxy, host, port in hops(way, GATEWAY)] == [
        ("http://a:1", "b", 2),
        ("socks://b:2", "c", 3),
        ("https://c:3", "gw.example.com", 443),
    ]
    assert list(hops(way_to(GATEWAY, options(), {}), GATEWAY)) == []


@pytest.mark.parametrize(
    ("address", "environment", "way"),
    [
        (
            "wss://gw/",
            {"HTTPS_PROXY": "http://s:1", "HTTP_PROXY": "http://h:1"},
            "through http://s:1 (HTTPS_PROXY)",
        ),
        (
            "ws://gw/",
            {"HTTPS_PROXY": "http://s:1", "HTTP_PROXY": "http://h:1"},
            "through http://h:1 (HTTP_PROXY)",
        ),
        (
            "wss://gw/",
            {"https_proxy": "s:1", "HTTPS_PROXY": "http://S:1"},
            "through http://s:1 (https_proxy)",
        ),
        ("wss://gw/", {"ALL_PROXY": "socks://a"}, "through socks://a:1080 (ALL_PROXY)"),
        ("tcp://gw:1", {"ALL_PROXY": "socks://a"}, "through socks://a:1080 (ALL_PROXY)"),
        ("tcp://gw:1", {"HTTPS_PROXY": "http://s:1", "HTTP_PROXY": "http://h:1"}, "directly"),
        ("ws://gw/", {"HTTPS_PROXY": "http://s:1"}, "directly"),
        ("ws://gw/", {"HTTP_PROXY": " "}, "directly"),
        ("ws://gw/", {"HTTP_PROXY": "http://h:1", "REQUEST_METHOD": "GET"}, "directly"),
        (
            "ws://gw/",
            {"http_proxy": "http://h:1", "REQUEST_METHOD": "GET"},
            "through http://h:1 (http_proxy)",
        ),
        ("wss://localhost/", {"ALL_PROXY": "socks://a"}, "directly (this machine itself)"),
        ("wss://127.0.0.2/", {"ALL_PROXY": "socks://a"}, "directly (this machine itself)"),
        ("wss://[::1]/", {"ALL_PROXY": "socks://a"}, "directly (this machine itself)"),
        ("wss://gw/", {"ALL_PROXY": "direct"}, "directly (ALL_PROXY)"),
    ],
)
def test_the_environment(address: str, environment: dict[str, str], way: str) -> None:
    assert str(way_to(parse(address), options(), environment)) == way


def test_options_are_stronger_than_the_environment() -> None:
    environment = {"HTTPS_PROXY": "http://s:1"}
    assert str(way_to(GATEWAY, options(tcp="direct"), environment)) == "directly (tcp.transport)"
    assert str(way_to(GATEWAY, options(http="direct"), environment)) == "directly (http.transport)"


def test_a_variable_that_cannot_be_read() -> None:
    with pytest.raises(ConfigurationError, match="the variable https_proxy of the environment: ") as caught:
        way_to(GATEWAY, options(), {"https_proxy": "ftp://alice:sesame@proxy"})
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize(
    ("entry", "address", "excluded"),
    [
        ("*", "wss://gw.example.com/", True),
        ("example.com", "wss://gw.example.com/", True),
        (".example.com", "wss://gw.example.com/", True),
        ("*.example.com", "wss://gw.example.com/", True),
        ("EXAMPLE.com", "wss://gw.example.com./", True),
        ("gw.example.com", "wss://gw.example.com/", True),
        ("ample.com", "wss://gw.example.com/", False),
        ("gw.example.com.evil", "wss://gw.example.com/", False),
        ("example.com:443", "wss://gw.example.com/", True),
        ("example.com:8443", "wss://gw.example.com/", False),
        ("10.0.0.0/8", "wss://10.1.2.3/", True),
        ("10.0.0.0/8", "wss://gw.example.com/", False),
        ("10.1.2.3", "wss://10.1.2.3/", True),
        ("10.1.2.3:443", "wss://10.1.2.3/", True),
        ("10.1.2.3:80", "wss://10.1.2.3/", False),
        ("10.1.2.4", "wss://10.1.2.3/", False),
        ("2001:db8::/32", "wss://[2001:db8::7]/", True),
        ("[2001:db8::7]:443", "wss://[2001:db8::7]/", True),
        ("2001:db8::/32", "wss://10.1.2.3/", False),
        ("$%&", "wss://10.1.2.3/", False),
        (".", "wss://gw.example.com/", False),
    ],
)
def test_exceptions(entry: str, address: str, excluded: bool) -> None:
    for value in (entry, f"x.example.org, {entry}", f"x.example.org {entry}"):
        way = way_to(parse(address), options(), {"ALL_PROXY": "http://a:1", "NO_PROXY": value})
        assert str(way) == (f"directly (NO_PROXY: {entry})" if excluded else "through http://a:1 (ALL_PROXY)")


@given(st.text(max_size=40), st.booleans())
def test_whatever_is_written_is_read_or_refused(text: str, password: bool) -> None:
    try:
        proxy = parse_proxy(text, may_have_password=password)
    except UriError:
        return
    assert parse_proxy(str(proxy)) == proxy


@given(st.text(max_size=40))
def test_whatever_the_environment_excludes(text: str) -> None:
    way_to(GATEWAY, options(), {"ALL_PROXY": "http://a:1", "NO_PROXY": text})
