"""A certificate authority for tests, as the PEM files that a gateway reads."""

from __future__ import annotations

import ssl
from pathlib import Path

import trustme


class Authority:
    """`server(...)` writes a certificate with key and chain; `truststore` is the file to believe it by."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ca = trustme.CA(organization_name="isthmus tests")
        self.truststore = folder / "truststore.pem"
        self._ca.cert_pem.write_to_path(str(self.truststore))

    def server(self, *names: str) -> Path:
        """Write a certificate for host names and IP addresses, with its key, as one PEM file."""
        file = self._folder / f"server-{'-'.join(names).replace(':', '_')}.pem"
        self._ca.issue_cert(*names).private_key_and_cert_chain_pem.write_to_path(str(file))
        return file

    def client_context(self) -> ssl.SSLContext:
        """Return the settings of a client that believes this authority."""
        return ssl.create_default_context(cafile=str(self.truststore))

    def server_context(self, *names: str) -> ssl.SSLContext:
        """Return the settings of a server with a certificate for `names`."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.server(*names))
        return context
