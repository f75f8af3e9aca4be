"""The vectors beside docs/span.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent.parent / "docs" / "span-vectors.json").read_text()
)
FRAMES: list[dict[str, Any]] = VECTORS["frames"]
INVALID: list[dict[str, Any]] = VECTORS["invalid"]
SKIPPED: list[dict[str, Any]] = VECTORS["skipped"]
HANDSHAKE: dict[str, Any] = VECTORS["handshake"]


def name_of(vector: dict[str, Any]) -> str:
    return str(vector["name"])
