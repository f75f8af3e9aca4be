from __future__ import annotations

import pytest

from isthmus.services.directory_types import content_type


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.HTML", "text/html; charset=utf-8"),
        ("a.min.js", "text/javascript; charset=utf-8"),
        ("a.svg", "image/svg+xml; charset=utf-8"),
        ("a.png", "image/png"),
        ("html", "application/octet-stream"),
        ("a.unknown", "application/octet-stream"),
        ("a.", "application/octet-stream"),
    ],
)
def test_content_types_are_fixed(name: str, expected: str) -> None:
    assert content_type(name) == expected


def test_mappings_win_and_are_sent_as_they_are() -> None:
    mappings = {"css": "text/plain", "x": "text/x"}
    assert content_type("a.CSS", mappings) == "text/plain"
    assert content_type("a.x", mappings) == "text/x"
    assert content_type("x", mappings) == "application/octet-stream"
    assert content_type("a.png", mappings) == "image/png"
