from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.security.issuing import issue

from isthmus.errors import KeystoreError
from isthmus.security import jks
from isthmus.security.jks import KeyEntry, TrustedEntry, WrongPassword, read

DATA = Path(__file__).parent / "data"
PASSWORD = "changeit"
KEYSTORES = [(DATA / f"several.{end}").read_bytes() for end in ("jks", "jceks")]
DER = issue("one", "one.example.com").der


def signed(body: bytes, password: str = PASSWORD) -> bytes:
    """Return a file whose digest is right, whatever is in it."""
    secret = password.encode("utf-16-be") + b"Mighty Aphrodite"
    return body + hashlib.sha1(secret + body).digest()


def trusted(
    alias: bytes = b"one", der: bytes = DER, kind: int = 2, count: int = 1, version: int = 2
) -> bytes:
    entry = struct.pack(">IH", kind, len(alias)) + alias + bytes(8)
    entry += (b"\x00\x05X.509" if version == 2 else b"") + struct.pack(">I", len(der)) + der
    return signed(b"\xfe\xed\xfe\xed" + struct.pack(">II", version, count) + entry)


def read_all(data: bytes, password: str = PASSWORD) -> None:
    for entry in read(data, password):
        if isinstance(entry, KeyEntry):
            entry.key(password)


# --- what keytool made


@pytest.mark.parametrize("data", KEYSTORES)
def test_entries_in_the_order_of_the_file(data: bytes) -> None:
    entries = read(data, PASSWORD)
    assert [(entry.alias, type(entry)) for entry in entries] == [
        ("apps", KeyEntry),
        ("authority", TrustedEntry),
        ("gw", KeyEntry),
    ]


@pytest.mark.parametrize("data", KEYSTORES)
def test_each_key_is_that_of_its_certificate(data: bytes) -> None:
    for entry in read(data, PASSWORD):
        if isinstance(entry, KeyEntry):
            assert entry.key(PASSWORD).public_key() == entry.chain[0].public_key()


@pytest.mark.parametrize("end", ["jks", "jceks"])
def test_a_key_with_its_own_password(end: str) -> None:
    (entry,) = read((DATA / f"keypass.{end}").read_bytes(), PASSWORD)
    assert isinstance(entry, KeyEntry)
    assert entry.key("different").public_key() == entry.chain[0].public_key()
    with pytest.raises(WrongPassword, match="the password of the key gw is another one"):
        entry.key(PASSWORD)
    with pytest.raises(WrongPassword):
        entry.key("gärtner")


@pytest.mark.parametrize("data", KEYSTORES)
@pytest.mark.parametrize("password", ["", "Changeit", "changeit ", "gärtner", "\ud800"])
def test_a_wrong_password(data: bytes, password: str) -> None:
    with pytest.raises(WrongPassword):
        read(data, password)


def test_a_secret_key() -> None:
    with pytest.raises(KeystoreError, match="its entry aes is a secret key") as caught:
        read((DATA / "secret.jceks").read_bytes(), PASSWORD)
    assert caught.value.hint


# --- what anybody could have made


def test_what_is_made_here_can_be_read() -> None:
    for version in (1, 2):
        (entry,) = read(trusted(version=version), PASSWORD)
        assert isinstance(entry, TrustedEntry)
        assert entry.alias == "one"


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "not a Java keystore"),
        (b"\xfe\xed\xfe\xed", "password is wrong, or the file is damaged"),
        (trusted(version=3), "version 3"),
        (trusted(count=0), "damaged"),
        (trusted(count=2), "damaged"),
        (trusted(count=jks.MAXIMUM_ENTRIES + 1), "1001 entries; 1000 are the most"),
        (trusted(kind=4), "damaged"),
        (trusted(der=b"\x30\x03abc"), "a certificate of one is damaged"),
        (signed(b"\xfe\xed\xfe\xed"), "damaged"),
    ],
)
def test_what_is_wrong_is_said(data: bytes, what: str) -> None:
    with pytest.raises(KeystoreError, match=what):
        read(data, PASSWORD)


def test_an_alias_cannot_forge_a_log() -> None:
    (entry,) = read(trusted(alias=b"a\nERROR \xff"), PASSWORD)
    assert entry.alias == "a?ERROR \ufffd"


@pytest.mark.parametrize("count", [0, jks.MAXIMUM_CHAIN + 1])
def test_a_chain_has_its_limits(count: int) -> None:
    entry = struct.pack(">IH", 1, 1) + b"k" + bytes(8) + struct.pack(">II", 0, count)
    with pytest.raises(KeystoreError, match=f"the key k has {count} certificates"):
        read(signed(b"\xfe\xed\xfe\xed" + struct.pack(">II", 2, 1) + entry), PASSWORD)


@pytest.mark.parametrize("iterations", [0, jks.MAXIMUM_ITERATIONS + 1])
def test_a_key_may_not_take_for_ever(iterations: int) -> None:
    number = iterations.to_bytes(4)
    parameters = b"\x30\x10\x04\x08saltsalt\x02\x04" + number
    algorithm = b"\x06\x09" + bytes.fromhex("2b060104012a021301") + parameters
    info = b"\x30" + bytes([len(algorithm)]) + algorithm + b"\x04\x08" + bytes(8)
    entry = KeyEntry("k", (), b"\x30" + bytes([len(info)]) + info)
    with pytest.raises(KeystoreError, match=f"takes {iterations} digests"):
        entry.key(PASSWORD)


@pytest.mark.parametrize("data", KEYSTORES)
def test_no_part_of_a_file_is_taken_for_the_whole(data: bytes) -> None:
    for size in range(len(data)):
        with pytest.raises(KeystoreError):
            read(data[:size], PASSWORD)
    body = data[:-20]
    for size in range(4, len(body), 7):
        with pytest.raises(KeystoreError):
            read(signed(body[:size]), PASSWORD)


@given(st.sampled_from(KEYSTORES), st.integers(0, 4000), st.binary(min_size=1, max_size=8))
@settings(max_examples=200, deadline=None)
def test_one_change_is_found_by_the_digest(data: bytes, at: int, change: bytes) -> None:
    at %= len(data) - len(change)
    changed = data[:at] + change + data[at + len(change) :]
    if changed != data:
        with pytest.raises(KeystoreError):
            read(changed, PASSWORD)


@pytest.mark.filterwarnings("ignore")  # the library's about odd certificates
@given(st.integers(0, 4000), st.binary(min_size=1, max_size=8))
@settings(max_examples=300, deadline=None)
def test_hostile_content_under_a_right_digest(at: int, change: bytes) -> None:
    body = KEYSTORES[0][:-20]
    at %= len(body) - len(change)
    try:
        read_all(signed(body[:at] + change + body[at + len(change) :]))
    except KeystoreError:
        pass


@pytest.mark.filterwarnings("ignore")
def test_a_certificate_of_a_version_that_is_none() -> None:
    body = bytearray(KEYSTORES[0][:-20])
    body[187] = 1  # found by the test above: X.509 has version 1 (0) and 3 (2)
    with pytest.raises(KeystoreError, match="is damaged"):
        read_all(signed(bytes(body)))


@given(st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_hostile_bytes(data: bytes) -> None:
    for body in (data, b"\xfe\xed\xfe\xed\x00\x00\x00\x02" + data, b"\xce\xce\xce\xce" + data):
        for file in (body, signed(body)):
            try:
                read_all(file)
            except KeystoreError:
                pass
    try:
        KeyEntry("k", (), data).key(PASSWORD)
    except KeystoreError:
        pass
