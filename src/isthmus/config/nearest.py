"""The valid name that is most like a wrong one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from itertools import islice

_LONGEST = 80
_MOST = 200


def nearest(name: object, known: Iterable[str]) -> str:
    """Return the name in `known` that is most like `name`, "" if none is.

    Looks at a few short names only: comparing long ones takes time that grows with the square of them.
    """
    text = str(name)
    if len(text) > _LONGEST:
        return ""
    candidates = list(islice((each for each in known if len(each) <= _LONGEST), _MOST))
    return next(iter(difflib.get_close_matches(text, candidates, 1)), "")
