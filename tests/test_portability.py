"""Other systems are kept possible: nothing that only Unix has is needed to import isthmus."""

from __future__ import annotations

import ast
import os
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import isthmus

PACKAGE = Path(isthmus.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))
UNIX_MODULES = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty", "uvloop"}
UNIX_NAMES = {
    "os": {"O_NOFOLLOW", "O_NONBLOCK", "fork", "geteuid", "getuid", "killpg", "mkfifo"},
    "select": {"EPOLLIN", "EPOLLOUT", "epoll", "kqueue", "poll"},
    "signal": {"SIGCHLD", "SIGHUP", "SIGKILL", "SIGUSR1", "SIGUSR2", "pthread_sigmask"},
    "socket": {"AF_UNIX", "MSG_DONTWAIT", "SCM_RIGHTS", "SO_REUSEPORT", "TCP_NOTSENT_LOWAT", "sethostname"},
}
"""What Windows or macOS has not, or both, of the modules that isthmus uses."""

IMPORT_EVERYTHING = """\
import importlib, sys

# What the libraries need of their own is none of our business here.
import aiofastnet, aiohttp.web, aiohappyeyeballs, asyncio, cryptography.x509, lxml.etree, logging.handlers
import pydantic.main, random, rich.console, select, shutil, signal, socket, tempfile, tomllib, typer
from cryptography.hazmat.primitives.serialization import pkcs12

sys.platform = "win32"
modules, names = {modules!r}, {names!r}
for name in modules:
    sys.modules[name] = None
for module, missing in names.items():
    for name in missing:
        if hasattr(sys.modules[module], name):
            delattr(sys.modules[module], name)
for name in {ours!r}:
    importlib.import_module(name)
"""


def at_import(tree: ast.Module) -> Iterator[ast.stmt | ast.expr]:
    """Yield what runs when a module is imported: all but the bodies of functions and what a test guards."""
    pending: list[ast.AST] = list(tree.body)
    while pending:
        node = pending.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.If, ast.Try)):
            continue
        if isinstance(node, (ast.stmt, ast.expr)):
            yield node
        pending += ast.iter_child_nodes(node)


def only_on_unix(text: str) -> list[str]:
    """Return what a source takes at import that not every system has."""
    found: list[str] = []
    for node in at_import(ast.parse(text)):
        match node:
            case ast.Import():
                found += [each.name for each in node.names if each.name.partition(".")[0] in UNIX_MODULES]
            case ast.ImportFrom(module=str(module)):
                top = module.partition(".")[0]
                missing = UNIX_NAMES.get(module, set())
                found += [module] if top in UNIX_MODULES else []
                found += [f"{module}.{each.name}" for each in node.names if each.name in missing]
            case ast.Attribute(value=ast.Name(id=module), attr=name) if name in UNIX_NAMES.get(module, set()):
                found.append(f"{module}.{name}")
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_source_needs_unix_to_be_imported(path: Path) -> None:
    assert only_on_unix(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import fcntl", ["fcntl"]),
        ("import os, pwd as users", ["pwd"]),
        ("from uvloop.loop import Loop", ["uvloop.loop"]),
        ("from signal import SIGTERM, SIGHUP", ["signal.SIGHUP"]),
        ("import select\nREADABLE = select.EPOLLIN | 1", ["select.EPOLLIN"]),
        ("class A:\n    family = socket.AF_UNIX", ["socket.AF_UNIX"]),
        ("def f():\n    import fcntl\n    return socket.AF_UNIX", []),
        ("try:\n    import uvloop\nexcept ImportError:\n    pass", []),
        ("if hasattr(select, 'epoll'):\n    FLAGS = select.EPOLLIN", []),
    ],
)
def test_what_the_test_sees(text: str, found: list[str]) -> None:
    assert only_on_unix(text) == found


def test_all_of_isthmus_is_imported_without_what_only_unix_has() -> None:
    ours = [each.name for each in pkgutil.walk_packages([str(PACKAGE)], "isthmus.")]
    assert len(ours) > 30
    script = IMPORT_EVERYTHING.format(
        modules=sorted(UNIX_MODULES - {"posix"}),  # os is made of it
        names={module: sorted(names) for module, names in UNIX_NAMES.items()},
        ours=[name for name in ours if name != "isthmus.__main__"],
    )
    path = os.pathsep.join([str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")])
    outcome = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert outcome.returncode == 0, outcome.stderr
