"""What follows its files, and who is shown what. The contexts themselves: see test_keystore.py."""

from __future__ import annotations

import logging
import ssl
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.security.issuing import Issued, issue, write
from tests.security.test_keystore import handshake

from isthmus.config.model import Keystore, Security
from isthmus.errors import KeystoreError
from isthmus.security import Certificates, ClientTls, ServerTls, Stores
from isthmus.security.contexts import LOOK_SECONDS


@dataclass
class Scene:
    """A folder with a keystore and a truststore, and a clock that stands still."""

    folder: Path
    authority: Issued = field(default_factory=lambda: issue("Authority", authority=True))
    now: float = 0.0

    def write(self, *names: str) -> list[Issued]:
        made = [issue(name, name, issuer=self.authority) for name in names]
        write(self.folder / "gw.pem", *(each.key_pem() + each.pem for each in made))
        return made

    def stores(self) -> Stores:
        write(self.folder / "trust.pem", self.authority.pem)
        security = Security(
            keystore=Keystore(file=Path("gw.pem")), truststore=Keystore(file=Path("trust.pem"))
        )
        return Stores(security, self.folder, clock=lambda: self.now)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def shown(server: ssl.SSLContext, name: str = "gw.example.com") -> bytes | None:
    """Return the certificate that a client gets to see."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    return handshake(server, client, name).getpeercert(binary_form=True)


# --- names


def test_the_name_chooses() -> None:
    contexts = [ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) for _ in range(3)]
    names = (("a.example.com",), ("*.example.com", "b.example.com"), ("b.example.com", "c.example.com"))
    certificates = Certificates(list(zip(names, contexts, strict=True)))
    expected = {
        None: 0,
        "a.example.com": 0,
        "A.Example.com.": 0,
        "b.example.com": 1,
        "c.example.com": 2,
        "d.example.com": 1,
        "x.d.example.com": 0,
        "example.com": 0,
        "": 0,
        "com": 0,
    }
    assert {name: contexts.index(certificates.named(name)) for name in expected} == expected
    assert certificates.several
    assert not Certificates([((), contexts[0])]).several


def test_each_key_has_its_context(scene: Scene) -> None:
    one, two = scene.write("gw.example.com", "other.example.com")
    certificates = ServerTls(scene.stores()).current()
    assert shown(certificates.named("gw.example.com")) == one.der
    assert shown(certificates.named("other.example.com")) == two.der
    assert shown(certificates.named("nobody.example.com")) == one.der


# --- changes on disk


def test_a_changed_file_is_taken_up_by_accepts_and_connects(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    (old,) = scene.write("gw.example.com")
    stores = scene.stores()
    server, client = ServerTls(stores), ClientTls(stores)
    before = (server.current(), client.current())
    (new,) = scene.write("gw.example.com")
    assert (server.current(), client.current()) == before  # not looked at yet
    scene.now += LOOK_SECONDS
    assert shown(server.current().first) == new.der != old.der
    assert client.current() is not before[1]
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert "taken up: CN=gw.example.com (valid " in caplog.text
    after = (server.current(), client.current())
    scene.now += 10 * LOOK_SECONDS
    assert (server.current(), client.current()) == after
    assert len(caplog.records) == 1


def test_a_bad_file_leaves_the_old_one_in_use_and_is_told_once(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    (old,) = scene.write("gw.example.com")
    server, other = (ServerTls(stores := scene.stores()), ServerTls(stores))
    for content in (b"half of a", b""):
        caplog.clear()
        write(scene.folder / "gw.pem", content)
        for _ in range(3):
            scene.now += LOOK_SECONDS
            assert shown(server.current().first) == shown(other.current().first) == old.der
        (record,) = caplog.records
        assert record.levelname == "ERROR"
        assert "the certificates read before stay in use" in record.message
    (scene.folder / "gw.pem").unlink()
    scene.now += LOOK_SECONDS
    assert shown(server.current().first) == old.der
    (new,) = scene.write("gw.example.com")
    scene.now += LOOK_SECONDS
    assert shown(server.current().first) == new.der


def test_a_key_that_cannot_be_used_is_found_when_it_is_read(scene: Scene) -> None:
    from cryptography.hazmat.primitives.asymmetric import rsa

    weak = issue("gw", key=rsa.generate_private_key(65537, 1024))
    write(scene.folder / "gw.pem", weak.pem, weak.key_pem())
    with pytest.raises(KeystoreError, match="EE_KEY_TOO_SMALL"):
        scene.stores()


def test_files_are_looked_at_no_more_often_than_said(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.write("gw.example.com")
    server = ServerTls(scene.stores())
    looks: list[Path] = []
    original = Path.stat

    def stat(path: Path, **options: bool) -> object:
        looks.append(path)
        return original(path, **options)

    monkeypatch.setattr(Path, "stat", stat)
    for _ in range(100):
        server.current()
    assert looks == []
    scene.now += LOOK_SECONDS
    for _ in range(100):
        server.current()
    assert len(looks) == 2  # the keystore and the truststore


# --- clients


def test_clients_are_verified_by_the_truststore(scene: Scene) -> None:
    scene.write("gw.example.com")
    stores = scene.stores()
    server = ServerTls(stores, None, "required").current().first
    assert server.verify_mode is ssl.CERT_REQUIRED
    end = handshake(server, ClientTls(stores).current(), "gw.example.com")  # which shows the keystore's
    assert end.version() is not None
    stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    stranger.check_hostname = False
    stranger.verify_mode = ssl.CERT_NONE
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        handshake(server, stranger, "gw.example.com")
    optional = ServerTls(stores, None, "optional").current().first
    handshake(optional, stranger, "gw.example.com")
    other = issue("stranger")
    write(scene.folder / "stranger.pem", other.pem, other.key_pem())
    stranger.load_cert_chain(scene.folder / "stranger.pem")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(optional, stranger, "gw.example.com")
    handshake(ServerTls(stores).current().first, stranger, "gw.example.com")


def test_a_certificate_is_not_shown_to_everybody(scene: Scene) -> None:
    """A server that a redirect leads to is not to know who we are."""
    scene.write("gw.example.com")
    stores = scene.stores()
    server = ServerTls(stores, None, "required").current().first
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        handshake(server, ClientTls(stores, show=False).current(), "gw.example.com")


def test_clients_cannot_be_verified_without_a_truststore(scene: Scene) -> None:
    scene.write("gw.example.com")
    stores = Stores(Security(keystore=Keystore(file=Path("gw.pem"))), scene.folder)
    with pytest.raises(KeystoreError, match=r"ssl\.verify-client is optional, and there is no truststore"):
        ServerTls(stores, None, "optional")
