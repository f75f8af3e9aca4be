"""The proofs of JOIN, RESUME and WELCOME (docs/span.md section 6): HMAC-SHA256 over both fresh nonces."""

from __future__ import annotations

import hashlib
import hmac

from isthmus.span.frames import Join


def client_proof(secret: bytes, request: Join, server_nonce: bytes) -> bytes:
    """Return the 32 bytes that prove a client knows the secret of the session."""
    return _proof(secret, b"span client", request, server_nonce)


def server_proof(secret: bytes, request: Join, server_nonce: bytes) -> bytes:
    """Return the 32 bytes that prove the same of the server that answers `request`."""
    return _proof(secret, b"span server", request, server_nonce)


def is_proof(expected: bytes, given: bytes) -> bool:
    """Return whether a proof is right, in a time that does not tell where it is wrong."""
    return hmac.compare_digest(expected, given)


def _proof(secret: bytes, label: bytes, request: Join, server_nonce: bytes) -> bytes:
    text = b"".join(
        (
            label,
            request.session,
            request.slot.to_bytes(1, "big"),
            request.epoch.to_bytes(4, "big"),
            request.nonce,
            server_nonce,
            request.fences,
        )
    )
    return hmac.new(secret, text, hashlib.sha256).digest()
