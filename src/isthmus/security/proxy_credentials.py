"""Who we are to proxies: from a file in the form of netrc, or from the user's keyring.

    machine proxy.example.com login alice password s3cret
    default login alice password s3cret

The file is read when a gateway starts and again when it has changed. Nothing of it is ever in a message.
"""

from __future__ import annotations

import logging
import netrc
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path

from isthmus.config.model import ConnectOptions
from isthmus.config.proxies import Credential, Proxy
from isthmus.errors import ConfigurationError

log = logging.getLogger(__name__)

MAXIMUM_SIZE = 64 * 1024
LOOK_SECONDS = 3.0
"""How long a file is believed to be unchanged after a look at it."""
_FORM = "write: machine PROXY login USER password PASSWORD"
_INSTALL = "pip install 'isthmus[keyring]'"


def credentials_of(options: ConnectOptions, directory: Path) -> Callable[[Proxy], Credential | None]:
    """Return what is asked at each connect who we are to a proxy: what the options name, else its own URI.

    `directory` is what files are relative to. Raises `ConfigurationError` for a file or an entry of the
    keyring that cannot be used; what is asked later never raises.
    """
    if options.proxy_credentials_file is not None:
        file = CredentialsFile(directory / options.proxy_credentials_file)
        return lambda proxy: file.find(proxy) or proxy.credential
    if options.proxy_credentials_keyring is not None:
        credential = from_keyring(options.proxy_credentials_keyring)
        return lambda proxy: credential
    return lambda proxy: proxy.credential


class CredentialsFile:
    """One file. Making it reads it, or raises `ConfigurationError`."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._look_at = clock() + LOOK_SECONDS
        self._seen = self._stamp()
        self._found = read(path)
        if warning := too_open(path):
            log.warning("%s", warning)

    def find(self, proxy: Proxy) -> Credential | None:
        """Return who we are to a proxy: what the file says of `host:port`, of the host, or by default."""
        now = self._clock()
        if now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            self._look()
        for name in (proxy.host_port, proxy.host, "default"):
            if name in self._found:
                return self._found[name]
        return None

    def _look(self) -> None:
        stamp = self._stamp()
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            self._found = read(self._path)
        except ConfigurationError as error:
            log.error("%s; what was read before stays in use", error)
        else:
            log.info("%s has changed and is taken up", self._path)

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            facts = self._path.stat()
        except OSError:
            return None
        return facts.st_mtime_ns, facts.st_size, facts.st_ino


def read(path: Path) -> dict[str, Credential]:
    """Return what a file holds, by the name of the proxy. Raises `ConfigurationError`, never with it."""
    try:
        size = path.stat().st_size
        if size > MAXIMUM_SIZE:
            raise ConfigurationError(f"{path} has {size} bytes; credentials have at most {MAXIMUM_SIZE}")
        found = netrc.netrc(str(path)).hosts
    except OSError as error:
        raise ConfigurationError(
            f"{path}, which says who we are to proxies, cannot be read: {error.strerror}",
            hint="see proxy.credentials-file",
        ) from error
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path} is not UTF-8", hint=_FORM) from None
    except netrc.NetrcParseError:
        # Its own words quote what stands there, which may be a password.
        raise ConfigurationError(f"{path} is not in the form of netrc", hint=_FORM) from None
    credentials: dict[str, Credential] = {}
    for name, (user, _, password) in found.items():
        if not user or not password:
            raise ConfigurationError(f"{path}: {name} has no login, or no password", hint=_FORM)
        credentials[name.lower()] = Credential(user, password)
    if not credentials:
        raise ConfigurationError(f"{path} has no credentials in it", hint=_FORM)
    return credentials


def too_open(path: Path) -> str:
    """Return what is to be said of a file that others than its owner can read; empty where they cannot."""
    if sys.platform == "win32":
        return ""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return ""
    if not mode & 0o077:
        return ""
    return f"{path} holds a password and can be read by others than its owner: chmod 600 {path}"


def from_keyring(entry: str) -> Credential:
    """Return what the keyring has for `USER@SERVICE`. Raises `ConfigurationError`."""
    try:
        import keyring
        from keyring.errors import KeyringError
    except ImportError:
        raise ConfigurationError(
            "proxy.credentials-keyring needs the package keyring", hint=_INSTALL
        ) from None
    user, _, service = entry.rpartition("@")
    try:
        password = keyring.get_password(service, user)
    except (KeyringError, OSError, RuntimeError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ConfigurationError(
            f"the keyring cannot be read for {entry}: {reason}",
            hint="a service without a user's session has no keyring: use proxy.credentials-file",
        ) from error
    if password is None:
        raise ConfigurationError(
            f"the keyring has no password for {entry}", hint=f"keyring set {service} {user}"
        )
    return Credential(user, password)
