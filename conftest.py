"""Says which build of isthmus is tested, and refuses to test one that is older than its source."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from isthmus.websocket import frames

PACKAGE = Path(frames.__file__).parent.parent
COMPILED = not frames.__file__.endswith(".py")


def pytest_report_header() -> str:
    return f"isthmus: {'compiled' if COMPILED else 'not compiled'}, from {PACKAGE}"


def pytest_sessionstart() -> None:
    expected = os.environ.get("ISTHMUS_EXPECT")
    if expected and expected != ("compiled" if COMPILED else "pure"):
        raise pytest.UsageError(f"ISTHMUS_EXPECT is {expected}, but {frames.__file__} is what is imported")
    for built in PACKAGE.rglob("*.so"):
        for suffix in (".py", ".pyx", ".pxd"):
            source = built.with_name(built.name.partition(".")[0] + suffix)
            if source.exists() and source.stat().st_mtime > built.stat().st_mtime:
                raise pytest.UsageError(f"{built} is older than {source.name}: run make setup")


def pytest_collection_finish() -> None:
    # Thousands of tests and all modules: the collector need not look at them again, and many tests collect.
    gc.collect()
    gc.freeze()


@pytest.fixture
def restored_logging() -> Iterator[None]:
    """Undo what `isthmus.console.start` changes, for tests that run commands in this process."""
    root, own = logging.getLogger(), logging.getLogger("isthmus")
    handlers, levels = root.handlers[:], (root.level, own.level)
    yield
    for handler in root.handlers[:]:
        if handler not in handlers:
            root.removeHandler(handler)
            handler.close()
    root.setLevel(levels[0])
    own.setLevel(levels[1])
    for name in list(root.manager.loggerDict):
        if name.startswith("isthmus."):
            logging.getLogger(name).setLevel(logging.NOTSET)
