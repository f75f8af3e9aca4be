"""release/extras.py: what extras need, without this project itself."""

from __future__ import annotations

from release.extras import needed


def test_an_extra_that_names_another_has_its_requirements() -> None:
    found = needed(["test"])
    assert any(each.startswith("pytest") for each in found)
    assert set(needed(["login"])) <= set(found)
    assert not any(each.startswith("isthmus") for each in found)
