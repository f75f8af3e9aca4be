"""Who may be believed: certificates, keystores and truststores."""

from isthmus.security.certificate import Certificate, covers
from isthmus.security.failure import explain_failure, explain_handshake
from isthmus.security.keystore import client_context, describe, server_context, warnings

__all__ = [
    "Certificate",
    "client_context",
    "covers",
    "describe",
    "explain_failure",
    "explain_handshake",
    "server_context",
    "warnings",
]
