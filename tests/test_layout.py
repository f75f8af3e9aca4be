"""The shape of the house: which part may import which, where tests lie, how large a file may be."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "isthmus"
SOURCES = sorted(PACKAGE.rglob("*.py"))
MAXIMUM_LINES = 550

# Arrows point one way: each layer may import itself and what stands before it (design, section 2).
LAYERS: list[tuple[str, ...]] = [
    ("errors", "uri", "access", "__init__"),
    ("config",),
    ("websocket",),
    ("span",),
    ("security",),
    ("transports",),
    ("services",),
    ("accepts",),
    ("gateway",),
    ("cli", "console", "log_lines", "log_writer", "home", "certificates", "credentials", "__main__"),
]

# Below the layers: parts that may import less than their layer may.
ONLY: dict[str, tuple[str, ...]] = {
    "uri": ("errors",),
    "errors": (),
    "config": ("config", "errors", "uri"),
    "websocket": ("websocket", "errors"),
    "span": ("span", "websocket", "errors"),
    "security": ("security", "errors", "uri", "config.model", "config.proxies"),
    "home": ("errors",),
}

# Sources without a mirrored test file, and why.
WITHOUT_TESTS: dict[str, str] = {
    "__main__.py": "two lines, run by every system test",
    "config/__init__.py": "`load` is how the tests of config read their files",
    "services/__init__.py": "the table of services, each of which test_gateway makes",
    "services/base.py": "protocols only",
    "transports/_heap.pyx": "the compiled part of heap.py",
    "transports/negotiation.py": "a protocol and its error only",
