"""Who may use one service: its realm says who they are, its authorization-constraints who is let in."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from isthmus.config.model import GatewayConfig, Service
from isthmus.config.realm import AuthorizationConstraint
from isthmus.errors import AccessDenied
from isthmus.identity import Asked, Identity
from isthmus.security.desk import Desk
from isthmus.security.realm import Realm
from isthmus.security.watch import Opened, Watch

log = logging.getLogger(__name__)

_EVERY_ROLE = "*"


class Access:
    """Lets the clients of one service in, or not; must be used on the running loop."""

    def __init__(
        self,
        service: str,
        realm: Realm,
        constraints: Sequence[AuthorizationConstraint],
        desk: Desk,
        watch: Watch,
    ) -> None:
        self._service = service
        self._realm = realm
        self._desk = desk
        self._watch = watch
        roles = {role for each in constraints for role in each.require_roles}
        self._roles = frozenset(roles - {_EVERY_ROLE})
        self._users = [frozenset(each.require_users) for each in constraints if each.require_users]

    async def admit(self, asked: Asked) -> Identity:
        """Return who asks. Raises `AccessDenied` with what to tell them; may be cancelled at any time."""
        identity = await self._desk.login(self._realm, asked)
        if not self._permits(identity):
            log.warning("%s: %s may not use %s", asked.client, identity, self._service)
            raise AccessDenied(403, "you may not use this service")
        return identity

    def still_allowed(self, identity: Identity) -> bool:
        """Whether `identity`, admitted earlier, may open one more stream: it has not expired, is still there,
        and has what the service asks for. Does not wait; costs microseconds.
        """
        return self._permits(identity) and self._realm.vouches(identity)

    def watch(self, identity: Identity, opened: Opened) -> None:
        """End `opened` as soon as `identity` is no longer allowed."""
        self._watch.add(self.still_allowed, identity, opened)

    def _permits(self, identity: Identity) -> bool:
        return self._roles <= identity.roles and all(identity.subject in users for users in self._users)


class Doors:
    """The access to all services of a gateway: realms, desk and watch are theirs together.

    Making one raises `KeystoreError` or `ConfigurationError` for files and libraries that cannot be used.
    """

    def __init__(self, config: GatewayConfig, directory: Path) -> None:
        self.desk = Desk(config.options)
        self.watch = Watch()
        used = {service.realm_name for service in config.services}
        self._realms = {
            realm.name: Realm(realm, directory) for realm in config.security.realms if realm.name in used
        }

    def access(self, service: Service) -> Access:
        """Return the access to a service that has a realm."""
        realm = self._realms[service.realm_name]
        return Access(service.name, realm, service.authorization, self.desk, self.watch)

    def close(self) -> None:
        """Let go of threads and timers."""
        self.watch.stop()
        self.desk.close()
