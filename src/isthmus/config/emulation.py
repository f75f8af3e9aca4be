"""Options of WebSocket emulation over HTTP (docs/wse.md); all are isthmus's own."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from isthmus.config.section import Count, Duration, Section


class EmulationAcceptOptions(Section):
    """What a ws or wss accept does for clients that can have no WebSocket."""

    emulation: Literal["enabled", "disabled"] = Field("enabled", alias="ws.emulation")
    """Whether WebSockets emulated over HTTP are served at the same URL, as Kaazing does."""
    emulation_maximum: Count = Field(10_000, alias="ws.emulation.maximum", ge=1, le=1_000_000)
    """How many of them the accept may have at once; one more is answered with 503."""
    emulation_timeout: Duration = Field(30.0, alias="ws.emulation.timeout", ge=0.1, le=3_600)
    """How long one may wait for its client's next downstream request."""
    emulation_heartbeat: Duration = Field(20.0, alias="ws.emulation.heartbeat", ge=0.1, le=3_600)
    """How long an answer downstream may be silent; below what proxies on the way allow."""


class EmulationConnectOptions(Section):
    """What is done where no WebSocket can be opened."""

    fallback: Literal["auto", "never", "streaming", "short"] = Field("auto", alias="ws.fallback")
    """Whether a WebSocket that is blocked is emulated over HTTP; or always so, with one long answer or with
    many short ones.
    """
    fallback_retry: Duration = Field(300.0, alias="ws.fallback.retry", ge=0.1, le=86_400)
    """How long what was found out about a network is believed; then the better way is tried again."""
