"""Pages of other sites: which of them a browser may let in (Kaazing's `cross-site-constraint`).

A browser says with Origin which site the page is of that asks (RFC 6454). Other clients send none, and this
is not about them. For a WebSocket we decide ourselves (RFC 6455, section 10.2). For HTTP the browser decides,
by the fields of the answer (the Fetch standard, section "CORS protocol"); a request that a page could not
always send is asked for first, with OPTIONS.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from isthmus.config.model import CrossSiteConstraint
from isthmus.transports.base import HttpHandler

if TYPE_CHECKING:
    from aiohttp import web


_DEFAULT_PORTS = ("", "80", "443")  # an empty one is the default as well (RFC 3986 6.2.3)
_DEFAULT_METHODS = ("GET", "HEAD", "POST")  # what a page may always send

Fields = dict[str, str]


class CrossSite:
    """The constraints of one service. The first that names an origin counts."""

    def __init__(self, constraints: Sequence[CrossSiteConstraint] = ()) -> None:
        self._constraints = [
            (frozenset(map(_normal, constraint.allow_origin)), constraint) for constraint in constraints
        ]

    def __bool__(self) -> bool:
        return bool(self._constraints)

    def allows(self, origin: str | None, host: str) -> bool:
        """Whether a page of `origin` may open a WebSocket to `host` (the authority that was asked for)."""
        return origin is None or same_site(origin, host) or self.find(origin) is not None

    def find(self, origin: str) -> CrossSiteConstraint | None:
        """Return the constraint for pages of `origin`."""
        normal = _normal(origin)
        for origins, constraint in self._constraints:
            if normal in origins or "*" in origins:
                return constraint
        return None

    def fields(self, origin: str | None, method: str) -> Fields:
        """Return what an answer needs so that a page of `origin` may read it, and caches keep them apart."""
        fields = {"Vary": "Origin"}
        constraint = None if origin is None else self.find(origin)
        if origin is not None and constraint is not None and method in _methods(constraint):
            fields["Access-Control-Allow-Origin"] = _allowed(constraint, origin)
        return fields

    def preflight(self, origin: str, method: str, headers: Sequence[str]) -> Fields | None:
        """Return the fields that answer a browser's question whether a page of `origin` may send `method`
        with `headers`; None: it may not.
        """
        constraint = self.find(origin)
        if constraint is None or method not in _methods(constraint):
            return None
        known = {name.lower() for name in constraint.allow_headers}
        if "*" not in known and not {name.lower() for name in headers} <= known:
            return None
        fields = {
            "Vary": "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
            "Access-Control-Allow-Origin": _allowed(constraint, origin),
            "Access-Control-Allow-Methods": ", ".join(_methods(constraint)),
        }
        if constraint.allow_headers:
            fields["Access-Control-Allow-Headers"] = ", ".join(constraint.allow_headers)
        if constraint.maximum_age is not None:
            fields["Access-Control-Max-Age"] = str(int(constraint.maximum_age))
        return fields


class CrossSiteHttp:
    """An HTTP service whose answers tell browsers what `constraints` say."""

    def __init__(self, service: HttpHandler, constraints: CrossSite) -> None:
        self._service = service
        self._constraints = constraints

    async def start(self) -> None:
        """The gateway starts the service itself."""

    async def stop(self, deadline: float) -> None:
        """See `start`."""

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a browser's question, or have the service answer."""
        origin = request.headers.get("Origin")
        asked = request.headers.get("Access-Control-Request-Method")
        if origin is None or request.method != "OPTIONS" or asked is None:
            cast(Any, request).answer_fields = self._constraints.fields(origin, request.method)
            return await self._service.handle(request)
        from aiohttp import web

        names = request.headers.getall("Access-Control-Request-Headers", [])
        headers = [name.strip() for name in ",".join(names).split(",") if name.strip()]
        fields = self._constraints.preflight(origin, asked, headers)
        if fields is None:
            return web.Response(status=403, text="403 Forbidden\nPages of that site may not do this here.\n")
        return web.Response(status=204, headers=fields)


def same_site(origin: str, host: str) -> bool:
    """Whether `origin` is the site of `host` itself, default ports left out."""
    match = re.fullmatch(r"https?://([^/]+)", origin.lower())
    return match is not None and without_default_port(match[1]) == without_default_port(host.lower())


def without_default_port(host: str) -> str:
    """Return an authority without the port, where that is one of the Web's own."""
    name, colon, port = host.rpartition(":")
    return name if colon and not port.endswith("]") and port in _DEFAULT_PORTS else host


def _normal(origin: str) -> str:
    scheme, slashes, host = origin.lower().partition("://")
    default = {"http": ":80", "https": ":443"}.get(scheme)
    return f"{scheme}{slashes}{host.removesuffix(default) if default else host}"


def _methods(constraint: CrossSiteConstraint) -> Sequence[str]:
    return constraint.allow_methods or _DEFAULT_METHODS


def _allowed(constraint: CrossSiteConstraint, origin: str) -> str:
    return "*" if "*" in constraint.allow_origin else origin
