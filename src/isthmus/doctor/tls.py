"""Whose certificate does the server show, is it believed, and does somebody on the way end the TLS?

Three things tell an interception: the issuer is not a public one although the system believes it (there is
no proof of publication in the certificate, RFC 6962); the gateway itself says that it shows another one; or
the key is not the one that `--pin` names. The last also holds against somebody who means harm.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from isthmus.doctor.conversation import Conversation, open_conversation
from isthmus.doctor.finding import Finding, Verdict
from isthmus.doctor.line import Line
from isthmus.errors import ConnectError
from isthmus.security.certificate import Certificate, covers, day

_SCT_LIST = "1.3.6.1.4.1.11129.2.4.2"
_EXPIRES_SOON = 14
NOT_YET_VALID = 9


@dataclass(frozen=True, slots=True)
class Shown:
    """One certificate of the chain. `key` and `fingerprint` are SHA-256 in hexadecimal; `published` says
    whether it holds proofs of its publication, as those of public issuers do.
    """

    certificate: Certificate
    key: str
    fingerprint: str
    published: bool


@dataclass(frozen=True, slots=True)
class Tls:
    """What two handshakes have shown: one that verifies, one that takes anything.

    `error` and `hint` say why the first did not go well; empty where it did. `by` says who is believed:
    "system", "truststore", or "nobody" (`--insecure`). `told` are the fingerprints that the gateway itself
    says it shows (None: it did not say), `told_version` its version of TLS. `pin` is what the key must be.
    """

    host: str
    chain: tuple[Shown, ...] = ()
    root: str = ""
    version: str = ""
    cipher: str = ""
    seconds: float = 0.0
    error: str = ""
    hint: str = ""
    code: int = 0
    """OpenSSL's reason for a certificate that is not taken, 0 for anything else."""
    by: str = "system"
    told: tuple[str, ...] | None = None
    told_version: str = ""
    pin: str = ""

    @property
    def pinned(self) -> bool | None:
        """Whether the key is the pinned one; None where no key is."""
        return bool(self.chain) and self.chain[0].key == self.pin if self.pin else None

    @property
    def other_than_told(self) -> bool:
        """Whether the gateway says that it shows another certificate than came here."""
        return bool(self.told) and bool(self.chain) and self.chain[0].fingerprint not in (self.told or ())

    def heard(self, told: Sequence[str], version: str | None) -> Tls:
        """Return this with what the gateway said of itself."""
        return replace(self, told=tuple(told), told_version=version or "")


def judge(tls: Tls, now: dt.datetime) -> Finding:
    facts = _facts(tls)

    def finding(verdict: Verdict, seen: str, advice: str = "") -> Finding:
        return Finding("tls", verdict, seen, advice, facts)

    if not tls.chain:
        return finding(Verdict.FAILED, tls.error or "the server shows no certificate", tls.hint)
    leaf = tls.chain[0].certificate
    agreed = " ".join(filter(None, [tls.version, tls.cipher]))
    whose = f"{leaf.subject} by {leaf.issuer}, until {day(leaf.not_after)}"
    if tls.pinned is False:
        seen = f"{whose}: its key is not the one of --pin; the TLS is intercepted, or the key was changed"
        advice = f"do not use it before its operator has confirmed the key sha256:{tls.chain[0].key[:16]}..."
        return finding(Verdict.FAILED, seen, advice)
    if tls.error:
        return finding(Verdict.FAILED, tls.error, _untrusted(tls, leaf, now))
    seen = f"{agreed}; {whose}"
    if tls.by == "nobody":
        return finding(
            Verdict.WARNING, f"{seen}; nothing was verified (--insecure)", "give its issuer with --truststore"
        )
    if tls.other_than_told:
        advice = (
            "whoever it is reads what crosses: fine for a balancer of the gateway's operator, else prefer "
            "protocols that encrypt by themselves"
        )
        return finding(Verdict.WARNING, f"{seen}; but the gateway shows another: TLS ends on the way", advice)
    if tls.pinned is None and not tls.told and tls.by == "system" and not tls.chain[0].published:
        advice = "compare its key with the gateway's: --pin says for certain; the full one is in --json"
        seen += (
            f"; its issuer is no public one ({tls.root or leaf.issuer}), but a root that was added to this"
        )
        return finding(Verdict.WARNING, f"{seen} machine, as boxes that intercept need it", advice)
    if leaf.days_left(now) < _EXPIRES_SOON:
        advice = f"the operator of {tls.host} must renew it"
        return finding(Verdict.WARNING, f"{seen}: it expires in {leaf.days_left(now)} days", advice)
    seen += _sure(tls)
    if tls.version == "TLSv1.2":
        same = tls.told_version == "TLSv1.2"
        why = "as the gateway says too" if same else "an old server, or a box on the way that cannot do 1.3"
        return finding(Verdict.NOTE, f"{seen}; TLS 1.2 only, {why}")
    return finding(Verdict.OK, seen)


def _sure(tls: Tls) -> str:
    if tls.pinned:
        return "; the key is the pinned one: not intercepted"
    if tls.told:
        return "; the gateway says that it is its own: not intercepted"
    if tls.by == "truststore":
        return "; issued by one of --truststore"
    return "; a public issuer: not intercepted" if tls.chain[0].published else ""


def _untrusted(tls: Tls, leaf: Certificate, now: dt.datetime) -> str:
    if tls.code == NOT_YET_VALID or leaf.not_before > now:
        return "see the clock below: certificates are not valid yet where it is behind"
    if leaf.not_after < now or not covers(leaf, tls.host):
        return tls.hint
    if tls.told is not None and tls.other_than_told:
        return (
            "the gateway shows another certificate: a box on the way intercepts TLS. If that may be so, "
            f"get the authority {leaf.issuer!r} as a PEM file, and name it with --truststore"
        )
    if tls.told:
        return (
            f"it is the gateway's own: get the certificate of {leaf.issuer!r} and name it with --truststore"
        )
    return (
        f"who is {leaf.issuer!r}? The gateway's own authority, or a box on the way that intercepts TLS: "
        "get its certificate from whoever runs it, and name it with --truststore"
    )


def _facts(tls: Tls) -> dict[str, object]:
    return {
        "version": tls.version,
        "cipher": tls.cipher,
        "seconds": round(tls.seconds, 4),
        "trusted": not tls.error and tls.by != "nobody",
        "trusted by": tls.by,
        "error": tls.error,
        "root": tls.root,
        "gateway says": None if tls.told is None else list(tls.told),
        "other than the gateway says": tls.other_than_told,
        "pinned": tls.pinned,
        "chain": [
            {
                "subject": each.certificate.subject,
                "issuer": each.certificate.issuer,
                "names": list(each.certificate.names),
                "not before": each.certificate.not_before.isoformat(),
                "not after": each.certificate.not_after.isoformat(),
                "fingerprint": each.fingerprint,
                "key": each.key,
                "published": each.published,
            }
            for each in tls.chain
        ],
    }


async def look(line: Line, pin: str, seconds: float) -> Tls:
    """Shake hands with and without verifying, and note whether the server can be trusted.

    Raises `ConnectError` where the server is not even reached.
    """
    by = "system" if line.security.truststore is None else "truststore"
    tls = Tls(line.server_name, by=by if line.verifies else "nobody", pin=pin)
    try:
        conversation = await open_conversation(line.secure(line.verifies), line.address, seconds)
    except ConnectError as error:
        line.trusted = False
        words = str(error).removeprefix(f"Unable to connect to {line.address}: ")
        code = error.__cause__.verify_code if isinstance(error.__cause__, ssl.SSLCertVerificationError) else 0
        tls = replace(tls, error=words, hint=error.hint, code=code)
        if not code:
            return tls
        conversation = await open_conversation(line.secure(False), line.address, seconds)
    tls = _agreed(tls, conversation)
    if tls.pinned is False:
        line.trusted = False
    return tls


def _agreed(tls: Tls, conversation: Conversation) -> Tls:
    spoken = conversation.transport.info("ssl_object")
    seconds = conversation.opened_after
    chain = tuple(_shown(der) for der in _chain(spoken, "get_unverified_chain"))
    verified = _chain(spoken, "get_verified_chain") if not tls.error else []
    root = Certificate.from_der(verified[-1]).subject if verified else ""
    cipher = spoken.cipher()
    conversation.close()
    return replace(
        tls,
        chain=chain,
        root=root,
        version=spoken.version() or "",
        cipher=cipher[0] if cipher else "",
        seconds=seconds,
    )


def _chain(spoken: Any, method: str) -> list[bytes]:
    """Return a chain as DER. The methods are public from Python 3.13 on."""
    ask = getattr(spoken, method, None) or getattr(spoken._sslobj, method, None)
    found = (ask() if ask is not None else None) or []
    return [
        each if isinstance(each, bytes) else ssl.PEM_cert_to_DER_cert(each.public_bytes()) for each in found
    ]


def _shown(der: bytes) -> Shown:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    parsed = x509.load_der_x509_certificate(der)
    key = parsed.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    published = any(each.oid.dotted_string == _SCT_LIST for each in parsed.extensions)
    return Shown(
        Certificate.of(parsed), hashlib.sha256(key).hexdigest(), hashlib.sha256(der).hexdigest(), published
    )
