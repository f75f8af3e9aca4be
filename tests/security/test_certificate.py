from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.security.issuing import DAY, NOW, issue

from isthmus.security import Certificate, covers
from isthmus.security.certificate import printable


def test_a_certificate_tells_its_facts() -> None:
    authority = issue("Example Authority", authority=True)
    issued = issue(
        "gw", "gw.example.com", "10.0.0.1", issuer=authority, begin=NOW - 3 * DAY, end=NOW + 10 * DAY
    )
    certificate = Certificate.from_der(issued.der)
    assert certificate.subject == "CN=gw"
    assert certificate.issuer == "CN=Example Authority"
    assert certificate.names == ("gw.example.com", "10.0.0.1")
    assert (certificate.not_before, certificate.not_after) == (NOW - 3 * DAY, NOW + 10 * DAY)
    assert certificate.days_left(NOW) == 10
    assert certificate.days_left(NOW + 12 * DAY) == -2
    assert not certificate.self_issued
    assert Certificate.from_der(authority.der).self_issued


@pytest.mark.parametrize(
    ("host", "covered"),
    [
        ("gw.example.com", True),
        ("GW.Example.com.", True),
        ("a.wild.example.com", True),
        ("wild.example.com", False),
        ("a.b.wild.example.com", False),
        ("other.example.com", False),
        ("example", False),
        ("10.0.0.1", True),
        ("10.0.0.2", False),
        ("2001:db8::1", True),
        ("2001:0db8:0::1", True),
        ("2001:db8::2", False),
        ("common-name.example.com", False),
    ],
)
def test_what_a_certificate_covers(host: str, covered: bool) -> None:
    issued = issue(
        "common-name.example.com", "gw.example.com", "*.wild.example.com", "10.0.0.1", "2001:db8::1"
    )
    assert covers(Certificate.from_der(issued.der), host) is covered


def test_a_certificate_without_names_covers_nothing() -> None:
    assert not covers(Certificate.from_der(issue("gw.example.com").der), "gw.example.com")


@given(st.text(max_size=1000))
def test_texts_of_a_peer_can_neither_forge_nor_flood_a_log(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert len(shown) <= 203


def test_a_subject_with_a_line_break_stays_on_one_line() -> None:
    certificate = Certificate.from_der(issue("gw\nINFO all is well").der)
    assert "\n" not in str(certificate)
