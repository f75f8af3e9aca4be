"""The login module `file`: users and passwords in a file that is read again when it changes."""

from __future__ import annotations

from pathlib import Path

from isthmus.config.realm import FileLogin
from isthmus.errors import KeystoreError
from isthmus.security.followed import Followed
from isthmus.security.login import Credentials, Entry, LoginFailed, LoginUnavailable
from isthmus.security.password_file import parse


class FileModule:
    """Checks a user's password. Making one raises `KeystoreError` or `ConfigurationError`."""

    quick = False

    def __init__(self, options: FileLogin, directory: Path) -> None:
        path = directory / options.file
        self._users = Followed(path, "the file of users", lambda data: parse(data, path))

    def login(self, credentials: Credentials) -> Entry:
        if credentials.user is None:
            raise LoginFailed("there is no user and password")
        users = self._users.current()
        user = users.by_name.get(credentials.user)
        checked = user or users.nobody  # an unknown user takes the time of a known one
        try:
            fits = checked is not None and checked.fits(credentials.password)
        except KeystoreError as error:
            raise LoginUnavailable(f"{self._users.path}: {error}") from error
        if user is None:
            raise LoginFailed("there is no such user")
        if not fits:
            raise LoginFailed("the password is wrong")
        return Entry(user.name, user.roles, stamp=user.stamp)

    def vouches(self, subject: str, stamp: str) -> bool:
        user = self._users.current().by_name.get(subject)
        return user is not None and user.stamp == stamp
