from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from isthmus.config.section import File, Section, Switch, Texts


class Values(Section):
    file: File = Path("x")
    texts: Texts = ()
    switch: Switch = False


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [
        ("file", "a/b", Path("a/b")),
        ("texts", "a b, c", ("a b, c",)),
        ("texts", ["a", "b"], ("a", "b")),
        ("switch", "", True),
        ("switch", "TRUE", True),
        ("switch", True, True),
        ("switch", "false", False),
    ],
)
def test_values(name: str, value: Any, read: Any) -> None:
    assert getattr(Values.model_validate({name: value}), name) == read


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("file", ""),
        ("file", 5),
        ("texts", ""),
        ("texts", []),
        ("texts", [""]),
        ("texts", 5),
        ("texts", ["a"] * 101),
        ("switch", "yes"),
        ("switch", 1),
        ("other", 1),
    ],
)
def test_what_is_no_value(name: str, value: Any) -> None:
    with pytest.raises(ValidationError):
        Values.model_validate({name: value})


def test_a_section_does_not_change() -> None:
    with pytest.raises(ValidationError):
        Values().switch = True  # type: ignore[misc]
