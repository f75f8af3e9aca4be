"""A realm: its login modules, asked in order, and what their answers mean together.

`success` is JAAS's (`javax.security.auth.login.Configuration`):

    success       on success    on failure    for the whole
    ----------------------------------------------------------------------------------------------
    required      goes on       goes on       must succeed
    requisite     goes on       ends          must succeed
    sufficient    ends          goes on       need not, where those required before it succeeded
    optional      goes on       goes on       need not

Where nothing is required or requisite, one of the others must have succeeded.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from isthmus.config import realm as model
from isthmus.identity import Identity, Voucher
from isthmus.security.login import Credentials, Entry, Login, LoginFailed, LoginUnavailable

MODULES: dict[str, tuple[str, str]] = {
    "file": ("login_file", "FileModule"),
    "ldap": ("login_ldap", "LdapModule"),
    "token": ("login_token", "TokenModule"),
    "jwt": ("login_jwt", "JwtModule"),
    "certificate": ("login_certificate", "CertificateModule"),
}
"""Type of a login module -> where its class is; only those that a configuration has are imported."""


class Realm:
    """Finds out who somebody is. Making one raises `KeystoreError` or `ConfigurationError`.

    `modules` are for tests. `clock` is in seconds since 1970.
    """

    def __init__(
        self,
        config: model.Realm,
        directory: Path,
        *,
        modules: Sequence[Login] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.config = config
        self.name = config.name
        self._clock = clock
        self._modules = [make(each, directory) for each in config.modules] if modules is None else modules
        self.quick = all(module.quick for module in self._modules)
        """Whether `login` may be called by the loop."""
        asked = config.authentication
        timeouts = [each for each in (asked.session_timeout, asked.authorization_timeout) if each is not None]
        self._lifetime = min(timeouts, default=None)

    def login(self, credentials: Credentials) -> Identity:
        """Return who shows `credentials`. Raises `LoginFailed` or `LoginUnavailable`. Any thread may call."""
        entries: list[tuple[int, Entry]] = []
        failure: LoginFailed | None = None
        unavailable: LoginUnavailable | None = None
        failed = False
        for place, (module, each) in enumerate(zip(self._modules, self.config.modules, strict=True)):
            needed = each.success in ("required", "requisite")
            try:
                entries.append((place, module.login(credentials)))
            except LoginFailed as error:
                failure = failure or error
            except LoginUnavailable as error:
                unavailable = unavailable or error
            else:
                if each.success == "sufficient":
                    break
                continue
            failed = failed or needed
            if each.success == "requisite":
                break
        if failed or not entries:
            raise unavailable or failure or LoginFailed("no login module knows them")
        return self._identity(entries)

    def vouches(self, identity: Identity) -> bool:
        """Whether `identity` has not expired, and those who vouched for it still do. Does not wait."""
        if identity.realm != self.name or (
            identity.expires is not None and self._clock() >= identity.expires
        ):
            return False
        return all(
            self._modules[place].vouches(identity.subject, stamp) for place, stamp in identity.vouchers
        )

    def _identity(self, entries: Sequence[tuple[int, Entry]]) -> Identity:
        found = [entry for _, entry in entries]
        ends = [entry.expires for entry in found if entry.expires is not None]
        if self._lifetime is not None:
            ends.append(self._clock() + self._lifetime)
        subject = found[0].subject
        # A stamp is known by its own entry's name.
        vouchers: list[Voucher] = [
            (place, entry.stamp) for place, entry in entries if entry.stamp and entry.subject == subject
        ]
        roles = frozenset[str]().union(*(entry.roles for entry in found))
        return Identity(self.name, subject, roles, min(ends, default=None), tuple(vouchers))


def make(module: model.LoginModule, directory: Path) -> Login:
    """Return a login module. Raises `KeystoreError` or `ConfigurationError`."""
    file, name = MODULES[module.type]
    kind = getattr(importlib.import_module(f"isthmus.security.{file}"), name)
    login: Login = kind(module.options, directory)
    return login
