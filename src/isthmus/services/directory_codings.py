"""Which content coding a client would like best, of those that files may be compressed in beforehand."""

from __future__ import annotations

import re

ENDINGS = {"br": ".br", "zstd": ".zst", "gzip": ".gz"}
"""The codings (RFC 9110 section 8.4.1, RFC 7932, RFC 8878) and how the names of their files end; what is
mostly smallest comes first.
"""

_WEIGHTED = re.compile(
    r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:\s*;\s*[qQ]\s*=\s*(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?"
)


def acceptable(field: str | None) -> tuple[str, ...]:
    """Return the codings to look for, best first, given an Accept-Encoding (RFC 9110 section 12.5.3).

    `field` is None where there is none. A coding that the client likes less than the file as it is is not
    among them. What cannot be read counts as not said.
    """
    weights: dict[str, float] = {}
    for part in (field or "").split(","):
        if found := _WEIGHTED.fullmatch(part.strip()):
            name = found[1].lower().removeprefix("x-")
            weights.setdefault(name, float(found[2]) if found[2] else 1.0)
    others = weights.get("*", 0.0)
    plain = weights.get("identity", 0.0)
    liked = {coding: weights.get(coding, others) for coding in ENDINGS}
    return tuple(
        sorted(
            (each for each in liked if liked[each] > 0 and liked[each] >= plain),
            key=lambda each: -liked[each],
        )
    )
