"""What `isthmus check` says of logins: whether the files of realms and of credentials can be used, and the
libraries are there.

Unlike `config.explain`, this reads the files. Nothing is connected to.
"""

from __future__ import annotations

from isthmus.config import Loaded
from isthmus.config.explain import Note
from isthmus.errors import IsthmusError, Problem

_ELEMENT = "security/realm/authentication/login-modules/login-module"


def examine(loaded: Loaded) -> list[Note]:
    """Return what would keep a start from succeeding. Never raises; mere warnings go to the log."""
    notes: list[Note] = []
    for index, realm in enumerate(loaded.config.security.realms):
        from isthmus.security.realm import make  # with its libraries: only realms pay

        for place, module in enumerate(realm.modules):
            try:
                make(module, loaded.directory)
            except IsthmusError as error:
                line = loaded.line("security", "realm", index, "login-module", place)
                notes += _note(loaded, line, _ELEMENT, error)
    for index, service in enumerate(loaded.config.services):
        options = service.connect_options
        if options.authorization_file is not None:
            from isthmus.transports.credentials import fields_of

            file = loaded.directory / options.authorization_file
            try:
                fields_of(options.model_copy(update={"authorization_file": file}))
            except IsthmusError as error:
                name = "http.authorization.file"
                line = loaded.line("service", index, "connect-options", name)
                notes += _note(loaded, line, f"service/connect-options/{name}", error)
    return notes


def _note(loaded: Loaded, line: int, element: str, error: IsthmusError) -> list[Note]:
    if isinstance(error.__cause__, OSError):  # `config.explain` has told of those
        return []
    return [Note("ERROR", Problem(str(loaded.path), line, element, str(error), error.hint))]
