"""Print what the extras named on the command line need, a requirement a line: to install without a build."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"


def needed(extras: list[str]) -> list[str]:
    """Return the requirements of these extras, in place of what they say of other extras of this project."""
    project = tomllib.loads(PROJECT.read_text())["project"]
    found: list[str] = []
    for extra in extras:
        for requirement in project["optional-dependencies"][extra]:
            own = re.fullmatch(rf"{project['name']}\[(.*)\]", requirement)
            found += needed(re.split(r"\s*,\s*", own[1])) if own else [requirement]
    return found


if __name__ == "__main__":
    print("\n".join(needed(sys.argv[1:])))
