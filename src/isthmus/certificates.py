"""What `isthmus check` says of certificates: each with its names, issuer, dates and days left, and what is
wrong with them.

Unlike `config.explain`, this reads the files.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Literal

from isthmus.config import Loaded
from isthmus.config.explain import CertificateRow, Level, Note
from isthmus.config.model import Keystore, Security
from isthmus.errors import KeystoreError, Problem
from isthmus.security import Stores, keystore
from isthmus.security.certificate import Certificate, covers, day, utc_now

_EVERY_HOST = ("0.0.0.0", "::")


def examine(loaded: Loaded, now: dt.datetime | None = None) -> tuple[list[CertificateRow], list[Note]]:
    """Return the certificates of keystore and truststore, and what to know of them before a start.

    Never raises: a file that cannot be used is an error among the notes.
    """
    examination = _Examination(loaded, now or utc_now())
    security = loaded.config.security
    if security.keystore is not None:
        examination.store("keystore", security.keystore)
    if security.truststore is not None:
        examination.store("truststore", security.truststore)
    else:
        examination.unverifiable()
    return examination.rows, examination.notes


class _Examination:
    def __init__(self, loaded: Loaded, now: dt.datetime) -> None:
        self.rows: list[CertificateRow] = []
        self.notes: list[Note] = []
        self._loaded = loaded
        self._now = now

    def store(self, role: Literal["keystore", "truststore"], stored: Keystore) -> None:
        """List one store."""
        line, element = self._loaded.line("security", role, "file"), f"security/{role}"
        folder = self._loaded.directory
        try:
            found = keystore.describe(stored, folder, role=role)
            if role == "keystore":  # keys as well: what a start would refuse is found here
                Stores(Security(keystore=stored), folder)
            warnings = keystore.warnings(stored, folder, self._now, role=role)
        except KeystoreError as error:
            if not isinstance(error.__cause__, OSError):  # `config.explain` has told of those
                self._note("ERROR", line, element, str(error), error.hint)
            return
        self.rows += [_row(role, certificate, self._now) for certificate in found]
        for warning in warnings:
            self._note("WARN", line, element, warning)
        if role == "keystore":
            self._uncovered(found)

    def unverifiable(self) -> None:
        """Are clients to be verified, and there is nothing to do it by?"""
        for index, service in enumerate(self._loaded.config.services):
            wanted = service.accept_options.verify_client
            if wanted != "none" and any(accept.kind.secure for accept in service.accepts):
                name = "ssl.verify-client"
                line = self._loaded.line("service", index, "accept-options", name)
                what = f"{name} is {wanted}, and there is no truststore to verify clients by"
                allowed = "a security/truststore with the certificates of those who issue your clients'"
                self._note("ERROR", line, f"service/accept-options/{name}", what, allowed)

    def _uncovered(self, found: Sequence[Certificate]) -> None:
        """Which accepts have a host that no certificate is for?"""
        for index, service in enumerate(self._loaded.config.services):
            for place, accept in enumerate(service.accepts):
                if not accept.kind.secure or accept.host in _EVERY_HOST:
                    continue
                if not any(covers(certificate, accept.host) for certificate in found):
                    line = self._loaded.line("service", index, "accept", place)
                    what = f"no certificate of the keystore is for {accept.host}: "
                    what += f"no client will believe {accept}"
                    allowed = "a certificate that names this host, or an accept that it names"
                    self._note("WARN", line, "service/accept", what, allowed)

    def _note(self, level: Level, line: int, element: str, what: str, allowed: str = "") -> None:
        self.notes.append(Note(level, Problem(str(self._loaded.path), line, element, what, allowed)))


def _row(role: str, certificate: Certificate, now: dt.datetime) -> CertificateRow:
    days = certificate.days_left(now)
    return CertificateRow(
        store=role,
        subject=certificate.subject,
        names=certificate.names,
        issuer="itself" if certificate.self_issued else certificate.issuer,
        valid=f"{day(certificate.not_before)} to {day(certificate.not_after)}",
        left="expired" if certificate.not_after < now else f"{days} day{'s' if days != 1 else ''}",
    )
