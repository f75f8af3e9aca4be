from __future__ import annotations

from pathlib import Path

import pytest
from tests.security.issuing import DAY, NOW, issue

from isthmus.config.realm import CertificateLogin
from isthmus.security.login import Credentials, LoginFailed
from isthmus.security.login_certificate import CertificateModule

JOE = issue("joe", "joe.example.com", end=NOW + 5 * DAY)


def login(**options: object) -> tuple[str, set[str], float | None]:
    module = CertificateModule(CertificateLogin.model_validate(options), Path())
    entry = module.login(Credentials(certificate=JOE.der))
    assert module.vouches(entry.subject, entry.stamp)
    return entry.subject, set(entry.roles), entry.expires


def test_a_certificate_names_who_shows_it() -> None:
    assert login() == ("joe", set(), (NOW + 5 * DAY).timestamp())
    assert login(subject="dns")[0] == "joe.example.com"
    assert login(subject="distinguished-name")[0] == "CN=joe"
    assert login(role=["A", "B C"])[1] == {"A", "B C"}
    assert login(**{"role-attribute": "OU"})[1] == set()


@pytest.mark.parametrize(
    ("credentials", "options"),
    [
        (Credentials(), {}),
        (Credentials(certificate=b"rubbish"), {}),
        (Credentials(certificate=JOE.der), {"subject": "email"}),
        (Credentials(certificate=issue("nameless").der), {"subject": "uri"}),
    ],
)
def test_one_without_a_name_is_nobody(credentials: Credentials, options: dict[str, str]) -> None:
    with pytest.raises(LoginFailed):
        CertificateModule(CertificateLogin.model_validate(options), Path()).login(credentials)
