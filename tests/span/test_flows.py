"""flows.py, as a dialogue: what crosses, what is dropped, what ends a flow, and what a bad peer gets."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.span.dialogue import NONCE, Line, Log, Server, client, dialled

from isthmus.errors import SpanError
from isthmus.span import Code, Flow, Limits, Session
from isthmus.span import frames as f
from isthmus.span.frames import MAXIMUM_DATAGRAM, Settings, Type, Welcome
from isthmus.span.limits import FLOWS_BEHIND, FLOWS_REMEMBERED, OVERHEAD

TAKES = Settings(maximum_message=1 << 20, maximum_flows=10)
LIMITS = Limits(maximum_flows=10, flow_pending=2_000)


def datagram(flow: int, data: bytes) -> bytes:
    return f.header(Type.DATAGRAM, flow, len(data)) + data


def first(flow: int, data: bytes, origin: str = "") -> bytes:
    return f.flow_header(flow, origin, len(data)) + data


class Opener:
    """A client's session with one carrier; the test plays the server."""

    def __init__(self, settings: Settings = TAKES, limits: Limits = LIMITS) -> None:
        self.session: Session
        self.log: Log
        self.session, self.log = client(limits)
        self.line = self.dial(f.hello(NONCE, settings))
        assert self.line.kinds() == [(Type.NEW, 0)]
        self.line.say(f.welcome(Welcome(bytes(16), bytes(32), bytes(16))))
        self.flows = self.session.flows

    def dial(self, hello: bytes) -> Line:
        line = dialled(self.session)
        line.say(hello)
        return line

    def open(self, *datagrams: bytes, now: float = 0.0) -> Flow:
        flow = self.flows.open("10.0.0.7:53")
        self.flows.send(flow, list(datagrams), now)
        return flow

    def accepted(self) -> Flow:
        flow = self.open(b"first")
        self.line.say(f.flowing(flow.id))
        self.line.hear()
        return flow

    @property
    def counters(self) -> Any:
        return self.session.counters


class Acceptor(Server):
    """A server's session with one carrier; the test plays the client."""

    def __init__(self, limits: Limits = LIMITS, *, accepts: bool = True) -> None:
        super().__init__(limits, accepts=accepts)
        self.line = self.found()
        self.flows = self.session.flows

    def flow(self, flow_id: int = 1) -> Flow:
        self.line.say(first(flow_id, b"first"))
        self.line.hear()
        self.log.take()
        return self.flows.table[flow_id]


# --- what crosses


def test_the_fields_are_repeated_until_the_peer_has_answered() -> None:
    opener = Opener()
    flow = opener.open(b"one", b"")
    assert opener.line.hear() == [(Type.FLOW, 1, first(1, data, "10.0.0.7:53")[8:]) for data in (b"one", b"")]
    opener.line.say(f.flowing(1))
    opener.flows.send(flow, [b"three", b""], 0.0)
    assert opener.line.hear() == [(Type.DATAGRAM, 1, b"three"), (Type.DATAGRAM, 1, b"")]
    assert opener.counters.datagrams_sent == 4


def test_whichever_comes_first_opens_the_flow_once() -> None:
    server = Acceptor()
    server.line.say(first(1, b"two", "a"), first(1, b"one", "a"), datagram(1, b"three"))
    assert server.log.take() == [("flow_opened", 1, "a"), ("datagrams", 1, [b"two", b"one", b"three"])]
    assert server.line.kinds() == [(Type.FLOWING, 1)]
    server.line.say(first(1, b"again"))
    assert server.line.kinds() == [(Type.FLOWING, 1)], "said again, as it may have been lost"
    assert server.session.counters.flows_opened_by_peer == 1


def test_nothing_is_said_of_a_flow_that_is_not_accepted_yet() -> None:
    server = Acceptor(accepts=False)
    server.line.say(first(1, b"a"))
    assert server.log.take() == [("flow_opened", 1, ""), ("datagrams", 1, [b"a"])]
    assert server.line.kinds() == []
    server.flows.accept(server.flows.table[1])
    assert server.line.kinds() == [(Type.FLOWING, 1)]


def test_an_acceptor_answers_without_fields() -> None:
    server = Acceptor()
    server.flows.send(server.flow(), [b"answer"], 0.0)
    assert server.line.hear() == [(Type.DATAGRAM, 1, b"answer")]


@pytest.mark.parametrize("size", [0, 1, 1_200, 65_507, MAXIMUM_DATAGRAM])
def test_a_datagram_is_whole_in_one_frame(size: int) -> None:
    opener = Opener()
    flow = opener.open(bytes(size))
    assert [len(frame[2]) for frame in opener.line.hear(budget=4_096)] == [16 + size]
    opener.line.say(f.flowing(1))
    opener.flows.send(flow, [bytes(size)], 0.0)
    assert opener.line.hear(budget=4_096) == [(Type.DATAGRAM, 1, bytes(size))]


def test_a_datagram_that_is_too_long_is_the_callers_error() -> None:
    with pytest.raises(ValueError, match="65,527"):
        Opener().open(bytes(MAXIMUM_DATAGRAM + 1))


def test_flows_take_turns() -> None:
    opener = Opener()
    for letter in b"ab":
        opener.open(bytes([letter]), bytes([letter]))
    assert [frame[2][-1:] for frame in opener.line.hear()] == [b"a", b"b", b"a", b"b"]


def test_datagrams_go_before_streams_and_leave_them_half() -> None:
    opener = Opener(limits=Limits(flow_pending=1 << 20))
    stream = opener.session.open()
    opener.line.hear()
    opener.line.say(f.opened(stream.id, 1 << 20))
    opener.session.write(stream, bytes(60_000))
    flow = opener.open(*[bytes(1_000)] * 100)
    kinds = [each[0] for each in opener.line.hear(budget=16_000)]
    assert kinds[0] == Type.FLOW
    assert Type.DATA in kinds[:20], "what waits of streams is in the first message, too"
    assert kinds.count(Type.FLOW) == 100
    assert flow.waiting is None


# --- fresh, not late


def test_what_waited_too_long_is_dropped_the_oldest_first() -> None:
    opener = Opener()
    flow = opener.open(b"late")
    opener.flows.send(flow, [b"fresh"], 0.04)
    opener.line.now = 0.06
    assert [frame[2][-5:] for frame in opener.line.hear()] == [b"fresh"]
    assert opener.counters.datagrams_late == 1
    assert ("dropped", 1) in opener.log.told
    assert opener.flows.waiting == 0


def test_without_a_carrier_only_what_is_fresh_waits() -> None:
    opener = Opener()
    flow = opener.accepted()
    opener.line.carrier.lost(0.0)
    for number in range(100):
        opener.flows.send(flow, [bytes([number])], number * 0.01)
    assert opener.flows.waiting <= 6 * (1 + OVERHEAD)
    assert opener.counters.datagrams_late == 94
    assert not flow.over


def test_a_flow_has_so_much_waiting_and_no_more() -> None:
    opener = Opener()
    opener.open(*[bytes(936)] * 5)
    assert opener.counters.datagrams_overflowed == 3
    assert opener.flows.waiting == 2_000
    assert ("output now",) in opener.line.wire.told, "it was asked to take more"
    opener = Opener()
    opener.open(bytes(100), bytes(60_000))
    assert len(opener.line.hear()) == 1, "the newest may wait in any case"


def test_empty_datagrams_are_bounded_too() -> None:
    opener = Opener()
    opener.open(*[b""] * 1_000)
    assert opener.flows.waiting <= 2_000


def test_all_flows_have_so_much_waiting_and_the_fattest_pays() -> None:
    opener = Opener(limits=Limits(flow_pending=2_000, flows_pending=5_000))
    voice = opener.open(b"voice")
    for _ in range(5):
        opener.open(bytes(900), bytes(900))
    assert opener.flows.waiting <= 5_000
    assert voice.size == 5 + OVERHEAD
    assert opener.counters.datagrams_overflowed > 0


# --- ends


def test_either_side_ends_a_flow() -> None:
    opener = Opener()
    flow = opener.accepted()
    opener.flows.end(flow, Code.OVERLOAD, "idle")
    assert opener.line.hear() == [(Type.ENDED, 1, b"\0\x04idle")]
    assert not opener.flows.table
    server = Acceptor()
    ended = server.flow()
    server.line.say(datagram(1, b"last"), f.ended(1, Code.CANCEL))
    assert server.log.take() == [("datagrams", 1, [b"last"]), ("flow_ended", 1, 0)]
    assert ended.over
    assert server.line.kinds() == []


def test_what_waits_when_a_flow_ends_is_counted() -> None:
    opener = Opener()
    opener.flows.end(opener.open(b"a", b"b"))
    assert opener.counters.datagrams_unsent == 2
    assert opener.line.kinds() == [(Type.ENDED, 1)]
    opener.flows.send(opener.flows.open(), [], 0.0)
    assert opener.line.kinds() == []


def test_an_end_that_was_lost_is_found_out_with_the_next_datagram() -> None:
    opener = Opener()
    opener.flows.end(opener.accepted())
    opener.line.hear()
    opener.line.say(datagram(1, b"answer"), datagram(1, b"more"))
    assert opener.line.hear() == [(Type.ENDED, 1, b"\0\x05")]
    assert opener.counters.datagrams_forgotten == 2
    opener.line.say(f.ended(1, 0), f.flowing(1))
    assert opener.line.kinds() == [], "an end is not answered"


def test_a_flow_that_has_ended_is_not_opened_again_by_what_comes_late() -> None:
    server = Acceptor()
    server.flow()
    server.line.say(f.ended(1, 0), first(1, b"late"))
    assert server.log.take() == [("flow_ended", 1, 0)]
    assert server.line.kinds() == [(Type.ENDED, 1)]
    server.line.say(f.ended(3, 0), first(3, b"its end was quicker"))
    assert server.log.take() == []
    assert server.line.kinds() == [(Type.ENDED, 3)]


def test_what_is_remembered_is_bounded() -> None:
    server = Acceptor()
    for flow_id in range(1, 2 * FLOWS_REMEMBERED + 201, 2):
        server.line.say(first(flow_id, b""), f.ended(flow_id, 0))
        server.line.hear()
    server.log.take()
    server.line.say(first(1, b"so late that it is a new one"))
    assert server.log.take()[0] == ("flow_opened", 1, "")
    server.line.say(f.ended(1, 0), first(FLOWS_BEHIND + 2 * FLOWS_REMEMBERED + 1, b""), first(199, b""))
    assert [event[1] for event in server.log.take() if event[0] == "flow_opened"] == [FLOWS_BEHIND + 8_193]


def test_a_session_that_ends_takes_its_flows_along() -> None:
    opener = Opener()
    opener.accepted()
    opener.session.end(Code.GOING, "stopping")
    assert opener.log.take()[-2:] == [("flow_ended", 1, Code.GOING), ("ended", Code.GOING)]
    with pytest.raises(SpanError):
        opener.flows.open()


def test_a_session_that_goes_ends_with_its_last_flow() -> None:
    opener = Opener()
    flow = opener.accepted()
    opener.session.go_away()
    assert not opener.session.over
    with pytest.raises(SpanError):
        opener.flows.open()
    opener.flows.end(flow)
    assert opener.session.over


# --- carriers


def joined(server: Acceptor) -> Line:
    line = server.join(1)
    assert line.kinds()[0] == (Type.WELCOME, 0)
    return line


def test_the_second_carrier_is_for_flows_and_the_first_for_streams() -> None:
    server = Acceptor()
    flow = server.flow()
    server.line.say(f.open_stream(1, 1 << 20))
    second = joined(server)
    server.line.hear()
    server.flows.send(flow, [b"a"], 0.0)
    server.session.write(server.session.streams[1], b"bulk")
    assert second.kinds() == [(Type.DATAGRAM, 1)]
    assert server.line.kinds() == [(Type.DATA, 1)]


def test_flows_follow_the_peer_to_its_carrier() -> None:
    server = Acceptor()
    flow = server.flow()
    second = joined(server)
    server.line.say(datagram(1, b"still here"))
    server.flows.send(flow, [b"a"], 0.0)
    assert second.kinds() == []
    assert server.line.kinds() == [(Type.DATAGRAM, 1)]


@pytest.mark.parametrize("how", ["lost", "stalled", "draining"])
def test_flows_leave_a_carrier_that_is_no_good(how: str) -> None:
    server = Acceptor()
    flow = server.flow()
    second = joined(server)
    if how == "lost":
        second.carrier.lost(0.0)
    elif how == "draining":
        server.session.replace_carrier(second.carrier)
        second.hear()
    else:
        server.flows.send(flow, [b"lost"], 1.5)
        second.now = 1.5
        assert second.kinds() == [(Type.DATAGRAM, 1), (Type.PING, 0)]
        deadline = second.carrier.stalls_at()
        assert 1.5 < deadline <= 2.0
        server.session.timeout(deadline)
        assert second.carrier.stalled
    server.flows.send(flow, [b"a"], server.session.now)
    server.line.now = server.session.now
    assert (Type.DATAGRAM, 1) in server.line.kinds()


def test_a_flow_survives_its_carrier() -> None:
    server = Acceptor()
    flow = server.flow()
    server.line.carrier.lost(0.0)
    server.flows.send(flow, [b"waits"], 0.01)
    line = server.join(0, bytes(range(16)))
    assert [each[0] for each in line.hear()] == [Type.WELCOME, Type.STATE, Type.DATAGRAM]
    line.say(*f.state(2, 1, []), datagram(1, b"and goes on"))
    assert server.log.take() == [("datagrams", 1, [b"and goes on"])]


def test_datagrams_follow_the_state_of_their_sender_only() -> None:
    server = Acceptor()
    server.flow()
    server.line.carrier.lost(0.0)
    line = server.join(0, bytes(range(16)))
    line.say(datagram(1, b"too early"))
    assert server.session.over
    assert server.log.take()[-1] == ("ended", Code.PROTOCOL)


# --- limits, and peers that break the rules


def test_nobody_opens_what_the_peer_does_not_take() -> None:
    with pytest.raises(SpanError, match="takes no datagrams") as error:
        Opener(Settings()).flows.open()
    assert error.value.code == Code.REFUSED
    opener = Opener()
    for _ in range(10):
        opener.flows.open()
    with pytest.raises(SpanError) as error:
        opener.flows.open()
    assert error.value.code == Code.OVERLOAD


def test_nobody_opens_streams_where_there_are_none() -> None:
    with pytest.raises(SpanError, match="only datagrams"):
        Opener(TAKES._replace(maximum_streams=0)).session.open()


@pytest.mark.parametrize(("maximum", "code"), [(0, Code.REFUSED), (2, Code.OVERLOAD)])
def test_more_flows_than_there_may_be_end_at_once(maximum: int, code: Code) -> None:
    server = Acceptor(Limits(maximum_flows=maximum))
    server.line.say(*(first(each, b"x") for each in (1, 3, 5)))
    over = [frame for frame in server.line.hear() if frame[0] == Type.ENDED]
    assert over == [(Type.ENDED, each, code.to_bytes(2, "big")) for each in (1, 3, 5)[maximum:]]
    assert server.session.counters.flows_overloaded == 3 - maximum
    assert len(server.flows) == maximum


def test_a_gateway_that_stops_takes_no_new_flows() -> None:
    server = Acceptor()
    server.flow()
    server.session.go_away()
    server.line.say(first(3, b"x"))
    assert (Type.ENDED, 3, b"\0\x06") in server.line.hear()


@pytest.mark.parametrize(
    "frame",
    [first(2, b"x"), f.flowing(1), datagram(2, b"x"), f.flowing(2), f.ended(2, 0)],
    ids=["FLOW of ours", "FLOWING of theirs", "DATAGRAM of none of ours", "FLOWING of none", "ENDED of none"],
)
def test_what_cannot_be_ends_the_session(frame: bytes) -> None:
    server = Acceptor()
    server.line.say(frame)
    assert server.session.over
    assert server.session.counters.protocol_errors == 1


def test_a_peer_that_does_not_read_the_answers_loses_its_carrier() -> None:
    server = Acceptor(Limits(maximum_streams=1, maximum_flows=1))
    for flow_id in range(1, 10_001, 2):
        server.line.say(datagram(flow_id, b""))
    assert server.line.wire.closed == 1008
    assert server.session.counters.carriers_flooded == 1


def test_50_000_flows_are_bounded_and_end() -> None:
    server = Acceptor(Limits(maximum_flows=50_000))
    for flow_id in range(1, 100_001, 2):
        server.line.say(first(flow_id, b"x"))
    assert len(server.flows) == 50_000
    server.log.take()
    server.line.hear()
    for flow in list(server.flows.table.values()):
        server.flows.send(flow, [b"answer"], 0.0)
        server.flows.end(flow)
    assert len(server.flows) == server.flows.waiting == 0


HOSTILE = st.one_of(
    st.builds(datagram, st.integers(1, 9), st.binary(max_size=20)),
    st.builds(first, st.integers(1, 9), st.binary(max_size=20)),
    st.builds(f.flowing, st.integers(1, 9)),
    st.builds(f.ended, st.integers(1, 9), st.integers(0, 40)),
    st.builds(lambda kind, data: f.frame(kind, 1, data), st.integers(0x17, 0x1A), st.binary(max_size=300)),
)


@given(st.lists(HOSTILE, max_size=30), st.booleans())
def test_whatever_comes_is_answered_or_ends_the_session(said: list[bytes], accepts: bool) -> None:
    server = Acceptor(Limits(maximum_flows=3), accepts=accepts)
    for frame in said:
        server.line.say(frame)
        if server.session.over:
            assert server.session.counters.protocol_errors == 1
            break
        assert len(server.flows) <= 3
        server.line.hear()
    opened = [event[1] for event in server.log.told if event[0] == "flow_opened"]
    assert len(opened) == len(set(opened)), "a flow is opened once"
