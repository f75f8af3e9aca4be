"""The far side of an echo."""

from __future__ import annotations

import pytest
from tests.services.datagram_fakes import Incoming, on
from tests.transports.memory import Clock

from isthmus.config.model import EchoProperties, Service
from isthmus.errors import ConnectError
from isthmus.services.echo import EchoService
from isthmus.services.loopback import Loopback
from isthmus.uri import parse


def echo(repeat: int) -> Service:
    return Service(
        name="echo-1",
        type="echo",
        accepts=(parse("tcp://127.0.0.1:7000"), parse("udp://127.0.0.1:7000")),
        properties=EchoProperties(repeat=repeat),
    )


@pytest.mark.parametrize(
    ("repeat", "answers"), [(1, [b"a", b"", b"c"]), (2, [b"a", b"a", b"", b"", b"c", b"c"])]
)
def test_datagrams_come_back(repeat: int, answers: list[bytes]) -> None:
    with on(Clock()) as clock:
        service = EchoService(echo(repeat))
        incoming = Incoming()
        service.flow(incoming)
        incoming.receive(b"a")
        clock.run()
        incoming.receive(b"", b"c")
        assert incoming.sent == answers
        assert service.connections() == 1
        assert service.counters.flows == 1


def test_nothing_comes_after_close() -> None:
    class Never:
        def datagrams_received(self, datagrams: list[bytes]) -> None:
            raise AssertionError

    loopback = Loopback(Never(), 1)  # type: ignore[arg-type]
    loopback.close()
    loopback.send([b"a"])
    assert loopback.info("peername") is None


def test_an_echo_without_udp_has_no_flows() -> None:
    with on(Clock()):
        config = echo(1).model_copy(update={"accepts": (parse("tcp://127.0.0.1:7000"),)})
        service = EchoService(config)
        incoming = Incoming()
        service.flow(incoming)
        assert isinstance(incoming.refusal, ConnectError)
