from __future__ import annotations

import pytest

from isthmus.config.nearest import nearest


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        ("ws.bnd", ["wss.bind", "ws.bind"], "ws.bind"),
        ("x", ["ws.bind"], ""),
        ("", ["a"], ""),
        (5, ["55"], "55"),
        ("x" * 81, ["x" * 80], ""),
        ("x" * 80, ["x" * 81], ""),
        ("abc", [*(f"{n}{n}{n}{n}" for n in range(200)), "abcd"], ""),
    ],
)
def test_nearest(name: object, known: list[str], expected: str) -> None:
    """Only a few short names are compared."""
    assert nearest(name, known) == expected
