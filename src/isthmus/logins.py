"""What `isthmus check` says of logins: whether the files of realms, of credentials and of sealing can be
used, and the libraries are there.

Unlike `config.explain`, this reads the files. Nothing is connected to.
"""

from __future__ import annotations

import ssl

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
        notes += _sealing(loaded, index)
    return notes


def _sealing(loaded: Loaded, index: int) -> list[Note]:
    """Return what is wrong with the keys that a service seals by."""
    service = loaded.config.services[index]
    accepting, connecting, folder = service.accept_options, service.connect_options, loaded.directory
    try:
        section = "accept-options"
        if accepting.span_seal_key is not None:
            from isthmus.security import seal  # with its libraries: only sealing pays

            clients = accepting.span_seal_clients
            seal.server_context(
                folder / accepting.span_seal_key, None if clients is None else folder / clients
            )
        section = "connect-options"
        if connecting.span_seal_key is not None:
            from isthmus.security import seal

            seal.client_context(folder / connecting.span_seal_key)
    except IsthmusError as error:
        line = loaded.line("service", index, section, "span.seal.key")
        return _note(loaded, line, f"service/{section}/span.seal.key", error)
    return []


def _note(loaded: Loaded, line: int, element: str, error: IsthmusError) -> list[Note]:
    cause = error.__cause__
    if isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError):
        return []  # `config.explain` has told of those
    return [Note("ERROR", Problem(str(loaded.path), line, element, str(error), error.hint))]
