"""Two TLS layers back to back over a connection in memory."""

from __future__ import annotations

import ssl
from functools import cache

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.transports.memory import Watcher, Wire

from isthmus.errors import StreamReset
from isthmus.transports.tls_layer import RECORD, TlsLayer

CUT = "the TLS connection was cut off: it ended without close_notify"
VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}


@cache
def contexts(version: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A client's and a server's settings, for one version of TLS."""
    authority = trustme.CA()
    client, server = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.configure_trust(client)
    authority.issue_cert("gw.example.com").configure_cert(server)
    for context in (client, server):
        context.options |= ssl.OP_NO_RENEGOTIATION
        context.minimum_version = context.maximum_version = VERSIONS[version]
    return client, server


class Pair:
    """A client and a server that speak TLS over a wire, each watched from above."""

    def __init__(
        self, version: str = "TLSv1.3", *, name: str = "gw.example.com", pause: bool = False
    ) -> None:
        self.wire = Wire()
        self.client, self.server = Watcher(), Watcher()
        self.server.pause_at_start = pause
        self.failures: dict[str, BaseException] = {}
        self.shown: bytes | None = None
        client, server = contexts(version)
        loop = self.wire.clock.loop
        self.client_layer = TlsLayer(loop, client, self.client, self._client_failed, 5.0, name)
        self.server_layer = TlsLayer(loop, server, self.server, self._server_failed, 5.0, None)

    def _client_failed(self, error: BaseException, certificate: bytes | None) -> None:
        assert "client" not in self.failures
        self.failures["client"] = error
        self.shown = certificate

    def _server_failed(self, error: BaseException, certificate: bytes | None) -> None:
        assert "server" not in self.failures
        self.failures["server"] = error

    def begin(self) -> Pair:
        self.wire.right.start(self.server_layer)
        self.wire.left.start(self.client_layer)
        return self

    def open(self) -> Pair:
        self.begin().wire.settle()
        assert self.client.events == self.server.events == ["made"]
        return self

    def write(self, side: Watcher, data: bytes | bytearray | memoryview) -> None:
        side.call("write", data)


versions = pytest.mark.parametrize("version", VERSIONS)


# --- the handshake


@versions
def test_data_crosses_both_ways(version: str) -> None:
    pair = Pair(version).open()
    pair.write(pair.client, b"ping")
    pair.write(pair.server, bytearray(b"pong"))
    pair.wire.settle()
    assert (bytes(pair.server.data), bytes(pair.client.data)) == (b"ping", b"pong")
    assert pair.client_layer.info("ssl_object").version() == version
    assert pair.client_layer.info("peername") == ("192.0.2.7", 50000)
    assert pair.client_layer.info("scheme") == "tls"


@versions
@given(cuts=st.lists(st.integers(1, 3000), max_size=30))
@settings(max_examples=20, deadline=None)
def test_a_handshake_in_any_pieces(version: str, cuts: list[int]) -> None:
    pair = Pair(version).begin()
    for cut in cuts:
        pair.wire.left.deliver(cut)
        pair.wire.right.deliver(cut)
    pair.wire.settle()
    assert pair.client.events == pair.server.events == ["made"]


def test_a_wrong_name_fails_with_the_certificate_that_was_shown() -> None:
    pair = Pair(name="other.example.com").begin()
    pair.wire.settle()
    assert isinstance(pair.failures["client"], ssl.SSLCertVerificationError)
    assert isinstance(pair.failures["server"], ssl.SSLError)
    assert pair.shown is not None
    assert pair.client.events == pair.server.events == []
    assert pair.wire.left.over
    assert pair.wire.right.over


def test_no_answer_in_time() -> None:
    pair = Pair()
    pair.wire.left.start(pair.client_layer)
    pair.wire.clock.advance(4.9)
    assert pair.failures == {}
    pair.wire.clock.advance(0.2)
    assert isinstance(pair.failures["client"], TimeoutError)
    assert pair.wire.left.over


def test_the_timeout_ends_with_the_handshake() -> None:
    pair = Pair().open()
    pair.wire.clock.advance(60.0)
    assert pair.client.open
    assert pair.server.open


@pytest.mark.parametrize("how", ["write_eof", "lose"])
def test_a_connection_that_ends_during_the_handshake(how: str) -> None:
    pair = Pair()
    pair.wire.left.start(pair.client_layer)
    getattr(pair.wire.right, how)()
    pair.wire.settle()
    assert isinstance(pair.failures["client"], EOFError)
    assert pair.client.events == []


def test_a_server_that_speaks_something_else() -> None:
    pair = Pair()
    pair.wire.left.start(pair.client_layer)
    pair.wire.right.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    pair.wire.settle()
    failure = pair.failures["client"]
    assert isinstance(failure, ssl.SSLError)
    assert failure.reason == "WRONG_VERSION_NUMBER"


def test_canceled_before_the_end_of_the_handshake() -> None:
    pair = Pair().begin()
    pair.client_layer.cancel()
    pair.wire.settle()
    pair.wire.clock.advance(60.0)
    assert pair.client.events == []
    assert "client" not in pair.failures
    assert pair.wire.left.over


def test_canceled_between_the_failure_and_its_telling() -> None:
    pair = Pair()
    pair.wire.left.start(pair.client_layer)
    pair.wire.right.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    pair.wire.right.deliver()
    pair.client_layer.cancel()
    pair.wire.settle()
    assert pair.failures == {}


def test_canceling_later_does_nothing() -> None:
    pair = Pair().open()
    pair.client_layer.cancel()
    pair.write(pair.client, b"still there")
    pair.wire.settle()
    assert pair.server.data == b"still there"


# --- ends


@versions
def test_half_close_lets_the_other_direction_go_on(version: str) -> None:
    pair = Pair(version).open()
    pair.write(pair.client, b"question")
    pair.client.call("write_eof")
    pair.client.call("write_eof")
    pair.wire.settle()
    assert pair.server.data == b"question"
    assert pair.server.events == ["made", "eof"]
    for _ in range(3):
        pair.write(pair.server, b"answer")
        pair.wire.settle()
    assert pair.client.data == b"answer" * 3
    pair.server.call("write_eof")
    pair.wire.settle()
    assert pair.client.events == ["made", "eof", "lost"]
    assert pair.server.events == ["made", "eof", "lost"]
    assert (pair.client.error, pair.server.error) == (None, None)


@versions
def test_half_close_while_ciphertext_waits(version: str) -> None:
    pair = Pair(version).open()
    pair.client.pause_each_time = True
    pair.write(pair.server, b"z" * 1_000_000)
    pair.wire.right.deliver()
    assert pair.client.paused
    assert len(pair.client.data) < 1_000_000
    pair.client.call("write_eof")
    pair.client.pause_each_time = False
    pair.client.resume()
    pair.wire.settle()
    assert pair.client.data == b"z" * 1_000_000
    assert "eof" in pair.server.events


def test_a_write_after_the_end_is_a_mistake() -> None:
    pair = Pair().open()
    pair.client.call("write_eof")
    with pytest.raises(RuntimeError):
        pair.write(pair.client, b"more")


@versions
def test_close_sends_all_and_ends_in_order(version: str) -> None:
    pair = Pair(version).open()
    pair.write(pair.client, b"x" * 300_000)
    pair.client.call("close")
    pair.wire.settle()
    assert pair.server.data == b"x" * 300_000
    assert pair.server.events == ["made", "eof"]
    assert (pair.client.events[-1], pair.client.error) == ("lost", None)


@pytest.mark.parametrize("paused", [False, True])
def test_truncation_is_a_loss_after_all_that_came(paused: bool) -> None:
    pair = Pair().open()
    if paused:
        pair.server.pause()
    pair.write(pair.client, b"half of it")
    pair.wire.left.write_eof()  # a cut: no close_notify
    if paused:
        pair.server.resume()
    pair.wire.settle()
    assert pair.server.data == b"half of it"
    assert pair.server.events == ["made", "lost"]
    assert isinstance(pair.server.error, StreamReset)
    assert str(pair.server.error) == CUT
    assert pair.client.events == ["made", "lost"]


def test_a_paused_receiver_gets_what_came_before_the_end() -> None:
    pair = Pair(pause=True).begin()
    pair.wire.settle()
    pair.write(pair.client, b"early")
    pair.client.call("write_eof")
    pair.wire.settle()
    assert pair.server.data == b""
    pair.server.resume()
    pair.wire.settle()
    assert pair.server.data == b"early"
    assert pair.server.events == ["made", "eof"]


def test_an_end_in_the_same_read_waits_for_a_receiver_that_pauses() -> None:
    pair = Pair().open()
    pair.server.pause_each_time = True
    pair.write(pair.client, b"last words")
    pair.client.call("write_eof")
    pair.wire.settle()
    assert pair.server.data == b"last words"
    assert pair.server.events == ["made"]
    pair.server.resume()
    pair.wire.settle()
    assert pair.server.events == ["made", "eof"]


def test_a_connection_that_ends_below_without_being_asked_to_is_a_loss() -> None:
    pair = Pair().open()
    pair.server_layer.connection_lost(None)
    assert isinstance(pair.server.error, StreamReset)
    assert str(pair.server.error) == CUT


def test_data_right_behind_the_handshake_waits_for_a_receiver_that_pauses() -> None:
    pair = Pair("TLSv1.3", pause=True).begin()
    pair.wire.left.deliver()
    pair.wire.right.deliver()  # the client is ready; its Finished and the data go in one piece
    pair.write(pair.client, b"early")
    pair.wire.left.deliver()
    pair.wire.settle()
    assert pair.server.events == ["made"]
    assert pair.server.data == b""
    pair.server.resume()
    pair.wire.settle()
    assert pair.server.data == b"early"


@pytest.mark.parametrize("who", ["client", "server"])
def test_abort_is_a_reset_for_both(who: str) -> None:
    pair = Pair().open()
    pair.write(pair.client, b"never mind")
    getattr(pair, who).call("abort")
    pair.wire.settle()
    for watcher in (pair.client, pair.server):
        assert watcher.events == ["made", "lost"]
        assert isinstance(watcher.error, StreamReset)


def test_a_damaged_record_is_a_loss() -> None:
    pair = Pair().open()
    pair.write(pair.client, b"payload")
    pair.wire.left._sent[10] ^= 1
    pair.wire.settle()
    assert pair.server.events == ["made", "lost"]
    assert isinstance(pair.server.error, StreamReset)
    assert isinstance(pair.server.error.__cause__, ssl.SSLError)
    assert pair.server.data == b""


def test_what_comes_after_close_notify_is_not_kept() -> None:
    pair = Pair().open()
    pair.client.call("write_eof")
    pair.wire.settle()
    for _ in range(20):
        pair.wire.left.write(b"\x17\x03\x03" + b"q" * 10_000)
        pair.wire.settle()
    assert pair.server_layer._incoming.pending == 0
    assert pair.server.events == ["made", "eof"]


# --- amounts


def test_pausing_reaches_the_writer_and_nothing_piles_up() -> None:
    pair = Pair().open()
    pair.client.call("set_write_limit", 100_000)
    pair.server.pause()
    written = 0
    while not pair.client.write_paused:
        pair.write(pair.client, b"w" * 50_000)
        written += 50_000
        pair.wire.settle()
    assert written <= 200_000
    assert pair.client_layer.unsent() > 100_000
    assert pair.server_layer._incoming.pending == 0
    pair.server.resume()
    pair.wire.settle()
    assert len(pair.server.data) == written
    assert pair.client.events == ["made", "pause", "resume"]
    assert pair.client_layer.unsent() == 0


def test_a_pause_in_the_middle_of_one_read_is_kept() -> None:
    pair = Pair().open()
    pair.server.pause_each_time = True
    pair.write(pair.client, b"m" * 2_000_000)
    pair.wire.left.deliver()
    turns = 0
    while pair.server.paused:
        turns += 1
        pair.server.resume()
        pair.wire.clock.run()
    assert pair.server.data == b"m" * 2_000_000
    assert turns >= 2_000_000 // (16 * RECORD)


def test_writing_in_parts() -> None:
    pair = Pair().open()
    small: list[bytes | bytearray | memoryview] = [b"a", bytearray(b"bc"), memoryview(b"def")]
    large = [b"h" * 10, b"p" * 100_000]
    pair.client.call("writelines", small)
    one = pair.client_layer.unsent()
    pair.client.call("writelines", large)
    pair.client.call("write", b"")
    pair.wire.settle()
    assert pair.server.data == b"".join([*small, *large])
    assert one < 6 + 2 * 30  # one record, not three


def test_tls_within_tls() -> None:
    pair = Pair().open()
    client, server = contexts("TLSv1.2")
    loop = pair.wire.clock.loop
    inner_client, inner_server = Watcher(), Watcher()
    failures: list[BaseException] = []
    for watcher, layer, settings_, name in (
        (inner_server, pair.server_layer, server, None),
        (inner_client, pair.client_layer, client, "gw.example.com"),
    ):
        inner = TlsLayer(loop, settings_, watcher, lambda error, _: failures.append(error), 5.0, name)
        layer.set_receiver(inner)
        inner.connection_made(layer)
    pair.wire.settle()
    data = bytes(range(256)) * 4000
    for start in range(0, len(data), 20_000):  # so that inner records are cut by outer ones
        inner_client.call("write", data[start : start + 20_000])
        inner_server.call("write", data[start : start + 20_000])
    pair.wire.settle()
    assert failures == []
    assert inner_server.data == data
    assert inner_client.data == data


# --- anything in any order

steps = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.booleans(), st.integers(1, 70_000)),
        st.tuples(st.just("deliver"), st.booleans(), st.integers(1, 70_000)),
        st.tuples(st.sampled_from(["pause", "resume", "eof", "run"]), st.booleans(), st.just(0)),
    ),
    max_size=40,
)


@versions
@pytest.mark.parametrize("ending", ["eof", "close", "abort", "cut", "none"])
@given(steps=steps, who=st.booleans(), pausing=st.booleans())
@settings(max_examples=25, deadline=None)
def test_any_interleaving_delivers_a_correct_prefix(
    version: str, ending: str, steps: list[tuple[str, bool, int]], who: bool, pausing: bool
) -> None:
    pair = Pair(version).open()
    pair.client.pause_each_time = pair.server.pause_each_time = pausing
    sides = (pair.client, pair.server)
    wires = (pair.wire.left, pair.wire.right)
    sent = (bytearray(), bytearray())
    ended = [False, False]

    def act(what: str, which: int, amount: int) -> None:
        side = sides[which]
        if what == "run":
            pair.wire.clock.run()
        elif what == "deliver":
            wires[which].deliver(amount)
        elif not side.open:
            return
        elif what == "write" and not ended[which]:
            data = bytes((len(sent[which]) + i) % 251 for i in range(min(amount, 251))) * (amount // 251 + 1)
            sent[which].extend(data)
            pair.write(side, bytearray(data))
        elif what == "eof" and not ended[which]:
            ended[which] = True
            side.call("write_eof")
        elif what in ("pause", "resume"):
            getattr(side, what)()

    for what, right, amount in steps:
        act(what, right, amount)
    match ending:
        case "eof":
            act("eof", 0, 0)
            act("eof", 1, 0)
        case "close" if sides[who].open:
            sides[who].call("close")
        case "abort" if sides[who].open:
            sides[who].call("abort")
        case "cut":
            wires[who].write_eof()
    pair.client.pause_each_time = pair.server.pause_each_time = False
    for side in sides:
        if side.open:
            side.resume()
    pair.wire.settle()

    for to in (0, 1):
        assert sent[1 - to].startswith(sides[to].data)
        assert sides[to].events.count("eof") <= 1
    if ending in ("eof", "none"):
        for to in (0, 1):
            assert sides[to].data == sent[1 - to]
            assert sides[to].error is None
            assert ("eof" in sides[to].events) == ended[1 - to]
            assert sides[to].open == (not all(ended))
    if ending == "close":
        assert sides[who].events[-1] == "lost"
        assert sides[who].error is None
        assert sides[not who].data == sent[who]
    if not all(ended) and (ending == "abort" or (ending == "cut" and not ended[who])):
        assert [side.events[-1] for side in sides] == ["lost", "lost"]
        assert isinstance(sides[not who].error, StreamReset)
