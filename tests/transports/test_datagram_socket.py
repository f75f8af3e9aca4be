"""Many datagrams in one system call: the compiled calls and their plain twins, on real sockets."""

from __future__ import annotations

import errno
import importlib
import os
import random
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.transports import datagram_socket
from isthmus.transports.datagram_socket import (
    BATCH,
    DatagramSocket,
    PlainDatagramSocket,
    answer_from_where_it_came,
    peer_address,
    peer_of,
    prepare,
)
from isthmus.transports.datagrams import DatagramCounters

TWINS = [pytest.param(PlainDatagramSocket, id="plain")]
if datagram_socket.COMPILED:
    TWINS.append(pytest.param(DatagramSocket, id="compiled"))
each_twin = pytest.mark.parametrize("twin", TWINS)
HOSTS = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
LARGEST = {socket.AF_INET: 65_507, socket.AF_INET6: 65_527}


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


FAMILIES = [socket.AF_INET, *([socket.AF_INET6] if has_ipv6() else [])]
each_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


class Ends:
    """A bound socket and one that is connected to it."""

    def __init__(self, family: int, host: str = "") -> None:
        self.bound = socket.socket(family, socket.SOCK_DGRAM)
        self.client = socket.socket(family, socket.SOCK_DGRAM)
        prepare(self.bound)
        prepare(self.client)
        self.bound.bind((host or HOSTS[socket.AddressFamily(family)], 0))
        self.client.connect((HOSTS[socket.AddressFamily(family)], self.bound.getsockname()[1]))

    def close(self) -> None:
        self.bound.close()
        self.client.close()


@pytest.fixture(params=FAMILIES, ids=lambda family: family.name)
def ends(request: pytest.FixtureRequest) -> Iterator[Ends]:
    made = Ends(request.param)
    yield made
    made.close()


@each_twin
def test_datagrams_keep_their_boundaries_and_order(twin: Any, ends: Ends) -> None:
    largest = LARGEST[ends.bound.family]
    sent = [os.urandom(size) for size in (0, 1, 100, 1472, 1500, 2048, 9000, 32768, largest, 0)]
    start = 0
    while start < len(sent):
        start += twin(ends.client).send(sent, start)
    found = twin(ends.bound).receive_from()
    assert list(found.values()) == [sent]
    (peer,) = found
    assert peer_address(peer) == ends.client.getsockname()[:2]
    assert twin(ends.bound).send(sent, 0, peer) == len(sent)
    assert twin(ends.client).receive() == sent


@each_twin
@settings(max_examples=30, deadline=None)
@given(sizes=st.lists(st.integers(0, 1500), min_size=1, max_size=BATCH * 2))
def test_whatever_is_sent_comes(twin: Any, sizes: list[int]) -> None:
    ends = Ends(socket.AF_INET)
    try:
        sent = [random.randbytes(size) for size in sizes]
        start, came = 0, []
        while start < len(sent):
            taken = twin(ends.client).send(sent, start)
            assert 1 <= taken <= BATCH
            start += taken
        while found := twin(ends.bound).receive_from():
            (group,) = found.values()
            assert len(group) <= BATCH
            came += group
        assert came == sent
    finally:
        ends.close()


@each_twin
def test_nothing_waits(twin: Any, ends: Ends) -> None:
    assert twin(ends.client).receive() == []
    assert twin(ends.bound).receive_from() == {}


@each_twin
def test_senders_are_told_apart(twin: Any, ends: Ends) -> None:
    others = [socket.socket(ends.bound.family, socket.SOCK_DGRAM) for _ in range(5)]
    try:
        for turn in range(3):
            for number, other in enumerate(others):
                other.sendto(bytes([number, turn]), ends.bound.getsockname())
        found = twin(ends.bound).receive_from()
        assert len(found) == len(others)
        for number, (peer, datagrams) in enumerate(found.items()):
            assert peer_address(peer) == (
                HOSTS[ends.bound.family],
                others[number].getsockname()[1],
            )
            assert datagrams == [bytes([number, turn]) for turn in range(3)]
    finally:
        for other in others:
            other.close()


@each_twin
def test_both_twins_call_a_sender_the_same(twin: Any, ends: Ends) -> None:
    ends.client.send(b"a")
    (peer,) = twin(ends.bound).receive_from()
    assert peer == peer_of(ends.client.family, ends.client.getsockname())


@each_twin
def test_nobody_listens(twin: Any, ends: Ends) -> None:
    ends.bound.close()
    twin(ends.client).send([b"a"], 0)
    with pytest.raises(ConnectionRefusedError):
        twin(ends.client).receive()
    assert twin(ends.client).receive() == []


@each_twin
def test_too_large(twin: Any, ends: Ends) -> None:
    with pytest.raises(OSError) as caught:
        twin(ends.client).send([bytes(65_536)], 0)
    assert caught.value.errno == errno.EMSGSIZE


@each_twin
def test_the_answer_comes_from_where_the_question_went(twin: Any) -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux has 127.0.0.0/8 and IP_PKTINFO")
    ends = Ends(socket.AF_INET, "0.0.0.0")
    try:
        answer_from_where_it_came(ends.bound)
        ends.client.connect(("127.0.0.7", ends.bound.getsockname()[1]))  # takes nothing from 127.0.0.1
        ends.client.send(b"question")
        found = twin(ends.bound).receive_from()
        assert list(found.values()) == [[b"question"]]
        (peer,) = found
        assert peer_address(peer) == ends.client.getsockname()
        twin(ends.bound).send([b"answer", b"another"], 0, peer)
        assert twin(ends.client).receive() == [b"answer", b"another"]
    finally:
        ends.close()


@each_twin
def test_the_answer_comes_from_where_the_question_went_over_ipv6(twin: Any) -> None:
    if not has_ipv6():
        pytest.skip("this machine has no IPv6")
    ends = Ends(socket.AF_INET6, "::")
    try:
        answer_from_where_it_came(ends.bound)
        ends.client.send(b"question")
        (peer,) = twin(ends.bound).receive_from()
        assert len(peer) == 38
        assert peer_address(peer) == ends.client.getsockname()[:2]
        twin(ends.bound).send([b"answer"], 0, peer)
        assert twin(ends.client).receive() == [b"answer"]
    finally:
        ends.close()


def test_a_peer_with_an_interface() -> None:
    peer = peer_of(socket.AF_INET6, ("fe80::1", 53, 0, 3))
    assert peer_address(peer) == ("fe80::1%3", 53)
    assert peer_of(socket.AF_INET6, ("fe80::1%eth0", 53, 0, 3)) == peer


# --- what cannot be sent is counted, whatever it is


class Script(PlainDatagramSocket):
    """Sends as it is told: each item is how many are taken, or the error."""

    def __init__(self, sock: socket.socket, *steps: int | OSError) -> None:
        super().__init__(sock)
        self.steps = list(steps)
        self.tried: list[int] = []

    def send(self, datagrams: list[bytes], start: int, peer: bytes | None = None) -> int:
        self.tried.append(start)
        step = self.steps.pop(0)
        if isinstance(step, OSError):
            raise step
        return step


def error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@pytest.mark.parametrize(
    ("steps", "tried", "counted"),
    [
        ((4,), [0], {}),
        ((3, 1), [0, 3], {}),
        ((1, error(errno.EAGAIN)), [0, 1], {"dropped_buffer": 3}),
        ((error(errno.ENOBUFS), 3), [0, 1], {"dropped_buffer": 1}),
        ((1, error(errno.EMSGSIZE), 2), [0, 1, 2], {"dropped_oversized": 1}),
        ((error(errno.ECONNREFUSED), 4), [0, 0], {"unreachable": 1}),
        (
            (error(errno.ECONNREFUSED), error(errno.ECONNREFUSED), 3),
            [0, 0, 1],
            {"unreachable": 1, "dropped_unsent": 1},
        ),
        ((error(errno.EPERM), error(errno.EPERM), 2), [0, 1, 2], {"dropped_unsent": 2}),
        ((error(errno.EINVAL), 3), [0, 1], {"dropped_unsent": 1}),
    ],
)
def test_what_cannot_be_sent_is_counted(
    steps: tuple[int | OSError, ...], tried: list[int], counted: dict[str, int]
) -> None:
    counters = DatagramCounters()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        script = Script(sock, *steps)
        script.send_all([b"a", b"b", b"c", b"d"], counters)
    assert script.tried == tried
    assert counters == DatagramCounters(**counted)


def test_a_server_that_is_away_costs_no_datagram_when_it_is_back(ends: Ends) -> None:
    counters = DatagramCounters()
    at = ends.bound.getsockname()
    ends.bound.close()
    DatagramSocket(ends.client).send_all([b"lost"], counters)
    ends.bound = socket.socket(ends.client.family, socket.SOCK_DGRAM)
    prepare(ends.bound)
    ends.bound.bind(at)
    DatagramSocket(ends.client).send_all([b"a", b"b"], counters)
    assert list(DatagramSocket(ends.bound).receive_from().values()) == [[b"a", b"b"]]
    assert counters == DatagramCounters(unreachable=1)


@each_twin
def test_once_closed_its_descriptor_is_used_no_more(twin: Any, ends: Ends) -> None:
    counters = DatagramCounters()
    closed, descriptor = twin(ends.client), ends.client.fileno()
    closed.close()
    assert ends.client.fileno() == -1
    another = os.dup(ends.bound.fileno())  # the lowest that is free: the same
    try:
        assert another == descriptor
        closed.send_all([b"a"], counters)
        assert counters == DatagramCounters(dropped_unsent=1)
        with pytest.raises(OSError, match="Bad file descriptor"):
            closed.receive()
    finally:
        os.close(another)


def test_a_full_buffer_drops(ends: Ends) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as left:
        right = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        name = f"\0isthmus-{os.getpid()}-{ends.bound.fileno()}"
        right.bind(name)
        left.setblocking(False)
        left.connect(name)
        counters = DatagramCounters()
        DatagramSocket(left).send_all([bytes(1000)] * 2000, counters)
        assert 0 < counters.dropped_buffer < 2000
        right.close()


def test_the_compiled_one_is_used_where_it_was_built() -> None:
    try:
        built = importlib.import_module("isthmus.transports._datagram_socket")
    except ImportError:
        pytest.skip("the extension was not built")
    if os.environ.get("ISTHMUS_PURE") == "1":
        pytest.skip("ISTHMUS_PURE is set")
    assert DatagramSocket is built.DatagramSocket


@pytest.mark.skipif(not datagram_socket.COMPILED, reason="the extension was not built")
def test_the_compiled_one_refuses_nonsense(ends: Ends) -> None:
    with pytest.raises(ValueError, match="nothing to send"):
        DatagramSocket(ends.client).send([b"a"], 1)
    with pytest.raises(ValueError, match="not a peer"):
        DatagramSocket(ends.client).send([b"a"], 0, b"short")
    with pytest.raises(TypeError):
        DatagramSocket(ends.client).send(["text"], 0)  # type: ignore[list-item]


@each_twin
@pytest.mark.parametrize(
    "sizes",
    [
        [100] * 64,
        [1200] * 63 + [700],
        [1200, 1200, 700, 1200, 1200],
        [0, 0, 5, 5, 0, 5],
        [3, 2, 1, 2, 3],
        [65_000, 65_000, 507],
        [32_000] * 5,
        [1] * 200,
    ],
    ids=str,
)
def test_runs_of_one_size_are_cut_again(twin: Any, sizes: list[int], ends: Ends) -> None:
    """What the compiled `send` gives to the kernel as one comes as many."""
    sent = [number.to_bytes(2, "big") * (size // 2) + bytes(size % 2) for number, size in enumerate(sizes)]
    for peer in (None, peer_of(ends.bound.family, ends.bound.getsockname())):
        start = 0
        client = ends.client
        if peer is not None:
            client = socket.socket(ends.bound.family, socket.SOCK_DGRAM)
            prepare(client)
        came: list[bytes] = []
        while start < len(sent):
            start += twin(client).send(sent, start, peer)
            for group in twin(ends.bound).receive_from().values():
                came += group
        while found := twin(ends.bound).receive_from():
            (group,) = found.values()
            came += group
        assert came == sent
        if peer is not None:
            client.close()


SMALL_WAY = """\
import socket, sys
from isthmus.transports import datagram_socket
from isthmus.transports.datagrams import DatagramCounters
bound, client = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
for each in (bound, client):
    datagram_socket.prepare(each)
bound.bind(("127.0.0.1", 0))
client.connect(bound.getsockname())
sent = [bytes([number]) * 3000 for number in range(20)] + [b"small"] * 3
counters = DatagramCounters()
datagram_socket.DatagramSocket(client).send_all(sent, counters)
came = []
while found := datagram_socket.DatagramSocket(bound).receive_from():
    came += next(iter(found.values()))
assert came == sent, [len(each) for each in came]
assert counters == DatagramCounters(), counters
"""


@pytest.mark.skipif(shutil.which("unshare") is None or os.geteuid() != 0, reason="needs a network namespace")
def test_runs_that_do_not_fit_into_packets_are_sent_each_for_itself() -> None:
    """The kernel cuts a run only into pieces that fit; what is larger goes in fragments, as always."""
    script = f"ip link set lo mtu 1500 up && exec {sys.executable} -c '{SMALL_WAY}'"
    outcome = subprocess.run(
        ["unshare", "--net", "sh", "-c", script],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert outcome.returncode == 0, outcome.stderr
