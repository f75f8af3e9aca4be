"""What every part of the model is made of: the base of its classes, and the types of values they share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

from isthmus.config import units
from isthmus.config.units import NotAllowed, shown


class Section(BaseModel):
    """Base of every part of the model: nothing unknown is accepted, nothing changes after reading."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, arbitrary_types_allowed=True, populate_by_name=True
    )


def _file(value: Any) -> Path:
    if isinstance(value, (str, Path)) and str(value):
        return Path(value)
    raise NotAllowed(f"{shown(value)} is not a file name", "a path, relative to this file's folder")


def _texts(value: Any) -> tuple[str, ...]:
    found = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, (list, tuple)) else ()
    if not found or not all(isinstance(each, str) and each for each in found):
        raise NotAllowed(f"{shown(value)} is not a text, or a list of texts", "a text, or several")
    if len(found) > units.MAXIMUM_NAMES:
        raise NotAllowed(f"there are {len(found)} of them", f"at most {units.MAXIMUM_NAMES}")
    return found


def _switch(value: Any) -> bool:
    """Read `true` or `false` as Java and TOML write them; an empty element is there, so it is true."""
    if isinstance(value, bool):
        return value
    word = value.lower() if isinstance(value, str) else ""
    if word in ("", "true", "false") and isinstance(value, str):
        return word != "false"
    raise NotAllowed(f"{shown(value)} is neither true nor false", "true, false")


File = Annotated[Path, BeforeValidator(_file)]
Count = Annotated[int, BeforeValidator(units.count)]
Duration = Annotated[float, BeforeValidator(units.duration)]
"""Seconds."""
Names = Annotated[tuple[str, ...], BeforeValidator(units.names)]
"""A list of words, separated by commas or spaces."""
Texts = Annotated[tuple[str, ...], BeforeValidator(_texts)]
"""Texts that may hold blanks and commas: an element for each."""
Switch = Annotated[bool, BeforeValidator(_switch)]
