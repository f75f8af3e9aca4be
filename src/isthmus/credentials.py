"""What `isthmus check` says of the files with which connects tell proxies who they are.

Unlike `config.explain`, this reads the files.
"""

from __future__ import annotations

from isthmus.config import Loaded
from isthmus.config.explain import Level, Note
from isthmus.errors import ConfigurationError, Problem
from isthmus.security import proxy_credentials

_OPTION = "proxy.credentials-file"


def examine(loaded: Loaded) -> list[Note]:
    """Return what to know before a start: a file that cannot be used is an error, one that others can read a
    warning.
    """
    notes: list[Note] = []

    def note(level: Level, index: int, what: str, allowed: str) -> None:
        line = loaded.line("service", index, "connect-options", _OPTION)
        problem = Problem(str(loaded.path), line, f"service/connect-options/{_OPTION}", what, allowed)
        notes.append(Note(level, problem))

    for index, service in enumerate(loaded.config.services):
        file = service.connect_options.proxy_credentials_file
        if file is None:
            continue
        path = loaded.directory / file
        try:
            proxy_credentials.read(path)
        except ConfigurationError as error:
            note("ERROR", index, str(error), error.hint)
        if warning := proxy_credentials.too_open(path):
            note("WARN", index, warning, "a file that only its owner can read")
    return notes
