"""A transport that says where it comes from, and is in all else the one below."""

from __future__ import annotations

from tests.transports.memory import Wire

from isthmus.transports.base import Origin
from isthmus.transports.told import told

ORIGIN = Origin(("192.0.2.7", 51324), ("203.0.113.1", 443))


def test_its_ends_are_those_that_were_told() -> None:
    wire = Wire()
    transport = told(wire.left, ORIGIN)
    assert transport.info("peername") == ("192.0.2.7", 51324)
    assert transport.info("sockname") == ("203.0.113.1", 443)
    assert transport.info("socket") == wire.left.info("socket")


def test_all_else_is_the_transport_below() -> None:
    wire = Wire()
    transport = told(wire.left, ORIGIN)
    for name in (
        "write",
        "writelines",
        "write_eof",
        "pause_reading",
        "resume_reading",
        "set_write_limit",
        "unsent",
        "set_receiver",
        "close",
        "abort",
    ):
        assert getattr(transport, name) == getattr(wire.left, name)
