"""The GATEWAY_HOME template: what `isthmus init DIR` writes.

    bin/gateway.start                   starts the gateway with the command line that Kaazing's script takes
    conf/gateway-config-minimal.xml     a first configuration: a home page and an echo service
    web/base/                           what the directory service serves
    web/error-pages/                    404.html and so on
    log/                                a place for log files

The files themselves lie beside this one, as package data.
"""

from __future__ import annotations

import shlex
import sys
from importlib import resources
from pathlib import Path

from isthmus.errors import ConfigurationError

FILES = (
    "bin/gateway.start",
    "conf/gateway-config-minimal.xml",
    "log/README.txt",
    "web/base/index.html",
    "web/error-pages/400.html",
    "web/error-pages/403.html",
    "web/error-pages/404.html",
    "web/error-pages/405.html",
    "web/error-pages/500.html",
    "web/error-pages/503.html",
)
"""Every file of a home, relative to it."""

_EXECUTABLE = frozenset({"bin/gateway.start"})
_RECORD = "recorded_python="
"""The line of `gateway.start` that `install` completes."""


def install(directory: Path, *, force: bool = False) -> list[Path]:
    """Write a GATEWAY_HOME into `directory`, making folders as needed, and return the files written.

    `bin/gateway.start` records the Python that runs now, to be used where no `isthmus` is on the PATH. Raises
    `ConfigurationError` naming the files that exist already, before anything is written, unless `force` says
    to overwrite them; also when something cannot be written.
    """
    targets = [directory / name for name in FILES]
    existing = [target for target in targets if target.exists() or target.is_symlink()]
    if existing and not force:
        names = ", ".join(str(target.relative_to(directory)) for target in existing)
        raise ConfigurationError(
            f"{directory} has these files already: {names}",
            hint="name another folder, or add --force to overwrite them",
        )
    template = resources.files(__name__)
    try:
        for name, target in zip(FILES, targets, strict=True):
            content = template.joinpath(*name.split("/")).read_bytes()
            executable = name in _EXECUTABLE
            if executable:
                content = _record_python(content)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            if executable:
                target.chmod(target.stat().st_mode | 0o111)
    except OSError as error:
        raise ConfigurationError(
            f"cannot write {error.filename or directory}: {error.strerror}",
            hint="choose a folder that you may write to",
        ) from error
    return targets


def _record_python(script: bytes) -> bytes:
    line = f"\n{_RECORD}\n".encode()
    if script.count(line) != 1:
        raise AssertionError("gateway.start has no place for the interpreter's path")
    return script.replace(line, f"\n{_RECORD}{shlex.quote(sys.executable)}\n".encode())
