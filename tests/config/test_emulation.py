"""Options of WebSocket emulation: their names, defaults and bounds."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from isthmus.config.model import AcceptOptions, ConnectOptions


def test_defaults() -> None:
    accept, connect = AcceptOptions(), ConnectOptions()
    assert (accept.emulation, accept.emulation_maximum) == ("enabled", 10_000)
    assert (accept.emulation_timeout, accept.emulation_heartbeat) == (30.0, 20.0)
    assert (connect.fallback, connect.fallback_retry) == ("auto", 300.0)


def test_names() -> None:
    accept = AcceptOptions.model_validate(
        {
            "ws.emulation": "disabled",
            "ws.emulation.maximum": "5",
            "ws.emulation.timeout": "1 min",
            "ws.emulation.heartbeat": "5 s",
        }
    )
    assert (accept.emulation, accept.emulation_maximum) == ("disabled", 5)
    assert (accept.emulation_timeout, accept.emulation_heartbeat) == (60.0, 5.0)
    connect = ConnectOptions.model_validate({"ws.fallback": "short", "ws.fallback.retry": "1 h"})
    assert (connect.fallback, connect.fallback_retry) == ("short", 3600.0)


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        (AcceptOptions, "ws.emulation", "yes"),
        (AcceptOptions, "ws.emulation.maximum", "0"),
        (AcceptOptions, "ws.emulation.timeout", "0"),
        (AcceptOptions, "ws.emulation.heartbeat", "0"),
        (ConnectOptions, "ws.fallback", "wse"),
        (ConnectOptions, "ws.fallback.retry", "0"),
    ],
)
def test_bounds(section: type[AcceptOptions] | type[ConnectOptions], name: str, value: str) -> None:
    with pytest.raises(ValidationError):
        section.model_validate({name: value})
