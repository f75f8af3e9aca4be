"""proofs.py, against HMAC-SHA256 written out, and against the vectors."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import pytest
from tests.span.vectors import FRAMES, HANDSHAKE

from isthmus.span import frames
from isthmus.span.frames import Join
from isthmus.span.proofs import client_proof, is_proof, server_proof

SECRET = bytes(range(32))
REQUEST = Join(b"s" * 16, b"p" * 16, 3, 7, b"c" * 16, bytes(32), b"\1\2")


@pytest.mark.parametrize(("prove", "label"), [(client_proof, b"span client"), (server_proof, b"span server")])
def test_a_proof_is_an_hmac_over_both_nonces(prove: Any, label: bytes) -> None:
    text = label + b"s" * 16 + b"\3" + b"\0\0\0\7" + b"c" * 16 + b"n" * 16 + b"\1\2"
    assert prove(SECRET, REQUEST, b"n" * 16) == hmac.new(SECRET, text, hashlib.sha256).digest()


@pytest.mark.parametrize(
    "change",
    [{"session": bytes(16)}, {"slot": 4}, {"epoch": 8}, {"nonce": bytes(16)}, {"fences": b"\1"}],
    ids=str,
)
def test_every_part_is_proven(change: dict[str, Any]) -> None:
    proof = client_proof(SECRET, REQUEST, b"n" * 16)
    assert is_proof(proof, client_proof(SECRET, REQUEST, b"n" * 16))
    assert not is_proof(proof, client_proof(SECRET, REQUEST._replace(**change), b"n" * 16))
    assert not is_proof(proof, client_proof(SECRET, REQUEST, b"m" * 16))
    assert not is_proof(proof, client_proof(bytes(32), REQUEST, b"n" * 16))
    assert not is_proof(proof, server_proof(SECRET, REQUEST, b"n" * 16))


def test_the_vectors_are_proven() -> None:
    secret = bytes.fromhex(HANDSHAKE["secret"])
    nonces = [bytes.fromhex(nonce) for nonce in HANDSHAKE["server_nonces"]]
    for vector in FRAMES:
        if vector["type"] in (3, 4):
            request = frames.parse_join(bytes.fromhex(vector["bytes"])[8:])
            assert client_proof(secret, request, nonces[0]) == request.proof
    said = [bytes.fromhex(message["bytes"])[8:] for message in HANDSHAKE["resuming"]]
    request = frames.parse_join(said[1])
    assert client_proof(secret, request, nonces[1]) == request.proof
    assert server_proof(secret, request, nonces[1]) == said[2]
