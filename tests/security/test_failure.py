"""Real handshakes that fail, and the texts that come of it, each word for word."""

from __future__ import annotations

import ssl
import tempfile

import pytest
from tests.security.issuing import DAY, NOW, Issued, issue

from isthmus import uri
from isthmus.errors import ConnectError
from isthmus.security import explain_client, explain_failure, explain_handshake
from isthmus.transports.tls_layer import presented_certificate

ADDRESS = uri.parse("wss://gw.example.com/ssh")
DATES = f"(valid {NOW - DAY:%Y-%m-%d} to {NOW + 365 * DAY:%Y-%m-%d})"


def failed_handshake(
    server: Issued, *trusted: Issued, chain: bytes = b""
) -> tuple[ssl.SSLError, bytes | None]:
    """Let a client that believes `trusted` meet `server`; return its error and what it was shown."""
    accept = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as file:
        file.write(server.pem + chain + server.key_pem())
        file.flush()
        accept.load_cert_chain(file.name)
    connect = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for each in trusted:
        connect.load_verify_locations(cadata=each.der)
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = connect.wrap_bio(to_client, to_server, server_hostname=ADDRESS.host)
    peer = accept.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        try:
            client.do_handshake()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            return error, presented_certificate(client)
        try:
            peer.do_handshake()
        except ssl.SSLWantReadError:
            pass
    raise AssertionError("the handshake succeeded")


@pytest.fixture(scope="module")
def authority() -> Issued:
    return issue("Authority", authority=True)


def explained(server: Issued, *trusted: Issued, chain: bytes = b"") -> tuple[str, str]:
    error, certificate = failed_handshake(server, *trusted, chain=chain)
    result = explain_failure(error, ADDRESS, certificate)
    assert isinstance(result, ConnectError)
    assert result.status == 502
    assert result.__cause__ is error
    assert "verify-server" not in result.hint
    reason = str(result).removeprefix("Unable to connect to wss://gw.example.com:443/ssh: ")
    assert reason != str(result)
    return reason, result.hint


def test_expired(authority: Issued) -> None:
    begin, end = NOW - 9 * DAY, NOW - DAY
    reason, hint = explained(issue("gw", "gw.example.com", issuer=authority, begin=begin, end=end), authority)
    assert reason == f"its certificate CN=gw (valid {begin:%Y-%m-%d} to {end:%Y-%m-%d}) has expired"
    assert hint.startswith("if it is ")
    assert hint.endswith(
        " now, the operator of gw.example.com must renew it; otherwise set this machine's clock"
    )


def test_an_expired_issuer() -> None:
    old = issue("Authority", authority=True, begin=NOW - 9 * DAY, end=NOW - DAY)
    reason, _ = explained(issue("gw", "gw.example.com", issuer=old), old)
    assert reason == (
        f"its certificate CN=gw {DATES} was issued by CN=Authority, and a certificate above it has expired"
    )


def test_not_yet_valid(authority: Issued) -> None:
    begin, end = NOW + DAY, NOW + 9 * DAY
    reason, hint = explained(issue("gw", "gw.example.com", issuer=authority, begin=begin, end=end), authority)
    assert reason == f"its certificate CN=gw (valid {begin:%Y-%m-%d} to {end:%Y-%m-%d}) is not valid yet"
    assert hint.endswith("tell the operator of gw.example.com; otherwise set this machine's clock")


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["a.example.com"], "is for a.example.com, not for"),
        (
            [f"{letter}.example.com" for letter in "abcdef"],
            "is for a.example.com, b.example.com, c.example.com, d.example.com, e.example.com, ..., not for",
        ),
        ([], "has no names, so it is not for"),
    ],
)
def test_another_name(authority: Issued, names: list[str], told: str) -> None:
    reason, hint = explained(issue("gw", *names, issuer=authority), authority)
    assert reason == f"its certificate CN=gw {DATES} {told} gw.example.com"
    assert hint == ("connect to a name it has, or the operator of gw.example.com must get one that names it")


def test_self_signed() -> None:
    reason, hint = explained(issue("gw", "gw.example.com"))
    assert reason == f"its certificate CN=gw {DATES} is self-signed and not in the truststore"
    assert hint == (
        "if it is the right one, put it into a PEM file and name that in security/truststore/file"
    )


@pytest.mark.parametrize("whole_chain", [False, True])
def test_an_unknown_issuer(authority: Issued, whole_chain: bool) -> None:
    server = issue("gw", "gw.example.com", issuer=authority)
    reason, hint = explained(server, issue("Other", authority=True), chain=authority.pem * whole_chain)
    assert reason == (
        f"its certificate CN=gw {DATES} was issued by CN=Authority, whom this gateway does not trust"
    )
    assert hint == (
        "put the issuer's certificate into a PEM file and name that in security/truststore/file; "
        "it may be a proxy on the way that inspects TLS, or the server may not send its whole chain"
    )


def test_another_failure_of_verification() -> None:
    error = ssl.SSLCertVerificationError()
    error.verify_code = 23
    error.verify_message = "certificate revoked"
    result = explain_failure(error, ADDRESS)
    assert str(result).endswith(": its certificate is not accepted: certificate revoked")


def test_a_certificate_that_cannot_be_read_is_told_without_facts() -> None:
    error = ssl.SSLCertVerificationError()
    error.verify_code = 10
    assert str(explain_failure(error, ADDRESS, b"junk")).endswith(": its certificate has expired")


def openssl(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}] something")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (openssl("WRONG_VERSION_NUMBER"), "the server does not speak TLS"),
        (openssl("HTTP_REQUEST"), "the server does not speak TLS but plain HTTP"),
        (
            openssl("TLSV1_ALERT_PROTOCOL_VERSION"),
            "the server and this gateway have no TLS version in common",
        ),
        (openssl("UNSUPPORTED_PROTOCOL"), "the server and this gateway have no TLS version in common"),
        (openssl("NO_SHARED_CIPHER"), "the server and this gateway have no cipher suite in common"),
        (
            openssl("SSLV3_ALERT_HANDSHAKE_FAILURE"),
            "the server refused every cipher suite and version offered",
        ),
        (
            openssl("SSL/TLS_ALERT_HANDSHAKE_FAILURE"),
            "the server refused every cipher suite and version offered",
        ),
        (openssl("TLSV1_ALERT_UNKNOWN_CA"), "the server does not trust the certificate of this gateway"),
        (openssl("TLSV1_UNRECOGNIZED_NAME"), "the server has no certificate for this name"),
        (openssl("TLSV13_ALERT_CERTIFICATE_REQUIRED"), "the server asks for a client certificate"),
        (
            openssl("UNEXPECTED_EOF_WHILE_READING"),
            "the server closed the connection during the TLS handshake",
        ),
        (openssl("SOMETHING_NEW"), "the TLS handshake with the server failed: SOMETHING_NEW"),
        (ConnectionResetError(), "the server closed the connection during the TLS handshake"),
        (EOFError(), "the server closed the connection during the TLS handshake"),
        (TimeoutError(), "the server did not finish the TLS handshake in time"),
        (ValueError("odd\nthing"), "the TLS handshake with the server failed: odd?thing"),
    ],
)
def test_a_handshake_that_fails_otherwise(error: Exception, reason: str) -> None:
    assert explain_handshake(error, "the server")[0] == reason


def test_a_timeout_is_told_as_504() -> None:
    assert explain_failure(TimeoutError(), ADDRESS).status == 504


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (10, "the certificate of the client c has expired"),
        (9, "the certificate of the client c is not valid yet"),
        (18, "the certificate of the client c is self-signed and not in the truststore"),
        (20, "the certificate of the client c was issued by somebody who is not in the truststore"),
        (26, "the certificate of the client c is not accepted: unsuitable?purpose"),
    ],
)
def test_a_client_s_certificate(code: int, text: str) -> None:
    error = ssl.SSLCertVerificationError(1, "x")
    error.verify_code, error.verify_message = code, "unsuitable\npurpose"
    assert explain_client(error, "the client c")[0] == text


def test_a_client_without_a_certificate() -> None:
    error = ssl.SSLError(1, "x")
    error.reason = "PEER_DID_NOT_RETURN_A_CERTIFICATE"
    assert explain_client(error, "the client c")[0] == (
        "the client c showed no certificate, and ssl.verify-client is required"
    )
