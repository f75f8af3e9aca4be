from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from tests.security.issuing import DAY, NOW, Issued, issue, write

from isthmus.config.model import Keystore, Security, TlsOptions
from isthmus.errors import KeystoreError
from isthmus.security import client_context, describe, server_context, warnings
from isthmus.security.keystore import Store

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="module")
def authority() -> Issued:
    return issue("Authority", authority=True)


@pytest.fixture(scope="module")
def gateway(authority: Issued) -> Issued:
    return issue("gw", "gw.example.com", issuer=authority)


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> ssl.SSLObject:
    """Let both contexts agree on TLS in memory; returns the client's end."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(to_client, to_server, server_hostname=name),
        server.wrap_bio(to_server, to_client, server_side=True),
    )
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                pass
    assert ends[0].version() is not None
    return ends[0]


def trusting(authority: Issued, folder: Path, **options: tuple[str, ...]) -> ssl.SSLContext:
    write(folder / "trust.pem", authority.pem)
    security = Security(truststore=Keystore(file=Path("trust.pem")))
    return client_context(security, folder, options=TlsOptions(**options))


# --- what works


def test_chain_and_key_in_one_file(tmp_path: Path, authority: Issued, gateway: Issued) -> None:
    write(tmp_path / "gw.pem", b"a comment\n", gateway.key_pem(), gateway.pem, authority.pem)
    server = server_context(Keystore(file=Path("gw.pem")), tmp_path)
    end = handshake(server, trusting(authority, tmp_path), "gw.example.com")
    assert end.getpeercert(binary_form=True) == gateway.der


def test_our_certificate_is_shown_wherever_it_stands_in_the_file(
    tmp_path: Path, authority: Issued, gateway: Issued
) -> None:
    write(tmp_path / "gw.pem", authority.pem, gateway.pem, gateway.key_pem())
    keystore = Keystore(file=Path("gw.pem"))
    end = handshake(server_context(keystore, tmp_path), trusting(authority, tmp_path), "gw.example.com")
    assert end.getpeercert(binary_form=True) == gateway.der
    assert [certificate.subject for certificate in describe(keystore, tmp_path)] == ["CN=gw", "CN=Authority"]


@pytest.mark.parametrize("traditional", [False, True])
@pytest.mark.parametrize("line_end", [b"", b"\n", b"\r\nmore"])
def test_an_encrypted_key_in_its_own_file(
    tmp_path: Path, authority: Issued, gateway: Issued, traditional: bool, line_end: bytes
) -> None:
    write(tmp_path / "gw.pem", gateway.pem)
    write(tmp_path / "gw.key", gateway.key_pem(b"two words", traditional=traditional))
    write(tmp_path / "password", b"two words", line_end)
    keystore = Keystore(file=Path("gw.pem"), key_file=Path("gw.key"), password_file=Path("password"))
    handshake(server_context(keystore, tmp_path), trusting(authority, tmp_path), "gw.example.com")


@pytest.mark.parametrize("password", [None, b"secret"])
def test_pkcs12(tmp_path: Path, authority: Issued, gateway: Issued, password: bytes | None) -> None:
    write(tmp_path / "gw.p12", gateway.pkcs12(password))
    write(tmp_path / "password", password or b"unused")
    keystore = Keystore(
        type="PKCS12", file=Path("gw.p12"), password_file=Path("password") if password else None
    )
    handshake(server_context(keystore, tmp_path), trusting(authority, tmp_path), "gw.example.com")
    assert [certificate.subject for certificate in describe(keystore, tmp_path)] == ["CN=gw", "CN=Authority"]


def test_a_password_that_is_not_needed_is_no_error(tmp_path: Path, gateway: Issued) -> None:
    write(tmp_path / "gw.pem", gateway.pem, gateway.key_pem())
    write(tmp_path / "password", b"secret")
    server_context(Keystore(file=Path("gw.pem"), password_file=Path("password")), tmp_path)


def test_loading_leaves_no_file_and_no_descriptor_behind(tmp_path: Path, gateway: Issued) -> None:
    write(tmp_path / "gw.pem", gateway.pem, gateway.key_pem())
    before = len(os.listdir("/proc/self/fd"))
    server_context(Keystore(file=Path("gw.pem")), tmp_path)
    assert len(os.listdir("/proc/self/fd")) == before
    assert os.listdir(tmp_path) == ["gw.pem"]


def test_a_pkcs12_truststore(tmp_path: Path, authority: Issued, gateway: Issued) -> None:
    write(tmp_path / "gw.pem", gateway.pem, gateway.key_pem())
    write(tmp_path / "trust.p12", authority.pkcs12(b"changeit"))
    write(tmp_path / "password", b"changeit")
    trust = Keystore(type="PKCS12", file=Path("trust.p12"), password_file=Path("password"))
    client = client_context(Security(truststore=trust), tmp_path)
    handshake(server_context(Keystore(file=Path("gw.pem")), tmp_path), client, "gw.example.com")


def test_a_truststore_may_hold_the_server_s_own_certificate(tmp_path: Path, gateway: Issued) -> None:
    write(tmp_path / "gw.pem", gateway.pem, gateway.key_pem())
    server = server_context(Keystore(file=Path("gw.pem")), tmp_path)
    handshake(server, trusting(gateway, tmp_path), "gw.example.com")


def test_a_truststore_replaces_the_system_s_list(tmp_path: Path, authority: Issued) -> None:
    assert len(trusting(authority, tmp_path).get_ca_certs()) == 1


# --- what is safe by default


def test_a_connect_verifies_unless_it_is_told_not_to(tmp_path: Path, gateway: Issued) -> None:
    write(tmp_path / "gw.pem", gateway.pem, gateway.key_pem())
    server = server_context(Keystore(file=Path("gw.pem")), tmp_path)
    careful = client_context(Security(), tmp_path)
    assert (careful.verify_mode, careful.check_hostname) == (ssl.CERT_REQUIRED, True)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server, careful, "gw.example.com")
    handshake(server, client_context(Security(), tmp_path, verify=False), "gw.example.com")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1")
def test_what_is_older_than_tls_1_2_is_refused(
    tmp_path: Path, gateway: Issued, version: ssl.TLSVersion
) -> None:
    write(tmp_path / "gw.pem", gateway.pem, gateway.key_pem())
    server = server_context(Keystore(file=Path("gw.pem")), tmp_path)
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname = False
    old.verify_mode = ssl.CERT_NONE
    old.minimum_version = old.maximum_version = version
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError, match=r"UNSUPPORTED_PROTOCOL|PROTOCOL_VERSION"):
        handshake(server, old, "gw.example.com")


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_one_protocol_may_be_chosen(tmp_path: Path, authority: Issued, gateway: Issued, version: str) -> None:
    write(tmp_path / "gw.pem", gateway.pem, gateway.key_pem())
    options = TlsOptions(protocols=(version,))
    server = server_context(Keystore(file=Path("gw.pem")), tmp_path, options=options)
    assert handshake(server, trusting(authority, tmp_path), "gw.example.com").version() == version


def test_a_cipher_of_tls_1_2_may_be_chosen(tmp_path: Path, authority: Issued, gateway: Issued) -> None:
    write(tmp_path / "gw.pem", gateway.pem, gateway.key_pem())
    name = "ECDHE-ECDSA-AES128-GCM-SHA256"
    server = server_context(
        Keystore(file=Path("gw.pem")), tmp_path, options=TlsOptions(ciphers=(name,), protocols=("TLSv1.2",))
    )
    cipher = handshake(server, trusting(authority, tmp_path), "gw.example.com").cipher()
    assert cipher is not None
    assert cipher[0] == name


def test_neither_compression_nor_renegotiation(tmp_path: Path) -> None:
    options = client_context(Security(), tmp_path).options
    assert options & ssl.OP_NO_COMPRESSION
    assert options & ssl.OP_NO_RENEGOTIATION


def test_application_protocols_are_offered(tmp_path: Path, authority: Issued, gateway: Issued) -> None:
    write(tmp_path / "gw.pem", gateway.pem, gateway.key_pem())
    server = server_context(Keystore(file=Path("gw.pem")), tmp_path, alpn=["http/1.1"])
    write(tmp_path / "trust.pem", authority.pem)
    trust = Security(truststore=Keystore(file=Path("trust.pem")))
    client = client_context(trust, tmp_path, alpn=["h2", "http/1.1"])
    assert handshake(server, client, "gw.example.com").selected_alpn_protocol() == "http/1.1"


# --- what is wrong is said: which file, what, and what to do


def refused(keystore: Keystore, folder: Path) -> tuple[str, str]:
    with pytest.raises(KeystoreError) as raised:
        server_context(keystore, folder)
    text = str(raised.value)
    assert "\n" not in text
    return text.replace(f"{folder}/", ""), raised.value.hint.replace(f"{folder}/", "")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    text, hint = refused(Keystore(file=Path("gw.pem")), tmp_path)
    assert text == "keystore gw.pem: there is no such file"
    assert hint == f"a relative path begins at the configuration file's folder, {tmp_path}"


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    text, hint = refused(Keystore(file=Path("gw.pem")), tmp_path)
    assert text == "keystore gw.pem: permission denied"
    assert hint == f"give user {os.geteuid()}, whom the gateway runs as, the right to read it"


def test_a_folder_instead_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "gw.pem").mkdir()
    text, _ = refused(Keystore(file=Path("gw.pem")), tmp_path)
    assert text == "keystore gw.pem: it cannot be read: Is a directory"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b" \n", "it is empty"),
        (b"hello", "it is not PEM: it has no -----BEGIN line"),
        (b"\x30\x82\x01\x01", "it is not PEM but binary"),
        (b"\xfe\xed\xfe\xed\x00", "it is a Java keystore (JKS), not PEM"),
        (b"\xce\xce\xce\xce\x00", "it is a Java keystore (JCEKS), not PEM"),
        (b"x" * (4 * 1024 * 1024 + 1), "it is larger than 4 MiB; is it the right file?"),
        (
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "certificate 1 in it is damaged",
        ),
    ],
)
def test_a_file_that_is_not_pem(tmp_path: Path, content: bytes, problem: str) -> None:
    write(tmp_path / "gw.pem", content)
    assert refused(Keystore(file=Path("gw.pem")), tmp_path)[0] == f"keystore gw.pem: {problem}"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"hello", "it is not PKCS12, or it is damaged"),
        (b"-----BEGIN CERTIFICATE-----", "it is PEM, not PKCS12"),
        (b"\xfe\xed\xfe\xed\x00", "it needs a password"),
    ],
)
def test_a_file_that_is_not_pkcs12(tmp_path: Path, content: bytes, problem: str) -> None:
    write(tmp_path / "gw.p12", content)
    text, hint = refused(Keystore(type="PKCS12", file=Path("gw.p12")), tmp_path)
    assert text == f"keystore gw.p12: {problem}"
    assert hint


def test_a_java_keystore_that_is_called_pem(tmp_path: Path) -> None:
    write(tmp_path / "keystore.jceks", b"\xce\xce\xce\xce\x00")
    assert refused(Keystore(file=Path("keystore.jceks")), tmp_path)[1] == "write <type>JCEKS</type>"


# --- what keytool made: see data/README.md


def java(name: str, folder: Path, **passwords: str) -> Keystore:
    """Return a keystore of `data`; `password_file="changeit"` makes such a file with this in it."""
    files = {key: write(folder / key, secret.encode()) for key, secret in passwords.items()}
    return Keystore.model_validate({"type": "JKS", "file": DATA / name, **files})


@pytest.mark.parametrize("name", ["several.jks", "several.jceks"])
def test_all_keys_of_a_java_keystore(tmp_path: Path, name: str) -> None:
    keystore = java(name, tmp_path, password_file="changeit")
    apps, gw = Store("keystore", keystore, tmp_path).identities()
    assert (apps.certificate.names, gw.certificate.names) == (
        ("*.apps.example.com",),
        ("gw.example.com", "127.0.0.1"),
    )
    assert [len(apps.chain), len(gw.chain)] == [1, 2]
    assert isinstance(apps.key, ec.EllipticCurvePrivateKey)
    assert isinstance(gw.key, rsa.RSAPrivateKey)
    described = describe(keystore, tmp_path)
    assert [each.subject for each in described] == ["CN=apps", "CN=gw.example.com", "CN=Authority"]


@pytest.mark.parametrize("end", ["jks", "jceks"])
def test_a_java_keystore_serves_what_a_java_truststore_believes(tmp_path: Path, end: str) -> None:
    trust = Security(truststore=java(f"trust.{end}", tmp_path, password_file="changeit"))
    served = java(f"keypass.{end}", tmp_path, password_file="changeit", key_password_file="different")
    end_of_client = handshake(
        server_context(served, tmp_path), client_context(trust, tmp_path), "gw.example.com"
    )
    certificate = end_of_client.getpeercert()
    assert certificate is not None
    assert ("DNS", "gw.example.com") in certificate["subjectAltName"]


@pytest.mark.parametrize("end", ["jks", "jceks"])
def test_passwords_of_java_keystores(tmp_path: Path, end: str) -> None:
    def text(**passwords: str) -> str:
        return refused(java(f"keypass.{end}", tmp_path, **passwords), tmp_path)[0].replace(f"{DATA}/", "")

    assert text() == f"keystore keypass.{end}: it needs a password"
    assert text(password_file="guess") == f"keystore keypass.{end}: the password in password_file is wrong"
    assert text(password_file="changeit") == (
        f"keystore keypass.{end}: the password of the key gw is another one; it is not that of the keystore"
    )
    assert text(password_file="changeit", key_password_file="guess") == (
        f"keystore keypass.{end}: the password of the key gw is another one than the one in key_password_file"
    )


def test_what_a_java_keystore_may_not_be(tmp_path: Path) -> None:
    text, hint = refused(java("secret.jceks", tmp_path, password_file="changeit"), tmp_path)
    assert text.endswith("secret.jceks: its entry aes is a secret key, which only Java programs can read")
    assert hint.endswith("keytool -delete -alias aes")
    text, _ = refused(java("trust.jks", tmp_path, password_file="changeit"), tmp_path)
    assert text.endswith("trust.jks: it holds no private key")


def test_pkcs12_with_several_keys_is_refused_with_the_way_out(tmp_path: Path) -> None:
    """The library reads one of them only: the others would be gone in silence."""
    text, hint = refused(java("several.p12", tmp_path, password_file="changeit"), tmp_path)
    assert text.endswith("several.p12: it is PKCS12 with 2 private keys, and isthmus reads one from PKCS12")
    assert "-destkeystore several.jks -deststoretype JKS" in hint


def test_several_keys_in_one_pem_file(tmp_path: Path, authority: Issued, gateway: Issued) -> None:
    other = issue("other", "other.example.com")
    write(tmp_path / "gw.pem", other.key_pem(), gateway.key_pem(), gateway.pem, other.pem, authority.pem)
    first, second = Store("keystore", Keystore(file=Path("gw.pem")), tmp_path).identities()
    assert first.chain == (other.certificate,)
    assert second.chain == (gateway.certificate, authority.certificate)
    write(tmp_path / "gw.pem", other.key_pem(), gateway.key_pem(), gateway.pem)
    assert refused(Keystore(file=Path("gw.pem")), tmp_path)[0] == (
        "keystore gw.pem: it holds a private key that belongs to none of its certificates"
    )


def test_passwords(tmp_path: Path, gateway: Issued) -> None:
    write(tmp_path / "gw.pem", gateway.pem, gateway.key_pem(b"secret"))
    write(tmp_path / "gw.p12", gateway.pkcs12(b"secret"))
    write(tmp_path / "wrong", b"guess")
    pem, wrong = Path("gw.pem"), Path("wrong")
    p12 = Keystore(type="PKCS12", file=Path("gw.p12"))
    assert (
        refused(Keystore(file=pem), tmp_path)[0] == "keystore gw.pem: the private key in gw.pem is encrypted"
    )
    assert refused(Keystore(file=pem, password_file=wrong), tmp_path)[0] == (
        "keystore gw.pem: the password in wrong is wrong"
    )
    assert refused(p12, tmp_path)[0] == "keystore gw.p12: it needs a password"
    assert refused(p12.model_copy(update={"password_file": wrong}), tmp_path)[0] == (
        "keystore gw.p12: the password in wrong is wrong"
    )
    assert refused(Keystore(file=pem, password_file=Path("none")), tmp_path)[0] == (
        "password file none: there is no such file"
    )


def test_a_secret_never_comes_out(tmp_path: Path, gateway: Issued) -> None:
    write(tmp_path / "gw.pem", gateway.pem, gateway.key_pem(b"secret"))
    write(tmp_path / "password", b"hunter2")
    keystore = Keystore(file=Path("gw.pem"), password_file=Path("password"))
    assert "hunter2" not in " ".join(refused(keystore, tmp_path))


def test_the_key_is_missing_or_damaged(tmp_path: Path, gateway: Issued) -> None:
    keystore = Keystore(file=Path("gw.pem"))
    write(tmp_path / "gw.pem", gateway.pem)
    assert refused(keystore, tmp_path)[0] == "keystore gw.pem: it holds no private key"
    write(tmp_path / "gw.pem", gateway.pem, b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    assert refused(keystore, tmp_path)[0] == "keystore gw.pem: the private key in gw.pem is damaged"
    write(tmp_path / "gw.key", gateway.pem)
    write(tmp_path / "gw.pem", gateway.pem)
    other = Keystore(file=Path("gw.pem"), key_file=Path("gw.key"))
    assert refused(other, tmp_path)[0] == "keystore gw.pem: gw.key holds no private key"


def test_no_certificate(tmp_path: Path, gateway: Issued) -> None:
    write(tmp_path / "gw.pem", gateway.key_pem())
    assert refused(Keystore(file=Path("gw.pem")), tmp_path)[0] == "keystore gw.pem: it holds no certificate"


def test_a_key_that_belongs_to_another_certificate(tmp_path: Path, gateway: Issued) -> None:
    write(tmp_path / "gw.pem", gateway.pem)
    write(tmp_path / "gw.key", issue("other").key_pem())
    text, hint = refused(Keystore(file=Path("gw.pem"), key_file=Path("gw.key")), tmp_path)
    assert text == (
        "keystore gw.pem: the private key in gw.key does not belong to the certificate "
        f"CN=gw (valid {NOW - DAY:%Y-%m-%d} to {NOW + 365 * DAY:%Y-%m-%d})"
    )
    assert hint == "give the key that the certificate was requested with, or request a new certificate"


def test_a_key_that_is_too_weak(tmp_path: Path) -> None:
    weak = issue("gw", key=rsa.generate_private_key(65537, 1024))
    write(tmp_path / "gw.pem", weak.pem, weak.key_pem())
    text, hint = refused(Keystore(file=Path("gw.pem")), tmp_path)
    assert text.startswith("keystore gw.pem: the certificate CN=gw (valid ")
    assert text.endswith(") cannot be used: EE_KEY_TOO_SMALL")
    assert "2048 bits" in hint


def test_an_empty_truststore(tmp_path: Path, gateway: Issued) -> None:
    write(tmp_path / "trust.pem", gateway.key_pem())
    with pytest.raises(KeystoreError) as raised:
        client_context(Security(truststore=Keystore(file=Path("trust.pem"))), tmp_path)
    assert str(raised.value) == f"truststore {tmp_path}/trust.pem: it holds no certificate"
    assert raised.value.hint


# --- what should be looked at


def warned(folder: Path, issued: Issued, mode: int = 0o600) -> list[str]:
    write(folder / "gw.pem", issued.pem, issued.key_pem(), mode=mode)
    keystore = Keystore(file=Path("gw.pem"))
    server_context(keystore, folder)
    return [line.replace(f"{folder}/", "") for line in warnings(keystore, folder, NOW)]


def test_a_certificate_in_good_order_is_not_warned_about(tmp_path: Path) -> None:
    assert warned(tmp_path, issue("gw")) == []


def test_an_expired_certificate_is_warned_about_and_can_be_used(tmp_path: Path) -> None:
    end = NOW - DAY
    assert warned(tmp_path, issue("gw", begin=NOW - 9 * DAY, end=end)) == [
        (
            f"gw.pem: the certificate CN=gw expired on {end:%Y-%m-%d %H:%M} UTC; "
            "no client that verifies it connects"
        )
    ]


def test_a_certificate_of_the_future_is_warned_about(tmp_path: Path) -> None:
    begin = NOW + DAY
    assert warned(tmp_path, issue("gw", begin=begin)) == [
        (
            f"gw.pem: the certificate CN=gw is not valid before {begin:%Y-%m-%d %H:%M} UTC; "
            f"no client that verifies it connects until then; "
            f"is this machine's clock right ({NOW:%Y-%m-%d %H:%M} UTC)?"
        )
    ]


def test_a_certificate_that_expires_soon_is_warned_about(tmp_path: Path) -> None:
    end = NOW + 20 * DAY
    assert warned(tmp_path, issue("gw", end=end)) == [
        f"gw.pem: the certificate CN=gw expires on {end:%Y-%m-%d %H:%M} UTC, in 20 days: renew it"
    ]
    assert warned(tmp_path, issue("gw", end=NOW + 21 * DAY)) == []


@pytest.mark.parametrize(("mode", "count"), [(0o600, 0), (0o640, 0), (0o644, 1), (0o620, 1)])
def test_a_key_that_others_may_read_is_warned_about(tmp_path: Path, mode: int, count: int) -> None:
    expected = "gw.pem holds a secret and other users may read or change it: chmod 600 gw.pem"
    assert warned(tmp_path, issue("gw"), mode) == [expected] * count


def test_a_password_that_others_may_read_is_warned_about(tmp_path: Path, gateway: Issued) -> None:
    write(tmp_path / "gw.p12", gateway.pkcs12(b"secret"), mode=0o644)
    write(tmp_path / "password", b"secret", mode=0o644)
    keystore = Keystore(type="PKCS12", file=Path("gw.p12"), password_file=Path("password"))
    assert warnings(keystore, tmp_path) == (
        (
            f"{tmp_path}/password holds a secret and other users may read or change it: "
            f"chmod 600 {tmp_path}/password"
        ),
    )
