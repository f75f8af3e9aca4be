"""Access lines: one for each connection at its end, and one for each answered HTTP request.

They go to the logger `isthmus.access` at level INFO, off unless `--log-level access=info` asks for it. Nobody
pays for what is off: ask `on` before a connection's peer is looked up. A query is never shown, as it may hold
a secret; nothing of the traffic is.
"""

from __future__ import annotations

import logging
from typing import Any

log = logging.getLogger("isthmus.access")
_is_enabled = log.isEnabledFor
_INFO = logging.INFO


def on() -> bool:
    """Whether access lines are wanted now."""
    return _is_enabled(_INFO)


def connection(
    service: str,
    client: str,
    to: str,
    *,
    received: int,
    sent: int,
    seconds: float,
    error: Exception | None = None,
    refused: bool = False,
    who: str = "anonymous",
) -> None:
    """Tell of a connection that is over: `received` bytes came from the client, `sent` went to it.

    `to` is where it was joined to. `error` is why it was reset, or `refused` before it stood. `who` is the
    client's identity.
    """
    end = "refused" if refused else "reset" if error is not None else "closed"
    reason = "" if error is None else str(error)
    fields: dict[str, Any] = {
        "service": service,
        "client": client,
        "who": who,
        "to": to,
        "received": received,
        "sent": sent,
        "seconds": round(seconds, 3),
        "end": end,
    }
    if reason:
        fields["reason"] = reason
    log.info(
        "%s %s%s -> %s %d/%d bytes %.1f s %s%s",
        service,
        client,
        _shown(who),
        to,
        received,
        sent,
        seconds,
        end,
        f": {reason}" if reason else "",
        extra={"fields": fields},
    )


def request(
    client: str, method: str, path: str, status: int, sent: int, seconds: float, *, who: str = "anonymous"
) -> None:
    """Tell of an answered HTTP request; `path` is without its query, `sent` the size of the answer."""
    log.info(
        "%s%s %s %s -> %d %d bytes %.1f s",
        client,
        _shown(who),
        method,
        path,
        status,
        sent,
        seconds,
        extra={
            "fields": {
                "client": client,
                "who": who,
                "method": method,
                "path": path,
                "status": status,
                "sent": sent,
                "seconds": round(seconds, 3),
            }
        },
    )


def _shown(who: str) -> str:
    return "" if who == "anonymous" else f" ({who})"
