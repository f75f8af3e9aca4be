"""What a test needs from the machine: skipped loudly where it is missing, a failure in CI."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
SEED = PROJECT.parent / "shared" / "seed"
"""The whitepaper's own files. They are somebody's property and not part of this project."""

CI = os.environ.get("CI", "").lower() == "true"

_told: set[str] = set()


class Requirements:
    """Checks made by tests: `need.program("nginx")` and so on."""

    def __init__(self, config: pytest.Config) -> None:
        self._capture = config.pluginmanager.getplugin("capturemanager")

    def that(self, fulfilled: bool, what: str) -> None:
        """Skip unless `fulfilled`, saying `what` is missing where nobody can miss it; fail if CI=true."""
        if fulfilled:
            return
        if CI:
            pytest.fail(f"CI must have this: {what}")
        if what not in _told and self._capture is not None:
            _told.add(what)
            with self._capture.global_and_fixture_disabled():
                print(f"\n*** SYSTEM TESTS ARE SKIPPED: {what} ***", file=sys.stderr, flush=True)
        pytest.skip(what)

    def program(self, *names: str) -> str:
        """Return the path of a program: the first of `names` that there is."""
        for name in names:
            path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin:/usr/local/sbin")
            if path is not None:
                return path
        self.that(False, f"the program {' or '.join(names)} is not installed")
        raise AssertionError("not reached")

    def seed(self) -> Path:
        """Return the folder of the whitepaper's own files."""
        self.that((SEED / "appendix-a-client.xml").is_file(), f"the whitepaper's files are not at {SEED}")
        return SEED

    def root(self) -> None:
        """Network namespaces are made by root only."""
        self.that(os.geteuid() == 0, "network namespaces need root")
