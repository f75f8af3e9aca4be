"""Where all logins of a gateway are worked on: off the loop, bounded in number and time, failures limited.

a login that                                            is told
------------------------------------------------------------------------------
shows nothing                                           401 and what is asked for
fails                                                   the same, after `login.failure.delay`
comes from where too many have failed                   429
finds `login.maximum.pending` others, or takes longer   503
  than `login.timeout`, or cannot be decided
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from isthmus.config.model import GatewayOptions
from isthmus.errors import AccessDenied
from isthmus.identity import Asked, Identity
from isthmus.security.failures import FailureLimit
from isthmus.security.login import Credentials, LoginFailed, LoginUnavailable, credentials_of
from isthmus.security.realm import Realm

log = logging.getLogger(__name__)

MAXIMUM_KNOWN = 10_000
"""Right credentials that are known again."""


@dataclass(slots=True)
class LoginCounters:
    """What has happened at the desk."""

    succeeded: int = 0
    known: int = 0
    """Of those: without work, as the same credentials were right a moment ago."""
    failed: int = 0
    limited: int = 0
    overloaded: int = 0
    """Came while too many others waited."""
    unavailable: int = 0
    """Could not be decided, or took too long."""
    abandoned: int = 0
    """The client left before it was told."""


class Desk:
    """Takes logins on. Must be made and used on the running loop. `clock` is in seconds."""

    def __init__(self, options: GatewayOptions, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.counters = LoginCounters()
        self.pending = 0
        """Logins that wait or are worked on."""
        self._options = options
        self._clock = clock
        self._failures = FailureLimit(options.login_failure_limit, clock)
        self._pool: ThreadPoolExecutor | None = None
        self._places = asyncio.Semaphore(options.login_workers)
        self._waiting: list[asyncio.Future[None]] = []  # for their turn, as many of their address log in
        self._known: OrderedDict[bytes, tuple[float, Identity]] = OrderedDict()
        self._key = os.urandom(32)

    async def login(self, realm: Realm, asked: Asked) -> Identity:
        """Find out who asks. Raises `AccessDenied`; being cancelled frees the place at once."""
        malformed: LoginFailed | None = None
        try:
            credentials = credentials_of(asked, realm.config.authentication)
        except LoginFailed as error:
            credentials, malformed = Credentials(), error
        else:
            if not credentials:
                raise self._challenge(realm, asked, "")
            known = self._look_up(realm, credentials)
            if known is not None:
                self.counters.known += 1
                self.counters.succeeded += 1
                return known
        if self.pending >= self._options.login_maximum_pending:
            self.counters.overloaded += 1
            raise _later(503, "too many log in at once", 1.0)
        began = self._clock()
        try:
            identity = await self._within_time(realm, asked.client, credentials, malformed)
        except LoginFailed as error:
            self.counters.failed += 1
            log.warning("%s: login to %s%s failed: %s", asked.client, realm.name, _named(credentials), error)
            await asyncio.sleep(max(0.0, began + self._options.login_failure_delay - self._clock()))
            raise self._challenge(realm, asked, "invalid_token") from None
        except (LoginUnavailable, TimeoutError) as error:
            if isinstance(error, TimeoutError):
                self._failures.give_back(asked.client)
            self.counters.unavailable += 1
            reason = str(error) or f"it took longer than {self._options.login_timeout:g} s (login.timeout)"
            log.error("%s: login to %s%s: %s", asked.client, realm.name, _named(credentials), reason)
            raise _later(503, "who you are cannot be found out now", 5.0) from error
        except asyncio.CancelledError:
            self.counters.abandoned += 1
            raise
        self.counters.succeeded += 1
        log.info("%s: %s has logged in", asked.client, identity)
        return identity

    def close(self) -> None:
        """Take on no more; what is worked on comes to nothing."""
        self._known.clear()
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None

    async def _within_time(
        self, realm: Realm, client: str, credentials: Credentials, malformed: LoginFailed | None
    ) -> Identity:
        self.pending += 1
        attempt = self._attempt(realm, client, credentials, malformed)
        try:
            return await (attempt if realm.quick else asyncio.wait_for(attempt, self._options.login_timeout))
        finally:
            self.pending -= 1

    async def _attempt(
        self, realm: Realm, client: str, credentials: Credentials, malformed: LoginFailed | None
    ) -> Identity:
        """Try, once it is this client's turn."""
        while wait := self._failures.take(client):
            if not self._failures.under_way(client):
                self.counters.limited += 1
                log.debug("%s: login to %s not tried: too many failed", client, realm.name)
                raise _later(429, "too many logins from your address have failed", wait)
            # Those under way may succeed, and many users may have one address.
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            await turn
        failed = True  # also who leaves before it is told
        try:
            if malformed is not None:
                raise malformed
            identity = realm.login(credentials) if realm.quick else await self._decide(realm, credentials)
            failed = False
            return identity
        except LoginUnavailable:
            failed = False
            raise
        finally:
            self._failures.ended(client)
            if not failed:
                self._failures.give_back(client)
            waiting, self._waiting = self._waiting, []
            for turn in waiting:
                if not turn.done():
                    turn.set_result(None)

    async def _decide(self, realm: Realm, credentials: Credentials) -> Identity:
        # The semaphore is what waits, not the pool's queue: who leaves it is gone without a trace. A thread
        # keeps its place until it is done, whether anybody still waits for it or not.
        await self._places.acquire()
        known = self._look_up(realm, credentials)
        if known is not None:  # another with the same credentials was before us
            self._places.release()
            return known
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._options.login_workers, "isthmus-login")
        loop = asyncio.get_running_loop()

        def done(_: object) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(self._places.release)

        work = self._pool.submit(realm.login, credentials)
        answer = asyncio.wrap_future(work)
        work.add_done_callback(done)  # after the answer, so that the next one finds it remembered
        identity = await answer
        self._remember(realm, credentials, identity)
        return identity

    # -- what is known again

    def _look_up(self, realm: Realm, credentials: Credentials) -> Identity | None:
        if realm.quick or not self._known:
            return None
        digest = self._digest(realm, credentials)
        until, identity = self._known.get(digest, (0.0, None))
        if identity is None:
            return None
        if self._clock() >= until or not realm.vouches(identity):
            del self._known[digest]
            return None
        return identity

    def _remember(self, realm: Realm, credentials: Credentials, identity: Identity) -> None:
        if realm.quick or not self._options.login_cache_time:
            return
        self._known[self._digest(realm, credentials)] = (
            self._clock() + self._options.login_cache_time,
            identity,
        )
        if len(self._known) > MAXIMUM_KNOWN:
            self._known.popitem(last=False)

    def _digest(self, realm: Realm, credentials: Credentials) -> bytes:
        """Return what stands for credentials: it cannot be turned back without a key that only we have."""
        hashed = hashlib.blake2b(key=self._key, digest_size=32)
        parts = [realm.name, credentials.user or "", credentials.password, *credentials.tokens]
        for part in [part.encode("utf-8", "surrogatepass") for part in parts] + [
            credentials.certificate or b""
        ]:
            hashed.update(len(part).to_bytes(8) + part)
        return hashed.digest()

    def _challenge(self, realm: Realm, asked: Asked, error: str) -> AccessDenied:
        return challenge(realm, websocket=asked.websocket, error=error)


def challenge(realm: Realm, *, websocket: bool, error: str) -> AccessDenied:
    """Return what asks a client who it is (RFC 9110, 11.6.1), or turns it away where it cannot be asked.

    Kaazing's `Application` schemes keep browsers from asking their user; for HTTP they are the plain ones, as
    in Kaazing. `error` is Bearer's (RFC 6750, section 3).
    """
    authentication = realm.config.authentication
    scheme: str = authentication.scheme
    if scheme == "Certificate":
        return AccessDenied(403, "a client certificate is needed")
    if authentication.mode == "validate" and not error:
        return AccessDenied(403, "credentials are needed")
    shown = (realm.config.description or realm.name).replace("\\", "").replace('"', "'")
    if scheme == "Application Token":
        value = scheme
    elif scheme == "Application Basic" and not websocket:
        value = f'Basic realm="{shown}"'
    else:
        value = f'{scheme} realm="{shown}"'
    if scheme == "Bearer" and error:
        value += f', error="{error}"'
    elif value.startswith("Basic"):
        value += ', charset="UTF-8"'  # RFC 7617, 2.1
    reason = "these credentials are not right" if error else "credentials are needed"
    return AccessDenied(401, reason, (("WWW-Authenticate", value),))


def _later(status: int, reason: str, seconds: float) -> AccessDenied:
    return AccessDenied(status, reason, (("Retry-After", str(max(1, round(seconds)))),))


def _named(credentials: Credentials) -> str:
    """Return the name that was given, for the log; a long one may be something else than a name."""
    if credentials.user is None:
        return ""
    return f" as {credentials.user[:64]!r}"
