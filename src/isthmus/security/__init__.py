"""Who may be believed: certificates, keystores and truststores."""

from isthmus.security.certificate import Certificate, covers
from isthmus.security.contexts import (
    Certificates,
    ClientTls,
    ServerTls,
    Stores,
    client_context,
    server_context,
)
from isthmus.security.failure import explain_client, explain_failure, explain_handshake
from isthmus.security.keystore import describe, warnings

__all__ = [
    "Certificate",
    "Certificates",
    "ClientTls",
    "ServerTls",
    "Stores",
    "client_context",
    "covers",
    "describe",
    "explain_client",
    "explain_failure",
    "explain_handshake",
    "server_context",
    "warnings",
]
