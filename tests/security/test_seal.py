"""Keys of sealed carriers: made once, known by their pin, used by TLS."""

from __future__ import annotations

import ssl
import stat
from pathlib import Path

import pytest

from isthmus.errors import KeystoreError
from isthmus.security.seal import (
    certificate_of_file,
    client_context,
    make_key,
    pin_of,
    pin_of_file,
    server_context,
)


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Return both ends of a connection in memory after its handshake, and a byte of the server's."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    near = client.wrap_bio(down, up, server_hostname="span")
    far = server.wrap_bio(up, down, server_side=True)
    for _ in range(3):
        for end in (near, far):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    far.write(b"!")
    assert near.read(1) == b"!"
    return near, far


def test_a_key_is_made_once_and_is_the_owners_alone(tmp_path: Path) -> None:
    file = tmp_path / "seal.pem"
    pin = make_key(file)
    assert pin == pin_of_file(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with pytest.raises(KeystoreError, match="cannot be written"):
        make_key(file)
    assert pin_of_file(file) == pin
    assert make_key(tmp_path / "other.pem") != pin


def test_the_pin_is_that_of_the_key_that_tls_proves(tmp_path: Path) -> None:
    pin = make_key(tmp_path / "seal.pem")
    near, _ = shake_hands(server_context(tmp_path / "seal.pem"), client_context())
    shown = near.getpeercert(binary_form=True)
    assert shown is not None
    assert pin_of(shown) == pin
    assert near.version() == "TLSv1.3"


def test_the_pin_is_the_one_that_others_compute(tmp_path: Path) -> None:
    """The recipe of RFC 7469, appendix A, with other tools."""
    import base64
    import hashlib
    import subprocess

    pin = make_key(tmp_path / "seal.pem")
    command = ["openssl", "pkey", "-in", str(tmp_path / "seal.pem"), "-pubout", "-outform", "DER"]
    try:
        key = subprocess.run(command, check=True, capture_output=True).stdout
    except FileNotFoundError:
        pytest.skip("openssl is not here")
    assert pin == f"sha256/{base64.b64encode(hashlib.sha256(key).digest()).decode()}"


def test_clients_prove_a_key_of_those_that_may_come(tmp_path: Path) -> None:
    for name in ("server", "one", "two", "stranger"):
        make_key(tmp_path / f"{name}.pem")
    clients = tmp_path / "clients.pem"
    clients.write_text("".join(certificate_of_file(tmp_path / f"{name}.pem") for name in ("one", "two")))
    assert "PRIVATE" not in clients.read_text()
    server = server_context(tmp_path / "server.pem", clients)
    for name in ("one", "two"):
        shake_hands(server, client_context(tmp_path / f"{name}.pem"))
    for client in (client_context(tmp_path / "stranger.pem"), client_context()):
        with pytest.raises(ssl.SSLError):
            shake_hands(server, client)


def test_older_versions_of_tls_are_refused(tmp_path: Path) -> None:
    make_key(tmp_path / "seal.pem")
    old = client_context()
    old.minimum_version = ssl.TLSVersion.TLSv1_2
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError):
        shake_hands(server_context(tmp_path / "seal.pem"), old)


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.pem"
    with pytest.raises(KeystoreError, match="cannot be read") as missing:
        pin_of_file(wrong)
    assert "isthmus seal" in missing.value.hint
    wrong.write_text("nothing")
    for use in (pin_of_file, server_context, client_context, certificate_of_file):
        with pytest.raises(KeystoreError, match=r"wrong\.pem has no key"):
            use(wrong)
    make_key(tmp_path / "seal.pem")
    with pytest.raises(KeystoreError, match="no certificates"):
        server_context(tmp_path / "seal.pem", wrong)
