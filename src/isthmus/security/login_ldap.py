"""The login module `ldap`: a directory is asked whether a password fits, and for roles.

As in Java's LdapLoginModule there are three ways:

    authIdentity    userFilter    what is done
    ---------------------------------------------------------------------------------------------------
    -               written       the user's entry is looked for, then bound to with the password
    written         written       bound to with the password, then the user's entry is looked for
    written         -             bound to with the password; only a fixed role, and group roles, are known

A password goes to a server only behind TLS (`ldaps`, or StartTLS), unless `useSSL` is false. Servers are
asked in turn until one answers.
"""

from __future__ import annotations

import hashlib
import math
import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from isthmus.config.realm import LdapLogin
from isthmus.errors import KeystoreError
from isthmus.security.followed import Followed
from isthmus.security.login import Credentials, Entry, LoginFailed, LoginUnavailable
from isthmus.security.passwords import library
from isthmus.security.recheck import Recheck

MAXIMUM_ROLES = 1000
_LDAPS_PORT = 636
_TRY_ANOTHER = (51, 52)  # busy, unavailable (RFC 4511, 4.1.9)
# What changes with a password, or when somebody is locked out for good: of OpenLDAP, Active Directory, 389.
# Not what failed logins change, or anybody could end what others have open.
_STATE = ("pwdChangedTime", "pwdLastSet", "userAccountControl", "nsAccountLock")


@dataclass(frozen=True, slots=True)
class Provider:
    """One server. `base` is the entry below which users are."""

    host: str
    port: int
    tls: bool
    base: str

    @classmethod
    def parse(cls, url: str) -> Provider:
        """Read an LDAP URL (RFC 4516) without its later parts, which Java does not use either."""
        parts = urlsplit(url)
        tls = parts.scheme.lower() == "ldaps"
        port = parts.port or (_LDAPS_PORT if tls else 389)
        return cls(parts.hostname or "", port, tls, unquote(parts.path.lstrip("/").partition("?")[0]))


class LdapModule:
    """Asks directories. Making one raises `KeystoreError` or `ConfigurationError`; none is asked yet."""

    quick = False

    def __init__(self, options: LdapLogin, directory: Path) -> None:
        self._ldap: Any = library("ldap3", "users of an LDAP directory")
        self._options = options
        self._providers = [Provider.parse(url) for url in options.user_provider.split()]
        self._filter = options.user_filter and re.sub(r"\)\s+\(", ")(", options.user_filter.strip())
        self._bind_password: Followed[str] | None = None
        if options.bind_password_file is not None:
            self._bind_password = Followed(
                directory / options.bind_password_file, "the password file", _first_line
            )
        # Only where the user is found without being bound to: a password is not kept to ask with it again.
        every = options.recheck if options.auth_identity is None else 0.0
        self._recheck = Recheck("the directory", every, self._stands)
        self._tls = None
        if options.use_ssl or any(provider.tls for provider in self._providers):
            authorities = None if options.ca_file is None else str(directory / options.ca_file)
            try:
                if authorities is not None:
                    ssl.create_default_context(cafile=authorities)
                self._tls = self._ldap.Tls(validate=ssl.CERT_REQUIRED, ca_certs_file=authorities)
            except (OSError, ssl.SSLError, self._ldap.core.exceptions.LDAPException) as error:
                raise KeystoreError(f"{authorities} holds no certificates that can be used") from error

    def login(self, credentials: Credentials) -> Entry:
        if credentials.user is None:
            raise LoginFailed("there is no user and password")
        if not credentials.password:
            # A bind without one succeeds for everybody (RFC 4513, 5.1.2).
            raise LoginFailed("the password is empty")
        trouble: Exception | None = None
        for provider in self._providers:
            try:
                return self._ask(provider, credentials.user, credentials.password)
            except (self._ldap.core.exceptions.LDAPException, OSError, LoginUnavailable) as error:
                trouble = error
        raise LoginUnavailable(f"no LDAP server answers as it should: {_brief(trouble)}") from trouble

    def vouches(self, subject: str, stamp: str) -> bool:
        return self._recheck.vouches(subject, stamp)

    def _stands(self, subject: str, stamp: str) -> bool:
        """Whether the entry of `subject` is still there, and the same in what counts."""
        trouble: Exception | None = None
        for provider in self._providers:
            try:
                with self._connection(provider) as connection:
                    self._bind_ourselves(connection)
                    found = self._find(connection, provider, subject)
                    roles = frozenset(self._roles(connection, found, str(found["dn"]), subject))
                    return self._stamp(found, roles) == stamp
            except LoginFailed:
                return False
            except (self._ldap.core.exceptions.LDAPException, OSError, LoginUnavailable) as error:
                trouble = error
        raise LoginUnavailable(f"no LDAP server answers as it should: {_brief(trouble)}") from trouble

    def _stamp(self, found: Any, roles: frozenset[str]) -> str:
        parts = [
            str(found["dn"]),
            *(str(found["attributes"].get(name, "")) for name in _STATE),
            *sorted(roles),
        ]
        return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()

    def _ask(self, provider: Provider, user: str, password: str) -> Entry:
        options = self._options
        found: Any = None
        stamp = ""
        with self._connection(provider) as connection:
            if options.auth_identity is None:
                self._bind_ourselves(connection)
                found = self._find(connection, provider, user)
                name = str(found["dn"])
                self._bind(connection, name, password)
            else:
                name = self._named(options.auth_identity, user)
                self._bind(connection, name, password)
                if self._filter is not None:
                    found = self._find(connection, provider, user)
                    name = str(found["dn"])
            roles = frozenset(self._roles(connection, found, name, user))
            if options.auth_identity is None and options.recheck:
                stamp = self._stamp(found, roles)
                self._recheck.found(user, stamp)
            return Entry(user, roles, stamp=stamp)

    def _connection(self, provider: Provider) -> Any:
        timeout = max(1, math.ceil(self._options.timeout))  # the library takes whole seconds
        server = self._ldap.Server(
            provider.host,
            provider.port,
            use_ssl=provider.tls or (self._options.use_ssl and provider.port == _LDAPS_PORT),
            tls=self._tls,
            get_info=self._ldap.NONE,
            connect_timeout=timeout,
        )
        connection = self._ldap.Connection(
            server, receive_timeout=timeout, auto_referrals=False, read_only=True, raise_exceptions=False
        )
        try:
            connection.open()
            if self._options.use_ssl and not server.ssl and not connection.start_tls(read_server_info=False):
                raise LoginUnavailable(f"{provider.host} does not offer StartTLS (useSSL)")
        except BaseException:
            if connection.socket is not None:
                connection.socket.close()
            raise
        return _Closing(connection)

    def _bind_ourselves(self, connection: Any) -> None:
        if self._options.bind_identity is None or self._bind_password is None:
            return  # nobody in particular
        try:
            self._bind(connection, self._options.bind_identity, self._bind_password.current())
        except LoginFailed as error:
            raise LoginUnavailable("the server does not take bind-identity and its password") from error

    def _bind(self, connection: Any, name: str, password: str) -> None:
        connection.rebind(user=name, password=password, authentication=self._ldap.SIMPLE)
        code = connection.result["result"]
        if code in _TRY_ANOTHER:
            raise LoginUnavailable(f"the server is {connection.result['description']}")
        if code != 0 or not connection.bound:
            raise LoginFailed(f"the directory says {connection.result['description']}")

    def _find(self, connection: Any, provider: Provider, user: str) -> Any:
        assert self._filter is not None
        attribute = self._attribute()
        entries = self._search(
            connection,
            provider.base,
            self._filled(self._filter, user),
            [*_STATE, *([attribute] if attribute else [])],
            2,
        )
        if not entries:
            raise LoginFailed("there is no such user")
        if len(entries) > 1:
            raise LoginFailed("userFilter finds several users of that name")
        return entries[0]

    def _roles(self, connection: Any, found: Any, name: str, user: str) -> Iterator[str]:
        options, attribute = self._options, self._attribute()
        if attribute is not None and found is not None:
            values = found["attributes"].get(attribute, [])
            yield from map(str, values if isinstance(values, list) else [values])
        elif options.authz_identity is not None and attribute is None:
            yield options.authz_identity
        if options.role_base is not None:
            self._bind_ourselves(connection)
            wanted = self._filled(options.role_filter, user, name)
            groups = self._search(
                connection, options.role_base, wanted, [options.role_attribute], MAXIMUM_ROLES
            )
            for group in groups:
                values = group["attributes"].get(options.role_attribute, [])
                yield from map(str, values if isinstance(values, list) else [values])

    def _search(
        self, connection: Any, base: str, wanted: str, attributes: list[str], limit: int
    ) -> list[Any]:
        connection.search(
            base,
            wanted,
            search_scope=self._ldap.SUBTREE,
            attributes=attributes or [self._ldap.NO_ATTRIBUTES],
            size_limit=limit,
            time_limit=max(1, int(self._options.timeout)),
        )
        code = connection.result["result"]
        if code not in (0, 4, 32):  # success, more than asked for, no such base
            raise LoginUnavailable(f"the directory answers a search with {connection.result['description']}")
        return [each for each in connection.response or [] if each["type"] == "searchResEntry"]

    def _attribute(self) -> str | None:
        match = re.fullmatch(r"\{([A-Za-z][A-Za-z0-9;.-]*)\}", self._options.authz_identity or "")
        return match[1] if match else None

    def _filled(self, text: str, user: str, name: str = "") -> str:
        from ldap3.utils.conv import escape_filter_chars

        values = {"{USERNAME}": escape_filter_chars(user), "{DN}": escape_filter_chars(name)}
        return re.sub(r"\{USERNAME\}|\{DN\}", lambda match: values[match[0]], text)

    def _named(self, text: str, user: str) -> str:
        from ldap3.utils.dn import escape_rdn

        return text.replace("{USERNAME}", escape_rdn(user) if "=" in text else user)


class _Closing:
    """Closes a connection at the end of a block; that it fails then is nobody's business."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __enter__(self) -> Any:
        return self._connection

    def __exit__(self, *_: object) -> None:
        try:
            self._connection.unbind()
        except Exception:  # noqa: S110 -- the answer is known already
            pass


def _first_line(data: bytes) -> str:
    try:
        line = data.decode("utf-8-sig").splitlines()[0].rstrip("\r\n")
    except (UnicodeDecodeError, IndexError):
        line = ""
    if not line:
        raise KeystoreError("the password file of bind-identity is empty or not text")
    return line


def _brief(error: Exception | None) -> str:
    """Return what a library says of a failure, on one line, without what it was asked."""
    if isinstance(error, LoginUnavailable):
        return str(error)
    text = str(error).splitlines()[0] if error is not None and str(error) else type(error).__name__
    return "".join(each if each.isprintable() else "?" for each in text)[:200]
