from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console
from tests.security.issuing import DAY, NOW, issue, write

from isthmus.certificates import examine
from isthmus.config import load
from isthmus.config.explain import explain, render
from isthmus.config.machine import Machine

NAMESPACE = "http://xmlns.kaazing.org/2016/06/gateway"
DATA = Path(__file__).parent / "security" / "data"


def configured(folder: Path, security: str, *accepts: str, options: str = "") -> Path:
    accept = "".join(f"\n<accept>{each}</accept>" for each in accepts)
    text = f"""<gateway-config xmlns="{NAMESPACE}">
<service><name>s</name><type>echo</type><accept-options>{options}</accept-options>{accept}
</service>
<security>{security}</security>
</gateway-config>"""
    (folder / "gateway.xml").write_text(text)
    return folder / "gateway.xml"


def notes(path: Path) -> list[str]:
    found = [f"{note.level} {note.problem}" for note in examine(load(path), NOW)[1]]
    return [each.replace(f"{path.parent}/", "") for each in found]


def test_every_certificate_is_listed(tmp_path: Path) -> None:
    write(tmp_path / "password", b"changeit")
    store = f"<type>JKS</type><file>{DATA}/%s.jks</file><password-file>password</password-file>"
    security = f"<keystore>{store % 'several'}</keystore><truststore>{store % 'trust'}</truststore>"
    path = configured(tmp_path, security, "wss://gw.example.com/", "wss://a.apps.example.com/")
    rows, found = examine(load(path))
    assert found == []
    assert [(row.store, row.subject, row.names, row.issuer) for row in rows] == [
        ("keystore", "CN=apps", ("*.apps.example.com",), "itself"),
        ("keystore", "CN=gw.example.com", ("gw.example.com", "127.0.0.1"), "CN=Authority"),
        ("keystore", "CN=Authority", (), "itself"),
        ("truststore", "CN=apps", ("*.apps.example.com",), "itself"),
        ("truststore", "CN=Authority", (), "itself"),
    ]
    console = Console(width=200, record=True, file=io.StringIO())
    render(explain(load(path), Machine.here()).plus(rows, found), console)
    assert all(row.left in console.export_text(clear=False) and "days" in row.left for row in rows)
    assert "CN=gw.example.com" in console.export_text()


@pytest.mark.parametrize(("days", "left"), [(1, "1 day"), (30, "30 days"), (-1, "expired")])
def test_days_left(tmp_path: Path, days: int, left: str) -> None:
    made = issue("gw", "gw", begin=NOW - 9 * DAY, end=NOW + days * DAY)
    write(tmp_path / "gw.pem", made.pem, made.key_pem())
    path = configured(tmp_path, "<keystore><file>gw.pem</file></keystore>", "wss://gw/")
    (row,), found = examine(load(path), NOW)
    assert (row.left, row.valid) == (left, f"{NOW - 9 * DAY:%Y-%m-%d} to {NOW + days * DAY:%Y-%m-%d}")
    assert [note.level for note in found] == (["WARN"] if days < 21 else [])


def test_hosts_that_no_certificate_is_for(tmp_path: Path) -> None:
    made = issue("gw", "gw.example.com")
    write(tmp_path / "gw.pem", made.pem, made.key_pem())
    accepts = (
        "wss://gw.example.com/",
        "wss://other.example.com/",
        "wss://0.0.0.0:1/",
        "ws://third.example.com/",
    )
    path = configured(tmp_path, "<keystore><file>gw.pem</file></keystore>", *accepts)
    assert notes(path) == [
        (
            "WARN gateway.xml:4: <service/accept>: no certificate of the keystore is for other.example.com: "
            "no client will believe wss://other.example.com:443/\n"
            "    allowed: a certificate that names this host, or an accept that it names"
        )
    ]


def test_a_file_that_cannot_be_used(tmp_path: Path) -> None:
    write(tmp_path / "gw.pem", b"hello")
    path = configured(tmp_path, "<keystore><file>gw.pem</file></keystore>", "wss://gw/")
    assert notes(path) == [
        (
            "ERROR gateway.xml:5: <security/keystore>: keystore gw.pem: it is not PEM: it has no "
            "-----BEGIN line\n    allowed: give a PEM file, or set its type"
        )
    ]
    (tmp_path / "gw.pem").unlink()
    assert notes(path) == []  # `explain` tells it


def test_clients_that_cannot_be_verified(tmp_path: Path) -> None:
    made = issue("gw", "gw")
    write(tmp_path / "gw.pem", made.pem, made.key_pem())
    option = "<ssl.verify-client>required</ssl.verify-client>"
    path = configured(tmp_path, "<keystore><file>gw.pem</file></keystore>", "wss://gw/", options=option)
    (note,) = notes(path)
    assert note.startswith("ERROR gateway.xml:2: <service/accept-options/ssl.verify-client>: ")
    assert "there is no truststore" in note
