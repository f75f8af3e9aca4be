"""The login module `certificate`: the certificate that a client has shown to TLS is who it is.

TLS has verified it already, by the truststore (`ssl.verify-client`); here it only gets a name and roles.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import NameOID

from isthmus.config.realm import CertificateLogin
from isthmus.security.login import Credentials, Entry, LoginFailed, checked_name

_ROLES = {"OU": NameOID.ORGANIZATIONAL_UNIT_NAME, "O": NameOID.ORGANIZATION_NAME}


class CertificateModule:
    """Names the subject of a certificate; what it opened ends when the certificate expires."""

    quick = True

    def __init__(self, options: CertificateLogin, directory: Path) -> None:
        self._options = options

    def login(self, credentials: Credentials) -> Entry:
        if credentials.certificate is None:
            raise LoginFailed("there is no client certificate")
        try:
            certificate = x509.load_der_x509_certificate(credentials.certificate)
            subject = next(self._subjects(certificate), "")
            roles = set(self._options.role)
            if self._options.role_attribute != "none":
                oid = _ROLES[self._options.role_attribute]
                roles |= {str(each.value) for each in certificate.subject.get_attributes_for_oid(oid)}
        except (ValueError, x509.InvalidVersion) as error:
            raise LoginFailed("the client certificate is malformed") from error
        if not subject:
            raise LoginFailed(f"the client certificate has no {self._options.subject}")
        return Entry(checked_name(subject), frozenset(roles), certificate.not_valid_after_utc.timestamp())

    def vouches(self, subject: str, stamp: str) -> bool:
        return True  # its end is all that is known

    def _subjects(self, certificate: x509.Certificate) -> Iterator[str]:
        match self._options.subject:
            case "common-name":
                for each in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME):
                    yield str(each.value)
            case "distinguished-name":
                yield certificate.subject.rfc4514_string()
            case kind:
                try:
                    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
                except x509.ExtensionNotFound:
                    return
                kinds: dict[str, type[x509.RFC822Name | x509.DNSName | x509.UniformResourceIdentifier]] = {
                    "email": x509.RFC822Name,
                    "dns": x509.DNSName,
                    "uri": x509.UniformResourceIdentifier,
                }
                for name in names.get_values_for_type(kinds[kind]):
                    yield str(name)
