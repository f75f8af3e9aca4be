"""Why TLS could not be agreed on, in words for people and with what to do next."""

from __future__ import annotations

import re
import ssl

from isthmus.errors import ConnectError
from isthmus.security.certificate import Certificate, minute, printable, utc_now
from isthmus.uri import Address

# Codes of X509_verify_cert (OpenSSL, x509_vfy.h).
_NOT_YET_VALID = 9
_EXPIRED = 10
_SELF_SIGNED = 18
_UNKNOWN_ISSUER = (2, 19, 20, 21)
_OTHER_NAME = (62, 64)
_TOO_WEAK = (66, 67, 68)

# By OpenSSL's reason, an alert's without its prefix: what to say of the other side.
_PREFIX = re.compile(r"^(SSLV3|TLSV1|TLSV13|SSL/TLS|TLS)_(ALERT_)?")
_REASONS: dict[str, tuple[str, str]] = {
    "WRONG_VERSION_NUMBER": (
        "{peer} does not speak TLS",
        "check scheme and port: it may be meant for ws, http or tcp",
    ),
    "HTTP_REQUEST": (
        "{peer} does not speak TLS but plain HTTP",
        "check scheme and port: it may be meant for wss or https",
    ),
    "PACKET_LENGTH_TOO_LONG": ("{peer} does not speak TLS", "check scheme and port"),
    "RECORD_LAYER_FAILURE": ("{peer} does not speak TLS", "check scheme and port"),
    "PROTOCOL_VERSION": (
        "{peer} and this gateway have no TLS version in common",
        "TLS 1.2 is the least; see ssl.protocols",
    ),
    "UNSUPPORTED_PROTOCOL": (
        "{peer} and this gateway have no TLS version in common",
        "TLS 1.2 is the least; see ssl.protocols",
    ),
    "VERSION_TOO_LOW": (
        "{peer} and this gateway have no TLS version in common",
        "TLS 1.2 is the least; see ssl.protocols",
    ),
    "NO_SHARED_CIPHER": (
        "{peer} and this gateway have no cipher suite in common",
        "see ssl.ciphers on both sides",
    ),
    "HANDSHAKE_FAILURE": (
        "{peer} refused every cipher suite and version offered",
        "see ssl.ciphers and ssl.protocols",
    ),
    "NO_PROTOCOLS_AVAILABLE": ("{peer} and this gateway have no TLS version in common", "see ssl.protocols"),
    "UNRECOGNIZED_NAME": ("{peer} has no certificate for this name", "check the host in the URI"),
    "CERTIFICATE_REQUIRED": (
        "{peer} asks for a client certificate",
        "put one that it believes, with its key, into security/keystore",
    ),
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": (
        "{peer} showed no certificate, and ssl.verify-client is required",
        "give it a certificate whose issuer is in security/truststore",
    ),
    "UNKNOWN_CA": (
        "{peer} does not trust the certificate of this gateway",
        "give it the issuer's certificate",
    ),
    "CERTIFICATE_UNKNOWN": ("{peer} does not accept the certificate of this gateway", "see: isthmus check"),
    "BAD_CERTIFICATE": ("{peer} does not accept the certificate of this gateway", "see: isthmus check"),
    "CERTIFICATE_EXPIRED": (
        "{peer} says that the certificate of this gateway has expired",
        "see: isthmus check",
    ),
    "DH_KEY_TOO_SMALL": ("{peer} uses a key that is too weak", "its operator must use stronger parameters"),
}


def explain_failure(error: BaseException, address: Address, certificate: bytes | None = None) -> ConnectError:
    """Return what to tell the user when TLS towards `address` failed with `error`, which is chained.

    `certificate` is what the server presented (DER), where that is known. `status` of the result is 504 for
    a `TimeoutError`, otherwise 502.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        reason, hint = _verification(error, address, _parsed(certificate))
    else:
        reason, hint = explain_handshake(error, "the server")
    status = 504 if isinstance(error, TimeoutError) else 502
    result = ConnectError(f"Unable to connect to {address}: {reason}", status=status, hint=hint)
    result.__cause__ = error
    return result


def explain_handshake(error: BaseException, peer: str) -> tuple[str, str]:
    """Return the reason and a hint, perhaps empty, for a handshake with `peer` that failed.

    What its certificate is to blame for is told by `explain_failure`.
    """
    if isinstance(error, TimeoutError):
        return (
            f"{peer} did not finish the TLS handshake in time",
            "check that it speaks TLS on this port and is not overloaded",
        )
    if isinstance(error, ssl.SSLError) and error.reason:
        reason = _PREFIX.sub("", error.reason)
        if reason == "UNEXPECTED_EOF_WHILE_READING":
            return _closed(peer)
        what, hint = _REASONS.get(reason, ("the TLS handshake with {peer} failed: " + printable(reason), ""))
        return what.format(peer=peer), hint
    if isinstance(error, ConnectionError | EOFError):
        return _closed(peer)
    return f"the TLS handshake with {peer} failed: {printable(str(error))}", ""


def explain_client(error: BaseException, peer: str) -> tuple[str, str]:
    """Return the reason and a hint, perhaps empty, for a handshake with a client, `peer`, that failed.

    Its certificate is not known: OpenSSL keeps none that was refused.
    """
    if not isinstance(error, ssl.SSLCertVerificationError):
        return explain_handshake(error, peer)
    its = f"the certificate of {peer}"
    if error.verify_code == _EXPIRED:
        return f"{its} has expired", "it must be renewed, unless this machine's clock is wrong"
    if error.verify_code == _NOT_YET_VALID:
        return f"{its} is not valid yet", "see whether this machine's clock is right"
    if error.verify_code == _SELF_SIGNED:
        return f"{its} is self-signed and not in the truststore", "if it is the right one, add it there"
    if error.verify_code in _UNKNOWN_ISSUER:
        return (
            f"{its} was issued by somebody who is not in the truststore",
            "if that issuer is to be believed, add its certificate there",
        )
    return f"{its} is not accepted: {printable(str(error.verify_message))}", ""


def _closed(peer: str) -> tuple[str, str]:
    return f"{peer} closed the connection during the TLS handshake", "check that it speaks TLS on this port"


def _parsed(certificate: bytes | None) -> Certificate | None:
    if certificate is None:
        return None
    try:
        return Certificate.from_der(certificate)
    except ValueError:
        return None  # the failure is told all the same, without the facts


def _verification(
    error: ssl.SSLCertVerificationError, address: Address, certificate: Certificate | None
) -> tuple[str, str]:
    now = utc_now()
    its = f"its certificate {certificate}" if certificate else "its certificate"
    operator = f"the operator of {address.host}"
    code = error.verify_code
    if code == _EXPIRED:
        clock = f"if it is {minute(now)} now, {operator} must renew it; otherwise set this machine's clock"
        if certificate and certificate.not_after > now:
            return f"{its} was issued by {certificate.issuer}, and a certificate above it has expired", clock
        return f"{its} has expired", clock
    if code == _NOT_YET_VALID:
        return (
            f"{its} is not valid yet",
            f"if it is {minute(now)} now, tell {operator}; otherwise set this machine's clock",
        )
    if code in _OTHER_NAME:
        names = "does not name"
        if certificate:
            some = ", ".join(certificate.names[:5]) + (", ..." if len(certificate.names) > 5 else "")
            names = f"is for {some}, not for" if some else "has no names, so it is not for"
        return (
            f"{its} {names} {address.host}",
            f"connect to a name it has, or {operator} must get one that names it",
        )
    if code == _SELF_SIGNED:
        return (
            f"{its} is self-signed and not in the truststore",
            "if it is the right one, put it into a PEM file and name that in security/truststore/file",
        )
    if code in _UNKNOWN_ISSUER:
        issuer = f" {certificate.issuer}" if certificate else ""
        return (
            f"{its} was issued by{issuer or ' somebody'}, whom this gateway does not trust",
            (
                "put the issuer's certificate into a PEM file and name that in security/truststore/file; "
                "it may be a proxy on the way that inspects TLS, or the server may not send its whole chain"
            ),
        )
    if code in _TOO_WEAK:
        return (
            f"{its}, or one above it, is too weak: {error.verify_message}",
            f"{operator} must get a stronger one",
        )
    return f"{its} is not accepted: {printable(str(error.verify_message))}", f"tell {operator}"
