"""What must hold between realms, their login modules and the services that they protect."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from isthmus.config.checks import Lines, line_of
from isthmus.config.headers import split_field
from isthmus.config.model import Service
from isthmus.config.nearest import nearest
from isthmus.config.realm import PASSWORD_MODULES, TOKEN_MODULES, JwtLogin, LdapLogin, Realm
from isthmus.errors import Problem

Key = tuple[str | int, ...]
_PASSWORD_SCHEMES = ("Basic", "Application Basic")
_TOKEN_SCHEMES = ("Application Token", "Bearer")


class RealmChecks:
    """Looks at the realms and services of one file."""

    def __init__(self, services: Sequence[Service], realms: Sequence[Realm], file: str, lines: Lines) -> None:
        self.services = services
        self.realms = realms
        self.by_name = {realm.name: realm for realm in realms}
        self.file = file
        self.lines = lines

    def problems(self) -> Iterator[Problem]:
        """Yield what is wrong."""
        first: dict[str, int] = {}
        for index, realm in enumerate(self.realms):
            if realm.name in first:
                line = self.line("security", "realm", first[realm.name], "name")
                what = f"the name {realm.name!r} is used twice, in line {line} and here"
                yield self.problem(what, "a name of its own", "security/realm/name", index, "name")
            first.setdefault(realm.name, index)
            yield from self._modules(realm, index)
        for index, service in enumerate(self.services):
            yield from self._service(service, index)

    def warnings(self) -> Iterator[Problem]:
        """Yield what is allowed, but should be said at every start."""
        for index, service in enumerate(self.services):
            realm = self.by_name.get(service.realm_name)
            if realm is not None and realm.authentication.scheme != "Certificate":
                for place, accept in enumerate(service.accepts):
                    if accept.kind.web and not accept.kind.secure:
                        line = self.line("service", index, "accept", place)
                        what = f"what clients log in with at {accept} can be read by anybody on the way"
                        allowed = f"{accept.scheme}s, or TLS that ends on this machine in front of it"
                        yield Problem(self.file, line, "service/accept", what, allowed)
            connect = service.connect_options
            unsafe = connect.authorization_file is not None and connect.authorization_insecure == "allowed"
            if unsafe and any(to.scheme == "ws" for to in service.connects):
                line = self.line("service", index, "connect-options", "http.authorization.insecure")
                what = f"what {service.name} logs in with can be read by anybody on the way"
                element = "service/connect-options/http.authorization.insecure"
                yield Problem(self.file, line, element, what, "a wss connect")
        for index, realm in enumerate(self.realms):
            for place, module in enumerate(realm.modules):
                options = module.options
                if not isinstance(options, LdapLogin) or options.use_ssl:
                    continue
                if "ldap://" in options.user_provider.lower():
                    what = "passwords go to the LDAP server for everybody on the way to read"
                    key: Key = ("security", "realm", index, "login-module", place, "options", "useSSL")
                    element = "security/realm/authentication/login-modules/login-module/options/useSSL"
                    yield self._at(key, element, what, "true (StartTLS), or an ldaps URL")

    def _modules(self, realm: Realm, index: int) -> Iterator[Problem]:
        scheme = realm.authentication.scheme
        element = "security/realm/authentication/login-modules/login-module"
        for place, module in enumerate(realm.modules):
            at: Key = ("security", "realm", index, "login-module", place)
            if module.type in PASSWORD_MODULES and scheme not in _PASSWORD_SCHEMES:
                what = f"a {module.type} module needs a password, and {scheme} asks for none"
                yield self._at(at, element, what, f"http-challenge-scheme {' or '.join(_PASSWORD_SCHEMES)}")
            if module.type in TOKEN_MODULES and scheme not in _TOKEN_SCHEMES:
                what = f"a {module.type} module needs a token, and {scheme} asks for none"
                yield self._at(at, element, what, f"http-challenge-scheme {' or '.join(_TOKEN_SCHEMES)}")
            options = module.options
            if isinstance(options, JwtLogin) and (options.jwks_file is None) == (options.jwks_url is None):
                what = "a jwt module needs the keys of those who sign, from one place"
                yield self._at(at, f"{element}/options", what, "either jwks-file or jwks-url")
            if isinstance(options, LdapLogin):
                if options.user_filter is None and options.auth_identity is None:
                    what = "an ldap module does not know how to find a user"
                    yield self._at(at, f"{element}/options", what, "userFilter, authIdentity, or both")
                if (options.bind_identity is None) != (options.bind_password_file is None):
                    what = "bind-identity and bind-password-file belong together"
                    yield self._at(at, f"{element}/options", what, "both, or neither")
        if scheme == "Certificate" and any(module.type != "certificate" for module in realm.modules):
            return
        if scheme != "Certificate" and all(module.type == "certificate" for module in realm.modules):
            what = f"{scheme} asks for what no login module looks at"
            where: Key = ("security", "realm", index, "authentication", "http-challenge-scheme")
            yield self._at(where, "security/realm/authentication/http-challenge-scheme", what, "Certificate")

    def _service(self, service: Service, index: int) -> Iterator[Problem]:
        yield from self._connects(service, index)
        if not service.realm_name:
            if service.authorization:
                line = self.line("service", index, "authorization-constraint", 0)
                what = "nobody says who the clients are"
                allowed = "realm-name beside it, and a security/realm"
                yield Problem(self.file, line, "service/authorization-constraint", what, allowed)
            return
        line = self.line("service", index, "realm-name")
        realm = self.by_name.get(service.realm_name)
        if realm is None:
            what = f"there is no realm {service.realm_name!r}"
            near = nearest(service.realm_name, self.by_name)
            allowed = ", ".join(self.by_name) or "a security/realm of that name"
            yield Problem(self.file, line, "service/realm-name", what, allowed, near)
            return
        certificates = any(module.type == "certificate" for module in realm.modules)
        needed = all(module.type == "certificate" for module in realm.modules)
        for place, accept in enumerate(service.accepts):
            line = self.line("service", index, "accept", place)
            secure_stream = accept.kind.secure and not accept.kind.web
            if not accept.kind.web and not (secure_stream and needed):
                what = f"{accept} cannot ask its clients who they are, and the service has a realm"
                allowed = "ws, wss, http or https"
                if secure_stream:
                    allowed += f"; {accept.scheme} with a realm that asks for certificates only"
                yield Problem(self.file, line, "service/accept", what, allowed)
            elif certificates and service.accept_options.verify_client == "none":
                if needed:
                    what = f"{accept} asks for no certificate, and the realm {realm.name} needs one"
                    yield Problem(self.file, line, "service/accept", what, "ssl.verify-client")
            elif needed and not accept.kind.secure:
                what = f"{accept} has no TLS, so no client can show a certificate"
                yield Problem(self.file, line, "service/accept", what, f"{accept.scheme}s")

    def _connects(self, service: Service, index: int) -> Iterator[Problem]:
        options = service.connect_options
        names = [split_field(line)[0].lower() for line in options.http_headers]
        if options.authorization_file is not None and "authorization" in names:
            line = self.line("service", index, "connect-options", "http.headers")
            what = "http.headers has an Authorization, and http.authorization.file another"
            allowed = "one of them; the file is read again when it changes"
            yield Problem(self.file, line, "service/connect-options/http.headers", what, allowed)
        if options.authorization_file is None or options.authorization_insecure == "allowed":
            return
        for place, connect in enumerate(service.connects):
            if connect.scheme == "ws":
                line = self.line("service", index, "connect", place)
                what = f"{connect} has no TLS: what http.authorization.file holds could be read on the way"
                allowed = "wss, or http.authorization.insecure allowed"
                yield Problem(self.file, line, "service/connect", what, allowed)

    def problem(self, what: str, allowed: str, element: str, index: int, name: str) -> Problem:
        return Problem(self.file, self.line("security", "realm", index, name), element, what, allowed)

    def line(self, *key: str | int) -> int:
        return line_of(self.lines, *key)

    def _at(self, key: Key, element: str, what: str, allowed: str) -> Problem:
        return Problem(self.file, self.line(*key), element, what, allowed)
