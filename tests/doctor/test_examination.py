"""The whole examination: each finding is provoked by a box that does it."""

from __future__ import annotations

import asyncio
import socket

import pytest
from tests.doctor.middleboxes import Box, dated, refusal, refuses_upgrades, without
from tests.doctor.scene import Serving, examine
from tests.system.middlebox import Middlebox
from tests.system.process import free_port
from tests.transports.proxy_servers import HttpProxy, ProxyServer, basic, socks5

from isthmus.doctor import buffering, upgrade
from isthmus.doctor.finding import EXAMINATIONS, Verdict
from isthmus.doctor.recommendation import REACHABLE, UNREACHABLE, WARNED

pytestmark = pytest.mark.timeout(120)


async def test_a_free_way(serving: Serving) -> None:
    async with serving() as port:
        seen = await examine(f"ws://127.0.0.1:{port}/x")
    assert list(seen.findings) == list(EXAMINATIONS)
    for name, finding in seen.findings.items():
        left_out = dict.fromkeys(("emulation", "idle"), Verdict.LEFT_OUT)
        expected = {"tls": Verdict.NOTE, **left_out}.get(name, Verdict.OK)
        assert finding.verdict is expected, finding
    assert seen.recommendation.code == REACHABLE
    assert "span is spoken" in seen["upgrade"].seen
    assert seen["throughput"].facts["down bytes"]
    assert seen["throughput"].facts["up bytes"]
    assert len(seen["round trip"].facts["pings"]) == 10  # type: ignore[arg-type]
    lines = seen.text.splitlines()
    assert len(lines) <= 40
    assert all(len(line) <= 100 for line in lines)


async def test_upgrade_is_stripped(serving: Serving) -> None:
    async with serving() as port, Box(port, request=without("Upgrade", "Connection")) as box:
        seen = await examine(f"ws://127.0.0.1:{box.port}/x")
    found = seen["upgrade"]
    assert found.verdict is Verdict.WARNING
    assert found.seen.startswith("Upgrade is stripped on the way: the gateway got a request without it")
    assert seen["emulation"].verdict is Verdict.WARNING
    assert "ask for WebSocket (HTTP Upgrade, RFC 6455)" in seen["emulation"].advice
    assert seen["buffering"].verdict is Verdict.OK, "ordinary answers still come"
    assert seen["round trip"].verdict is Verdict.LEFT_OUT
    assert seen["clock"].verdict is Verdict.OK
    assert seen.recommendation.code == WARNED


async def test_nothing_stands_in_for_a_websocket(serving: Serving) -> None:
    async with (
        serving(accept={"ws.emulation": "disabled"}) as port,
        Box(port, request=without("Upgrade", "Connection")) as box,
    ):
        seen = await examine(f"ws://127.0.0.1:{box.port}/x")
    assert seen["upgrade"].verdict is seen["emulation"].verdict is Verdict.FAILED
    assert "ask for WebSocket (HTTP Upgrade, RFC 6455)" in seen["upgrade"].advice
    assert "does not get through either: answered 404" in seen["emulation"].seen
    assert "ws.emulation" in seen["emulation"].advice
    assert seen.recommendation.code == UNREACHABLE


@pytest.mark.parametrize(
    ("websocket", "fallback"),
    [("strip", False), ("400", False), ("drop", False), ("404", True), ("403", True), ("swallow", True)],
)
@pytest.mark.parametrize(("holds", "way"), [(False, "streaming"), (True, "short")])
async def test_what_stands_in_for_a_websocket(
    serving: Serving, websocket: str, fallback: bool, holds: bool, way: str
) -> None:
    """It is named only where a connect does not find it out by itself, or loses an attempt by that."""
    async with serving() as port:
        with Middlebox(port, websocket=websocket, holds=holds) as box:
            seen = await examine(f"ws://127.0.0.1:{box.port}/x")
    found = seen["emulation"]
    assert found.verdict is seen["upgrade"].verdict is Verdict.WARNING, seen.text
    assert found.facts["way"] == way
    assert float(found.facts["round trip"]) > 0  # type: ignore[arg-type]
    assert ("with short answers" if holds else "with a long answer") in found.seen
    assert "ask for WebSocket" in found.advice
    assert ("to be passed on as they come" in found.advice) == holds
    assert seen.needs.fallback == (way if fallback else "")
    assert (f'"ws.fallback" = "{way}"' in seen.recommendation.toml) == fallback
    assert seen.recommendation.code == WARNED
    assert all(len(line) <= 100 for line in seen.text.splitlines() if "isthmus proxy" not in line)


async def test_where_no_http_is_answered_nothing_is_emulated() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        seen = await examine(f"ws://127.0.0.1:{silent.getsockname()[1]}/x", patience=0.3)
    assert seen["emulation"].seen == "not needed: nothing on the way blocks WebSockets alone"


async def test_a_realm_behind_a_box_that_blocks_websockets(serving: Serving) -> None:
    def asks(head: bytes) -> bytes | None:
        return None if b"upgrade: websocket" in head.lower() or b"/;e/" in head else head

    answer = refusal("401 Unauthorized", 'WWW-Authenticate: Basic realm="x"')
    async with serving() as port, Box(port, request=asks, refusal=answer) as box:
        seen = await examine(f"ws://127.0.0.1:{box.port}/x")
    assert seen["emulation"].verdict is Verdict.FAILED
    assert "a gateway that asks who we are" in seen["emulation"].seen
    assert "--credentials" in seen["emulation"].advice


async def test_only_connection_is_stripped(serving: Serving) -> None:
    async with serving() as port, Box(port, request=without("Connection")) as box:
        seen = await examine(f"ws://127.0.0.1:{box.port}/x")
    assert seen["upgrade"].seen.startswith("Connection: Upgrade is stripped on the way")


@pytest.mark.parametrize("status", ["403 Forbidden", "501 Not Implemented", "200 OK", "404 Not Found"])
async def test_a_box_refuses_websockets(serving: Serving, status: str) -> None:
    answer = refusal(status, "Via: 1.1 filter.corp")
    async with serving() as port, Box(port, request=refuses_upgrades, refusal=answer) as box:
        seen = await examine(f"ws://127.0.0.1:{box.port}/x")
    found = seen["upgrade"]
    assert found.verdict is Verdict.WARNING
    assert seen.recommendation.code == WARNED
    assert f"refused with {status} by '1.1 filter.corp'" in found.seen
    assert found.seen.endswith("an ordinary request reaches the gateway: blocked on the way")


@pytest.mark.parametrize(
    ("status", "fields", "words"),
    [
        ("403 Forbidden", (), "by the server, or a filter on the way"),
        ("404 Not Found", (), "nothing is known by this name and path"),
        ("401 Unauthorized", ('WWW-Authenticate: Basic realm="x"',), "it asks who we are (Basic realm="),
        ("302 Found", ("Location: http://login.corp/?session=secret",), "to http://login.corp/?..."),
        ("200 OK", ("Server: portal",), "answered 200 OK by 'portal' as if it were an ordinary request"),
        ("502 Bad Gateway", (), "the server there is not reached by whoever answers"),
        ("501 Not Implemented", ("Server: old",), "refused with 501 Not Implemented by 'old'"),
    ],
)
async def test_somebody_else_answers(status: str, fields: tuple[str, ...], words: str) -> None:
    async with Box(1, request=lambda head: None, refusal=refusal(status, *fields)) as box:
        seen = await examine(f"ws://127.0.0.1:{box.port}/x")
    assert seen["upgrade"].verdict is Verdict.FAILED
    assert words in seen["upgrade"].seen
    assert not seen.needs.credentials, "they are not shown without TLS"


async def test_the_connection_is_cut_at_a_websocket(serving: Serving) -> None:
    async with serving() as port, Box(port, request=refuses_upgrades, refusal=b"") as box:
        seen = await examine(f"ws://127.0.0.1:{box.port}/x")
    assert "no answer to the handshake" in seen["upgrade"].seen
    assert seen["upgrade"].seen.endswith(
        "an ordinary request reaches the gateway: WebSocket is cut on the way"
    )


async def test_the_answer_is_changed(serving: Serving) -> None:
    def change(head: bytes) -> bytes:
        return head.replace(b"Sec-WebSocket-Accept: ", b"Sec-WebSocket-Accept: x")

    async with serving() as port, Box(port, response=change) as box:
        seen = await examine(f"ws://127.0.0.1:{box.port}/x")
    assert seen["upgrade"].seen.startswith("the answer was changed: Sec-WebSocket-Accept does not fit")


@pytest.mark.parametrize("where", ["the request", "the answer"])
async def test_the_subprotocol_is_stripped(serving: Serving, where: str) -> None:
    taken = without("Sec-WebSocket-Protocol")

    def response(head: bytes) -> bytes:
        return taken(head) or b""

    async with serving() as port:
        box = Box(port, request=taken) if where == "the request" else Box(port, response=response)
        async with box:
            seen = await examine(f"ws://127.0.0.1:{box.port}/x")
    assert seen["upgrade"].verdict is Verdict.WARNING
    assert f"the gateway speaks span and the subprotocol is stripped from {where}" in seen["upgrade"].seen
    assert seen["round trip"].verdict is Verdict.OK
    assert seen["throughput"].verdict is Verdict.LEFT_OUT
    assert seen.recommendation.code == WARNED


async def test_what_the_server_says_first_is_held_back(serving: Serving) -> None:
    """A box that waits for the client to speak, or a server that takes any subprotocol."""
    async with serving() as port, Box(port, waits=True) as box:
        seen = await examine(f"ws://127.0.0.1:{box.port}/x")
    assert seen["upgrade"].verdict is Verdict.WARNING
    assert "span is chosen, but nothing follows within 3 s" in seen["upgrade"].seen


async def test_an_examination_that_breaks_does_not_end_the_report(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise ValueError("nobody has thought of this")

    monkeypatch.setattr(buffering, "look", broken)
    async with serving() as port:
        seen = await examine(f"ws://127.0.0.1:{port}/x")
        assert "could not be examined: ValueError: nobody has thought" in seen["buffering"].seen
        assert seen["throughput"].verdict is Verdict.OK
        assert seen.recommendation.code == REACHABLE
        monkeypatch.setattr(upgrade, "look", broken)
        seen = await examine(f"ws://127.0.0.1:{port}/x")
    assert seen["upgrade"].verdict is Verdict.FAILED, "nobody knows whether it is reached"
    assert seen.recommendation.code == UNREACHABLE


async def test_extensions_are_stripped(serving: Serving) -> None:
    async with serving() as port, Box(port, request=without("Sec-WebSocket-Extensions")) as box:
        seen = await examine(f"ws://127.0.0.1:{box.port}/x")
    assert seen["upgrade"].verdict is Verdict.OK
    assert "extensions are stripped" in seen["upgrade"].seen


async def test_no_span_by_choice(serving: Serving) -> None:
    async with serving(accept={"span.mode": "never"}) as port:
        seen = await examine(f"ws://127.0.0.1:{port}/x")
    assert seen["upgrade"].verdict is Verdict.NOTE
    assert "span.mode is never there" in seen["upgrade"].seen
    assert seen["throughput"].verdict is Verdict.OK


async def test_no_probes(serving: Serving) -> None:
    async with serving(accept={"doctor.probe": "disabled"}) as port:
        seen = await examine(f"ws://127.0.0.1:{port}/x")
    assert seen["upgrade"].verdict is Verdict.OK
    assert seen["round trip"].verdict is Verdict.OK
    for name in ("buffering", "throughput"):
        assert "answers no probes" in seen[name].seen
    assert seen["clock"].verdict is Verdict.LEFT_OUT
    assert seen.recommendation.code == REACHABLE


@pytest.mark.parametrize("maximum", [0, 1])
async def test_few_probes(serving: Serving, maximum: int) -> None:
    async with serving(gateway=f'[gateway]\n"doctor.maximum.probes" = {maximum}') as port:
        seen = await examine(f"ws://127.0.0.1:{port}/x")
    assert seen["upgrade"].verdict is Verdict.OK
    assert (seen["buffering"].verdict is Verdict.OK) == bool(maximum)
    assert seen.recommendation.code == REACHABLE


async def test_a_gateway_that_grants_little(serving: Serving) -> None:
    async with serving(gateway='[gateway]\n"doctor.maximum.rate" = 5000') as port:
        seen = await examine(f"ws://127.0.0.1:{port}/x")
    facts = seen["throughput"].facts
    assert facts["limited"]
    assert float(facts["down bytes"]) + float(facts["up bytes"]) < 30_000  # type: ignore[arg-type]


async def test_answers_are_buffered(serving: Serving) -> None:
    async with serving() as port, Box(port, buffers=True) as box:
        seen = await examine(f"ws://127.0.0.1:{box.port}/x")
    assert seen["upgrade"].verdict is Verdict.OK
    assert seen["buffering"].verdict is Verdict.WARNING
    assert seen["buffering"].facts["buffered"]
    assert "answers are held back" in seen["buffering"].seen


async def test_what_is_silent_is_cut(serving: Serving) -> None:
    async with serving(accept={"span.mode": "never"}) as port, Box(port, idle=2.5) as box:
        seen = await examine(f"ws://127.0.0.1:{box.port}/x", idle=20)
    assert seen["idle"].verdict is Verdict.WARNING
    assert "a silent WebSocket is cut after" in seen["idle"].seen
    assert 0 < seen.needs.inactivity <= 0.6 * float(seen["idle"].facts["seconds"])  # type: ignore[arg-type]
    assert '"ws.inactivity.timeout" = ' in seen.recommendation.toml


async def test_what_is_silent_is_forgotten(serving: Serving) -> None:
    async with serving() as port, Box(port, deaf_after=2.0) as box:
        seen = await examine(f"ws://127.0.0.1:{box.port}/x", idle=3.0)
    assert seen["idle"].verdict is Verdict.WARNING
    assert "is dead, and nobody was told" in seen["idle"].seen
    assert seen.needs.ping_deadline == 1.5
    assert '"span.ping.deadline" = ' in seen.recommendation.toml


async def test_what_is_silent_stands(serving: Serving) -> None:
    async with serving(accept={"ws.inactivity.timeout": "400 ms"}) as port:
        seen = await examine(f"ws://127.0.0.1:{port}/x", idle=1.5)
    assert seen["idle"].verdict is Verdict.OK
    assert seen["idle"].seen == "a silent WebSocket still stands after 1.5 s"


async def test_a_long_way_takes_longer(serving: Serving) -> None:
    async with serving() as port, Box(port, delay=0.05) as box:
        near = await examine(f"ws://127.0.0.1:{port}/x")
        far = await examine(f"ws://127.0.0.1:{box.port}/x")
    medians = [each["round trip"].facts["median"] for each in (near, far)]
    assert medians[1] > 10 * medians[0]  # type: ignore[operator]
    rates = [each["throughput"].facts for each in (near, far)]
    down = [float(each["down bytes"]) / float(each["down seconds"]) for each in rates]  # type: ignore[arg-type]
    assert down[0] > 5 * down[1]


async def test_the_clock_is_wrong() -> None:
    async with Box(1, request=lambda head: None, refusal=dated(7200)) as box:
        seen = await examine(f"ws://127.0.0.1:{box.port}/x")
    assert seen["clock"].verdict is Verdict.WARNING
    assert seen["clock"].seen == "this machine's clock is 2 hours behind, by the Date of an answer"


async def test_the_time_is_bounded() -> None:
    """Somebody accepts and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"ws://127.0.0.1:{silent.getsockname()[1]}/x"
        patient = await examine(uri, patience=0.3)
        hurried = await examine(uri, patience=60.0, seconds=1.0)
    assert patient["upgrade"].seen == "no answer to the handshake: nothing came within 0.3 s"
    assert hurried["upgrade"].verdict is Verdict.FAILED
    assert hurried["upgrade"].seen == "it took too long"
    assert list(hurried.findings) == list(EXAMINATIONS)
    assert hurried.recommendation.code == UNREACHABLE


async def test_nothing_listens() -> None:
    seen = await examine(f"ws://127.0.0.1:{free_port()}/x")
    assert seen["routes"].verdict is Verdict.FAILED
    assert "connection refused" in seen["routes"].seen
    assert "--proxy" in seen["routes"].advice
    assert seen["upgrade"].seen == "not looked at, as routes failed"
    assert seen.recommendation.code == UNREACHABLE


async def test_a_name_that_is_not_there() -> None:
    seen = await examine("ws://nowhere.invalid/x")
    assert seen["names"].verdict is Verdict.FAILED
    assert "nowhere.invalid (the gateway) is not found" in seen["names"].seen


# --- proxies


async def test_a_proxy_by_option(serving: Serving) -> None:
    async with serving() as port, ProxyServer(HttpProxy()) as between:
        uri = f"http://127.0.0.1:{between.port}"
        seen = await examine(f"ws://127.0.0.1:{port}/x", proxies=[uri])
    assert seen["proxy"].verdict is Verdict.OK
    assert "opens the way" in seen["proxy"].seen
    assert "(tcp.transport)" in seen["proxy"].seen
    assert "(the proxy)" in seen["routes"].seen
    assert seen["upgrade"].verdict is Verdict.OK
    assert f"--proxy {uri}" in seen.recommendation.command


async def test_a_proxy_by_the_environment_with_a_password(serving: Serving) -> None:
    proxy = HttpProxy(basic("alice", "sesame"))
    async with serving() as port, ProxyServer(proxy) as between:
        environment = {"HTTP_PROXY": f"http://alice:sesame@127.0.0.1:{between.port}"}
        seen = await examine(f"ws://gw.localhost:{port}/x", environment=environment)
    assert seen["proxy"].verdict is Verdict.OK, seen.text
    assert "(HTTP_PROXY)" in seen["proxy"].seen
    assert seen["proxy"].facts["proxies"][0]["schemes"] == ["basic"]  # type: ignore[index]
    assert "sesame" not in seen.text + repr(seen.findings)
    assert len([each for each in proxy.authorizations if not each]) == 2, "then it is known what it wants"
    assert seen.needs.proxy_credentials, "a service has no such environment"
    assert "http.transport" in seen.recommendation.toml


async def test_no_proxy(serving: Serving) -> None:
    async with serving() as port:
        environment = {"HTTP_PROXY": "http://127.0.0.1:1", "NO_PROXY": "127.0.0.0/8"}
        seen = await examine(f"ws://127.0.0.1:{port}/x", environment=environment)
    assert seen["proxy"].seen.startswith("none is used (")


@pytest.mark.parametrize(
    ("offers", "verdict", "words"),
    [
        (['Basic realm="x"'], Verdict.FAILED, "isthmus can do Basic"),
        (['Digest realm="x", nonce="y"', "NTLM"], Verdict.FAILED, "isthmus can do Digest, NTLM"),
        (["Bearer"], Verdict.FAILED, "isthmus has Negotiate, NTLM, Digest and Basic: ask for one of them"),
    ],
)
async def test_a_proxy_wants_to_know(offers: list[str], verdict: Verdict, words: str) -> None:
    async with ProxyServer(HttpProxy(lambda _: offers)) as between:
        seen = await examine("ws://gw.example.com/x", proxies=[f"http://127.0.0.1:{between.port}"])
    assert seen["proxy"].verdict is verdict
    assert "407 Proxy Authentication Required and offers" in seen["proxy"].seen
    assert words in seen["proxy"].advice
    assert seen.needs.proxy_credentials
    assert "--proxy-credentials proxy-credentials" in seen.recommendation.command


async def test_a_proxy_refuses() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 403 Not here\r\nContent-Length: 0\r\n\r\n")

    async with ProxyServer(refuse) as between:
        seen = await examine("ws://gw.example.com:81/x", proxies=[f"http://127.0.0.1:{between.port}"])
    assert seen["proxy"].verdict is Verdict.FAILED
    assert "it answers 403 Not here" in seen["proxy"].seen
    assert "its rules do not allow gw.example.com:81" in seen["proxy"].advice


async def test_socks(serving: Serving) -> None:
    async with serving() as port, ProxyServer(socks5) as between:
        seen = await examine(f"ws://127.0.0.1:{port}/x", proxies=[f"socks://127.0.0.1:{between.port}"])
    assert seen["proxy"].verdict is Verdict.OK
    assert seen.recommendation.code == REACHABLE


async def test_the_second_proxy_of_a_chain_refuses() -> None:
    async with ProxyServer(socks5) as first, ProxyServer(HttpProxy(lambda _: ["Basic realm=x"])) as second:
        chain = [f"socks://127.0.0.1:{first.port}", f"http://127.0.0.1:{second.port}"]
        seen = await examine("ws://gw.example.com/x", proxies=chain)
    assert [each["opened"] for each in seen["proxy"].facts["proxies"]] == [True, False]  # type: ignore[attr-defined]
    assert seen["proxy"].seen.startswith(chain[1])
